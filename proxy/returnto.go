package proxy

import (
	"net/url"
	"strings"
)

// place is where a browser goes when login or logout is done. It is always written whole, origin first: nothing a
// caller sent can then be read as another host, however a browser reads paths.
type redirectTarget struct {
	origin string // such as https://grafana.example.com
	path   string // path and query; begins with one slash
}

// String is the URL of the place.
func (target redirectTarget) String() string { return target.origin + target.path }

// longest a return_to may be: it has to fit into a cookie, sealed.
const maxReturnTo = 2048

// resolve reads a return_to. A path is taken on origin here, a URL if its scheme, host and port are written exactly as
// those of public_url or a route; anything else is the front page here, and not ok. Go (RFC 3986) and browsers (the
// WHATWG URL Standard) read odd URLs differently, so only what every parser reads alike is accepted at all: printable
// ASCII, no backslash, one leading slash before and after a percent-decoding, no empty or dot segments.
func (rt *routing) resolve(text, here string) (target redirectTarget, ok bool) {
	target = redirectTarget{origin: here, path: "/"}
	path := text
	if !strings.HasPrefix(text, "/") {
		scheme, rest, _ := strings.Cut(text, "://")
		authority, _, _ := strings.Cut(rest, "/")
		if _, ok := rt.hostOfOrigin(scheme + "://" + authority); !ok {
			return target, false
		}
		target.origin, path = scheme+"://"+authority, rest[len(authority):]
		if path == "" {
			return target, true
		}
	}
	if !plainTarget(path) {
		return target, false
	}
	target.path = path
	return target, true
}

// hostAt is the host of ours that browsers find at origin.
func (rt *routing) hostOfOrigin(origin string) (host string, ok bool) {
	host, ok = strings.CutPrefix(origin, rt.public.Scheme+"://")
	if port := rt.public.Port(); ok && port != "" {
		host, ok = strings.CutSuffix(host, ":"+port)
	}
	return host, ok && rt.hasHost(host)
}

// plainTarget says whether every parser reads target as a path, perhaps with a query, on the origin before it.
func plainTarget(target string) bool {
	if len(target) > maxReturnTo || !printable(target) {
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
