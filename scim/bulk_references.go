package scim

import (
	"maps"
	"net/http"
	"strings"

	"sallyport/scim/internal/schema"
)

// bulkIDPrefix begins a reference to what another operation of the bulk request creates (RFC 7644 §3.7.2).
const bulkIDPrefix = "bulkId:"

// resolve returns v with IDs in the place of bulkIds. It is an error if something that v refers to was not created.
func (b *bulkRun) resolve(v any) (any, error) {
	var failure error
	out := replaceReferences(v, func(id string) (string, bool) {
		created, ok := b.created[id]
		if !ok {
			failure = fail(http.StatusConflict, "", "No operation with the bulkId %.100q created anything.", id)
		}
		return created, true
	})
	return out, failure
}

// withoutUnresolved returns v with IDs in the place of bulkIds, and without what refers to something not created yet.
func (b *bulkRun) withoutUnresolved(v any) any {
	return replaceReferences(v, func(id string) (string, bool) {
		created, ok := b.created[id]
		return created, ok
	})
}

// replaceReferences returns a copy of v in which replace's result stands for each bulkId: in a string that is a reference
// (members, manager), and in a segment of a path. If replace returns false the value is removed, and so is an element
// of which it is the value.
func replaceReferences(v any, replace func(bulkID string) (id string, ok bool)) any {
	switch v := v.(type) {
	case string:
		return replaceReference(v, replace)
	case schema.MemberID:
		return replaceReference(string(v), replace)
	case []any:
		out := make([]any, 0, len(v))
		for _, element := range v {
			if replaced := replaceReferences(element, replace); replaced != nil {
				out = append(out, replaced)
			}
		}
		return out
	case map[string]any:
		out := maps.Clone(v)
		for name, value := range v {
			out[name] = replaceReferences(value, replace)
		}
		if v["value"] != nil && out["value"] == nil {
			return nil
		}
		return out
	}
	return v
}

func replaceReference(text string, replace func(bulkID string) (id string, ok bool)) any {
	before, bulkID, ok := strings.Cut(text, bulkIDPrefix)
	if !ok || before != "" && !strings.HasSuffix(before, "/") {
		return text
	}
	id, ok := replace(bulkID)
	if !ok {
		return nil
	}
	return before + id
}
