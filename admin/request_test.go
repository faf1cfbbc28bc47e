package admin_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sallyport/access"
	"sallyport/admin"
	"sallyport/audit"
	"sallyport/directory"
	"sallyport/grant"
	"sallyport/policy"
	"sallyport/store"
)

// rules are those in force: one route, grafana, which belongs to owner@example.com.
func (w *world) rules() admin.Rules {
	compiled, err := policy.Compile(w.policies, policy.Options{})
	must(w.t, err)
	return admin.Rules{Policies: w.policies, Routes: []*access.Route{{Name: "grafana", Host: "grafana.example.com", Path: "/", Owner: "owner@example.com",
		Session: true, Bearer: true, Policy: compiled}}}
}

// sre is a policy that every user may ask for, and whose requests leads, the manager and the owner may approve.
func sre(change ...func(*policy.Requestable)) []policy.Named {
	q := &policy.Requestable{By: policy.Requesters{Anyone: true}, Max: 4 * time.Hour,
		Approvers: policy.Approvers{Groups: []policy.GroupRef{{ID: "leads"}}, Manager: true, Owner: true}}
	for _, c := range change {
		c(q)
	}
	return []policy.Named{{Name: "sre", Rules: []policy.Rule{{Allow: &policy.Match{Groups: []policy.GroupRef{{ID: "sre"}}}}}, Requestable: q}}
}

// person is a user to be pushed.
type person struct{ name, externalID, mail, manager string }

// create pushes a user. The zero values of p stand for values that come from the name.
func (w *world) create(p person) *directory.User {
	w.t.Helper()
	if p.externalID == "" {
		p.externalID = "ext-" + p.name
	}
	if p.mail == "" {
		p.mail = p.name + "@example.com"
	}
	document := map[string]any{"schemas": []string{"urn:ietf:params:scim:schemas:core:2.0:User"}, "userName": p.name + "@example.com", "externalId": p.externalID,
		"active": true, "emails": []any{map[string]any{"value": p.mail, "type": "work", "primary": true}}}
	if p.manager != "" {
		document["urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"] = map[string]any{"manager": map[string]any{"value": p.manager}}
	}
	body, err := json.Marshal(document)
	must(w.t, err)
	return w.user(w.push("POST", "/Users", string(body), http.StatusCreated))
}

func (w *world) user(id string) *directory.User {
	w.t.Helper()
	u, ok := w.directory.ByID(id)
	if !ok {
		w.t.Fatalf("there is no user %s", id)
	}
	return u
}

// group pushes a group with members.
func (w *world) group(name string, members ...*directory.User) (id string) {
	w.t.Helper()
	list := []string{}
	for _, u := range members {
		list = append(list, `{"value":"`+u.ID+`"}`)
	}
	return w.push("POST", "/Groups", `{"displayName":"`+name+`","externalId":"`+name+`","members":[`+strings.Join(list, ",")+`]}`, http.StatusCreated)
}

func as(u *directory.User) admin.Actor { return admin.Person(u, "192.0.2.1") }

// ask asks for the policy sre.
func (w *world) ask(u *directory.User) (grant.Request, error) {
	return w.Ask(w.t.Context(), as(u), admin.Asking{User: u, Route: "grafana", Policy: "sre", URL: "https://grafana.example.com/d/1?token=x#y", Reason: "the disk is full"})
}

func (w *world) mustAsk(u *directory.User) grant.Request {
	w.t.Helper()
	r, err := w.ask(u)
	must(w.t, err)
	return r
}

// until returns when the user's grant of sre ends, as decisions see it now.
func (w *world) until(u *directory.User) time.Time {
	now := w.user(u.ID)
	if h := w.grants.Of(now.ID, now.Epoch); h != nil {
		return h.Until("sre")
	}
	return time.Time{}
}

