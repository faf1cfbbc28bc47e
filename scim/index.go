package scim

import (
	"errors"
	"iter"

	"sallyport/directory"
)

// indexed is an equality that every match must have and that an index answers.
func (p *subquery) indexed() (attribute, value string) {
	if p.filter == nil {
		return "", ""
	}
	return indexedIn(p.filter)
}

func indexedIn(f *filter) (attribute, value string) {
	if f.op == "and" {
		if attribute, value = indexedIn(f.left); attribute != "" {
			return attribute, value
		}
		return indexedIn(f.right)
	}
	if f.op == "[]" && f.target.attribute.name == "emails" {
		return emailIn(f.left)
	}
	text, ok := f.value.(string)
	if f.op != "eq" || !ok || !directory.Indexed(text) || f.target.extension != "" {
		return "", ""
	}
	if f.target.attribute.name == "emails" && f.target.compared().name == "value" {
		return "emails", text
	}
	switch name := f.target.attribute.name; name {
	case "id", "externalId", "userName", "displayName":
		return name, text
	}
	return "", ""
}

// emailIn is an address that every element which a value filter of emails finds
// must have.
func emailIn(f *filter) (attribute, value string) {
	if f.op == "and" {
		if attribute, value = emailIn(f.left); attribute != "" {
			return attribute, value
		}
		return emailIn(f.right)
	}
	text, ok := f.value.(string)
	if f.op != "eq" || !ok || !directory.Indexed(text) || f.target.attribute.name != "value" {
		return "", ""
	}
	return "emails", text
}

// mentions says whether a filter looks at an attribute.
func usesAttribute(f *filter, name string) bool {
	return f != nil && (f.target != nil && f.target.attribute.name == name || usesAttribute(f.left, name) || f.op != "[]" && usesAttribute(f.right, name))
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
