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
	raw, _ := member(body, "Operations")
	list, ok := raw.([]any)
	if !ok || len(list) == 0 {
		return nil, invalid("invalidSyntax", "Operations must be a list of at least one operation.")
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
		if strings.EqualFold(name, "schemas") {
			continue
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
		if t.attribute != nil && t.attribute.readOnly {
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
	return t, p.restOfPath(t)
}

// restOfPath reads [filter] and .sub.
func (p *parser) restOfPath(t *target) error {
	next, err := p.next()
	if err != nil || next.kind == 0 {
		return err
	}
	if next.kind != '[' || t.sub != nil || t.attribute.kind != complexed || !t.attribute.multi {
		return invalid("invalidPath", "The path goes on where it should end, at %q.", next.text)
	}
	if t.where, err = p.or(t.attribute); err != nil {
		return err
	}
	if next, err = p.next(); err != nil || next.kind != ']' {
		return invalid("invalidPath", "A ] is missing in the path.")
	}
	if next, err = p.next(); err != nil || next.kind == 0 {
		return err
	}
	sub, dotted := strings.CutPrefix(next.text, ".")
	if t.sub = find(t.attribute.sub, sub); !dotted || t.sub == nil {
		return invalid("invalidPath", "%s has no sub-attribute %q.", t.attribute.name, next.text)
	}
	if next, err = p.next(); err != nil || next.kind != 0 {
		return invalid("invalidPath", "The path goes on where it should end, at %q.", next.text)
	}
	return nil
}

// prune drops elements that the operations left without content.
func prune(kind *kindOfResource, document map[string]any) {
	for _, a := range kind.core.attributes {
		list, ok := document[a.name].([]any)
		if !ok || a.kind != complexed {
			continue
		}
		list = slices.DeleteFunc(list, func(one any) bool {
			element, ok := one.(map[string]any)
			return ok && hollow(element)
		})
		if document[a.name] = list; len(list) == 0 {
			delete(document, a.name)
		}
	}
}

// apply carries out one operation on a document.
func (c *cleaner) apply(document map[string]any, o operation) error {
	t := o.target
	if t.attribute == nil {
		return c.applyExtension(document, o)
	}
	if t.attribute.readOnly || t.sub != nil && t.sub.readOnly {
		return invalid("mutability", "%s cannot be changed from outside.", t.attribute.name)
	}
	if t.attribute.never {
		return nil // a password: taken and thrown away
	}
	home := document
	if t.extension != "" {
		home = child(document, t.extension)
		defer func() {
			if len(home) == 0 {
				delete(document, t.extension)
			}
		}()
	}
	if t.attribute.multi {
		return c.applyMany(home, o)
	}
	return c.applyOne(home, o)
}

// applyExtension sets or clears a whole extension, member by member.
func (c *cleaner) applyExtension(document map[string]any, o operation) error {
	if o.op == "remove" {
		delete(document, o.target.extension)
		return nil
	}
	values, ok := o.value.(map[string]any)
	if !ok {
		return invalid("invalidValue", "%s must be an object.", o.target.extension)
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		a, extension := c.kind.attributeAt(o.target.extension, name)
		if a == nil {
			c.notes.add(quirkUnknownAttribute)
			continue
		}
		if err := c.apply(document, operation{o.op, &target{extension: extension, attribute: a}, values[name], true}); err != nil {
			return err
		}
	}
	return nil
}

// applyOne changes a single-valued attribute.
func (c *cleaner) applyOne(home map[string]any, o operation) error {
	a, sub := o.target.attribute, o.target.sub
	if o.op == "remove" {
		if a.required {
			return invalid("mutability", "%s is required and cannot be removed.", a.name)
		}
		if sub == nil {
			delete(home, a.name)
			return nil
		}
	}
	if sub != nil {
		return c.applySub(home, a, sub, o)
	}
	clean, err := c.value(a, o.value)
	if err != nil {
		return err
	}
	switch now := clean.(type) {
	case nil:
		if a.required {
			return invalid("invalidValue", "%s is required and cannot be empty.", a.name)
		}
		delete(home, a.name)
	case map[string]any: // the others of its sub-attributes stay (RFC 7644 §3.5.2.3)
		maps.Copy(child(home, a.name), now)
	default:
		home[a.name] = now
	}
	return nil
}

func (c *cleaner) applySub(home map[string]any, a, sub *attribute, o operation) error {
	object := child(home, a.name)
	if err := c.setSub(object, sub, o); err != nil {
		return err
	}
	if len(object) == 0 {
		delete(home, a.name)
	}
	return nil
}

func (c *cleaner) setSub(object map[string]any, sub *attribute, o operation) error {
	var clean any
	if o.op != "remove" {
		var err error
		if clean, err = c.value(sub, o.value); err != nil {
			return err
		}
	}
	if clean == nil {
		delete(object, sub.name)
	} else {
		object[sub.name] = clean
	}
	return nil
}

// applyMany changes a multi-valued attribute.
func (c *cleaner) applyMany(home map[string]any, o operation) error {
	a := o.target.attribute
	list, _ := home[a.name].([]any)
	list = slices.Clone(list)
	var err error
	switch {
	case o.target.where != nil || o.target.sub != nil:
		list, err = c.applyElements(list, o)
	case o.op == "remove" && !o.given:
		list = nil
	case o.op == "remove":
		c.notes.add(quirkReplaceWithValue)
		list, err = c.removeListed(a, list, o.value)
	default:
		list, err = c.applyList(a, list, o)
	}
	if err != nil {
		return err
	}
	if len(list) == 0 {
		delete(home, a.name)
	} else {
		home[a.name] = list
	}
	return nil
}

// applyList adds to or replaces all elements.
func (c *cleaner) applyList(a *attribute, list []any, o operation) ([]any, error) {
	clean, err := c.many(a, o.value)
	if err != nil {
		return nil, err
	}
	more, _ := clean.([]any)
	if o.op == "replace" {
		return more, nil
	}
	for _, element := range more {
		if slices.ContainsFunc(list, func(had any) bool { return sameJSON(had, element) }) {
			continue
		}
		if at := slices.IndexFunc(list, func(had any) bool { return twins(had, element) }); at >= 0 {
			list[at] = element
		} else {
			list = append(list, element)
		}
		c.settlePrimary(list, element)
	}
	return list, nil
}

// twins have the same type and value and so are one (RFC 7643 §2.4).
func twins(a, b any) bool {
	x, ok1 := a.(map[string]any)
	y, ok2 := b.(map[string]any)
	return ok1 && ok2 && x["value"] != nil && x["value"] == y["value"] && x["type"] == y["type"]
}

// settlePrimary makes element the only primary one, if it is one.
func (c *cleaner) settlePrimary(list []any, element any) {
	object, ok := element.(map[string]any)
	if !ok || object["primary"] != true {
		return
	}
	for _, other := range list {
		if o, ok := other.(map[string]any); ok && o["primary"] == true && !sameJSON(o, object) {
			o["primary"] = false
		}
	}
}

// removeListed removes exactly the elements whose value is listed, never all.
func (c *cleaner) removeListed(a *attribute, list []any, value any) ([]any, error) {
	if value == nil {
		return nil, nil
	}
	clean, err := c.many(a, value)
	if err != nil {
		return nil, err
	}
	gone, _ := clean.([]any)
	return slices.DeleteFunc(list, func(had any) bool {
		return slices.ContainsFunc(gone, func(g any) bool { return valueOf(g) != nil && valueOf(g) == valueOf(had) })
	}), nil
}

func valueOf(element any) any {
	object, ok := element.(map[string]any)
	if !ok {
		return element
	}
	return object["value"]
}

// applyElements changes the elements that a value filter finds (or, without
// one, all of them).
func (c *cleaner) applyElements(list []any, o operation) ([]any, error) {
	found := false
	for i, one := range list {
		element, ok := one.(map[string]any)
		if !ok || o.target.where != nil && !elementMatches(element, o.target.where) {
			continue
		}
		found = true
		now, err := c.changed(maps.Clone(element), o)
		if err != nil {
			return nil, err
		}
		list[i] = nil
		if now != nil {
			list[i] = now
			c.settlePrimary(list, now)
		}
	}
	list = slices.DeleteFunc(list, func(one any) bool { return one == nil })
	if found || o.op == "remove" {
		return list, nil
	}
	return c.create(list, o)
}

// changed is an element after the operation; an empty one goes.
func (c *cleaner) changed(element map[string]any, o operation) (map[string]any, error) {
	if o.target.sub != nil {
		return element, c.setSub(element, o.target.sub, o)
	}
	if o.op == "remove" {
		return nil, nil
	}
	clean, err := c.one(o.target.attribute, o.value)
	if err != nil {
		return nil, err
	}
	values, _ := clean.(map[string]any)
	if o.op == "add" {
		maps.Copy(element, values)
		return element, nil
	}
	return values, nil
}

// create makes the element that a filter of equalities describes: Entra writes
// emails[type eq "work"].value whether or not there is a work address.
func (c *cleaner) create(list []any, o operation) ([]any, error) {
	element := map[string]any{}
	if o.target.where != nil {
		equal, ok := equalities(o.target.where)
		if !ok {
			return nil, invalid("noTarget", "No element of %s matches the path.", o.target.attribute.name)
		}
		for _, e := range equal {
			element[e.target.attribute.name] = e.value
		}
	}
	c.notes.add(quirkFilterCreates)
	element, err := c.changedNew(element, o)
	if err != nil {
		return nil, err
	}
	list = append(list, element)
	c.settlePrimary(list, element)
	return list, nil
}

func (c *cleaner) changedNew(element map[string]any, o operation) (map[string]any, error) {
	if o.target.sub != nil {
		return element, c.setSub(element, o.target.sub, o)
	}
	clean, err := c.one(o.target.attribute, o.value)
	values, _ := clean.(map[string]any)
	maps.Copy(element, values)
	return element, err
}
