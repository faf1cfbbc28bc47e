package header

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"sallyport/session"
)

// FuzzCookieHeader checks that StripCookies leaves no cookie of ours, and does not change a header without one.
func FuzzCookieHeader(f *testing.F) {
	f.Fuzz(func(t *testing.T, line string) {
		got := StripCookies([]string{line})
		if slices.ContainsFunc(got, mentionsCookie) {
			t.Errorf("%q leaves %q", line, got)
		}
		if !mentionsCookie(line) && !slices.Equal(got, []string{line}) {
			t.Errorf("%q became %q", line, got)
		}
		r := http.Request{Header: http.Header{"Cookie": got}}
		for _, c := range r.Cookies() {
			if strings.HasPrefix(strings.ToLower(c.Name), strings.ToLower(session.CookieName)) {
				t.Errorf("%q leaves %v", line, c)
			}
		}
	})
}
