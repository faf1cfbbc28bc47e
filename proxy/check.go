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
)

// Forward-auth: another proxy, the front, has a request in hand and asks at checkPath whether it may pass. What it says
// of that request takes the place of its own in the visit, which then goes the way of every other: nothing but its end
// differs, where the front is told who is calling instead of an upstream.
//
// Whatever follows checkPath in the path is the path that is asked about (the form of Envoy's ext_authz); if nothing
// does, the headers of said do (the form of everybody else). A request in both forms is in neither.
const checkPath = doorPaths + "check"

// What a front says of the request in hand. Each has to be there once.
const (
	saidMethod = "X-Forwarded-Method"
	saidProto  = "X-Forwarded-Proto"
	saidHost   = "X-Forwarded-Host"
	saidURI    = "X-Forwarded-Uri"
)

const (
	secretHeader = "X-Sallyport-Secret" // by which a front proves that it is one
	noRedirect   = "?redirect=false"    // asks for 401 in place of 302, for fronts that cannot hand on the latter
)

// untrustedProxy is the reason for which somebody is not told whether a request may pass.
const untrustedProxy = "untrusted_proxy"

// front is who asks whether a request may pass that is not sent to us.
type front struct {
	address   string // its own
	proven    bool   // it has the secret: it is no client who was passed on to us
	redirects bool   // it hands a redirect on to the browser
}

// readCheck takes from a check the request that is asked about; raw is the check's own path as it came. What the check
// itself is for is not looked at again.
func (v *visit) readCheck(r *http.Request, raw string) *refusal {
	asked := *v
	var x *refusal
	if asked.front, x = v.frontOf(r); x != nil {
		return x
	}
	if !strings.HasPrefix(raw, checkPath) {
		return refused(badPath, "a check's own path is not written as it is") // a front that guards it would not know it
	}
	if name := v.table.misleads(r.Header); name != "" {
		return refused(badRequest, "check with a misleading header "+name)
	}
	if v.path == checkPath {
		x = asked.takeHeaders(r.Header)
	} else {
		x = asked.takePath(r.Header)
	}
	switch {
	case x != nil:
		return x
	case v.host != asked.host && v.host != v.table.host:
		return refused(badHost, "check at another host of ours than it asks about")
	case !asked.table.knows(asked.host), asked.atDoor():
		return refused(noRoute, "check of what no route leads to")
	}
	asked.door = false
	*v = asked
	return nil
}

// frontOf is who asks, if they may: trusted_proxies alone, and of these, where there is a secret, those who have it.
func (v *visit) frontOf(r *http.Request) (*front, *refusal) {
	peer := peerOf(r)
	f := &front{address: peer.String(), redirects: v.query != noRedirect} // some leave the query of the request in hand there
	if !v.table.believes(peer) {
		return nil, refused(untrustedProxy, "check by "+f.address+", which is not in trusted_proxies")
	}
	if v.table.secret == nil {
		return f, nil
	}
	if f.proven = v.table.secret.in(r.Header); !f.proven {
		return nil, refused(untrustedProxy, "check by "+f.address+" without the secret of forward_auth.secret_file in "+secretHeader)
	}
	return f, nil
}

// takeHeaders takes what is asked about from the headers.
func (v *visit) takeHeaders(h http.Header) *refusal {
	if v.method != http.MethodGet && v.method != http.MethodHead {
		return refused(methodRefused, "check by "+v.method)
	}
	for _, name := range []string{saidMethod, saidProto, saidHost, saidURI} {
		if len(h[name]) != 1 { // misleads said that no more came, in no other spelling
			return refused(badRequest, "check without "+name)
		}
	}
	if v.method = h[saidMethod][0]; !methodLike(v.method) {
		return refused(methodRefused, "check of an odd method")
	}
	if v.scheme = h[saidProto][0]; v.scheme != "http" && v.scheme != "https" {
		return refused(badRequest, saidProto+" is neither http nor https")
	}
	var err error
	if v.host, err = canonicalHost(h[saidHost][0]); err != nil {
		return refused(badHost, saidHost+": "+err.Error())
	}
	return v.takeTarget(h[saidURI][0])
}

