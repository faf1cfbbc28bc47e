package proxy

import (
	"bufio"
	"bytes"
	"cmp"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"sallyport/console"
	"sallyport/proxy/internal/flow"
	"sallyport/proxy/internal/header"
	"sallyport/proxy/internal/origin"
	"sallyport/proxy/internal/response"
	"sallyport/proxy/internal/stepup"
	"sallyport/session"
)

// A form that cannot be sent because nobody is signed in is kept, where its route says so. The page of the denial has it,
// sealed; the person signs in and presses a button, and the page sends it to the address of the form. That request is
// decided like any other, and only then its body is opened, and is what the upstream receives.
//
// Who may send it: the user whose session was over, in the same browser, once. A form of another site is kept too, since
// browsers send no session with it (SameSite). It is offered only where nobody's session came with it, names the site, and
// reaches the upstream with the Origin that it came with: what the upstream knows of other sites stays true.
//
// Nothing is sent without the button, for the application may have changed since, except a form of an origin whose changes
// the route accepts anyway.

// maxForms is the number of forms whose bodies are in memory at once.
const maxForms = 16

// bodyTimeout bounds how long the client may take to send a form that is kept.
const bodyTimeout = 20 * time.Second

const formPrefix = flow.FormField + "="

// writeForm writes the page that keeps the form of a denied request, and reports whether there is a form to keep.
func (p *Proxy) writeForm(w *response.Writer, r *http.Request, req *request, denied *denial) bool {
	if !req.mayKeepForm(r, denied) {
		return false
	}
	select {
	case p.pools.forms <- struct{}{}:
		defer func() { <-p.pools.forms }()
	default:
		return false
	}
	w.LimitBody(bodyTimeout)
	body, err := io.ReadAll(io.LimitReader(r.Body, flow.MaxSealedForm))
	if err != nil || int64(len(body)) != r.ContentLength {
		return false
	}
	page := req.formPage(denied)
	if !p.sealForm(w, r, req, denied, body, &page) {
		return false
	}
	private(w.Header())
	w.Header().Set("WWW-Authenticate", challenge(denied))
	p.pagesFor(r, req).Form(w, page)
	return true
}

// sealForm puts the form of a denied request into page, and reports whether it may be kept.
func (p *Proxy) sealForm(w http.ResponseWriter, r *http.Request, req *request, denied *denial, body []byte, page *console.Form) bool {
	browser := p.browser(w, r, req)
	if sealed, ok := bytes.CutPrefix(body, []byte(formPrefix)); ok { // a form that was kept, and nobody has signed in
		page.Sealed = string(sealed)
		form, ok := browser.OpenForm(page.Sealed)
		return ok && form.IsFor(req.path+req.query)
	}
	form, ok := p.formOf(browser, r, req, denied)
	form.Body = body
	if !ok || !flow.IsForm(form.Type, body) || req.route.maxBody > 0 && len(body) > req.route.maxBody {
		return false
	}
	if form.From != "" {
		page.From, page.Title, page.Why, page.SignIn = form.From, "Another site sent a form", foreignFormText, ""
		page.Auto = req.route.origins.Allow(req.crossing)
	}
	var err error
	page.Sealed, err = browser.KeepForm(form)
	return err == nil
}

const foreignFormText = "With a form of another site, browsers do not say who you are. Send it only if you expect it."

// mayKeepForm reports whether a denied request may have the form of a page, whose route keeps forms.
func (req *request) mayKeepForm(r *http.Request, denied *denial) bool {
	return req.route != nil && req.route.keepForms && req.route.session && denied.bodyUnread && req.authClient == nil &&
		denied.status() == http.StatusUnauthorized && denied.reason != tokenRefused &&
		req.method == http.MethodPost && header.WantsPage(r) && r.ContentLength > 0 && r.ContentLength < flow.MaxSealedForm
}

// formOf returns the form of a denied request, without its body. It is not ok if nobody can tell whose form it is.
func (p *Proxy) formOf(browser flow.Browser, r *http.Request, req *request, denied *denial) (form flow.Form, ok bool) {
	form = flow.Form{Target: req.path + req.query, Type: r.Header.Get("Content-Type")}
	cookie, sent := session.Cookie(r.Header)
	if past, ok := p.sessions.Past(cookie, req.host); ok {
		form.User = past.User
	} else if (denied.reason == loginTooOld || denied.reason == loginTooWeak) && req.caller != nil && req.caller.session != nil {
		form.User = req.caller.session.User
	} else {
		form.User = browser.LastUser()
	}
	if !origin.IsOwn(r.Header, req.routing.origin(req.host)) {
		form.From = cmp.Or(req.crossing.Named(), "null") // as browsers write an origin that they do not name
		return form, req.crossing.IsChange() && (!sent || form.User != "" && req.route.origins.Allow(req.crossing))
	}
	return form, form.User != ""
}

