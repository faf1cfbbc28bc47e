package policy_test

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sallyport/policy"
)

// grouped returns a policy with a rule for each of n groups.
func grouped(t testing.TB, n int) *policy.Policy {
	t.Helper()
	var rules strings.Builder
	for i := range n {
		fmt.Fprintf(&rules, "- {allow: {groups: [{id: group-%05d}]}}\n", i)
	}
	return compile(t, rules.String())
}

// member returns the record of a user in groups.
func member(id string, groups ...string) *record {
	slices.Sort(groups)
	r := &record{document: map[string]any{"title": "x"}}
	r.req = policy.Request{UserID: id, UserName: id + "@example.com", ExternalID: "x-" + id, GroupIDs: groups, GroupNames: groups, Attributes: r}
	return r
}

func (r *record) get(path string) *policy.Request {
	req := r.req
	req.Method, req.Path, req.Time = "GET", path, time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	return &req
}

// TestMemory_FollowsTheRecord: a caller of whom one thing alone is different is another caller, of whom nothing is known.
func TestMemory_FollowsTheRecord(t *testing.T) {
	rules := []policy.Rule{
		allowed(policy.Match{Groups: []policy.GroupRef{{ID: "a"}, {Name: "A"}}}), allowed(policy.Match{AllGroups: []policy.GroupRef{{ID: "b"}, {ID: "c"}}}),
		allowed(policy.Match{Users: []string{"ada@example.com", "x-eve"}}), allowed(policy.Match{Roles: []string{"r"}}), allowed(policy.Match{Apps: []string{"robot"}}),
		allowed(policy.Match{Attributes: map[string][]string{"title": {"boss"}}}), allowed(policy.Match{When: `user.attributes.title == "chief" || user.id == "2"`}),
		{Deny: &policy.Match{Groups: []policy.GroupRef{{ID: "d"}}, UnlessGroups: []policy.GroupRef{{ID: "e"}}}},
	}
	lists := []policy.Named{{Name: "p", Rules: rules}}
	for name, change := range map[string]func(*record){
		"joined_group":       func(r *record) { r.req.GroupIDs = []string{"a", "none"} },
		"group_renamed":      func(r *record) { r.req.GroupNames = []string{"A", "none"} },
		"joined_both":        func(r *record) { r.req.GroupIDs = []string{"b", "c"} },
		"userName_changed":   func(r *record) { r.req.UserName = "ada@example.com" },
		"externalId_changed": func(r *record) { r.req.ExternalID = "x-eve" },
		"got_role":           func(r *record) { r.req.Roles = []string{"r"} },
		"attribute_changed":  func(r *record) { r.document = map[string]any{"title": "boss"} },
		"condition_holds":    func(r *record) { r.document = map[string]any{"title": "chief"} },
		"other_id":           func(r *record) { r.req.UserID = "2" },
		"application":        func(r *record) { r.req.App = "robot" },
		"method":             func(r *record) { r.req.Roles, r.req.Method = []string{"r"}, "BREW" },
	} {
		t.Run(name, func(t *testing.T) {
			p, err := policy.Compile(lists, policy.Options{TrustGroupNames: true})
			if err != nil {
				t.Fatal(err)
			}
			policy.Remember(p, policy.OneCaller)
			naive := policy.NewNaive(lists)
			before := member("other", "none", "nothing")
			after := *before
			if change(&after); !reflect.DeepEqual(after.document, before.document) {
				after.req.Attributes = &after
			}
			for range 3 { // there and back again
				for _, r := range []*record{before, &after} {
					req := r.get("/")
					if r.req.Method != "" {
						req.Method = r.req.Method
					}
					if got, want := p.Decide(req), naive.Decide(req); !reflect.DeepEqual(got, want) {
						t.Fatalf("%+v, want %+v", got, want)
					}
				}
			}
			if name != "method" && naive.Decide(before.get("/")).Allow == naive.Decide(after.get("/")).Allow {
				t.Error("the change makes no difference")
			}
		})
	}
	t.Run("anonymous", func(t *testing.T) {
		p := compile(t, `[{allow: {users: [ada@example.com]}}]`)
		policy.Remember(p, policy.OneCaller)
		for i := range 6 {
			req := member("ada").get("/")
			req.Anonymous, req.Attributes = i%2 == 0, nil
			if d := p.Decide(req); d.Allow == req.Anonymous {
				t.Errorf("%+v", d)
			}
		}
	})
}

