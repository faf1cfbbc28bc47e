package scim

import (
	"maps"
	"slices"
)

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
	if len(list) > maxValues {
		return invalid("tooMany", "%s would have %d values; at most %d are kept.", a.name, len(list), maxValues)
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
	at := map[string]int{}
	for i, had := range list {
		at[twinOf(had)] = i
	}
	for _, element := range more {
		i, had := at[twinOf(element)]
		if had {
			element = merged(list[i], element)
			list[i] = element
		} else {
			at[twinOf(element)] = len(list)
			list = append(list, element)
		}
		c.settlePrimary(list, element)
	}
	return list, nil
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
