package canonical

import (
	"errors"
	"strings"
)

// Bounds of the readings of one path. Harmless paths have a handful.
const (
	maxReadings     = 64
	maxReadingBytes = 64 << 10 // of all readings together
)

var errReadings = errors.New("different servers would read the path too differently, or as one with a dot segment")

// Readings returns every path that some server could read in path, which is canonical. All are decoded, except that the
// first, path itself, keeps encoded "/ \ ; % # ?". A strict path has no reading but the first.
//
// A server may decode a path any number of times, wholly or in part; read "\" as "/"; drop ";parameters", or everything
// from ";", "?" or "#" on; merge empty segments; and take what follows "//" for a host. The readings are the results of
// doing so in any order. It is an error if a reading has a dot segment, control characters or a %uXXXX, which IIS and some
// other servers decode, and if there are too many.
func Readings(path string) ([]string, error) {
	return readingsOf(decodeOrdinary(path), steps)
}

// readingsOf applies steps to start, and to the results, until nothing new results.
func readingsOf(start string, steps []func(string) string) ([]string, error) {
	var readings []string
	seen, size := map[string]bool{}, 0
	add := func(reading string) bool {
		if !strings.HasPrefix(reading, "/") {
			reading = "/" + reading
		}
		if seen[reading] {
			return true
		}
		seen[reading] = true
		readings, size = append(readings, reading), size+len(reading)
		return len(readings) <= maxReadings && size <= maxReadingBytes && isText([]byte(reading)) && !hasDots(reading) && !hasUnicodeEscape(reading)
	}
	if !add(start) {
		return nil, errReadings
	}
	for i := 0; i < len(readings); i++ {
		for _, step := range steps {
			if !add(step(readings[i])) {
				return nil, errReadings
			}
		}
	}
	return readings, nil
}

// steps are what a server may do to a path. Each changes nothing where there is nothing to change.
var steps = []func(string) string{
	decodeOrdinary,
	strings.NewReplacer("%25", "%").Replace,
	strings.NewReplacer("%2F", "/", "%2f", "/").Replace,
	strings.NewReplacer("%5C", `\`, "%5c", `\`).Replace,
	strings.NewReplacer("%3B", ";", "%3b", ";").Replace,
	strings.NewReplacer("%3F", "?", "%3f", "?").Replace,
	strings.NewReplacer("%23", "#").Replace,
	strings.NewReplacer(`\`, "/").Replace,
	mergeSlashes, dropParameters, dropLastParameters, dropHost, cutAt(";"), cutAt("?"), cutAt("#"),
}

// special are the characters that end or divide a path in some server once they are decoded.
const special = `/\;%#?`

// decodeOrdinary decodes valid percent-encodings once, except those of special characters.
func decodeOrdinary(path string) string {
	return decodeIf(path, func(c byte) bool { return strings.IndexByte(special, c) < 0 })
}

func mergeSlashes(path string) string {
	for strings.Contains(path, "//") {
		path = strings.ReplaceAll(path, "//", "/")
	}
	return path
}

// dropParameters drops the parameters of every segment (RFC 3986 §3.3).
func dropParameters(path string) string {
	if !strings.Contains(path, ";") {
		return path
	}
	segments := strings.Split(path, "/")
	for i, segment := range segments {
		segments[i], _, _ = strings.Cut(segment, ";")
	}
	return strings.Join(segments, "/")
}

// dropLastParameters drops the parameters of the last segment alone, as RFC 1808 had it.
func dropLastParameters(path string) string {
	last := strings.LastIndexByte(path, '/') + 1
	name, _, _ := strings.Cut(path[last:], ";")
	return path[:last] + name
}

// dropHost drops the host that a path beginning with "//" names as a reference (RFC 3986 §4.2).
func dropHost(path string) string {
	rest, ok := strings.CutPrefix(path, "//")
	if !ok {
		return path
	}
	return rest[strings.IndexByte(rest+"/", '/'):]
}

func cutAt(separator string) func(string) string {
	return func(path string) string {
		before, _, _ := strings.Cut(path, separator)
		return before
	}
}

// hasDots reports whether a reading has a "." or ".." segment. Other readings of the same path cover other separators.
func hasDots(reading string) bool {
	if !strings.Contains(reading, "/.") {
		return false
	}
	for segment := range strings.SplitSeq(reading, "/") {
		if segment == "." || segment == ".." {
			return true
		}
	}
	return false
}

// hasUnicodeEscape reports whether a reading has a %uXXXX, which is no percent-encoding of RFC 3986.
func hasUnicodeEscape(reading string) bool {
	for rest := reading; ; {
		_, after, ok := strings.Cut(rest, "%")
		if !ok {
			return false
		}
		if len(after) >= len("uXXXX") && after[0]|0x20 == 'u' && isHex(after[1:5]) {
			return true
		}
		rest = after
	}
}

func isHex(digits string) bool {
	for i := range len(digits) {
		if hexValue[digits[i]] < 0 {
			return false
		}
	}
	return true
}
