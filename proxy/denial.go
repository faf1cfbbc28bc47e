package proxy

import (
	"net/http"
	"net/url"
	"strings"

	"sallyport/console"
	"sallyport/policy"
	"sallyport/proxy/internal/canonical"
	"sallyport/proxy/internal/header"
	"sallyport/proxy/internal/response"
	"sallyport/proxy/internal/stepup"
)

// denial is why a request is not allowed, or cannot be served.
type denial struct {
	reason     Reason
	detail     string        // for the log; never for the caller
	disclosed  string        // for the caller, beside the text of the reason; "" for nothing
	rule       string        // the rule that denied; "" if none did
	demand     *policy.Login // of loginTooOld and loginTooWeak: what the rule demands of the login
	methods    []string      // of methodRefused: what is allowed; nil for every common method
	bodyUnread bool          // the body of the request is still to be read
	instead    *meaning      // replaces the title and text of the reason; nil for those
	login      *failedLogin  // set if a login failed
	returnTo   string        // where another account or a break-glass code leads; "": to what was asked for
}

// failedLogin is what the page of a failed login says.
type failedLogin struct {
	why      string
	returnTo string // where the next login leads
}

// deny returns the denial for a reason. The detail is for the log.
func deny(reason Reason, detail string) *denial { return &denial{reason: reason, detail: detail} }

// denyLogin returns the denial of a login that failed. Its page says why, and leads to a new login.
func denyLogin(reason Reason, detail, returnTo, why string) *denial {
	return &denial{reason: reason, detail: detail, login: &failedLogin{why: why, returnTo: returnTo}}
}

func (denied *denial) status() int { return denied.reason.meaning().status }

// meaning returns what the denial means to the caller.
func (denied *denial) meaning() meaning {
	if denied.instead != nil {
		return *denied.instead
	}
	return denied.reason.meaning()
}

// text returns what the caller is told.
func (denied *denial) text() string {
	text := denied.meaning().text
	if denied.disclosed != "" {
		text = strings.TrimSuffix(text, ".") + ": " + denied.disclosed + "."
	}
	return text
}

// writeDenial writes the response of a denial. A browser that navigates without being signed in is redirected to sign
// in; other people get a page, and programs a problem (RFC 9457).
func (p *Proxy) writeDenial(w http.ResponseWriter, r *http.Request, req *request, denied *denial) {
	private(w.Header())
	status := denied.status()
	if status == http.StatusUnauthorized && denied.reason != tokenRefused && req.acceptsSessions() && header.Navigates(r, req.method) {
		p.loginAndReturn(w, r, req, denied.demand)
		return
	}
	if req.route != nil {
		req.route.origins.LetRead(w.Header(), r.Header)
		denied.instead = p.aboutMethod(req, denied.reason)
	}
	switch status {
	case http.StatusUnauthorized:
		w.Header()["Www-Authenticate"] = []string{challenge(denied)}
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", "5")
	case http.StatusMethodNotAllowed:
		w.Header().Set("Allow", allowed(denied.methods))
	}
	if header.WantsPage(r) {
		p.writeDenialPage(w, r, req, denied)
		return
	}
	response.Problem{Status: status, Detail: denied.text(), Reason: string(denied.reason), Request: req.id}.Write(w)
}

// allowed returns the value of an Allow header; every common method if methods is nil.
func allowed(methods []string) string {
	if methods == nil {
		return "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
	}
	return strings.Join(methods, ", ")
}

// private keeps a response of ours out of every cache, and its URL out of the Referer of other sites.
func private(h http.Header) {
	values := []string{"no-store", "no-referrer", "nosniff"}
	h["Cache-Control"], h["Referrer-Policy"], h["X-Content-Type-Options"] = values[0:1:1], values[1:2:2], values[2:3:3]
}

// challenge returns the WWW-Authenticate header of a 401. Only a token that was sent is called invalid (RFC 6750 §3.1).
func challenge(denied *denial) string {
	switch {
	case denied.login != nil:
	case denied.reason == tokenRefused:
		return `Bearer realm="sallyport", error="invalid_token", error_description="` + denied.text() + `"`
	case denied.reason == loginTooOld || denied.reason == loginTooWeak:
		return `Bearer realm="sallyport", ` + stepup.Challenge(denied.text(), denied.demand)
	}
	return `Bearer realm="sallyport"`
}

