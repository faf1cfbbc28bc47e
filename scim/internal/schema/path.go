package schema

import "strings"

// Path points at an attribute, at a sub-attribute, or at some elements of an attribute (RFC 7644 §3.10, §3.5.2).
type Path struct {
	Extension string     // URN; "" for the core schema
	Attribute *Attribute // nil only if the whole extension is meant
	Filter    *Filter    // of the elements that are meant; nil for all
	Sub       *Attribute // nil for none
	fold      func(string) string
}

// Compared returns the attribute whose values are compared: the sub-attribute if there is one, and of a complex
// attribute its value.
func (p *Path) Compared() *Attribute {
	if p.Sub != nil {
		return p.Sub
	}
	if p.Attribute.Type == Complex {
		if value := find(p.Attribute.SubAttributes, "value"); value != nil {
			return value
		}
	}
	return p.Attribute
}

// isReadOnly reports whether clients may not change what the path points at.
func (p *Path) isReadOnly() bool {
	return p.Attribute != nil && p.Attribute.Mutability == ReadOnly || p.Sub != nil && p.Sub.Mutability == ReadOnly
}

// valueIn returns the attribute's value in a document; nil if it is unassigned.
func (p *Path) valueIn(document map[string]any) any {
	if p.Extension != "" {
		document, _ = document[p.Extension].(map[string]any)
	}
	return document[p.Attribute.Name]
}

// ParseSortBy resolves the attribute that a list is sorted by (RFC 7644 §3.4.2.3). all is as in [ParseFilter].
func ParseSortBy(rt *ResourceType, all []*ResourceType, name string, quirks *Quirks) (*Path, error) {
	path, err := (&parser{resourceType: rt, all: all, quirks: quirks}).resolve(name, nil, "invalidPath")
	if err != nil {
		return nil, err
	}
	if a := path.Compared(); a.Type == Complex || a.Mutability == WriteOnly || path.Attribute.Name == MembersAttribute {
		return nil, invalid("invalidPath", "Nothing can be sorted by %q.", name)
	}
	return path, nil
}

// ParsePath resolves the path of a PATCH operation. It returns nil, and counts a quirk, for an attribute that is not
// in the schemas: if that were an error, Entra would stop provisioning the user for up to 28 days.
func ParsePath(rt *ResourceType, text string, quirks *Quirks) (*Path, error) {
	if len(text) > maxFilter {
		return nil, invalid("invalidPath", "The path is longer than %d characters.", maxFilter)
	}
	if x := rt.Extension(text); x != nil {
		return &Path{Extension: x.URN}, nil
	}
	p := &parser{lexer: lexer{text: text}, resourceType: rt, quirks: quirks}
	first, err := p.next()
	if err != nil || first.kind != tokenWord {
		return nil, invalid("invalidPath", "%q does not begin with an attribute.", text)
	}
	path, err := p.resolve(first.text, nil, "invalidPath")
	if err != nil {
		quirks.Add(QuirkUnknownAttribute)
		return nil, nil
	}
	known, err := p.restOfPath(path)
	if err != nil {
		return nil, err
	}
	if !known {
		quirks.Add(QuirkUnknownAttribute)
		return nil, nil
	}
	return path, nil
}

// restOfPath parses [filter] and .sub into path. known is false if the schema has no such sub-attribute.
func (p *parser) restOfPath(path *Path) (known bool, err error) {
	t, err := p.next()
	if err != nil || t.kind == tokenEnd {
		return true, err
	}
	if t.kind != '[' || path.Sub != nil || !path.Attribute.hasElements() {
		return false, p.invalid("invalidPath", "The path goes on where it should end, at %q.", t.text)
	}
	if path.Filter, err = p.or(path.Attribute); err != nil {
		return false, err
	}
	if t, err = p.next(); err != nil || t.kind != ']' {
		return false, p.invalid("invalidPath", "A ] is missing in the path.")
	}
	if t, err = p.next(); err != nil || t.kind == tokenEnd {
		return true, err
	}
	name, dotted := strings.CutPrefix(t.text, ".")
	if !dotted || name == "" {
		return false, p.invalid("invalidPath", "A sub-attribute is expected where the path has %q.", t.text)
	}
	if t, err = p.next(); err != nil || t.kind != tokenEnd {
		return false, p.invalid("invalidPath", "The path goes on where it should end, at %q.", t.text)
	}
	path.Sub = find(path.Attribute.SubAttributes, name)
	return path.Sub != nil, nil
}

// resolve finds what a name means: an attribute or attribute.sub, perhaps with a URN before it; within a value filter,
// a sub-attribute.
func (p *parser) resolve(name string, within *Attribute, scimType string) (*Path, error) {
	if within != nil {
		if a := find(within.SubAttributes, name); a != nil {
			return &Path{Attribute: a, fold: p.resourceType.fold}, nil
		}
		return nil, p.invalid(scimType, "%s has no sub-attribute %q.", within.Name, name)
	}
	urn, rest := p.resourceType.splitURN(name)
	first, sub, dotted := strings.Cut(rest, ".")
	a, extension := p.resourceType.attribute(urn, first)
	if a == nil {
		if path := p.resolveElsewhere(name); path != nil {
			return path, nil
		}
		return nil, p.invalid(scimType, "A %s has no attribute %q.", p.resourceType.Name, name)
	}
	if extension != "" && urn == "" {
		p.quirks.Add(QuirkBareExtension)
	}
	if joinedByDot(name, urn) {
		p.quirks.Add(QuirkDottedURN)
	}
	path := &Path{Extension: extension, Attribute: a, fold: p.resourceType.fold}
	if dotted {
		if path.Sub = find(a.SubAttributes, sub); path.Sub == nil {
			return nil, p.invalid(scimType, "%s has no sub-attribute %q.", a.Name, sub)
		}
	}
	return path, nil
}

// resolveElsewhere finds what a name means for another of the resource types that a query searches; nil for nothing.
func (p *parser) resolveElsewhere(name string) *Path {
	for _, other := range p.all {
		if other == p.resourceType {
			continue
		}
		if path, err := (&parser{resourceType: other}).resolve(name, nil, ""); err == nil {
			return path
		}
	}
	return nil
}
