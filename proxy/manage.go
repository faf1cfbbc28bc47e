package proxy

import (
	"errors"
	"net/http"
	"slices"

	"sallyport/console/manage"
	"sallyport/policy"
	"sallyport/proxy/internal/canonical"
	"sallyport/proxy/internal/response"
)

// The console is a route without an upstream: a request for it is identified, decided by the console's own policy, recorded
// and live like any other, and is cut when its reader may no longer look.

// compileConsole returns the route of the console, or nil if nobody may look at it.
func compileConsole(s Settings, host string) (*route, error) {
	if !s.Console.On() {
		return nil, nil
	}
	rules, err := policy.Compile([]policy.Named{s.Console.Policy()}, policy.Options{TrustGroupNames: s.TrustGroupNames})
	if err != nil {
		return nil, err
	}
	return &route{name: manage.RouteName, host: host, path: manage.Path, policy: rules, login: &policy.Login{MaxAge: s.Console.Age()}, session: true, keepForms: true, maxBody: manage.MaxBody}, nil
}

// isConsole reports whether a path is that of a page of the console.
func (rt *routing) isConsole(host, path string) bool {
	return rt.console != nil && host == rt.host && canonical.Under(path, manage.Path) && !canonical.Under(path, manage.StaticPath)
}

// consoleUpstream returns the upstream of the console, which counts its requests; nil if there is no console.
func (rt *routing) consoleUpstream() *routeUpstream {
	if rt.console == nil {
		return nil
	}
	return rt.console.upstream
}

// all returns every route, that of the console included.
func (rt *routing) all() []*route {
	if rt.console == nil {
		return rt.routes
	}
	return append(slices.Clip(rt.routes), rt.console)
}

// serveConsole has the console respond to a request that was let in. The context of the request ends when it is cut.
func (p *Proxy) serveConsole(w *response.Writer, r *http.Request, live *liveRequest) *denial {
	if p.manage == nil {
		return deny(noRoute, "this server has no console")
	}
	if r.Body != nil && r.Body != http.NoBody {
		var denied *denial
		if r, denied = p.resumeForm(w, r, live); denied != nil {
			return denied
		}
		w.LimitBody(bodyTimeout)
	}
	w.LimitDrain()
	private(w.Header())
	err := p.manage.Serve(w, r.WithContext(&live.ctx), live.path, p.viewer(live))
	switch {
	case err == nil:
		return nil
	case errors.Is(err, manage.ErrTooMany):
		return deny(tooMany, err.Error())
	}
	return p.pageDenial(err)
}

// viewer returns who looks at the console.
func (p *Proxy) viewer(live *liveRequest) manage.Viewer {
	req := live.request
	change := p.decideRules(req.route, readings{}, req.forTarget(http.MethodPost, req.host, req.path), req.caller, live.user(), req.received)
	c := p.consoleCaller(req)
	c.User, c.Session, c.Person = live.user(), req.caller.session, p.person(req.caller)
	return manage.Viewer{Admin: change.Allow || change.Login != nil, Caller: c, Resumed: req.resumed}
}
