package session

import (
	"net/http"
	"strings"
)

// CookieName is the cookie that holds a session's token, on each host by itself. The prefix makes browsers take it
// only over TLS, for the whole host, and from that host alone (RFC 6265bis §4.1.3.2).
const CookieName = "__Host-sallyport"

// Cookie is the value of the session cookie in header, if there is exactly one and it has the shape of a token.
func Cookie(header http.Header) (value string, ok bool) {
	if value, ok = OneCookie(header, CookieName); ok {
		_, ok = digestOf(value)
	}
	return value, ok
}

// OneCookie is the value of the cookie called name, if there is exactly one. Two of them, or one beside another that
// merely looks like it, are nobody's: whoever could plant a second must not choose which is read.
func OneCookie(header http.Header, name string) (value string, ok bool) {
	seen := 0
	for _, line := range header["Cookie"] {
		for pair := range strings.SplitSeq(line, ";") {
			n, v, _ := strings.Cut(strings.Trim(pair, " \t"), "=")
			if strings.EqualFold(strings.TrimSpace(n), name) {
				seen++
				value, ok = v, n == name
			}
		}
	}
	return value, ok && seen == 1
}

// SetCookie is the cookie to give a browser for a token from Grant or Redeem. It lasts as long as the browser runs;
// how long the session lasts is known here, not there.
func SetCookie(token string) *http.Cookie {
	return &http.Cookie{Name: CookieName, Value: token, Path: "/", Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode}
}

// ClearCookie is the cookie that takes the session's away.
func ClearCookie() *http.Cookie {
	c := SetCookie("")
	c.MaxAge = -1
	return c
}