// rememberUser notes whose session the browser has now, where a route of the host keeps forms.
func (req *request) rememberUser(browser flow.Browser, current *session.Session) {
	if slices.ContainsFunc(req.routing.routesOf(req.host), func(r *route) bool { return r.keepForms }) {
		browser.RememberUser(current.User)
	}
}

// formPage returns the page of a form that a denied request has, without the form.
func (req *request) formPage(denied *denial) console.Form {
	m := denied.reason.meaning()
	signIn := url.Values{"return_to": {formPath}}
	stepup.SetParameters(signIn, denied.demand)
	return console.Form{Status: m.status, Title: m.title, Why: m.text + " The form that you sent is kept here, and can be sent then.", Method: req.method,
		URL: req.routing.origin(req.host) + req.path, Action: req.routing.origin(req.host) + req.path + req.query, SignIn: loginPath + "?" + signIn.Encode(), Request: req.id}
}

// resumeForm returns r with the body of the form that it sends again, if it sends one.
func (p *Proxy) resumeForm(w *response.Writer, r *http.Request, live *liveRequest) (*http.Request, *denial) {
	req := live.request
	if !req.route.keepForms || req.method != http.MethodPost || !strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded") ||
		r.ContentLength < int64(len(formPrefix)) || len(r.Header["Expect"]) > 0 {
		return r, nil
	}
	in := &response.Body{Reader: r.Body, StallTimeout: w.Stall, Pace: req.pace(), OnStall: live.stop}
	body := bufio.NewReader(in)
	start, _ := body.Peek(len(formPrefix))
	resumed := r.WithContext(r.Context()) // r keeps its own body: net/http checks how far that was read
	if string(start) != formPrefix {
		resumed.Body = io.NopCloser(body)
		return resumed, nil
	}
	select {
	case p.pools.forms <- struct{}{}:
	default:
		return nil, deny(overloaded, "forms that are sent again")
	}
	defer func() { <-p.pools.forms }()
	text, err := io.ReadAll(io.LimitReader(body, flow.MaxSealedForm))
	if err != nil || int64(len(text)) != r.ContentLength {
		return nil, deny(badRequest, "reading a form that is sent again")
	}
	form, denied := p.openForm(w, r, req, string(text[len(formPrefix):]))
	if denied != nil {
		return nil, denied
	}
	req.resumed = true
	resumed.Body, resumed.ContentLength = io.NopCloser(bytes.NewReader(form.Body)), int64(len(form.Body))
	r.Header["Content-Type"] = []string{form.Type}
	if form.From != "" { // the upstream is to know who sent it first
		r.Header["Origin"], r.Header["Sec-Fetch-Site"] = []string{form.From}, []string{"cross-site"}
		delete(r.Header, "Referer")
	}
	return resumed, nil
}

// openForm returns the form that req sends again, if the caller may send it.
func (p *Proxy) openForm(w http.ResponseWriter, r *http.Request, req *request, sealed string) (flow.Form, *denial) {
	form, ok := p.browser(w, r, req).OpenForm(sealed)
	c := req.caller
	switch {
	case !origin.IsOwn(r.Header, req.routing.origin(req.host)):
		return form, deny(crossOrigin, "a kept form that another origin sends")
	case !ok || !form.IsFor(req.path+req.query):
		return form, deny(formRejected, "expired, or of another browser or address")
	case c == nil || c.session == nil || form.User != "" && form.User != c.session.User:
		return form, deny(formRejected, "of another user")
	}
	first, err := p.sessions.UseForm(r.Context(), c.session.User, form.ID, form.Expires)
	switch {
	case err != nil:
		return form, deny(sessionUnavailable, err.Error())
	case !first:
		return form, deny(formRejected, "sent before")
	}
	return form, nil
}

// form shows the page after the sign-in, which sends the form that the browser's tab keeps.
func (p *Proxy) form(w http.ResponseWriter, r *http.Request, req *request) *denial {
	if _, ok := p.currentSession(r, req); !ok {
		return deny(notSignedIn, "")
	}
	p.pagesFor(r, req).Resume(w, console.Resume{Person: p.person(req.caller)})
	return nil
}
