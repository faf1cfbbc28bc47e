package proxy

import (
	"maps"
	"net/http"
	"strings"

	"sallyport/proxy/internal/canonical"
	"sallyport/proxy/internal/forwarded"
	"sallyport/proxy/internal/header"
	"sallyport/proxy/internal/response"
)

// Forward-auth: a front proxy holds a request and asks at checkPath whether the request is allowed. The request that it
// asks about replaces the check request; from then on it is processed like any other, except that the result goes to the
// front proxy instead of an upstream.
//
// A check has one of two forms. Envoy's ext_authz puts checkPath before the path of the request and keeps its method,
// host and query. All other front proxies send a GET to checkPath itself and describe the request in X-Forwarded-*
// headers. A check in both forms is rejected.

// The headers with which a front proxy describes a request. Each must be sent exactly once.
const (
	hdrForwardedMethod = "X-Forwarded-Method"
	hdrForwardedProto  = "X-Forwarded-Proto"
	hdrForwardedHost   = "X-Forwarded-Host"
	hdrForwardedURI    = "X-Forwarded-Uri"
)

const noRedirect = "?redirect=false" // asks for 401 in place of 302, for front proxies that cannot relay a redirect

// authClient is the front proxy that asks whether a request is allowed.
type authClient struct {
	address         string
	authenticated   bool // by the shared secret, hence not a client that was proxied to us
	relaysRedirects bool // it relays a redirect to the browser
}

// readCheck replaces req, a check request, with the request that is asked about. raw is the path of the check as the
// client wrote it.
func (req *request) readCheck(r *http.Request, raw string) *denial {
	client, denied := req.newAuthClient(r)
	if denied != nil {
		return denied
	}
	if !strings.HasPrefix(raw, checkPath) { // a front proxy that protects checkPath would not recognize it
		return deny(badPath, "the path of a check is not written literally")
	}
	if name := req.routing.spoofedHeader(r.Header); name != "" {
		return deny(badRequest, "check with the conflicting header "+name)
	}
	var asked *request
	if req.path == checkPath {
		asked, denied = req.askedByHeaders(r.Header)
	} else {
		asked, denied = req.askedByPath(r.Header, client)
	}
	if denied != nil {
		return denied
	}
	switch {
	case req.host != asked.host && req.host != req.routing.host:
		return deny(badHost, "check at another host of ours than it asks about")
	case !req.routing.hasHost(asked.host), asked.isInternal():
		return deny(noRoute, "check of a request that no route serves")
	}
	asked.internal, asked.authClient = false, client
	*req = *asked
	return nil
}

// newAuthClient returns the front proxy that sent a check. It must be in trusted_proxies and, if there is a secret, must
// send it.
func (req *request) newAuthClient(r *http.Request) (*authClient, *denial) {
	peer := forwarded.Peer(r)
	// Some front proxies append the query of the request that they ask about, so only this exact query counts.
	client := &authClient{address: peer.String(), relaysRedirects: req.query != noRedirect}
	if !req.routing.trusts(peer) {
		return nil, deny(untrustedProxy, "check by "+client.address+", which is not in trusted_proxies")
	}
	if req.routing.secret == nil {
		return client, nil
	}
	if client.authenticated = req.routing.secret.SentIn(r.Header); !client.authenticated {
		return nil, deny(untrustedProxy, "check by "+client.address+" without the secret of forward_auth.secret_file in "+header.Secret)
	}
	return client, nil
}

