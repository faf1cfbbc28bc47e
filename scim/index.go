package scim

import (
	"errors"
	"iter"

	"sallyport/directory"
	"sallyport/scim/internal/schema"
)

// indexed returns an attribute and a value that every match must have and by which an index finds it; "" if there is none.
func (p *subquery) indexed() (attribute, value string) {
	if p.filter == nil {
		return "", ""
	}
	return indexedIn(p.filter)
}

func indexedIn(f *schema.Filter) (attribute, value string) {
	if f.Op == "and" {
		if attribute, value = indexedIn(f.Left); attribute != "" {
			return attribute, value
		}
		return indexedIn(f.Right)
	}
	if f.Op == "[]" && f.Path.Attribute.Name == "emails" {
		return emailIn(f.Left)
	}
	text, ok := f.Value.(string)
	if f.Op != "eq" || !ok || !directory.Indexed(text) || f.Path.Extension != "" {
		return "", ""
	}
	if f.Path.Attribute.Name == "emails" && f.Path.Compared().Name == "value" {
		return "emails", text
	}
	switch name := f.Path.Attribute.Name; name {
	case "id", "externalId", "userName", "displayName":
		return name, text
	}
	return "", ""
}

// emailIn returns the address that every element must have that a value filter of emails matches, as indexedIn does.
func emailIn(f *schema.Filter) (attribute, value string) {
	if f.Op == "and" {
		if attribute, value = emailIn(f.Left); attribute != "" {
			return attribute, value
		}
		return emailIn(f.Right)
	}
	text, ok := f.Value.(string)
	if f.Op != "eq" || !ok || !directory.Indexed(text) || f.Path.Attribute.Name != "value" {
		return "", ""
	}
	return "emails", text
}

// usesAttribute reports whether a filter uses an attribute.
func usesAttribute(f *schema.Filter, name string) bool {
	return f != nil && (f.Path != nil && f.Path.Attribute.Name == name || usesAttribute(f.Left, name) || f.Op != "[]" && usesAttribute(f.Right, name))
}

// optional yields what a lookup found, or nothing if it found nothing.
func optional[T any](thing T, err error) iter.Seq2[T, error] {
	if errors.Is(err, directory.ErrNotFound) {
		return sequence[T](nil, nil)
	}
	return sequence([]T{thing}, err)
}

// sequence yields the things, or err if there is one.
func sequence[T any](things []T, err error) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		if err != nil {
			var none T
			yield(none, err)
			return
		}
		for _, t := range things {
			if !yield(t, nil) {
				return
			}
		}
	}
}
