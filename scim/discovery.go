package scim

import (
	"net/http"
	"time"

	"sallyport/scim/internal/schema"
)

// serviceProviderConfig handles GET /ServiceProviderConfig (RFC 7643 §5, RFC 9865 §3).
func (s *Server) serviceProviderConfig(req *request) (any, error) {
	if err := noFilter(req); err != nil {
		return nil, err
	}
	supported := func(ok bool) map[string]any { return map[string]any{"supported": ok} }
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

// noFilter rejects a filter: discovery documents cannot be searched (RFC 7644 §4).
func noFilter(req *request) error {
	if req.URL.Query().Has("filter") {
		return fail(http.StatusForbidden, "", "Discovery documents cannot be filtered.")
	}
	return nil
}

// listResponse returns all of documents on one page.
func listResponse(documents []any) map[string]any {
	return map[string]any{"schemas": []string{listURN}, "totalResults": len(documents), "startIndex": 1, "itemsPerPage": len(documents), "Resources": documents}
}

// resourceTypes handles GET /ResourceTypes.
func (s *Server) resourceTypes(req *request) (any, error) {
	var documents []any
	for _, rt := range s.types.All() {
		documents = append(documents, rt.Document(req.base))
	}
	return listResponse(documents), noFilter(req)
}

// resourceType handles GET /ResourceTypes/{name}.
func (s *Server) resourceType(req *request) (any, error) {
	if err := noFilter(req); err != nil {
		return nil, err
	}
	for _, rt := range s.types.All() {
		if rt.Name == req.PathValue("name") {
			return rt.Document(req.base), nil
		}
	}
	return nil, fail(http.StatusNotFound, "", "There is no resource type %.100q.", req.PathValue("name"))
}

// schemas handles GET /Schemas.
func (s *Server) schemas(req *request) (any, error) {
	var documents []any
	for _, x := range s.types.Schemas() {
		documents = append(documents, x.Document(req.base))
	}
	return listResponse(documents), noFilter(req)
}

// schema handles GET /Schemas/{urn}.
func (s *Server) schema(req *request) (any, error) {
	if err := noFilter(req); err != nil {
		return nil, err
	}
	for _, x := range s.types.Schemas() {
		if schema.EqualNames(x.URN, req.PathValue("urn")) {
			return x.Document(req.base), nil
		}
	}
	return nil, fail(http.StatusNotFound, "", "There is no schema %.100q.", req.PathValue("urn"))
}