// askedByHeaders returns the request that the X-Forwarded-* headers describe.
func (req *request) askedByHeaders(h http.Header) (*request, *denial) {
	if req.method != http.MethodGet && req.method != http.MethodHead {
		return nil, deny(methodRefused, "check by "+req.method)
	}
	for _, name := range []string{hdrForwardedMethod, hdrForwardedProto, hdrForwardedHost, hdrForwardedURI} {
		if len(h[name]) != 1 { // spoofedHeader rejected duplicates and other spellings
			return nil, deny(badRequest, "check without "+name)
		}
	}
	method, scheme := h[hdrForwardedMethod][0], h[hdrForwardedProto][0]
	if !isMethod(method) {
		return nil, deny(methodRefused, hdrForwardedMethod+" is not a method")
	}
	if !isWebScheme(scheme) {
		return nil, deny(badRequest, hdrForwardedProto+" is neither http nor https")
	}
	host, err := canonical.Host(h[hdrForwardedHost][0])
	if err != nil {
		return nil, deny(badHost, hdrForwardedHost+": "+err.Error())
	}
	raw, query, err := canonical.ForwardedTarget(h[hdrForwardedURI][0])
	if err != nil {
		return nil, deny(badPath, hdrForwardedURI+": "+err.Error())
	}
	path, lenient, err := canonical.Path(raw)
	if err != nil {
		return nil, deny(badPath, hdrForwardedURI+": "+err.Error())
	}
	asked := req.forTarget(method, host, path)
	asked.scheme, asked.query, asked.lenient = scheme, query, lenient
	return asked, nil
}

// askedByPath returns the request that the check itself describes: its method, host and query are those of the check.
// Its path follows checkPath, and is strict because the whole path of the check is.
func (req *request) askedByPath(h http.Header, client *authClient) (*request, *denial) {
	for _, name := range []string{hdrForwardedMethod, hdrForwardedHost, hdrForwardedURI} {
		if len(h[name]) > 0 {
			return nil, deny(badRequest, "check that describes its request both by its path and by "+name)
		}
	}
	if schemes := h[hdrForwardedProto]; len(schemes) > 0 && !isWebScheme(schemes[0]) {
		return nil, deny(badRequest, hdrForwardedProto+" is neither http nor https")
	}
	raw := strings.TrimPrefix(req.path, checkPath)
	path, lenient, err := canonical.Path(raw)
	if err != nil || lenient || path != raw {
		return nil, deny(badPath, "the path after "+checkPath+" is not canonical")
	}
	client.relaysRedirects = true // the query belongs to the request that is asked about
	asked := req.forTarget(req.method, req.host, path)
	asked.query = req.query
	return asked, nil
}

func isWebScheme(scheme string) bool { return scheme == "http" || scheme == "https" }

// isMethod reports whether text could be the method of a request that is let in.
func isMethod(text string) bool {
	return text != "" && len(text) <= maxMethodBytes && text != http.MethodConnect &&
		strings.Trim(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") == ""
}

// spoofedHeader returns the name of a header that could make the application believe what we did not decide; "" if there
// is none. The front proxy forwards the request with the headers of the client, so these are rejected: another spelling
// of a header of ours, which the front proxy would not overwrite; a duplicate of one; and one of [header.Overrides].
// rejectUnset rejects identity headers that the route does not set.
func (rt *routing) spoofedHeader(h http.Header) string {
	for key, lines := range h {
		name := header.CGI(key)
		spelling, managed := rt.managed.Spelling(name)
		ours := strings.HasPrefix(name, header.SetByUsPrefix) || managed && spelling == ""
		switch {
		case (ours || managed) && !header.ValidName(key),
			ours && len(lines) > 1,
			header.Overrides.Has(name):
			return key
		}
	}
	return ""
}

// writeAllowed tells the front proxy that the request is allowed and who is calling. The response holds every identity
// header of every route, even if empty, because the front proxy overwrites what the client sent with it. The assertion is only for a
// front proxy that has authenticated: a client that was proxied to us must not obtain it.
func (p *Proxy) writeAllowed(w *response.Writer, live *liveRequest) *denial {
	if denied := live.cutBy(); denied != nil {
		return denied
	}
	w.CloseIfBodyUnread(nil)
	h := w.Header()
	private(h)
	for _, name := range live.routing.identity {
		h[name] = []string{""}
	}
	if live.caller != nil {
		maps.Copy(h, p.assertions.forCaller(live.routing, live.caller, live.route, live.host, live.received).headers)
	}
	if name := live.route.headers.Assertion; name != "" && !live.authClient.authenticated {
		h[name] = []string{""}
	}
	h.Set("Content-Length", "0")
	w.WriteHeader(http.StatusOK)
	_ = w.Flush() // while the request is live: no response is sent after a change that denies it
	return nil
}
