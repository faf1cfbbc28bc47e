package proxy

import (
	"errors"
	"net/http"

	"sallyport/console"
)

// servePage serves the pages of package console that people act with, on the login host alone.
func (p *Proxy) servePage(w http.ResponseWriter, r *http.Request, req *request) *denial {
	if p.console == nil || req.host != req.routing.host {
		return deny(noRoute, console.ErrNoPage.Error())
	}
	c := console.Caller{Address: req.address, Request: req.id}
	if current, ok := p.currentSession(r, req); ok {
		c.Session, c.Person = current, p.person(req)
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