func TestRequest_IsApprovedAndEndsByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.policies = sre()
		bob, lead := w.create(person{name: "bob"}), w.create(person{name: "lead"})
		w.group("leads", lead)
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		go func() { _ = w.Run(ctx) }()

		if offers := w.Offers(bob, "grafana"); len(offers) != 1 || offers[0].Policy != "sre" || offers[0].NoApprovers || offers[0].Open != nil || !offers[0].NeedsReason {
			t.Fatalf("bob is offered %+v", offers)
		}
		r := w.mustAsk(bob)
		if r.URL != "https://grafana.example.com/d/1" {
			t.Errorf("the URL is stored as %s", r.URL)
		}
		if again := w.mustAsk(bob); again.ID != r.ID {
			t.Error("asking again makes another request")
		}
		if offers := w.Offers(bob, "grafana"); offers[0].Open == nil || offers[0].Open.ID != r.ID {
			t.Error("the offer does not have the request that waits")
		}
		if w.Waiting(lead) != 1 || w.Waiting(bob) != 0 {
			t.Error("the request does not wait for the lead alone")
		}
		v, err := w.Approve(t.Context(), as(lead), r.ID, 0, "go")
		must(t, err)
		if v.State != grant.StateApproved || v.By != "lead@example.com" || w.Waiting(lead) != 0 {
			t.Errorf("the request is %+v", v)
		}
		if until := w.until(bob); !until.Equal(time.Now().Add(time.Hour)) {
			t.Errorf("the grant ends at %s", until)
		}
		if grants, _ := w.Grants(t.Context(), ada, false); len(grants) != 1 || grants[0].State != admin.GrantOpen || grants[0].Route != "grafana" {
			t.Errorf("the grants are %+v", grants)
		}
		time.Sleep(time.Hour + 2*time.Minute)
		synctest.Wait()
		if !w.until(bob).IsZero() {
			t.Error("the grant outlives its time")
		}
		if grants, _ := w.Grants(t.Context(), ada, true); len(grants) != 1 || grants[0].State != admin.GrantEnded {
			t.Errorf("the grants are %+v", grants)
		}
		var told []string
		for _, e := range w.events() {
			if e.Kind == audit.KindRequest || e.Kind == audit.KindGrant {
				told = append(told, string(e.Kind)+" "+e.Reason)
				if e.User != bob.ID || e.Detail["policy"] != "sre" || e.Detail["request"] != r.ID {
					t.Errorf("the event is %+v", e)
				}
			}
		}
		if want := []string{"request made", "request approved", "grant began", "grant ended"}; !slices.Equal(told, want) {
			t.Errorf("the record has %v, not %v", told, want)
		}
		if want := []string{"request.made", "request.decided"}; !slices.Equal(w.told, want) {
			t.Errorf("others are told of %v, not %v", w.told, want)
		}
	})
}

func TestRequest_ExpiresAfterAWeek(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.policies = sre()
		bob, lead := w.create(person{name: "bob"}), w.create(person{name: "lead"})
		w.group("leads", lead)
		r := w.mustAsk(bob)
		time.Sleep(7 * 24 * time.Hour)
		if _, err := w.Approve(t.Context(), as(lead), r.ID, 0, ""); !errors.Is(err, admin.ErrDecided) {
			t.Errorf("approving an expired request that was not swept yet returns %v", err)
		}
		if w.Waiting(lead) != 0 {
			t.Error("an expired request waits")
		}
		ctx, stop := context.WithCancel(t.Context())
		go func() { _ = w.Run(ctx) }()
		synctest.Wait()
		stop()
		if v, err := w.Request(t.Context(), as(bob), r.ID); err != nil || v.State != grant.StateExpired {
			t.Errorf("the request is %+v, %v", v, err)
		}
		if again := w.mustAsk(bob); again.ID == r.ID {
			t.Error("the expired request is open again")
		}
	})
}

// Whoever the person is: they do not approve their own request.
func TestApprove_NeverTheirOwn(t *testing.T) {
	for name, make := range map[string]func(w *world) (asks, acts *directory.User){
		"as_a_member_of_a_group_of_one": func(w *world) (asks, acts *directory.User) {
			bob := w.create(person{name: "bob"})
			w.group("leads", bob)
			return bob, bob
		},
		"as_their_own_manager": func(w *world) (asks, acts *directory.User) {
			bob := w.create(person{name: "bob"})
			w.push("PATCH", "/Users/"+bob.ID, `{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[{"op":"Replace","path":"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager","value":"`+bob.ID+`"}]}`, http.StatusOK)
			return w.user(bob.ID), w.user(bob.ID)
		},
		"as_the_owner": func(w *world) (asks, acts *directory.User) {
			bob := w.create(person{name: "bob", mail: "Owner@example.com"})
			return bob, bob
		},
		"by_another_record_with_their_externalId": func(w *world) (asks, acts *directory.User) {
			bob, other := w.create(person{name: "bob", externalID: "same"}), w.create(person{name: "robert", externalID: "same"})
			w.group("leads", other)
			return bob, other
		},
		"by_another_account_with_their_address": func(w *world) (asks, acts *directory.User) {
			bob, other := w.create(person{name: "bob"}), w.create(person{name: "bob-admin", mail: "Bob@Example.com"})
			w.group("leads", other)
			return bob, other
		},
		"by_another_account_with_the_address_that_they_sign_in_with": func(w *world) (asks, acts *directory.User) {
			bob, other := w.create(person{name: "bob", mail: "robert@example.com"}), w.create(person{name: "bob-admin", mail: "bob@example.com"})
			w.group("leads", other)
			return bob, other
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.policies = sre()
			asks, acts := make(w)
			if offers := w.Offers(asks, "grafana"); len(offers) != 1 || !offers[0].NoApprovers {
				t.Errorf("the offer is %+v", offers)
			}
			if _, err := w.ask(asks); !errors.Is(err, admin.ErrNoApprovers) {
				t.Errorf("asking returns %v", err)
			}
			w.create(person{name: "other", mail: "owner@example.com"}) // so that somebody may approve
			if strings.Contains(name, "owner") {
				w.group("leads", w.create(person{name: "lead"}))
			}
			r := w.mustAsk(asks)
			if _, err := w.Approve(t.Context(), as(acts), r.ID, 0, ""); !errors.Is(err, admin.ErrOwnRequest) {
				t.Errorf("approving returns %v", err)
			}
			if err := w.Deny(t.Context(), as(acts), r.ID, "x"); !errors.Is(err, admin.ErrOwnRequest) {
				t.Errorf("denying returns %v", err)
			}
			if w.Waiting(acts) != 0 || !w.until(asks).IsZero() {
				t.Error("the request waits for the person who made it, or was granted")
			}
		})
	}
}

