package proxy

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"

	"sallyport/proxy/internal/canonical"
)

// Forward-auth: another proxy, the front, has a request in hand and asks at checkPath whether it may pass. What it says
// of that request takes the place of its own in the visit, which then goes the way of every other: nothing but its end
// differs, where the front is told who is calling instead of an upstream.
//
// Whatever follows checkPath in the path is the path that is asked about (the form of Envoy's ext_authz); if nothing
// does, the headers of said do (the form of everybody else). A request in both forms is in neither.
const checkPath = internalPrefix + "check"

// What a front says of the request in hand. Each has to be there once.
const (
	hdrForwardedMethod = "X-Forwarded-Method"
	hdrForwardedProto  = "X-Forwarded-Proto"
	hdrForwardedHost   = "X-Forwarded-Host"
	hdrForwardedURI    = "X-Forwarded-Uri"
)

const (
	secretHeader = "X-Sallyport-Secret" // by which a front proves that it is one
	noRedirect   = "?redirect=false"    // asks for 401 in place of 302, for fronts that cannot hand on the latter
)

// untrustedProxy is the reason for which somebody is not told whether a request may pass.
const untrustedProxy = "untrusted_proxy"

// front is who asks whether a request may pass that is not sent to us.
type authClient struct {
	address         string // its own
	authenticated   bool   // it has the secret: it is no client who was passed on to us
	relaysRedirects bool   // it hands a redirect on to the browser
}

// readCheck takes from a check the request that is asked about; raw is the check's own path as it came. What the check
// itself is for is not looked at again.
func (req *request) readCheck(r *http.Request, raw string) *denial {
	asked := *req
	var denied *denial
	if asked.authClient, denied = req.newAuthClient(r); denied != nil {
		return denied
	}
	if !strings.HasPrefix(raw, checkPath) {
		return deny(badPath, "a check's own path is not written as it is") // a front that guards it would not know it
	}
	if name := req.routing.spoofedHeader(r.Header); name != "" {
		return deny(badRequest, "check with a misleading header "+name)
	}
	if req.path == checkPath {
		denied = asked.readCheckHeaders(r.Header)
	} else {
		denied = asked.readCheckPath(r.Header)
	}
	switch {
	case denied != nil:
		return denied
	case req.host != asked.host && req.host != req.routing.host:
		return deny(badHost, "check at another host of ours than it asks about")
	case !asked.routing.hasHost(asked.host), asked.isInternal():
		return deny(noRoute, "check of what no route leads to")
	}
	asked.internal = false
	*req = asked
	return nil
}

// frontOf is who asks, if they may: trusted_proxies alone, and of these, where there is a secret, those who have it.
func (req *request) newAuthClient(r *http.Request) (*authClient, *denial) {
	peer := peerOf(r)
	client := &authClient{address: peer.String(), relaysRedirects: req.query != noRedirect} // some leave the query of the request in hand there
	if !req.routing.trusts(peer) {
		return nil, deny(untrustedProxy, "check by "+client.address+", which is not in trusted_proxies")
	}
	if req.routing.secret == nil {
		return client, nil
	}
	if client.authenticated = req.routing.secret.matches(r.Header); !client.authenticated {
		return nil, deny(untrustedProxy, "check by "+client.address+" without the secret of forward_auth.secret_file in "+secretHeader)
	}
	return client, nil
}

// takeHeaders takes what is asked about from the headers.
func (req *request) readCheckHeaders(h http.Header) *denial {
	if req.method != http.MethodGet && req.method != http.MethodHead {
		return deny(methodRefused, "check by "+req.method)
	}
	for _, name := range []string{hdrForwardedMethod, hdrForwardedProto, hdrForwardedHost, hdrForwardedURI} {
		if len(h[name]) != 1 { // misleads said that no more came, in no other spelling
			return deny(badRequest, "check without "+name)
		}
	}
	if req.method = h[hdrForwardedMethod][0]; !isMethod(req.method) {
		return deny(methodRefused, "check of an odd method")
	}
	if req.scheme = h[hdrForwardedProto][0]; req.scheme != "http" && req.scheme != "https" {
		return deny(badRequest, hdrForwardedProto+" is neither http nor https")
	}
	var err error
	if req.host, err = canonical.Host(h[hdrForwardedHost][0]); err != nil {
		return deny(badHost, hdrForwardedHost+": "+err.Error())
	}
	return req.readCheckTarget(h[hdrForwardedURI][0])
}

// takeTarget takes path and query as a front wrote them. No request line could have held a space or a control byte.
func (req *request) readCheckTarget(text string) *denial {
	raw, query, err := canonical.ForwardedTarget(text)
	if err != nil {
		return deny(badPath, hdrForwardedURI+": "+err.Error())
	}
	req.query = query
	if req.path, req.lenient, err = canonical.Path(raw); err != nil {
		return deny(badPath, hdrForwardedURI+": "+err.Error())
	}
	return nil
}

