package policy_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sallyport/policy"
)

// chart is an organization in which ada manages everybody else.
type chart struct{}

func (chart) Manager(id string) (userName, externalID string, ok bool) {
	return "ada@example.com", "x-ada", id != "id-ada"
}

func (chart) Manages(id, name string) bool { return id == "id-ada" && name != "ada@example.com" }

// oneOrTwo draws some of values.
func oneOrTwo(t *rapid.T, label string, values ...string) []string {
	return rapid.SliceOfNDistinct(rapid.SampledFrom(values), 1, 2, rapid.ID[string]).Draw(t, label)
}

func someGroups(t *rapid.T, label string) (refs []policy.GroupRef) {
	for _, id := range oneOrTwo(t, label, sre, admins, contractor) {
		refs = append(refs, policy.GroupRef{ID: id})
	}
	return refs
}

// partsOf sets one part of a rule each. Only the last two are of allow rules alone.
var partsOf = []func(*rapid.T, *policy.Match){
	func(t *rapid.T, m *policy.Match) { m.Groups = someGroups(t, "groups") },
	func(t *rapid.T, m *policy.Match) { m.AllGroups = someGroups(t, "all_groups") },
	func(t *rapid.T, m *policy.Match) { m.UnlessGroups = someGroups(t, "unless_groups") },
	func(t *rapid.T, m *policy.Match) {
		m.Users = oneOrTwo(t, "users", "ada@example.com", "bob@example.com", "x-ada")
	},
	func(t *rapid.T, m *policy.Match) { m.NotUsers = oneOrTwo(t, "not_users", "ada@example.com", "x-bob") },
	func(t *rapid.T, m *policy.Match) { m.Roles = oneOrTwo(t, "roles", "r1", "r2") },
	func(t *rapid.T, m *policy.Match) {
		m.ReportsTo = oneOrTwo(t, "reports_to", "ada@example.com", "bob@example.com")
	},
	func(t *rapid.T, m *policy.Match) {
		m.ManagerOf = oneOrTwo(t, "manager_of", "ada@example.com", "bob@example.com")
	},
	func(t *rapid.T, m *policy.Match) {
		m.Attributes = map[string][]string{}
		for _, name := range oneOrTwo(t, "attributes", "title", "userType") {
			m.Attributes[name] = oneOrTwo(t, name, "x", "X", "y")
		}
	},
	func(t *rapid.T, m *policy.Match) { m.Apps = oneOrTwo(t, "apps", "a1", "a2") },
	func(t *rapid.T, m *policy.Match) {
		m.Methods = rapid.SampledFrom([][]string{{"any"}, {"GET"}, {"PROPFIND"}, {"GET", "PUT"}, {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}}).Draw(t, "methods")
	},
	func(t *rapid.T, m *policy.Match) {
		m.Paths = oneOrTwo(t, "paths", "/", "/a", "/a/", "/*", "/a/*", "/a/**", "/**")
	},
	func(t *rapid.T, m *policy.Match) {
		m.Networks = oneOrTwo(t, "networks", "10.0.0.0/8", "10.1.0.0/16", "10.1.2.3", "2001:db8::/32")
	},
	func(t *rapid.T, m *policy.Match) {
		m.Hours = rapid.SampledFrom([]*policy.Hours{{From: "08:00", To: "18:00"}, {Days: []string{"mon-fri"}}, {From: "22:00", To: "06:00", Zone: "Europe/Berlin"}}).Draw(t, "hours")
	},
	func(t *rapid.T, m *policy.Match) {
		m.When = rapid.SampledFrom([]string{`request.path.startsWith("/a/")`, `"r1" in user.roles`, `!("r1" in user.roles)`, `user.attributes.title == "x"`, `request.method != "GET"`, "true"}).Draw(t, "when")
	},
	func(t *rapid.T, m *policy.Match) {
		m.MaxAuthAge = rapid.SampledFrom([]time.Duration{time.Hour, 2 * time.Hour}).Draw(t, "max_auth_age")
	},
	func(t *rapid.T, m *policy.Match) {
		m.Auth = rapid.SampledFrom([]*policy.Login{{AMR: []string{"mfa"}}, {AMR: []string{"mfa", "hwk"}}, {ACR: []string{"high"}, Context: []string{"c1"}}, {Context: []string{"c1", "c2"}}}).Draw(t, "auth")
	},
}

var someEnds = []string{"", "", "", "2026-11-22", "2026-11-30", "2027-06-01T00:00:00Z"}