func TestApprove_OnlyByApprovers(t *testing.T) {
	w := newWorld(t)
	w.policies = sre()
	boss := w.create(person{name: "boss"})
	bob := w.create(person{name: "bob", manager: boss.ID})
	eve, owner, lead := w.create(person{name: "eve"}), w.create(person{name: "owner"}), w.create(person{name: "lead"})
	suspended := w.create(person{name: "suspended"})
	w.group("leads", lead, suspended)
	_, err := w.Suspend(t.Context(), ada, suspended.ID, "gone")
	must(t, err)
	r := w.mustAsk(bob)
	for _, u := range []*directory.User{eve, suspended, {ID: "unknown", UserName: "unknown"}} {
		if _, err := w.Approve(t.Context(), as(u), r.ID, 0, ""); !errors.Is(err, admin.ErrNoRequest) {
			t.Errorf("an approval by %s returns %v", u.UserName, err)
		}
		if _, err := w.Request(t.Context(), as(u), r.ID); !errors.Is(err, admin.ErrNoRequest) {
			t.Errorf("%s sees the request", u.UserName)
		}
		if err := w.Withdraw(t.Context(), as(u), r.ID); !errors.Is(err, admin.ErrNoRequest) {
			t.Errorf("a withdrawal by %s returns %v", u.UserName, err)
		}
	}
	w.group("sre", eve)
	if v, err := w.Request(t.Context(), as(bob), r.ID); err != nil || v.Others != nil || v.OthersCount != 0 || v.MayDecide || !v.Mine {
		t.Errorf("who asks sees who has it, or may decide: %+v, %v", v, err)
	}
	if v, err := w.Request(t.Context(), as(lead), r.ID); err != nil || !slices.Equal(v.Others, []string{"eve@example.com"}) || v.OthersCount != 1 {
		t.Errorf("an approver does not see who has it: %+v, %v", v, err)
	}
	for _, u := range []*directory.User{boss, owner, lead} {
		v, err := w.Request(t.Context(), as(u), r.ID)
		if err != nil || !v.MayDecide || v.Mine || w.Waiting(u) != 1 {
			t.Errorf("%s may not decide: %+v, %v", u.UserName, v, err)
		}
		slices.Sort(v.Approvers)
		if want := []string{"boss@example.com", "lead@example.com", "owner@example.com"}; !slices.Equal(v.Approvers, want) {
			t.Errorf("the approvers are %v", v.Approvers)
		}
	}
	w.create(person{name: "second-owner", mail: "owner@example.com"})
	if _, err := w.Approve(t.Context(), as(owner), r.ID, 0, ""); !errors.Is(err, admin.ErrNoRequest) {
		t.Errorf("one of two people with the owner's address approves: %v", err)
	}
	if _, err := w.Approve(t.Context(), as(boss), r.ID, 4*time.Hour, ""); err != nil {
		t.Error(err)
	}
	if w.until(bob).IsZero() {
		t.Error("nothing was granted")
	}
}

func TestApprove_NeedsDifferentPeopleWhoMayStillApprove(t *testing.T) {
	w := newWorld(t)
	w.policies = sre(func(q *policy.Requestable) { q.Approvals = 2 })
	bob, one, two := w.create(person{name: "bob"}), w.create(person{name: "one"}), w.create(person{name: "two"})
	alias := w.create(person{name: "alias", externalID: "ext-one"})
	leads := w.group("leads", one, alias)
	if _, err := w.ask(bob); !errors.Is(err, admin.ErrNoApprovers) {
		t.Errorf("one person with two records is enough to ask: %v", err)
	}
	w.push("PATCH", "/Groups/"+leads, `{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[{"op":"Add","path":"members","value":[{"value":"`+two.ID+`"}]}]}`, http.StatusNoContent)
	r := w.mustAsk(bob)
	v, err := w.Approve(t.Context(), as(one), r.ID, 2*time.Hour, "")
	if err != nil || v.State != grant.StateOpen || len(v.Approvals) != 1 || v.Needed != 2 {
		t.Fatalf("after one approval, the request is %+v, %v", v, err)
	}
	for _, u := range []*directory.User{one, alias} {
		if _, err := w.Approve(t.Context(), as(u), r.ID, 0, ""); !errors.Is(err, admin.ErrApprovedAlready) {
			t.Errorf("a second approval by %s returns %v", u.UserName, err)
		}
	}
	w.push("PATCH", "/Groups/"+leads, `{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[{"op":"Remove","path":"members[value eq \"`+one.ID+`\"]"}]}`, http.StatusNoContent)
	w.push("PATCH", "/Groups/"+leads, `{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[{"op":"Remove","path":"members[value eq \"`+alias.ID+`\"]"}]}`, http.StatusNoContent)
	if v, err := w.Approve(t.Context(), as(two), r.ID, 0, ""); err != nil || v.State != grant.StateOpen || len(v.Approvals) != 1 {
		t.Errorf("the approval of somebody who is no approver any more counts: %+v, %v", v, err)
	}
	w.push("PATCH", "/Groups/"+leads, `{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[{"op":"Add","path":"members","value":[{"value":"`+one.ID+`"}]}]}`, http.StatusNoContent)
	if v, err = w.Approve(t.Context(), as(one), r.ID, 30*time.Minute, ""); err != nil || v.State != grant.StateApproved {
		t.Fatalf("the request is %+v, %v", v, err)
	}
	if d := time.Until(w.until(bob)); d > 30*time.Minute || d < 29*time.Minute {
		t.Errorf("the grant lasts %s, longer than one of the approvers allowed", d)
	}
}

