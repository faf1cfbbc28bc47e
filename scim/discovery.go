package scim

import (
	"net/http"
	"time"

	"sallyport/scim/internal/schema"
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
	for _, k := range s.types.All() {
		things = append(things, k.Document(req.base))
	}
	return listed(things), noFilter(req)
}

func (s *Server) resourceType(req *request) (any, error) {
	if err := noFilter(req); err != nil {
		return nil, err
	}
	for _, k := range s.types.All() {
		if k.Name == req.PathValue("name") {
			return k.Document(req.base), nil
		}
	}
	return nil, fail(http.StatusNotFound, "", "There is no resource type %.100q.", req.PathValue("name"))
}

func (s *Server) schemas(req *request) (any, error) {
	var things []any
	for _, known := range s.types.Schemas() {
		things = append(things, known.Document(req.base))
	}
	return listed(things), noFilter(req)
}

func (s *Server) schema(req *request) (any, error) {
	if err := noFilter(req); err != nil {
		return nil, err
	}
	for _, known := range s.types.Schemas() {
		if schema.EqualNames(known.URN, req.PathValue("urn")) {
			return known.Document(req.base), nil
		}
	}
	return nil, fail(http.StatusNotFound, "", "There is no schema %.100q.", req.PathValue("urn"))
}
