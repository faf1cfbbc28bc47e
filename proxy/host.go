package proxy

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
)

var errHost = errors.New("host is not a name or address with an optional port")

// canonicalHost reads an authority as it came: lower-case ASCII without its port and without one trailing dot. The
// port is checked and forgotten: all hosts are served by the same listeners, and links back to us carry public_url's.
func canonicalHost(authority string) (string, error) {
	name, port, err := splitPort(authority)
	if err != nil {
		return "", err
	}
	if port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || len(port) > 5 {
			return "", errHost
		}
	}
	if strings.HasPrefix(name, "[") {
		return canonicalIPv6(name)
	}
	name = strings.TrimSuffix(name, ".")
	if !hostnameLike(name) {
		return "", errHost
	}
	return strings.ToLower(name), nil
}

// splitPort cuts ":port" off; a colon without a port behind it is an error.
func splitPort(authority string) (name, port string, err error) {
	end := 0
	if strings.HasPrefix(authority, "[") {
		end = strings.IndexByte(authority, ']')
		if end < 0 {
			return "", "", errHost
		}
	}
	colon := strings.IndexByte(authority[end:], ':')
	if colon < 0 {
		return authority, "", nil
	}
	name, port = authority[:end+colon], authority[end+colon+1:]
	if port == "" || strings.Trim(port, "0123456789") != "" {
		return "", "", errHost
	}
	return name, port, nil
}

func canonicalIPv6(bracketed string) (string, error) {
	addr, err := netip.ParseAddr(strings.TrimSuffix(bracketed[1:], "]"))
	if err != nil || !strings.HasSuffix(bracketed, "]") || !addr.Is6() || addr.Is4In6() || addr.Zone() != "" {
		return "", errHost
	}
	return "[" + addr.String() + "]", nil
}

// hostnameLike says that name consists of labels of letters, digits, dashes and underscores.
func hostnameLike(name string) bool {
	if len(name) == 0 || len(name) > 253 {
		return false
	}
	label := 0
	for i := range len(name) {
		switch c := name[i]; {
		case c == '.':
			if label == 0 {
				return false
			}
			label = 0
			continue
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
		default:
			return false
		}
		if label++; label > 63 {
			return false
		}
	}
	return label > 0
}

// hostName reads a host as the configuration names one.
func hostName(text string) (string, error) {
	switch name, port, err := splitPort(text); {
	case text == "":
		return "", fmt.Errorf("no host; write for example app.example.com")
	case strings.Contains(text, "*"):
		return "", fmt.Errorf("%q: hosts are exact; write one route for each", text)
	case err == nil && port != "":
		return "", fmt.Errorf("%q: the port is public_url's for every host; write %s", text, name)
	}
	host, err := canonicalHost(text)
	if err != nil {
		return "", fmt.Errorf("%q is no host name; write for example app.example.com (international names in their xn-- form)", text)
	}
	return host, nil
}

// authority is the host a request is for. Where it says so more than once, all must agree (RFC 9113 §8.3.1).
func authority(r *http.Request) (string, error) {
	host, err := canonicalHost(r.Host)
	if err != nil || r.URL.User != nil {
		return "", errHost
	}
	if !says(r.URL.Host, host) {
		return "", errHost
	}
	for _, again := range r.Header["Host"] {
		if !says(again, host) {
			return "", errHost
		}
	}
	return host, nil
}

// says whether an authority, if there is one, is for host.
func says(authority, host string) bool {
	if authority == "" {
		return true
	}
	other, err := canonicalHost(authority)
	return err == nil && other == host
}

// requestTarget is the path and the query, with its "?", as they came.
func requestTarget(r *http.Request) (path, query string, ok bool) {
	text := r.RequestURI
	if !strings.HasPrefix(text, "/") {
		if text, ok = originForm(r); !ok {
			return "", "", false
		}
	}
	return splitTarget(text)
}

// splitTarget cuts a target in origin form in two (RFC 9112 §3.2.1).
func splitTarget(text string) (path, query string, ok bool) {
	path = text
	if at := strings.IndexByte(text, '?'); at >= 0 {
		path, query = text[:at], text[at:]
	}
	for i := range len(query) {
		if c := query[i]; c <= ' ' || c == 0x7f || c == '#' {
			return "", "", false
		}
	}
	return path, query, true
}

// originForm is the target of a request in absolute form (RFC 9112 §3.2.2) without scheme and authority, which
// net/http has made the request's host.
func originForm(r *http.Request) (string, bool) {
	scheme, rest, found := strings.Cut(r.RequestURI, "://")
	if !found || r.ProtoMajor != 1 || !strings.EqualFold(scheme, "http") && !strings.EqualFold(scheme, "https") {
		return "", false
	}
	at := strings.IndexAny(rest, "/?#")
	switch {
	case at < 0:
		return "/", true
	case rest[at] == '/':
		return rest[at:], true
	}
	return "/" + rest[at:], rest[at] == '?'
}
