package proxy

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// longestPath is the most a path may be, in bytes as it came.
const longestPath = 8 << 10

var errPath = errors.New("path is not one we can be sure to read as the upstream does")

const upperHex = "0123456789ABCDEF"

// canonicalPath gives the one spelling of the path raw, as it came in the request line: bytes that RFC 3986 §3.3 lets
// stand in a path are themselves, all others are percent-encoded in upper case. It is, byte for byte, what the upstream
// gets, and what rules are matched with, as readable has it.
//
// Two readers of one path must not differ, so what some servers read in another way has no spelling at all: control
// bytes, invalid percent-encoding or UTF-8, and dot segments however often encoded. Encoded "/ \ . ; % # ?", raw "\"
// and ";", and empty segments have one that is lenient: only a route that asks for such takes it.
func canonicalPath(raw string) (path string, lenient bool, err error) {
	if len(raw) == 0 || raw[0] != '/' || len(raw) > longestPath {
		return "", false, errPath
	}
	if plain(raw) {
		path = raw
	} else if path, lenient, err = respell(raw); err != nil {
		return "", false, err
	}
	if hasDotSegment(path, lenient) || strings.HasPrefix(path, "//") {
		return "", false, errPath
	}
	return path, lenient || strings.Contains(path, "//"), nil
}

// plain says that every byte of raw stands for itself.
func plain(raw string) bool {
	for i := range len(raw) {
		if !plainByte[raw[i]] {
			return false
		}
	}
	return true
}

// plainByte is pchar of RFC 3986 §3.3 and "/", without "%" and without ";", which some servers read as the beginning
// of parameters that are no part of the path.
var plainByte = func() (set [256]bool) {
	for _, c := range []byte("/ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~!$&'()*+,=:@") {
		set[c] = true
	}
	return set
}()

// respell decodes raw once and writes each byte in its one spelling.
func respell(raw string) (path string, lenient bool, err error) {
	var out strings.Builder
	decoded := make([]byte, 0, len(raw))
	for i := 0; i < len(raw); i++ {
		c, encoded := raw[i], false
		if c == '%' {
			if i+2 >= len(raw) || unhex[raw[i+1]] < 0 || unhex[raw[i+2]] < 0 {
				return "", false, errPath
			}
			c, encoded = byte(unhex[raw[i+1]]<<4|unhex[raw[i+2]]), true
			i += 2
		}
		if !encoded && (c == '?' || c == '#') {
			return "", false, errPath
		}
		decoded = append(decoded, c)
		lenient = lenient || c == '\\' || c == ';' || encoded && strings.IndexByte("/.%#?", c) >= 0
		spell(&out, c, encoded)
	}
	if !speakable(decoded) {
		return "", false, errPath
	}
	return out.String(), lenient, nil
}

// spell writes c in its one spelling. A slash that came encoded stays so: it is data, not the end of a segment.
func spell(out *strings.Builder, c byte, encoded bool) {
	if plainByte[c] && !(c == '/' && encoded) || c == ';' && !encoded {
		out.WriteByte(c)
		return
	}
	out.WriteByte('%')
	out.WriteByte(upperHex[c>>4])
	out.WriteByte(upperHex[c&15])
}

// speakable says that text is UTF-8 without control characters.
func speakable(text []byte) bool {
	for len(text) > 0 {
		r, n := utf8.DecodeRune(text)
		if r == utf8.RuneError && n == 1 || r < 0x20 || 0x7f <= r && r < 0xa0 {
			return false
		}
		text = text[n:]
	}
	return true
}

// unhex is the value of a hexadecimal digit, or negative.
var unhex = func() (value [256]int8) {
	for i := range value {
		value[i] = -1
	}
	for i := range 10 {
		value['0'+i] = int8(i)
	}
	for i := range 6 {
		value['a'+i], value['A'+i] = int8(10+i), int8(10+i)
	}
	return value
}()

// hasDotSegment says whether a reader who decodes path once or more, takes "\" for "/", drops ";parameters" or ends at a NUL
// could find a "." or ".." segment in it.
func hasDotSegment(path string, lenient bool) bool {
	if !lenient {
		return dotSegment(path)
	}
	for range 8 {
		if dotSegment(path) {
			return true
		}
		once := decodeLoosely(path)
		if once == path {
			return false
		}
		path = once
	}
	return true // so many layers are no file name
}

func dotSegment(path string) bool {
	if !strings.Contains(path, "/.") && !strings.ContainsAny(path, `\;`) {
		return false
	}
	for segment := range strings.FieldsFuncSeq(path, func(r rune) bool { return r == '/' || r == '\\' }) {
		if end := strings.IndexAny(segment, ";\x00"); end >= 0 {
			segment = segment[:end]
		}
		if segment == "." || segment == ".." {
			return true
		}
	}
	return false
}

// readable is a canonical path as rules are written: decoded, but for slashes inside a segment. No two strict paths
// read alike.
func readable(path string) string {
	if strings.IndexByte(path, '%') < 0 {
		return path
	}
	return decodeLoosely(strings.ReplaceAll(path, "%2F", "%252F"))
}

// loosest is a lenient path as a reader finds it who takes every slash, however written, for the end of a segment,
// and drops parameters and empty segments.
func loosest(path string) string {
	var out strings.Builder
	for segment := range strings.FieldsFuncSeq(decodeLoosely(path), func(r rune) bool { return r == '/' || r == '\\' }) {
		bare, _, _ := strings.Cut(segment, ";")
		out.WriteByte('/')
		out.WriteString(bare)
	}
	if out.Len() == 0 || strings.HasSuffix(path, "/") {
		out.WriteByte('/')
	}
	return out.String()
}

// decodeLoosely decodes what is encoded and leaves what is not.
func decodeLoosely(path string) string {
	var out strings.Builder
	for i := 0; i < len(path); i++ {
		if path[i] == '%' && i+2 < len(path) && unhex[path[i+1]] >= 0 && unhex[path[i+2]] >= 0 {
			out.WriteByte(byte(unhex[path[i+1]]<<4 | unhex[path[i+2]]))
			i += 2
			continue
		}
		out.WriteByte(path[i])
	}
	return out.String()
}

// routePath is the canonical path of a route: whole segments, without a slash at the end except for the root.
func routePath(text string) (string, error) {
	if text == "" {
		return "/", nil
	}
	if strings.ContainsAny(text, "?#*") {
		return "", fmt.Errorf("%q is not a path of whole segments; write for example /orders", text)
	}
	path, lenient, err := canonicalPath(text)
	if err != nil || lenient {
		return "", fmt.Errorf("%q is no path requests could have; write for example /orders", text)
	}
	if under(path, internalRoot) || under(internalRoot, path) && path != "/" {
		return "", fmt.Errorf("%s is the door's own; choose another path", internalRoot)
	}
	if path != "/" {
		path = strings.TrimSuffix(path, "/")
	}
	return path, nil
}

// under says whether path is root or below it, by whole segments. root has no slash at its end, or is "/".
func under(path, root string) bool {
	if root == "/" {
		return true
	}
	return strings.HasPrefix(path, root) && (len(path) == len(root) || path[len(root)] == '/')
}
