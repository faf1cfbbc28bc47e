package audit

import (
	"encoding/json"
	"slices"
	"strings"
)

// object is a node of the schema.
type object = map[string]any

// Schema returns the JSON Schema (2020-12) of a line of the record, made from the catalogue.
func Schema() ([]byte, error) {
	text, hash := object{"type": "string"}, object{"type": "string", "pattern": "^[0-9a-f]{64}$"}
	properties := object{
		"seq":    object{"type": "integer", "minimum": 1, "description": "the number of the line"},
		"time":   object{"type": "string", "format": "date-time", "description": "when it happened, in UTC"},
		"kind":   oneOf(kindTerms()),
		"reason": text,
		"prev":   object{"type": "string", "pattern": "^([0-9a-f]{64})?$", "description": "the hash of the line before; empty in the first"},
		"hash":   with(hash, "description", "SHA-256 of the line up to this key, without the comma before it"),
	}
	for _, f := range fields {
		properties[f.Name] = object{"type": "string", "description": f.Meaning}
	}
	properties["code"].(object)["type"], properties["rev"].(object)["type"] = "integer", "integer"
	properties["decision"].(object)["enum"] = []string{"allow", "deny"}
	properties["detail"] = object{"type": "object", "additionalProperties": text}
	properties["actor"] = object{"type": "object", "additionalProperties": false, "required": []string{"kind"},
		"properties": object{"kind": oneOf(actors), "name": text, "address": text, "id": text, "session": text, "role": object{"enum": []string{RoleAdmin, RoleAuditor}}}}
	schema := object{
		"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "A line of Sallyport's audit record",
		"type": "object", "properties": properties, "additionalProperties": false,
		"required": []string{"seq", "time", "kind", "prev", "hash"},
	}
	var kinds []any
	for _, d := range catalogue {
		kinds = append(kinds, object{"if": object{"properties": object{"kind": object{"const": d.Kind}}}, "then": d.schema()})
	}
	schema["allOf"] = kinds
	return json.MarshalIndent(schema, "", "  ")
}

// schema returns what holds for the events of one kind.
func (d Description) schema() object {
	properties := object{}
	for _, f := range fields {
		if f.Name != "replica" && !slices.Contains(d.Fields, f.Name) {
			properties[f.Name] = false
		}
	}
	s := object{"properties": properties}
	if named := slices.DeleteFunc(slices.Clone(d.Reasons), func(t Term) bool { return t.Name == "" }); len(named) > 0 {
		properties["reason"] = oneOf(named)
	} else {
		properties["reason"] = false
	}
	if !has(d.Reasons, "") {
		s["required"] = []string{"reason"}
	}
	if slices.Contains(d.Fields, "detail") {
		keys, patterns := object{}, object{}
		for _, t := range d.Details {
			value := object{"type": "string", "description": t.Meaning}
			if prefix, ok := strings.CutSuffix(t.Name, "#"); ok {
				patterns["^"+prefix+"[0-9]+$"] = value
				continue
			}
			keys[t.Name] = value
		}
		properties["detail"] = object{"properties": keys, "patternProperties": patterns, "additionalProperties": false}
	}
	return s
}

func kindTerms() (terms []Term) {
	for _, d := range catalogue {
		terms = append(terms, Term{string(d.Kind), d.Meaning})
	}
	return terms
}

// oneOf returns the schema of a text that is one of terms.
func oneOf(terms []Term) object {
	values := make([]any, len(terms))
	for i, t := range terms {
		values[i] = object{"const": t.Name, "description": t.Meaning}
	}
	return object{"type": "string", "oneOf": values}
}

func with(o object, key string, value any) object {
	o[key] = value
	return o
}
