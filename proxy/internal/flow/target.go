package flow

import (
	"net/url"
	"strings"

	"sallyport/proxy/internal/canonical"
)

// Target is where a browser continues after a login or a logout. It is always written in full, origin first: then nothing
// that a caller sent can be read as another host, however a browser parses paths.
type Target struct {
	Origin string // such as https://grafana.example.com
	Path   string // path, query and fragment; begins with one slash
}

// String returns the URL of the target.
func (target Target) String() string { return target.Origin + target.Path }

// MaxTarget is the length of the longest path of a [Target], in bytes. It has to fit into the cookies of a flow, and
// together with them into the headers that the server reads.
const MaxTarget = 16 << 10

// Hosts are the hosts that a target may name.
type Hosts interface {
	// HostOf returns the host of ours that browsers find at origin.
	HostOf(origin string) (host string, ok bool)
	// Accepts reports whether a request to host for path, without query and fragment, can reach an application.
	Accepts(host, path string) bool
}

// Parse parses a return_to. A path belongs to the origin here; a URL is accepted if its scheme, host and port are written
// exactly as hosts has them. Anything else is the root of here, and not ok.
//
// Go (RFC 3986) and browsers (the WHATWG URL Standard) parse unusual URLs differently. Only what every parser reads alike
// is accepted: printable ASCII without backslashes, one leading slash both before and after percent-decoding, no empty
// segments and no dot segments. Other paths are accepted where an application accepts them: behind an origin, no browser
// reads them as another host.
func Parse(text, here string, hosts Hosts) (target Target, ok bool) {
	target = Target{Origin: here, Path: "/"}
	path := text
	if !strings.HasPrefix(text, "/") {
		scheme, rest, _ := strings.Cut(text, "://")
		authority, _, _ := strings.Cut(rest, "/")
		if _, ok := hosts.HostOf(scheme + "://" + authority); !ok {
			return target, false
		}
		target.Origin, path = scheme+"://"+authority, rest[len(authority):]
		if path == "" {
			return target, true
		}
	}
	host, _ := hosts.HostOf(target.Origin)
	if !isURLTarget(path) || !isPlainTarget(path) && !hosts.Accepts(host, pathOf(path)) {
		return target, false
	}
	target.Path = path
	return target, true
}

// isURLTarget reports whether target is a path, perhaps with a query and a fragment, that can stand in a URL behind an
// origin.
func isURLTarget(target string) bool {
	_, fragment, _ := strings.Cut(target, "#")
	_, err := url.PathUnescape(fragment)
	return len(target) <= MaxTarget && strings.HasPrefix(target, "/") && canonical.IsPrintable(target) && err == nil
}

// isPlainTarget reports whether every parser reads target alike.
func isPlainTarget(target string) bool {
	path := pathOf(target)
	decoded, err := url.PathUnescape(path)
	return err == nil && isPlainPath(path) && isPlainPath(decoded)
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
