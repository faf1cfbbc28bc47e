package scim

import (
	"errors"
	"iter"

	"sallyport/directory"
	"sallyport/scim/internal/schema"
)

// indexed is an equality that every match must have and that an index answers.
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

// emailIn is an address that every element which a value filter of emails finds
// must have.
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

// mentions says whether a filter looks at an attribute.
func usesAttribute(f *schema.Filter, name string) bool {
	return f != nil && (f.Path != nil && f.Path.Attribute.Name == name || usesAttribute(f.Left, name) || f.Op != "[]" && usesAttribute(f.Right, name))
}

// one is a list of the thing found, or of none.
func optional[T any](thing T, err error) iter.Seq2[T, error] {
	if errors.Is(err, directory.ErrNotFound) {
		return sequence[T](nil, nil)
	}
	return sequence([]T{thing}, err)
}

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
