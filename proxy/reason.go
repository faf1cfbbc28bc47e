package proxy

import (
	"net/http"

	"sallyport/proxy/internal/metric"
)

// Reason is why a request was denied. The set is closed: reasons are labels of metrics and stand in the audit record.
type Reason string

// Reasons that lie in the request itself.
const (
	badHost       Reason = "bad_host"
	noRoute       Reason = "no_route"
	badPath       Reason = "bad_path"
	badRequest    Reason = "bad_request"
	methodRefused Reason = "method_refused"
	bodyTooLarge  Reason = "body_too_large"
	bodyTooSlow   Reason = "body_too_slow"
	formRejected  Reason = "form_rejected" // a form that is sent again after a sign-in, and must not be
	crossOrigin   Reason = "cross_origin"  // another site submitted a form of ours
	requestEnded  Reason = "request_ended" // whoever may end live requests ended it; another like it may be let in
	clientGone    Reason = "client_gone"   // nobody is left to receive a response
)

// Reasons that lie in who is calling.
const (
	untrustedProxy Reason = "untrusted_proxy" // the client may not use forward-auth
	notSignedIn    Reason = "not_signed_in"
	sessionEnded   Reason = "session_ended"
	sessionExpired Reason = "session_expired"
	tokenRefused   Reason = "token_refused"
	unknownUser    Reason = "unknown_user"
	inactiveUser   Reason = "inactive_user"
	suspendedUser  Reason = "suspended"
	damagedRecord  Reason = "damaged_record"
	loginTooOld    Reason = "login_too_old"
	loginTooWeak   Reason = "login_too_weak"
	noRule         Reason = "no_rule"
	ruleDeny       Reason = "rule_deny"
	accessRevoked  Reason = "access_revoked"
)

// Reasons that lie in the service: the request might be allowed at another time.
const (
	tooMany             Reason = "too_many_attempts"
	overloaded          Reason = "overloaded"
	directoryStale      Reason = "directory_stale"
	providerUnavailable Reason = "provider_unavailable"
	auditUnavailable    Reason = "audit_unavailable"
	sessionUnavailable  Reason = "session_unavailable" // sessions cannot be written, or their memory is not up to date
	upstreamUnavailable Reason = "upstream_unavailable"
	upstreamTimeout     Reason = "upstream_timeout"
	informationalFlood  Reason = "upstream_informational" // the upstream sends informational responses without end
	internalError       Reason = "internal_error"         // a fault in our code
)

// meaning is what a reason means to the caller. The text never tells more than the caller may know.
type meaning struct {
	status      int
	title, text string
}

