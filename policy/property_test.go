package policy_test

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sallyport/policy"
)

// someRules draws rules over three groups, two methods and four paths.
func someRules(allowOnly bool) *rapid.Generator[[]policy.Rule] {
	return rapid.Custom(func(t *rapid.T) []policy.Rule {
		return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) policy.Rule {
			m := &policy.Match{Groups: []policy.GroupRef{{ID: rapid.SampledFrom([]string{sre, admins, contractor}).Draw(t, "group")}}}
			if rapid.Bool().Draw(t, "by method") {
				m.Methods = []string{rapid.SampledFrom([]string{"GET", "POST"}).Draw(t, "method")}
			}
			if rapid.Bool().Draw(t, "by path") {
				m.Paths = []string{rapid.SampledFrom([]string{"/", "/a", "/*", "/a/**"}).Draw(t, "path")}
			}
			if !allowOnly && rapid.Bool().Draw(t, "deny") {
				return policy.Rule{Deny: m}
			}
			return policy.Rule{Allow: m}
		}), 0, 6).Draw(t, "rules")
	})
}

func someRequest(t *rapid.T) *policy.Request {
	groups := rapid.SliceOfDistinct(rapid.SampledFrom([]string{sre, admins, contractor}), rapid.ID[string]).Draw(t, "groups")
	return newRequest(rapid.SampledFrom([]string{"GET", "POST"}).Draw(t, "method"), rapid.SampledFrom([]string{"/", "/a", "/a/b", "/b"}).Draw(t, "path"), groups...)
}

func decide(t *rapid.T, rules []policy.Rule, r *policy.Request) policy.Decision {
	if len(rules) == 0 {
		return (&policy.Policy{}).Decide(r)
	}
	p, err := policy.Compile([]policy.Named{{Name: "p", Rules: rules}}, policy.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return p.Decide(r)
}

func TestDecide_DeniesWithoutAllowRule(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rules, r := someRules(false).Draw(t, "rules"), someRequest(t)
		denies := slices.DeleteFunc(slices.Clone(rules), func(r policy.Rule) bool { return r.Allow != nil })
		if decide(t, denies, r).Allow {
			t.Fatalf("allowed by %+v, none of which allows", denies)
		}
	})
}

func TestDecide_LosingGroupNeverAllows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rules, r := someRules(true).Draw(t, "rules"), someRequest(t)
		if len(r.GroupIDs) == 0 || decide(t, rules, r).Allow {
			return
		}
		fewer := *r
		fewer.GroupIDs = r.GroupIDs[1:]
		if decide(t, rules, &fewer).Allow {
			t.Fatalf("losing %s allows the request", r.GroupIDs[0])
		}
	})
}

func TestDecide_AddingDenyNeverAllows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rules, r := someRules(false).Draw(t, "rules"), someRequest(t)
		more := someRules(true).Draw(t, "more")
		for i := range more {
			more[i].Allow, more[i].Deny = nil, more[i].Allow
		}
		if decide(t, slices.Concat(rules, more), r).Allow && !decide(t, rules, r).Allow {
			t.Fatal("a deny rule allows")
		}
	})
}

func TestDecide_IgnoresRuleOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rules, r := someRules(false).Draw(t, "rules"), someRequest(t)
		back := slices.Clone(rules)
		slices.Reverse(back)
		if decide(t, rules, r).Allow != decide(t, back, r).Allow {
			t.Fatal("the order changes the decision")
		}
	})
}

func TestExplain_AgreesWithDecide(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rules, r := someRules(false).Draw(t, "rules"), someRequest(t)
		if len(rules) == 0 {
			return
		}
		p, err := policy.Compile([]policy.Named{{Name: "p", Rules: rules}}, policy.Options{})
		if err != nil {
			t.Fatal(err)
		}
		allowed, denied := false, false
		for _, s := range p.Explain(r) {
			allowed = allowed || s.Matched && s.Effect == "allow"
			denied = denied || s.Matched && s.Effect == "deny"
		}
		if p.Decide(r).Allow != (allowed && !denied) {
			t.Fatalf("the trace is %+v", p.Explain(r))
		}
	})
}

// TestApps_MatchByClientIDOnly: no other allow rule lets an application in, whatever
// roles it has.
func TestApps_MatchByClientIDOnly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rules := someRules(false).Draw(t, "rules")
		for i := range rules {
			if m := rules[i].Allow; m != nil {
				m.Anyone = false
			}
		}
		rules = append(rules, policy.Rule{Allow: &policy.Match{Roles: []string{"role"}}}, policy.Rule{Allow: &policy.Match{When: "true"}})
		p, err := policy.Compile([]policy.Named{{Name: "p", Rules: rules}}, policy.Options{})
		if err != nil {
			t.Skip(err)
		}
		r := &policy.Request{App: "robot", Roles: []string{"role"}, Method: "GET", Path: "/", Time: time.Now()}
		if d := p.Decide(r); d.Allow {
			t.Fatalf("%+v allows an application", d)
		}
	})
	rule := policy.Rule{Allow: &policy.Match{Apps: []string{"robot"}}}
	p, err := policy.Compile([]policy.Named{{Name: "p", Rules: []policy.Rule{rule}}}, policy.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for app, want := range map[string]bool{"robot": true, "Robot": false, "robot2": false, "": false} {
		if d := p.Decide(&policy.Request{App: app, UserName: "robot", Method: "GET", Path: "/"}); d.Allow != want {
			t.Errorf("%q gives %+v", app, d)
		}
	}
	for _, m := range []*policy.Match{{Apps: []string{"a"}, Users: []string{"u"}}, {Apps: []string{"a"}, Groups: []policy.GroupRef{{ID: sre}}}, {Apps: []string{""}}, {Apps: []string{"a"}, Anyone: true}} {
		if _, err := policy.Compile([]policy.Named{{Name: "p", Rules: []policy.Rule{{Allow: m}}}}, policy.Options{}); err == nil {
			t.Errorf("%+v is accepted", m)
		}
	}
}
