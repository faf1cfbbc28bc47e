package proxy

import (
	"net/url"
	"strings"
)

// place is where a browser goes when login or logout is done. It is always written whole, origin first: nothing a
// caller sent can then be read as another host, however a browser reads paths.
type place struct {
	origin string // such as https://grafana.example.com
	target string // path and query; begins with one slash
}

// String is the URL of the place.
func (p place) String() string { return p.origin + p.target }

// longest a return_to may be: it has to fit into a cookie, sealed.
const longestReturn = 2048

// resolve reads a return_to. A path is taken on origin here, a URL if its scheme, host and port are written exactly as
// those of public_url or a route; anything else is the front page here, and not ok. Go (RFC 3986) and browsers (the
// WHATWG URL Standard) read odd URLs differently, so only what every parser reads alike is accepted at all: printable
// ASCII, no backslash, one leading slash before and after a percent-decoding, no empty or dot segments.
func (t *table) resolve(text, here string) (p place, ok bool) {
	p = place{origin: here, target: "/"}
	target := text
	if !strings.HasPrefix(text, "/") {
		scheme, rest, _ := strings.Cut(text, "://")
		authority, _, _ := strings.Cut(rest, "/")
		if _, known := t.hostAt(scheme + "://" + authority); !known {
			return p, false
		}
		p.origin, target = scheme+"://"+authority, rest[len(authority):]
		if target == "" {
			return p, true
		}
	}
	if !plainTarget(target) {
		return p, false
	}
	p.target = target
	return p, true
}

// hostAt is the host of ours that browsers find at origin.
func (t *table) hostAt(origin string) (host string, ok bool) {
	host, ok = strings.CutPrefix(origin, t.public.Scheme+"://")
	if port := t.public.Port(); ok && port != "" {
		host, ok = strings.CutSuffix(host, ":"+port)
	}
	return host, ok && t.knows(host)
}

// plainTarget says whether every parser reads target as a path, perhaps with a query, on the origin before it.
func plainTarget(target string) bool {
	if len(target) > longestReturn || !printable(target) {
		return false
	}
	before, fragment, _ := strings.Cut(target, "#")
	path, _, _ := strings.Cut(before, "?")
	decoded, err := url.PathUnescape(path)
	_, odd := url.PathUnescape(fragment)
	return err == nil && odd == nil && plainPath(path) && plainPath(decoded)
}

// plainPath says whether path is a slash and segments none of which is empty, dots, or odd.
func plainPath(path string) bool {
	if !strings.HasPrefix(path, "/") || strings.Contains(path, "//") {
		return false
	}
	for segment := range strings.SplitSeq(path, "/") {
		if segment == "." || segment == ".." {
			return false
		}
	}
	for i := range len(path) {
		if c := path[i]; c < 0x20 || c == 0x7f || c == '\\' {
			return false
		}
	}
	return true
}

// printable says whether text is printable ASCII without space, backslash or the marks that delimit URLs in text.
func printable(text string) bool {
	for i := range len(text) {
		if c := text[i]; c <= ' ' || c >= 0x7f || c == '\\' || c == '"' || c == '<' || c == '>' {
			return false
		}
	}
	return true
}
