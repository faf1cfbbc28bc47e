package proxy

import (
	"net/http"

	"sallyport/directory"
	"sallyport/proxy/internal/header"
	"sallyport/proxy/internal/whoami"
)

// me returns who the proxy takes the caller for.
func (p *Proxy) me(w http.ResponseWriter, r *http.Request, req *request) *denial {
	user, denied := p.identifyInternal(r, req)
	if denied != nil {
		return denied
	}
	body, err := whoami.Caller{User: user, Held: p.heldBy(user), Session: req.caller.session, Token: req.caller.token, Revision: p.directory.Revision()}.JSON()
	if err != nil {
		return deny(internalError, err.Error())
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(body, '\n'))
	return nil
}

// identifyInternal sets the caller of a request for one of our own paths, which accept both sessions and bearer tokens,
// and returns the user; nil for an application. An anonymous caller is denied.
func (p *Proxy) identifyInternal(r *http.Request, req *request) (*directory.User, *denial) {
	token, ok, err := header.BearerToken(r.Header)
	var denied *denial
	switch {
	case err != nil:
		denied = deny(tokenRefused, err.Error())
	case ok:
		denied = p.identifyBearer(r.Context(), req, token, false)
	default:
		denied = p.identifySession(r, req)
	}
	switch {
	case denied != nil:
		return nil, denied
	case req.caller == nil && req.sessionError != "":
		return nil, deny(req.sessionError, "")
	case req.caller == nil:
		return nil, deny(notSignedIn, "")
	}
	user, denied := p.currentUser(req)
	if denied == nil {
		p.authenticated(r.Context())
	}
	return user, denied
}

// currentUser returns what the directory says now of the caller of req.
func (p *Proxy) currentUser(req *request) (*directory.User, *denial) {
	if err := p.directory.Fresh(); err != nil {
		return nil, deny(directoryStale, err.Error())
	}
	return p.checkUser(req.caller, req.received)
}
