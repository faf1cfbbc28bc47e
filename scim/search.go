package scim

import (
	"encoding/json"
	"net/url"
	"strings"

	"sallyport/scim/internal/schema"
)

// search handles POST /Users/.search and POST /Groups/.search (RFC 7644 §3.4.3): a query whose parameters are in the body,
// so that no personal data is in a URL.
func (e endpoint) search(req *request) (any, error) {
	return e.server.searchAmong(req, []*schema.ResourceType{e.resourceType})
}

// searchAll handles POST /.search, which searches all types of resources.
func (s *Server) searchAll(req *request) (any, error) { return s.searchAmong(req, s.types.All()) }

// searchAmong finds resources of types by the parameters in the body.
func (s *Server) searchAmong(req *request, types []*schema.ResourceType) (any, error) {
	body, err := req.body()
	if err != nil {
		return nil, err
	}
	values := url.Values{}
	for _, name := range parameters {
		v, ok := schema.Member(body, name)
		if !ok || v == nil && name != "cursor" {
			continue
		}
		text, err := parameter(name, v)
		if err != nil {
			return nil, err
		}
		values.Set(name, text)
	}
	get := *req // the same search as a GET
	get.Request = req.Clone(req.Context())
	get.URL.RawQuery = values.Encode()
	list, err := s.find(&get, types)
	req.quirks = get.quirks
	return list, err
}

// parameter returns the value of a SearchRequest's member as a URL has it.
func parameter(name string, v any) (string, error) {
	switch v := v.(type) {
	case nil:
		return "", nil
	case string:
		return v, nil
	case json.Number:
		return v.String(), nil
	case []any:
		names := make([]string, len(v))
		for i, item := range v {
			text, ok := item.(string)
			if !ok {
				return "", invalid("invalidValue", "%s must be a list of names.", name)
			}
			names[i] = text
		}
		return strings.Join(names, ","), nil
	}
	return "", invalid("invalidValue", "%s has a value of another type than it should.", name)
}