// TestMemory_LosesGroupWithTheRecord: who leaves a group is denied by their next request.
func TestMemory_LosesGroupWithTheRecord(t *testing.T) {
	p := grouped(t, 100)
	for range 10 {
		if d := p.Decide(member("ada", "group-00042", "group-00099").get("/")); !d.Allow || d.Rule != "p[42]" {
			t.Fatalf("in the group: %+v", d)
		}
		if d := p.Decide(member("ada", "group-00099").get("/")); !d.Allow || d.Rule != "p[99]" {
			t.Fatalf("in one group less: %+v", d)
		}
		if d := p.Decide(member("ada").get("/")); d.Allow {
			t.Fatalf("in no group: %+v", d)
		}
	}
}

// TestMemory_FollowsGrants: what users hold is not part of their record, and is asked each time.
func TestMemory_FollowsGrants(t *testing.T) {
	list := policy.Named{Name: "p", Rules: []policy.Rule{allowed(policy.Match{Groups: []policy.GroupRef{{ID: "a"}}}), {Deny: &policy.Match{Groups: []policy.GroupRef{{ID: "b"}}}},
		allowed(policy.Match{AllGroups: []policy.GroupRef{{ID: "c"}}})},
		Requestable: &policy.Requestable{By: policy.Requesters{Anyone: true}, Approvers: policy.Approvers{Manager: true}, Max: time.Hour, Allow: &policy.Match{Paths: []string{"/x"}}}}
	after := policy.Named{Name: "q", Rules: []policy.Rule{allowed(policy.Match{Users: []string{"x-leo"}})}} // behind the rule for grants
	p, err := policy.Compile([]policy.Named{list, after}, policy.Options{})
	if err != nil {
		t.Fatal(err)
	}
	policy.Remember(p, 1<<20)
	inGroup, other, both, inAll := member("ada", "a"), member("bob"), member("eve", "a", "b"), member("kim", "c")
	now := inGroup.get("/").Time
	for _, c := range []struct {
		name string
		of   *record
		held policy.Grants
		want policy.Reason
	}{
		{"member", inGroup, nil, policy.RuleAllow},
		{"membership revoked", inGroup, &held{revoked: []string{"a"}}, policy.AccessRevoked},
		{"member again", inGroup, nil, policy.RuleAllow},
		{"another membership revoked", inGroup, &held{revoked: []string{"b"}}, policy.RuleAllow},
		{"membership revoked again", inGroup, &held{revoked: []string{"a"}}, policy.AccessRevoked},
		{"no grant", other, nil, policy.NoRule},
		{"grant", other, &held{until: map[string]time.Time{"p": now.Add(1)}}, policy.RuleAllow},
		{"grant is over", other, &held{until: map[string]time.Time{"p": now}}, policy.NoRule},
		{"no grant any more", other, nil, policy.NoRule},
		{"membership of all revoked", inAll, &held{revoked: []string{"c"}}, policy.AccessRevoked},
		{"another one revoked", inAll, &held{revoked: []string{"d"}}, policy.RuleAllow},
		{"by a rule behind that for grants", member("leo"), nil, policy.RuleAllow},
		{"denied", both, nil, policy.RuleDeny},
		{"a revocation opens nothing", both, &held{revoked: []string{"b"}}, policy.RuleDeny},
	} {
		req := c.of.get("/x")
		req.Grants = c.held
		if d := p.Decide(req); d.Reason != c.want {
			t.Errorf("%s: %+v, want %s", c.name, d, c.want)
		}
	}
}

// TestMemory_FollowsOrganization: who manages whom changes by the records of others, and is asked each time.
func TestMemory_FollowsOrganization(t *testing.T) {
	p := compile(t, `[{allow: {reports_to: [boss]}}, {allow: {manager_of: [intern]}}]`)
	policy.Remember(p, 1<<20)
	r := member("ada")
	for i := range 6 {
		req := r.get("/")
		req.Organization = managers{"ada": []string{"nobody", "boss"}[i%2]}
		if d := p.Decide(req); d.Allow != (i%2 == 1) {
			t.Errorf("ask %d: %+v", i, d)
		}
	}
}

// managers says by their names who manages whom.
type managers map[string]string

func (m managers) Manager(id string) (userName, externalID string, ok bool) {
	return m[id], "", m[id] != ""
}

func (m managers) Manages(id, name string) bool { return m[name] == id }