// takeTarget takes path and query as a front wrote them. No request line could have held a space or a control byte.
func (v *visit) takeTarget(text string) *refusal {
	if strings.Contains(text, " ") || !speakable([]byte(text)) {
		return refused(badPath, saidURI+" is not a target")
	}
	raw, query, ok := splitTarget(text)
	if !ok {
		return refused(badPath, saidURI+" is not a path with an optional query")
	}
	v.query = query
	var err error
	if v.path, v.lenient, err = canonicalPath(raw); err != nil {
		return refused(badPath, saidURI+": "+err.Error())
	}
	return nil
}

// takePath takes what is asked about from the check itself: method, host and query are its own. The path is what
// follows checkPath, and strict, since the whole of it is.
func (v *visit) takePath(h http.Header) *refusal {
	for _, name := range []string{saidMethod, saidHost, saidURI} {
		if len(h[name]) > 0 {
			return refused(badRequest, "check that says by its path and by "+name+" what it asks about")
		}
	}
	if said := h[saidProto]; len(said) > 0 && said[0] != "http" && said[0] != "https" {
		return refused(badRequest, saidProto+" is neither http nor https")
	}
	rest := strings.TrimPrefix(v.path, checkPath)
	path, lenient, err := canonicalPath(rest)
	if err != nil || lenient || path != rest {
		return refused(badPath, "no path by itself when it is taken out of a check's")
	}
	v.path = path
	v.front.redirects = true // the query is not about the answer
	return nil
}

// methodLike says whether text could be the method of a request that is let in.
func methodLike(text string) bool {
	return text != "" && len(text) <= longestMethod && text != http.MethodConnect &&
		strings.Trim(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") == ""
}

// overrides are headers by which an application could see another request than was decided on. Passing one on, we
// drop them; a front does not.
var overrides = []string{"X-Original-Url", "X-Original-Uri", "X-Original-Method", "X-Rewrite-Url", "X-Http-Method",
	"X-Http-Method-Override", "X-Method-Override"}

// misleads names a header of the request in hand that could make the application believe what we did not say: another
// spelling of a header of ours, which the front would not overwrite, a second one, one of overrides, or a usual identity
// header under which we say nothing. It is "" if there is none.
func (t *table) misleads(h http.Header) string {
	for key, lines := range h {
		name := cgiName(key)
		spelling, known := t.managed[name]
		ours := strings.HasPrefix(name, setByUsPrefix) || known && spelling == ""
		switch {
		case (ours || known) && !validHeaderName(key),
			ours && len(lines) > 1,
			slices.Contains(overrides, key),
			t.unspoken[name]:
			return key
		}
	}
	return ""
}

// unspoken are the usual identity headers, by CGI name, that h does not send.
func unspoken(h IdentityHeaders) map[string]bool {
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
func (p *Proxy) vouch(w *responseWriter, l *liveRequest) *refusal {
	if cut := l.cutBy(); cut != nil {
		return cut
	}
	w.closeIfBodyUnread(nil)
	h := w.Header()
	private(h)
	for _, name := range l.table.headers.all() {
		if name != "" {
			h[name] = []string{""}
		}
	}
	if l.caller != nil {
		maps.Copy(h, p.assertions.of(l.table, l.caller, l.route, l.received).headers)
	}
	if name := l.table.headers.Assertion; name != "" && !l.front.proven {
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
func (s secret) in(h http.Header) bool {
	lines := h[secretHeader]
	if len(lines) != 1 {
		return false
	}
	sum := sha256.Sum256([]byte(lines[0]))
	return subtle.ConstantTimeCompare(sum[:], s) == 1
}

// shortestSecret is 128 bits in hexadecimal.
const shortestSecret = 32

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
	if len(line) < shortestSecret || strings.ContainsFunc(line, func(c rune) bool { return c <= ' ' || c > '~' }) {
		return nil, errors.New(path + " must hold one line of at least 32 printable characters; make one with: openssl rand -hex 32")
	}
	sum := sha256.Sum256([]byte(line))
	return sum[:], nil
}
