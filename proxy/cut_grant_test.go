package proxy

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"sallyport/directory"
	"sallyport/grant"
	"sallyport/policy"
)

// deaths are the events that take away the access that a grant gave.
var deaths = []struct {
	name   string
	length time.Duration
	do     func(w *world, g grant.Grant)
	reason Reason
}{
	{"expired", 4 * time.Second, func(*world, grant.Grant) {}, noRule},
	{"revoked", time.Hour, func(w *world, g grant.Grant) {
		_, err := w.grants.Revoke(w.ctx, g.Person.ID, g.ID, "an operator", "the incident is over", time.Now())
		w.must(err)
	}, noRule},
	{"suspended", time.Hour, func(w *world, g grant.Grant) {
		w.update(func(tx *directory.Tx) error { return tx.Suspend(g.Person.ID, "stolen laptop") })
	}, suspendedUser},
	{"deactivated", time.Hour, func(w *world, g grant.Grant) {
		w.setActive(strings.TrimSuffix(g.Person.UserName, "@example.com"), false)
	}, inactiveUser},
	{"not_requestable", time.Hour, func(w *world, _ grant.Grant) {
		s := w.settings
		s.Policies = slices.Clone(s.Policies)
		s.Policies[0].Requestable = nil
		w.must(w.proxy.Load(s))
	}, noRule},
	{"denied", time.Hour, func(w *world, _ grant.Grant) {
		s := w.settings
		s.Policies = slices.Clone(s.Policies)
		s.Policies[0].Rules = append(slices.Clone(s.Policies[0].Rules), policy.Rule{Deny: &policy.Match{UnlessGroups: []policy.GroupRef{{ID: staff}}}})
		w.must(w.proxy.Load(s))
	}, ruleDeny},
}

// TestCut_GrantEnds checks that whatever ends a grant, or outweighs it, ends every kind of live request that only the grant
// let in; and that coming back revives nothing.
func TestCut_GrantEnds(t *testing.T) {
	for _, k := range streamKinds {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, func(s *Settings) {
				s.Policies[0].Requestable = &policy.Requestable{By: policy.Requesters{Anyone: true}, Approvers: policy.Approvers{Manager: true}, Max: time.Hour}
			})
			for i, d := range deaths {
				t.Run(d.name, func(t *testing.T) {
					name := fmt.Sprint("person", i)
					w.addUser(name)
					_, cookie := w.signIn(name, appHost)
					if res, _ := w.get(w.client(false), "https://"+appHost+"/", "Cookie", cookie); res.StatusCode != 403 {
						t.Fatalf("without a grant: %d", res.StatusCode)
					}
					before := w.metric("sallyport_cuts_total", "route", "app", "reason", string(d.reason))
					reached, gone := w.serveStreams()
					g := w.grant(name, d.length)
					s := k.open(w, w.client(false), "https://"+appHost, "Cookie", cookie)
					await(t, "the upstream is reached", reached)
					began := time.Now()
					d.do(w, g)
					await(t, "the client sees the end", s.done)
					await(t, "the upstream sees the end", gone)
					if d.name == "expired" {
						if began = g.Until; time.Now().Before(g.Until) {
							t.Errorf("it was cut before the grant ended at %s", g.Until)
						}
					}
					t.Logf("the upstream saw the end %s afterwards", time.Since(began).Round(time.Millisecond))
					w.eventually("the cut is counted", func() bool {
						return w.metric("sallyport_cuts_total", "route", "app", "reason", string(d.reason)) == before+1
					})
					w.must(w.proxy.Load(w.settings))
					w.comeBack(g)
					if _, cookie = w.signIn(name, appHost); d.name != "not_requestable" && d.name != "denied" {
						if res, _ := w.get(w.client(false), "https://"+appHost+"/", "Cookie", cookie); res.StatusCode != 403 {
							t.Errorf("after coming back: %d", res.StatusCode)
						}
					}
				})
			}
		})
	}
}

// comeBack ends whatever keeps the person of a grant out: a suspension, a deactivation.
func (w *world) comeBack(g grant.Grant) {
	w.t.Helper()
	name := strings.TrimSuffix(g.Person.UserName, "@example.com")
	if w.user(name).Suspended != nil {
		w.update(func(tx *directory.Tx) error { return tx.Unsuspend(g.Person.ID) })
	}
	w.setActive(name, true)
}

// TestGrant_CountsForTokens checks that a grant lets in whoever proves who they are by a bearer token, too, and that a token
// issued after coming back revives nothing.
func TestGrant_CountsForTokens(t *testing.T) {
	w := newWorld(t, func(s *Settings) {
		s.Policies[0].Requestable = &policy.Requestable{By: policy.Requesters{Anyone: true}, Approvers: policy.Approvers{Manager: true}, Max: time.Hour}
	})
	demand := func(when string, want int) {
		t.Helper()
		if res, _ := w.get(w.client(false), "https://"+appHost+"/", "Authorization", "Bearer "+w.token("bob", nil)); res.StatusCode != want {
			t.Errorf("%s: %d", when, res.StatusCode)
		}
	}
	demand("without a grant", 403)
	g := w.grant("bob", time.Hour)
	demand("with a grant", 200)
	w.setActive("bob", false)
	w.comeBack(g)
	demand("after coming back", 403)
}

// grant lets a user in by the policy staff.
func (w *world) grant(name string, length time.Duration) grant.Grant {
	w.t.Helper()
	g, err := w.grantTo(w.user(name), "staff", length)
	w.must(err)
	return g
}

// grantTo grants a user a policy.
func (w *world) grantTo(u *directory.User, name string, length time.Duration) (grant.Grant, error) {
	now := time.Now().UTC()
	request := grant.NewRequest(grant.Person{ID: u.ID, UserName: u.UserName, Epoch: u.Epoch}, now)
	request.Policy, request.Route = name, "app"
	ok := func() error { return nil }
	if _, err := w.grants.Ask(w.ctx, request, ok); err != nil {
		return grant.Grant{}, err
	}
	approval := grant.Approval{By: newID(), Name: "alice@example.com", At: now, For: length}
	id := grant.NewID()
	if _, err := w.grants.Approve(w.ctx, request.ID, grant.Approving{Count: []grant.Approval{approval}, Grant: id, For: length, At: now, Check: ok}); err != nil {
		return grant.Grant{}, err
	}
	return w.grants.Grant(id)
}
