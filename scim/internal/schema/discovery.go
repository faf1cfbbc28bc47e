package schema

import "cmp"

func (k *ResourceType) Document(base string) map[string]any {
	out := map[string]any{
		"schemas": []string{"urn:ietf:params:scim:schemas:core:2.0:ResourceType"},
		"id":      k.Name, "name": k.Name, "endpoint": "/" + k.Endpoint, "description": k.Core.Description, "schema": k.Core.URN,
		"meta": map[string]any{"resourceType": "ResourceType", "location": base + "/ResourceTypes/" + k.Name},
	}
	var extensions []any
	for _, x := range k.Extensions {
		extensions = append(extensions, map[string]any{"schema": x.URN, "required": false})
	}
	if extensions != nil {
		out["schemaExtensions"] = extensions
	}
	return out
}

func (k Types) Schemas() (all []Schema) {
	for _, k := range k.All() {
		all = append(append(all, k.Core), k.Extensions...)
	}
	return all
}

func (x Schema) Document(base string) map[string]any {
	return map[string]any{
		"schemas": []string{"urn:ietf:params:scim:schemas:core:2.0:Schema"},
		"id":      x.URN, "name": x.Name, "description": x.Description, "attributes": attributeDocuments(x.Attributes),
		"meta": map[string]any{"resourceType": "Schema", "location": base + "/Schemas/" + x.URN},
	}
}

func attributeDocuments(attributes []Attribute) []any {
	list := []any{}
	for _, a := range attributes {
		list = append(list, a.Document())
	}
	return list
}

// document is the attribute as RFC 7643 §7 describes it.
func (a Attribute) Document() map[string]any {
	description := a.Description
	if description == "" {
		description = a.Name
	}
	out := map[string]any{"name": a.Name, "type": string(a.Type), "multiValued": a.MultiValued, "description": description,
		"required": a.Required, "caseExact": a.CaseExact, "mutability": string(cmp.Or(a.Mutability, "readWrite")), "returned": "default", "uniqueness": "none"}
	if a.Unique {
		out["uniqueness"] = "server"
	}
	if a.Mutability == WriteOnly {
		out["returned"] = "never"
	}
	if len(a.CanonicalValues) > 0 {
		out["canonicalValues"] = a.CanonicalValues
	}
	if len(a.ReferenceTypes) > 0 {
		out["referenceTypes"] = a.ReferenceTypes
	} else if a.Type == Reference {
		out["referenceTypes"] = []string{"uri"}
	}
	if a.Type == Complex {
		out["subAttributes"] = attributeDocuments(a.SubAttributes)
	}
	return out
}
