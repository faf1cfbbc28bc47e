package schema

import (
	"maps"
	"slices"
)

// applyMultiValued applies an operation on a multi-valued attribute, or on some of its elements.
func (n *normalizer) applyMultiValued(parent map[string]any, o Operation) error {
	a := o.Path.Attribute
	list, _ := parent[a.Name].([]any)
	list, err := n.changedList(list, o)
	if err != nil {
		return err
	}
	if len(list) > maxValues {
		return invalid("tooMany", "%s would have %d values; at most %d are kept.", a.Name, len(list), maxValues)
	}
	if len(list) == 0 {
		delete(parent, a.Name)
	} else {
		parent[a.Name] = list
	}
	return nil
}

// changedList returns the elements after the operation. It may overwrite list.
func (n *normalizer) changedList(list []any, o Operation) ([]any, error) {
	switch {
	case o.Path.Filter != nil || o.Path.Sub != nil:
		return n.changeElements(list, o)
	case o.Op == "remove" && !o.HasValue:
		return nil, nil
	case o.Op == "remove":
		n.quirks.Add(QuirkRemoveWithValue)
		return n.removeListed(list, o)
	case o.Op == "replace":
		return n.newElements(o)
	}
	return n.addElements(list, o)
}

// newElements returns the elements in the operation's value.
func (n *normalizer) newElements(o Operation) ([]any, error) {
	v, err := n.elements(o.Path.Attribute, o.Value)
	list, _ := v.([]any)
	return list, err
}

// addElements adds the operation's elements. One that list has already is changed in place.
func (n *normalizer) addElements(list []any, o Operation) ([]any, error) {
	added, err := n.newElements(o)
	if err != nil {
		return nil, err
	}
	index := map[string]int{}
	for i, element := range list {
		index[identity(element)] = i
	}
	for _, element := range added {
		id := identity(element)
		if i, exists := index[id]; exists {
			element = merged(list[i], element)
			list[i] = element
		} else {
			index[id] = len(list)
			list = append(list, element)
		}
		onlyPrimary(list, element)
	}
	return list, nil
}

// onlyPrimary makes element the only primary element of list, if it is primary.
func onlyPrimary(list []any, element any) {
	if !isPrimary(element) {
		return
	}
	for _, other := range list {
		if isPrimary(other) && !equalJSON(other, element) {
			other.(map[string]any)["primary"] = false
		}
	}
}

// removeListed removes the elements whose value the operation lists. An empty list removes nothing, null everything.
func (n *normalizer) removeListed(list []any, o Operation) ([]any, error) {
	if o.Value == nil {
		return nil, nil
	}
	removed, err := n.newElements(o)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(list, func(element any) bool {
		return slices.ContainsFunc(removed, func(r any) bool { return valueOf(r) != nil && valueOf(r) == valueOf(element) })
	}), nil
}

// valueOf returns the value of an element, which may be an object or the value itself.
func valueOf(element any) any {
	if object, ok := element.(map[string]any); ok {
		return object["value"]
	}
	return element
}

// changeElements applies the operation to the elements that the path's filter matches, or to all if there is no filter.
// If there is none to add to or to replace, it creates one.
func (n *normalizer) changeElements(list []any, o Operation) ([]any, error) {
	found := false
	for i, v := range list {
		element, ok := v.(map[string]any)
		if !ok || o.Path.Filter != nil && !o.Path.Filter.MatchesElement(element) {
			continue
		}
		found = true
		changed, err := n.changedElement(maps.Clone(element), o)
		if err != nil {
			return nil, err
		}
		list[i] = nil
		if changed != nil {
			list[i] = changed
			onlyPrimary(list, changed)
		}
	}
	list = slices.DeleteFunc(list, func(v any) bool { return v == nil })
	if found || o.Op == "remove" {
		return list, nil
	}
	return n.createElement(list, o)
}

// changedElement returns an element after the operation, which may overwrite it; nil if nothing is left.
func (n *normalizer) changedElement(element map[string]any, o Operation) (map[string]any, error) {
	if o.Path.Sub != nil {
		return element, n.setSub(element, o)
	}
	if o.Op == "remove" {
		return nil, nil
	}
	v, err := n.single(o.Path.Attribute, o.Value)
	values, _ := v.(map[string]any)
	if o.Op == "replace" {
		return values, err
	}
	maps.Copy(element, values)
	return element, err
}

// createElement adds an element that the path's filter matches, if it is a chain of equalities: Entra writes
// emails[type eq "work"].value whether or not there is a work address.
func (n *normalizer) createElement(list []any, o Operation) ([]any, error) {
	element := map[string]any{}
	if o.Path.Filter != nil {
		equal, ok := equalities(o.Path.Filter)
		if !ok {
			return nil, invalid("noTarget", "No element of %s matches the path.", o.Path.Attribute.Name)
		}
		for _, f := range equal {
			element[f.Path.Attribute.Name] = f.Value
		}
	}
	n.quirks.Add(QuirkFilterCreates)
	add := o
	add.Op = "add" // what the filter says of the element stays
	element, err := n.changedElement(element, add)
	if err != nil {
		return nil, err
	}
	list = append(list, element)
	onlyPrimary(list, element)
	return list, nil
}
