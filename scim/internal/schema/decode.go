package schema

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/transform"
)

const maxDepth = 32 // of nested JSON

const byteOrderMark = "\ufeff" // may precede JSON (RFC 8259 §8.1)

// Decode parses one JSON object. Numbers become [json.Number]. Unlike encoding/json it rejects an object in which two
// names are equal, or differ in case alone: which of the values is meant would be a guess.
func Decode(data []byte) (map[string]any, error) {
	if !utf8.Valid(data) {
		return nil, syntaxError(encoding.ErrInvalidUTF8)
	}
	data = bytes.TrimPrefix(data, []byte(byteOrderMark))
	if object, ok := decodeAtOnce(data); ok {
		return object, nil
	}
	return decodeText(bytes.NewReader(data), false)
}

// decodeAtOnce is decodeText by one call of encoding/json, which takes half the time. It reports false if anything is wrong:
// decodeText then says what.
func decodeAtOnce(data []byte) (object map[string]any, ok bool) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if d.Decode(&object) != nil || object == nil || len(bytes.Trim(data[d.InputOffset():], " \t\r\n")) > 0 {
		return nil, false
	}
	members, ok := countMembers(object, 0)
	return object, ok && members == countColons(data) // of two members of one name, encoding/json keeps one
}

// countMembers returns how many members the objects in v have. It reports false if two names of one object differ in case
// alone, or if v is nested too deep.
func countMembers(v any, depth int) (n int, ok bool) {
	if depth > maxDepth {
		return 0, false
	}
	switch v := v.(type) {
	case map[string]any:
		var names nameSet
		for name, value := range v {
			inside, ok := countMembers(value, depth+1)
			if !ok || !names.add(name) {
				return 0, false
			}
			n += 1 + inside
		}
	case []any:
		for _, value := range v {
			inside, ok := countMembers(value, depth+1)
			if !ok {
				return 0, false
			}
			n += inside
		}
	}
	return n, true
}

// countColons returns how many members the objects in JSON have, as they are written: each has one colon outside of texts.
func countColons(text []byte) (n int) {
	inText := false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\': // in a text
			i++
		case c == '"':
			inText = !inText
		case c == ':' && !inText:
			n++
		}
	}
	return n
}

// DecodeReader parses one JSON object that r has. An error of r itself is returned as it is. If lean, the object is
// parsed while it is read, and of a group's members only the ids are kept, as [MemberID]: a group may have 100,000.
func DecodeReader(r io.Reader, lean bool) (map[string]any, error) {
	if !lean {
		data, err := io.ReadAll(r)
		if err != nil {
			return nil, err
		}
		return Decode(data)
	}
	text := bufio.NewReader(transform.NewReader(r, encoding.UTF8Validator))
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
		return nil, syntaxError(err)
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

// value decodes one value. name is the name of the object's member that it is the value of.
func (d *decoder) value(depth int, name string) (any, error) {
	if depth > maxDepth {
		return nil, invalid("invalidSyntax", "The JSON is nested deeper than %d levels.", maxDepth)
	}
	token, err := d.Token()
	if err != nil {
		return nil, syntaxError(err)
	}
	switch token {
	case json.Delim('{'):
		return d.object(depth)
	case json.Delim('['):
		return d.array(depth, d.lean && (strings.EqualFold(name, MembersAttribute) || strings.EqualFold(name, "value")))
	}
	return token, nil
}

func (d *decoder) object(depth int) (any, error) {
	object := map[string]any{}
	var names nameSet
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return nil, syntaxError(err)
		}
		name := token.(string)
		if !names.add(name) {
			return nil, invalid("invalidSyntax", "The member %q stands twice in one object.", name)
		}
		if object[name], err = d.value(depth+1, name); err != nil {
			return nil, err
		}
	}
	_, err := d.Token()
	return object, syntaxError(err)
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
	return list, syntaxError(err)
}

// MemberID is a member of a group of which only the id was kept.
type MemberID string

// leanMember returns a [MemberID] if v is a member and nothing else in it is of use.
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

// syntaxError returns an [Error] for JSON that cannot be parsed. An error of the reader is returned as it is.
func syntaxError(err error) error {
	var syntax *json.SyntaxError
	switch {
	case errors.Is(err, encoding.ErrInvalidUTF8):
		return invalid("invalidSyntax", "The body is not UTF-8.")
	case errors.As(err, &syntax), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return invalid("invalidSyntax", "The body is not JSON: %v.", err)
	}
	return err
}

// Member returns an object's member of that name, ignoring the name's case.
func Member(object map[string]any, name string) (any, bool) {
	if v, ok := object[name]; ok {
		return v, true
	}
	for other, v := range object {
		if EqualNames(other, name) {
			return v, true
		}
	}
	return nil, false
}
