package scim

import (
	"encoding/json"
	"strings"
)

// filter is a parsed filter (RFC 7644 §3.4.2.2): a tree of and, or, not, of
// comparisons, and of value filters, whose only child looks at one element.
type filter struct {
	op          string // and or not | eq ne co sw ew gt ge lt le pr | []
	left, right *filter
	target      *target
	value       any // string, bool, json.Number or nil
}

// target is what a filter or a PATCH path points at.
type target struct {
	extension string     // URN; "" for the core schema
	attribute *attribute // nil only where the whole extension is meant
	where     *filter    // value filter; nil for none
	sub       *attribute // nil for none
}

// parser reads filters and paths of one kind of resource.
type parser struct {
	lexer
	kind  *kindOfResource
	kinds []*kindOfResource // whose attributes may be named, though none of kind has them
	notes *notes
	depth int
}

// parseFilter parses a whole filter.
func parseFilter(kind *kindOfResource, text string, n *notes) (*filter, error) {
	return parseFilterAmong(kind, nil, text, n)
}

// parseFilterAmong parses a filter for one of the kinds that it looks at.
func parseFilterAmong(kind *kindOfResource, kinds []*kindOfResource, text string, n *notes) (*filter, error) {
	if len(text) > maxFilter {
		return nil, invalid("invalidFilter", "The filter is longer than %d characters.", maxFilter)
	}
	p := &parser{lexer: lexer{text: text}, kind: kind, kinds: kinds, notes: n}
	f, err := p.or(nil)
	if err != nil {
		return nil, err
	}
	if t, err := p.next(); err != nil || t.kind != 0 {
		return nil, invalid("invalidFilter", "The filter goes on where it should end, at %q.", t.text)
	}
	return f, nil
}

// or is the lowest in precedence. within is the attribute whose elements a value
// filter looks at; nil outside of one.
func (p *parser) or(within *attribute) (*filter, error) { return p.chain("or", within, p.and) }

func (p *parser) and(within *attribute) (*filter, error) { return p.chain("and", within, p.term) }

func (p *parser) chain(word string, within *attribute, operand func(*attribute) (*filter, error)) (*filter, error) {
	left, err := operand(within)
	if err != nil {
		return nil, err
	}
	for {
		t, err := p.peek()
		if err != nil || t.kind != 'w' || !strings.EqualFold(t.text, word) {
			return left, err
		}
		_, _ = p.next()
		right, err := operand(within)
		if err != nil {
			return nil, err
		}
		left = &filter{op: word, left: left, right: right}
	}
}

func (p *parser) term(within *attribute) (*filter, error) {
	if p.depth++; p.depth > maxFilterDepth {
		return nil, invalid("invalidFilter", "The filter is nested deeper than %d levels.", maxFilterDepth)
	}
	defer func() { p.depth-- }()
	t, err := p.next()
	if err != nil {
		return nil, err
	}
	switch {
	case t.kind == '(':
		return p.group(within)
	case t.kind == 'w' && strings.EqualFold(t.text, "not"):
		if t, err := p.next(); err != nil || t.kind != '(' {
			return nil, invalid("invalidFilter", "not must be followed by ( .")
		}
		f, err := p.group(within)
		return &filter{op: "not", left: f}, err
	case t.kind == 'w':
		return p.comparison(t.text, within)
	}
	return nil, invalid("invalidFilter", "An attribute is expected where the filter has %q.", t.text)
}

func (p *parser) group(within *attribute) (*filter, error) {
	f, err := p.or(within)
	if err != nil {
		return nil, err
	}
	if t, err := p.next(); err != nil || t.kind != ')' {
		return nil, invalid("invalidFilter", "A ) is missing.")
	}
	return f, nil
}

func (p *parser) comparison(name string, within *attribute) (*filter, error) {
	at, err := p.resolve(name, within, "invalidFilter")
	if err != nil {
		return nil, err
	}
	if at.attribute.never {
		return nil, invalid("invalidFilter", "Nothing is searched by %s.", at.attribute.name)
	}
	t, err := p.next()
	if err != nil {
		return nil, err
	}
	if t.kind == '[' {
		return p.valueFilter(at)
	}
	f := &filter{op: strings.ToLower(t.text), target: at}
	switch f.op {
	case "pr":
		return f, nil
	case "eq", "ne", "co", "sw", "ew", "gt", "ge", "lt", "le":
		return p.operand(f)
	}
	return nil, invalid("invalidFilter", "%q is no comparison; there are eq ne co sw ew gt ge lt le pr.", t.text)
}

