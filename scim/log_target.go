package scim

import (
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"sallyport/scim/internal/schema"
)

var ourID = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[0-9a-f]{32}$`) })

// The target of a request may be as long as its header; the log keeps the beginning.
const (
	maxParameters  = 20
	maxTargetBytes = 2000
)

// redactedTarget returns the path and query of a request without the values in them. What it leaves out it marks with an
// ellipsis: a parameter that cannot be read, and what is beyond the length that the log keeps.
func redactedTarget(r *http.Request) string {
	var segments []string
	for segment := range strings.SplitSeq(strings.TrimPrefix(r.URL.Path, "/"), "/") {
		switch {
		case ourID().MatchString(segment), segment == "", slices.Contains(knownSegments, segment), strings.HasPrefix(segment, "urn:ietf:params:scim:schemas:"):
		default:
			segment = "…"
		}
		segments = append(segments, segment)
	}
	target := "/" + strings.Join(segments, "/")
	if r.URL.RawQuery != "" {
		target += "?" + strings.Join(queryShape(r.URL.RawQuery), "&")
	}
	return shorten(target, maxTargetBytes)
}

// queryShape returns the parameters of a query without their values, by name.
func queryShape(raw string) (shapes []string) {
	type parameter struct{ name, shape string }
	var all []parameter
	for pair := range strings.SplitSeq(raw, "&") {
		name, value, _ := strings.Cut(pair, "=")
		name, nameErr := url.QueryUnescape(name)
		value, err := url.QueryUnescape(value)
		switch {
		case pair == "":
		case len(all) == maxParameters:
			all[maxParameters-1] = parameter{"\uFFFF", "…"} // sorts last
		case nameErr != nil:
			all = append(all, parameter{"", "…"})
		case err != nil && slices.Contains(parameters, name):
			all = append(all, parameter{name, name + "=(unreadable)"})
		default:
			all = append(all, parameter{name, parameterShape(name, value)})
		}
	}
	slices.SortStableFunc(all, func(a, b parameter) int { return strings.Compare(a.name, b.name) })
	for _, p := range all {
		shapes = append(shapes, p.shape)
	}
	return shapes
}

// shorten returns text of at most limit bytes. If it leaves something out, it cuts between two characters and ends with
// an ellipsis.
func shorten(text string, limit int) string {
	const mark = "…"
	if len(text) <= limit {
		return text
	}
	end := limit - len(mark)
	for !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + mark
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
	case schema.IsPlainName(value):
		return name + "=" + value
	}
	return name + "=…"
}

// parameters are the names of a query's parameters (RFC 7644 §3.4.2, RFC 9865 §2).
var parameters = []string{"filter", "sortBy", "sortOrder", "startIndex", "count", "cursor", "attributes", "excludedAttributes"}