// TestMemory_FollowsToken: each token says which roles the application has.
func TestMemory_FollowsToken(t *testing.T) {
	p := compile(t, `[{allow: {apps: [a], roles: [r]}}, {deny: {roles: [bad]}}, {allow: {apps: [b], when: '"r" in user.roles'}}]`)
	policy.Remember(p, policy.OneCaller)
	roles := []string{"r"}
	for _, c := range []struct {
		app   string
		roles []string
		want  bool
	}{{"a", nil, false}, {"a", roles, true}, {"a", []string{"r", "bad"}, false}, {"a", roles[:0], false}, {"b", nil, false}, {"b", roles, true}, {"c", roles, false}, {"a", roles, true}} {
		if d := p.Decide(&policy.Request{App: c.app, Roles: c.roles, Method: "GET", Path: "/"}); d.Allow != c.want {
			t.Errorf("%s with %q: %+v", c.app, c.roles, d)
		}
	}
}

// TestMemory_FollowsDocuments: of documents that cannot be told apart, nothing is remembered.
func TestMemory_FollowsDocuments(t *testing.T) {
	p := compile(t, `[{allow: {attributes: {title: [boss]}}}, {allow: {when: 'user.attributes.title == "chief"'}}]`)
	policy.Remember(p, 1<<20)
	r := member("ada")
	for title, want := range map[string]bool{"x": false, "boss": true, "chief": true, "y": false} {
		req := r.get("/")
		req.Attributes = document{"title": title}
		if d := p.Decide(req); d.Allow != want {
			t.Errorf("%s: %+v", title, d)
		}
	}
}

// TestMemory_IsBounded: callers who come once leave no more than the bound behind, and those of now are remembered.
func TestMemory_IsBounded(t *testing.T) {
	p := grouped(t, 1000)
	const limit = 64 << 10
	policy.Remember(p, limit)
	for i := range 5000 {
		if d := p.Decide(member(fmt.Sprint("user", i), "group-00007").get("/")); d.Rule != "p[7]" {
			t.Fatalf("%+v", d)
		}
	}
	if n, size := policy.Remembered(p); size > limit || size < limit/2 || n < 50 {
		t.Errorf("%d callers in %d bytes", n, size)
	}
	for i := range 5000 {
		for _, method := range []string{"GET", fmt.Sprint("M", i)} { // methods that no rule names are one
			req := member("ada", "group-00007").get("/")
			req.Method = method
			p.Decide(req)
		}
	}
	if _, size := policy.Remembered(p); size > limit {
		t.Errorf("%d bytes", size)
	}
}

// TestMemory_IsShared: many decide at once, while records change.
func TestMemory_IsShared(t *testing.T) {
	p := grouped(t, 500)
	policy.Remember(p, 20<<10)
	var all sync.WaitGroup
	for worker := range 4 {
		all.Go(func() {
			for i := range 2000 {
				n := (i*7 + worker) % 500
				r := member(fmt.Sprint("user", i%20), fmt.Sprintf("group-%05d", n))
				for range 2 {
					if d := p.Decide(r.get("/")); d.Rule != fmt.Sprintf("p[%d]", n) {
						t.Errorf("in group %d: %+v", n, d)
						return
					}
				}
			}
		})
	}
	all.Wait()
}

// TestMemory_IsOfOnePolicy: another policy, as after a reload, decides by its own rules about the same record.
func TestMemory_IsOfOnePolicy(t *testing.T) {
	r := member("ada", "group-00003")
	for range 3 {
		allow := grouped(t, 20)
		deny := compile(t, `[{allow: {groups: [{id: group-00004}]}}]`)
		policy.Remember(deny, 1<<20)
		if a, b := allow.Decide(r.get("/")), deny.Decide(r.get("/")); !a.Allow || b.Allow {
			t.Fatalf("%+v, %+v", a, b)
		}
	}
}

// TestMemory_ChangesNoRequest: Decide leaves the request as it is.
func TestMemory_ChangesNoRequest(t *testing.T) {
	p, req := grouped(t, 100), member("ada", "group-00003").get("/")
	before := *req
	if p.Decide(req); !reflect.DeepEqual(&before, req) {
		t.Errorf("%+v", req)
	}
}

