package proxy

import (
	"net/http"
	"slices"
	"strings"
)

// The door's own paths, on every host.
const (
	internalPrefix = "/.sallyport/"
	loginPath      = internalPrefix + "login"
	callbackPath   = internalPrefix + "callback"
	acceptPath     = internalPrefix + "accept"
	logoutPath     = internalPrefix + "logout"
	mePath         = internalPrefix + "me"
	jwksPath       = internalPrefix + "jwks.json"
)

// Reasons only the door's own paths have.
const (
	sessionUnavailable = "session_unavailable" // sessions cannot be written, or no longer follow the store
	crossOrigin        = "cross_origin"        // another site tried to press a button of ours
)

// serveDoor answers the door's own paths, and the portal at the root of public_url where no route is.
func (p *Proxy) serveInternal(w http.ResponseWriter, r *http.Request, req *request) {
	private(w.Header())
	switch req.path {
	case loginPath:
		p.allow(w, r, req, p.login, http.MethodGet, http.MethodHead)
	case callbackPath:
		p.allow(w, r, req, p.callback, http.MethodGet)
	case acceptPath:
		p.allow(w, r, req, p.accept, http.MethodGet)
	case logoutPath:
		p.allow(w, r, req, p.logout, http.MethodGet, http.MethodHead, http.MethodPost)
	case backchannelPath:
		p.allow(w, r, req, p.backchannel, http.MethodPost)
	case mePath:
		p.allow(w, r, req, p.me, http.MethodGet, http.MethodHead)
	case jwksPath:
		p.allow(w, r, req, p.jwks, http.MethodGet, http.MethodHead)
	case "/":
		p.allow(w, r, req, p.portal, http.MethodGet, http.MethodHead)
	default:
		p.turnDown(w, r, req, *deny(noRoute, "no such path of the door"))
	}
}

// allow calls serve if the request's method is one of methods.
func (p *Proxy) allow(w http.ResponseWriter, r *http.Request, req *request, serve func(http.ResponseWriter, *http.Request, *request), methods ...string) {
	if !slices.Contains(methods, req.method) {
		w.Header().Set("Allow", strings.Join(methods, ", "))
		p.turnDown(w, r, req, *deny(methodRefused, req.method+" on "+req.path))
		return
	}
	serve(w, r, req)
}

// turnDown logs a refusal of the door's own and says no.
func (p *Proxy) turnDown(w http.ResponseWriter, r *http.Request, req *request, denied denial) {
	p.logDenial(req, &denied)
	p.writeDenial(w, r, req, denied)
}

// redirect sends the browser to a URL that was made or resolved here.
func redirect(w http.ResponseWriter, status int, location string) {
	private(w.Header())
	w.Header().Set("Location", location)
	w.WriteHeader(status)
}

// jwks publishes the keys of assertions, for upstreams and whoever else checks them.
func (p *Proxy) jwks(w http.ResponseWriter, _ *http.Request, _ *request) {
	w.Header().Set("Content-Type", "application/jwk-set+json")
	w.Write(p.assertions.jwks())
}
