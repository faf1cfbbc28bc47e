package canonical

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// MaxPath is the length of the longest path, in bytes as the client wrote it.
const MaxPath = 8 << 10

var errPath = errors.New("the path is invalid, or different servers would read it differently")

const upperHex = "0123456789ABCDEF"

// Path returns the one spelling of a path from a request line. Bytes that RFC 3986 §3.3 allows in a path
// stand for themselves; all others are percent-encoded in upper case. The upstream receives this spelling byte for byte,
// and rules are matched with [Decoded] of it.
//
// A path that some server reads differently is an error: control characters, invalid percent-encoding or UTF-8, and dot
// segments, however often they are encoded. Encoded "/ \ . ; % # ?", raw "\" and ";", and empty segments make a path
// lenient: only a route that asks for lenient paths accepts it.
func Path(raw string) (path string, lenient bool, err error) {
	if len(raw) == 0 || raw[0] != '/' || len(raw) > MaxPath {
		return "", false, errPath
	}
	if isPlain(raw) {
		path = raw
	} else if path, lenient, err = normalize(raw); err != nil {
		return "", false, err
	}
	if hasDotSegment(path, lenient) || strings.HasPrefix(path, "//") {
		return "", false, errPath
	}
	return path, lenient || strings.Contains(path, "//"), nil
}

// Prefix returns the one spelling of a path in the configuration: whole segments, without a slash at the end except for
// the root. An empty text is the root. The error says what to write instead.
func Prefix(text string) (string, error) {
	if text == "" {
		return "/", nil
	}
	if strings.ContainsAny(text, "?#*") {
		return "", fmt.Errorf("%q is not a path of whole segments; write for example /orders", text)
	}
	path, lenient, err := Path(text)
	if err != nil || lenient {
		return "", fmt.Errorf("%q is not a path that a request can have; write for example /orders", text)
	}
	if path != "/" {
		path = strings.TrimSuffix(path, "/")
	}
	return path, nil
}

// Under reports whether path is prefix or below it, by whole segments. The prefix is one that [Prefix] returned.
func Under(path, prefix string) bool {
	if prefix == "/" {
		return true
	}
	return strings.HasPrefix(path, prefix) && (len(path) == len(prefix) || path[len(prefix)] == '/')
}

// Decoded returns a canonical path in the form in which rules are written: decoded, except for slashes inside a segment.
// Two different strict paths never decode to the same text.
func Decoded(path string) string {
	if !strings.Contains(path, "%") {
		return path
	}
	return decodeValid(strings.ReplaceAll(path, "%2F", "%252F"))
}

func isSlash(r rune) bool { return r == '/' || r == '\\' }

// isPlain reports whether every byte of raw stands for itself.
func isPlain(raw string) bool {
	for i := range len(raw) {
		if !plainByte[raw[i]] {
			return false
		}
	}
	return true
}

// plainByte holds "/" and the pchar of RFC 3986 §3.3, without "%" and without ";": to some servers a semicolon begins
// parameters that are no part of the path.
var plainByte = func() (set [256]bool) {
	for _, c := range []byte("/ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~!$&'()*+,=:@") {
		set[c] = true
	}
	return set
}()

// normalize decodes raw once and writes each byte in its one spelling.
func normalize(raw string) (path string, lenient bool, err error) {
	var out strings.Builder
	decoded := make([]byte, 0, len(raw))
	for i := 0; i < len(raw); i++ {
		c, encoded := raw[i], false
		if c == '%' {
			if i+2 >= len(raw) || hexValue[raw[i+1]] < 0 || hexValue[raw[i+2]] < 0 {
				return "", false, errPath
			}
			c, encoded = byte(hexValue[raw[i+1]]<<4|hexValue[raw[i+2]]), true
			i += 2
		}
		if !encoded && (c == '?' || c == '#') {
			return "", false, errPath
		}
		decoded = append(decoded, c)
		lenient = lenient || c == '\\' || c == ';' || encoded && strings.IndexByte("/.%#?", c) >= 0
		writeByte(&out, c, encoded)
	}
	if !isText(decoded) {
		return "", false, errPath
	}
	return out.String(), lenient, nil
}

// writeByte writes c in its one spelling. An encoded slash stays encoded: it is data, not the end of a segment.
func writeByte(out *strings.Builder, c byte, encoded bool) {
	if plainByte[c] && !(c == '/' && encoded) || c == ';' && !encoded {
		out.WriteByte(c)
		return
	}
	out.WriteByte('%')
	out.WriteByte(upperHex[c>>4])
	out.WriteByte(upperHex[c&15])
}

// isText reports whether text is UTF-8 without control characters.
func isText(text []byte) bool {
	for len(text) > 0 {
		r, n := utf8.DecodeRune(text)
		if r == utf8.RuneError && n == 1 || r < 0x20 || 0x7f <= r && r < 0xa0 {
			return false
		}
		text = text[n:]
	}
	return true
}

// hexValue is the value of each hexadecimal digit; negative for other bytes.
var hexValue = func() (value [256]int8) {
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

// maxDecodings bounds how often a lenient path is decoded in search of a dot segment. A path with more layers of encoding
// is rejected.
const maxDecodings = 8

// hasDotSegment reports whether some server could find a "." or ".." segment in path: one that decodes it any number of
// times, reads "\" as "/", drops ";parameters" or stops at a NUL. A strict path has nothing left to decode.
func hasDotSegment(path string, lenient bool) bool {
	if !lenient {
		return containsDotSegment(path)
	}
	for range maxDecodings {
		if containsDotSegment(path) {
			return true
		}
		decoded := decodeValid(path)
		if decoded == path {
			return false
		}
		path = decoded
	}
	return true
}

func containsDotSegment(path string) bool {
	if !strings.Contains(path, "/.") && !strings.ContainsAny(path, `\;`) {
		return false
	}
	for segment := range strings.FieldsFuncSeq(path, isSlash) {
		segment, _, _ = strings.Cut(segment, ";")
		segment, _, _ = strings.Cut(segment, "\x00")
		if segment == "." || segment == ".." {
			return true
		}
	}
	return false
}

// decodeValid decodes valid percent-encodings once and leaves everything else as it is.
func decodeValid(path string) string {
	return decodeIf(path, func(byte) bool { return true })
}

// decodeIf decodes the valid percent-encodings of bytes that wanted selects, and leaves everything else as it is.
func decodeIf(path string, wanted func(byte) bool) string {
	if !strings.Contains(path, "%") {
		return path
	}
	var out strings.Builder
	for i := 0; i < len(path); i++ {
		if path[i] == '%' && i+2 < len(path) && hexValue[path[i+1]] >= 0 && hexValue[path[i+2]] >= 0 {
			if c := byte(hexValue[path[i+1]]<<4 | hexValue[path[i+2]]); wanted(c) {
				out.WriteByte(c)
			} else {
				out.WriteString(path[i : i+3])
			}
			i += 2
			continue
		}
		out.WriteByte(path[i])
	}
	return out.String()
}