func TestApprove_SuspendedApproverDoesNotCountAfterwards(t *testing.T) {
	w := newWorld(t)
	w.policies = sre(func(q *policy.Requestable) { q.Approvals = 2 })
	bob, one, two := w.create(person{name: "bob"}), w.create(person{name: "one"}), w.create(person{name: "two"})
	w.group("leads", one, two)
	r := w.mustAsk(bob)
	_, err := w.Approve(t.Context(), as(one), r.ID, 0, "")
	must(t, err)
	_, err = w.Suspend(t.Context(), ada, one.ID, "stolen laptop")
	must(t, err)
	must(t, w.Unsuspend(t.Context(), ada, one.ID))
	if v, err := w.Approve(t.Context(), as(two), r.ID, 0, ""); err != nil || v.State != grant.StateOpen {
		t.Errorf("an approval from before a suspension counts: %+v, %v", v, err)
	}
}

func TestApprove_OperatorCountsAsAll(t *testing.T) {
	w := newWorld(t)
	w.policies = sre(func(q *policy.Requestable) { q.Approvals = 2 })
	bob := w.create(person{name: "bob"})
	w.group("leads", w.create(person{name: "one"}), w.create(person{name: "two"}))
	r := w.mustAsk(bob)
	for d, want := range map[time.Duration]error{5 * time.Hour: admin.ErrDuration, time.Second: admin.ErrDuration, -time.Hour: admin.ErrDuration} {
		if _, err := w.Approve(t.Context(), ada, r.ID, d, ""); !errors.Is(err, want) {
			t.Errorf("approving for %s returns %v", d, err)
		}
	}
	if v, err := w.Approve(t.Context(), ada, r.ID, 4*time.Hour, ""); err != nil || v.State != grant.StateApproved {
		t.Errorf("the request is %+v, %v", v, err)
	}
	if _, err := w.Approve(t.Context(), ada, r.ID, 0, ""); !errors.Is(err, admin.ErrDecided) {
		t.Errorf("approving again returns %v", err)
	}
	if err := w.Deny(t.Context(), ada, r.ID, "no"); !errors.Is(err, admin.ErrDecided) {
		t.Errorf("denying what was approved returns %v", err)
	}
}

// Leaving or a suspension kills the request and the grant, and coming back revives neither.
func TestGrant_DiesWithItsPerson(t *testing.T) {
	patch := func(w *world, u *directory.User, active bool) {
		w.push("PATCH", "/Users/"+u.ID, fmt.Sprintf(`{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[{"op":"Replace","path":"active","value":%t}]}`, active), http.StatusOK)
	}
	for name, leave := range map[string]func(w *world, u *directory.User) *directory.User{
		"suspended": func(w *world, u *directory.User) *directory.User {
			_, err := w.Suspend(w.t.Context(), ada, u.ID, "stolen laptop")
			must(w.t, err)
			must(w.t, w.Unsuspend(w.t.Context(), ada, u.ID))
			return w.user(u.ID)
		},
		"deactivated": func(w *world, u *directory.User) *directory.User {
			patch(w, u, false)
			patch(w, u, true)
			return w.user(u.ID)
		},
		"deleted": func(w *world, u *directory.User) *directory.User {
			w.push("DELETE", "/Users/"+u.ID, "", http.StatusNoContent)
			return w.create(person{name: "bob"})
		},
		"became_the_record_of_somebody_else": func(w *world, u *directory.User) *directory.User {
			for _, externalID := range []string{"ext-eve", u.ExternalID} {
				w.push("PATCH", "/Users/"+u.ID, `{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[{"op":"Replace","path":"externalId","value":"`+externalID+`"}]}`, http.StatusOK)
				if h := w.grants.Of(u.ID, w.user(u.ID).Epoch); h != nil {
					w.t.Errorf("%s holds %+v", externalID, h)
				}
			}
			return w.user(u.ID)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.policies = append(sre(), sre()...)
			w.policies[1].Name = "other"
			bob := w.create(person{name: "bob"})
			w.group("leads", w.create(person{name: "lead"}))
			granted := w.mustAsk(bob)
			_, err := w.Approve(t.Context(), ada, granted.ID, 0, "")
			must(t, err)
			waits, err := w.Ask(t.Context(), as(bob), admin.Asking{User: bob, Route: "grafana", Policy: "other", Reason: "x"})
			must(t, err)
			back := leave(w, bob)
			if h := w.grants.Of(back.ID, back.Epoch); h != nil {
				t.Errorf("after coming back, the person holds %+v", h)
			}
			if grants, _ := w.Grants(t.Context(), ada, false); len(grants) != 1 || grants[0].State != admin.GrantDead {
				t.Errorf("the grants are %+v", grants)
			}
			if _, err := w.Approve(t.Context(), ada, waits.ID, 0, ""); !errors.Is(err, admin.ErrNotEligible) {
				t.Errorf("approving a request from before returns %v", err)
			}
			if _, err := w.ask(bob); !errors.Is(err, admin.ErrNotOffered) {
				t.Errorf("a session from before asks: %v", err)
			}
			ctx, stop := context.WithCancel(t.Context())
			swept := w.grants.Changed()
			go func() { <-swept; stop() }()
			_ = w.Run(ctx)
			if grants, _ := w.Grants(t.Context(), ada, true); len(grants) != 1 || grants[0].State != admin.GrantDead || grants[0].Ended.IsZero() {
				t.Errorf("after a sweep, the grants are %+v", grants)
			}
			if v, _ := w.Request(t.Context(), ada, waits.ID); v.State != grant.StateExpired {
				t.Errorf("after a sweep, the request is %s", v.State)
			}
		})
	}
}