// meanings is the only table that turns reasons into HTTP. A doubt about the request is 400, about who is calling 401; a
// known caller who may not is 403; not being able to decide is 5xx.
var meanings = map[Reason]meaning{
	badHost:             {http.StatusBadRequest, "This address is not valid", "The request does not name a valid host."},
	noRoute:             {http.StatusNotFound, "Nothing is served at this address", "There is no application here. Check the address for a typing mistake."},
	badPath:             {http.StatusBadRequest, "This address is not valid", "Different servers would read this path differently, so it is not passed on."},
	badRequest:          {http.StatusBadRequest, "The request is not valid", "The request could not be understood."},
	methodRefused:       {http.StatusMethodNotAllowed, "That method is not allowed", "This address does not accept requests with that method."},
	bodyTooLarge:        {http.StatusRequestEntityTooLarge, "That is too large", "What you sent is larger than this application accepts."},
	bodyTooSlow:         {http.StatusRequestTimeout, "That took too long", "What you sent did not arrive in time. Try again, on a better connection if you can."},
	formRejected:        {http.StatusBadRequest, "This form cannot be sent again", "It was sent already, was kept for more than two hours, or was filled in by somebody else or in another browser. See in the application whether it arrived; if it did not, fill it in again."},
	crossOrigin:         {http.StatusForbidden, "That came from another site", "Another site tried to do this in your name. If you want to do it, do it from here."},
	requestEnded:        {http.StatusServiceUnavailable, "This request was ended", "The people who run this service ended it while it was under way. What it was to do may be done in part."},
	clientGone:          {metric.StatusClientGone, "The client is gone", "The client closed the connection before the response."},
	untrustedProxy:      {http.StatusForbidden, "Only a trusted proxy may ask this", "Only proxies that the configuration trusts may ask whether a request is allowed."},
	notSignedIn:         {http.StatusUnauthorized, "You are not signed in", "Sign in and try again."},
	sessionEnded:        {http.StatusUnauthorized, "Your session has ended", "You were signed out. Sign in and try again."},
	sessionExpired:      {http.StatusUnauthorized, "Your session has expired", "You were signed in too long ago. Sign in and try again."},
	tokenRefused:        {http.StatusUnauthorized, "The access token was not accepted", "It is invalid, has expired, or is meant for another service."},
	unknownUser:         {http.StatusForbidden, "Your account is not set up here", "You have proved who you are, but your organisation has not given your account access to anything here."},
	inactiveUser:        {http.StatusForbidden, "Your account is switched off", "Your organisation has switched this account off, so it cannot open anything here."},
	suspendedUser:       {http.StatusForbidden, "Your account is suspended", "An operator has suspended your account, so it cannot open anything here."},
	damagedRecord:       {http.StatusForbidden, "Your account cannot be read", "The record of your account is damaged. Your account cannot open anything here until the record is repaired."},
	loginTooOld:         {http.StatusUnauthorized, "Please sign in again", "This asks for a more recent sign-in than yours. Sign in again to go on."},
	loginTooWeak:        {http.StatusUnauthorized, "Please sign in another way", "This asks for a stronger sign-in than yours, such as one with a second factor. Sign in again to go on."},
	noRule:              {http.StatusForbidden, "You may not open this", "No rule allows this for your account. Rules usually name groups; whoever owns the application can say which group you need."},
	accessRevoked:       {http.StatusForbidden, "Your access was taken back", "A review of who has access took back the membership that let you in. If you still need it, ask the owner of the application."},
	ruleDeny:            {http.StatusForbidden, "You may not open this", "A rule denies this to you, whatever your groups otherwise allow."},
	tooMany:             {http.StatusTooManyRequests, "Too many attempts", "Too many attempts came from your network. Try again in a moment."},
	overloaded:          {http.StatusServiceUnavailable, "Too many requests at once", "There are more requests than can be served at once. Try again in a moment."},
	directoryStale:      {http.StatusServiceUnavailable, "We cannot tell right now", "The directory of users is not up to date, so nobody is let in. Try again in a moment."},
	providerUnavailable: {http.StatusServiceUnavailable, "Signing in does not work right now", "The identity provider does not respond. Try again in a moment."},
	auditUnavailable:    {http.StatusServiceUnavailable, "We cannot let you in right now", "Every request has to be recorded, and the record cannot be written. Try again in a moment."},
	sessionUnavailable:  {http.StatusServiceUnavailable, "We cannot tell right now", "Sessions cannot be written or read at the moment. Try again shortly."},
	upstreamUnavailable: {http.StatusBadGateway, "The application does not respond", "You were let in, but the application behind this address cannot be reached."},
	upstreamTimeout:     {http.StatusGatewayTimeout, "The application takes too long", "You were let in, but the application behind this address did not respond in time."},
	informationalFlood:  {http.StatusBadGateway, "The application does not respond", "You were let in, but the application sends preliminary responses without end."},
	internalError:       unknownMeaning,
}

// unknownMeaning is used for a reason without an entry. It denies all the same.
var unknownMeaning = meaning{http.StatusInternalServerError, "Something went wrong", "The request was denied because of a fault in this service."}

// meaning returns what reason means to the caller.
func (reason Reason) meaning() meaning {
	if m, ok := meanings[reason]; ok {
		return m
	}
	return unknownMeaning
}
