package scim

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"
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
	extension string              // URN; "" for the core schema
	attribute *attribute          // nil only where the whole extension is meant
	where     *filter             // value filter; nil for none
	sub       *attribute          // nil for none
	fold      func(string) string // makes texts equal that differ in case alone
}

// readOnly says whether what t points at is ours to say.
func (t *target) readOnly() bool {
	return t.attribute != nil && t.attribute.mutability == readOnly || t.sub != nil && t.sub.mutability == readOnly
}

// parser reads filters and paths of one kind of resource.
type parser struct {
	lexer
	kind  *kindOfResource
	kinds []*kindOfResource // whose attributes may be named, though none of kind has them
	notes *notes
	depth int
}

// parseFilterAmong parses a filter for one of the kinds that it looks at.
func parseFilterAmong(kind *kindOfResource, kinds []*kindOfResource, text string, n *notes) (*filter, error) {
	if utf8.RuneCountInString(text) > maxFilter {
		return nil, invalid("invalidFilter", "The filter is longer than %d characters.", maxFilter)
	}
	if !utf8.ValidString(text) {
		return nil, invalid("invalidFilter", "The filter is not UTF-8.")
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
	if x := p.kind.extension(name); x != nil && within == nil {
		at, err = &target{attribute: &attribute{name: x.urn, kind: complexed}}, nil
	}
	if err != nil {
		return nil, err
	}
	if at.attribute.mutability == writeOnly {
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
	switch b, isBoolean := booleanOf(t.text); {
	case t.kind == '"':
		f.value = t.text
	case t.kind == 'w' && isBoolean:
		if f.value = b; t.text != fmt.Sprint(b) {
			p.notes.add(quirkBooleanString)
		}
	case t.kind == 'w' && t.text == "null":
		f.value = nil
	case t.kind == 'w' && json.Valid([]byte(t.text)):
		f.value = json.Number(t.text)
	default:
		return nil, invalid("invalidFilter", "A value is expected where the filter has %q; strings stand in double quotes.", t.text)
	}
	return f, p.fit(f)
}

// fit makes the value one of the attribute's type, or refuses the comparison: a
// filter that can find nothing is a mistake of whoever wrote it.
func (p *parser) fit(f *filter) error {
	a := f.target.compared()
	ordered := f.op == "gt" || f.op == "ge" || f.op == "lt" || f.op == "le"
	equal := f.op == "eq" || f.op == "ne"
	switch {
	case f.value == nil && !equal:
		return invalid("invalidFilter", "null is compared by eq and ne alone.")
	case f.value == nil:
		return nil
	case a.kind == complexed:
		return invalid("invalidFilter", "%s has parts; one of them can be compared, such as %s.%s.", a.name, a.name, a.partName())
	case a.kind == boolean && !equal, a.kind == binary && ordered:
		return invalid("invalidFilter", "%s has no order to compare by.", a.name)
	case (a.kind == integer || a.kind == decimal) && !equal && !ordered:
		return invalid("invalidFilter", "%s is a number; %s compares texts.", a.name, f.op)
	}
	return p.convert(f, a, equal || ordered)
}

// partName is one of a complex attribute's parts, for an example.
func (a *attribute) partName() string {
	if len(a.sub) == 0 {
		return "value"
	}
	return a.sub[0].name
}

// convert makes the value one of a's type; whole says that it stands for a whole
// value, not for a part of one.
func (p *parser) convert(f *filter, a *attribute, whole bool) error {
	text := fmt.Sprint(f.value)
	_, isText := f.value.(string)
	switch a.kind {
	case boolean:
		b, ok := booleanOf(text)
		if !ok {
			return invalid("invalidFilter", "%s is true or false, not %.100q.", a.name, text)
		}
		if isText {
			p.notes.add(quirkBooleanString)
		}
		f.value = b
	case integer, decimal:
		if _, err := json.Number(text).Float64(); err != nil || !json.Valid([]byte(text)) {
			return invalid("invalidFilter", "%s is a number, not %.100q.", a.name, text)
		}
		if isText {
			p.notes.add(quirkNumberText)
		}
		f.value = json.Number(text)
	default:
		if _, ok := instantOf(text); a.kind == dateTime && whole && !ok {
			return invalid("invalidFilter", "%s is a time such as 2026-01-02T03:04:05Z, not %.100q.", a.name, text)
		}
		if !isText {
			p.notes.add(quirkNumberString)
		}
		f.value = text
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
			return &target{attribute: a, fold: p.kind.fold}, nil
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
	t := &target{extension: extension, attribute: a, fold: p.kind.fold}
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
	if a := t.compared(); a.kind == complexed || a.mutability == writeOnly || a.name == membersAttribute || t.attribute.name == membersAttribute {
		return nil, invalid("invalidPath", "Nothing can be sorted by %q.", name)
	}
	return t, nil
}
