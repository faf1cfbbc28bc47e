package schema

import (
	"maps"
	"slices"
)

// ApplyPatch applies operations to a document that [Normalize] or ApplyPatch made, in order. After an error the
// document is in an undefined state. It does not apply operations on the members of a group, which no document holds.
func ApplyPatch(rt *ResourceType, document map[string]any, operations []Operation, quirks *Quirks) error {
	n := &normalizer{resourceType: rt, quirks: quirks}
	for _, o := range operations {
		if err := n.apply(document, o); err != nil {
			return err
		}
	}
	n.prune(document)
	return nil
}

// prune makes the document canonical again: it removes what the operations left without content, and merges elements
// that they made equal. It comes after the last operation, since one may give content to what another left without.
func (n *normalizer) prune(document map[string]any) {
	n.pruneObject(document, n.resourceType.Core.Attributes)
	for _, x := range n.resourceType.Extensions {
		values, ok := document[x.URN].(map[string]any)
		if !ok {
			continue
		}
		if n.pruneObject(values, x.Attributes); len(values) == 0 {
			delete(document, x.URN)
		}
	}
}

func (n *normalizer) pruneObject(object map[string]any, attributes []Attribute) {
	for _, a := range attributes {
		switch v := object[a.Name].(type) {
		case map[string]any:
			if isEmpty(v) {
				delete(object, a.Name)
			}
		case []any:
			list := n.mergeDuplicates(slices.DeleteFunc(v, func(v any) bool {
				element, ok := v.(map[string]any)
				return ok && isEmpty(element)
			}))
			if object[a.Name] = list; len(list) == 0 {
				delete(object, a.Name)
			}
		}
	}
}

// apply applies one operation.
func (n *normalizer) apply(document map[string]any, o Operation) error {
	path := o.Path
	if path.Attribute == nil {
		return n.applyExtension(document, o)
	}
	if path.isReadOnly() {
		return invalid("mutability", "%s cannot be changed from outside.", path.Attribute.Name)
	}
	if path.Attribute.Mutability == WriteOnly {
		return nil // a password is accepted and thrown away
	}
	parent := document
	if path.Extension != "" {
		parent = object(document, path.Extension)
		defer func() {
			if len(parent) == 0 {
				delete(document, path.Extension)
			}
		}()
	}
	if path.Attribute.MultiValued {
		return n.applyMultiValued(parent, o)
	}
	return n.applySingleValued(parent, o)
}

// applyExtension applies an operation on a whole extension to each of its attributes.
func (n *normalizer) applyExtension(document map[string]any, o Operation) error {
	extension := o.Path.Extension
	if o.Op == "remove" {
		delete(document, extension)
		return nil
	}
	if o.Value == nil || o.Value == "" {
		if o.Op == "replace" {
			delete(document, extension)
		}
		return nil
	}
	values, ok := o.Value.(map[string]any)
	if !ok {
		return invalid("invalidValue", "%s must be an object.", extension)
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		a, _ := n.resourceType.attribute(extension, name)
		if a == nil {
			n.quirks.Add(QuirkUnknownAttribute)
			continue
		}
		path := &Path{Extension: extension, Attribute: a, fold: n.resourceType.fold}
		if err := n.apply(document, Operation{o.Op, path, values[name], true}); err != nil {
			return err
		}
	}
	return nil
}

// applySingleValued applies an operation on a single-valued attribute, or on a sub-attribute of one.
func (n *normalizer) applySingleValued(parent map[string]any, o Operation) error {
	a := o.Path.Attribute
	switch {
	case o.Op == "remove" && a.Required:
		return invalid("mutability", "%s is required and cannot be removed.", a.Name)
	case o.Path.Sub != nil:
		return n.applySub(parent, o)
	case o.Op == "remove":
		delete(parent, a.Name)
		return nil
	}
	value, err := n.value(a, o.Value)
	if err != nil {
		return err
	}
	switch value := value.(type) {
	case nil:
		if a.Required {
			return invalid("invalidValue", "%s is required and cannot be empty.", a.Name)
		}
		delete(parent, a.Name)
	case map[string]any: // sub-attributes that the value does not have stay (RFC 7644 §3.5.2.3)
		maps.Copy(object(parent, a.Name), value)
	default:
		parent[a.Name] = value
	}
	return nil
}

func (n *normalizer) applySub(parent map[string]any, o Operation) error {
	a := o.Path.Attribute
	inner := object(parent, a.Name)
	if err := n.setSub(inner, o); err != nil {
		return err
	}
	if len(inner) == 0 {
		delete(parent, a.Name)
	}
	return nil
}

// setSub sets or removes the sub-attribute of an object that the path names.
func (n *normalizer) setSub(object map[string]any, o Operation) error {
	sub := o.Path.Sub
	if o.Op == "remove" {
		delete(object, sub.Name)
		return nil
	}
	value, err := n.value(sub, o.Value)
	if err != nil {
		return err
	}
	if value == nil {
		delete(object, sub.Name)
	} else {
		object[sub.Name] = value
	}
	return nil
}
