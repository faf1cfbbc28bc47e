package proxy

import (
	"net/http"
	"slices"
	"strings"

	"sallyport/session"
)

// withoutOurs is the lines of a Cookie header without our cookies; what remains is as it came, byte for byte.
func stripOurCookies(lines []string) []string {
	if !slices.ContainsFunc(lines, mentionsOurCookie) {
		return lines
	}
	var kept []string
	for _, line := range lines {
		if line = stripOurCookiesLine(line); strings.Trim(line, "; \t") != "" {
			kept = append(kept, line)
		}
	}
	return kept
}

func stripOurCookiesLine(line string) string {
	if !mentionsOurCookie(line) {
		return line
	}
	var kept []string
	for pair := range strings.SplitSeq(line, ";") {
		if !mentionsOurCookie(pair) {
			kept = append(kept, pair)
		}
	}
	return strings.TrimLeft(strings.Join(kept, ";"), " ")
}

// mentionsOurs says whether the name of one of our cookies stands anywhere in text: as a name, or where a lenient
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

// cleanAnswer removes from an upstream's answer the cookies that are ours alone to set.
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
	if !found || strings.TrimSpace(name) == "" { // a nameless cookie is sent back as its value alone
		return mentionsOurCookie(pair)
	}
	return mentionsOurCookie(name)
}
