package header

import (
	"net/http"
	"strings"
	"testing"
)

// TestBearerToken checks that a malformed bearer credential is an error, and never counts as another scheme, whose
// requests may go on with a session.
func TestBearerToken(t *testing.T) {
	for _, c := range []struct {
		name  string
		lines []string
		token string
		ok    bool
		fails bool
	}{
		{"none", nil, "", false, false},
		{"empty", []string{""}, "", false, false},
		{"token", []string{"Bearer a-._~+/b=="}, "a-._~+/b==", true, false},
		{"scheme_in_any_case", []string{"bEARER t"}, "t", true, false},
		{"spaces", []string{"Bearer   t  "}, "t", true, false},
		{"other_scheme", []string{"Basic YTpi"}, "", false, false},
		{"other_scheme_and_parameters", []string{`Digest username="a", uri="/"`}, "", false, false},
		{"longer_scheme", []string{"BearerX t"}, "", false, false},
		{"scheme_alone", []string{"Bearer"}, "", true, true},
		{"scheme_and_space", []string{"Bearer "}, "", true, true},
		{"tab", []string{"Bearer\tt"}, "", true, true},
		{"space_and_tab", []string{"Bearer \tt"}, "", true, true},
		{"tab_and_space", []string{"Bearer\t t"}, "", true, true},
		{"tab_behind", []string{"Bearer t\t"}, "", true, true},
		{"vertical_tab", []string{"Bearer\vt"}, "", true, true},
		{"no_break_space", []string{"Bearer\u00a0t"}, "", true, true},
		{"ideographic_space", []string{"Bearer\u3000t"}, "", true, true},
		{"colon", []string{"Bearer: t"}, "", true, true},
		{"equals", []string{"Bearer=t"}, "", true, true},
		{"quoted", []string{`Bearer "t"`}, "", true, true},
		{"quoted_scheme", []string{`"Bearer" t`}, "", true, true},
		{"space_before", []string{" Bearer t"}, "", true, true},
		{"tab_before", []string{"\tBearer t"}, "", true, true},
		{"no_break_space_before", []string{"\u00a0Bearer t"}, "", true, true},
		{"two_tokens", []string{"Bearer t u"}, "", true, true},
		{"list", []string{"Bearer t, Basic YTpi"}, "", true, true},
		{"only_equals", []string{"Bearer =="}, "", true, true},
		{"equals_inside", []string{"Bearer a=b"}, "", true, true},
		{"two_lines", []string{"Bearer t", "Bearer t"}, "", true, true},
		{"two_schemes", []string{"Basic YTpi", "Bearer t"}, "", true, true},
		{"too_long", []string{"Bearer " + strings.Repeat("t", MaxTokenBytes+1)}, "", true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			token, ok, err := BearerToken(http.Header{"Authorization": c.lines})
			if token != c.token || ok != c.ok || (err != nil) != c.fails {
				t.Errorf("%q, %t, %v", token, ok, err)
			}
		})
	}
}
