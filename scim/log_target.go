package scim

import (
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"sallyport/scim/internal/schema"
)

var (
	ourID     = regexp.MustCompile(`^[0-9a-f]{32}$`)
	plainName = regexp.MustCompile(`^[A-Za-z0-9$._:,-]{1,200}$`)
)

// redactedTarget returns the path and query of a request without the values in them.
func redactedTarget(r *http.Request) string {
	var segments []string
	for segment := range strings.SplitSeq(strings.TrimPrefix(r.URL.Path, "/"), "/") {
		switch {
		case ourID.MatchString(segment), segment == "", slices.Contains(knownSegments, segment), strings.HasPrefix(segment, "urn:ietf:params:scim:schemas:"):
		default:
			segment = "…"
		}
		segments = append(segments, segment)
	}
	path, query := "/"+strings.Join(segments, "/"), r.URL.Query()
	if len(query) == 0 {
		return path
	}
	var parameters []string
	for _, name := range slices.Sorted(maps.Keys(query)) {
		parameters = append(parameters, parameterShape(name, query.Get(name)))
	}
	return path + "?" + strings.Join(parameters, "&")
}

var knownSegments = []string{"Users", "Groups", "Bulk", "token", "Me", ".search", "ServiceProviderConfig", "ResourceTypes", "Schemas", "User", "Group"}

// parameterShape returns a parameter of a query, with its value only if that is a plain name.
func parameterShape(name, value string) string {
	switch {
	case name == "filter":
		return "filter=" + schema.RedactFilter(value)
	case name == "cursor":
		return "cursor"
	case !slices.Contains(parameters, name):
		return "…"
	case plainName.MatchString(value):
		return name + "=" + value
	}
	return name + "=…"
}

// parameters are the names of a query's parameters (RFC 7644 §3.4.2, RFC 9865 §2).
var parameters = []string{"filter", "sortBy", "sortOrder", "startIndex", "count", "cursor", "attributes", "excludedAttributes"}
