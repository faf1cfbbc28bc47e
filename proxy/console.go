package proxy

import (
	"errors"
	"net/http"
	"net/url"
	"slices"

	"sallyport/console"
)

// servePage serves the pages of package console that people act with: on the login host, and what the page of a denial
// posts on every host.
func (p *Proxy) servePage(w http.ResponseWriter, r *http.Request, req *request) *denial {
	c := p.consoleCaller(req)
	if current, ok := p.currentSession(r, req); ok {
		c.Session, c.Person = current, p.person(req.caller)
		c.User, _ = p.directory.ByID(current.User)
	}
	if err := p.console.Serve(w, r, req.path, queryOf(req), c); err != nil {
		return p.pageDenial(err)
	}
	return nil
}

// consoleCaller returns who asks for a page of ours, without what is known of them.
func (p *Proxy) consoleCaller(req *request) console.Caller {
	return console.Caller{Host: req.host, Address: req.address, Request: req.id, Public: req.routing.public.String(), Login: req.routing.host, Target: req.target,
		Route: func(name string) (console.Reachable, bool) {
			i := slices.IndexFunc(req.routing.routes, func(r *route) bool { return r.name == name && r.session })
			if i < 0 || req.caller == nil {
				return console.Reachable{}, false
			}
			user, denied := p.currentUser(req)
			return p.reachable(req, req.routing.routes[i], user), denied == nil
		}}
}

// pageDenial returns the denial for an error with which a page of ours does not respond.
func (p *Proxy) pageDenial(err error) *denial {
	if method := (*console.MethodError)(nil); errors.As(err, &method) {
		return &denial{reason: methodRefused, detail: err.Error(), methods: method.Allowed}
	}
	for known, reason := range pageErrors {
		if errors.Is(err, known) {
			return deny(reason, err.Error())
		}
	}
	return deny(sessionUnavailable, err.Error())
}

// pageErrors are the errors with which package console does not respond.
var pageErrors = map[error]Reason{console.ErrNoPage: noRoute, console.ErrNotSignedIn: notSignedIn, console.ErrCrossOrigin: crossOrigin,
	console.ErrTooMany: tooMany, console.ErrForm: badRequest, console.ErrNotRecorded: auditUnavailable}

// target returns what text, sent in a form to the host of req, leads to there; false if it leads to no route of the host.
func (req *request) target(text string) (t console.Target, ok bool) {
	here := req.routing.origin(req.host)
	to, ok := req.routing.resolve(text, here)
	other, denied := req.routing.read(http.MethodGet, req.host, to.Path)
	if !ok || to.Origin != here || denied != nil || other.internal || other.findRoute() != nil {
		return t, false
	}
	return console.Target{Route: other.route.name, URL: here + other.path, Path: other.path, Query: other.query}, true
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
// not respond and a code is armed. Another break-glass session would not help whoever has one.
func (p *Proxy) codePage(req *request, denied *denial, returnTo string) string {
	if denied.reason != providerUnavailable || !p.console.AcceptsCodes() || req.caller != nil && req.caller.session.IsBreakGlass() {
		return ""
	}
	return req.routing.public.String() + console.CodePath + "?" + url.Values{"return_to": {returnTo}}.Encode()
}
