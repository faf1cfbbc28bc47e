package schema

import (
	"maps"
	"slices"
)

// applyPatch carries out operations on a document, all of them or, where it fails, an unknown part.
func ApplyPatch(kind *ResourceType, document map[string]any, operations []Operation, n *Quirks) error {
	c := &normalizer{kind, n}
	for _, o := range operations {
		if err := c.apply(document, o); err != nil {
			return err
		}
	}
	c.prune(document)
	return nil
}

// prune drops elements that the operations left without content, and twins.
func (c *normalizer) prune(document map[string]any) {
	for _, a := range c.kind.Core.Attributes {
		list, ok := document[a.Name].([]any)
		if !ok || a.Type != Complex {
			continue
		}
		list = slices.DeleteFunc(list, func(one any) bool {
			element, ok := one.(map[string]any)
			return ok && isEmpty(element)
		})
		if document[a.Name] = c.mergeDuplicates(list); len(list) == 0 {
			delete(document, a.Name)
		}
	}
}

// apply carries out one operation on a document.
func (c *normalizer) apply(document map[string]any, o Operation) error {
	t := o.Path
	if t.Attribute == nil {
		return c.applyExtension(document, o)
	}
	if t.isReadOnly() {
		return invalid("mutability", "%s cannot be changed from outside.", t.Attribute.Name)
	}
	if t.Attribute.Mutability == WriteOnly {
		return nil // a password: taken and thrown away
	}
	home := document
	if t.Extension != "" {
		home = child(document, t.Extension)
		defer func() {
			if len(home) == 0 {
				delete(document, t.Extension)
			}
		}()
	}
	if t.Attribute.MultiValued {
		return c.applyMany(home, o)
	}
	return c.applyOne(home, o)
}

// applyExtension sets or clears a whole extension, member by member.
func (c *normalizer) applyExtension(document map[string]any, o Operation) error {
	if o.Op == "remove" {
		delete(document, o.Path.Extension)
		return nil
	}
	if o.Value == nil || o.Value == "" {
		if o.Op == "replace" {
			delete(document, o.Path.Extension)
		}
		return nil
	}
	values, ok := o.Value.(map[string]any)
	if !ok {
		return invalid("invalidValue", "%s must be an object.", o.Path.Extension)
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		a, extension := c.kind.attributeAt(o.Path.Extension, name)
		if a == nil {
			c.notes.Add(QuirkUnknownAttribute)
			continue
		}
		if err := c.apply(document, Operation{o.Op, &Path{Extension: extension, Attribute: a}, values[name], true}); err != nil {
			return err
		}
	}
	return nil
}

// applyOne changes a single-valued attribute.
func (c *normalizer) applyOne(home map[string]any, o Operation) error {
	a, sub := o.Path.Attribute, o.Path.Sub
	if o.Op == "remove" {
		if a.Required {
			return invalid("mutability", "%s is required and cannot be removed.", a.Name)
		}
		if sub == nil {
			delete(home, a.Name)
			return nil
		}
	}
	if sub != nil {
		return c.applySub(home, a, sub, o)
	}
	clean, err := c.value(a, o.Value)
	if err != nil {
		return err
	}
	switch now := clean.(type) {
	case nil:
		if a.Required {
			return invalid("invalidValue", "%s is required and cannot be empty.", a.Name)
		}
		delete(home, a.Name)
	case map[string]any: // the others of its sub-attributes stay (RFC 7644 §3.5.2.3)
		maps.Copy(child(home, a.Name), now)
	default:
		home[a.Name] = now
	}
	return nil
}

func (c *normalizer) applySub(home map[string]any, a, sub *Attribute, o Operation) error {
	object := child(home, a.Name)
	if err := c.setSub(object, sub, o); err != nil {
		return err
	}
	if len(object) == 0 {
		delete(home, a.Name)
	}
	return nil
}

func (c *normalizer) setSub(object map[string]any, sub *Attribute, o Operation) error {
	var clean any
	if o.Op != "remove" {
		var err error
		if clean, err = c.value(sub, o.Value); err != nil {
			return err
		}
	}
	if clean == nil {
		delete(object, sub.Name)
	} else {
		object[sub.Name] = clean
	}
	return nil
}
