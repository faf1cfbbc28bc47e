package canonical

import (
	"errors"
	"net/http"
	"strings"
)

var errTarget = errors.New("the request target is not a path with an optional query")

// RequestHost returns the canonical host of a request. If the request names its host more than once, all names must
// agree (RFC 9113 §8.3.1).
func RequestHost(r *http.Request) (string, error) {
	host, err := Host(r.Host)
	if err != nil || r.URL.User != nil {
		return "", errHost
	}
	if !namesHost(r.URL.Host, host) {
		return "", errHost
	}
	for _, authority := range r.Header["Host"] {
		if !namesHost(authority, host) {
			return "", errHost
		}
	}
	return host, nil
}

// namesHost reports whether an authority is empty or names host.
func namesHost(authority, host string) bool {
	if authority == "" {
		return true
	}
	other, err := Host(authority)
	return err == nil && other == host
}

// RequestTarget returns path and query of the request target as the client wrote them. The query begins with "?" and is
// "" if the target has none.
func RequestTarget(r *http.Request) (path, query string, err error) {
	target := r.RequestURI
	if !strings.HasPrefix(target, "/") {
		var ok bool
		if target, ok = originForm(r); !ok {
			return "", "", errTarget
		}
	}
	return splitTarget(target)
}

// ForwardedTarget returns path and query of the request target that another proxy reports in a header. Unlike a request
// line, a header can hold spaces and control characters; a target with one is an error.
func ForwardedTarget(target string) (path, query string, err error) {
	if strings.Contains(target, " ") || !isText([]byte(target)) {
		return "", "", errTarget
	}
	return splitTarget(target)
}

// splitTarget splits a target in origin form (RFC 9112 §3.2.1) before its "?".
func splitTarget(target string) (path, query string, err error) {
	path, _, _ = strings.Cut(target, "?")
	query = target[len(path):]
	for i := range len(query) {
		if c := query[i]; c <= ' ' || c == 0x7f || c == '#' {
			return "", "", errTarget
		}
	}
	return path, query, nil
}

// originForm converts the target of a request from absolute form (RFC 9112 §3.2.2) to origin form. It drops scheme and
// authority: net/http has already copied the authority to r.Host.
func originForm(r *http.Request) (string, bool) {
	scheme, rest, ok := strings.Cut(r.RequestURI, "://")
	if !ok || r.ProtoMajor != 1 || !strings.EqualFold(scheme, "http") && !strings.EqualFold(scheme, "https") {
		return "", false
	}
	end := strings.IndexAny(rest, "/?#")
	switch {
	case end < 0:
		return "/", true
	case rest[end] == '/':
		return rest[end:], true
	}
	return "/" + rest[end:], rest[end] == '?'
}
