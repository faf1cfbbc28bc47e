package access_test

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sallyport/access"
	"sallyport/directory"
	"sallyport/grant"
	"sallyport/policy"
	"sallyport/store"
	"sallyport/store/bolt"
)

// managers says who the manager of a user is, by id.
type managers map[string]*directory.User

func (m managers) Manager(id string) (userName, externalID string, ok bool) {
	u, ok := m[id]
	if !ok {
		return "", "", false
	}
	return u.UserName, u.ExternalID, true
}

func (m managers) Manages(string, string) bool { return false }

// requestable returns a route named app with a policy p that can be requested.
func requestable(t interface {
	Helper()
	Fatal(...any)
}, q policy.Requestable, rules ...policy.Rule) *access.Route {
	t.Helper()
	q.Max = 4 * time.Hour
	compiled, err := policy.Compile([]policy.Named{{Name: "p", Rules: rules, Requestable: &q}}, policy.Options{})
	fatal(t, err)
	return &access.Route{Name: "app", Host: "app.example.com", Path: "/", Owner: "owner@example.com", Session: true, Policy: compiled}
}

// TestRequest_WhoMayApprove: whoever may approve is active, another person than the one who asks, and in a group of
// approvers, the manager or the owner; and everybody who is may approve.
func TestRequest_WhoMayApprove(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var all []*directory.User
		for i := range rapid.IntRange(2, 6).Draw(t, "users") {
			u := person(fmt.Sprint("u", i), rapid.SliceOfDistinct(rapid.SampledFrom([]string{"leads", "others"}), rapid.ID).Draw(t, "groups")...)
			u.ExternalID = rapid.SampledFrom([]string{"", "x1", "x2", fmt.Sprint("own", i)}).Draw(t, "externalId")
			if rapid.IntRange(0, 4).Draw(t, "same name") == 0 {
				u.UserName = rapid.SampledFrom([]string{"U0@example.com", "u0@EXAMPLE.com"}).Draw(t, "userName")
			}
			u.Active = rapid.IntRange(0, 4).Draw(t, "inactive") != 0
			if rapid.IntRange(0, 4).Draw(t, "suspended") == 0 {
				u.Suspended = &directory.Suspension{}
			}
			u.Emails = rapid.SampledFrom([][]string{nil, {"owner@example.com"}, {"x@example.com", "OWNER@example.com"}}).Draw(t, "emails")
			all = append(all, u)
		}
		asks := all[0]
		asks.Active, asks.Suspended = true, nil
		manager := rapid.SampledFrom(all).Draw(t, "manager")
		may := policy.Approvers{Manager: rapid.Bool().Draw(t, "by manager"), Owner: rapid.Bool().Draw(t, "by owner")}
		if !may.Manager && !may.Owner || rapid.Bool().Draw(t, "by groups") {
			may.Groups = []policy.GroupRef{{ID: "leads"}}
		}
		r := requestable(t, policy.Requestable{By: policy.Requesters{Anyone: true}, Approvers: may})
		owner := access.OwnerOf(r.Owner, all)
		request := access.Request{Offer: r.Policy.Offers()[0], Route: r, User: asks, Owner: owner, Scope: access.Scope{Time: now, Organization: managers{asks.ID: manager}}}

		var owners []*directory.User
		for _, u := range all {
			if u.Barred() == "" && len(u.Emails) > 0 {
				owners = append(owners, u)
			}
		}
		if (owner != nil) != (len(owners) == 1) || owner != nil && owner != owners[0] {
			t.Fatalf("of %d people with the address, the owner is %v", len(owners), owner)
		}
		approvers := request.Approvers(all, len(all))
		for i, u := range all {
			mailed := len(u.Emails) > 0 && len(asks.Emails) > 0 // which both are at the address of the owner
			same := u == asks || mailed || u.ExternalID != "" && u.ExternalID == asks.ExternalID || strings.EqualFold(u.UserName, asks.UserName)
			isManager := may.Manager && u.UserName == manager.UserName && u.ExternalID == manager.ExternalID
			want := u.Barred() == "" && !same && (len(may.Groups) > 0 && slices.Contains(u.GroupIDs, "leads") || isManager || may.Owner && u == owner)
			if got := request.MayApprove(u); got != want {
				t.Fatalf("u%d may approve: %t, want %t", i, got, want)
			}
			listed := slices.ContainsFunc(approvers, func(other *directory.User) bool { return access.SamePerson(u, other) })
			if want && !listed {
				t.Fatalf("u%d is not listed", i)
			}
		}
		for i, u := range approvers {
			if !request.MayApprove(u) || slices.ContainsFunc(approvers[:i], func(other *directory.User) bool { return access.SamePerson(u, other) }) {
				t.Fatalf("%s is listed wrongly or twice", u.ID)
			}
		}
	})
}

