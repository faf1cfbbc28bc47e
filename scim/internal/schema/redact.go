package schema

import (
	"regexp"
	"strings"
	"sync"
)

const maxPlainName = 200

// plainName matches what IsPlainName accepts, but for its length: repetitions with a limit take long to compile.
var plainName = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z0-9$._:,-]+$`) })

// IsPlainName reports whether a word of a request has the form of a name, at most 200 bytes long, so that the log may show it.
func IsPlainName(word string) bool { return len(word) <= maxPlainName && plainName().MatchString(word) }

// maxRedacted bounds the tokens of a filter that are shown.
const maxRedacted = 50

// RedactFilter returns the attributes and operators of a filter, without the values, which may be personal data
// (RFC 7644 §7.5.2). The filter need not be valid.
func RedactFilter(text string) string {
	l := lexer{text: text}
	var words []string
	for isValue := false; len(words) < maxRedacted; {
		t, err := l.next()
		if err != nil {
			return "(unreadable)"
		}
		switch {
		case t.kind == tokenEnd:
			return strings.Join(words, " ")
		case isValue || t.kind == tokenString || t.kind == tokenWord && !IsPlainName(t.text):
			words, isValue = append(words, "…"), false
		default:
			words, isValue = append(words, t.text), t.kind == tokenWord && isComparison(strings.ToLower(t.text))
		}
	}
	return strings.Join(words, " ") + " …"
}
