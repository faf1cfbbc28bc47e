package policy_test

import (
	"slices"
	"testing"

	"sallyport/policy"
)

func TestPathLiterals(t *testing.T) {
	for when, want := range map[string][]string{
		`request.path.startsWith("/Admin")`:                                                 {"/Admin"},
		`!(request.path == "/A" || user.roles.exists(r, r == "B")) && request.host == "C"`:  {"/A"},
		`"X" in user.roles ? request.path.matches("^/[A-Z]") : request.path in ["/D", "e"]`: {"^/[A-Z]", "/D", "e"},
		`["/F", "/g"].exists(p, request.path.startsWith(p))`:                                {"/F", "/g"},
		`[request.path].exists(p, p.endsWith("H"))`:                                         {"H"},
		`request . path == "/I" + "J"`:                                                      {"/I", "J"},
		`user.userName == "K"`:                                                              nil,
		`request.paht == "/L"`:                                                              nil,
	} {
		var got []string
		for _, r := range []policy.Rule{{Allow: &policy.Match{When: when}}, {Deny: &policy.Match{When: when}}} {
			got = nil
			policy.Named{Rules: []policy.Rule{{}, r}}.PathLiterals(func(path, text string) {
				if path != "rules[1].allow.when" && path != "rules[1].deny.when" {
					t.Errorf("%s is at %s", text, path)
				}
				got = append(got, text)
			})
			if !slices.Equal(got, want) {
				t.Errorf("%s has %q, want %q", when, got, want)
			}
		}
	}
}