// writeDenialPage writes the page of a denial for a person.
func (p *Proxy) writeDenialPage(w http.ResponseWriter, r *http.Request, req *request, denied *denial) {
	m, pages := denied.meaning(), p.pagesFor(r, req)
	switch {
	case denied.login != nil:
		page := console.Failed{Status: m.status, Title: "Signing in did not work", Why: denied.login.why,
			Request: req.id, Retry: signInPage(denied.login.returnTo), Code: p.codePage(req, denied, denied.login.returnTo), Ask: true}
		if p.browserSession(r, req) != nil {
			page.Portal = req.portalURL()
		}
		if denied.reason == tokenRefused { // the provider may reject this account each time, without a question
			page.OtherAccount = otherAccount(denied.login.returnTo)
		}
		pages.Failed(w, page)
	case m.status == http.StatusForbidden:
		pages.Denied(w, p.deniedPage(r, req, denied, m))
	case m.status == http.StatusUnauthorized:
		if denied.reason == notSignedIn && req.crossing.IsForeign() {
			m.title, m.text = "A form of another site did not arrive", "With a form of another site, browsers do not say who you are. Nothing was sent to the application. Open it, and start again from there."
		}
		pages.Failed(w, console.Failed{Status: m.status, Title: m.title, Why: m.text, Request: req.id, Portal: req.portalURL(),
			Retry: signInPage(returnPage(r, req))})
	default:
		e := console.Error{Status: m.status, Title: m.title, Detail: m.text, Request: req.id, Code: p.codePage(req, denied, denied.returnTo), Portal: req.portalURL()}
		if m.status >= http.StatusInternalServerError && req.method == http.MethodGet {
			e.Retry = req.path + req.query
		}
		pages.Error(w, e)
	}
}

// deniedPage returns the page for a known caller who is not allowed.
func (p *Proxy) deniedPage(r *http.Request, req *request, denied *denial, m meaning) console.Denied {
	d := console.Denied{Person: p.person(req.caller), Title: m.title, Method: req.method, Why: m.text, Request: req.id}
	if req.route != nil {
		d.URL, d.Owner = req.routing.origin(req.host)+req.path, req.route.owner
	}
	page := denied.returnTo
	if page == "" {
		page = returnPage(r, req)
	}
	if req.caller != nil && (req.caller.session != nil || denied.returnTo != "") {
		d.OtherAccount = otherAccount(page)
	}
	if req.caller != nil && req.caller.session != nil || p.browserSession(r, req) != nil {
		d.Portal = req.portalURL()
	}
	if req.caller != nil && req.caller.session != nil {
		d.SignOut = logoutPath + "?sign_in=" + url.QueryEscape(page)
		if denied.reason == noRule { // more access is a remedy
			d.Access = p.console.Offer(console.Denial{User: req.caller.user, Route: req.route.name, Method: req.method, Path: req.path,
				Query: canonical.EscapeQuery(req.query), Public: req.routing.public.String()})
		}
	}
	return d
}

// otherAccount returns where a person signs in with another account and continues at returnTo. Signing out alone would
// not do: a provider with single sign-on signs the same person in again.
func otherAccount(returnTo string) string {
	return loginPath + "?" + url.Values{"prompt": {promptSelectAccount}, "return_to": {returnTo}}.Encode()
}

// signInPage returns where a person signs in and continues at returnTo.
func signInPage(returnTo string) string {
	return loginPath + "?return_to=" + url.QueryEscape(returnTo)
}

// returnPage returns where a person continues after signing in: at the page that was asked for. What a form or a script
// asked for is no page; the one that holds it is, if the browser names one of this origin.
func returnPage(r *http.Request, req *request) string {
	asked := req.path + canonical.EscapeQuery(req.query)
	if req.method == http.MethodGet || req.method == http.MethodHead {
		return asked
	}
	here, from := req.routing.origin(req.host), r.Header.Get("Referer")
	if from == "" && !req.crossing.IsChange() {
		return asked
	}
	target, _ := req.routing.resolve(from, here)
	if target.Origin != here {
		return "/"
	}
	return target.Path
}

// person returns how a page addresses a caller.
func (p *Proxy) person(c *caller) console.Person {
	if c == nil {
		return console.Person{}
	}
	if c.app() != "" {
		return console.Person{Name: "Application " + c.app()}
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
	case ok:
		return console.PersonOf(user)
	case c.session != nil:
		return console.Person{Name: c.session.UserName}
	}
	return console.Person{Name: c.token.Name, UserName: c.token.Email}
}