func TestRevokeGrant_EndsItAtOnce(t *testing.T) {
	w := newWorld(t)
	w.policies = sre()
	bob, lead, eve := w.create(person{name: "bob"}), w.create(person{name: "lead"}), w.create(person{name: "eve"})
	w.group("leads", lead)
	for _, actor := range []admin.Actor{ada, as(lead), as(bob)} {
		r := w.mustAsk(bob)
		v, err := w.Approve(t.Context(), as(lead), r.ID, 0, "")
		must(t, err)
		if err := w.RevokeGrant(t.Context(), as(eve), v.Grant, "x"); !errors.Is(err, admin.ErrNoGrant) {
			t.Errorf("eve's revocation returns %v", err)
		}
		if err := w.RevokeGrant(t.Context(), actor, v.Grant, " "); !errors.Is(err, admin.ErrReason) {
			t.Errorf("without a reason, revoking returns %v", err)
		}
		must(t, w.RevokeGrant(t.Context(), actor, v.Grant, "done"))
		if !w.until(bob).IsZero() {
			t.Errorf("the grant that %s revoked is open", actor.Name)
		}
		if err := w.RevokeGrant(t.Context(), actor, v.Grant, "again"); !errors.Is(err, admin.ErrGrantEnded) {
			t.Errorf("revoking again returns %v", err)
		}
	}
	last := w.events()
	if e := last[len(last)-1]; e.Kind != audit.KindGrant || e.Reason != "revoked" || e.Actor != as(bob) || e.Detail["why"] != "done" {
		t.Errorf("the event is %+v", e)
	}
	if grants, _ := w.Grants(t.Context(), as(eve), true); len(grants) != 0 {
		t.Errorf("eve sees %+v", grants)
	}
	if grants, _ := w.Grants(t.Context(), as(bob), true); len(grants) != 3 || grants[0].State != admin.GrantRevoked {
		t.Errorf("bob sees %+v", grants)
	}
}

func TestAsk_Limits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		for i := range 7 {
			w.policies = append(w.policies, sre()[0])
			w.policies[i].Name = fmt.Sprint("p", i)
		}
		bob := w.create(person{name: "bob"})
		w.group("leads", w.create(person{name: "lead"}))
		ask := func(policy string) (grant.Request, error) {
			return w.Ask(t.Context(), as(bob), admin.Asking{User: bob, Route: "grafana", Policy: policy, Reason: "x"})
		}
		for i := range 5 {
			_, err := ask(fmt.Sprint("p", i))
			must(t, err)
		}
		if _, err := ask("p5"); !errors.Is(err, admin.ErrTooManyRequests) {
			t.Errorf("a sixth open request returns %v", err)
		}
		made := 5
		for range 1000 {
			r, err := ask("p0")
			if err != nil {
				if !errors.Is(err, admin.ErrTooManyRequests) {
					t.Fatal(err)
				}
				continue
			}
			if made++; w.Withdraw(t.Context(), as(bob), r.ID) != nil {
				t.Fatal("a request cannot be withdrawn")
			}
		}
		if made != 21 { // the first of p0 was there already
			t.Errorf("in one day, %d requests were made", made-1)
		}
		if all, _ := w.Requests(t.Context(), ada); len(all) != 20 {
			t.Errorf("%d requests are stored", len(all))
		}
		if n := len(w.events()); n > 100 {
			t.Errorf("a thousand attempts leave %d events", n)
		}
		time.Sleep(24 * time.Hour)
		if _, err := ask("p0"); err != nil {
			t.Errorf("the next day, asking returns %v", err)
		}
	})
}

