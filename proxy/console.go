package proxy

import (
	"errors"
	"net/http"
	"net/url"

	"sallyport/console"
)

// servePage serves the pages of package console that people act with, on the login host alone.
func (p *Proxy) servePage(w http.ResponseWriter, r *http.Request, req *request) *denial {
	if p.console == nil || req.host != req.routing.host {
		return deny(noRoute, console.ErrNoPage.Error())
	}
	c := console.Caller{Host: req.host, Address: req.address, Request: req.id}
	if current, ok := p.currentSession(r, req); ok {
		c.Session, c.Person = current, p.person(req.caller)
		c.User, _ = p.directory.ByID(current.User)
	}
	var method *console.MethodError
	switch err := p.console.Serve(w, r, req.path, queryOf(req), c); {
	case err == nil:
		return nil
	case errors.Is(err, console.ErrNoPage):
		return deny(noRoute, err.Error())
	case errors.Is(err, console.ErrNotSignedIn):
		return deny(notSignedIn, err.Error())
	case errors.Is(err, console.ErrCrossOrigin):
		return deny(crossOrigin, err.Error())
	case errors.Is(err, console.ErrTooMany):
		return deny(tooMany, err.Error())
	case errors.As(err, &method):
		return &denial{reason: methodRefused, detail: err.Error(), methods: method.Allowed}
	case errors.Is(err, console.ErrNotRecorded):
		return deny(auditUnavailable, err.Error())
	default:
		return deny(sessionUnavailable, err.Error())
	}
}

// pagesFor returns the pages as the browser's person sees them: with a break-glass session, every page says so.
func (p *Proxy) pagesFor(r *http.Request, req *request) *console.Pages {
	current := p.browserSession(r, req)
	if c := req.caller; c != nil && c.session != nil {
		current, _ = p.sessions.Live(c.session.ID)
	}
	if !current.IsBreakGlass() {
		return p.pages
	}
	return p.pages.For(p.person(&caller{session: current}), current)
}

// codePage returns where a break-glass code is entered, which then leads to returnTo; "" unless the identity provider does
// not respond and a code is armed.
func (p *Proxy) codePage(req *request, denied *denial, returnTo string) string {
	if denied.reason != providerUnavailable || !p.console.AcceptsCodes() {
		return ""
	}
	return req.routing.public.String() + console.CodePath + "?" + url.Values{"return_to": {returnTo}}.Encode()
}
