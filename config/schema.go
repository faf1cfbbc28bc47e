package config

import (
	_ "embed"
	"encoding/json"
	"reflect"
	"time"
)

//go:embed example.yaml
var example []byte

// Example returns a configuration file that shows every key. It loads if the files that it names exist.
func Example() []byte { return example }

// Schema returns the JSON Schema (2020-12) of the configuration file, for editors. [Load] checks more than a schema can
// express.
func Schema() ([]byte, error) {
	s := schemaOf(reflect.TypeFor[File]())
	s["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	s["title"] = "Sallyport configuration"
	return json.MarshalIndent(s, "", "  ")
}

func schemaOf(t reflect.Type) map[string]any {
	if reflect.PointerTo(t).Implements(unmarshaler) { // a text or a list of texts
		text := map[string]any{"type": "string"}
		return map[string]any{"anyOf": []any{text, map[string]any{"type": "array", "items": text}}}
	}
	switch {
	case t == reflect.TypeFor[time.Duration]():
		return map[string]any{"type": "string", "pattern": `^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$`}
	case t.Kind() == reflect.Pointer:
		return schemaOf(t.Elem())
	case t.Kind() == reflect.Slice:
		return map[string]any{"type": "array", "items": schemaOf(t.Elem())}
	case t.Kind() == reflect.Map:
		return map[string]any{"type": "object", "additionalProperties": schemaOf(t.Elem())}
	case t.Kind() == reflect.Bool:
		return map[string]any{"type": "boolean"}
	case t.Kind() == reflect.Int:
		return map[string]any{"type": "integer"}
	case t.Kind() == reflect.Struct:
		properties := map[string]any{}
		describe(t, properties)
		return map[string]any{"type": "object", "properties": properties, "additionalProperties": false}
	}
	return map[string]any{"type": "string"}
}

// describe adds the keys of a struct to properties.
func describe(t reflect.Type, properties map[string]any) {
	for field := range t.Fields() {
		name, inline := keyOf(field)
		if inline {
			describe(field.Type, properties)
			continue
		}
		if name == "" {
			continue
		}
		s := schemaOf(field.Type)
		if doc := field.Tag.Get("doc"); doc != "" {
			s["description"] = doc
		}
		properties[name] = s
	}
}
