package schema

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/transform"
)

const maxDepth = 32 // of nested JSON

const byteOrderMark = "\ufeff" // may stand before JSON (RFC 8259 §8.1)

// decode reads one JSON object. Unlike encoding/json it refuses two members of
// one object that are the same, or the same but for their case: which of them
// is meant would be a guess.
func Decode(data []byte) (map[string]any, error) {
	if !utf8.Valid(data) {
		return nil, syntaxOf(encoding.ErrInvalidUTF8)
	}
	return decodeText(bytes.NewReader(bytes.TrimPrefix(data, []byte(byteOrderMark))), false)
}

// decodeFrom reads the object of a body. lean reads it as it comes in, and keeps
// of a group's members their ids alone: one group may have 100,000.
func DecodeReader(body io.Reader, lean bool) (map[string]any, error) {
	if !lean {
		data, err := io.ReadAll(body)
		if err != nil {
			return nil, syntaxOf(err)
		}
		return Decode(data)
	}
	text := bufio.NewReader(transform.NewReader(body, encoding.UTF8Validator))
	if mark, _ := text.Peek(len(byteOrderMark)); string(mark) == byteOrderMark {
		_, _ = text.Discard(len(mark))
	}
	return decodeText(text, true)
}

func decodeText(text io.Reader, lean bool) (map[string]any, error) {
	d := &decoder{json.NewDecoder(text), lean}
	d.UseNumber()
	v, err := d.value(0, "")
	if err != nil {
		return nil, err
	}
	switch _, err := d.Token(); {
	case err == nil:
		return nil, invalid("invalidSyntax", "Something follows the JSON object.")
	case !errors.Is(err, io.EOF):
		return nil, syntaxOf(err)
	}
	object, ok := v.(map[string]any)
	if !ok {
		return nil, invalid("invalidSyntax", "The body is not a JSON object.")
	}
	return object, nil
}

type decoder struct {
	*json.Decoder
	lean bool
}

// value reads one value; under is the name it stands at.
func (d *decoder) value(depth int, under string) (any, error) {
	if depth > maxDepth {
		return nil, invalid("invalidSyntax", "The JSON is nested deeper than %d levels.", maxDepth)
	}
	token, err := d.Token()
	if err != nil {
		return nil, syntaxOf(err)
	}
	switch token {
	case json.Delim('{'):
		return d.object(depth)
	case json.Delim('['):
		return d.array(depth, d.lean && (strings.EqualFold(under, "members") || strings.EqualFold(under, "value")))
	}
	return token, nil
}

func (d *decoder) object(depth int) (any, error) {
	object := map[string]any{}
	var seen nameSet
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return nil, syntaxOf(err)
		}
		name := token.(string)
		if !seen.add(name) {
			return nil, invalid("invalidSyntax", "The member %q stands twice in one object.", name)
		}
		if object[name], err = d.value(depth+1, name); err != nil {
			return nil, err
		}
	}
	_, err := d.Token()
	return object, syntaxOf(err)
}

// folded is a set of names whatever their case; a small one needs no map.
type nameSet struct {
	few  []string
	many map[string]bool
}

func (f *nameSet) add(name string) bool {
	if f.many == nil && len(f.few) < 16 {
		for _, had := range f.few {
			if strings.EqualFold(had, name) {
				return false
			}
		}
		f.few = append(f.few, name)
		return true
	}
	if f.many == nil {
		f.many = map[string]bool{}
		for _, had := range f.few {
			f.many[foldName(had)] = true
		}
	}
	name = foldName(name)
	had := f.many[name]
	f.many[name] = true
	return !had
}

// foldName is the same for names that strings.EqualFold calls equal.
func foldName(name string) string {
	return strings.Map(func(r rune) rune {
		least := r
		for next := unicode.SimpleFold(r); next != r; next = unicode.SimpleFold(next) {
			least = min(least, next)
		}
		return least
	}, name)
}

func (d *decoder) array(depth int, members bool) (any, error) {
	list := []any{}
	for d.More() {
		v, err := d.value(depth+1, "")
		if err != nil {
			return nil, err
		}
		if members {
			v = leanMember(v)
		}
		list = append(list, v)
	}
	_, err := d.Token()
	return list, syntaxOf(err)
}

// memberID is a member of whom only the id was kept.
type MemberID string

// leanMember keeps of a member what is read of it.
func leanMember(v any) any {
	object, ok := v.(map[string]any)
	if !ok || len(object) > 4 {
		return v
	}
	id := ""
	for name, v := range object {
		switch {
		case strings.EqualFold(name, "value"):
			id, _ = v.(string)
		case strings.EqualFold(name, "$ref"), strings.EqualFold(name, "display"), strings.EqualFold(name, "type"):
		default:
			return object
		}
	}
	if id == "" {
		return object
	}
	return MemberID(strings.Clone(id))
}

// syntaxOf is what is wrong with a body that could not be read on. What the
// reader itself failed with stays as it is.
func syntaxOf(err error) error {
	var syntax *json.SyntaxError
	switch {
	case errors.Is(err, encoding.ErrInvalidUTF8):
		return invalid("invalidSyntax", "The body is not UTF-8.")
	case errors.As(err, &syntax), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return invalid("invalidSyntax", "The body is not JSON: %v.", err)
	}
	return err
}

// member finds a member of an object whatever its name's case.
func Member(object map[string]any, name string) (any, bool) {
	if v, ok := object[name]; ok {
		return v, true
	}
	for have, v := range object {
		if EqualNames(have, name) {
			return v, true
		}
	}
	return nil, false
}