// wholeRule draws a valid rule with any of the parts.
func wholeRule(t *rapid.T) policy.Rule {
	return rapid.Custom(func(t *rapid.T) policy.Rule {
		m, deny, settings := &policy.Match{}, rapid.IntRange(0, 2).Draw(t, "deny") == 0, partsOf
		if deny {
			settings = partsOf[:len(partsOf)-2]
		}
		for _, i := range rapid.SliceOfNDistinct(rapid.IntRange(0, len(settings)-1), 0, 3, rapid.ID[int]).Draw(t, "parts") {
			settings[i](t, m)
		}
		m.Anyone = !deny && rapid.IntRange(0, 9).Draw(t, "anyone") == 0
		r := policy.Rule{Allow: m, Until: rapid.SampledFrom(someEnds).Draw(t, "until")}
		if deny {
			r = policy.Rule{Deny: m, Until: r.Until}
		}
		if rapid.IntRange(0, 9).Draw(t, "report") == 0 {
			r.Mode = "report"
		}
		return r
	}).Filter(func(r policy.Rule) bool {
		_, err := policy.Compile([]policy.Named{{Name: "p", Rules: []policy.Rule{r}}}, policy.Options{})
		return err == nil
	}).Draw(t, "rule")
}

func wholeRules(t *rapid.T) []policy.Rule {
	return rapid.SliceOfN(rapid.Custom(wholeRule), 1, 5).Draw(t, "rules")
}

// wholeRequest draws a request of ada, bob, nobody or an application, in any circumstances.
func wholeRequest(t *rapid.T) *policy.Request {
	r := someRequest(t)
	r.Method = rapid.SampledFrom([]string{"GET", "PUT", "PROPFIND"}).Draw(t, "method")
	r.Path = rapid.SampledFrom([]string{"/", "/a", "/a/", "/a/b", "/b"}).Draw(t, "path")
	r.Roles = rapid.SampledFrom([][]string{{}, {"r1"}, {"r2"}, {"r1", "r2"}}).Draw(t, "roles")
	r.Address = rapid.SampledFrom([]netip.Addr{{}, netip.MustParseAddr("10.1.2.3"), netip.MustParseAddr("10.2.0.0"), netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("::ffff:10.1.2.3")}).Draw(t, "address")
	r.Time = time.Date(2026, 11, rapid.IntRange(21, 30).Draw(t, "day"), rapid.IntRange(0, 23).Draw(t, "hour"), 0, 0, 0, time.UTC)
	r.Authenticated = r.Time.Add(-rapid.SampledFrom([]time.Duration{time.Minute, 90 * time.Minute, 24 * time.Hour}).Draw(t, "signed in"))
	r.Strength = rapid.SampledFrom([]policy.Strength{{}, {AMR: []string{"mfa"}}, {AMR: []string{"pwd", "hwk"}}, {ACR: "high", Contexts: []string{"c1"}}, {Contexts: []string{"c2"}}}).Draw(t, "strength")
	r.Organization = chart{}
	switch caller := rapid.SampledFrom([]string{"ada", "bob", "nobody", "a1", "a2"}).Draw(t, "caller"); caller {
	case "nobody":
		*r = policy.Request{Anonymous: true, Method: r.Method, Path: r.Path, Address: r.Address, Time: r.Time}
	case "a1", "a2":
		*r = policy.Request{App: caller, Roles: r.Roles, Method: r.Method, Path: r.Path, Address: r.Address, Time: r.Time}
	default:
		r.UserID, r.UserName, r.ExternalID = "id-"+caller, caller+"@example.com", "x-"+caller
		r.Attributes = document{"title": rapid.SampledFrom([]string{"x", "y", "z"}).Draw(t, "title"), "userType": "x"}
	}
	return r
}

