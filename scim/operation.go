package scim

import (
	"maps"
	"slices"
	"strings"
)

// maxOperations bounds one PATCH.
const maxOperations = 1000

// operation is one of a PATCH (RFC 7644 §3.5.2), with its path resolved.
type operation struct {
	op     string // add, replace or remove
	target *target
	value  any
	given  bool // a value was given, if only null
}

// parsePatch reads the body of a PATCH. An operation without path becomes one
// for each member of its value.
func parsePatch(kind *kindOfResource, body map[string]any, n *notes) ([]operation, error) {
	if _, ok := body["Operations"]; !ok {
		n.add(quirkPatchOpsCase)
	}
	if _, ok := member(body, "schemas"); !ok {
		n.add(quirkMissingSchemas)
	}
	list, err := operationsIn(body)
	if err != nil {
		return nil, err
	}
	if len(list) > maxOperations {
		return nil, invalid("tooMany", "There are %d operations; at most %d are taken at once.", len(list), maxOperations)
	}
	var operations []operation
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
func operationsIn(body map[string]any) ([]any, error) {
	raw, _ := member(body, "Operations")
	list, ok := raw.([]any)
	if !ok || len(list) == 0 {
		return nil, invalid("invalidSyntax", "Operations must be a list of at least one operation.")
	}
	return list, nil
}

func parseOperation(kind *kindOfResource, object map[string]any, n *notes) ([]operation, error) {
	word, _ := member(object, "op")
	name, _ := word.(string)
	op := strings.ToLower(name)
	if op != "add" && op != "replace" && op != "remove" {
		return nil, invalid("invalidSyntax", "%q is no operation; there are add, replace and remove.", name)
	}
	if op != name {
		n.add(quirkOpCase)
	}
	value, given := member(object, "value")
	if !given && op != "remove" {
		return nil, invalid("invalidValue", "The operation %s needs a value; null clears.", op)
	}
	rawPath, _ := member(object, "path")
	path, isText := rawPath.(string)
	switch {
	case rawPath != nil && !isText:
		return nil, invalid("invalidPath", "A path must be a string.")
	case path != "":
		t, err := parsePath(kind, path, n)
		if err != nil || t == nil {
			return nil, err
		}
		return []operation{{op, t, value, given}}, nil
	case op == "remove":
		return nil, invalid("noTarget", "A remove must say what, by its path.")
	}
	return parsePathless(kind, op, value, n)
}

func parsePathless(kind *kindOfResource, op string, value any, n *notes) (operations []operation, err error) {
	members, ok := value.(map[string]any)
	if !ok {
		return nil, invalid("invalidValue", "Without a path, the value must be an object.")
	}
	for _, name := range slices.Sorted(maps.Keys(members)) {
		if same(name, "schemas") {
			continue // follows from the data
		}
		t, err := parsePath(kind, name, n)
		if err != nil {
			return nil, err
		}
		if t == nil {
			continue
		}
		if t.sub != nil || t.where != nil {
			n.add(quirkDottedKey)
		}
		if t.readOnly() {
			n.add(quirkReadOnlyIgnored)
			continue
		}
		operations = append(operations, operation{op, t, members[name], true})
	}
	return operations, nil
}

// parsePath resolves a PATCH path. One that names an attribute we do not know
// gives nil: it is noted and passed over, for Entra would fail the whole user for
// 28 days otherwise.
func parsePath(kind *kindOfResource, path string, n *notes) (*target, error) {
	if len(path) > maxFilter {
		return nil, invalid("invalidPath", "The path is longer than %d characters.", maxFilter)
	}
	if x := kind.extension(path); x != nil {
		return &target{extension: x.urn}, nil
	}
	p := &parser{lexer: lexer{text: path}, kind: kind, notes: n}
	first, err := p.next()
	if err != nil || first.kind != 'w' {
		return nil, invalid("invalidPath", "%q does not begin with an attribute.", path)
	}
	t, err := p.resolve(first.text, nil, "invalidPath")
	if err != nil {
		n.add(quirkUnknownAttribute)
		return nil, nil
	}
	known, err := p.restOfPath(t)
	if err == nil && !known {
		n.add(quirkUnknownAttribute)
		return nil, nil
	}
	return t, err
}

// restOfPath reads [filter] and .sub; known is false for a sub-attribute that is
// not in the schema.
func (p *parser) restOfPath(t *target) (known bool, err error) {
	next, err := p.next()
	if err != nil || next.kind == 0 {
		return true, err
	}
	if next.kind != '[' || t.sub != nil || t.attribute.kind != complexed || !t.attribute.multi {
		return false, invalid("invalidPath", "The path goes on where it should end, at %q.", next.text)
	}
	if t.where, err = p.or(t.attribute); err != nil {
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
	t.sub = find(t.attribute.sub, sub)
	return t.sub != nil, nil
}
