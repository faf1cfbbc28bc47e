package proxy

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"sallyport/directory"
	"sallyport/policy"
)

// manyUsers denies many users whom nobody has ever seen, so that a policy has enough rules about callers to remember whom
// they are about.
func manyUsers() policy.Rule {
	m := &policy.Match{}
	for i := range 30 {
		m.Users = append(m.Users, fmt.Sprintf("nobody%d@example.com", i))
	}
	return policy.Rule{Deny: m}
}

// TestRemembered_FollowsEveryChange: whatever changes for a user counts for the next request, although the policy remembers
// which rules are about whom.
func TestRemembered_FollowsEveryChange(t *testing.T) {
	const extension = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
	w := newWorld(t, func(s *Settings) {
		s.Policies[0].Rules = append(s.Policies[0].Rules, manyUsers(), policy.Rule{Allow: &policy.Match{Roles: []string{"auditor"}}},
			policy.Rule{Allow: &policy.Match{Attributes: map[string][]string{"department": {"Audit"}}}}, policy.Rule{Allow: &policy.Match{When: `user.attributes.title == "Auditor"`}},
			policy.Rule{Allow: &policy.Match{ReportsTo: []string{"alice@example.com"}}}, policy.Rule{Allow: &policy.Match{ManagerOf: []string{"carol@example.com"}}},
			policy.Rule{Allow: &policy.Match{Users: []string{"robert@example.com"}}})
		s.Policies[0].Requestable = &policy.Requestable{By: policy.Requesters{Anyone: true}, Approvers: policy.Approvers{Manager: true}, Max: time.Hour}
	})
	w.addUser("carol")
	cookies, client := map[string]string{}, w.client(false)
	for _, name := range []string{"alice", "bob"} {
		_, cookies[name] = w.signIn(name, appHost)
	}
	expect := func(when, name, path string, want int) {
		t.Helper()
		for range 3 {
			if res, _ := w.get(client, "https://"+appHost+path, "Cookie", cookies[name]); res.StatusCode != want {
				t.Errorf("%s: %s gets %d for %s, want %d", when, name, res.StatusCode, path, want)
			}
		}
	}
	change := func(name string, f func(*directory.User)) {
		t.Helper()
		id := w.user(name).ID
		w.update(func(tx *directory.Tx) error {
			u, err := tx.User(id)
			if err != nil {
				return err
			}
			f(&u)
			return tx.PutUser(&u)
		})
	}
	document := func(text string) func(*directory.User) {
		return func(u *directory.User) { u.Document = []byte(text) }
	}
	rename := func(from, to string) {
		t.Helper()
		w.update(func(tx *directory.Tx) error {
			g, err := tx.GroupByExternalID(from)
			if err != nil {
				return err
			}
			g.ExternalID = to
			return tx.PutGroup(&g)
		})
	}

	expect("at first", "alice", "/", 200)
	expect("at first", "alice", "/secret/x", 403)
	expect("at first", "bob", "/", 403)
	w.removeFromGroup("alice", staff)
	expect("without the group", "alice", "/", 403)
	w.addToGroup("alice", staff)
	expect("in the group again", "alice", "/", 200)
	w.addToGroup("alice", admins)
	expect("with the exempted group", "alice", "/secret/x", 200)
	w.removeFromGroup("alice", admins)
	expect("without the exempted group", "alice", "/secret/x", 403)
	rename(staff, "another")
	expect("when the group has another object ID", "alice", "/", 403)
	rename("another", staff)
	expect("when the group has its object ID again", "alice", "/", 200)

	for what, text := range map[string]string{"role": `{"roles":[{"value":"auditor"}]}`, "attribute": `{"` + extension + `":{"department":"Audit"}}`,
		"attribute in a condition": `{"title":"Auditor"}`, "manager": `{"` + extension + `":{"manager":{"value":"` + w.user("alice").ID + `"}}}`} {
		change("bob", document(text))
		expect("with the "+what, "bob", "/", 200)
		change("bob", document(`{}`))
		expect("without the "+what, "bob", "/", 403)
	}
	change("carol", document(`{"`+extension+`":{"manager":{"value":"`+w.user("bob").ID+`"}}}`))
	expect("when the record of another says who manages them", "bob", "/", 200)
	change("carol", document(`{}`))
	expect("when it says so no more", "bob", "/", 403)
	change("bob", func(u *directory.User) { u.UserName = "robert@example.com" })
	expect("with the userName", "bob", "/", 200)
	change("bob", func(u *directory.User) { u.UserName = "bob@example.com" })
	expect("with the userName of before", "bob", "/", 403)

	g := w.grant("bob", time.Hour)
	expect("with a grant", "bob", "/", 200)
	_, err := w.grants.Revoke(w.ctx, g.Person.ID, g.ID, "an operator", "over", time.Now())
	w.must(err)
	expect("when the grant was revoked", "bob", "/", 403)

	s := w.settings
	s.Policies = slices.Clone(s.Policies)
	s.Policies[0].Rules = s.Policies[0].Rules[1:]
	w.must(w.proxy.Load(s))
	expect("after a reload without the rule", "alice", "/", 403)
	w.must(w.proxy.Load(w.settings))
	expect("after a reload with the rule", "alice", "/", 200)
}
