package proxy

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"sallyport/console"
)

// words are what people and programs are told of a reason; they never say more than the caller may know.
type denyText struct{ title, text string }

// said is the one table that turns reasons into words.
var denyTexts = map[string]denyText{
	badHost:             {"This address is not valid", "The request names no host that could be served."},
	untrustedProxy:      {"Only a proxy may ask this", "Whether a request may pass is told only to the proxies that the configuration trusts."},
	noRoute:             {"Nothing lives at this address", "No application is served here. Check the address for a typing mistake."},
	badPath:             {"This address is not valid", "The path is written in a way that different servers read differently, so it is not passed on."},
	badRequest:          {"The request is not valid", "It could not be understood."},
	methodRefused:       {"That method is not accepted", "This address does not accept requests of that method."},
	tooMany:             {"Too many attempts", "Too many attempts to sign in came from your network. Try again in a moment."},
	overloaded:          {"Too much is going on", "There are more requests than can be served at once. Try again in a moment."},
	bodyTooLarge:        {"That is too large", "What you sent is larger than this application takes."},
	notSignedIn:         {"You are not signed in", "Sign in and try again."},
	sessionEnded:        {"Your session has ended", "You were signed out. Sign in and try again."},
	sessionExpired:      {"Your session has expired", "You were signed in too long ago. Sign in and try again."},
	tokenRefused:        {"The access token was not accepted", "It is invalid, has expired, or is meant for somebody else."},
	unknownUser:         {"Your account is not set up here", "You have proved who you are, but your organisation has not given your account access to anything here."},
	inactiveUser:        {"Your account is switched off", "Your organisation has switched this account off, so nothing here is open to it."},
	suspendedUser:       {"Your account is suspended", "The people who run this have suspended your account, so nothing here is open to it."},
	damagedRecord:       {"Your account cannot be read", "The record of your account is damaged. Until it is repaired nothing is open to it."},
	loginTooOld:         {"Please sign in again", "This asks for a more recent sign-in than yours. Sign in again to go on."},
	noRule:              {"You may not open this", "No rule lets you in here. Access is given to certain groups, and you are in none that may do this."},
	ruleDeny:            {"You may not open this", "A rule refuses this to you, whatever your groups otherwise allow."},
	directoryStale:      {"We cannot tell right now", "The directory of people is not up to date, so nobody is let in. Try again in a moment."},
	providerUnavailable: {"Signing in does not work right now", "The identity provider does not answer. Try again in a moment."},
	auditUnavailable:    {"We cannot let you in right now", "What happens here has to be recorded, and the record cannot be written. Try again in a moment."},
	upstreamUnavailable: {"The application does not answer", "You were let in, but the application behind this address cannot be reached."},
	sessionUnavailable:  {"We cannot tell right now", "Sessions cannot be written or read at the moment. Try again shortly."},
	crossOrigin:         {"That came from another site", "Another site tried to do this in your name. Do it from here, if it is what you want."},
	upstreamTimeout:     {"The application takes too long", "You were let in, but the application behind this address did not answer in time."},
}

// refuse answers no: a browser going somewhere without being signed in is sent to sign in, people get a page, and
// programs a problem (RFC 9457).
func (p *Proxy) writeDenial(w http.ResponseWriter, r *http.Request, req *request, denied denial) {
	private(w.Header())
	if denied.status == http.StatusUnauthorized && denied.reason != tokenRefused && req.acceptsSessions() && navigates(r, req) {
		p.sendToLogin(w, r, req, denied.maxAge)
		return
	}
	switch denied.status {
	case http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", challenge(denied))
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", "5")
	case http.StatusMethodNotAllowed:
		if w.Header().Get("Allow") == "" {
			w.Header().Set("Allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")
		}
	}
	if wantsPage(r) {
		p.writeDenialPage(w, req, denied)
		return
	}
	writeProblem(w, req, denied)
}

// private keeps an answer of ours out of every cache and its address out of other sites.
func private(h http.Header) {
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
}

// challenge is the WWW-Authenticate of a 401; only a token that was sent is called invalid (RFC 6750 §3.1).
func challenge(denied denial) string {
	switch denied.reason {
	case tokenRefused:
		return `Bearer realm="sallyport", error="invalid_token", error_description="` + denied.text() + `"`
	case loginTooOld: // RFC 9470 §3
		return fmt.Sprintf(`Bearer realm="sallyport", error="insufficient_user_authentication", error_description="%s", max_age=%d`, denyTexts[loginTooOld].text, denied.maxAge/time.Second)
	}
	return `Bearer realm="sallyport"`
}

// text is what the caller is told.
func (denied denial) text() string {
	text := denyTexts[denied.reason].text
	if denied.disclosed != "" {
		text = strings.TrimSuffix(text, ".") + ": " + denied.disclosed + "."
	}
	return text
}

