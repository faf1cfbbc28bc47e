package proxy

import (
	"net/http"
	"slices"
	"strings"

	"sallyport/session"
)

// withoutOurs is the lines of a Cookie header without our cookies; what remains is as it came, byte for byte.
func withoutOurs(lines []string) []string {
	if !slices.ContainsFunc(lines, mentionsOurs) {
		return lines
	}
	var kept []string
	for _, line := range lines {
		if line = dropOurs(line); strings.Trim(line, "; \t") != "" {
			kept = append(kept, line)
		}
	}
	return kept
}

func dropOurs(line string) string {
	if !mentionsOurs(line) {
		return line
	}
	var kept []string
	for pair := range strings.SplitSeq(line, ";") {
		if !mentionsOurs(pair) {
			kept = append(kept, pair)
		}
	}
	return strings.TrimLeft(strings.Join(kept, ";"), " ")
}

// mentionsOurs says whether the name of one of our cookies stands anywhere in text: as a name, or where a lenient
// parser might find one.
func mentionsOurs(text string) bool {
	const name = session.CookieName
	for i := 0; i+len(name) <= len(text); i++ {
		if text[i] == '_' && strings.EqualFold(text[i:i+len(name)], name) {
			return true
		}
	}
	return false
}

// cleanAnswer removes from an upstream's answer the cookies that are ours alone to set.
func cleanAnswer(h http.Header) {
	cookies := h["Set-Cookie"]
	if !slices.ContainsFunc(cookies, setsOurs) {
		return
	}
	if cookies = slices.DeleteFunc(slices.Clone(cookies), setsOurs); len(cookies) == 0 {
		delete(h, "Set-Cookie")
		return
	}
	h["Set-Cookie"] = cookies
}

func setsOurs(cookie string) bool {
	pair, _, _ := strings.Cut(cookie, ";")
	name, _, found := strings.Cut(pair, "=")
	if !found || strings.TrimSpace(name) == "" { // a nameless cookie is sent back as its value alone
		return mentionsOurs(pair)
	}
	return mentionsOurs(name)
}
