package scim

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// clean makes a canonical document of what a client sent: names as in the
// schema, values of the schema's types, nothing unassigned, nothing unknown.
// This is the one place where deviations are put right; each is noted.
type cleaner struct {
	kind  *kindOfResource
	notes *notes
}

// normalize is the canonical document of a body that is a whole resource.
func normalize(kind *kindOfResource, body map[string]any, n *notes) (map[string]any, error) {
	if _, ok := member(body, "schemas"); !ok {
		n.add(quirkMissingSchemas)
	}
	return (&cleaner{kind, n}).document(body)
}

// document cleans a whole resource.
func (c *cleaner) document(in map[string]any) (map[string]any, error) {
	out := map[string]any{}
	for _, name := range slices.Sorted(maps.Keys(in)) {
		if err := c.put(out, name, in[name]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// put cleans one member of a resource into out.
func (c *cleaner) put(out map[string]any, name string, v any) error {
	if same(name, "schemas") {
		return nil // follows from the data
	}
	if x := c.kind.extension(name); x != nil {
		return c.putExtension(out, x, v)
	}
	urn, rest := c.kind.splitURN(name)
	if urn == "" && strings.HasPrefix(strings.ToLower(name), "urn:") {
		c.notes.add(quirkUnknownExtension)
		return nil
	}
	first, sub, dotted := strings.Cut(rest, ".")
	a, extension := c.kind.attributeAt(urn, first)
	switch {
	case a == nil || dotted && find(a.sub, sub) == nil:
		c.notes.add(quirkUnknownAttribute)
		return nil
	case a.mutability == readOnly:
		c.notes.add(quirkReadOnlyIgnored)
		return nil
	case a.mutability == writeOnly:
		return nil
	case dotted:
		c.notes.add(quirkDottedKey)
		v = map[string]any{sub: v}
	}
	if urn == "" && extension != "" {
		c.notes.add(quirkBareExtension)
	}
	clean, err := c.value(a, v)
	if err != nil || clean == nil {
		return err
	}
	home := out
	if extension != "" {
		home = child(out, extension)
	}
	if had, ok := home[a.name].(map[string]any); ok && dotted {
		maps.Copy(had, clean.(map[string]any))
		return nil
	}
	home[a.name] = clean
	return nil
}

func (c *cleaner) putExtension(out map[string]any, x *schema, v any) error {
	values, ok := v.(map[string]any)
	if !ok {
		if v == nil || v == "" {
			return nil
		}
		return invalid("invalidValue", "%s must be an object.", x.urn)
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if err := c.put(out, x.urn+":"+name, values[name]); err != nil {
			return err
		}
	}
	return nil
}

// child is the object at name, made if it is not there.
func child(object map[string]any, name string) map[string]any {
	inner, ok := object[name].(map[string]any)
	if !ok {
		inner = map[string]any{}
		object[name] = inner
	}
	return inner
}

// maxValues bounds the values of one attribute; members, who stand in no
// document, are bounded by the body alone.
const maxValues = 1000

// value cleans the value of an attribute; nil means unassigned.
func (c *cleaner) value(a *attribute, v any) (any, error) {
	if a.name == membersAttribute && a.multi && a.kind == complexed {
		return c.members(v)
	}
	if a.multi {
		return c.many(a, v)
	}
	if list, ok := v.([]any); ok {
		switch len(list) {
		case 0:
			return nil, nil
		case 1:
			c.notes.add(quirkArrayOfOne)
			v = list[0]
		default:
			return nil, invalid("invalidValue", "%s has one value, not %d.", a.name, len(list))
		}
	}
	return c.one(a, v)
}

func (c *cleaner) many(a *attribute, v any) (any, error) {
	list, ok := v.([]any)
	if !ok {
		if v == nil || v == "" {
			return nil, nil
		}
		c.notes.add(quirkSingleForMany)
		list = []any{v}
	}
	if len(list) > maxValues {
		return nil, invalid("tooMany", "%s has %d values; at most %d are kept.", a.name, len(list), maxValues)
	}
	out := []any{}
	for _, element := range list {
		clean, err := c.one(a, element)
		if err != nil {
			return nil, err
		}
		if clean != nil {
			out = append(out, clean)
		}
	}
	if len(out) == 0 {
		return nil, nil
	}
	out = c.withoutTwins(out)
	c.onePrimary(out, -1)
	return out, nil
}

// withoutTwins makes one of elements with the same type and value (RFC 7643 §2.4).
func (c *cleaner) withoutTwins(list []any) []any {
	at, out := map[string]int{}, list[:0:0]
	for _, element := range list {
		twin := twinOf(element)
		i, had := at[twin]
		if !had {
			at[twin] = len(out)
			out = append(out, element)
			continue
		}
		c.notes.add(quirkSameValueTwice)
		out[i] = merged(out[i], element)
	}
	return out
}

// twinOf is the same for elements with the same type and value.
func twinOf(element any) string {
	if object, ok := element.(map[string]any); ok && object["value"] != nil {
		return jsonOf([]any{object["type"], object["value"]})
	}
	return jsonOf(element)
}

// merged is an element with what its twin says besides.
func merged(element, twin any) any {
	object, ok := element.(map[string]any)
	if !ok {
		return element
	}
	both := maps.Clone(object)
	maps.Copy(both, twin.(map[string]any))
	return both
}

// onePrimary leaves one primary element: the one at keep, or the last.
func (c *cleaner) onePrimary(list []any, keep int) {
	for i := len(list) - 1; i >= 0; i-- {
		element, ok := list[i].(map[string]any)
		if !ok || element["primary"] != true {
			continue
		}
		if keep < 0 {
			keep = i
		}
		if i != keep {
			c.notes.add(quirkPrimaryTwice)
			element["primary"] = false
		}
	}
}

// one cleans a single value.
func (c *cleaner) one(a *attribute, v any) (any, error) {
	switch id := v.(type) {
	case nil:
		return nil, nil
	case memberID: // it was no member's after all
		v = map[string]any{"value": string(id)}
	}
	if a.kind == complexed {
		return c.complex(a, v)
	}
	if object, ok := v.(map[string]any); ok { // {"$ref": null, "value": "x"}
		inner, has := member(object, "value")
		if !has {
			return nil, invalid("invalidValue", "%s is a plain value, not an object.", a.name)
		}
		c.notes.add(quirkWrappedValue)
		return c.value(a, inner)
	}
	switch a.kind {
	case boolean:
		return c.boolean(a, v)
	case integer, decimal:
		return c.number(a, v)
	case dateTime:
		return c.instant(a, v)
	case binary:
		return c.binary(a, v)
	}
	return c.text(a, v)
}

func (c *cleaner) complex(a *attribute, v any) (any, error) {
	object, ok := v.(map[string]any)
	if !ok {
		if v == "" {
			c.notes.add(quirkEmptyString)
			return nil, nil
		}
		if find(a.sub, "value") == nil {
			return nil, invalid("invalidValue", "%s must be an object.", a.name)
		}
		c.notes.add(quirkBareValue)
		object = map[string]any{"value": v}
	}
	out := map[string]any{}
	for _, name := range slices.Sorted(maps.Keys(object)) {
		sub := find(a.sub, name)
		if sub == nil {
			c.notes.add(quirkUnknownAttribute)
			continue
		}
		if sub.mutability == readOnly {
			continue
		}
		clean, err := c.value(sub, object[name])
		if err != nil {
			return nil, err
		}
		if clean != nil {
			out[sub.name] = clean
		}
	}
	if hollow(out) {
		return nil, nil
	}
	return out, nil
}

// hollow says that an element holds nothing but what it would be about.
func hollow(element map[string]any) bool {
	for name := range element {
		if name != "type" && name != "primary" && name != "$ref" {
			return false
		}
	}
	return true
}

// boolean: only true and false, in any case, are ever read as one; anything else
// is refused, so that nothing unreadable activates anybody.
func (c *cleaner) boolean(a *attribute, v any) (any, error) {
	switch v := v.(type) {
	case bool:
		return v, nil
	case string:
		if v == "" {
			c.notes.add(quirkEmptyString)
			return nil, nil
		}
		if b, ok := booleanOf(v); ok {
			c.notes.add(quirkBooleanString)
			return b, nil
		}
	}
	return nil, invalid("invalidValue", "%s is true or false, not %.100s.", a.name, jsonOf(v))
}

// number reads numbers, also those that come as texts.
func (c *cleaner) number(a *attribute, v any) (any, error) {
	n, ok := v.(json.Number)
	if s, text := v.(string); text {
		if s == "" {
			c.notes.add(quirkEmptyString)
			return nil, nil
		}
		c.notes.add(quirkNumberText)
		n, ok = json.Number(s), json.Valid([]byte(s))
	}
	if _, err := n.Float64(); !ok || err != nil {
		return nil, invalid("invalidValue", "%s is a number, not %.100s.", a.name, jsonOf(v))
	}
	if _, err := n.Int64(); a.kind == integer && err != nil {
		return nil, invalid("invalidValue", "%s is a whole number, not %.100s.", a.name, n)
	}
	return n, nil
}

func booleanOf(s string) (value, ok bool) {
	switch strings.ToLower(s) {
	case "true":
		return true, true
	case "false":
		return false, true
	}
	return false, false
}

func (c *cleaner) text(a *attribute, v any) (any, error) {
	switch v := v.(type) {
	case string:
		if v == "" {
			c.notes.add(quirkEmptyString)
			return nil, nil
		}
		return v, nil
	case json.Number, bool:
		c.notes.add(quirkNumberString)
		return fmt.Sprint(v), nil
	}
	return nil, invalid("invalidValue", "%s is a text.", a.name)
}

// instant is a dateTime (RFC 7643 §2.3.5), in UTC as all of ours are.
func (c *cleaner) instant(a *attribute, v any) (any, error) {
	if v == "" {
		return c.text(a, v)
	}
	text, _ := v.(string)
	t, ok := instantOf(text)
	if !ok {
		return nil, invalid("invalidValue", "%s is a time such as 2026-01-02T03:04:05Z, not %.100s.", a.name, jsonOf(v))
	}
	return t.UTC().Format(time.RFC3339Nano), nil
}

// instantOf reads an xsd:dateTime; one without a zone is in UTC.
func instantOf(text string) (time.Time, bool) {
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		t, err = time.Parse("2006-01-02T15:04:05", text)
	}
	return t, err == nil
}

// binary is base64, as it came (RFC 7643 §2.3.6).
func (c *cleaner) binary(a *attribute, v any) (any, error) {
	text, ok := v.(string)
	if plain := strings.TrimRight(whitespace.Replace(text), "="); !ok || !isBase64(plain) {
		return nil, invalid("invalidValue", "%s is base64, and this is not.", a.name)
	}
	return c.text(a, v)
}

// whitespace is what breaks long base64 into lines.
var whitespace = strings.NewReplacer(" ", "", "\t", "", "\r", "", "\n", "")

func isBase64(text string) bool {
	_, err1 := base64.RawStdEncoding.DecodeString(text)
	_, err2 := base64.RawURLEncoding.DecodeString(text)
	return err1 == nil || err2 == nil
}

func jsonOf(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		return "?"
	}
	return string(data)
}

func sameJSON(a, b any) bool { return jsonOf(a) == jsonOf(b) }
