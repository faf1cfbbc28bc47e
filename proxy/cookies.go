package proxy

import (
	"net/http"
	"slices"
	"strings"

	"sallyport/session"
)

// stripOurCookies returns the lines of a Cookie header without our cookies. The others stay byte for byte as they are.
func stripOurCookies(lines []string) []string {
	if !slices.ContainsFunc(lines, mentionsOurCookie) {
		return lines
	}
	var rest []string
	for _, line := range lines {
		if line = stripOurCookiesLine(line); strings.Trim(line, "; \t") != "" {
			rest = append(rest, line)
		}
	}
	return rest
}

func stripOurCookiesLine(line string) string {
	if !mentionsOurCookie(line) {
		return line
	}
	var rest []string
	for pair := range strings.SplitSeq(line, ";") {
		if !mentionsOurCookie(pair) {
			rest = append(rest, pair)
		}
	}
	return strings.TrimLeft(strings.Join(rest, ";"), " ")
}

// mentionsOurCookie reports whether the name of one of our cookies is anywhere in text: as a name, or where a lenient
// parser might find one.
func mentionsOurCookie(text string) bool {
	const name = session.CookieName
	for i := 0; i+len(name) <= len(text); i++ {
		if text[i] == '_' && strings.EqualFold(text[i:i+len(name)], name) {
			return true
		}
	}
	return false
}

// stripOurSetCookies removes from the headers of a response the cookies that only we may set.
func stripOurSetCookies(h http.Header) {
	cookies := h["Set-Cookie"]
	if !slices.ContainsFunc(cookies, setsOurCookie) {
		return
	}
	if cookies = slices.DeleteFunc(slices.Clone(cookies), setsOurCookie); len(cookies) == 0 {
		delete(h, "Set-Cookie")
		return
	}
	h["Set-Cookie"] = cookies
}

func setsOurCookie(cookie string) bool {
	pair, _, _ := strings.Cut(cookie, ";")
	name, _, found := strings.Cut(pair, "=")
	if !found || strings.TrimSpace(name) == "" { // a browser sends a cookie without a name as its value alone
		return mentionsOurCookie(pair)
	}
	return mentionsOurCookie(name)
}
