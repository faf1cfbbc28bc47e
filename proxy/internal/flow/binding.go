package flow

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"strconv"
	"strings"
	"time"

	"sallyport/session"
)

// How a session comes from the login host to the host of an application, and why no link of a stranger can misuse it:
//
//  1. The login host has a session with this browser. It redirects to the login path of the application's host with a
//     handoff: session and host, sealed, for five minutes.
//  2. The application's host gives this browser a binding cookie with 256 random bits and redirects back, with the
//     handoff and the SHA-256 of the cookie as the parameter bind.
//  3. The login host compares the handoff with the session of this browser. If they agree, it makes a ticket for that
//     host and that bind, and redirects to the accept path.
//  4. The application's host redeems the ticket, once and within a minute, if the browser has the cookie, and deletes it.
//
// Login CSRF: a stranger's link can make this browser visit any of these URLs, with any parameters. In step 4 the cookie
// decides, whose value this host chose for this browser: a stranger cannot know or set it (__Host-, HttpOnly), so a
// ticket of theirs, bound to a cookie of theirs, signs nobody in. No value in a link is made into a cookie.
//
// Stolen tickets: in step 3 the handoff decides whether bind is believed. A stranger can have a handoff for their own
// session only, so no ticket for this browser's session is ever bound to a cookie of theirs; a ticket that leaks is
// useless without the cookie.
//
// Tabs and frames: each step 2 sets a cookie of its own, named after its digest, so parallel responses do not overwrite
// each other. They exist between steps 2 and 4 only; the oldest go when all together exceed their bound.
const (
	bindingLifetime = 5 * time.Minute
	handoffPurpose  = "handoff"
)

// binding is a kind of cookie that binds something to a browser. Each has 256 random bits and is named after its digest.
type binding struct {
	prefix   string
	lifetime time.Duration
	max      int // bytes of all that a browser has of a host; the oldest are deleted first
}

var (
	handoffs = binding{session.CookieName + "-bind-", bindingLifetime, 4 << 10}
	forms    = binding{session.CookieName + "-form-", FormLifetime, 1 << 10}
)

// Bind gives the browser a binding cookie and returns its digest.
func (b Browser) Bind() string { return b.bind(handoffs) }

func (b Browser) bind(kind binding) (digest string) {
	var bits [32]byte
	_, _ = rand.Read(bits[:]) // never fails
	value := strconv.FormatInt(b.Received.Unix(), 36) + "." + base64.RawURLEncoding.EncodeToString(bits[:])
	digest = bindingOf(value)
	name := kind.name(digest)
	b.clearSurplus(kind.prefix, kind.max-len(name)-len(value), bindingAge)
	b.setCookie(name, value, kind.lifetime)
	return digest
}

// name returns the name of the cookie with a digest.
func (kind binding) name(digest string) string { return kind.prefix + digest[:8] }

// bindingAge returns when a binding cookie was made; 0 if it is none of ours.
func bindingAge(_, value string) int64 {
	text, _, _ := strings.Cut(value, ".")
	seconds, _ := strconv.ParseInt(text, 36, 64)
	return seconds
}

// bindingOf returns the digest of a binding cookie, which is all that the login host learns.
func bindingOf(cookie string) string {
	sum := sha256.Sum256([]byte(cookie))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// TakeBinding returns the digest of the binding cookie that bind names, and deletes the cookie. The digest is that of
// nothing if the browser has no such cookie.
func (b Browser) TakeBinding(bind string) string {
	if !isRandomToken(bind) {
		return bindingOf("")
	}
	value, ok := session.OneCookie(b.Request.Header, handoffs.name(bind))
	if ok {
		b.clearCookies([]string{handoffs.name(bind)})
	}
	return bindingOf(value)
}

// isBound reports whether the browser has the cookie with a digest.
func (b Browser) isBound(kind binding, digest string) bool {
	if !isRandomToken(digest) {
		return false
	}
	value, ok := session.OneCookie(b.Request.Header, kind.name(digest))
	return ok && subtle.ConstantTimeCompare([]byte(bindingOf(value)), []byte(digest)) == 1
}

// SealHandoff returns the handoff of a session to a host.
func (b Browser) SealHandoff(id, host string) (string, error) {
	return b.Sessions.Seal(handoffPurpose, b.Host, []byte(id+" "+host), bindingLifetime)
}

// Verify returns bind if handoff is that of a session to a host, and "" otherwise.
func (b Browser) Verify(handoff, bind, id, host string) string {
	text, err := b.Sessions.Unseal(handoffPurpose, b.Host, handoff)
	if err != nil || string(text) != id+" "+host || !isRandomToken(bind) {
		return ""
	}
	return bind
}

// isRandomToken reports whether text is 256 bits in base64url, as the digests of binding cookies are.
func isRandomToken(text string) bool {
	bits, err := base64.RawURLEncoding.Strict().DecodeString(text)
	return err == nil && len(bits) == 32 && len(text) == 43
}
