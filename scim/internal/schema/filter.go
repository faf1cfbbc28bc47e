package schema

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"
)

// filter is a parsed filter (RFC 7644 §3.4.2.2): a tree of and, or, not, of
// comparisons, and of value filters, whose only child looks at one element.
type Filter struct {
	Op          string // and or not | eq ne co sw ew gt ge lt le pr | []
	Left, Right *Filter
	Path        *Path
	Value       any // string, bool, json.Number or nil
}

// target is what a filter or a PATCH path points at.
type Path struct {
	Extension string              // URN; "" for the core schema
	Attribute *Attribute          // nil only where the whole extension is meant
	Filter    *Filter             // value filter; nil for none
	Sub       *Attribute          // nil for none
	fold      func(string) string // makes texts equal that differ in case alone
}

// readOnly says whether what t points at is ours to say.
func (t *Path) isReadOnly() bool {
	return t.Attribute != nil && t.Attribute.Mutability == ReadOnly || t.Sub != nil && t.Sub.Mutability == ReadOnly
}

// parser reads filters and paths of one kind of resource.
type parser struct {
	lexer
	kind  *ResourceType
	kinds []*ResourceType // whose attributes may be named, though none of kind has them
	notes *Quirks
	depth int
}

// parseFilterAmong parses a filter for one of the kinds that it looks at.
func ParseFilter(kind *ResourceType, kinds []*ResourceType, text string, n *Quirks) (*Filter, error) {
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
func (p *parser) or(within *Attribute) (*Filter, error) { return p.chain("or", within, p.and) }

func (p *parser) and(within *Attribute) (*Filter, error) { return p.chain("and", within, p.term) }

func (p *parser) chain(word string, within *Attribute, operand func(*Attribute) (*Filter, error)) (*Filter, error) {
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
		left = &Filter{Op: word, Left: left, Right: right}
	}
}

func (p *parser) term(within *Attribute) (*Filter, error) {
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
		return &Filter{Op: "not", Left: f}, err
	case t.kind == 'w':
		return p.comparison(t.text, within)
	}
	return nil, invalid("invalidFilter", "An attribute is expected where the filter has %q.", t.text)
}

func (p *parser) group(within *Attribute) (*Filter, error) {
	f, err := p.or(within)
	if err != nil {
		return nil, err
	}
	if t, err := p.next(); err != nil || t.kind != ')' {
		return nil, invalid("invalidFilter", "A ) is missing.")
	}
	return f, nil
}

func (p *parser) comparison(name string, within *Attribute) (*Filter, error) {
	at, err := p.resolve(name, within, "invalidFilter")
	if x := p.kind.Extension(name); x != nil && within == nil {
		at, err = &Path{Attribute: &Attribute{Name: x.URN, Type: Complex}}, nil
	}
	if err != nil {
		return nil, err
	}
	if at.Attribute.Mutability == WriteOnly {
		return nil, invalid("invalidFilter", "Nothing is searched by %s.", at.Attribute.Name)
	}
	t, err := p.next()
	if err != nil {
		return nil, err
	}
	if t.kind == '[' {
		return p.valueFilter(at)
	}
	f := &Filter{Op: strings.ToLower(t.text), Path: at}
	switch f.Op {
	case "pr":
		return f, nil
	case "eq", "ne", "co", "sw", "ew", "gt", "ge", "lt", "le":
		return p.operand(f)
	}
	return nil, invalid("invalidFilter", "%q is no comparison; there are eq ne co sw ew gt ge lt le pr.", t.text)
}

// valueFilter reads what stands between [ and ], and what Entra puts behind it:
// emails[type eq "work"].value eq "x".
func (p *parser) valueFilter(at *Path) (*Filter, error) {
	if at.Sub != nil || at.Attribute.Type != Complex || !at.Attribute.MultiValued {
		return nil, invalid("invalidFilter", "%s has no elements to filter.", at.Attribute.Name)
	}
	inner, err := p.or(at.Attribute)
	if err != nil {
		return nil, err
	}
	if t, err := p.next(); err != nil || t.kind != ']' {
		return nil, invalid("invalidFilter", "A ] is missing.")
	}
	f := &Filter{Op: "[]", Path: at, Left: inner}
	t, err := p.peek()
	if err != nil || t.kind != 'w' || !strings.HasPrefix(t.text, ".") {
		return f, err
	}
	_, _ = p.next()
	p.notes.Add(QuirkTypedCompare)
	compare, err := p.comparison(t.text[1:], at.Attribute)
	f.Left = &Filter{Op: "and", Left: inner, Right: compare}
	return f, err
}

// operand reads the value compared with and fits it to the attribute's type.
func (p *parser) operand(f *Filter) (*Filter, error) {
	t, err := p.next()
	if err != nil {
		return nil, err
	}
	switch b, isBoolean := booleanOf(t.text); {
	case t.kind == '"':
		f.Value = t.text
	case t.kind == 'w' && isBoolean:
		if f.Value = b; t.text != fmt.Sprint(b) {
			p.notes.Add(QuirkBooleanString)
		}
	case t.kind == 'w' && t.text == "null":
		f.Value = nil
	case t.kind == 'w' && json.Valid([]byte(t.text)):
		f.Value = json.Number(t.text)
	default:
		return nil, invalid("invalidFilter", "A value is expected where the filter has %q; strings stand in double quotes.", t.text)
	}
	return f, p.fit(f)
}

