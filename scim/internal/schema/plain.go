package schema

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// plain normalizes a value that is no object; nil means unassigned.
func (n *normalizer) plain(a *Attribute, v any) (any, error) {
	if v == "" {
		n.quirks.Add(QuirkEmptyString)
		return nil, nil
	}
	switch a.Type {
	case Boolean:
		return n.boolean(a, v)
	case Integer, Decimal:
		return n.number(a, v)
	case DateTime:
		return n.dateTime(a, v)
	case Binary:
		return n.binary(a, v)
	}
	return n.text(a, v)
}

// boolean accepts true and false, also as texts in any case. It rejects everything else, so that no value that cannot
// be understood activates a user.
func (n *normalizer) boolean(a *Attribute, v any) (any, error) {
	switch v := v.(type) {
	case bool:
		return v, nil
	case string:
		if b, ok := booleanOf(v); ok {
			n.quirks.Add(QuirkBooleanString)
			return b, nil
		}
	}
	return nil, invalid("invalidValue", "%s is true or false, not %.100s.", a.Name, jsonOf(v))
}

// booleanOf reads the words true and false in any case.
func booleanOf(s string) (value, ok bool) {
	switch strings.ToLower(s) {
	case "true":
		return true, true
	case "false":
		return false, true
	}
	return false, false
}

// number accepts numbers, also as texts.
func (n *normalizer) number(a *Attribute, v any) (any, error) {
	number, ok := v.(json.Number)
	if s, isText := v.(string); isText {
		n.quirks.Add(QuirkNumberText)
		number, ok = json.Number(s), json.Valid([]byte(s))
	}
	if _, err := number.Float64(); !ok || err != nil {
		return nil, invalid("invalidValue", "%s is a number, not %.100s.", a.Name, jsonOf(v))
	}
	if _, err := number.Int64(); a.Type == Integer && err != nil {
		return nil, invalid("invalidValue", "%s is a whole number, not %.100s.", a.Name, number)
	}
	return number, nil
}

// text accepts texts. It accepts numbers and booleans as texts, since Microsoft's validator sends an employeeNumber as
// a number, but not where a resource is identified: 1, 1.0 and 1e0 are one number and three texts, and no provider is
// known to send an identifier in this way.
func (n *normalizer) text(a *Attribute, v any) (any, error) {
	switch v := v.(type) {
	case string:
		return v, nil
	case json.Number, bool:
		if a.identifies() {
			return nil, invalid("invalidValue", "%s is a text in double quotes, not %.100s: it identifies, so it must not depend on how a number is written.", a.Name, fmt.Sprint(v))
		}
		n.quirks.Add(QuirkNumberString)
		return fmt.Sprint(v), nil
	}
	return nil, invalid("invalidValue", "%s is a text.", a.Name)
}

// dateTime accepts a time (RFC 7643 §2.3.5) and returns it in UTC.
func (n *normalizer) dateTime(a *Attribute, v any) (any, error) {
	text, _ := v.(string)
	t, ok := parseDateTime(text)
	if !ok {
		return nil, invalid("invalidValue", "%s is a time such as 2026-01-02T03:04:05Z, not %.100s.", a.Name, jsonOf(v))
	}
	return t.UTC().Format(time.RFC3339Nano), nil
}

// parseDateTime parses an xsd:dateTime. A time without a zone is in UTC.
func parseDateTime(text string) (time.Time, bool) {
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		t, err = time.Parse("2006-01-02T15:04:05", text)
	}
	return t, err == nil
}

// binary accepts base64 (RFC 7643 §2.3.6) and returns it unchanged.
func (n *normalizer) binary(a *Attribute, v any) (any, error) {
	text, ok := v.(string)
	if !ok || !isBase64(strings.TrimRight(withoutSpace.Replace(text), "=")) {
		return nil, invalid("invalidValue", "%s is base64, and this is not.", a.Name)
	}
	return text, nil
}

// withoutSpace removes what breaks long base64 into lines.
var withoutSpace = strings.NewReplacer(" ", "", "\t", "", "\r", "", "\n", "")

// isBase64 reports whether text is base64 of either alphabet, without padding.
func isBase64(text string) bool {
	_, err := base64.RawStdEncoding.DecodeString(text)
	_, urlErr := base64.RawURLEncoding.DecodeString(text)
	return err == nil || urlErr == nil
}

func jsonOf(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		return "?"
	}
	return string(data)
}

func equalJSON(a, b any) bool { return jsonOf(a) == jsonOf(b) }
