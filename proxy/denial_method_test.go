package proxy_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"sallyport/policy"
)

// TestDenial_OfMethod checks that a caller whom the rules deny a method learns which ones they may use, and that nobody
// else does.
func TestDenial_OfMethod(t *testing.T) {
	h := newEnv(t)
	sre := []policy.GroupRef{{ID: "g-sre", Name: "SRE"}}
	load := func(t *testing.T, rules ...policy.Rule) {
		t.Helper()
		s := h.settings
		s.Policies = append(slices.Clone(s.Policies), policy.Named{Name: "test", Rules: rules})
		s.Routes = slices.Clone(s.Routes)
		s.Routes[0].Policy = []string{"test"}
		if err := h.proxy.Load(s); err != nil {
			t.Fatal(err)
		}
	}
	alice, bob := h.browser(h.alice), h.browser(h.bob)
	readers := policy.Rule{Allow: &policy.Match{Groups: sre, Methods: []string{"GET", "HEAD"}}}
	load(t, readers)
	alice.open("https://app.example.com/")
	bob.open("https://app.example.com/")
	detail := func(t *testing.T, g *browser, method, path string) string {
		t.Helper()
		p := g.ask(method, "https://app.example.com"+path, nil, "Accept", "application/json")
		var got struct{ Detail, Reason string }
		if err := json.Unmarshal([]byte(p.body), &got); err != nil || p.StatusCode != 403 || got.Reason != "no_rule" && got.Reason != "rule_deny" {
			t.Errorf("%s: %d %s, %v", method, p.StatusCode, p.body, err)
		}
		return got.Detail
	}

	t.Run("only_reads", func(t *testing.T) {
		want := "You may read (GET, HEAD) this page; what you asked for was DELETE."
		if got := detail(t, alice, "DELETE", "/x"); got != want {
			t.Error(got)
		}
		p := alice.ask("DELETE", "https://app.example.com/x", nil, "Accept", navigate)
		if p.StatusCode != 403 || !strings.Contains(p.body, want) || !strings.Contains(p.body, "You may not change this") || strings.Contains(p.body, "group") {
			t.Errorf("%d %s", p.StatusCode, p.body)
		}
	})
	t.Run("stranger_learns_nothing", func(t *testing.T) {
		if got := detail(t, bob, "DELETE", "/x"); strings.Contains(got, "GET") || strings.Contains(got, "DELETE") || got != detail(t, bob, "GET", "/x") {
			t.Error(got)
		}
	})
	t.Run("nobody_learns_nothing", func(t *testing.T) {
		p := h.browser(h.alice).ask("DELETE", "https://app.example.com/x", nil)
		if p.StatusCode != 401 || strings.Contains(p.body, "HEAD") {
			t.Errorf("%d %s", p.StatusCode, p.body)
		}
	})
	t.Run("deny_rule", func(t *testing.T) {
		load(t, policy.Rule{Allow: &policy.Match{Groups: sre}}, policy.Rule{Deny: &policy.Match{Methods: []string{"DELETE"}}})
		if got := detail(t, alice, "DELETE", "/x"); got != "You may use the methods GET, HEAD, POST, PUT, PATCH, OPTIONS here; what you asked for was DELETE." {
			t.Error(got)
		}
	})
	t.Run("other_parts_fail_as_well", func(t *testing.T) {
		load(t, policy.Rule{Allow: &policy.Match{Groups: sre, Methods: []string{"GET"}, Paths: []string{"/a/**"}}})
		if got := detail(t, alice, "DELETE", "/b"); strings.Contains(got, "GET") {
			t.Error(got)
		}
		if got := detail(t, alice, "DELETE", "/a/b"); !strings.Contains(got, "(GET)") {
			t.Error(got)
		}
	})
	t.Run("every_reading_counts", func(t *testing.T) {
		load(t, policy.Rule{Allow: &policy.Match{Groups: sre, Methods: []string{"GET", "PUT"}}}, policy.Rule{Deny: &policy.Match{Methods: []string{"PUT"}, Paths: []string{"/a/**"}}})
		if got := detail(t, alice, "DELETE", "/b"); !strings.Contains(got, "GET, PUT") {
			t.Error(got)
		}
		s := h.settings
		s.Policies = append(slices.Clone(s.Policies), policy.Named{Name: "test", Rules: []policy.Rule{
			{Allow: &policy.Match{Groups: sre, Methods: []string{"GET", "PUT"}}}, {Deny: &policy.Match{Methods: []string{"PUT"}, Paths: []string{"/a/**"}}}}})
		s.Routes = slices.Clone(s.Routes)
		s.Routes[0].Policy, s.Routes[0].PathEncoding = []string{"test"}, "lenient"
		if err := h.proxy.Load(s); err != nil {
			t.Fatal(err)
		}
		if got := detail(t, alice, "DELETE", "/a%2Fb"); got != "You may read (GET) this page; what you asked for was DELETE." {
			t.Error(got)
		}
	})
}
