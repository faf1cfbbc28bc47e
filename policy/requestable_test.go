package policy_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sallyport/policy"
)

// granted is the grants and the revoked memberships of one user.
type granted struct {
	until   map[string]time.Time
	revoked string
}

func (g granted) Until(name string) time.Time { return g.until[name] }
func (g granted) Revoked(group string) bool   { return group == g.revoked }

// requestable returns a policy for SRE that everybody may ask for, with more rules.
func requestable(more ...policy.Rule) policy.Named {
	return policy.Named{Name: "sre", Rules: append([]policy.Rule{{Allow: &policy.Match{Groups: []policy.GroupRef{{ID: sre}}}}}, more...),
		Requestable: &policy.Requestable{By: policy.Requesters{Anyone: true}, Approvers: policy.Approvers{Manager: true}, Max: 4 * time.Hour}}
}

func compiled(t *testing.T, lists ...policy.Named) *policy.Policy {
	t.Helper()
	p, err := policy.Compile(lists, policy.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

var noon = time.Date(2026, 5, 3, 12, 0, 0, 0, time.UTC)

func userRequest(g policy.Grants, groups ...string) *policy.Request {
	return &policy.Request{UserID: "id-bob", UserName: "bob@example.com", GroupIDs: groups, GroupNames: make([]string, len(groups)),
		Method: "GET", Path: "/", Time: noon, Grants: g}
}

func TestDecide_AllowsByAGrantUntilItEnds(t *testing.T) {
	p := compiled(t, requestable())
	for _, c := range []struct {
		name  string
		until time.Time
		allow bool
	}{{"none", time.Time{}, false}, {"ended", noon, false}, {"open", noon.Add(time.Nanosecond), true}} {
		t.Run(c.name, func(t *testing.T) {
			d := p.Decide(userRequest(granted{until: map[string]time.Time{"sre": c.until}}))
			if d.Allow != c.allow {
				t.Fatalf("the decision is %+v", d)
			}
			if d.Allow && (d.Rule != "sre[grant]" || !d.Until.Equal(c.until)) {
				t.Errorf("the rule is %s until %s, not sre[grant] until %s", d.Rule, d.Until, c.until)
			}
		})
	}
}

func TestDecide_AllowsNothingByAGrant(t *testing.T) {
	open := granted{until: map[string]time.Time{"sre": noon.Add(time.Hour)}}
	narrow := requestable()
	narrow.Requestable.Allow = &policy.Match{Methods: []string{"HEAD"}}
	plain := requestable()
	plain.Requestable = nil
	other := requestable()
	other.Name = "other"
	for name, list := range map[string]policy.Named{
		"that_a_deny_rule_denies": requestable(policy.Rule{Deny: &policy.Match{Paths: []string{"/**"}}}),
		"that_allow_leaves_out":   narrow, "no_longer_requestable": plain, "of_another_policy": other} {
		t.Run(name, func(t *testing.T) {
			if d := compiled(t, list).Decide(userRequest(open)); d.Allow {
				t.Errorf("the decision is %+v", d)
			}
		})
	}
	t.Run("to_an_application", func(t *testing.T) {
		req := userRequest(open)
		req.UserID, req.UserName, req.App = "", "", "a1"
		if d := compiled(t, requestable()).Decide(req); d.Allow {
			t.Errorf("the decision is %+v", d)
		}
	})
}

func TestDecide_RevokedMembershipOnlyDenies(t *testing.T) {
	contractors := []policy.GroupRef{{ID: contractor}}
	p := compiled(t, policy.Named{Name: "p", Rules: []policy.Rule{
		{Allow: &policy.Match{Groups: []policy.GroupRef{{ID: sre}}, UnlessGroups: contractors}},
		{Deny: &policy.Match{Groups: contractors, Paths: []string{"/secret/**"}}},
		{Allow: &policy.Match{AllGroups: []policy.GroupRef{{ID: admins}}}}}})
	if d := p.Decide(userRequest(granted{revoked: sre}, sre)); d.Allow || d.Reason != policy.AccessRevoked || d.Rule != "p[0]" {
		t.Errorf("with the membership revoked, the decision is %+v", d)
	}
	if d := p.Decide(userRequest(granted{revoked: admins}, admins)); d.Allow || d.Reason != policy.AccessRevoked {
		t.Errorf("with the membership of all_groups revoked, the decision is %+v", d)
	}
	if d := p.Decide(userRequest(granted{revoked: contractor}, contractor, sre)); d.Allow {
		t.Errorf("a revoked membership no longer counts in unless_groups: %+v", d)
	}
	secret := userRequest(granted{revoked: contractor}, admins, contractor)
	secret.Path = "/secret/x"
	if d := p.Decide(secret); d.Reason != policy.RuleDeny {
		t.Errorf("a revoked membership no longer counts in a deny rule: %+v", d)
	}
}

// Whatever the rules are: revocations and the end of grants only take access away, and
// deny rules outweigh grants.
func TestDecide_GrantsAndRevocationsAreMonotone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		list := policy.Named{Name: "sre", Requestable: &policy.Requestable{By: policy.Requesters{Anyone: true}, Approvers: policy.Approvers{Owner: true}, Max: time.Hour}}
		var denies []policy.Rule
		for range rapid.IntRange(1, 4).Draw(t, "rules") {
			m := &policy.Match{}
			for _, set := range rapid.SliceOfN(rapid.SampledFrom(partsOf[:3]), 1, 2).Draw(t, "parts") {
				set(t, m)
			}
			if rapid.Bool().Draw(t, "deny") {
				denies = append(denies, policy.Rule{Deny: m})
				list.Rules = append(list.Rules, policy.Rule{Deny: m})
			} else if m.Groups != nil || m.AllGroups != nil {
				list.Rules = append(list.Rules, policy.Rule{Allow: m})
			}
		}
		if len(list.Rules) == 0 {
			return
		}
		p, err := policy.Compile([]policy.Named{list}, policy.Options{})
		if err != nil {
			t.Fatal(err)
		}
		groups := rapid.SampledFrom([][]string{{sre}, {admins}, {contractor}, {admins, sre}}).Draw(t, "groups")
		until := map[string]time.Time{"sre": noon.Add(time.Hour)}
		with, without := granted{until: until}, granted{until: until, revoked: rapid.SampledFrom(groups).Draw(t, "revoked")}
		decide := func(g policy.Grants) policy.Decision { return p.Decide(userRequest(g, groups...)) }
		if decide(without).Allow && !decide(with).Allow {
			t.Fatal("a revocation gives access")
		}
		ended := granted{revoked: without.revoked}
		if decide(ended).Allow && !decide(without).Allow {
			t.Fatal("the end of a grant gives access")
		}
		if decide(nil).Reason == policy.RuleDeny && decide(with).Allow {
			t.Fatal("a grant outweighs a deny rule")
		}
		if len(denies) == 0 && !decide(with).Allow {
			t.Fatal("a grant allows nothing")
		}
	})
}

