package scim

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"
)

// TestLog_MarksOmissionsInTargets checks that nothing of a query is dropped without a mark, and that a target is
// bounded however long it is.
func TestLog_MarksOmissionsInTargets(t *testing.T) {
	many := strings.Repeat("&count=1", 30)
	for raw, want := range map[string]string{
		"":                                   "/Users",
		"count=5&filter=active+eq+true":      "/Users?count=5&filter=active eq …",
		"filter=userName+eq+%22a%22&count=":  "/Users?count=…&filter=userName eq …",
		"filter=title+eq+%22100%%22":         "/Users?filter=(unreadable)",
		"count=5&filter=%zz":                 "/Users?count=5&filter=(unreadable)",
		"%zz=1":                              "/Users?…",
		"other=%zz":                          "/Users?…",
		"count=1&count=2":                    "/Users?count=1&count=2",
		"&&count=1&":                         "/Users?count=1",
		"sortBy=" + strings.Repeat("a", 200): "/Users?sortBy=" + strings.Repeat("a", 200),
		"sortBy=" + strings.Repeat("a", 201): "/Users?sortBy=…",
		`filter=title+eq+"R&D"`:              "/Users?…&filter=(unreadable)",
		"startIndex=7" + many:                "/Users?" + strings.Repeat("count=1&", 18) + "startIndex=7&…",
	} {
		if got := redactedTarget(&http.Request{URL: &url.URL{Path: "/Users", RawQuery: raw}}); got != want {
			t.Errorf("%s: %s, want %s", raw, got, want)
		}
	}
	for _, u := range []*url.URL{
		{Path: "/" + strings.Repeat("é/", 5000)},
		{Path: "/Users", RawQuery: "attributes=" + strings.Repeat("a.b", 60) + "&filter=" + strings.Repeat(strings.Repeat("c", 199)+"+", 50)},
	} {
		got := redactedTarget(&http.Request{URL: u})
		if len(got) > maxTargetBytes || !strings.HasSuffix(got, "…") || !utf8.ValidString(got) {
			t.Errorf("%d bytes that end with %q", len(got), got[len(got)-20:])
		}
	}
}
