package schema

import (
	"strings"
	"unicode/utf8"
)

// Bounds of a filter.
const (
	maxFilter      = 16_384 // characters; of a path: bytes
	maxFilterDepth = 32     // of parentheses, not and value filters
)

// Filter is a node of a parsed filter (RFC 7644 §3.4.2.2).
type Filter struct {
	Op          string  // and or | not | eq ne co sw ew gt ge lt le pr | []
	Left, Right *Filter // operands of and and or; not has Left alone, and so has [], whose operand is about one element
	Path        *Path   // what a comparison or a value filter is about
	Value       any     // compared with: string, bool, json.Number, or nil for null

	folded string // Value, if it is a text, as texts are compared whose case does not count
	part   string // in lower case: a part of some text in every value that matches, if all of that is ASCII; "" if nothing is known
}

// ParseFilter parses a filter for one of the resource types that a query searches. An attribute that only another of
// them has is accepted: no resource of this type has a value for it (RFC 7644 §3.4.2.1). all may be nil.
func ParseFilter(rt *ResourceType, all []*ResourceType, text string, quirks *Quirks) (*Filter, error) {
	if utf8.RuneCountInString(text) > maxFilter {
		return nil, invalid("invalidFilter", "The filter is longer than %d characters.", maxFilter)
	}
	if !utf8.ValidString(text) {
		return nil, invalid("invalidFilter", "The filter is not UTF-8.")
	}
	p := &parser{lexer: lexer{text: text}, resourceType: rt, all: all, quirks: quirks}
	f, err := p.or(nil)
	if err != nil {
		return nil, err
	}
	t, err := p.next()
	if err != nil {
		return nil, err
	}
	if t.kind != tokenEnd {
		return nil, p.invalid("invalidFilter", "The filter goes on where it should end, at %q.", t.text)
	}
	return f, nil
}

// parser parses the filters and paths of one resource type. A method's parameter within is the attribute whose
// elements a value filter is about; nil outside of one.
type parser struct {
	lexer
	resourceType *ResourceType
	all          []*ResourceType // whose attributes may be named though resourceType has none of them
	quirks       *Quirks
	depth        int
}

// or parses operands of or, which binds less tightly than and.
func (p *parser) or(within *Attribute) (*Filter, error) { return p.chain("or", within, p.and) }

func (p *parser) and(within *Attribute) (*Filter, error) { return p.chain("and", within, p.term) }

// chain parses one or more operands with the operator between them.
func (p *parser) chain(operator string, within *Attribute, operand func(*Attribute) (*Filter, error)) (*Filter, error) {
	left, err := operand(within)
	if err != nil {
		return nil, err
	}
	for {
		t, err := p.peek()
		if err != nil {
			return nil, err
		}
		if !t.isWord(operator) {
			return left, nil
		}
		_, _ = p.next()
		right, err := operand(within)
		if err != nil {
			return nil, err
		}
		left = &Filter{Op: operator, Left: left, Right: right}
	}
}

// term parses a comparison, a value filter, a negation or a group.
func (p *parser) term(within *Attribute) (*Filter, error) {
	if p.depth++; p.depth > maxFilterDepth {
		return nil, p.invalid("invalidFilter", "The filter is nested deeper than %d levels.", maxFilterDepth)
	}
	defer func() { p.depth-- }()
	t, err := p.next()
	if err != nil {
		return nil, err
	}
	switch {
	case t.kind == '(':
		return p.group(within)
	case t.isWord("not"):
		return p.not(within)
	case t.kind == tokenWord:
		return p.comparison(t.text, within)
	}
	return nil, p.invalid("invalidFilter", "An attribute is expected where the filter has %q.", t.text)
}

func (p *parser) not(within *Attribute) (*Filter, error) {
	if t, err := p.next(); err != nil || t.kind != '(' {
		return nil, p.invalid("invalidFilter", "not must be followed by ( .")
	}
	f, err := p.group(within)
	if err != nil {
		return nil, err
	}
	return &Filter{Op: "not", Left: f}, nil
}