// TestAsk_AtTheSameTimeMakesOne: of many that a person sends at once, one is made, and the record does not tell of another.
func TestAsk_AtTheSameTimeMakesOne(t *testing.T) {
	w := newWorld(t)
	w.policies = sre()
	bob := w.create(person{name: "bob"})
	w.group("leads", w.create(person{name: "lead"}))
	var all sync.WaitGroup
	ids := make([]string, 20)
	for i := range ids {
		all.Go(func() {
			if r, err := w.ask(bob); err == nil {
				ids[i] = r.ID
			}
		})
	}
	all.Wait()
	for _, id := range ids {
		if id == "" || id != ids[0] {
			t.Fatalf("the requests are %v", ids)
		}
	}
	made := 0
	for _, e := range w.events() {
		if e.Kind == audit.KindRequest && e.Reason == "made" {
			made++
		} else if e.Kind == audit.KindRequest && e.Reason == "failed" {
			made--
		}
	}
	if made != 1 || len(w.grants.MadeBy(bob.ID)) != 1 {
		t.Errorf("the record tells of %d requests, and %d are stored", made, len(w.grants.MadeBy(bob.ID)))
	}
}

func TestAsk_RejectsWithoutATrace(t *testing.T) {
	w := newWorld(t)
	w.policies = sre(func(q *policy.Requestable) { q.By = policy.Requesters{Groups: []policy.GroupRef{{ID: "engineers"}}} })
	w.policies = append(w.policies, policy.Named{Name: "plain", Rules: []policy.Rule{{Allow: &policy.Match{Groups: []policy.GroupRef{{ID: "sre"}}}}}})
	bob, eve := w.create(person{name: "bob"}), w.create(person{name: "eve"})
	w.group("engineers", bob)
	w.group("leads", w.create(person{name: "lead"}))
	before := len(w.events())
	for name, c := range map[string]struct {
		actor admin.Actor
		ask   admin.Asking
		want  error
	}{
		"not_eligible":       {as(eve), admin.Asking{User: eve, Route: "grafana", Policy: "sre", Reason: "x"}, admin.ErrNotOffered},
		"for_another":        {as(eve), admin.Asking{User: bob, Route: "grafana", Policy: "sre", Reason: "x"}, admin.ErrNotOffered},
		"no_user":            {as(bob), admin.Asking{Route: "grafana", Policy: "sre", Reason: "x"}, admin.ErrNotOffered},
		"not_requestable":    {as(bob), admin.Asking{User: bob, Route: "grafana", Policy: "plain", Reason: "x"}, admin.ErrNotOffered},
		"unknown_policy":     {as(bob), admin.Asking{User: bob, Route: "grafana", Policy: "none", Reason: "x"}, admin.ErrNotOffered},
		"unknown_route":      {as(bob), admin.Asking{User: bob, Route: "none", Policy: "sre", Reason: "x"}, admin.ErrNotOffered},
		"no_reason":          {as(bob), admin.Asking{User: bob, Route: "grafana", Policy: "sre", Reason: " "}, admin.ErrReason},
		"invisible_reason":   {as(bob), admin.Asking{User: bob, Route: "grafana", Policy: "sre", Reason: "\u200b \u200e"}, admin.ErrReason},
		"long_reason":        {as(bob), admin.Asking{User: bob, Route: "grafana", Policy: "sre", Reason: strings.Repeat("x", 501)}, admin.ErrReason},
		"control_character":  {as(bob), admin.Asking{User: bob, Route: "grafana", Policy: "sre", Reason: "a\x1bb"}, admin.ErrReason},
		"line_break":         {as(bob), admin.Asking{User: bob, Route: "grafana", Policy: "sre", Reason: "a\nb"}, admin.ErrReason},
		"direction_override": {as(bob), admin.Asking{User: bob, Route: "grafana", Policy: "sre", Reason: "a\u202eb"}, admin.ErrReason},
		"not_UTF8":           {as(bob), admin.Asking{User: bob, Route: "grafana", Policy: "sre", Reason: "a\xffb"}, admin.ErrReason},
	} {
		if _, err := w.Ask(t.Context(), c.actor, c.ask); !errors.Is(err, c.want) {
			t.Errorf("%s: asking returns %v", name, err)
		}
	}
	if len(w.events()) != before {
		t.Error("what was rejected is recorded")
	}
	if w.Offers(eve, "grafana") != nil || w.Offers(bob, "none") != nil {
		t.Error("what cannot be asked for is offered")
	}
}

func TestAsk_KeepsOnlyTheAddressOfTheRoute(t *testing.T) {
	w := newWorld(t)
	w.policies = sre()
	w.group("leads", w.create(person{name: "lead"}))
	for i, address := range []string{"https://evil.example/", "javascript:alert(1)", "https://grafana.example.com@evil.example/", "//grafana.example.com/x", "%zz", "https://grafana.example.com/" + strings.Repeat("x", 2000)} {
		u := w.create(person{name: fmt.Sprint("u", i)})
		r, err := w.Ask(t.Context(), as(u), admin.Asking{User: u, Route: "grafana", Policy: "sre", URL: address, Reason: "x"})
		if err != nil || r.URL != "" {
			t.Errorf("%.60s is stored as %q, %v", address, r.URL, err)
		}
	}
}

