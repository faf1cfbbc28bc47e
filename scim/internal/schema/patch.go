package schema

import (
	"maps"
	"slices"
	"strings"
)

// maxOperations bounds one PATCH.
const maxOperations = 1000

// Operation is one operation of a PATCH (RFC 7644 §3.5.2), with its path resolved.
type Operation struct {
	Op       string // add, replace or remove
	Path     *Path
	Value    any
	HasValue bool // the operation has a value, if only null
}

// ParsePatch parses the body of a PATCH. An operation without a path becomes one for each member of its value. What
// names an attribute that is not in the schemas is left out.
func ParsePatch(rt *ResourceType, body map[string]any, quirks *Quirks) ([]Operation, error) {
	if _, ok := body["Operations"]; !ok {
		quirks.Add(QuirkOperationsCase)
	}
	if _, ok := Member(body, "schemas"); !ok {
		quirks.Add(QuirkMissingSchemas)
	}
	list, err := OperationList(body)
	if err != nil {
		return nil, err
	}
	if len(list) > maxOperations {
		return nil, invalid("tooMany", "There are %d operations; at most %d are taken at once.", len(list), maxOperations)
	}
	var operations []Operation
	for i, element := range list {
		object, ok := element.(map[string]any)
		if !ok {
			return nil, invalid("invalidSyntax", "Operation %d is not an object.", i+1)
		}
		parsed, err := parseOperation(rt, object, quirks)
		if err != nil {
			return nil, err
		}
		operations = append(operations, parsed...)
	}
	return operations, nil
}

// OperationList returns the operations in the body of a PATCH or a bulk request.
func OperationList(body map[string]any) ([]any, error) {
	v, _ := Member(body, "Operations")
	list, ok := v.([]any)
	if !ok || len(list) == 0 {
		return nil, invalid("invalidSyntax", "Operations must be a list of at least one operation.")
	}
	return list, nil
}

func parseOperation(rt *ResourceType, object map[string]any, quirks *Quirks) ([]Operation, error) {
	op, err := parseOp(object, quirks)
	if err != nil {
		return nil, err
	}
	value, hasValue := Member(object, "value")
	if !hasValue && op != "remove" {
		return nil, invalid("invalidValue", "The operation %s needs a value; null clears.", op)
	}
	v, _ := Member(object, "path")
	text, ok := v.(string)
	switch {
	case v != nil && !ok:
		return nil, invalid("invalidPath", "A path must be a string.")
	case EqualNames(text, rt.Core.URN) && op != "remove":
		return parseCoreObject(rt, op, value, quirks)
	case text != "":
		path, err := ParsePath(rt, text, quirks)
		if err != nil || path == nil {
			return nil, err
		}
		return []Operation{{op, path, value, hasValue}}, nil
	case op == "remove":
		return nil, invalid("noTarget", "A remove must say what, by its path.")
	}
	object = objectOf(value, quirks)
	if object == nil {
		return nil, invalid("invalidValue", "Without a path, the value must be an object.")
	}
	operations, err := parseMembers(rt, op, object, quirks)
	if err != nil {
		return nil, err
	}
	if err := checkRepeated(operations); err != nil {
		return nil, err
	}
	return operations, nil
}

// checkRepeated rejects a value that names an attribute in two ways, with different values: which of them is meant
// would be a guess.
func checkRepeated(operations []Operation) error {
	values := map[*Attribute]any{}
	for _, o := range operations {
		a := o.Path.Attribute
		if a == nil || o.Path.Sub != nil || o.Path.Filter != nil {
			continue
		}
		if before, ok := values[a]; ok && !equalJSON(before, o.Value) {
			return invalid("invalidValue", "%s is named twice, with different values.", a.Name)
		}
		values[a] = o.Value
	}
	return nil
}

// objectOf returns the value of an operation without a path. Some clients write the object as JSON in a string. It
// returns nil if the value is no object.
func objectOf(value any, quirks *Quirks) map[string]any {
	object, _ := value.(map[string]any)
	if text, ok := value.(string); ok {
		var err error
		if object, err = Decode([]byte(text)); err != nil {
			return nil
		}
		quirks.Add(QuirkJSONString)
	}
	return object
}

// parseCoreObject returns the operations for the attributes of the core schema, which stand in an object below its URN.
func parseCoreObject(rt *ResourceType, op string, value any, quirks *Quirks) ([]Operation, error) {
	quirks.Add(QuirkCoreObject)
	if value == nil || value == "" {
		return nil, nil
	}
	object, ok := value.(map[string]any)
	if !ok {
		return nil, invalid("invalidValue", "%s must be an object.", rt.Core.URN)
	}
	return parseMembers(rt, op, object, quirks)
}

func parseOp(object map[string]any, quirks *Quirks) (string, error) {
	v, _ := Member(object, "op")
	word, _ := v.(string)
	op := strings.ToLower(word)
	if op != "add" && op != "replace" && op != "remove" {
		return "", invalid("invalidSyntax", "%q is no operation; there are add, replace and remove.", word)
	}
	if op != word {
		quirks.Add(QuirkOpCase)
	}
	return op, nil
}

// parseMembers returns an operation for each member of an object, whose name is its path.
func parseMembers(rt *ResourceType, op string, object map[string]any, quirks *Quirks) (operations []Operation, err error) {
	for _, name := range slices.Sorted(maps.Keys(object)) {
		if EqualNames(name, "schemas") {
			continue // computed when a resource is returned
		}
		if EqualNames(name, rt.Core.URN) {
			inner, err := parseCoreObject(rt, op, object[name], quirks)
			if err != nil {
				return nil, err
			}
			operations = append(operations, inner...)
			continue
		}
		path, err := ParsePath(rt, name, quirks)
		if err != nil {
			return nil, err
		}
		if path == nil {
			continue
		}
		if path.Sub != nil || path.Filter != nil {
			quirks.Add(QuirkDottedKey)
		}
		if path.isReadOnly() {
			quirks.Add(QuirkReadOnlyIgnored)
			continue
		}
		operations = append(operations, Operation{op, path, object[name], true})
	}
	return operations, nil
}
