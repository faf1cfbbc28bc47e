package scim

import (
	"net/http"
	"time"
)

func (s *Server) serviceProviderConfig(req *request) (any, error) {
	if err := noFilter(req); err != nil {
		return nil, err
	}
	supported := func(yes bool) map[string]any { return map[string]any{"supported": yes} }
	return map[string]any{
		"schemas":        []string{"urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"},
		"patch":          supported(true),
		"bulk":           map[string]any{"supported": true, "maxOperations": maxBulk, "maxPayloadSize": maxBody},
		"filter":         map[string]any{"supported": true, "maxResults": maxCount},
		"changePassword": supported(false),
		"sort":           supported(true),
		"etag":           supported(true),
		"pagination": map[string]any{"cursor": true, "index": true, "defaultPaginationMethod": "index",
			"defaultPageSize": defaultCount, "maxPageSize": maxCount, "cursorTimeout": int(cursorLifetime / time.Second)},
		"authenticationSchemes": []any{map[string]any{"type": "oauthbearertoken", "name": "OAuth Bearer Token", "primary": true,
			"description": "A token made by sallyport token create.", "specUri": "https://www.rfc-editor.org/info/rfc6750"}},
		"meta": map[string]any{"resourceType": "ServiceProviderConfig", "location": req.base + "/ServiceProviderConfig"},
	}, nil
}

// noFilter: discovery documents are not searched (RFC 7644 §4).
func noFilter(req *request) error {
	if req.URL.Query().Has("filter") {
		return fail(http.StatusForbidden, "", "Discovery documents cannot be filtered.")
	}
	return nil
}

func listed(things []any) map[string]any {
	return map[string]any{"schemas": []string{listURN}, "totalResults": len(things), "startIndex": 1, "itemsPerPage": len(things), "Resources": things}
}

func (s *Server) resourceTypes(req *request) (any, error) {
	var things []any
	for _, k := range s.types.all() {
		things = append(things, typeDocument(k, req))
	}
	return listed(things), noFilter(req)
}

func (s *Server) resourceType(req *request) (any, error) {
	if err := noFilter(req); err != nil {
		return nil, err
	}
	for _, k := range s.types.all() {
		if k.name == req.PathValue("name") {
			return typeDocument(k, req), nil
		}
	}
	return nil, fail(http.StatusNotFound, "", "There is no resource type %.100q.", req.PathValue("name"))
}

func typeDocument(k *kindOfResource, req *request) map[string]any {
	out := map[string]any{
		"schemas": []string{"urn:ietf:params:scim:schemas:core:2.0:ResourceType"},
		"id":      k.name, "name": k.name, "endpoint": "/" + k.endpoint, "description": k.core.description, "schema": k.core.urn,
		"meta": map[string]any{"resourceType": "ResourceType", "location": req.base + "/ResourceTypes/" + k.name},
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

func (s *Server) schemas(req *request) (any, error) {
	var things []any
	for _, known := range s.types.schemas() {
		things = append(things, schemaDocument(known, req))
	}
	return listed(things), noFilter(req)
}

func (s *Server) schema(req *request) (any, error) {
	if err := noFilter(req); err != nil {
		return nil, err
	}
	for _, known := range s.types.schemas() {
		if same(known.urn, req.PathValue("urn")) {
			return schemaDocument(known, req), nil
		}
	}
	return nil, fail(http.StatusNotFound, "", "There is no schema %.100q.", req.PathValue("urn"))
}

func (k kinds) schemas() (all []schema) {
	for _, k := range k.all() {
		all = append(append(all, k.core), k.extensions...)
	}
	return all
}

func schemaDocument(x schema, req *request) map[string]any {
	return map[string]any{
		"schemas": []string{"urn:ietf:params:scim:schemas:core:2.0:Schema"},
		"id":      x.urn, "name": x.name, "description": x.description, "attributes": attributeDocuments(x.attributes),
		"meta": map[string]any{"resourceType": "Schema", "location": req.base + "/Schemas/" + x.urn},
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
		"required": a.required, "caseExact": a.caseExact, "mutability": a.mutability(), "returned": "default", "uniqueness": "none"}
	if a.unique {
		out["uniqueness"] = "server"
	}
	if a.never {
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

func (a attribute) mutability() string {
	switch {
	case a.readOnly:
		return "readOnly"
	case a.immutable:
		return "immutable"
	case a.never:
		return "writeOnly"
	}
	return "readWrite"
}
