package directory

import (
	"bytes"
	"cmp"
	"encoding/json"
	"iter"
	"unicode/utf8"
)

// derive computes the derived fields from the document and the userName. A value
// that does not have the type that the SCIM schema gives it counts as absent.
//
// Open derives them for every user. Reading the few attributes in place takes a
// fraction of the time and memory that decoding the document takes.
func (u *User) derive() {
	var displayName, formatted string
	var emails, roles []element
	for attribute, value := range membersOf(u.Document) {
		switch string(attribute) {
		case `"displayName"`:
			displayName = textOf(value)
		case `"name"`:
			formatted = ""
			for name, value := range membersOf(value) {
				if string(name) == `"formatted"` {
					formatted = textOf(value)
				}
			}
		case `"emails"`:
			emails = elementsOf(value)
		case `"roles"`:
			roles = elementsOf(value)
		}
	}
	u.Derived = Derived{DisplayName: cmp.Or(displayName, formatted, u.UserName), Roles: rolesOf(roles)}
	u.Email, u.Emails = emailsOf(emails)
}

// element is an element of a multi-valued SCIM attribute.
type element struct {
	value   string
	isWork  bool // its type is "work"
	primary bool
}

// elementsOf reads a multi-valued attribute. It skips elements that are not objects.
func elementsOf(list []byte) (elements []element) {
	for item := range itemsOf(list) {
		var e element
		for name, value := range membersOf(item) {
			switch string(name) {
			case `"value"`:
				e.value = textOf(value)
			case `"type"`:
				e.isWork = string(value) == `"work"`
			case `"primary"`:
				e.primary = string(value) == "true"
			}
		}
		elements = append(elements, e)
	}
	return elements
}

// emailsOf returns the primary address, else the work address, else the first;
// and all of them.
func emailsOf(list []element) (best string, all []string) {
	bestRank := -1
	for _, e := range list {
		if e.value == "" {
			continue
		}
		rank := 0
		if e.isWork {
			rank = 1
		}
		if e.primary {
			rank = 2
		}
		all = append(all, e.value)
		if rank > bestRank {
			best, bestRank = e.value, rank
		}
	}
	return best, all
}

// rolesOf returns the roles in any form that Entra's mappings write. One of them
// writes the role as a JSON object in the text of the value.
func rolesOf(list []element) (roles []string) {
	for _, e := range list {
		role := e.value
		var inner struct{ Value string }
		if len(role) > 0 && role[0] == '{' && json.Unmarshal([]byte(role), &inner) == nil {
			role = inner.Value
		}
		if role != "" {
			roles = append(roles, role)
		}
	}
	return roles
}

// textOf returns the text of a JSON string, or "" for any other value.
func textOf(value []byte) (text string) {
	if len(value) < 2 || value[0] != '"' {
		return ""
	}
	if plain := value[1 : len(value)-1]; bytes.IndexByte(plain, '\\') < 0 && utf8.Valid(plain) {
		return string(plain)
	}
	_ = json.Unmarshal(value, &text)
	return text
}

// membersOf yields the names and values of a JSON object as they are written: a
// name has its quotes. It yields nothing for a value that is not an object, and stops
// where the text is not JSON.
func membersOf(object []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(name, value []byte) bool) {
		rest := skipSpace(object)
		for open := byte('{'); len(rest) > 0 && rest[0] == open; open = ',' {
			var name, value []byte
			name, rest = nextValue(rest[1:])
			if len(name) == 0 || len(rest) == 0 || rest[0] != ':' {
				return
			}
			value, rest = nextValue(rest[1:])
			if len(value) == 0 || !yield(name, value) {
				return
			}
		}
	}
}

// AttributeOf returns the value that a JSON object has by a name, as it is written: of several, the last. It returns nil if
// there is none. The object is valid JSON.
func AttributeOf(object json.RawMessage, name string) (value json.RawMessage) {
	if !mayHave(object, name) {
		return nil
	}
	for n, v := range membersOf(object) {
		if len(n) == len(name)+2 && string(n[1:len(n)-1]) == name || bytes.IndexByte(n, '\\') >= 0 && textOf(n) == name {
			value = v
		}
	}
	return value
}

// mayHave reports false if no object in a JSON text has a member of that name. A name is written with escapes, or as it is.
func mayHave(text []byte, name string) bool {
	for rest := text; ; {
		i := bytes.Index(rest, []byte(name))
		if i < 0 {
			return bytes.IndexByte(text, '\\') >= 0
		}
		end := i + len(name)
		if i > 0 && rest[i-1] == '"' && end < len(rest) && rest[end] == '"' {
			return true
		}
		rest = rest[end:]
	}
}

// itemsOf yields the objects in a JSON array as they are written.
func itemsOf(array []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		rest := skipSpace(array)
		for open := byte('['); len(rest) > 0 && rest[0] == open; open = ',' {
			var item []byte
			item, rest = nextValue(rest[1:])
			if len(item) == 0 || item[0] == '{' && !yield(item) {
				return
			}
		}
	}
}

// nextValue returns the JSON value that text begins with and what follows it, both
// without leading white space.
func nextValue(text []byte) (value, rest []byte) {
	text = skipSpace(text)
	n := valueLength(text)
	return text[:n], skipSpace(text[n:])
}

func skipSpace(text []byte) []byte {
	if len(text) > 0 && text[0] > ' ' { // as in every document that was stored by a client
		return text
	}
	return bytes.TrimLeft(text, " \t\r\n")
}

// valueLength returns the length of the JSON value that text begins with, or 0 if
// it does not end.
func valueLength(text []byte) int {
	depth := 0
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '"':
			end := stringLength(text[i:])
			if end == 0 {
				return 0
			}
			if depth == 0 {
				return i + end
			}
			i += end - 1
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return i
			}
			if depth--; depth == 0 {
				return i + 1
			}
		case ',', ':', ' ', '\t', '\r', '\n':
			if depth == 0 {
				return i
			}
		}
	}
	return 0
}

// stringLength returns the length of the JSON string that text begins with, or 0
// if it does not end.
func stringLength(text []byte) int {
	for i := 1; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return 0
}
