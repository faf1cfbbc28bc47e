// Package header says which headers are forwarded, by the names under which applications read them.
//
// Many applications read headers by their CGI names, so every spelling that has the same CGI name counts as one header.
package header

import (
	"net/http"
	"slices"
	"strings"
)

// Names says which request headers are not forwarded, by CGI name (RFC 3875 §4.1.18), by which many applications read
// headers. The zero value has none.
type Names struct {
	spellings map[string]string // by CGI name: the one spelling that is forwarded, or "" if none is
	sieve     *sieve            // of the keys of spellings, and what SetByUs has by prefix
}

// SetByUsPrefix begins the headers with which proxies describe a request. Some of them are set after all were removed.
const SetByUsPrefix = "X_FORWARDED_"

// exact are headers that are forwarded only in canonical spelling. CGI-style applications would take a variant,
// such as Content_Length, for the header itself, with a value that was not checked.
var exact = []string{"Authorization", "Content-Encoding", "Content-Length", "Content-Type", "Cookie", "Expect", "Host", "Origin", "Referer", "User-Agent", "Sec-Websocket-Extensions", "Sec-Websocket-Key", "Sec-Websocket-Protocol", "Sec-Websocket-Version"}

// MaxNameBytes is more than the length of any name in Names.
const MaxNameBytes = 64

// Managed returns the names that a request to an upstream may not bring, besides the given identity headers.
func Managed(identity ...string) Names {
	names := Names{map[string]string{}, new(sieve)}
	for _, name := range exact {
		names.spellings[CGI(name)] = name
	}
	for _, name := range HopByHop {
		names.spellings[CGI(name)] = ""
	}
	for name := range SetByUs.names {
		names.spellings[name] = ""
	}
	for _, name := range identity {
		if name != "" {
			names.spellings[CGI(name)] = ""
		}
	}
	for name := range names.spellings {
		names.sieve.add(name)
	}
	for _, prefix := range SetByUs.prefixes {
		names.sieve.addPrefix(prefix)
	}
	return names
}

// Spelling returns the one spelling of the header with a CGI name that is forwarded, or "" if none is. ok is false if all
// are.
func (n Names) Spelling(cgi string) (spelling string, ok bool) {
	spelling, ok = n.spellings[cgi]
	return spelling, ok
}

// Strip removes from h the headers that are not forwarded, and those that its Connection header names.
func (n Names) Strip(h http.Header) http.Header {
	hops := connectionOptions(h["Connection"])
	for name := range h {
		if !n.Passes(name) {
			delete(h, name)
		}
	}
	for _, name := range hops {
		delete(h, name)
	}
	return h
}

// Passes reports whether the header of that name is forwarded.
func (n Names) Passes(key string) bool {
	if !n.sieve.mayHave(key) {
		return true
	}
	var buf [MaxNameBytes]byte
	name := AppendCGI(buf[:0], key)
	if strings.HasPrefix(string(name), "X_") && SetByUs.HasPrefix(name) {
		return false
	}
	spelling, ok := n.spellings[string(name)]
	return !ok || spelling == key
}

// cgiBytes has for each byte of a name the byte of the CGI name.
var cgiBytes = func() (table [256]byte) {
	for i := range table {
		switch c := byte(i); {
		case 'a' <= c && c <= 'z':
			table[i] = c - 'a' + 'A'
		case 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
			table[i] = c
		default:
			table[i] = '_'
		}
	}
	return table
}()

// AppendCGI appends the CGI name of key, up to MaxNameBytes.
func AppendCGI(to []byte, key string) []byte {
	from := len(to)
	to = append(to, key[:min(len(key), MaxNameBytes)]...)
	for i, c := range to[from:] {
		to[from+i] = cgiBytes[c]
	}
	return to
}

// CGI returns the CGI name of key (RFC 3875 §4.1.18).
func CGI(key string) string { return string(AppendCGI(nil, key)) }

// ValidName reports whether the configuration may use the name for a header.
func ValidName(name string) bool {
	return len(name) < MaxNameBytes && strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-") == "" &&
		!strings.HasPrefix(name, "-")
}

// Reserved reports whether the header has a meaning of its own, so that it cannot carry an identity.
func Reserved(name string) bool {
	key := http.CanonicalHeaderKey(name)
	return slices.Contains(exact, key) || SetByUs.names[CGI(key)] || Overrides.Has(CGI(key)) || slices.Contains(HopByHop, key) || strings.HasPrefix(key, "Content-") ||
		slices.Contains([]string{"X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "Traceparent", "Tracestate", "Set-Cookie", "Accept", "Range", "Cache-Control"}, key)
}

// Fixed reports whether the settings must not edit the header: it frames or routes messages, or sets cookies.
func Fixed(name string) bool {
	return slices.Contains([]string{"Connection", "Content-Length", "Host", "Keep-Alive", "Proxy-Connection", "Set-Cookie", "Te", "Trailer", "Transfer-Encoding", "Upgrade"},
		http.CanonicalHeaderKey(name))
}

const upperHex = "0123456789ABCDEF"

// Value encodes text so that every parser reads it as one value. Printable ASCII stays; everything else, "%" and
// spaces at either end are percent-encoded.
func Value(text string) string { return encode(text, "") }

// ListValue encodes text as one element of a list: commas and spaces are encoded too.
func ListValue(text string) string { return encode(text, ", ") }

// WordValue encodes text as one element of a list whose reader may also quote, and may separate elements by other
// characters or read JSON.
func WordValue(text string) string { return encode(text, ", ;|\"'`\\[]{}<>") }

// encode encodes a value; special are the characters of printable ASCII that it also encodes.
func encode(text, special string) string {
	needsEncoding := func(i int) bool {
		c := text[i]
		return c < ' ' || c > '~' || c == '%' || c == ' ' && (i == 0 || i == len(text)-1) || strings.IndexByte(special, c) >= 0
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
