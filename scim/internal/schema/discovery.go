package schema

import "cmp"

// Document returns the resource type as GET /ResourceTypes shows it (RFC 7643 §6). base is the URL of the server.
func (rt *ResourceType) Document(base string) map[string]any {
	out := map[string]any{
		"schemas": []string{"urn:ietf:params:scim:schemas:core:2.0:ResourceType"},
		"id":      rt.Name, "name": rt.Name, "endpoint": "/" + rt.Endpoint, "description": rt.Core.Description, "schema": rt.Core.URN,
		"meta": map[string]any{"resourceType": "ResourceType", "location": base + "/ResourceTypes/" + rt.Name},
	}
	var extensions []any
	for _, x := range rt.Extensions {
		extensions = append(extensions, map[string]any{"schema": x.URN, "required": false})
	}
	if extensions != nil {
		out["schemaExtensions"] = extensions
	}
	return out
}

// Document returns the schema as GET /Schemas shows it (RFC 7643 §7). base is the URL of the server.
func (s Schema) Document(base string) map[string]any {
	return map[string]any{
		"schemas": []string{"urn:ietf:params:scim:schemas:core:2.0:Schema"},
		"id":      s.URN, "name": s.Name, "description": s.Description, "attributes": attributeDocuments(s.Attributes),
		"meta": map[string]any{"resourceType": "Schema", "location": base + "/Schemas/" + s.URN},
	}
}

func attributeDocuments(attributes []Attribute) []any {
	list := []any{}
	for _, a := range attributes {
		list = append(list, a.document())
	}
	return list
}

func (a Attribute) document() map[string]any {
	out := map[string]any{"name": a.Name, "type": string(a.Type), "multiValued": a.MultiValued, "description": cmp.Or(a.Description, a.Name),
		"required": a.Required, "caseExact": a.CaseExact, "mutability": cmp.Or(string(a.Mutability), "readWrite"), "returned": "default", "uniqueness": "none"}
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