func TestCheck_FaultsOfRequestable(t *testing.T) {
	for _, c := range []struct {
		name, fault string
		change      func(*policy.Requestable)
	}{
		{"nobody_may_ask", "requestable.by", func(q *policy.Requestable) { q.By = policy.Requesters{} }},
		{"anyone_and_groups", "requestable.by.groups", func(q *policy.Requestable) { q.By.Groups = []policy.GroupRef{{ID: sre}} }},
		{"bare_name", "requestable.approvers.groups[0].name", func(q *policy.Requestable) { q.Approvers.Groups = []policy.GroupRef{{Name: "SRE"}} }},
		{"nobody_may_approve", "requestable.approvers", func(q *policy.Requestable) { q.Approvers = policy.Approvers{} }},
		{"no_time", "requestable.max", func(q *policy.Requestable) { q.Max = 0 }},
		{"too_long", "requestable.max", func(q *policy.Requestable) { q.Max = 721 * time.Hour }},
		{"approvals", "requestable.approvals", func(q *policy.Requestable) { q.Approvals = -1 }},
		{"reason", "requestable.reason", func(q *policy.Requestable) { q.Reason = "maybe" }},
		{"allow_names_callers", "requestable.allow", func(q *policy.Requestable) { q.Allow = &policy.Match{Users: []string{"eve"}} }},
		{"allow_anyone", "requestable.allow", func(q *policy.Requestable) { q.Allow = &policy.Match{Anyone: true} }},
		{"allow_path", "requestable.allow.paths[0]", func(q *policy.Requestable) { q.Allow = &policy.Match{Paths: []string{"x"}} }},
	} {
		t.Run(c.name, func(t *testing.T) {
			list := requestable()
			c.change(list.Requestable)
			var faults []string
			list.Check(policy.Options{}, func(path, _ string) { faults = append(faults, path) })
			if strings.Join(faults, " ") != c.fault {
				t.Errorf("the faults are at %v, not at %s", faults, c.fault)
			}
		})
	}
}

