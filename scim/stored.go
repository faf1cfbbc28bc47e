package scim

import (
	"bytes"
	"cmp"
	"encoding/json"
	"slices"
	"unicode/utf8"

	"sallyport/directory"
)

// storedUser reads the attributes of a user that the directory has in memory, and decodes only those that are asked for. They
// are what userDocument returns.
type storedUser struct {
	request *request
	user    *directory.User
	scratch []byte // of Lacks
}

// Value implements [schema.Stored].
func (s *storedUser) Value(extension, attribute string) any {
	u := s.user
	if extension == "" {
		switch {
		case attribute == "id":
			return u.ID
		case attribute == "userName":
			return u.UserName
		case attribute == "externalId" && u.ExternalID != "": // an empty one may be stored, or none
			return u.ExternalID
		case attribute == "groups" && len(u.GroupIDs) > 0:
			return groupsOf(s.request, u)
		case attribute == "meta", attribute == "schemas":
			return s.described()[attribute]
		}
	}
	return decodeValue(s.raw(extension, attribute))
}

// described returns the attributes that the server assigns.
func (s *storedUser) described() map[string]any {
	u, out := s.user, map[string]any{}
	for _, x := range s.request.types.User.Extensions {
		if value := directory.AttributeOf(u.Document, x.URN); value != nil {
			out[x.URN] = nil
		}
	}
	describe(out, s.request.types.User, s.request, u.ID, u.Version, u.Created, u.Modified)
	return out
}

// raw returns the value of an attribute as the document has it; nil for none.
func (s *storedUser) raw(extension, attribute string) json.RawMessage {
	document := s.user.Document
	if extension != "" {
		document = directory.AttributeOf(document, extension)
	}
	return directory.AttributeOf(document, attribute)
}

// Lacks implements [schema.Stored].
func (s *storedUser) Lacks(extension, attribute, text string) bool {
	if extension == "" {
		switch attribute {
		case "id", "userName", "externalId", "groups", "meta", "schemas": // Value has them at hand
			return false
		}
	}
	value := s.raw(extension, attribute)
	s.scratch = s.scratch[:0]
	for _, c := range value {
		if c >= utf8.RuneSelf || c == '\\' {
			return false // the text is not what is written
		}
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		s.scratch = append(s.scratch, c)
	}
	return !bytes.Contains(s.scratch, []byte(text))
}

// decodeValue returns a value of a stored document as decodeDocument does.
func decodeValue(raw json.RawMessage) any {
	if n := len(raw); n >= 2 && raw[0] == '"' {
		if plain := raw[1 : n-1]; bytes.IndexByte(plain, '\\') < 0 && utf8.Valid(plain) {
			return string(plain)
		}
	}
	switch string(raw) {
	case "true":
		return true
	case "false":
		return false
	case "":
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var value any
	_ = d.Decode(&value) // all of the document was decoded before
	return value
}

// groupsOf returns the groups that a user is a direct member of, from memory; nil if there is none.
func groupsOf(req *request, u *directory.User) any {
	groups := slices.SortedFunc(u.MemberOf(), func(a, b *directory.Group) int { return cmp.Compare(a.ID, b.ID) })
	if len(groups) == 0 {
		return nil
	}
	list := make([]any, len(groups))
	for i, g := range groups {
		list[i] = groupReference(req, g)
	}
	return list
}

// storedGroup reads the attributes of a group that the directory has in memory. They are what groupDocument returns.
type storedGroup struct {
	request *request
	tx      *directory.Tx
	group   *directory.Group
	err     error // of reading what memory does not have
}

// Value implements [schema.Stored].
func (s *storedGroup) Value(extension, attribute string) any {
	g, kind := s.group, s.request.types.Group
	switch {
	case extension != "" || !kind.Has(attribute): // the filter is for users too
		return nil
	case attribute == "id":
		return g.ID
	case attribute == "displayName":
		return g.DisplayName
	case attribute == "externalId" && g.ExternalID != "": // an empty one may be stored, or none
		return g.ExternalID
	case attribute == "meta", attribute == "schemas":
		out := map[string]any{}
		describe(out, kind, s.request, g.ID, g.Version, g.Created, g.Modified)
		return out[attribute]
	}
	stored, err := s.tx.Group(g.ID)
	if err != nil {
		s.err = err
		return nil
	}
	return decodeValue(directory.AttributeOf(stored.Document, attribute))
}

// Lacks implements [schema.Stored].
func (s *storedGroup) Lacks(string, string, string) bool { return false }
