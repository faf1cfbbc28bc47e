package canonical

import (
	"fmt"
	"strings"
)

// WildcardPrefix begins the host of a route that serves each name one label below another.
const WildcardPrefix = "*."

// RouteHost returns the one spelling of the host of a route: that of [HostName], or of one in which the first label is *.
func RouteHost(text string) (string, error) {
	base, ok := strings.CutPrefix(text, WildcardPrefix)
	switch {
	case strings.Count(text, "*") > 1 || !ok && strings.Contains(text, "*"):
		return "", fmt.Errorf("%q: a * stands for one whole label, the first; write for example *.apps.example.com", text)
	case !ok:
		return HostName(text)
	}
	host, err := HostName(base)
	switch {
	case err != nil:
		return "", fmt.Errorf("%q: %w", text, err)
	case strings.HasPrefix(host, "[") || EndsInNumber(host):
		return "", fmt.Errorf("%q: there are no names below an address; write for example *.apps.example.com", text)
	case !strings.Contains(host, ".") && host != "localhost":
		return "", fmt.Errorf("%q would serve everybody's names; write for example *.apps.example.com", text)
	case len(WildcardPrefix)+len(host) > maxHostBytes:
		return "", fmt.Errorf("%q is too long for a host", text)
	}
	return WildcardPrefix + host, nil
}

// IsWildcard reports whether host, which RouteHost returned, stands for many.
func IsWildcard(host string) bool { return strings.HasPrefix(host, WildcardPrefix) }

// CutLabel returns the first label of a canonical host and the name below which it stands. ok is false if no wildcard
// covers such a host: the label must be of letters, digits and dashes inside, so that it is one label for everybody, and
// must not have dashes at its third and fourth place: such labels stand for others (RFC 5890 §2.3.1), as xn-- does.
func CutLabel(host string) (label, base string, ok bool) {
	label, base, ok = strings.Cut(host, ".")
	return label, base, ok && isPlainLabel(label)
}

func isPlainLabel(label string) bool {
	if label == "" || len(label) > 63 || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
		return false
	}
	return label[0] != '-' && label[len(label)-1] != '-' && (len(label) < 4 || label[2:4] != "--")
}

// EndsInNumber reports whether the last label of a host is a number, so that some parsers read the host as an IPv4 address
// (WHATWG URL §3.5).
func EndsInNumber(host string) bool {
	last := strings.ToLower(host[strings.LastIndexByte(host, '.')+1:])
	if digits, ok := strings.CutPrefix(last, "0x"); ok {
		return strings.Trim(digits, "0123456789abcdef") == ""
	}
	return strings.Trim(last, "0123456789") == ""
}
