package policy_test

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"sallyport/policy"
)

// text writes what Reach returns, such as "p[0] methods GET; except p[1] paths /x".
func text(allowed, denied []policy.Way) string {
	write := func(ways []policy.Way) string {
		var list []string
		for _, w := range ways {
			t := w.Rule
			for _, c := range w.If {
				t += " " + c.Part + " " + c.Text
			}
			list = append(list, t)
		}
		return strings.Join(list, ", ")
	}
	if len(denied) == 0 {
		return write(allowed)
	}
	return write(allowed) + "; except " + write(denied)
}

func TestPolicy_Reach(t *testing.T) {
	inSRE := `groups: [{id: ` + sre + `, name: SRE}]`
	all := policy.Known{Method: true, Path: true, Address: true, Time: true}
	for _, c := range []struct {
		name, rules string
		known       policy.Known
		want        string
	}{
		{"group", `[{allow: {` + inSRE + `}}]`, policy.Known{}, "p[0]"},
		{"another_group", `[{allow: {groups: [{id: ` + admins + `}]}}]`, policy.Known{}, ""},
		{"unknown_facts", `[{allow: {` + inSRE + `, methods: [GET], paths: [/a/*], networks: [10.0.0.0/8], hours: {days: [mon-fri], from: '08:00', zone: UTC}}}]`, policy.Known{},
			"p[0] methods GET paths /a/* networks 10.0.0.0/8 hours mon-fri 08:00-24:00 UTC"},
		{"known_method", `[{allow: {` + inSRE + `, methods: [GET], paths: [/a/*]}}]`, policy.Known{Method: true}, "p[0] paths /a/*"},
		{"known_method_misses", `[{allow: {` + inSRE + `, methods: [PUT]}}]`, policy.Known{Method: true}, ""},
		{"condition_on_user", `[{allow: {when: 'user.userName == "alice@example.com"'}}]`, policy.Known{}, "p[0]"},
		{"condition_on_user_is_false", `[{allow: {when: 'user.userName == "bob@example.com"'}}]`, policy.Known{}, ""},
		{"condition_on_request", `[{allow: {when: 'request . path == "/x"'}}]`, policy.Known{Method: true}, `p[0] when request . path == "/x"`},
		{"condition_on_known_request", `[{allow: {when: 'request.path == "/a"'}}]`, policy.Known{Path: true}, "p[0]"},
		{"login_age_is_unknown", `[{allow: {` + inSRE + `, max_auth_age: 1h}}]`, all, "p[0] max_auth_age 1h0m0s"},
		{"denied_wholly", `[{allow: {` + inSRE + `}}, {deny: {users: [alice@example.com]}}]`, policy.Known{}, "; except p[1]"},
		{"denied_in_part", `[{allow: {` + inSRE + `}}, {deny: {methods: [DELETE], unless_groups: [{id: ` + admins + `}]}}]`, policy.Known{}, "p[0]; except p[1] methods DELETE"},
		{"deny_for_others", `[{allow: {` + inSRE + `}}, {deny: {users: [bob@example.com]}}]`, policy.Known{}, "p[0]"},
		{"report_mode", `[{allow: {` + inSRE + `}, mode: report}]`, policy.Known{}, ""},
		{"rule_ended", `[{allow: {` + inSRE + `}, until: 2026-11-01}]`, policy.Known{}, ""},
		{"only_denied", `[{deny: {methods: [GET]}}]`, policy.Known{}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, req := compile(t, c.rules), newRequest("GET", "/a", sre)
			allowed, denied := p.Reach(req, c.known)
			if got := text(allowed, denied); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
			if p.Reaches(req, c.known) != (len(allowed) > 0) {
				t.Error("Reaches differs from Reach")
			}
		})
	}
}

func TestPolicy_ReachOfApplication(t *testing.T) {
	p := compile(t, `[{allow: {apps: [robot], roles: [writer], methods: [POST]}}, {allow: {roles: [writer]}}]`)
	if got := p.Apps(); len(got) != 1 || got[0] != "robot" {
		t.Errorf("the rules name %q", got)
	}
	allowed, denied := p.Reach(&policy.Request{App: "robot"}, policy.Known{})
	if got, want := text(allowed, denied), "p[0] methods POST roles writer"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if allowed, _ := p.Reach(&policy.Request{App: "another"}, policy.Known{}); allowed != nil {
		t.Errorf("another application is let in by %v", allowed)
	}
}

// TestReach_AgreesWithDecide: where every fact is known, whoever is reached is let in;
// and a request that is let in is reached whatever is known.
func TestReach_AgreesWithDecide(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rules, req := someRules(false).Draw(t, "rules"), someRequest(t)
		if len(rules) == 0 {
			return
		}
		p, err := policy.Compile([]policy.Named{{Name: "p", Rules: rules}}, policy.Options{})
		if err != nil {
			t.Fatal(err)
		}
		allow := p.Decide(req).Allow
		if p.Reaches(req, policy.Known{Method: true, Path: true, Address: true, Time: true}) != allow {
			t.Fatalf("decided %t", allow)
		}
		known := policy.Known{Method: rapid.Bool().Draw(t, "method known"), Path: rapid.Bool().Draw(t, "path known")}
		if allowed, denied := p.Reach(req, known); allow && len(allowed) == 0 {
			t.Fatalf("allowed, but not reached: %v, %v", allowed, denied)
		}
	})
}

func TestExplain_ShowsEveryPart(t *testing.T) {
	p := compile(t, `[{allow: {groups: [{id: `+sre+`, name: SRE}, {id: `+admins+`}], methods: [PUT]}, mode: report, until: 2026-11-30}, {deny: {when: 'false'}}]`)
	var got []string
	for _, s := range p.Explain(newRequest("GET", "/", sre)) {
		got = append(got, fmt.Sprint(s.Rule, " ", s.Effect, " ", s.Mode, " ", s.Matched, " ", s.Missed))
		for _, part := range s.Parts {
			got = append(got, fmt.Sprint(part.Matched, " ", part.Part, ": ", part.Text))
		}
	}
	want := []string{"p[0] allow report false methods", "true until: 2026-12-01T00:00:00Z", "true anyone: callers who are signed in", "true apps: users",
		"false methods: PUT", "true groups: SRE, " + admins, "p[1] deny  false when", "false when: false"}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