// group parses what stands between ( and ).
func (p *parser) group(within *Attribute) (*Filter, error) {
	f, err := p.or(within)
	if err != nil {
		return nil, err
	}
	if t, err := p.next(); err != nil || t.kind != ')' {
		return nil, p.invalid("invalidFilter", "A ) is missing.")
	}
	return f, nil
}

// comparison parses what follows the name of an attribute: an operator and a value, or a value filter.
func (p *parser) comparison(name string, within *Attribute) (*Filter, error) {
	path, err := p.comparable(name, within)
	if err != nil {
		return nil, err
	}
	t, err := p.next()
	if err != nil {
		return nil, err
	}
	if t.kind == '[' {
		return p.valueFilter(path)
	}
	f := &Filter{Op: strings.ToLower(t.text), Path: path}
	switch {
	case f.Op == "pr":
		return f, nil
	case isComparison(f.Op):
		return f, p.operand(f)
	}
	return nil, p.invalid("invalidFilter", "%q is no comparison; there are eq ne co sw ew gt ge lt le pr.", t.text)
}

// isComparison reports whether a value follows the operator.
func isComparison(op string) bool {
	switch op {
	case "eq", "ne", "co", "sw", "ew", "gt", "ge", "lt", "le":
		return true
	}
	return false
}

// comparable resolves the name of an attribute that may be compared. An extension's URN stands for the whole extension.
func (p *parser) comparable(name string, within *Attribute) (*Path, error) {
	if x := p.resourceType.Extension(name); x != nil && within == nil {
		return &Path{Attribute: &Attribute{Name: x.URN, Type: Complex}}, nil
	}
	path, err := p.resolve(name, within, "invalidFilter")
	if err != nil {
		return nil, err
	}
	if path.Attribute.Mutability == WriteOnly {
		return nil, p.invalid("invalidFilter", "Nothing is searched by %s.", path.Attribute.Name)
	}
	return path, nil
}

// valueFilter parses what stands between [ and ], and the comparison that Entra writes behind it:
// emails[type eq "work"].value eq "x".
func (p *parser) valueFilter(path *Path) (*Filter, error) {
	if path.Sub != nil || !path.Attribute.hasElements() {
		return nil, p.invalid("invalidFilter", "%s has no elements to filter.", path.Attribute.Name)
	}
	inner, err := p.or(path.Attribute)
	if err != nil {
		return nil, err
	}
	if t, err := p.next(); err != nil || t.kind != ']' {
		return nil, p.invalid("invalidFilter", "A ] is missing.")
	}
	f := &Filter{Op: "[]", Path: path, Left: inner, part: inner.partOfElement()}
	t, err := p.peek()
	if err != nil {
		return nil, err
	}
	sub, ok := strings.CutPrefix(t.text, ".")
	if t.kind != tokenWord || !ok {
		return f, nil
	}
	_, _ = p.next()
	p.quirks.Add(QuirkTypedCompare)
	comparison, err := p.comparison(sub, path.Attribute)
	if err != nil {
		return nil, err
	}
	f.Left = &Filter{Op: "and", Left: inner, Right: comparison}
	f.part = f.Left.partOfElement()
	return f, nil
}

// partOfElement returns the longest part of a text that every element must have which the operand of a value filter matches.
func (f *Filter) partOfElement() string {
	if f.Op != "and" {
		return f.part // only comparisons have one
	}
	left, right := f.Left.partOfElement(), f.Right.partOfElement()
	if len(left) < len(right) {
		return right
	}
	return left
}

// hasElements reports whether the attribute's values are objects that a value filter can choose from.
func (a *Attribute) hasElements() bool { return a.Type == Complex && a.MultiValued }

// equalities returns the comparisons of a chain of ands; ok is false unless each is an eq with a value.
func equalities(f *Filter) (list []*Filter, ok bool) {
	switch f.Op {
	case "and":
		left, leftOK := equalities(f.Left)
		right, rightOK := equalities(f.Right)
		return append(left, right...), leftOK && rightOK
	case "eq":
		return []*Filter{f}, f.Value != nil
	}
	return nil, false
}
