package schema

import (
	"maps"
	"slices"
	"strings"
)

// maxOperations bounds one PATCH.
const maxOperations = 1000

// operation is one of a PATCH (RFC 7644 §3.5.2), with its path resolved.
type Operation struct {
	Op       string // add, replace or remove
	Path     *Path
	Value    any
	HasValue bool // a value was given, if only null
}

// parsePatch reads the body of a PATCH. An operation without path becomes one
// for each member of its value.
func ParsePatch(kind *ResourceType, body map[string]any, n *Quirks) ([]Operation, error) {
	if _, ok := body["Operations"]; !ok {
		n.Add(QuirkPatchOpsCase)
	}
	if _, ok := Member(body, "schemas"); !ok {
		n.Add(QuirkMissingSchemas)
	}
	list, err := Operations(body)
	if err != nil {
		return nil, err
	}
	if len(list) > maxOperations {
		return nil, invalid("tooMany", "There are %d operations; at most %d are taken at once.", len(list), maxOperations)
	}
	var operations []Operation
	for i, one := range list {
		object, ok := one.(map[string]any)
		if !ok {
			return nil, invalid("invalidSyntax", "Operation %d is not an object.", i+1)
		}
		more, err := parseOperation(kind, object, n)
		if err != nil {
			return nil, err
		}
		operations = append(operations, more...)
	}
	return operations, nil
}

// operationsIn is the list of a PATCH or a bulk request.
func Operations(body map[string]any) ([]any, error) {
	raw, _ := Member(body, "Operations")
	list, ok := raw.([]any)
	if !ok || len(list) == 0 {
		return nil, invalid("invalidSyntax", "Operations must be a list of at least one operation.")
	}
	return list, nil
}

func parseOperation(kind *ResourceType, object map[string]any, n *Quirks) ([]Operation, error) {
	word, _ := Member(object, "op")
	name, _ := word.(string)
	op := strings.ToLower(name)
	if op != "add" && op != "replace" && op != "remove" {
		return nil, invalid("invalidSyntax", "%q is no operation; there are add, replace and remove.", name)
	}
	if op != name {
		n.Add(QuirkOpCase)
	}
	value, given := Member(object, "value")
	if !given && op != "remove" {
		return nil, invalid("invalidValue", "The operation %s needs a value; null clears.", op)
	}
	rawPath, _ := Member(object, "path")
	path, isText := rawPath.(string)
	switch {
	case rawPath != nil && !isText:
		return nil, invalid("invalidPath", "A path must be a string.")
	case path != "":
		t, err := ParsePath(kind, path, n)
		if err != nil || t == nil {
			return nil, err
		}
		return []Operation{{op, t, value, given}}, nil
	case op == "remove":
		return nil, invalid("noTarget", "A remove must say what, by its path.")
	}
	return parsePathless(kind, op, value, n)
}

func parsePathless(kind *ResourceType, op string, value any, n *Quirks) (operations []Operation, err error) {
	members, ok := value.(map[string]any)
	if !ok {
		return nil, invalid("invalidValue", "Without a path, the value must be an object.")
	}
	for _, name := range slices.Sorted(maps.Keys(members)) {
		if EqualNames(name, "schemas") {
			continue // follows from the data
		}
		t, err := ParsePath(kind, name, n)
		if err != nil {
			return nil, err
		}
		if t == nil {
			continue
		}
		if t.Sub != nil || t.Filter != nil {
			n.Add(QuirkDottedKey)
		}
		if t.isReadOnly() {
			n.Add(QuirkReadOnlyIgnored)
			continue
		}
		operations = append(operations, Operation{op, t, members[name], true})
	}
	return operations, nil
}

// parsePath resolves a PATCH path. One that names an attribute we do not know
// gives nil: it is noted and passed over, for Entra would fail the whole user for
// 28 days otherwise.
func ParsePath(kind *ResourceType, path string, n *Quirks) (*Path, error) {
	if len(path) > maxFilter {
		return nil, invalid("invalidPath", "The path is longer than %d characters.", maxFilter)
	}
	if x := kind.Extension(path); x != nil {
		return &Path{Extension: x.URN}, nil
	}
	p := &parser{lexer: lexer{text: path}, kind: kind, notes: n}
	first, err := p.next()
	if err != nil || first.kind != 'w' {
		return nil, invalid("invalidPath", "%q does not begin with an attribute.", path)
	}
	t, err := p.resolve(first.text, nil, "invalidPath")
	if err != nil {
		n.Add(QuirkUnknownAttribute)
		return nil, nil
	}
	known, err := p.restOfPath(t)
	if err == nil && !known {
		n.Add(QuirkUnknownAttribute)
		return nil, nil
	}
	return t, err
}

// restOfPath reads [filter] and .sub; known is false for a sub-attribute that is
// not in the schema.
func (p *parser) restOfPath(t *Path) (known bool, err error) {
	next, err := p.next()
	if err != nil || next.kind == 0 {
		return true, err
	}
	if next.kind != '[' || t.Sub != nil || t.Attribute.Type != Complex || !t.Attribute.MultiValued {
		return false, invalid("invalidPath", "The path goes on where it should end, at %q.", next.text)
	}
	if t.Filter, err = p.or(t.Attribute); err != nil {
		return false, err
	}
	if next, err = p.next(); err != nil || next.kind != ']' {
		return false, invalid("invalidPath", "A ] is missing in the path.")
	}
	if next, err = p.next(); err != nil || next.kind == 0 {
		return true, err
	}
	sub, dotted := strings.CutPrefix(next.text, ".")
	if !dotted || sub == "" {
		return false, invalid("invalidPath", "A sub-attribute is expected where the path has %q.", next.text)
	}
	if next, err = p.next(); err != nil || next.kind != 0 {
		return false, invalid("invalidPath", "The path goes on where it should end, at %q.", next.text)
	}
	t.Sub = find(t.Attribute.SubAttributes, sub)
	return t.Sub != nil, nil
}