// TestWarn_IsTrueOfEveryPart: a rule of which is said that it makes no difference, or
// lets nobody in, makes none, whatever it is about.
func TestWarn_IsTrueOfEveryPart(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rules, req := wholeRules(t), wholeRequest(t)
		if rapid.Bool().Draw(t, "with a copy") { // which differs in one part
			again := rules[0]
			if again.Allow != nil {
				m := *again.Allow
				partsOf[rapid.IntRange(0, len(partsOf)-1).Draw(t, "part")](t, &m)
				again.Allow = &m
			} else {
				m := *again.Deny
				partsOf[rapid.IntRange(0, len(partsOf)-3).Draw(t, "part")](t, &m)
				again.Deny = &m
			}
			if _, err := policy.Compile([]policy.Named{{Name: "p", Rules: []policy.Rule{again}}}, policy.Options{}); err == nil {
				rules = append(rules, again)
			}
		}
		var superfluous []int
		policy.Named{Name: "p", Rules: rules}.Warn(req.Time, func(path, problem string) {
			if i := int(path[len("rules[")] - '0'); !slices.Contains(superfluous, i) {
				superfluous = append(superfluous, i)
			}
		})
		for _, i := range superfluous {
			if rules[i].Until != "" { // it may be said to end soon
				continue
			}
			rest := slices.Delete(slices.Clone(rules), i, i+1)
			if decide(t, rules, req).Allow != decide(t, rest, req).Allow {
				t.Fatalf("rule %d makes a difference", i)
			}
		}
	})
}

// TestReach_AgreesWithDecideForEveryPart: where every fact is known, whoever is reached
// is let in, but for the login; and a request that is let in is reached whatever is known.
func TestReach_AgreesWithDecideForEveryPart(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, err := policy.Compile([]policy.Named{{Name: "p", Rules: wholeRules(t)}}, policy.Options{})
		if err != nil {
			t.Fatal(err)
		}
		req := wholeRequest(t)
		d := p.Decide(req)
		reached := p.Reaches(req, policy.Known{Method: true, Path: true, Address: true, Time: true})
		if want := d.Allow || d.Reason == policy.LoginTooOld || d.Reason == policy.LoginTooWeak; reached != want {
			t.Fatalf("reached %t, decided %+v", reached, d)
		}
		if req.App != "" {
			req.Roles = nil // they are in the token
		}
		known := policy.Known{Method: rapid.Bool().Draw(t, "method known"), Path: rapid.Bool().Draw(t, "path known"), Address: rapid.Bool().Draw(t, "address known"), Time: rapid.Bool().Draw(t, "time known")}
		allowed, denied := p.Reach(req, known)
		if d.Allow && len(allowed) == 0 {
			t.Fatalf("allowed, but not reached: %v, %v", allowed, denied)
		}
		if p.Reaches(req, known) != (len(allowed) > 0) {
			t.Fatal("Reaches differs from Reach")
		}
	})
}

// TestExplain_AgreesWithDecideForEveryPart: the rules that Explain says match decide.
func TestExplain_AgreesWithDecideForEveryPart(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, err := policy.Compile([]policy.Named{{Name: "p", Rules: wholeRules(t)}}, policy.Options{})
		if err != nil {
			t.Fatal(err)
		}
		req := wholeRequest(t)
		allowed, denied := false, false
		for _, s := range p.Explain(req) {
			matched := !slices.ContainsFunc(s.Parts, func(p policy.PartStep) bool { return !p.Matched })
			if matched != s.Matched {
				t.Fatalf("the parts of %+v say otherwise", s)
			}
			allowed = allowed || s.Mode == "" && matched && s.Effect == "allow"
			denied = denied || s.Mode == "" && matched && s.Effect == "deny"
		}
		if d := p.Decide(req); d.Allow != (allowed && !denied) {
			t.Fatalf("decided %+v, explained as %+v", d, p.Explain(req))
		}
	})
}

// TestDecide_HoldsUntil: what a decision allows is allowed at every time before its end.
func TestDecide_HoldsUntil(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, err := policy.Compile([]policy.Named{{Name: "p", Rules: wholeRules(t)}}, policy.Options{})
		if err != nil {
			t.Fatal(err)
		}
		req := wholeRequest(t)
		d := p.Decide(req)
		if !d.Allow || slices.ContainsFunc(p.Explain(req), asksForTime) {
			return
		}
		end := d.Until
		if end.IsZero() {
			end = req.Time.Add(1000 * 24 * time.Hour)
		}
		later := *req
		later.Time = req.Time.Add(time.Duration(rapid.Int64Range(0, int64(end.Sub(req.Time))-1).Draw(t, "later")))
		if !p.Decide(&later).Allow {
			t.Fatalf("allowed at %s until %s, but not at %s", req.Time, d.Until, later.Time)
		}
	})
}

// asksForTime reports whether a condition does, of which nothing is known in advance.
func asksForTime(s policy.Step) bool {
	return slices.ContainsFunc(s.Parts, func(p policy.PartStep) bool { return p.Part == "when" && strings.Contains(p.Text, "request.time") })
}
