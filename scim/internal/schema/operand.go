package schema

import (
	"encoding/json"
	"fmt"
	"strings"
)

// operand parses the value that f compares with.
func (p *parser) operand(f *Filter) error {
	t, err := p.next()
	if err != nil {
		return err
	}
	switch b, isBoolean := booleanOf(t.text); {
	case t.kind == tokenString:
		f.Value = t.text
	case t.kind == tokenWord && isBoolean:
		if f.Value = b; t.text != fmt.Sprint(b) {
			p.quirks.Add(QuirkBooleanString)
		}
	case t.kind == tokenWord && t.text == "null":
		f.Value = nil
	case t.kind == tokenWord && json.Valid([]byte(t.text)):
		f.Value = json.Number(t.text)
	default:
		return p.invalid("invalidFilter", "A value is expected where the filter has %q; strings stand in double quotes.", t.text)
	}
	return p.checkOperand(f)
}

// checkOperand converts the value to the attribute's type. It rejects a comparison that can match nothing: such a
// filter is a mistake.
func (p *parser) checkOperand(f *Filter) error {
	a := f.Path.Compared()
	equality := f.Op == "eq" || f.Op == "ne"
	ordered := f.Op == "gt" || f.Op == "ge" || f.Op == "lt" || f.Op == "le"
	switch {
	case f.Value == nil && !equality:
		return p.invalid("invalidFilter", "null is compared by eq and ne alone.")
	case f.Value == nil:
		return nil
	case a.Type == Complex:
		return p.invalid("invalidFilter", "%s is complex; compare one of its sub-attributes, such as %s.%s.", a.Name, a.Name, a.exampleSubAttribute())
	case a.Type == Boolean && !equality, a.Type == Binary && ordered:
		return p.invalid("invalidFilter", "%s has no order to compare by.", a.Name)
	case (a.Type == Integer || a.Type == Decimal) && !equality && !ordered:
		return p.invalid("invalidFilter", "%s is a number; %s compares texts.", a.Name, f.Op)
	}
	return p.convertOperand(f, a, equality || ordered)
}

// convertOperand converts the value of f to a's type. whole is false if f compares with a part of a text (co, sw, ew).
func (p *parser) convertOperand(f *Filter, a *Attribute, whole bool) error {
	text := fmt.Sprint(f.Value)
	_, isText := f.Value.(string)
	switch a.Type {
	case Boolean:
		b, ok := booleanOf(text)
		if !ok {
			return p.invalid("invalidFilter", "%s is true or false, not %.100q.", a.Name, text)
		}
		if isText {
			p.quirks.Add(QuirkBooleanString)
		}
		f.Value = b
	case Integer, Decimal:
		if _, err := json.Number(text).Float64(); err != nil || !json.Valid([]byte(text)) {
			return p.invalid("invalidFilter", "%s is a number, not %.100q.", a.Name, text)
		}
		if isText {
			p.quirks.Add(QuirkNumberText)
		}
		f.Value = json.Number(text)
	default:
		if _, ok := parseDateTime(text); a.Type == DateTime && whole && !ok {
			return p.invalid("invalidFilter", "%s is a time such as 2026-01-02T03:04:05Z, not %.100q.", a.Name, text)
		}
		if !isText {
			p.quirks.Add(QuirkNumberString)
		}
		f.setText(a, text)
	}
	return nil
}

// setText sets the text that f compares an attribute with. Times are compared as times, whatever their text is.
func (f *Filter) setText(a *Attribute, text string) {
	f.Value, f.folded = text, f.Path.fold(text)
	switch f.Op {
	case "eq", "co", "sw", "ew":
		if f.part = f.folded; a.CaseExact {
			f.part = strings.ToLower(text)
		}
		if a.Type == DateTime {
			f.part = ""
		}
	}
}
