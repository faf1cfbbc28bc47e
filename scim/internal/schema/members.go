package schema

import "strings"

const MembersAttribute = "members"

// members reads the ids of a group's members, however they are written; what
// else is said of a member is ours to say.
func (c *normalizer) members(v any) (any, error) {
	list, ok := v.([]any)
	if !ok {
		if v == nil || v == "" {
			return nil, nil
		}
		c.notes.Add(QuirkSingleForMany)
		list = []any{v}
	}
	ids := make([]string, 0, len(list))
	for _, one := range list {
		id, err := c.member(one)
		if err != nil {
			return nil, err
		}
		if id != "" {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// memberIDs reads the ids in the value of an operation on members.
func MemberIDs(v any, n *Quirks) ([]string, error) {
	clean, err := (&normalizer{notes: n}).members(v)
	ids, _ := clean.([]string)
	return ids, err
}

// member is the id of one member; "" where there is none.
func (c *normalizer) member(v any) (string, error) {
	switch v := v.(type) {
	case MemberID:
		return string(v), nil
	case string:
		c.notes.Add(QuirkBareValue)
		return v, nil
	case nil:
		return "", nil
	case map[string]any:
		id, _ := Member(v, "value")
		text, ok := id.(string)
		if !ok && id != nil {
			return "", invalid("invalidValue", "A member's value is an id, not %.100s.", jsonOf(id))
		}
		if text == "" {
			text = c.referred(v)
		}
		return text, nil
	}
	return "", invalid("invalidValue", "A member is an object with a value, not %.100s.", jsonOf(v))
}

// referred is the id at the end of a member's $ref.
func (c *normalizer) referred(object map[string]any) string {
	ref, _ := Member(object, "$ref")
	url, _ := ref.(string)
	if url == "" {
		return ""
	}
	c.notes.Add(QuirkRefForValue)
	return url[strings.LastIndexByte(url, '/')+1:]
}