func TestWarnOfOwners(t *testing.T) {
	list := requestable()
	list.Requestable.Approvers = policy.Approvers{Owner: true}
	for name, c := range map[string]struct {
		owners []string
		want   string
	}{"one": {[]string{"a@example.com", "A@example.com"}, ""}, "no_route": {nil, ""}, "none": {[]string{"", ""}, "no owner approves"},
		"no_address": {[]string{"the SRE team"}, "no owner approves"}, "different": {[]string{"a@example.com", "b@example.com"}, "different owners"},
		"some_without": {[]string{"a@example.com", ""}, "different owners"}} {
		var got []string
		list.WarnOfOwners(c.owners, func(path, problem string) { got = append(got, path+": "+problem) })
		if c.want == "" && len(got) > 0 || c.want != "" && (len(got) != 1 || !strings.Contains(got[0], "requestable.approvers.owner: ") || !strings.Contains(got[0], c.want)) {
			t.Errorf("%s: the warnings are %q", name, got)
		}
	}
}

// TestNamed_WarnsOfEasierGrants: a grant that lets people in without the login, from another network or at another hour than
// every rule demands is warned of.
func TestNamed_WarnsOfEasierGrants(t *testing.T) {
	sre := []policy.GroupRef{{ID: "sre"}}
	mfa := policy.Rule{Allow: &policy.Match{Groups: sre, Auth: &policy.Login{AMR: []string{"mfa"}}}}
	recent := policy.Rule{Allow: &policy.Match{Groups: sre, MaxAuthAge: time.Hour, Methods: []string{"GET"}}}
	plain := policy.Rule{Allow: &policy.Match{Groups: sre, Methods: []string{"PUT"}}}
	office := policy.Rule{Allow: &policy.Match{Groups: sre, Networks: []string{"10.0.0.0/8"}}}
	day := policy.Rule{Allow: &policy.Match{Groups: sre, Hours: &policy.Hours{From: "08:00", To: "18:00"}}}
	reported := plain
	reported.Mode = "report"
	deny := policy.Rule{Deny: &policy.Match{Methods: []string{"DELETE"}}}
	for name, c := range map[string]struct {
		rules []policy.Rule
		allow *policy.Match
		want  bool
	}{
		"networks":              {[]policy.Rule{office}, nil, true},
		"allow_has_networks":    {[]policy.Rule{office}, office.Allow, false},
		"hours":                 {[]policy.Rule{day}, &policy.Match{Networks: office.Allow.Networks}, true},
		"every_rule":            {[]policy.Rule{mfa, recent, deny, reported}, nil, true},
		"allow_demands_nothing": {[]policy.Rule{mfa}, &policy.Match{Methods: []string{"GET"}}, true},
		"allow_demands_it":      {[]policy.Rule{mfa}, &policy.Match{Auth: &policy.Login{AMR: []string{"mfa"}}}, false},
		"allow_demands_an_age":  {[]policy.Rule{recent}, &policy.Match{MaxAuthAge: time.Hour}, false},
		"one_rule_does_not":     {[]policy.Rule{mfa, plain}, nil, false},
		"no_rules":              {[]policy.Rule{deny}, nil, false},
	} {
		list := requestable(c.rules...)
		list.Rules, list.Requestable.Allow = c.rules, c.allow
		var got []string
		list.Warn(time.Now(), func(path, problem string) { got = append(got, path+": "+problem) })
		warned := slices.ContainsFunc(got, func(w string) bool {
			return strings.HasPrefix(w, "requestable.allow: ") && strings.Contains(w, "a grant lets its person in")
		})
		if warned != c.want {
			t.Errorf("%s: the warnings are %q", name, got)
		}
		list.Requestable = nil
		list.Warn(time.Now(), func(path, problem string) {
			if strings.HasPrefix(path, "requestable") {
				t.Errorf("%s: without requestable, %s: %s", name, path, problem)
			}
		})
	}
}