// fit makes the value one of the attribute's type, or refuses the comparison: a
// filter that can find nothing is a mistake of whoever wrote it.
func (p *parser) fit(f *Filter) error {
	a := f.Path.Compared()
	ordered := f.Op == "gt" || f.Op == "ge" || f.Op == "lt" || f.Op == "le"
	equal := f.Op == "eq" || f.Op == "ne"
	switch {
	case f.Value == nil && !equal:
		return invalid("invalidFilter", "null is compared by eq and ne alone.")
	case f.Value == nil:
		return nil
	case a.Type == Complex:
		return invalid("invalidFilter", "%s has parts; one of them can be compared, such as %s.%s.", a.Name, a.Name, a.partName())
	case a.Type == Boolean && !equal, a.Type == Binary && ordered:
		return invalid("invalidFilter", "%s has no order to compare by.", a.Name)
	case (a.Type == Integer || a.Type == Decimal) && !equal && !ordered:
		return invalid("invalidFilter", "%s is a number; %s compares texts.", a.Name, f.Op)
	}
	return p.convert(f, a, equal || ordered)
}

// partName is one of a complex attribute's parts, for an example.
func (a *Attribute) partName() string {
	if len(a.SubAttributes) == 0 {
		return "value"
	}
	return a.SubAttributes[0].Name
}

// convert makes the value one of a's type; whole says that it stands for a whole
// value, not for a part of one.
func (p *parser) convert(f *Filter, a *Attribute, whole bool) error {
	text := fmt.Sprint(f.Value)
	_, isText := f.Value.(string)
	switch a.Type {
	case Boolean:
		b, ok := booleanOf(text)
		if !ok {
			return invalid("invalidFilter", "%s is true or false, not %.100q.", a.Name, text)
		}
		if isText {
			p.notes.Add(QuirkBooleanString)
		}
		f.Value = b
	case Integer, Decimal:
		if _, err := json.Number(text).Float64(); err != nil || !json.Valid([]byte(text)) {
			return invalid("invalidFilter", "%s is a number, not %.100q.", a.Name, text)
		}
		if isText {
			p.notes.Add(QuirkNumberText)
		}
		f.Value = json.Number(text)
	default:
		if _, ok := instantOf(text); a.Type == DateTime && whole && !ok {
			return invalid("invalidFilter", "%s is a time such as 2026-01-02T03:04:05Z, not %.100q.", a.Name, text)
		}
		if !isText {
			p.notes.Add(QuirkNumberString)
		}
		f.Value = text
	}
	return nil
}

// compared is the attribute whose values are compared: of a complex one without
// sub-attribute, its value.
func (t *Path) Compared() *Attribute {
	if t.Sub != nil {
		return t.Sub
	}
	if t.Attribute.Type == Complex {
		if v := find(t.Attribute.SubAttributes, "value"); v != nil {
			return v
		}
	}
	return t.Attribute
}

// resolve finds what a dotted, perhaps URN-qualified name means.
func (p *parser) resolve(name string, within *Attribute, scimType string) (*Path, error) {
	if within != nil {
		if a := find(within.SubAttributes, name); a != nil {
			return &Path{Attribute: a, fold: p.kind.fold}, nil
		}
		return nil, invalid(scimType, "%s has no sub-attribute %q.", within.Name, name)
	}
	urn, rest := p.kind.splitURN(name)
	first, sub, dotted := strings.Cut(rest, ".")
	a, extension := p.kind.attributeAt(urn, first)
	if t := p.elsewhere(name); a == nil && t != nil {
		return t, nil
	}
	if a == nil {
		return nil, invalid(scimType, "A %s has no attribute %q.", p.kind.Name, name)
	}
	if extension != "" && urn == "" {
		p.notes.Add(QuirkBareExtension)
	}
	t := &Path{Extension: extension, Attribute: a, fold: p.kind.fold}
	if dotted {
		if t.Sub = find(a.SubAttributes, sub); t.Sub == nil {
			return nil, invalid(scimType, "%s has no sub-attribute %q.", a.Name, sub)
		}
	}
	return t, nil
}

// elsewhere is the attribute of another kind, nil if none has it. No resource of
// this kind has a value for it (RFC 7644 §3.4.2.1).
func (p *parser) elsewhere(name string) *Path {
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
func ParseSortBy(kind *ResourceType, kinds []*ResourceType, name string, n *Quirks) (*Path, error) {
	t, err := (&parser{kind: kind, kinds: kinds, notes: n}).resolve(name, nil, "invalidPath")
	if err != nil {
		return nil, err
	}
	if a := t.Compared(); a.Type == Complex || a.Mutability == WriteOnly || a.Name == MembersAttribute || t.Attribute.Name == MembersAttribute {
		return nil, invalid("invalidPath", "Nothing can be sorted by %q.", name)
	}
	return t, nil
}
