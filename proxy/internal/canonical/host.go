package canonical

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

var errHost = errors.New("the host is not a name or an address with an optional port")

// Host returns the one spelling of the host in an authority (RFC 3986 §3.2): lower-case ASCII, without the port and
// without one trailing dot; an IPv6 address in brackets and in its shortest form. The port must be valid, but it is
// dropped: all hosts are served by the same listeners, and links to them carry the port of public_url.
func Host(authority string) (string, error) {
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
		return ipv6Host(name)
	}
	name = strings.TrimSuffix(name, ".")
	if !isHostName(name) {
		return "", errHost
	}
	return strings.ToLower(name), nil
}

// HostName returns the one spelling of a host from the configuration, where hosts have no port. The error says what to
// write instead.
func HostName(text string) (string, error) {
	switch name, port, err := splitPort(text); {
	case text == "":
		return "", errors.New("no host; write for example app.example.com")
	case strings.Contains(text, "*"):
		return "", fmt.Errorf("%q: hosts are exact; write one route for each", text)
	case err == nil && port != "":
		return "", fmt.Errorf("%q: the port is public_url's for every host; write %s", text, name)
	}
	host, err := Host(text)
	if err != nil {
		return "", fmt.Errorf("%q is no host name; write for example app.example.com (international names in their xn-- form)", text)
	}
	return host, nil
}

// splitPort splits an authority into host and port. port is "" if there is no colon; a colon without digits after it is
// an error.
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

// ipv6Host returns the shortest form of an IPv6 address in brackets. An address with a zone or an IPv4 address in it is
// an error: not every server reads it as the same host.
func ipv6Host(bracketed string) (string, error) {
	addr, err := netip.ParseAddr(strings.TrimSuffix(bracketed[1:], "]"))
	if err != nil || !strings.HasSuffix(bracketed, "]") || !addr.Is6() || addr.Is4In6() || addr.Zone() != "" {
		return "", errHost
	}
	return "[" + addr.String() + "]", nil
}

// maxHostBytes is the length limit of a name in DNS.
const maxHostBytes = 253

// isHostName reports whether name consists of labels of letters, digits, dashes and underscores.
func isHostName(name string) bool {
	if len(name) == 0 || len(name) > maxHostBytes {
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

// IsLocal reports whether a canonical host is reachable from its own machine alone.
func IsLocal(host string) bool { return host == "localhost" || strings.HasSuffix(host, ".localhost") }
