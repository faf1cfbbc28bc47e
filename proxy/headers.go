package proxy

import (
	"net/http"
	"slices"
	"strings"
)

// headerNames says which request headers may not pass: by CGI name (RFC 3875 §4.1.18, by which many applications
// read headers), the one spelling of it that may, or "" if none may.
type headerNames map[string]string

// setByUs are headers that upstreams believe of a proxy, and those by which frameworks let a request be another than
// the one we decided on. No spelling passes; some are set afterwards. All that begin with setByUsPrefix are too.
var setByUs = []string{"Forwarded", "X-Real-Ip", "Proxy", "X-Original-Url", "X-Original-Uri", "X-Original-Method",
	"X-Rewrite-Url", "X-Http-Method", "X-Http-Method-Override", "X-Method-Override", secretHeader}

const setByUsPrefix = "X_FORWARDED_"

// exactHeaders are headers that pass in their own spelling only: another that an application took for them would say
// something we did not look at.
var exactHeaders = []string{"Authorization", "Content-Encoding", "Content-Length", "Content-Type", "Cookie", "Expect", "Host", "Origin", "Referer", "User-Agent", "Sec-Websocket-Extensions", "Sec-Websocket-Key", "Sec-Websocket-Protocol", "Sec-Websocket-Version"}

// longestName is longer than any name in headerNames.
const longestName = 64

// managedNames are the names for one table.
func managedNames(identity IdentityHeaders) headerNames {
	names := headerNames{}
	for _, name := range exactHeaders {
		names[cgiName(name)] = name
	}
	for _, name := range slices.Concat(setByUs, hopByHop) {
		names[cgiName(name)] = ""
	}
	for _, name := range Defaults().IdentityHeaders.all() { // also where others are sent: an upstream may know the usual ones
		names[cgiName(name)] = ""
	}
	for _, name := range identity.all() {
		if name != "" {
			names[cgiName(name)] = ""
		}
	}
	return names
}

// strip takes from h what may not pass, and what its Connection keeps from it.
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

func (n headerNames) passes(key string) bool {
	var room [longestName]byte
	name := appendCGI(room[:0], key)
	if strings.HasPrefix(string(name), setByUsPrefix) {
		return false
	}
	spelling, known := n[string(name)]
	return !known || spelling == key
}

// appendCGI appends the CGI name of key, or as much as could matter.
func appendCGI(to []byte, key string) []byte {
	for i := range min(len(key), longestName) {
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

// validHeaderName says whether the configuration may name a header so.
func validHeaderName(name string) bool {
	return len(name) < longestName && strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-") == "" &&
		!strings.HasPrefix(name, "-")
}

// reservedHeader says whether name has a meaning that an identity must not take.
func reservedHeader(name string) bool {
	key := http.CanonicalHeaderKey(name)
	return slices.Contains(exactHeaders, key) || slices.Contains(setByUs, key) || slices.Contains(hopByHop, key) || strings.HasPrefix(key, "Content-") ||
		slices.Contains([]string{"X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "Set-Cookie", "Accept", "Range", "Cache-Control"}, key)
}

// fixedHeader says whether a header says where a message ends, or for whom it is, or is a cookie of ours.
func fixedHeader(name string) bool {
	return slices.Contains([]string{"Connection", "Content-Length", "Host", "Keep-Alive", "Proxy-Connection", "Set-Cookie", "Te", "Trailer", "Transfer-Encoding", "Upgrade"},
		http.CanonicalHeaderKey(name))
}

// canonical is h with each name as net/http spells it.
func (h IdentityHeaders) canonical() IdentityHeaders {
	return IdentityHeaders{User: http.CanonicalHeaderKey(h.User), Email: http.CanonicalHeaderKey(h.Email),
		Name: http.CanonicalHeaderKey(h.Name), Groups: http.CanonicalHeaderKey(h.Groups), Assertion: http.CanonicalHeaderKey(h.Assertion)}
}

const upperHex = "0123456789ABCDEF"

// headerValue spells text so that it stays one value in every reader's eyes: printable ASCII is itself, all else,
// "%", and spaces at either end are percent-encoded.
func headerValue(text string) string { return encodeValue(text, false) }

func encodeValue(text string, inList bool) string {
	odd := func(i int) bool {
		c := text[i]
		return c < ' ' || c > '~' || c == '%' || c == ',' && inList || c == ' ' && (i == 0 || i == len(text)-1 || inList)
	}
	first := 0
	for first < len(text) && !odd(first) {
		first++
	}
	if first == len(text) {
		return text
	}
	var out strings.Builder
	out.WriteString(text[:first])
	for i := first; i < len(text); i++ {
		if !odd(i) {
			out.WriteByte(text[i])
			continue
		}
		out.WriteByte('%')
		out.WriteByte(upperHex[text[i]>>4])
		out.WriteByte(upperHex[text[i]&15])
	}
	return out.String()
}

// setIdentity tells the upstream who is calling.
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

// userHeader is a userName as it goes to upstreams: never one that an application would have.
func userHeader(userName string) string {
	if rest, is := strings.CutPrefix(userName, appPrefix); is {
		return headerValue(strings.TrimSuffix(appPrefix, ":")) + "%3A" + headerValue(rest)
	}
	return headerValue(userName)
}

// groupList joins groups by commas, with none inside any of them.
func groupList(groups []string) string {
	list := make([]string, len(groups))
	for i, g := range groups {
		list[i] = encodeValue(g, true)
	}
	return strings.Join(list, ",")
}
