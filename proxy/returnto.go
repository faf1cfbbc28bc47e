package proxy

import (
	"net/url"
	"strings"
)

// redirectTarget is where a browser continues after a login or a logout. It is always written in full, origin first:
// then nothing that a caller sent can be read as another host, however a browser parses paths.
type redirectTarget struct {
	origin string // such as https://grafana.example.com
	path   string // path and query; begins with one slash
}

// String returns the URL of the target.
func (target redirectTarget) String() string { return target.origin + target.path }

// maxReturnTo is the length of the longest return_to, in bytes. It has to fit into a sealed cookie.
const maxReturnTo = 2048

// resolve parses a return_to. A path belongs to the origin here; a URL is accepted if its scheme, host and port are
// written exactly as those of public_url or of a route. Anything else is the root of here, and not ok.
//
// Go (RFC 3986) and browsers (the WHATWG URL Standard) parse unusual URLs differently. Only what every parser reads alike
// is accepted: printable ASCII without backslashes, one leading slash both before and after percent-decoding, no empty
// segments and no dot segments.
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
	if !isPlainTarget(path) {
		return target, false
	}
	target.path = path
	return target, true
}

// hostOfOrigin returns the host of ours that browsers find at origin.
func (rt *routing) hostOfOrigin(origin string) (host string, ok bool) {
	host, ok = strings.CutPrefix(origin, rt.public.Scheme+"://")
	if port := rt.public.Port(); ok && port != "" {
		host, ok = strings.CutSuffix(host, ":"+port)
	}
	return host, ok && rt.hasHost(host)
}

// isPlainTarget reports whether every parser reads target as a path, perhaps with a query and a fragment, of the origin
// before it.
func isPlainTarget(target string) bool {
	if len(target) > maxReturnTo || !isPrintable(target) {
		return false
	}
	beforeFragment, fragment, _ := strings.Cut(target, "#")
	path, _, _ := strings.Cut(beforeFragment, "?")
	decoded, err := url.PathUnescape(path)
	_, fragmentErr := url.PathUnescape(fragment)
	return err == nil && fragmentErr == nil && isPlainPath(path) && isPlainPath(decoded)
}

// isPlainPath reports whether path is a slash and segments, none of which is empty, a dot segment, or holds a backslash
// or a control character.
func isPlainPath(path string) bool {
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

// isPrintable reports whether text is printable ASCII without spaces, backslashes and the characters that delimit URLs in
// text.
func isPrintable(text string) bool {
	for i := range len(text) {
		if c := text[i]; c <= ' ' || c >= 0x7f || c == '\\' || c == '"' || c == '<' || c == '>' {
			return false
		}
	}
	return true
}