// TestAllowedMethods_RememberNothing: a list of what is allowed is for one page, and pushes no callers out.
func TestAllowedMethods_RememberNothing(t *testing.T) {
	p := grouped(t, 100)
	if got := p.AllowedMethods(member("ada", "group-00003").get("/")); len(got) != 7 {
		t.Errorf("%q", got)
	}
	if n, _ := policy.Remembered(p); n != 0 {
		t.Errorf("%d callers are remembered", n)
	}
}

// TestMemory_KeepsRulesAfterADemand: a rule that demands a login does not always match.
func TestMemory_KeepsRulesAfterADemand(t *testing.T) {
	p := compile(t, `[{allow: {groups: [{id: a}], auth: {amr: [mfa]}}}, {allow: {groups: [{id: a}]}}, {allow: {groups: [{id: a}], paths: [/x]}}]`)
	policy.Remember(p, 1<<20)
	r := member("ada", "a")
	for range 2 {
		if d := p.Decide(r.get("/x")); !d.Allow || d.Rule != "p[1]" {
			t.Errorf("%+v", d)
		}
	}
}

// TestDecide_NamesTheFirstOfEqualDemands: whichever way leads to the rules.
func TestDecide_NamesTheFirstOfEqualDemands(t *testing.T) {
	rule := func(more string) string { return `{allow: {roles: [auditor], auth: {amr: [mfa]}` + more + `}}` }
	for rules, want := range map[string]string{
		`[` + rule(`, paths: [/a/b]`) + `, ` + rule(``) + `]`:                               "p[0]",
		`[` + rule(``) + `, ` + rule(`, paths: [/a/b]`) + `]`:                               "p[0]",
		`[` + rule(`, paths: [/a/b]`) + `, ` + rule(`, paths: [/a/**]`) + `]`:               "p[0]",
		`[` + rule(`, paths: [/a/b], max_auth_age: 1h`) + `, ` + rule(``) + `]`:             "p[1]",
		`[` + rule(`, paths: [/a/*]`) + `, ` + rule(`, paths: [/a/b, /a/**]`) + `]`:         "p[0]",
		`[` + rule(`, paths: [/z]`) + `, ` + rule(``) + `, ` + rule(`, paths: [/**]`) + `]`: "p[1]",
	} {
		req := newRequest("GET", "/a/b", sre)
		if d := compile(t, rules).Decide(req); d.Reason != policy.LoginTooWeak || d.Rule != want {
			t.Errorf("%s: %+v, want %s", rules, d, want)
		}
	}
}

// TestDecide_UntilAtAnyTime: when a rule that denies begins or ends is known for the time of each request, whenever the one
// before it was.
func TestDecide_UntilAtAnyTime(t *testing.T) {
	lists := []policy.Named{{Name: "p", Rules: []policy.Rule{allowed(policy.Match{Anyone: true}),
		{Deny: &policy.Match{Hours: &policy.Hours{From: "20:00", To: "21:00"}, Paths: []string{"/x"}}}, {Deny: &policy.Match{Paths: []string{"/x"}}, Until: "2026-11-25"},
		{Deny: &policy.Match{Hours: &policy.Hours{From: "03:00", To: "22:00", Zone: "Asia/Tokyo"}, Paths: []string{"/x"}}, Mode: "report"}}}}
	p, err := policy.Compile(lists, policy.Options{})
	if err != nil {
		t.Fatal(err)
	}
	naive := policy.NewNaive(lists)
	begin := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	for i := range 200 {
		req := &policy.Request{Anonymous: true, Method: "GET", Path: "/", Time: begin.Add(time.Duration(i*37%96) * time.Hour)}
		if got, want := p.Decide(req), naive.Decide(req); !reflect.DeepEqual(got, want) {
			t.Fatalf("at %s: %+v, want %+v", req.Time, got, want)
		}
	}
}

// TestMemory_KeepsWhoComesAgain: far fewer callers than there is room for do not push each other out, whatever their ids.
func TestMemory_KeepsWhoComesAgain(t *testing.T) {
	p := grouped(t, 10)
	var requests []*policy.Request
	for i := range 100 {
		for _, method := range []string{"GET", "POST"} {
			req := member(fmt.Sprint("user", i), "group-00003").get("/")
			req.Method = method
			requests = append(requests, req)
		}
	}
	round := func() {
		for _, req := range requests {
			p.Decide(req)
		}
	}
	round()
	if n, _ := policy.Remembered(p); n < len(requests)*95/100 {
		t.Errorf("%d of %d are remembered", n, len(requests))
	}
}

