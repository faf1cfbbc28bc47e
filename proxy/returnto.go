package proxy

import (
	"net/url"
	"strings"

	"sallyport/proxy/internal/canonical"
)

// redirectTarget is where a browser continues after a login or a logout. It is always written in full, origin first:
// then nothing that a caller sent can be read as another host, however a browser parses paths.
type redirectTarget struct {
	origin string // such as https://grafana.example.com
	path   string // path and query; begins with one slash
}

// String returns the URL of the target.
func (target redirectTarget) String() string { return target.origin + target.path }

// maxReturnTo is the length of the longest return_to, in bytes. It has to fit into the cookies of a flow, and together
// with them into the headers that the server reads.
const maxReturnTo = 16 << 10

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
	host, _ := rt.hostOfOrigin(target.origin)
	if !isURLTarget(path) || !isPlainTarget(path) && !rt.accepts(host, path) {
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

// isURLTarget reports whether target is a path, perhaps with a query and a fragment, that can stand in a URL behind an
// origin.
func isURLTarget(target string) bool {
	_, fragment, _ := strings.Cut(target, "#")
	_, err := url.PathUnescape(fragment)
	return len(target) <= maxReturnTo && strings.HasPrefix(target, "/") && canonical.IsPrintable(target) && err == nil
}

// isPlainTarget reports whether every parser reads target alike.
func isPlainTarget(target string) bool {
	path := pathOf(target)
	decoded, err := url.PathUnescape(path)
	return err == nil && isPlainPath(path) && isPlainPath(decoded)
}

// accepts reports whether a route of host accepts requests for target: one with lenient paths accepts more than plain
// ones. Behind an origin, no browser reads them as another host.
func (rt *routing) accepts(host, target string) bool {
	path, lenient, err := canonical.Path(pathOf(target))
	if err != nil || canonical.Under(path, internalRoot) {
		return false
	}
	route := rt.find(host, path)
	return route != nil && (!lenient || route.lenient)
}

// pathOf returns target without its query and fragment.
func pathOf(target string) string {
	target, _, _ = strings.Cut(target, "#")
	target, _, _ = strings.Cut(target, "?")
	return target
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