// takePath takes what is asked about from the check itself: method, host and query are its own. The path is what
// follows checkPath, and strict, since the whole of it is.
func (req *request) readCheckPath(h http.Header) *denial {
	for _, name := range []string{hdrForwardedMethod, hdrForwardedHost, hdrForwardedURI} {
		if len(h[name]) > 0 {
			return deny(badRequest, "check that says by its path and by "+name+" what it asks about")
		}
	}
	if said := h[hdrForwardedProto]; len(said) > 0 && said[0] != "http" && said[0] != "https" {
		return deny(badRequest, hdrForwardedProto+" is neither http nor https")
	}
	rest := strings.TrimPrefix(req.path, checkPath)
	path, lenient, err := canonical.Path(rest)
	if err != nil || lenient || path != rest {
		return deny(badPath, "no path by itself when it is taken out of a check's")
	}
	req.path = path
	req.authClient.relaysRedirects = true // the query is not about the answer
	return nil
}

// methodLike says whether text could be the method of a request that is let in.
func isMethod(text string) bool {
	return text != "" && len(text) <= maxMethodBytes && text != http.MethodConnect &&
		strings.Trim(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") == ""
}

// overrides are headers by which an application could see another request than was decided on. Passing one on, we
// drop them; a front does not.
var overrideHeaders = []string{"X-Original-Url", "X-Original-Uri", "X-Original-Method", "X-Rewrite-Url", "X-Http-Method",
	"X-Http-Method-Override", "X-Method-Override"}

// misleads names a header of the request in hand that could make the application believe what we did not say: another
// spelling of a header of ours, which the front would not overwrite, a second one, one of overrides, or a usual identity
// header under which we say nothing. It is "" if there is none.
func (rt *routing) spoofedHeader(h http.Header) string {
	for key, lines := range h {
		name := cgiName(key)
		spelling, known := rt.managed[name]
		ours := strings.HasPrefix(name, setByUsPrefix) || known && spelling == ""
		switch {
		case (ours || known) && !validHeaderName(key),
			ours && len(lines) > 1,
			slices.Contains(overrideHeaders, key),
			rt.unusedIdentityHeaders[name]:
			return key
		}
	}
	return ""
}

// unspoken are the usual identity headers, by CGI name, that h does not send.
func unusedIdentityHeaders(h IdentityHeaders) map[string]bool {
	names := map[string]bool{}
	for _, name := range Defaults().IdentityHeaders.all() {
		names[cgiName(name)] = true
	}
	for _, name := range h.all() {
		delete(names, cgiName(name))
	}
	return names
}

// vouch tells the front that the request may pass, and who is calling. Every identity header is in the answer, empty
// ones too: what it overwrites in the front's hand came from the client. The assertion is for a front that has proved to
// be one; a client whom a front passed on to us must not hold it.
func (p *Proxy) writeAllowed(w *responseWriter, live *liveRequest) *denial {
	if cut := live.cutBy(); cut != nil {
		return cut
	}
	w.closeIfBodyUnread(nil)
	h := w.Header()
	private(h)
	for _, name := range live.routing.headers.all() {
		if name != "" {
			h[name] = []string{""}
		}
	}
	if live.caller != nil {
		maps.Copy(h, p.assertions.forCaller(live.routing, live.caller, live.route, live.received).headers)
	}
	if name := live.routing.headers.Assertion; name != "" && !live.authClient.authenticated {
		h[name] = []string{""}
	}
	h.Set("Content-Length", "0")
	w.WriteHeader(http.StatusOK)
	_ = w.control.Flush() // while it is live: no answer leaves that a change has overtaken
	return nil
}

// secret is the SHA-256 of what fronts have to send; nil: none is asked for.
type secret []byte

// in says whether the headers have the secret, once.
func (s secret) matches(h http.Header) bool {
	lines := h[secretHeader]
	if len(lines) != 1 {
		return false
	}
	sum := sha256.Sum256([]byte(lines[0]))
	return subtle.ConstantTimeCompare(sum[:], s) == 1
}

// shortestSecret is 128 bits in hexadecimal.
const minSecretBytes = 32

// readSecret reads the file a setting names, if it names one. Its errors do not tell what it holds.
func readSecret(path string) (secret, error) {
	if path == "" {
		return nil, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the secret of fronts: %w", err)
	}
	line := strings.TrimRight(string(text), "\r\n")
	if len(line) < minSecretBytes || strings.ContainsFunc(line, func(c rune) bool { return c <= ' ' || c > '~' }) {
		return nil, errors.New(path + " must hold one line of at least 32 printable characters; make one with: openssl rand -hex 32")
	}
	sum := sha256.Sum256([]byte(line))
	return sum[:], nil
}