// Others names the first by the alphabet, whatever the order of the users, and counts all.
func TestRequest_OthersAreTheFirst(t *testing.T) {
	staff := policy.Match{Groups: []policy.GroupRef{{ID: "staff"}}}
	route := requestable(t, policy.Requestable{By: policy.Requesters{Anyone: true}, Approvers: policy.Approvers{Owner: true}}, policy.Rule{Allow: &staff})
	asks := person("ask", "staff")
	users := []*directory.User{asks, person("stranger")}
	for i := range 30 {
		users = append(users, person(fmt.Sprintf("u%02d", i*7%30), "staff"))
	}
	names, count := access.Request{Route: route, User: asks, Scope: access.Scope{Time: time.Now()}}.Others(users, 3)
	want := []string{users[2].UserName, "", ""}
	for i, u := range users[2:] {
		if n := i * 7 % 30; n < 3 {
			want[n] = u.UserName
		}
	}
	if !slices.Equal(names, want) || count != 30 {
		t.Errorf("%v of %d, want %v of 30", names, count, want)
	}
}

func TestRequest_RevokedMembershipDoesNotCount(t *testing.T) {
	lead, bob := person("lead", "leads"), person("bob", "engineers")
	leads, engineers := []policy.GroupRef{{ID: "leads"}}, []policy.GroupRef{{ID: "engineers"}}
	r := requestable(t, policy.Requestable{By: policy.Requesters{Groups: engineers}, Approvers: policy.Approvers{Groups: leads}})
	request := access.Request{Offer: r.Policy.Offers()[0], Route: r, User: bob, Scope: access.Scope{Time: now}}
	if !request.MayAsk() || !request.MayApprove(lead) {
		t.Fatal("a member may not ask, or not approve")
	}
	request.Scope.Grants = revokedGroups(t, lead.ID, "leads", bob.ID, "engineers")
	if request.MayAsk() || request.MayApprove(lead) {
		t.Error("somebody whose membership was revoked may ask, or approve")
	}
}

func TestExplain_SaysWhatCanBeAskedFor(t *testing.T) {
	sre, interns := []policy.GroupRef{{ID: "sre"}}, []policy.GroupRef{{ID: "interns"}}
	r := requestable(t, policy.Requestable{By: policy.Requesters{Groups: []policy.GroupRef{{ID: "engineers"}}}, Approvers: policy.Approvers{Manager: true}},
		policy.Rule{Allow: &policy.Match{Groups: sre}}, policy.Rule{Deny: &policy.Match{Groups: interns}})
	const hint = "they may ask for access by policy p, for at most 4h0m0s: in a browser, on the page that denies them"
	for name, c := range map[string]struct {
		user *directory.User
		want bool
	}{"who_may_ask": {person("ada", "engineers"), true}, "who_may_not": {person("bob"), false}, "who_would_be_denied": {person("ian", "engineers", "interns"), false}} {
		e := explain(r, "GET", "/", access.Caller{User: c.user})
		if got := slices.Contains(e.Hints, hint); got != c.want || slices.ContainsFunc(e.Hints, func(h string) bool { return strings.Contains(h, "p[grant]") }) {
			t.Errorf("%s: the hints are %q", name, e.Hints)
		}
	}
}

// TestExplain_OffersNothingThatAReviewTookBack: where no form is offered, explain names none.
func TestExplain_OffersNothingThatAReviewTookBack(t *testing.T) {
	r := requestable(t, policy.Requestable{By: policy.Requesters{Anyone: true}, Approvers: policy.Approvers{Manager: true}},
		policy.Rule{Allow: &policy.Match{Groups: []policy.GroupRef{{ID: "sre"}}, Paths: []string{"/a/**"}}})
	grants := revokedGroups(t, "id-ada", "sre", "id-bob", "other")
	for name, want := range map[string]bool{"ada": false, "bob": true} {
		u := person(name, "other", "sre")
		e := access.Explain(target(r, "GET", "/b"), access.Caller{User: u}, access.Circumstances{Time: now, Login: now, Grants: grants})
		if got := slices.ContainsFunc(e.Hints, func(h string) bool { return strings.Contains(h, "may ask for access") }); got != want || e.Reason != "no_rule" {
			t.Errorf("%s: %s, the hints are %q", name, e.Reason, e.Hints)
		}
	}
}

