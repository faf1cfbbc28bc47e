package header

import (
	"net/http"
	"slices"
	"strings"

	"sallyport/session"
)

// StripCookies returns the lines of a Cookie header without our cookies. The others stay byte for byte as they are.
func StripCookies(lines []string) []string {
	if !slices.ContainsFunc(lines, mentionsCookie) {
		return lines
	}
	var rest []string
	for _, line := range lines {
		if line = stripLine(line); strings.Trim(line, "; \t") != "" {
			rest = append(rest, line)
		}
	}
	return rest
}

func stripLine(line string) string {
	if !mentionsCookie(line) {
		return line
	}
	var rest []string
	for pair := range strings.SplitSeq(line, ";") {
		if !mentionsCookie(pair) {
			rest = append(rest, pair)
		}
	}
	return strings.TrimLeft(strings.Join(rest, ";"), " ")
}

// mentionsCookie reports whether the name of one of our cookies is anywhere in text: as a name, or where a lenient
// parser might find one.
func mentionsCookie(text string) bool {
	const name = session.CookieName
	for i := 0; i+len(name) <= len(text); i++ {
		if text[i] == '_' && strings.EqualFold(text[i:i+len(name)], name) {
			return true
		}
	}
	return false
}

// StripSetCookies removes from the headers of a response the cookies that only we may set.
func StripSetCookies(h http.Header) {
	cookies := h["Set-Cookie"]
	if !slices.ContainsFunc(cookies, setsCookie) {
		return
	}
	if cookies = slices.DeleteFunc(slices.Clone(cookies), setsCookie); len(cookies) == 0 {
		delete(h, "Set-Cookie")
		return
	}
	h["Set-Cookie"] = cookies
}

func setsCookie(cookie string) bool {
	pair, _, _ := strings.Cut(cookie, ";")
	name, _, found := strings.Cut(pair, "=")
	if !found || strings.TrimSpace(name) == "" { // a browser sends a cookie without a name as its value alone
		return mentionsCookie(pair)
	}
	return mentionsCookie(name)
}
