package scim

import (
	"encoding/json"
	"net/url"
	"strings"

	"sallyport/scim/internal/schema"
)

// search answers POST …/.search: a query whose parameters stand in the body, so
// that no personal data stands in a URL.
func (r endpoint) search(req *request) (any, error) {
	return r.server.searchAmong(req, []*schema.ResourceType{r.resourceType})
}

// searchAll answers POST /.search : all kinds at once.
func (s *Server) searchAll(req *request) (any, error) { return s.searchAmong(req, s.types.All()) }

func (s *Server) searchAmong(req *request, kinds []*schema.ResourceType) (any, error) {
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
	query := *req
	query.Request = req.Clone(req.Context())
	query.URL.RawQuery = values.Encode()
	answer, err := s.find(&query, kinds)
	req.quirks = query.quirks
	return answer, err
}

// parameter is a member of a SearchRequest as it would stand in a URL.
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
		for i, one := range v {
			text, ok := one.(string)
			if !ok {
				return "", invalid("invalidValue", "%s must be a list of names.", name)
			}
			names[i] = text
		}
		return strings.Join(names, ","), nil
	}
	return "", invalid("invalidValue", "%s has a value of another type than it should.", name)
}
