package proxy

import (
	"net/http"
	"slices"

	"sallyport/console"
	"sallyport/console/manage"
	"sallyport/proxy/internal/canonical"
	"sallyport/proxy/internal/response"
)

// Our own paths, on every host that we serve.
const (
	internalRoot    = "/.sallyport"
	internalPrefix  = internalRoot + "/"
	loginPath       = internalPrefix + "login"
	callbackPath    = internalPrefix + "callback"
	acceptPath      = internalPrefix + "accept"
	logoutPath      = internalPrefix + "logout"
	mePath          = internalPrefix + "me"
	jwksPath        = internalPrefix + "jwks.json"
	checkPath       = internalPrefix + "check"
	formPath        = internalPrefix + "form"
	backchannelPath = internalPrefix + "backchannel-logout"
	consolePath     = manage.Path
)

// endpoint is what handles one of our own paths. A handler either responds or returns why it does not; it never does
// both.
type endpoint struct {
	methods []string
	handle  func(p *Proxy, w http.ResponseWriter, r *http.Request, req *request) *denial
}

// endpoints are our own paths, without checkPath: a check is decided like the request that it asks about.
var endpoints = map[string]endpoint{
	loginPath:         {[]string{http.MethodGet, http.MethodHead}, (*Proxy).login},
	callbackPath:      {[]string{http.MethodGet}, (*Proxy).callback},
	acceptPath:        {[]string{http.MethodGet}, (*Proxy).accept},
	logoutPath:        {[]string{http.MethodGet, http.MethodHead, http.MethodPost}, (*Proxy).logout},
	backchannelPath:   {[]string{http.MethodPost}, (*Proxy).backchannel},
	formPath:          {[]string{http.MethodGet, http.MethodHead}, (*Proxy).form},
	mePath:            {[]string{http.MethodGet, http.MethodHead}, (*Proxy).me},
	jwksPath:          {[]string{http.MethodGet, http.MethodHead}, (*Proxy).jwks},
	consolePath:       {[]string{http.MethodGet, http.MethodHead}, (*Proxy).noConsole},
	consolePath + "/": {[]string{http.MethodGet, http.MethodHead}, (*Proxy).noConsole},
	"/":               {[]string{http.MethodGet, http.MethodHead}, (*Proxy).portal}, // of public_url, where no route is
}

// serveInternal serves our own paths.
func (p *Proxy) serveInternal(w *response.Writer, r *http.Request, req *request) *denial {
	w.LimitDrain()
	if w.HasBody && !w.HTTP1 {
		r.Body = &response.Body{Reader: r.Body, StallTimeout: response.DrainTimeout, OnStall: w.Stop}
	}
	private(w.Header())
	if p.manage != nil && canonical.Under(req.path, manage.StaticPath) {
		if err := p.manage.Static(w, r, req.path); err != nil {
			return p.pageDenial(err)
		}
		return nil
	}
	e, ok := endpoints[req.path]
	if !ok {
		return p.servePage(w, r, req)
	}
	if !slices.Contains(e.methods, req.method) {
		return &denial{reason: methodRefused, detail: req.method + " on " + req.path, methods: e.methods}
	}
	return e.handle(p, w, r, req)
}

// noConsole says how there can be a console, where nobody may look at it.
func (p *Proxy) noConsole(w http.ResponseWriter, _ *http.Request, req *request) *denial {
	if req.host != req.routing.host {
		return deny(noRoute, "the console is on the host of public_url")
	}
	p.pages.Error(w, console.Error{Status: http.StatusNotFound, Title: "There is no console", Request: req.id, Portal: req.portalURL(),
		Detail: "Nobody may look at it. Whoever configures this service names a group at console.admins.groups, and reloads the configuration."})
	return nil
}

// redirect sends the browser to a URL that was made or resolved here.
func redirect(w http.ResponseWriter, status int, location string) {
	private(w.Header())
	w.Header().Set("Location", location)
	w.WriteHeader(status)
}

// jwks publishes the keys of assertions for upstreams.
func (p *Proxy) jwks(w http.ResponseWriter, _ *http.Request, _ *request) *denial {
	w.Header().Set("Content-Type", "application/jwk-set+json")
	_, _ = w.Write(p.assertions.signer.JWKS())
	return nil
}
