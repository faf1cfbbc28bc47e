package session

import (
	"net/http"
	"strings"
)

// CookieName is the name of the cookie that holds a session's token, on each host its own. Browsers accept a cookie
// whose name begins with __Host- only over TLS, for all paths, and from that host alone (RFC 6265bis §4.1.3.2).
const CookieName = "__Host-sallyport"

// Cookie returns the value of the session cookie in header, if there is exactly one and it has the form of a token.
func Cookie(header http.Header) (value string, ok bool) {
	value, ok = OneCookie(header, CookieName)
	return value, ok && isToken(value)
}

// OneCookie returns the value of the cookie called name, if there is exactly one. If there are two, or another whose
// name differs only in case or white space, it returns none: an attacker who can plant a second cookie must not
// choose which of them is read.
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

// SetCookie returns the cookie that gives a browser a token from NewToken or Redeem. The browser drops it when it
// quits; the server alone decides how long the session lasts.
func SetCookie(token string) *http.Cookie { return NewCookie(CookieName, token, 0) }

// NewCookie returns a cookie for this host alone, hidden from scripts, for some seconds; 0 for until the browser quits.
func NewCookie(name, value string, seconds int) *http.Cookie {
	return &http.Cookie{Name: name, Value: value, MaxAge: seconds, Path: "/", Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode}
}

// ClearCookie returns the cookie that makes a browser delete the session cookie.
func ClearCookie() *http.Cookie {
	c := SetCookie("")
	c.MaxAge = -1
	return c
}
