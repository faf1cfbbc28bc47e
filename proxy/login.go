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
const doorCookie = session.CookieName + "-door"

// sendToLogin sends a browser from where it was refused to sign in, and to come back to the same address.
func (p *Proxy) sendToLogin(w http.ResponseWriter, r *http.Request, v *visit, maxAge time.Duration) {
	here := v.table.origin(v.host)
	for _, target := range []string{v.path + escapeOdd(v.query), v.path, "/"} {
		if to, ok := (v.table).resolve(here+target, here); ok {
			p.sendTo(w, r, v, to, maxAge)
			return
		}
	}
}

// sendTo sends a browser to the login host, to come back to a place. Only a place on this host can be said to be for
// this browser; another sends the browser round again to say so.
func (p *Proxy) sendTo(w http.ResponseWriter, r *http.Request, v *visit, to place, maxAge time.Duration) {
	q := url.Values{"return_to": {to.String()}}
	if maxAge > 0 {
		q.Set("max_age", strconv.Itoa(int(maxAge/time.Second)))
	}
	if v.host != v.table.host && to.origin == v.table.origin(v.host) {
		q.Set("bind", bindOf(p.door(w, r)))
	}
	status := http.StatusFound
	if v.front != nil && !v.front.redirects {
		w.Header().Set("WWW-Authenticate", challenge(refusal{reason: notSignedIn}))
		status = http.StatusUnauthorized
	}
	redirect(w, status, v.table.public.String()+loginPath+"?"+q.Encode())
}

// door is the browser's door cookie, given to it if it has none. Tabs that sign in side by side share it.
func (p *Proxy) door(w http.ResponseWriter, r *http.Request) string {
	value, ok := session.OneCookie(r.Header, doorCookie)
	if ok && tokenLike(value) {
		return value
	}
	var bits [32]byte
	rand.Read(bits[:])
	value = base64.RawURLEncoding.EncodeToString(bits[:])
	http.SetCookie(w, ourCookie(doorCookie, value))
	return value
}

// bindOf is what the login host learns of a door cookie.
func bindOf(door string) string {
	sum := sha256.Sum256([]byte(door))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// tokenLike says whether text has the shape of 256 bits in base64url, as door cookies and binds have.
func tokenLike(text string) bool {
	bits, err := base64.RawURLEncoding.Strict().DecodeString(text)
	return err == nil && len(bits) == 32 && len(text) == 43
}

// ourCookie is a cookie for this host alone, kept from scripts, until the browser closes.
func ourCookie(name, value string) *http.Cookie {
	c := session.SetCookie(value)
	c.Name = name
	return c
}

// escapeOdd percent-encodes the bytes of a query that browsers send as they are and parsers disagree about.
func escapeOdd(query string) string {
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
func (p *Proxy) login(w http.ResponseWriter, r *http.Request, v *visit) {
	q := queryOf(v)
	to, _ := v.table.resolve(q.Get("return_to"), v.table.origin(v.host))
	maxAge := maxAgeOf(q)
	if v.host != v.table.host {
		p.sendTo(w, r, v, to, maxAge)
		return
	}
	bind := q.Get("bind")
	if !tokenLike(bind) {
		bind = ""
	}
	if one, err := p.standing(r, v); err == nil && (maxAge == 0 || one.Proven && v.received.Before(one.Authenticated.Add(maxAge))) {
		p.onward(w, r, v, one, to, bind)
		return
	}
	p.begin(w, r, v, to, bind, maxAge)
}

// longestMaxAge bounds how old a login may be asked for; beyond it, any does.
const longestMaxAge = 30 * 24 * time.Hour

// maxAgeOf is how recent a login is asked for; 0: any.
func maxAgeOf(q url.Values) time.Duration {
	seconds, err := strconv.Atoi(q.Get("max_age"))
	if err != nil || seconds <= 0 || seconds > int(longestMaxAge/time.Second) {
		return 0
	}
	return time.Duration(seconds) * time.Second
}

// standing is the session of the browser on this host, if the user it belongs to may still use it. It leaves what it
// found out in v.
func (p *Proxy) standing(r *http.Request, v *visit) (*session.Session, error) {
	if x := p.identifySession(r.Header, v); x != nil || v.caller == nil {
		return nil, session.ErrNone
	}
	if _, x := p.known(v); x != nil {
		v.caller = nil
		return nil, session.ErrEnded
	}
	return v.caller.session, nil
}

// onward sends a browser with a session to a place: to another host with a ticket if that host has said which
// browser it is for, else without, and that host sends it back here saying so.
func (p *Proxy) onward(w http.ResponseWriter, r *http.Request, v *visit, one *session.Session, to place, bind string) {
	host, _ := v.table.hostAt(to.origin)
	if host == v.host || bind == "" {
		redirect(w, http.StatusFound, to.String())
		return
	}
	ticket, err := p.sessions.Ticket(r.Context(), one.ID, host, bind)
	switch {
	case over(err):
		p.begin(w, r, v, to, bind, 0)
	case err != nil:
		p.turnDown(w, r, v, refusal{status: http.StatusServiceUnavailable, reason: sessionUnavailable, detail: err.Error()})
	default:
		q := url.Values{"ticket": {ticket}, "return_to": {to.target}}
		redirect(w, http.StatusFound, to.origin+acceptPath+"?"+q.Encode())
	}
}

// over says whether err means that there is no session, or no more.
func over(err error) bool {
	return errors.Is(err, session.ErrNone) || errors.Is(err, session.ErrEnded) || errors.Is(err, session.ErrExpired)
}

// queryOf is a visit's query, as far as it can be read.
func queryOf(v *visit) url.Values {
	q, _ := url.ParseQuery(strings.TrimPrefix(v.query, "?"))
	return q
}