func TestUsage_GrantsMayBeNeededTomorrow(t *testing.T) {
	r := requestable(t, policy.Requestable{By: policy.Requesters{Anyone: true}, Approvers: policy.Approvers{Manager: true}}, policy.Rule{Allow: &policy.Match{Users: []string{"x"}}})
	usage := access.Usage{User: users()}
	if unused := usage.Unused([]*access.Route{r}); len(unused) != 1 || unused[0].Rule != "p[0]" {
		t.Errorf("unused are %+v", unused)
	}
}

func TestReplay_AssumesGrants(t *testing.T) {
	q := policy.Requestable{By: policy.Requesters{Anyone: true}, Approvers: policy.Approvers{Manager: true}}
	before, denies := requestable(t, q), requestable(t, q, policy.Rule{Deny: &policy.Match{Paths: []string{"/x"}}})
	for name, c := range map[string]struct {
		new  *access.Route
		want int
	}{"same": {before, 0}, "denied_now": {denies, 1}, "not_requestable": {route(t, "app", `[{allow: {users: [x]}}]`), 1}} {
		replay := access.Replay{New: targets(c.new), InForce: targets(before), User: users(person("ada"))}
		replay.Add(access.Recorded{Time: now, User: "id-ada", Name: "ada@example.com", Method: "GET", Host: "app.example.com", Path: "/x", Allow: true, Reason: "rule_allow", Rule: "p[grant]"})
		if flips, _ := replay.Flips(); len(flips) != c.want {
			t.Errorf("%s: the flips are %+v", name, flips)
		}
	}
}

func TestLint_ChecksWhoMayApprove(t *testing.T) {
	owner := person("owner", "leads")
	owner.Emails = []string{"owner@example.com"}
	groups := []directory.Group{{ID: "1", ExternalID: "leads", DisplayName: "leads", Members: 1}}
	leads := []policy.GroupRef{{ID: "leads"}}
	for name, c := range map[string]struct {
		may       policy.Approvers
		approvals int
		owner     string
		want      string
	}{
		"enough":            {policy.Approvers{Groups: leads}, 1, "", ""},
		"too_few":           {policy.Approvers{Groups: leads}, 2, "", "policies[0].requestable.approvals: requests need 2 approvals, but only 1 people"},
		"same_person_twice": {policy.Approvers{Groups: leads, Owner: true}, 2, "owner@example.com", "requestable.approvals"},
		"with_manager":      {policy.Approvers{Groups: leads, Manager: true}, 2, "", ""},
		"no_such_owner":     {policy.Approvers{Owner: true}, 1, "gone@example.com", `requestable.approvers.owner: the owner "gone@example.com" of route app`},
		"never_pushed":      {policy.Approvers{Groups: []policy.GroupRef{{ID: "gone"}}}, 1, "", "requestable.approvers.groups[0]: the group was never pushed"},
	} {
		q := policy.Requestable{By: policy.Requesters{Anyone: true}, Approvers: c.may, Approvals: c.approvals, Max: time.Hour}
		r := requestable(t, q)
		r.Owner = c.owner
		var got []string
		for _, f := range access.Lint(access.Subject{Policies: []policy.Named{{Name: "p", Requestable: &q}}, Routes: []*access.Route{r}, Uses: [][]string{{"p"}},
			Groups: groups, Users: []*directory.User{owner}, Scope: access.Scope{Time: now}}) {
			if strings.Contains(f.Path, "requestable") {
				got = append(got, f.Path+": "+f.Problem)
			}
		}
		if c.want == "" && len(got) > 0 || !slices.ContainsFunc(append(got, ""), func(text string) bool { return strings.Contains(text, c.want) }) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// revokedGroups returns the grants of a store with revoked memberships: pairs of a user's id and a group.
func revokedGroups(t *testing.T, pairs ...string) access.GrantsOf {
	t.Helper()
	st, err := bolt.Open(filepath.Join(t.TempDir(), "store.db"), bolt.Options{Init: true})
	fatal(t, err)
	t.Cleanup(func() { _ = st.Close() })
	_, err = st.Update(t.Context(), func(w store.Writer) error {
		for i := 0; i < len(pairs); i += 2 {
			record, err := json.Marshal(grant.Revocation{User: pairs[i], Group: "g", Key: pairs[i+1]})
			if err != nil {
				return err
			}
			if err := w.Put([]byte("revoked/"+pairs[i]+"/g"), record); err != nil {
				return err
			}
		}
		return nil
	})
	fatal(t, err)
	grants, err := grant.Open(t.Context(), st)
	fatal(t, err)
	return grants.Of
}