// TestMemory_FollowsCircumstances: address, time, login, method, host and path are of the request, and are read each time.
func TestMemory_FollowsCircumstances(t *testing.T) {
	r := member("ada", "a")
	for name, c := range map[string]struct {
		rule   string
		change func(*policy.Request)
	}{
		"address":   {`networks: [10.0.0.0/8]`, func(r *policy.Request) { r.Address = netip.MustParseAddr("10.1.2.3") }},
		"time":      {`hours: {from: '20:00'}`, func(r *policy.Request) { r.Time = r.Time.Add(9 * time.Hour) }},
		"login":     {`max_auth_age: 1h`, func(r *policy.Request) { r.Authenticated = r.Time.Add(-time.Minute) }},
		"strength":  {`auth: {amr: [mfa]}`, func(r *policy.Request) { r.Strength.AMR = []string{"mfa"} }},
		"method":    {`methods: [PUT]`, func(r *policy.Request) { r.Method = "PUT" }},
		"path":      {`paths: [/x]`, func(r *policy.Request) { r.Path = "/x" }},
		"condition": {`when: 'request.host == "x"'`, func(r *policy.Request) { r.Host = "x" }},
	} {
		t.Run(name, func(t *testing.T) {
			p := compile(t, `[{allow: {groups: [{id: a}], `+c.rule+`}}]`)
			policy.Remember(p, 1<<20)
			for i := range 6 {
				req := r.get("/")
				if i%2 == 1 {
					c.change(req)
				}
				if d := p.Decide(req); d.Allow != (i%2 == 1) {
					t.Errorf("request %d: %+v", i, d)
				}
			}
		})
	}
}

// TestDecide_ConditionsReadTheSamePath: a deny rule whose condition is asked about the path with a slash, too, leaves the path
// as it is for the conditions after it.
func TestDecide_ConditionsReadTheSamePath(t *testing.T) {
	p := compile(t, `[{deny: {when: 'request.path == "/b/"'}}, {allow: {when: 'request.path == "/a"'}}, {deny: {when: 'request.path.startsWith("/c/")'}}, {allow: {when: 'request.path == "/a/"'}}]`)
	for path, want := range map[string]string{"/a": "p[1]", "/a/": "p[3]", "/b": "p[0]", "/b/": "p[0]", "/c": "p[2]", "/d": ""} {
		if d := p.Decide(newRequest("GET", path)); d.Rule != want {
			t.Errorf("%s: %+v, want %q", path, d, want)
		}
	}
}

// TestMemory_FollowsConditionsWithMacros: a variable of a macro may be called request or user. What the condition then asks for
// behind a dot is what it asks for without one: nothing of a request, or of a token, is remembered of a caller.
func TestMemory_FollowsConditionsWithMacros(t *testing.T) {
	at := func(hour int) time.Time { return time.Date(2026, 11, 23, hour, 0, 0, 0, time.UTC) }
	user := policy.Request{UserID: "ada", Method: "GET", Path: "/a", Time: at(12)}
	app := policy.Request{App: "robot", Method: "GET", Path: "/a", Roles: []string{"r"}}
	for _, c := range []struct {
		when   string
		req    policy.Request
		apps   []string
		change func(*policy.Request)
	}{
		{`["/a"].exists(request, .request.path == request)`, user, nil, func(r *policy.Request) { r.Path = "/b" }},
		{`["GET"].exists(request, .request.method == request)`, user, nil, func(r *policy.Request) { r.Method = "PUT" }},
		{`["a"].exists(request, .request.host != request)`, user, nil, func(r *policy.Request) { r.Host = "a" }},
		{`[13].exists(request, .request.time.getHours() < request)`, user, nil, func(r *policy.Request) { r.Time = at(20) }},
		{`["r"].exists(user, user in .user.roles)`, app, []string{"robot"}, func(r *policy.Request) { r.Roles = []string{"other"} }},
	} {
		rules := slices.Repeat([]policy.Rule{allowed(policy.Match{When: c.when, Apps: c.apps})}, 10) // so many that callers are remembered
		p, err := policy.Compile([]policy.Named{{Name: "p", Rules: rules}}, policy.Options{})
		if err != nil {
			t.Fatal(err)
		}
		before, after := c.req, c.req
		c.change(&after)
		if !p.Decide(&before).Allow {
			t.Errorf("%s denies", c.when)
		}
		if p.Decide(&after).Allow {
			t.Errorf("%s allows a request for which it does not hold, because it held before", c.when)
		}
	}
}
