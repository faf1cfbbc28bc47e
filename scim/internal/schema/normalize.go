package schema

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
type normalizer struct {
	kind  *ResourceType
	notes *Quirks
}

// normalize is the canonical document of a body that is a whole resource.
func Normalize(kind *ResourceType, body map[string]any, n *Quirks) (map[string]any, error) {
	if _, ok := Member(body, "schemas"); !ok {
		n.Add(QuirkMissingSchemas)
	}
	return (&normalizer{kind, n}).document(body)
}

// document cleans a whole resource.
func (c *normalizer) document(in map[string]any) (map[string]any, error) {
	out := map[string]any{}
	for _, name := range slices.Sorted(maps.Keys(in)) {
		if err := c.put(out, name, in[name]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// put cleans one member of a resource into out.
func (c *normalizer) put(out map[string]any, name string, v any) error {
	if EqualNames(name, "schemas") {
		return nil // follows from the data
	}
	if x := c.kind.Extension(name); x != nil {
		return c.putExtension(out, x, v)
	}
	urn, rest := c.kind.splitURN(name)
	if urn == "" && strings.HasPrefix(strings.ToLower(name), "urn:") {
		c.notes.Add(QuirkUnknownExtension)
		return nil
	}
	first, sub, dotted := strings.Cut(rest, ".")
	a, extension := c.kind.attributeAt(urn, first)
	switch {
	case a == nil || dotted && find(a.SubAttributes, sub) == nil:
		c.notes.Add(QuirkUnknownAttribute)
		return nil
	case a.Mutability == ReadOnly:
		c.notes.Add(QuirkReadOnlyIgnored)
		return nil
	case a.Mutability == WriteOnly:
		return nil
	case dotted:
		c.notes.Add(QuirkDottedKey)
		v = map[string]any{sub: v}
	}
	if urn == "" && extension != "" {
		c.notes.Add(QuirkBareExtension)
	}
	clean, err := c.value(a, v)
	if err != nil || clean == nil {
		return err
	}
	home := out
	if extension != "" {
		home = child(out, extension)
	}
	if had, ok := home[a.Name].(map[string]any); ok && dotted {
		maps.Copy(had, clean.(map[string]any))
		return nil
	}
	home[a.Name] = clean
	return nil
}

func (c *normalizer) putExtension(out map[string]any, x *Schema, v any) error {
	values, ok := v.(map[string]any)
	if !ok {
		if v == nil || v == "" {
			return nil
		}
		return invalid("invalidValue", "%s must be an object.", x.URN)
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if err := c.put(out, x.URN+":"+name, values[name]); err != nil {
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
func (c *normalizer) value(a *Attribute, v any) (any, error) {
	if a.Name == MembersAttribute && a.MultiValued && a.Type == Complex {
		return c.members(v)
	}
	if a.MultiValued {
		return c.many(a, v)
	}
	if list, ok := v.([]any); ok {
		switch len(list) {
		case 0:
			return nil, nil
		case 1:
			c.notes.Add(QuirkArrayOfOne)
			v = list[0]
		default:
			return nil, invalid("invalidValue", "%s has one value, not %d.", a.Name, len(list))
		}
	}
	return c.one(a, v)
}

func (c *normalizer) many(a *Attribute, v any) (any, error) {
	list, ok := v.([]any)
	if !ok {
		if v == nil || v == "" {
			return nil, nil
		}
		c.notes.Add(QuirkSingleForMany)
		list = []any{v}
	}
	if len(list) > maxValues {
		return nil, invalid("tooMany", "%s has %d values; at most %d are kept.", a.Name, len(list), maxValues)
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
	out = c.mergeDuplicates(out)
	c.onePrimary(out, -1)
	return out, nil
}

// withoutTwins makes one of elements with the same type and value (RFC 7643 §2.4).
func (c *normalizer) mergeDuplicates(list []any) []any {
	at, out := map[string]int{}, list[:0:0]
	for _, element := range list {
		twin := identity(element)
		i, had := at[twin]
		if !had {
			at[twin] = len(out)
			out = append(out, element)
			continue
		}
		c.notes.Add(QuirkSameValueTwice)
		out[i] = merged(out[i], element)
	}
	return out
}

// twinOf is the same for elements with the same type and value.
func identity(element any) string {
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
func (c *normalizer) onePrimary(list []any, keep int) {
	for i := len(list) - 1; i >= 0; i-- {
		element, ok := list[i].(map[string]any)
		if !ok || element["primary"] != true {
			continue
		}
		if keep < 0 {
			keep = i
		}
		if i != keep {
			c.notes.Add(QuirkPrimaryTwice)
			element["primary"] = false
		}
	}
}

// one cleans a single value.
func (c *normalizer) one(a *Attribute, v any) (any, error) {
	switch id := v.(type) {
	case nil:
		return nil, nil
	case MemberID: // it was no member's after all
		v = map[string]any{"value": string(id)}
	}
	if a.Type == Complex {
		return c.complex(a, v)
	}
	if object, ok := v.(map[string]any); ok { // {"$ref": null, "value": "x"}
		inner, has := Member(object, "value")
		if !has {
			return nil, invalid("invalidValue", "%s is a plain value, not an object.", a.Name)
		}
		c.notes.Add(QuirkWrappedValue)
		return c.value(a, inner)
	}
	switch a.Type {
	case Boolean:
		return c.boolean(a, v)
	case Integer, Decimal:
		return c.number(a, v)
	case DateTime:
		return c.instant(a, v)
	case Binary:
		return c.binary(a, v)
	}
	return c.text(a, v)
}

func (c *normalizer) complex(a *Attribute, v any) (any, error) {
	object, ok := v.(map[string]any)
	if !ok {
		if v == "" {
			c.notes.Add(QuirkEmptyString)
			return nil, nil
		}
		if find(a.SubAttributes, "value") == nil {
			return nil, invalid("invalidValue", "%s must be an object.", a.Name)
		}
		c.notes.Add(QuirkBareValue)
		object = map[string]any{"value": v}
	}
	out := map[string]any{}
	for _, name := range slices.Sorted(maps.Keys(object)) {
		sub := find(a.SubAttributes, name)
		if sub == nil {
			c.notes.Add(QuirkUnknownAttribute)
			continue
		}
		if sub.Mutability == ReadOnly {
			continue
		}
		clean, err := c.value(sub, object[name])
		if err != nil {
			return nil, err
		}
		if clean != nil {
			out[sub.Name] = clean
		}
	}
	if isEmpty(out) {
		return nil, nil
	}
	return out, nil
}

// hollow says that an element holds nothing but what it would be about.
func isEmpty(element map[string]any) bool {
	for name := range element {
		if name != "type" && name != "primary" && name != "$ref" {
			return false
		}
	}
	return true
}

// boolean: only true and false, in any case, are ever read as one; anything else
// is refused, so that nothing unreadable activates anybody.
func (c *normalizer) boolean(a *Attribute, v any) (any, error) {
	switch v := v.(type) {
	case bool:
		return v, nil
	case string:
		if v == "" {
			c.notes.Add(QuirkEmptyString)
			return nil, nil
		}
		if b, ok := booleanOf(v); ok {
			c.notes.Add(QuirkBooleanString)
			return b, nil
		}
	}
	return nil, invalid("invalidValue", "%s is true or false, not %.100s.", a.Name, jsonOf(v))
}

// number reads numbers, also those that come as texts.
func (c *normalizer) number(a *Attribute, v any) (any, error) {
	n, ok := v.(json.Number)
	if s, text := v.(string); text {
		if s == "" {
			c.notes.Add(QuirkEmptyString)
			return nil, nil
		}
		c.notes.Add(QuirkNumberText)
		n, ok = json.Number(s), json.Valid([]byte(s))
	}
	if _, err := n.Float64(); !ok || err != nil {
		return nil, invalid("invalidValue", "%s is a number, not %.100s.", a.Name, jsonOf(v))
	}
	if _, err := n.Int64(); a.Type == Integer && err != nil {
		return nil, invalid("invalidValue", "%s is a whole number, not %.100s.", a.Name, n)
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

func (c *normalizer) text(a *Attribute, v any) (any, error) {
	switch v := v.(type) {
	case string:
		if v == "" {
			c.notes.Add(QuirkEmptyString)
			return nil, nil
		}
		return v, nil
	case json.Number, bool:
		c.notes.Add(QuirkNumberString)
		return fmt.Sprint(v), nil
	}
	return nil, invalid("invalidValue", "%s is a text.", a.Name)
}

// instant is a dateTime (RFC 7643 §2.3.5), in UTC as all of ours are.
func (c *normalizer) instant(a *Attribute, v any) (any, error) {
	if v == "" {
		return c.text(a, v)
	}
	text, _ := v.(string)
	t, ok := instantOf(text)
	if !ok {
		return nil, invalid("invalidValue", "%s is a time such as 2026-01-02T03:04:05Z, not %.100s.", a.Name, jsonOf(v))
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
func (c *normalizer) binary(a *Attribute, v any) (any, error) {
	text, ok := v.(string)
	if plain := strings.TrimRight(whitespace.Replace(text), "="); !ok || !isBase64(plain) {
		return nil, invalid("invalidValue", "%s is base64, and this is not.", a.Name)
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
