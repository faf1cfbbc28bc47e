package scim

import "strings"

const membersAttribute = "members"

// members reads the ids of a group's members, however they are written; what
// else is said of a member is ours to say.
func (c *cleaner) members(v any) (any, error) {
	list, ok := v.([]any)
	if !ok {
		if v == nil || v == "" {
			return nil, nil
		}
		c.notes.add(quirkSingleForMany)
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
func memberIDs(v any, n *notes) ([]string, error) {
	clean, err := (&cleaner{notes: n}).members(v)
	ids, _ := clean.([]string)
	return ids, err
}

// member is the id of one member; "" where there is none.
func (c *cleaner) member(v any) (string, error) {
	switch v := v.(type) {
	case memberID:
		return string(v), nil
	case string:
		c.notes.add(quirkBareValue)
		return v, nil
	case nil:
		return "", nil
	case map[string]any:
		id, _ := member(v, "value")
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
func (c *cleaner) referred(object map[string]any) string {
	ref, _ := member(object, "$ref")
	url, _ := ref.(string)
	if url == "" {
		return ""
	}
	c.notes.add(quirkRefForValue)
	return url[strings.LastIndexByte(url, '/')+1:]
}
