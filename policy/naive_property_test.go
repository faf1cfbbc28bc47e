package policy_test

import (
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sallyport/policy"
)

// held is what grants and reviews change for a user.
type held struct {
	until   map[string]time.Time
	revoked []string
}

func (h *held) Until(name string) time.Time { return h.until[name] }

func (h *held) Revoked(group string) bool { return slices.Contains(h.revoked, group) }

// record is a user's record as the directory has it: shared, and never changed.
type record struct {
	req      policy.Request // its fields of the caller
	document map[string]any
}

func (r *record) Attributes() map[string]any { return r.document }

// someWhens are conditions of every kind that the package treats in a way of its own, and of others.
var someWhens = []string{
	`request.path == "/a"`, `request.path == "/a/"`, `request.path.startsWith("/a/")`, `request.path in ["/a", "/b"]`, `request.path.matches("^/a")`,
	`request.method == "PUT"`, `request.host.endsWith(".example.com")`, `request.host == "app.example.com" && request.method != "GET"`,
	`request.time.getHours("UTC") < 12`, `request.time < timestamp("2026-11-25T00:00:00Z")`,
	`"r1" in user.roles`, `!("r1" in user.roles)`, `user.roles.exists(r, r.startsWith("r"))`, `user.roles == ["r1"]`, `size(user.roles) > 1`,
	`"` + sre + `" in user.groups`, `user.groups.all(g, g != "` + admins + `")`, `"name of ` + sre + `" in user.groupNames`, `user.groups[0] == "` + sre + `"`,
	`user.groups + user.roles == user.groupNames`, `user.id == "id-ada" || user.app == "a1"`, `user.userName.endsWith("@example.com")`, `user.externalId < "x-b"`,
	`user.attributes.title == "x"`, `user.attributes["userType"] == "x"`, `has(user.attributes.nickName)`, `user.attributes.nickName == "x"`, `user.attributes.title`,
	`user.attributes.title in ["x", "y"] && request.method == "GET"`, `user.attributes.size() == 2`, `true`, `1 / size(user.roles) == 1`,
	`user.roles.map(r, r + request.path).exists(p, p == "r1/a")`, `user.roles in [["r1"], ["r2"]]`, `type(user.roles) == list`, `dyn(user.roles) == dyn(["r1"])`,
	`{"a": user.roles}["a"] == ["r2"]`, `[user.groups, user.groupNames].exists(l, "` + sre + `" in l)`, `["r1", "r2"] == user.roles ? request.path == "/a" : user.roles.size() == 0`,
}

// someNamed draws lists with rules of every kind, and of some of them, grants.
func someNamed(t *rapid.T) (lists []policy.Named) {
	for i := range rapid.IntRange(1, 2).Draw(t, "lists") {
		list := policy.Named{Name: fmt.Sprint("p", i), Rules: wholeRules(t)}
		for j := range list.Rules {
			if rapid.IntRange(0, 3).Draw(t, "another condition") == 0 {
				list.Rules[j] = withWhen(t, list.Rules[j])
			}
		}
		if rapid.Bool().Draw(t, "requestable") {
			list.Requestable = &policy.Requestable{By: policy.Requesters{Anyone: true}, Approvers: policy.Approvers{Manager: true}, Max: time.Hour}
			if rapid.Bool().Draw(t, "with a demand") {
				list.Requestable.Allow = &policy.Match{Methods: []string{"GET"}, Paths: []string{"/a/**"}}
			}
		}
		lists = append(lists, list)
	}
	return lists
}

// withWhen returns the rule with another condition, and with a group by its name, if it is valid so.
func withWhen(t *rapid.T, r policy.Rule) policy.Rule {
	changed := r
	change := func(m *policy.Match) *policy.Match {
		next := *m
		next.When = rapid.SampledFrom(someWhens).Draw(t, "when")
		if len(next.Groups) > 0 && rapid.Bool().Draw(t, "by name") {
			next.Groups = append(slices.Clone(next.Groups), policy.GroupRef{Name: "name of " + contractor})
		}
		return &next
	}
	if r.Allow != nil {
		changed.Allow = change(r.Allow)
	} else {
		changed.Deny = change(r.Deny)
	}
	if _, err := policy.Compile([]policy.Named{{Name: "p", Rules: []policy.Rule{changed}}}, policy.Options{TrustGroupNames: true}); err != nil {
		return r
	}
	return changed
}

// someRecord draws the record of a user, or what is known of another caller.
func someRecord(t *rapid.T) *record {
	r := &record{req: *wholeRequest(t)}
	if d, ok := r.req.Attributes.(document); ok {
		r.document, r.req.Attributes = d, r
	}
	return r
}