// TestOffers_OnlyWhatHelps: what would not let the user in is not offered.
func TestOffers_OnlyWhatHelps(t *testing.T) {
	w := newWorld(t)
	bob := w.create(person{name: "bob"})
	w.group("leads", w.create(person{name: "lead"}))
	w.group("contractors", bob)
	bob = w.user(bob.ID)
	deny := func(m policy.Match) []policy.Named {
		list := sre()
		list[0].Rules = append(list[0].Rules, policy.Rule{Deny: &m})
		return list
	}
	contractors := []policy.GroupRef{{ID: "contractors"}}
	readOnly := sre(func(q *policy.Requestable) { q.Allow = &policy.Match{Methods: []string{"GET"}} })
	for name, c := range map[string]struct {
		policies     []policy.Named
		method, path string
		want         int
	}{
		"always_denied":      {deny(policy.Match{Groups: contractors}), "", "", 0},
		"denied_elsewhere":   {deny(policy.Match{Groups: contractors, Paths: []string{"/admin/**"}}), "GET", "/d/1", 1},
		"denied_there":       {deny(policy.Match{Groups: contractors, Paths: []string{"/admin/**"}}), "GET", "/admin/x", 0},
		"denied_for_a_part":  {deny(policy.Match{Groups: contractors, Paths: []string{"/admin/**"}}), "", "", 1},
		"method_left_out":    {readOnly, "POST", "/", 0},
		"method_in":          {readOnly, "GET", "/", 1},
		"of_another_network": {sre(func(q *policy.Requestable) { q.Allow = &policy.Match{Networks: []string{"192.0.2.0/24"}} }), "GET", "/", 1},
	} {
		w.policies = c.policies
		if offers := w.OffersFor(bob, "grafana", c.method, c.path); len(offers) != c.want {
			t.Errorf("%s: %d offers", name, len(offers))
		}
	}
}

// TestDecide_OneWins: of those who decide at the same time, one does.
func TestDecide_OneWins(t *testing.T) {
	w := newWorld(t)
	w.policies = sre(func(q *policy.Requestable) { q.Approvals = 2 })
	var leads []*directory.User
	for i := range 4 {
		leads = append(leads, w.create(person{name: fmt.Sprint("lead", i)}))
	}
	w.group("leads", leads...)
	for i := range 10 {
		bob := w.create(person{name: fmt.Sprint("bob", i)})
		r := w.mustAsk(bob)
		var all sync.WaitGroup
		var mu sync.Mutex
		denied := 0
		for _, lead := range leads {
			all.Go(func() { _, _ = w.Approve(context.Background(), as(lead), r.ID, 0, "") })
		}
		all.Go(func() {
			if w.Deny(context.Background(), ada, r.ID, "no") == nil {
				mu.Lock()
				defer mu.Unlock()
				denied++
			}
		})
		all.Wait()
		v, err := w.Request(t.Context(), ada, r.ID)
		must(t, err)
		if got := w.until(bob).IsZero(); got != (denied == 1) || (v.State == grant.StateDenied) != (denied == 1) {
			t.Errorf("the request is %s, granted: %t, and %d denials succeeded", v.State, !got, denied)
		}
		if grants := w.grants.All(bob.ID, time.Now(), true); len(grants) > 1 || len(grants) == 1 && len(grants[0].By) != 2 {
			t.Errorf("the grants are %+v", grants)
		}
	}
}

// TestAsk_RecordsNoRequestThatWasNotMade: of requests that are made at the same moment one is made, and the record says of
// the others that they were not.
func TestAsk_RecordsNoRequestThatWasNotMade(t *testing.T) {
	w := newWorld(t)
	w.policies = sre()
	w.group("leads", w.create(person{name: "lead"}))
	var made []string
	for i := range 20 {
		bob := w.create(person{name: fmt.Sprint("bob", i)})
		ids := make(chan string, 4)
		var all sync.WaitGroup
		for range cap(ids) {
			all.Go(func() {
				if r, err := w.ask(bob); err == nil {
					ids <- r.ID
				}
			})
		}
		all.Wait()
		close(ids)
		id := <-ids
		for other := range ids {
			if other != id {
				t.Errorf("asking at once makes the requests %s and %s", id, other)
			}
		}
		made = append(made, id)
	}
	open := map[string]int{}
	for _, e := range w.events() {
		switch {
		case e.Kind != audit.KindRequest:
		case e.Reason == "made":
			open[e.Detail["request"]]++
		case e.Reason == "failed" && e.Detail["action"] == "made":
			open[e.Detail["request"]]--
		}
	}
	for id, n := range open {
		if want := slices.Contains(made, id); want != (n == 1) || n < 0 {
			t.Errorf("the record says %d times that %s was made; it was made: %t", n, id, want)
		}
	}
}

