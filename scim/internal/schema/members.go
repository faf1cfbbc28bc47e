package schema

import "strings"

// MemberIDs returns the ids in the value of an operation on members. A nil value has none.
func MemberIDs(v any, quirks *Quirks) ([]string, error) {
	ids, err := (&normalizer{quirks: quirks}).members(v)
	list, _ := ids.([]string)
	return list, err
}

// members returns the ids of a group's members as a []string, in whatever form a client wrote them; nil if v is
// unassigned. What else a client says of a member is ignored, since the server knows it better.
func (n *normalizer) members(v any) (any, error) {
	list, err := n.list(v)
	if list == nil || err != nil {
		return nil, err
	}
	ids := make([]string, 0, len(list))
	for _, element := range list {
		id, err := n.memberID(element)
		if err != nil {
			return nil, err
		}
		if id != "" {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// memberID returns the id of one member; "" if there is none.
func (n *normalizer) memberID(v any) (string, error) {
	switch v := v.(type) {
	case MemberID:
		return string(v), nil
	case string:
		n.quirks.Add(QuirkBareValue)
		return v, nil
	case nil:
		return "", nil
	case map[string]any:
		value, _ := Member(v, "value")
		id, ok := value.(string)
		if !ok && value != nil {
			return "", invalid("invalidValue", "A member's value is an id, not %.100s.", jsonOf(value))
		}
		if id == "" {
			id = n.referencedID(v)
		}
		return id, nil
	}
	return "", invalid("invalidValue", "A member is an object with a value, not %.100s.", jsonOf(v))
}

// referencedID returns the id at the end of a member's $ref.
func (n *normalizer) referencedID(member map[string]any) string {
	ref, _ := Member(member, "$ref")
	url, _ := ref.(string)
	if url == "" {
		return ""
	}
	n.quirks.Add(QuirkRefForValue)
	return url[strings.LastIndexByte(url, '/')+1:]
}