// someHeld draws what a user holds; nil for most.
func someHeld(t *rapid.T, now time.Time) policy.Grants {
	if rapid.IntRange(0, 2).Draw(t, "holds something") > 0 {
		return nil
	}
	h := &held{until: map[string]time.Time{}}
	for _, name := range []string{"p0", "p1"} {
		if after := rapid.IntRange(-2, 4).Draw(t, name); after >= 0 {
			h.until[name] = now.Add(time.Duration(after) * time.Hour)
		}
	}
	h.revoked = rapid.SliceOfDistinct(rapid.SampledFrom([]string{sre, admins, contractor}), rapid.ID[string]).Draw(t, "revoked")
	return h
}

// requestOf draws a request of the caller of a record.
func requestOf(t *rapid.T, r *record) *policy.Request {
	req, other := r.req, wholeRequest(t)
	req.Method, req.Path, req.Time, req.Address = other.Method, other.Path, other.Time, other.Address
	req.Host = rapid.SampledFrom([]string{"app.example.com", "b.example.org"}).Draw(t, "host")
	if req.App != "" { // each token says which roles the application has
		req.Roles = rapid.SampledFrom([][]string{{}, {"r1"}, {"r2"}, {"r1", "r2"}}).Draw(t, "roles")
	}
	if req.UserID != "" {
		req.Authenticated, req.Strength = other.Authenticated, other.Strength
		req.Grants = someHeld(t, req.Time)
	}
	return &req
}

// TestDecide_EqualsNaive: whatever a policy indexes and remembers, it decides as the model does, which asks each
// rule in turn: the same outcome by the same rule for the same reason until the same time, with the same report. Between requests, users get
// other records, and what they hold changes.
func TestDecide_EqualsNaive(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		lists := someNamed(t)
		p, err := policy.Compile(lists, policy.Options{TrustGroupNames: true})
		if err != nil {
			t.Fatal(err)
		}
		policy.Remember(p, rapid.SampledFrom([]int64{0, 1, policy.OneCaller, 2000, 1 << 20}).Draw(t, "memory"))
		naive := policy.NewNaive(lists)
		records := []*record{someRecord(t), someRecord(t)}
		for range rapid.IntRange(1, 12).Draw(t, "requests") {
			i := rapid.IntRange(0, len(records)-1).Draw(t, "record")
			if rapid.IntRange(0, 4).Draw(t, "changed") == 0 {
				records[i] = someRecord(t)
			}
			req := requestOf(t, records[i])
			got, want := p.Decide(req), naive.Decide(req)
			if !reflect.DeepEqual(got, want) {
				t.Fatalf("%+v\nis decided as %+v, report %+v\nwant %+v, report %+v", req, got, got.Report, want, want.Report)
			}
		}
	})
}

// TestPaths_EqualNaive: the tree of paths finds the rules whose patterns match.
func TestPaths_EqualNaive(t *testing.T) {
	pattern := rapid.Custom(func(t *rapid.T) string {
		text := ""
		for _, segment := range rapid.SliceOfN(rapid.SampledFrom([]string{"/a", "/b", "/*"}), 0, 4).Draw(t, "segments") {
			text += segment
		}
		return rapid.SampledFrom([]string{text + "/**", text + "/", text + "/a"}).Draw(t, "pattern")
	})
	rapid.Check(t, func(t *rapid.T) {
		patterns := rapid.SliceOfN(pattern, 1, 12).Draw(t, "patterns")
		allow := rapid.Bool().Draw(t, "allow")
		path := rapid.StringMatching(`(/(a|b|c|ab|\*|)){1,9}|a/b|\*|`).Draw(t, "path")
		var rules []policy.Rule
		for _, text := range patterns {
			m := &policy.Match{Paths: []string{text}, Methods: []string{"any"}}
			if allow {
				m.Anyone = true
				rules = append(rules, policy.Rule{Allow: m})
			} else {
				rules = append(rules, policy.Rule{Deny: m})
			}
		}
		want, name := policy.NoRule, ""
		for i, text := range patterns {
			if policy.NaiveGlob(text, path, allow) {
				want, name = map[bool]policy.Reason{true: policy.RuleAllow, false: policy.RuleDeny}[allow], fmt.Sprintf("p[%d]", i)
				break
			}
		}
		if d := decide(t, rules, &policy.Request{Method: "GET", Path: path}); d.Reason != want || d.Rule != name {
			t.Fatalf("%q gives %+v, want %s %s", path, d, want, name)
		}
	})
}