// valueFilter reads what stands between [ and ], and what Entra puts behind it:
// emails[type eq "work"].value eq "x".
func (p *parser) valueFilter(at *target) (*filter, error) {
	if at.sub != nil || at.attribute.kind != complexed || !at.attribute.multi {
		return nil, invalid("invalidFilter", "%s has no elements to filter.", at.attribute.name)
	}
	inner, err := p.or(at.attribute)
	if err != nil {
		return nil, err
	}
	if t, err := p.next(); err != nil || t.kind != ']' {
		return nil, invalid("invalidFilter", "A ] is missing.")
	}
	f := &filter{op: "[]", target: at, left: inner}
	t, err := p.peek()
	if err != nil || t.kind != 'w' || !strings.HasPrefix(t.text, ".") {
		return f, err
	}
	_, _ = p.next()
	p.notes.add(quirkTypedCompare)
	compare, err := p.comparison(t.text[1:], at.attribute)
	f.left = &filter{op: "and", left: inner, right: compare}
	return f, err
}

// operand reads the value compared with and fits it to the attribute's type.
func (p *parser) operand(f *filter) (*filter, error) {
	t, err := p.next()
	if err != nil {
		return nil, err
	}
	switch {
	case t.kind == '"':
		f.value = t.text
	case t.kind == 'w' && t.text == "true":
		f.value = true
	case t.kind == 'w' && t.text == "false":
		f.value = false
	case t.kind == 'w' && t.text == "null":
		f.value = nil
	case t.kind == 'w' && json.Valid([]byte(t.text)):
		f.value = json.Number(t.text)
	default:
		return nil, invalid("invalidFilter", "A value is expected where the filter has %q; strings stand in double quotes.", t.text)
	}
	return f, p.fit(f)
}

func (p *parser) fit(f *filter) error {
	a := f.target.compared()
	if s, ok := f.value.(string); ok && a.kind == boolean {
		b, ok := booleanOf(s)
		if !ok {
			return invalid("invalidFilter", "%s is true or false, not %q.", a.name, s)
		}
		p.notes.add(quirkBooleanString)
		f.value = b
	}
	if s, ok := f.value.(string); ok && (a.kind == integer || a.kind == decimal) {
		if !json.Valid([]byte(s)) {
			return invalid("invalidFilter", "%s is a number, not %q.", a.name, s)
		}
		p.notes.add(quirkNumberText)
		f.value = json.Number(s)
	}
	ordered := f.op == "gt" || f.op == "ge" || f.op == "lt" || f.op == "le"
	if ordered && (a.kind == boolean || a.kind == binary) {
		return invalid("invalidFilter", "%s has no order to compare by.", a.name)
	}
	return nil
}

// compared is the attribute whose values are compared: of a complex one without
// sub-attribute, its value.
func (t *target) compared() *attribute {
	if t.sub != nil {
		return t.sub
	}
	if t.attribute.kind == complexed {
		if v := find(t.attribute.sub, "value"); v != nil {
			return v
		}
	}
	return t.attribute
}

// resolve finds what a dotted, perhaps URN-qualified name means.
func (p *parser) resolve(name string, within *attribute, scimType string) (*target, error) {
	if within != nil {
		if a := find(within.sub, name); a != nil {
			return &target{attribute: a}, nil
		}
		return nil, invalid(scimType, "%s has no sub-attribute %q.", within.name, name)
	}
	urn, rest := p.kind.splitURN(name)
	first, sub, dotted := strings.Cut(rest, ".")
	a, extension := p.kind.attributeAt(urn, first)
	if t := p.elsewhere(name); a == nil && t != nil {
		return t, nil
	}
	if a == nil {
		return nil, invalid(scimType, "A %s has no attribute %q.", p.kind.name, name)
	}
	if extension != "" && urn == "" {
		p.notes.add(quirkBareExtension)
	}
	t := &target{extension: extension, attribute: a}
	if dotted {
		if t.sub = find(a.sub, sub); t.sub == nil {
			return nil, invalid(scimType, "%s has no sub-attribute %q.", a.name, sub)
		}
	}
	return t, nil
}

// elsewhere is the attribute of another kind, nil if none has it. No resource of
// this kind has a value for it (RFC 7644 §3.4.2.1).
func (p *parser) elsewhere(name string) *target {
	for _, other := range p.kinds {
		if other == p.kind {
			continue
		}
		if t, err := (&parser{kind: other}).resolve(name, nil, ""); err == nil {
			return t
		}
	}
	return nil
}

// parseSortBy resolves the attribute that a list is sorted by.
func parseSortBy(kind *kindOfResource, kinds []*kindOfResource, name string, n *notes) (*target, error) {
	t, err := (&parser{kind: kind, kinds: kinds, notes: n}).resolve(name, nil, "invalidPath")
	if err != nil {
		return nil, err
	}
	if a := t.compared(); a.kind == complexed || a.never || a.name == membersName || t.attribute.name == membersName {
		return nil, invalid("invalidPath", "Nothing can be sorted by %q.", name)
	}
	return t, nil
}
