package proxy

import (
	"net/http"
	"slices"
	"strings"
)

// The door's own paths, on every host.
const (
	doorPaths    = "/.sallyport/"
	loginPath    = doorPaths + "login"
	callbackPath = doorPaths + "callback"
	acceptPath   = doorPaths + "accept"
	logoutPath   = doorPaths + "logout"
	mePath       = doorPaths + "me"
	jwksPath     = doorPaths + "jwks.json"
)

// Reasons only the door's own paths have.
const (
	sessionUnavailable = "session_unavailable" // sessions cannot be written, or no longer follow the store
	crossOrigin        = "cross_origin"        // another site tried to press a button of ours
)

// serveDoor answers the door's own paths, and the portal at the root of public_url where no route is.
func (p *Proxy) serveDoor(w http.ResponseWriter, r *http.Request, v *visit) {
	private(w.Header())
	switch v.path {
	case loginPath:
		p.allow(w, r, v, p.login, http.MethodGet, http.MethodHead)
	case callbackPath:
		p.allow(w, r, v, p.callback, http.MethodGet)
	case acceptPath:
		p.allow(w, r, v, p.accept, http.MethodGet)
	case logoutPath:
		p.allow(w, r, v, p.logout, http.MethodGet, http.MethodHead, http.MethodPost)
	case backchannelPath:
		p.allow(w, r, v, p.backchannel, http.MethodPost)
	case mePath:
		p.allow(w, r, v, p.me, http.MethodGet, http.MethodHead)
	case jwksPath:
		p.allow(w, r, v, p.jwks, http.MethodGet, http.MethodHead)
	case "/":
		p.allow(w, r, v, p.portal, http.MethodGet, http.MethodHead)
	default:
		p.turnDown(w, r, v, *refused(noRoute, "no such path of the door"))
	}
}

// allow calls serve if the request's method is one of methods.
func (p *Proxy) allow(w http.ResponseWriter, r *http.Request, v *visit, serve func(http.ResponseWriter, *http.Request, *visit), methods ...string) {
	if !slices.Contains(methods, v.method) {
		w.Header().Set("Allow", strings.Join(methods, ", "))
		p.turnDown(w, r, v, *refused(methodRefused, v.method+" on "+v.path))
		return
	}
	serve(w, r, v)
}

// turnDown logs a refusal of the door's own and says no.
func (p *Proxy) turnDown(w http.ResponseWriter, r *http.Request, v *visit, x refusal) {
	p.tell(v, &x)
	p.refuse(w, r, v, x)
}

// redirect sends the browser to a URL that was made or resolved here.
func redirect(w http.ResponseWriter, status int, location string) {
	private(w.Header())
	w.Header().Set("Location", location)
	w.WriteHeader(status)
}

// jwks publishes the keys of assertions, for upstreams and whoever else checks them.
func (p *Proxy) jwks(w http.ResponseWriter, _ *http.Request, _ *visit) {
	w.Header().Set("Content-Type", "application/jwk-set+json")
	w.Write(p.assertions.jwks())
}
