package scim

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"unicode/utf8"
)

const maxDepth = 32 // of nested JSON

// decode reads one JSON object. Unlike encoding/json it refuses two members of
// one object that are the same, or the same but for their case: which of them
// is meant would be a guess.
func decode(data []byte) (map[string]any, error) {
	if !utf8.Valid(data) {
		return nil, invalid("invalidSyntax", "The body is not UTF-8.")
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	v, err := decodeValue(d, 0)
	if err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, invalid("invalidSyntax", "Something follows the JSON object.")
	}
	object, ok := v.(map[string]any)
	if !ok {
		return nil, invalid("invalidSyntax", "The body is not a JSON object.")
	}
	return object, nil
}

func decodeValue(d *json.Decoder, depth int) (any, error) {
	if depth > maxDepth {
		return nil, invalid("invalidSyntax", "The JSON is nested deeper than %d levels.", maxDepth)
	}
	token, err := d.Token()
	if err != nil {
		return nil, invalid("invalidSyntax", "The body is not JSON: %v.", err)
	}
	switch token {
	case json.Delim('{'):
		return decodeObject(d, depth)
	case json.Delim('['):
		return decodeArray(d, depth)
	}
	return token, nil
}

func decodeObject(d *json.Decoder, depth int) (any, error) {
	object, seen := map[string]any{}, map[string]bool{}
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return nil, invalid("invalidSyntax", "The body is not JSON: %v.", err)
		}
		name := token.(string)
		folded := strings.ToLower(name)
		if seen[folded] {
			return nil, invalid("invalidSyntax", "The member %q stands twice in one object.", name)
		}
		seen[folded] = true
		if object[name], err = decodeValue(d, depth+1); err != nil {
			return nil, err
		}
	}
	_, err := d.Token()
	return object, syntaxOf(err)
}

func decodeArray(d *json.Decoder, depth int) (any, error) {
	list := []any{}
	for d.More() {
		v, err := decodeValue(d, depth+1)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	_, err := d.Token()
	return list, syntaxOf(err)
}

func syntaxOf(err error) error {
	if err != nil {
		return invalid("invalidSyntax", "The body is not JSON: %v.", err)
	}
	return nil
}

// member finds a member of an object whatever its name's case.
func member(object map[string]any, name string) (any, bool) {
	if v, ok := object[name]; ok {
		return v, true
	}
	for have, v := range object {
		if strings.EqualFold(have, name) {
			return v, true
		}
	}
	return nil, false
}
