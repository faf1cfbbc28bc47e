package proxy

import (
	"net/http"
	"slices"
	"strings"
)

// headerNames says which request headers are not forwarded. The key is a CGI name (RFC 3875 §4.1.18), by which many
// applications read headers; the value is the one spelling that is forwarded, or "" if none is.
type headerNames map[string]string

// setByUsPrefix begins the headers with which proxies describe a request. Some of them are set after all were removed.
const setByUsPrefix = "X_FORWARDED_"

// exactHeaders are headers that are forwarded only in canonical spelling. CGI-style applications would take a variant,
// such as Content_Length, for the header itself, with a value that was not checked.
var exactHeaders = []string{"Authorization", "Content-Encoding", "Content-Length", "Content-Type", "Cookie", "Expect", "Host", "Origin", "Referer", "User-Agent", "Sec-Websocket-Extensions", "Sec-Websocket-Key", "Sec-Websocket-Protocol", "Sec-Websocket-Version"}

// maxNameBytes is more than the length of any name in headerNames.
const maxNameBytes = 64

// managedNames returns the names for settings with these identity headers.
func managedNames(identity IdentityHeaders) headerNames {
	names := headerNames{}
	for _, name := range exactHeaders {
		names[cgiName(name)] = name
	}
	for _, name := range hopByHop {
		names[cgiName(name)] = ""
	}
	for name := range setByUs.names {
		names[name] = ""
	}
	for _, name := range Defaults().IdentityHeaders.all() { // even if the settings name others: an upstream may trust the usual ones
		names[cgiName(name)] = ""
	}
	for _, name := range identity.all() {
		if name != "" {
			names[cgiName(name)] = ""
		}
	}
	return names
}

// strip removes from h the headers that are not forwarded, and those that its Connection header names.
func (n headerNames) strip(h http.Header) http.Header {
	hops := connectionOptions(h["Connection"])
	for name := range h {
		if !n.passes(name) {
			delete(h, name)
		}
	}
	for _, name := range hops {
		delete(h, name)
	}
	return h
}

// passes reports whether the header of that name is forwarded.
func (n headerNames) passes(key string) bool {
	var buf [maxNameBytes]byte
	name := appendCGI(buf[:0], key)
	if strings.HasPrefix(string(name), "X_") && setByUs.hasPrefix(string(name)) {
		return false
	}
	spelling, ok := n[string(name)]
	return !ok || spelling == key
}

// appendCGI appends the CGI name of key, up to maxNameBytes.
func appendCGI(to []byte, key string) []byte {
	for i := range min(len(key), maxNameBytes) {
		c := key[i]
		switch {
		case 'a' <= c && c <= 'z':
			c -= 'a' - 'A'
		case 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		default:
			c = '_'
		}
		to = append(to, c)
	}
	return to
}

func cgiName(key string) string { return string(appendCGI(nil, key)) }

// validHeaderName reports whether the configuration may use the name for a header.
func validHeaderName(name string) bool {
	return len(name) < maxNameBytes && strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-") == "" &&
		!strings.HasPrefix(name, "-")
}

// reservedHeader reports whether the header has a meaning of its own, so that it cannot carry an identity.
func reservedHeader(name string) bool {
	key := http.CanonicalHeaderKey(name)
	return slices.Contains(exactHeaders, key) || setByUs.names[cgiName(key)] || overrides.has(cgiName(key)) || slices.Contains(hopByHop, key) || strings.HasPrefix(key, "Content-") ||
		slices.Contains([]string{"X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "Set-Cookie", "Accept", "Range", "Cache-Control"}, key)
}

// fixedHeader reports whether the settings must not edit the header: it frames or routes messages, or sets cookies.
func fixedHeader(name string) bool {
	return slices.Contains([]string{"Connection", "Content-Length", "Host", "Keep-Alive", "Proxy-Connection", "Set-Cookie", "Te", "Trailer", "Transfer-Encoding", "Upgrade"},
		http.CanonicalHeaderKey(name))
}

// canonical returns h with canonical names.
func (h IdentityHeaders) canonical() IdentityHeaders {
	return IdentityHeaders{User: http.CanonicalHeaderKey(h.User), Email: http.CanonicalHeaderKey(h.Email),
		Name: http.CanonicalHeaderKey(h.Name), Groups: http.CanonicalHeaderKey(h.Groups), Assertion: http.CanonicalHeaderKey(h.Assertion)}
}

const upperHex = "0123456789ABCDEF"

// headerValue encodes text so that every parser reads it as one value. Printable ASCII stays; everything else, "%" and
// spaces at either end are percent-encoded.
func headerValue(text string) string { return encodeValue(text, false) }

// encodeValue encodes a value; inList also encodes commas and spaces.
func encodeValue(text string, inList bool) string {
	needsEncoding := func(i int) bool {
		c := text[i]
		return c < ' ' || c > '~' || c == '%' || c == ',' && inList || c == ' ' && (i == 0 || i == len(text)-1 || inList)
	}
	first := 0
	for first < len(text) && !needsEncoding(first) {
		first++
	}
	if first == len(text) {
		return text
	}
	var out strings.Builder
	out.WriteString(text[:first])
	for i := first; i < len(text); i++ {
		if !needsEncoding(i) {
			out.WriteByte(text[i])
			continue
		}
		out.WriteByte('%')
		out.WriteByte(upperHex[text[i]>>4])
		out.WriteByte(upperHex[text[i]&15])
	}
	return out.String()
}

// setIdentity sets the headers that tell the upstream who the caller is.
func (rt *routing) setIdentity(h http.Header, r *route, c *caller) {
	set := func(name, value string) {
		if name != "" && value != "" {
			h[name] = []string{value}
		}
	}
	if c.app() != "" {
		set(rt.headers.User, headerValue(appName(c.app())))
		return
	}
	set(rt.headers.User, userHeader(c.user.UserName))
	set(rt.headers.Email, headerValue(c.user.Email))
	set(rt.headers.Name, headerValue(c.user.DisplayName))
	if rt.headers.Groups != "" {
		set(rt.headers.Groups, groupList(r.groupsOf(c.user)))
	}
}

// userHeader returns the header value of a userName. It never equals that of an application.
func userHeader(userName string) string {
	if rest, ok := strings.CutPrefix(userName, appPrefix); ok {
		return headerValue(strings.TrimSuffix(appPrefix, ":")) + "%3A" + headerValue(rest)
	}
	return headerValue(userName)
}

// groupList joins groups by commas. Commas inside a group are encoded.
func groupList(groups []string) string {
	list := make([]string, len(groups))
	for i, g := range groups {
		list[i] = encodeValue(g, true)
	}
	return strings.Join(list, ",")
}