// TestRevokeGrant_AfterTheClockWasSetBack: a grant that lets its person in can be seen and ended, also if it begins in the
// future by a clock that was set back.
func TestRevokeGrant_AfterTheClockWasSetBack(t *testing.T) {
	w := newWorld(t)
	w.policies = sre()
	bob := w.create(person{name: "bob"})
	now := time.Now().UTC()
	g := grant.Grant{ID: "g1", Person: grant.Person{ID: bob.ID, Epoch: bob.Epoch}, Policy: "sre", By: []string{"lead"}, Began: now.Add(time.Hour), Until: now.Add(2 * time.Hour)}
	text, err := json.Marshal(g)
	must(t, err)
	changed := w.grants.Changed()
	_, err = w.store.Update(t.Context(), func(tx store.Writer) error { return tx.Put([]byte("grants/"+bob.ID+"/g1"), text) })
	must(t, err)
	<-changed
	if !w.until(bob).After(now) {
		t.Fatal("the grant lets nobody in")
	}
	if grants, _ := w.Grants(t.Context(), ada, false); len(grants) != 1 || grants[0].State != admin.GrantOpen {
		t.Errorf("the grants are %+v", grants)
	}
	if n, _ := w.grants.Open(now); n != 1 {
		t.Errorf("%d grants are open", n)
	}
	must(t, w.RevokeGrant(t.Context(), ada, "g1", "the clock is wrong"))
	if !w.until(bob).IsZero() {
		t.Error("the grant lets bob in after it was revoked")
	}
	if grants, _ := w.Grants(t.Context(), ada, true); len(grants) != 1 || grants[0].State != admin.GrantRevoked {
		t.Errorf("the grants are %+v", grants)
	}
}

// TestApprove_SaysThatTooManyGrantsAreOpen tells the approver about grants, not about the requests of the person.
func TestApprove_SaysThatTooManyGrantsAreOpen(t *testing.T) {
	w := newWorld(t)
	w.policies = sre()
	bob, lead := w.create(person{name: "bob"}), w.create(person{name: "lead"})
	w.group("leads", lead)
	r := w.mustAsk(bob)
	now := time.Now()
	changed := w.grants.Changed()
	_, err := w.store.Update(t.Context(), func(tx store.Writer) error {
		for i := range 10_000 {
			g := grant.Grant{ID: fmt.Sprint("g", i), Person: grant.Person{ID: lead.ID, Epoch: lead.Epoch}, Policy: "other", Began: now, Until: now.Add(time.Hour)}
			text, err := json.Marshal(g)
			if err := errors.Join(err, tx.Put([]byte("grants/"+lead.ID+"/"+g.ID), text)); err != nil {
				return err
			}
		}
		return nil
	})
	must(t, err)
	<-changed
	if _, err := w.Approve(t.Context(), as(lead), r.ID, 0, ""); !errors.Is(err, admin.ErrTooManyGrants) || errors.Is(err, admin.ErrTooManyRequests) {
		t.Errorf("approving returns %v", err)
	}
	if !w.until(bob).IsZero() {
		t.Error("the grant has begun")
	}
}

// TestAsk_NotForWhatAReviewTookBack: whoever lost a membership by a review cannot get the same access by a request, not
// even with a form made by hand or one that was open before.
func TestAsk_NotForWhatAReviewTookBack(t *testing.T) {
	w := newWorld(t)
	w.policies = sre()
	bob, eve, lead := w.create(person{name: "bob"}), w.create(person{name: "eve"}), w.create(person{name: "lead"})
	w.group("leads", lead)
	group, other := w.group("sre", bob), w.group("other", eve)
	bob = w.user(bob.ID)
	r := w.mustAsk(bob)
	for user, of := range map[string]string{bob.ID: group, eve.ID: other} {
		text, err := json.Marshal(grant.Revocation{User: user, Group: of, Key: map[string]string{group: "sre", other: "other"}[of], Since: time.Now()})
		must(t, err)
		changed := w.grants.Changed()
		_, err = w.store.Update(t.Context(), func(tx store.Writer) error { return tx.Put([]byte("revoked/"+user+"/"+of), text) })
		must(t, err)
		<-changed
	}
	w.policies[0].Rules[0].Allow.Paths = []string{"/a/**"}
	for _, path := range []string{"", "/a/x", "/b"} { // as Ask, which knows no path
		if offers := w.OffersFor(bob, "grafana", "GET", path); len(offers) != 0 {
			t.Errorf("at %q, bob is offered %+v", path, offers)
		}
	}
	if _, err := w.Approve(t.Context(), as(lead), r.ID, 0, ""); !errors.Is(err, admin.ErrNotEligible) {
		t.Errorf("approving what was open returns %v", err)
	}
	must(t, w.Withdraw(t.Context(), as(bob), r.ID))
	if _, err := w.ask(bob); !errors.Is(err, admin.ErrNotOffered) {
		t.Errorf("asking returns %v", err)
	}
	w.mustAsk(w.user(eve.ID)) // of whom something else was taken back
}
