package proxy

import (
	"net/http"
	"time"

	"sallyport/directory"
	"sallyport/oidc"
	"sallyport/session"
)

// visit is one request on its way through the door. What it says of the request is canonical: it is what is decided
// on, recorded and forwarded; the *http.Request beside it is not looked at again for any of it.
type request struct {
	id           string    // names the request to whoever asks about it
	received     time.Time // UTC
	routing      *routing  // the settings in force when it came
	method       string
	host         string      // lower-case ASCII, no port, no trailing dot; for IPv6 in brackets
	path         string      // as it goes to the upstream: one spelling for one path
	query        string      // as it came, with its leading "?"; "" if there was none
	lenient      bool        // path is one that only a route with lenient paths takes
	internal     bool        // it is for the door itself
	scheme       string      // http or https, as the client sees it
	address      string      // the client's, without port
	chain        string      // address, and those of the believed proxies between: X-Forwarded-For
	route        *route      // nil at the door, and while not known
	authClient   *authClient // who asks whether the request may pass; nil: it is here to pass
	caller       *caller
	preflight    bool   // a CORS preflight request that passes as nobody's
	sessionError string // the reason a cookie that was sent opens nothing; "" if none was
}

// caller is who has proved who they are, by exactly one of session and token. A nil *caller is nobody.
type caller struct {
	user    *directory.User  // what the directory knows of them; nil until it was asked
	session *session.Session // nil for a bearer
	token   *oidc.Identity   // nil for a session
}

// app is the client ID of the application that calls for itself; "" where somebody else does.
func (c *caller) app() string {
	if c == nil || c.token == nil {
		return ""
	}
	return c.token.App
}

// appPrefix begins what an application is called where users have their userName. No user is called so (userHeader).
const appPrefix = "app:"

func appName(id string) string { return appPrefix + id }

// refusal is an answer that is a no.
type denial struct {
	status    int
	reason    string        // from the closed set below
	detail    string        // for the log; never for the caller
	disclosed string        // for the caller, beside what is said of the reason; "" if nothing
	rule      string        // the rule that refused; "" if none did
	maxAge    time.Duration // of loginTooOld: how recent a login would do
}

// The reasons of refusals. The set is closed: they are labels of metrics.
const (
	badHost             = "bad_host"
	noRoute             = "no_route"
	badPath             = "bad_path"
	badRequest          = "bad_request"
	methodRefused       = "method_refused"
	tooMany             = "too_many_attempts"
	overloaded          = "overloaded"
	bodyTooLarge        = "body_too_large"
	notSignedIn         = "not_signed_in"
	sessionEnded        = "session_ended"
	sessionExpired      = "session_expired"
	tokenRefused        = "token_refused"
	unknownUser         = "unknown_user"
	inactiveUser        = "inactive_user"
	suspendedUser       = "suspended"
	damagedRecord       = "damaged_record"
	loginTooOld         = "login_too_old"
	noRule              = "no_rule"
	ruleDeny            = "rule_deny"
	directoryStale      = "directory_stale"
	providerUnavailable = "provider_unavailable"
	auditUnavailable    = "audit_unavailable"
	upstreamUnavailable = "upstream_unavailable"
	upstreamTimeout     = "upstream_timeout"
)

// statuses is the one table that turns reasons into HTTP: doubt about the request is 400, about who is calling 401,
// a no to somebody known 403, and not being able to tell 5xx.
var statuses = map[string]int{
	untrustedProxy:      http.StatusForbidden,
	badHost:             http.StatusBadRequest,
	noRoute:             http.StatusNotFound,
	badPath:             http.StatusBadRequest,
	badRequest:          http.StatusBadRequest,
	methodRefused:       http.StatusMethodNotAllowed,
	tooMany:             http.StatusTooManyRequests,
	overloaded:          http.StatusServiceUnavailable,
	bodyTooLarge:        http.StatusRequestEntityTooLarge,
	notSignedIn:         http.StatusUnauthorized,
	sessionEnded:        http.StatusUnauthorized,
	sessionExpired:      http.StatusUnauthorized,
	tokenRefused:        http.StatusUnauthorized,
	unknownUser:         http.StatusForbidden,
	inactiveUser:        http.StatusForbidden,
	suspendedUser:       http.StatusForbidden,
	damagedRecord:       http.StatusForbidden,
	loginTooOld:         http.StatusUnauthorized,
	noRule:              http.StatusForbidden,
	ruleDeny:            http.StatusForbidden,
	directoryStale:      http.StatusServiceUnavailable,
	providerUnavailable: http.StatusServiceUnavailable,
	auditUnavailable:    http.StatusServiceUnavailable,
	upstreamUnavailable: http.StatusBadGateway,
	upstreamTimeout:     http.StatusGatewayTimeout,
}

// refused makes the refusal of a reason.
func deny(reason, detail string) *denial {
	return &denial{status: statuses[reason], reason: reason, detail: detail}
}
