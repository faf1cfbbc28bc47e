package canonical

import "strings"

// EscapeQuery percent-encodes the bytes of a query that browsers send unencoded and parsers disagree about.
func EscapeQuery(query string) string {
	if IsPrintable(query) {
		return query
	}
	var b strings.Builder
	for i := range len(query) {
		if IsPrintable(query[i : i+1]) {
			b.WriteByte(query[i])
		} else {
			b.WriteByte('%')
			b.WriteByte(upperHex[query[i]>>4])
			b.WriteByte(upperHex[query[i]&15])
		}
	}
	return b.String()
}

// IsPrintable reports whether text is printable ASCII without spaces, backslashes and the characters that delimit URLs in
// text.
func IsPrintable(text string) bool {
	for i := range len(text) {
		if c := text[i]; c <= ' ' || c >= 0x7f || c == '\\' || c == '"' || c == '<' || c == '>' {
			return false
		}
	}
	return true
}
