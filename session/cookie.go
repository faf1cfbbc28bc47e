package session

import (
	"net/http"
	"strings"
)

// CookieName is the cookie that holds a session's token, on each host by itself. The prefix makes browsers take it
// only over TLS, for the whole host, and from that host alone (RFC 6265bis §4.1.3.2).
const CookieName = "__Host-sallyport"

// Cookie is the value of the session cookie in header, if there is exactly one and it has the shape of a token. Two
// of them, or one beside another that merely looks like it, are nobody's: whoever could plant a second must not
// choose which is read.
func Cookie(header http.Header) (value string, ok bool) {
	seen := 0
	for _, line := range header["Cookie"] {
		for pair := range strings.SplitSeq(line, ";") {
			name, v, _ := strings.Cut(strings.Trim(pair, " \t"), "=")
			if !strings.EqualFold(strings.TrimSpace(name), CookieName) {
				continue
			}
			seen++
			value, ok = v, name == CookieName
		}
	}
	if seen != 1 || !ok {
		return "", false
	}
	_, ok = digestOf(value)
	return value, ok
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
