package schema

import (
	"maps"
	"slices"
)

// applyMany changes a multi-valued attribute.
func (c *normalizer) applyMany(home map[string]any, o Operation) error {
	a := o.Path.Attribute
	list, _ := home[a.Name].([]any)
	list = slices.Clone(list)
	var err error
	switch {
	case o.Path.Filter != nil || o.Path.Sub != nil:
		list, err = c.applyElements(list, o)
	case o.Op == "remove" && !o.HasValue:
		list = nil
	case o.Op == "remove":
		c.notes.Add(QuirkReplaceWithValue)
		list, err = c.removeListed(a, list, o.Value)
	default:
		list, err = c.applyList(a, list, o)
	}
	if err != nil {
		return err
	}
	if len(list) > maxValues {
		return invalid("tooMany", "%s would have %d values; at most %d are kept.", a.Name, len(list), maxValues)
	}
	if len(list) == 0 {
		delete(home, a.Name)
	} else {
		home[a.Name] = list
	}
	return nil
}

// applyList adds to or replaces all elements.
func (c *normalizer) applyList(a *Attribute, list []any, o Operation) ([]any, error) {
	clean, err := c.many(a, o.Value)
	if err != nil {
		return nil, err
	}
	more, _ := clean.([]any)
	if o.Op == "replace" {
		return more, nil
	}
	at := map[string]int{}
	for i, had := range list {
		at[identity(had)] = i
	}
	for _, element := range more {
		i, had := at[identity(element)]
		if had {
			element = merged(list[i], element)
			list[i] = element
		} else {
			at[identity(element)] = len(list)
			list = append(list, element)
		}
		c.settlePrimary(list, element)
	}
	return list, nil
}

// settlePrimary makes element the only primary one, if it is one.
func (c *normalizer) settlePrimary(list []any, element any) {
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
func (c *normalizer) removeListed(a *Attribute, list []any, value any) ([]any, error) {
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
func (c *normalizer) applyElements(list []any, o Operation) ([]any, error) {
	found := false
	for i, one := range list {
		element, ok := one.(map[string]any)
		if !ok || o.Path.Filter != nil && !MatchesElement(element, o.Path.Filter) {
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
	if found || o.Op == "remove" {
		return list, nil
	}
	return c.create(list, o)
}

// changed is an element after the operation; an empty one goes.
func (c *normalizer) changed(element map[string]any, o Operation) (map[string]any, error) {
	if o.Path.Sub != nil {
		return element, c.setSub(element, o.Path.Sub, o)
	}
	if o.Op == "remove" {
		return nil, nil
	}
	clean, err := c.one(o.Path.Attribute, o.Value)
	if err != nil {
		return nil, err
	}
	values, _ := clean.(map[string]any)
	if o.Op == "add" {
		maps.Copy(element, values)
		return element, nil
	}
	return values, nil
}

// create makes the element that a filter of equalities describes: Entra writes
// emails[type eq "work"].value whether or not there is a work address.
func (c *normalizer) create(list []any, o Operation) ([]any, error) {
	element := map[string]any{}
	if o.Path.Filter != nil {
		equal, ok := equalities(o.Path.Filter)
		if !ok {
			return nil, invalid("noTarget", "No element of %s matches the path.", o.Path.Attribute.Name)
		}
		for _, e := range equal {
			element[e.Path.Attribute.Name] = e.Value
		}
	}
	c.notes.Add(QuirkFilterCreates)
	element, err := c.changedNew(element, o)
	if err != nil {
		return nil, err
	}
	list = append(list, element)
	c.settlePrimary(list, element)
	return list, nil
}

func (c *normalizer) changedNew(element map[string]any, o Operation) (map[string]any, error) {
	if o.Path.Sub != nil {
		return element, c.setSub(element, o.Path.Sub, o)
	}
	clean, err := c.one(o.Path.Attribute, o.Value)
	values, _ := clean.(map[string]any)
	maps.Copy(element, values)
	return element, err
}
