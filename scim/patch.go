package scim

import (
	"maps"
	"slices"
)

// applyPatch carries out operations on a document, all of them or, where it fails, an unknown part.
func applyPatch(kind *kindOfResource, document map[string]any, operations []operation, n *notes) error {
	c := &cleaner{kind, n}
	for _, o := range operations {
		if err := c.apply(document, o); err != nil {
			return err
		}
	}
	c.prune(document)
	return nil
}

// prune drops elements that the operations left without content, and twins.
func (c *cleaner) prune(document map[string]any) {
	for _, a := range c.kind.core.attributes {
		list, ok := document[a.name].([]any)
		if !ok || a.kind != complexed {
			continue
		}
		list = slices.DeleteFunc(list, func(one any) bool {
			element, ok := one.(map[string]any)
			return ok && hollow(element)
		})
		if document[a.name] = c.withoutTwins(list); len(list) == 0 {
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
	if t.readOnly() {
		return invalid("mutability", "%s cannot be changed from outside.", t.attribute.name)
	}
	if t.attribute.mutability == writeOnly {
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
	if o.value == nil || o.value == "" {
		if o.op == "replace" {
			delete(document, o.target.extension)
		}
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
