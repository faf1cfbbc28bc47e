package importer

import (
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"
)

var (
	label    = `[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?`
	hostForm = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^` + label + `(?:\.` + label + `)*$`) })
	// pathForm has the paths that every server reads alike.
	pathForm = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^/[A-Za-z0-9._~/-]*$`) })
)

// plainHost returns the one spelling of a host name or IPv4 address; ok is false for anything else, and for patterns.
func plainHost(text string) (host string, ok bool) {
	host = strings.TrimSuffix(strings.ToLower(text), ".")
	if len(host) > 253 || !hostForm().MatchString(host) {
		return "", false
	}
	last := host[strings.LastIndexByte(host, '.')+1:]
	if strings.Trim(last, "0123456789") == "" || strings.HasPrefix(last, "0x") { // an address, in whatever form
		ip, err := netip.ParseAddr(host)
		return host, err == nil && ip.Is4()
	}
	return host, true
}

// wildcardHost returns a pattern for hosts with one more label than a name of two labels at least.
func wildcardHost(text string) (host string, ok bool) {
	base, ok := strings.CutPrefix(strings.ToLower(text), "*.")
	if !ok {
		return "", false
	}
	base, ok = plainHost(base)
	if _, err := netip.ParseAddr(base); err == nil || len(base) > 180 || strings.Contains(base, "xn--") {
		return "", false
	}
	return "*." + base, ok && strings.Contains(base, ".")
}

// routePath returns a path without a slash at its end; ok is false if a route cannot have it.
func routePath(text string) (p string, ok bool) {
	if text == "" {
		return "/", true
	}
	if len(text) > 500 || !pathForm().MatchString(text) || strings.Contains(text, "//") {
		return "", false
	}
	p = strings.TrimRight(text, "/")
	for segment := range strings.SplitSeq(p, "/") {
		if segment == "." || segment == ".." || segment == ".sallyport" {
			return "", false
		}
	}
	if p == "" {
		p = "/"
	}
	return p, true
}

// upstreamURL is an address to which requests go.
type upstreamURL struct {
	target string // scheme, host and port
	path   string // as written
	secret bool   // the URL had a user or a query, which are left out
}

var upstreamSchemes = map[string]string{"http": "http", "https": "https", "h2c": "h2c"}

// parseUpstream parses an address of the schemes that Sallyport speaks.
func parseUpstream(text string) (u upstreamURL, ok bool) {
	parsed, err := url.Parse(text)
	if err != nil || parsed.Host == "" || parsed.Opaque != "" || upstreamSchemes[parsed.Scheme] == "" {
		return upstreamURL{}, false
	}
	host, ok := plainHost(strings.ReplaceAll(parsed.Hostname(), "_", "-"))
	if strings.Contains(parsed.Hostname(), "_") { // names of Compose may have it; they are no host names
		ok = false
	}
	if ip, err := netip.ParseAddr(parsed.Hostname()); err == nil && ip.Is6() && ip.Zone() == "" && !ip.Is4In6() {
		host, ok = "["+ip.String()+"]", true
	}
	if !ok {
		return upstreamURL{}, false
	}
	if port := parsed.Port(); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || len(port) > 5 {
			return upstreamURL{}, false
		}
		host += ":" + port
	}
	return upstreamURL{parsed.Scheme + "://" + host, parsed.Path, parsed.User != nil || parsed.RawQuery != "" || parsed.Fragment != ""}, true
}

// origin returns scheme and host of a URL at which people are; ok is false if public_url cannot be that.
func origin(text string) (public, host string, ok bool) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil || u.Scheme != "https" && u.Scheme != "http" {
		return "", "", false
	}
	host, ok = plainHost(u.Hostname())
	if !ok || u.Scheme == "http" && host != "localhost" {
		return "", "", false
	}
	if ip, err := netip.ParseAddr(host); err == nil && ip.IsValid() {
		return "", "", false
	}
	public = u.Scheme + "://" + host
	if port := u.Port(); port != "" && port != map[string]string{"http": "80", "https": "443"}[u.Scheme] {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || len(port) > 5 {
			return "", "", false
		}
		public += ":" + port
	}
	return public, host, true
}

// splitAddress splits an address to listen on.
func splitAddress(text string) (host, port string, ok bool) {
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		return "", "", false
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 || len(port) > 5 || port[0] == '0' {
		return "", "", false
	}
	if _, err := netip.ParseAddr(host); err != nil && host != "" && host != "localhost" {
		return "", "", false
	}
	return host, port, true
}

func portOf(address string) string {
	_, port, _ := splitAddress(address)
	return port
}

// listenAddress returns an address to listen on as Sallyport writes it; "" if it is none.
func listenAddress(text string) string {
	text = strings.TrimPrefix(strings.TrimPrefix(text, "http://"), "https://")
	host, port, ok := splitAddress(text)
	switch {
	case !ok:
		return ""
	case host == "":
		host = "0.0.0.0"
	}
	return net.JoinHostPort(host, port)
}

// filePath reports whether a text can be the path of a file in a configuration.
func filePath(text string) bool {
	return text != "" && len(text) < 1000 && writable(text) && strings.TrimSpace(text) == text
}
