package proxy

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"sallyport/session"
)

// bindingCookie holds a random value that the host of an application gives to a browser before it redirects the browser
// to the login host. The SHA-256 of the value goes along as the parameter bind, and the ticket that comes back is valid
// in this browser alone: a link with the ticket of somebody else signs nobody in.
const bindingCookie = session.CookieName + "-door"

// loginAndReturn redirects a browser to log in and to return to the URL that was denied.
func (p *Proxy) loginAndReturn(w http.ResponseWriter, r *http.Request, req *request, maxAge time.Duration) {
	here := req.routing.origin(req.host)
	for _, path := range []string{req.path + escapeQuery(req.query), req.path, "/"} {
		if target, ok := req.routing.resolve(here+path, here); ok {
			p.redirectToLogin(w, r, req, target, maxAge)
			return
		}
	}
}

// redirectToLogin redirects a browser to the login host, to continue at target. Only the host of target can bind the
// ticket to the browser; for another host, the login host redirects there first.
func (p *Proxy) redirectToLogin(w http.ResponseWriter, r *http.Request, req *request, target redirectTarget, maxAge time.Duration) {
	q := url.Values{"return_to": {target.String()}}
	if maxAge > 0 {
		q.Set("max_age", strconv.Itoa(int(maxAge/time.Second)))
	}
	if req.host != req.routing.host && target.origin == req.routing.origin(req.host) {
		q.Set("bind", bindingOf(bindingValue(w, r)))
	}
	status := http.StatusFound
	if req.authClient != nil && !req.authClient.relaysRedirects {
		w.Header().Set("WWW-Authenticate", challenge(deny(notSignedIn, "")))
		status = http.StatusUnauthorized
	}
	redirect(w, status, req.routing.public.String()+loginPath+"?"+q.Encode())
}

// bindingValue returns the browser's binding cookie and sets it if there is none. Tabs that log in at the same time share
// it.
func bindingValue(w http.ResponseWriter, r *http.Request) string {
	value, ok := session.OneCookie(r.Header, bindingCookie)
	if ok && isRandomToken(value) {
		return value
	}
	var bits [32]byte
	_, _ = rand.Read(bits[:]) // never fails
	value = base64.RawURLEncoding.EncodeToString(bits[:])
	http.SetCookie(w, newCookie(bindingCookie, value))
	return value
}

// bindingOf returns the digest of a binding cookie, which is all that the login host learns.
func bindingOf(cookie string) string {
	sum := sha256.Sum256([]byte(cookie))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// isRandomToken reports whether text is 256 bits in base64url, as binding cookies and their digests are.
func isRandomToken(text string) bool {
	bits, err := base64.RawURLEncoding.Strict().DecodeString(text)
	return err == nil && len(bits) == 32 && len(text) == 43
}

// newCookie returns a cookie for this host alone, hidden from scripts, until the browser closes.
func newCookie(name, value string) *http.Cookie {
	c := session.SetCookie(value)
	c.Name = name
	return c
}

// escapeQuery percent-encodes the bytes of a query that browsers send unencoded and parsers disagree about.
func escapeQuery(query string) string {
	if isPrintable(query) {
		return query
	}
	var b strings.Builder
	for i := range len(query) {
		if isPrintable(query[i : i+1]) {
			b.WriteByte(query[i])
		} else {
			b.WriteByte('%')
			b.WriteByte(upperHex[query[i]>>4])
			b.WriteByte(upperHex[query[i]&15])
		}
	}
	return b.String()
}

// login leads a browser to return_to: at once if it is signed in, otherwise by way of the identity provider. Logins
// happen on the login host; every other host redirects there.
func (p *Proxy) login(w http.ResponseWriter, r *http.Request, req *request) *denial {
	q := queryOf(req)
	target, _ := req.routing.resolve(q.Get("return_to"), req.routing.origin(req.host))
	maxAge := maxAgeOf(q)
	if req.host != req.routing.host {
		p.redirectToLogin(w, r, req, target, maxAge)
		return nil
	}
	binding := q.Get("bind")
	if !isRandomToken(binding) {
		binding = ""
	}
	if current, ok := p.currentSession(r, req); ok && isRecent(current, maxAge, req.received) {
		return p.redirectBack(w, r, req, current, target, binding)
	}
	return p.beginLogin(w, r, req, target, binding, maxAge)
}

// isRecent reports whether the user of s signed in less than maxAge ago; a maxAge of 0 accepts any time.
func isRecent(s *session.Session, maxAge time.Duration, now time.Time) bool {
	return maxAge == 0 || s.Proven && now.Before(s.Authenticated.Add(maxAge))
}

// maxMaxAge is the largest max_age. A larger one is ignored.
const maxMaxAge = 30 * 24 * time.Hour

// maxAgeOf returns how recent the login must be; 0 for any.
func maxAgeOf(q url.Values) time.Duration {
	seconds, err := strconv.Atoi(q.Get("max_age"))
	if err != nil || seconds <= 0 || seconds > int(maxMaxAge/time.Second) {
		return 0
	}
	return time.Duration(seconds) * time.Second
}

// currentSession returns the session of the browser on this host if its user may still use it, and makes that user the
// caller of req.
func (p *Proxy) currentSession(r *http.Request, req *request) (*session.Session, bool) {
	if denied := p.identifySession(r.Header, req); denied != nil || req.caller == nil {
		return nil, false
	}
	if _, denied := p.currentUser(req); denied != nil {
		req.caller = nil
		return nil, false
	}
	return req.caller.session, true
}

// redirectBack redirects a signed-in browser to target. A binding shows that another host has bound the browser: that
// host gets a ticket. Without one, that host redirects the browser back here with a binding.
func (p *Proxy) redirectBack(w http.ResponseWriter, r *http.Request, req *request, current *session.Session, target redirectTarget, binding string) *denial {
	host, _ := req.routing.hostOfOrigin(target.origin)
	if host == req.host || binding == "" {
		redirect(w, http.StatusFound, target.String())
		return nil
	}
	ticket, err := p.sessions.Ticket(r.Context(), current.ID, host, binding)
	switch {
	case isGone(err):
		return p.beginLogin(w, r, req, target, binding, 0)
	case err != nil:
		return deny(sessionUnavailable, err.Error())
	}
	q := url.Values{"ticket": {ticket}, "return_to": {target.path}}
	redirect(w, http.StatusFound, target.origin+acceptPath+"?"+q.Encode())
	return nil
}

// isGone reports whether err means that there is no such session, or no longer.
func isGone(err error) bool {
	return errors.Is(err, session.ErrNone) || errors.Is(err, session.ErrEnded) || errors.Is(err, session.ErrExpired)
}

// queryOf returns the query of req, as far as it can be parsed.
func queryOf(req *request) url.Values {
	q, _ := url.ParseQuery(strings.TrimPrefix(req.query, "?"))
	return q
}