// problem is RFC 9457's, of the type about:blank, with our reason and the request's id beside it.
type problem struct {
	Title   string `json:"title"`
	Status  int    `json:"status"`
	Detail  string `json:"detail"`
	Reason  string `json:"reason"`
	Request string `json:"request"`
}

func writeProblem(w http.ResponseWriter, req *request, denied denial) {
	body, err := json.Marshal(problem{Title: http.StatusText(denied.status), Status: denied.status, Detail: denied.text(), Reason: denied.reason, Request: req.id})
	if err != nil {
		body = []byte("{}")
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)+1))
	w.WriteHeader(denied.status)
	w.Write(append(body, '\n'))
}

// refusePage says no to people.
func (p *Proxy) writeDenialPage(w http.ResponseWriter, req *request, denied denial) {
	say := denyTexts[denied.reason]
	switch denied.status {
	case http.StatusForbidden:
		p.pages.Denied(w, p.denied(req, denied))
	case http.StatusUnauthorized:
		p.pages.Failed(w, console.Failed{Status: denied.status, Title: say.title, Why: say.text, Request: req.id, Retry: loginPath + "?return_to=" + url.QueryEscape(req.path)})
	default:
		e := console.Error{Status: denied.status, Title: say.title, Detail: say.text, Request: req.id}
		if denied.status >= http.StatusInternalServerError && req.method == http.MethodGet {
			e.Retry = req.path + req.query
		}
		p.pages.Error(w, e)
	}
}

func (p *Proxy) denied(req *request, denied denial) console.Denied {
	d := console.Denied{Who: p.who(req), Title: denyTexts[denied.reason].title, Method: req.method, Why: denyTexts[denied.reason].text, Request: req.id}
	if req.route != nil {
		d.URL, d.Owner = req.routing.origin(req.host)+req.path, req.route.owner
	}
	if req.caller != nil && req.caller.session != nil {
		d.SignOut = logoutPath + "?return_to=" + url.QueryEscape(req.path)
	}
	return d
}

// who names a caller to themselves.
func (p *Proxy) who(req *request) console.Who {
	c := req.caller
	if c == nil {
		return console.Who{}
	}
	if c.app() != "" {
		return console.Who{Name: "Application " + c.app()}
	}
	user, ok := c.user, c.user != nil
	switch {
	case ok:
	case c.session != nil:
		user, ok = p.directory.ByID(c.session.User)
	case c.token != nil:
		user, ok = p.directory.Lookup(c.token.Key)
	}
	switch {
	case ok && user.DisplayName != "":
		return console.Who{Name: user.DisplayName, UserName: user.UserName}
	case ok:
		return console.Who{Name: user.UserName}
	case c.session != nil:
		return console.Who{Name: c.session.UserName}
	}
	return console.Who{Name: c.token.Name, UserName: c.token.Email}
}

// takesSessions says whether signing in would help: not where a route takes bearer tokens alone.
func (req *request) acceptsSessions() bool { return req.route == nil || req.route.session }

// navigates says whether a browser is going to a page, as opposed to a page, a script or a program asking for
// something: browsers say so (Fetch Metadata §2.2); of those that do not, a GET for HTML that is no XMLHttpRequest.
func navigates(r *http.Request, req *request) bool {
	if req.method != http.MethodGet || r.Header.Get("Upgrade") != "" {
		return false
	}
	if mode := r.Header["Sec-Fetch-Mode"]; len(mode) > 0 {
		return mode[0] == "navigate"
	}
	return wantsPage(r)
}

// wantsPage says whether a person would read the answer: HTML is accepted, at least as gladly as JSON, and it is not
// for a script.
func wantsPage(r *http.Request) bool {
	if r.Header.Get("X-Requested-With") != "" || r.Header.Get("Upgrade") != "" {
		return false
	}
	if mode := r.Header.Get("Sec-Fetch-Mode"); mode != "" && mode != "navigate" {
		return false
	}
	html := max(accepted(r, "text/html"), accepted(r, "application/xhtml+xml"))
	return html > 0 && html >= max(accepted(r, "application/json"), accepted(r, "application/problem+json"))
}

// accepted is the weight that Accept gives a media type by its name, 0 to 1 (RFC 9110 §12.5.1); wildcards count as
// nothing, for programs send them.
func accepted(r *http.Request, media string) float64 {
	for _, line := range r.Header["Accept"] {
		for part := range strings.SplitSeq(line, ",") {
			name, params, _ := strings.Cut(part, ";")
			if strings.EqualFold(strings.TrimSpace(name), media) {
				return weight(params)
			}
		}
	}
	return 0
}

func weight(params string) float64 {
	for param := range strings.SplitSeq(params, ";") {
		name, value, _ := strings.Cut(param, "=")
		if strings.EqualFold(strings.TrimSpace(name), "q") {
			q, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil || q < 0 || q > 1 {
				return 0
			}
			return q
		}
	}
	return 1
}
