package rollup

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"sallyport/audit"
)

// parseLine reads what is counted of a line of the record. It reads lines as package audit writes them, each field at most
// once and in any order, without decoding the rest: a record may have millions. ok is false if the line is not one of those,
// or of a kind that is not counted. It does not check the hash of the line: figures prove nothing.
func parseLine(line string) (seq uint64, e event, ok bool) {
	whole := eachField(line, func(key, value string) bool {
		switch key {
		case "seq":
			seq, _ = strconv.ParseUint(value, 10, 64)
		case "time":
			e.time, _ = time.Parse(time.RFC3339Nano, unquote(value))
		case "kind":
			e.kind = audit.Kind(unquote(value))
			return counts(e.kind)
		case "route":
			e.route = unquote(value)
		case "reason":
			e.reason = unquote(value)
		case "rule":
			e.rule = unquote(value)
		case "user":
			e.user = unquote(value)
		case "user_name":
			e.userName = unquote(value)
		case "decision":
			e.allow = unquote(value) == "allow"
		case "actor":
			e.actor = fieldOf(value, "kind")
		case "detail":
			e.received, e.reported, e.failed = fieldOf(value, "received"), fieldOf(value, "report_rule"), fieldOf(value, "action")
		}
		return true
	})
	return seq, e, whole && seq > 0 && !e.time.IsZero() && counts(e.kind)
}

// fieldOf returns a text in an object.
func fieldOf(object, name string) (found string) {
	eachField(object, func(key, value string) bool {
		if key == name {
			found = unquote(value)
		}
		return key != name
	})
	return found
}

// eachField calls f with the keys of a JSON object and their values as they are written, until f returns false. It reports
// false if the text is none, as far as it was read.
func eachField(object string, f func(key, value string) bool) bool {
	rest, ok := strings.CutPrefix(object, "{")
	if !ok {
		return false
	}
	for !strings.HasPrefix(rest, "}") {
		rest = strings.TrimPrefix(rest, ",")
		end := valueEnd(rest)
		if end < 2 || rest[0] != '"' || end >= len(rest) || rest[end] != ':' {
			return false
		}
		key := rest[1 : end-1]
		rest = rest[end+1:]
		end = valueEnd(rest)
		if end <= 0 {
			return false
		}
		if !f(key, rest[:end]) {
			return true
		}
		rest = rest[end:]
	}
	return true
}

// valueEnd returns where the JSON value ends that text begins with: a string, a number, or an object; 0 if it does not.
func valueEnd(text string) int {
	if text == "" {
		return 0
	}
	switch text[0] {
	case '"':
		for i := 1; i < len(text); i++ {
			switch text[i] {
			case '\\':
				i++
			case '"':
				return i + 1
			}
		}
		return 0
	case '{':
		for i := 1; i < len(text); {
			switch text[i] {
			case '}':
				return i + 1
			case '"':
				n := valueEnd(text[i:])
				if n == 0 {
					return 0
				}
				i += n
			case '{': // the record has no objects in objects of objects
				return 0
			default:
				i++
			}
		}
		return 0
	}
	return max(strings.IndexAny(text, ",}"), 0)
}

// unquote returns the text of a JSON string.
func unquote(value string) (text string) {
	if len(value) < 2 || value[0] != '"' {
		return ""
	}
	if strings.IndexByte(value, '\\') < 0 {
		return value[1 : len(value)-1]
	}
	_ = json.Unmarshal([]byte(value), &text) // which leaves no text of what is none
	return text
}
