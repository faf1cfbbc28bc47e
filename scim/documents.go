package scim

import "cmp"

func (k *kindOfResource) document(base string) map[string]any {
	out := map[string]any{
		"schemas": []string{"urn:ietf:params:scim:schemas:core:2.0:ResourceType"},
		"id":      k.name, "name": k.name, "endpoint": "/" + k.endpoint, "description": k.core.description, "schema": k.core.urn,
		"meta": map[string]any{"resourceType": "ResourceType", "location": base + "/ResourceTypes/" + k.name},
	}
	var extensions []any
	for _, x := range k.extensions {
		extensions = append(extensions, map[string]any{"schema": x.urn, "required": false})
	}
	if extensions != nil {
		out["schemaExtensions"] = extensions
	}
	return out
}

func (k kinds) schemas() (all []schema) {
	for _, k := range k.all() {
		all = append(append(all, k.core), k.extensions...)
	}
	return all
}

func (x schema) document(base string) map[string]any {
	return map[string]any{
		"schemas": []string{"urn:ietf:params:scim:schemas:core:2.0:Schema"},
		"id":      x.urn, "name": x.name, "description": x.description, "attributes": attributeDocuments(x.attributes),
		"meta": map[string]any{"resourceType": "Schema", "location": base + "/Schemas/" + x.urn},
	}
}

func attributeDocuments(attributes []attribute) []any {
	list := []any{}
	for _, a := range attributes {
		list = append(list, a.document())
	}
	return list
}

// document is the attribute as RFC 7643 §7 describes it.
func (a attribute) document() map[string]any {
	description := a.description
	if description == "" {
		description = a.name
	}
	out := map[string]any{"name": a.name, "type": string(a.kind), "multiValued": a.multi, "description": description,
		"required": a.required, "caseExact": a.caseExact, "mutability": string(cmp.Or(a.mutability, "readWrite")), "returned": "default", "uniqueness": "none"}
	if a.unique {
		out["uniqueness"] = "server"
	}
	if a.mutability == writeOnly {
		out["returned"] = "never"
	}
	if len(a.canonical) > 0 {
		out["canonicalValues"] = a.canonical
	}
	if len(a.refers) > 0 {
		out["referenceTypes"] = a.refers
	} else if a.kind == reference {
		out["referenceTypes"] = []string{"uri"}
	}
	if a.kind == complexed {
		out["subAttributes"] = attributeDocuments(a.sub)
	}
	return out
}
