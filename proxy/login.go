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

// doorCookie is a random value an application's host gives a browser before sending it to sign in. Its SHA-256 goes
// along as bind, so that the ticket which comes back is good in this browser alone: a link with somebody else's
// ticket signs nobody in.
const bindingCookie = session.CookieName + "-door"

// sendToLogin sends a browser from where it was refused to sign in, and to come back to the same address.
func (p *Proxy) sendToLogin(w http.ResponseWriter, r *http.Request, req *request, maxAge time.Duration) {
	here := req.routing.origin(req.host)
	for _, target := range []string{req.path + escapeQuery(req.query), req.path, "/"} {
		if target, ok := (req.routing).resolve(here+target, here); ok {
			p.redirectToLogin(w, r, req, target, maxAge)
			return
		}
	}
}

// sendTo sends a browser to the login host, to come back to a place. Only a place on this host can be said to be for
// this browser; another sends the browser round again to say so.
func (p *Proxy) redirectToLogin(w http.ResponseWriter, r *http.Request, req *request, target redirectTarget, maxAge time.Duration) {
	q := url.Values{"return_to": {target.String()}}
	if maxAge > 0 {
		q.Set("max_age", strconv.Itoa(int(maxAge/time.Second)))
	}
	if req.host != req.routing.host && target.origin == req.routing.origin(req.host) {
		q.Set("bind", bindingOf(p.bindingValue(w, r)))
	}
	status := http.StatusFound
	if req.authClient != nil && !req.authClient.relaysRedirects {
		w.Header().Set("WWW-Authenticate", challenge(denial{reason: notSignedIn}))
		status = http.StatusUnauthorized
	}
	redirect(w, status, req.routing.public.String()+loginPath+"?"+q.Encode())
}

// door is the browser's door cookie, given to it if it has none. Tabs that sign in side by side share it.
func (p *Proxy) bindingValue(w http.ResponseWriter, r *http.Request) string {
	value, ok := session.OneCookie(r.Header, bindingCookie)
	if ok && isRandomToken(value) {
		return value
	}
	var bits [32]byte
	rand.Read(bits[:])
	value = base64.RawURLEncoding.EncodeToString(bits[:])
	http.SetCookie(w, newCookie(bindingCookie, value))
	return value
}

// bindOf is what the login host learns of a door cookie.
func bindingOf(door string) string {
	sum := sha256.Sum256([]byte(door))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// tokenLike says whether text has the shape of 256 bits in base64url, as door cookies and binds have.
func isRandomToken(text string) bool {
	bits, err := base64.RawURLEncoding.Strict().DecodeString(text)
	return err == nil && len(bits) == 32 && len(text) == 43
}

// ourCookie is a cookie for this host alone, kept from scripts, until the browser closes.
func newCookie(name, value string) *http.Cookie {
	c := session.SetCookie(value)
	c.Name = name
	return c
}

// escapeOdd percent-encodes the bytes of a query that browsers send as they are and parsers disagree about.
func escapeQuery(query string) string {
	if printable(query) {
		return query
	}
	var b strings.Builder
	for i := range len(query) {
		if printable(query[i : i+1]) {
			b.WriteByte(query[i])
		} else {
			b.WriteString("%" + string("0123456789ABCDEF"[query[i]>>4]) + string("0123456789ABCDEF"[query[i]&15]))
		}
	}
	return b.String()
}

// login brings a browser to where it wants to go: on at once if it is signed in already, else by way of the identity
// provider. It happens on the login host; another host sends the browser there.
func (p *Proxy) login(w http.ResponseWriter, r *http.Request, req *request) {
	q := queryOf(req)
	target, _ := req.routing.resolve(q.Get("return_to"), req.routing.origin(req.host))
	maxAge := maxAgeOf(q)
	if req.host != req.routing.host {
		p.redirectToLogin(w, r, req, target, maxAge)
		return
	}
	bind := q.Get("bind")
	if !isRandomToken(bind) {
		bind = ""
	}
	if current, err := p.currentSession(r, req); err == nil && (maxAge == 0 || current.Proven && req.received.Before(current.Authenticated.Add(maxAge))) {
		p.redirectBack(w, r, req, current, target, bind)
		return
	}
	p.beginLogin(w, r, req, target, bind, maxAge)
}

// longestMaxAge bounds how old a login may be asked for; beyond it, any does.
const maxMaxAge = 30 * 24 * time.Hour

// maxAgeOf is how recent a login is asked for; 0: any.
func maxAgeOf(q url.Values) time.Duration {
	seconds, err := strconv.Atoi(q.Get("max_age"))
	if err != nil || seconds <= 0 || seconds > int(maxMaxAge/time.Second) {
		return 0
	}
	return time.Duration(seconds) * time.Second
}

// standing is the session of the browser on this host, if the user it belongs to may still use it. It leaves what it
// found out in v.
func (p *Proxy) currentSession(r *http.Request, req *request) (*session.Session, error) {
	if denied := p.identifySession(r.Header, req); denied != nil || req.caller == nil {
		return nil, session.ErrNone
	}
	if _, denied := p.currentUser(req); denied != nil {
		req.caller = nil
		return nil, session.ErrEnded
	}
	return req.caller.session, nil
}

// onward sends a browser with a session to a place: to another host with a ticket if that host has said which
// browser it is for, else without, and that host sends it back here saying so.
func (p *Proxy) redirectBack(w http.ResponseWriter, r *http.Request, req *request, current *session.Session, target redirectTarget, bind string) {
	host, _ := req.routing.hostOfOrigin(target.origin)
	if host == req.host || bind == "" {
		redirect(w, http.StatusFound, target.String())
		return
	}
	ticket, err := p.sessions.Ticket(r.Context(), current.ID, host, bind)
	switch {
	case isGone(err):
		p.beginLogin(w, r, req, target, bind, 0)
	case err != nil:
		p.turnDown(w, r, req, denial{status: http.StatusServiceUnavailable, reason: sessionUnavailable, detail: err.Error()})
	default:
		q := url.Values{"ticket": {ticket}, "return_to": {target.path}}
		redirect(w, http.StatusFound, target.origin+acceptPath+"?"+q.Encode())
	}
}

// over says whether err means that there is no session, or no more.
func isGone(err error) bool {
	return errors.Is(err, session.ErrNone) || errors.Is(err, session.ErrEnded) || errors.Is(err, session.ErrExpired)
}

// queryOf is a visit's query, as far as it can be read.
func queryOf(req *request) url.Values {
	q, _ := url.ParseQuery(strings.TrimPrefix(req.query, "?"))
	return q
}
