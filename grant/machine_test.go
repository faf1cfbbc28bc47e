package grant_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sallyport/grant"
	"sallyport/store"
)

// model is what must be so after random steps over a real store.
type model struct {
	*world
	now    time.Time
	epochs map[string]uint64
	asked  []string                // ids
	made   map[string][]time.Time  // by user
	open   map[string]*grant.Grant // by id: what the user holds if time and epoch allow
}

var people = []string{"ann", "bob"}

// step does one random thing and changes the model accordingly.
func (m *model) step(t *rapid.T) {
	user := rapid.SampledFrom(people).Draw(t, "user")
	switch rapid.SampledFrom([]string{"ask", "ask", "ask", "ask", "approve", "approve", "approve", "approve", "leave", "deny", "withdraw", "revoke", "wait", "leave", "sweep", "reopen", "copy"}).Draw(t, "step") {
	case "ask":
		m.ask(t, user)
	case "approve":
		m.approve(t, user)
	case "deny":
		m.end(t, grant.StateDenied)
	case "withdraw":
		m.end(t, grant.StateWithdrawn)
	case "revoke":
		m.revoke(t)
	case "wait":
		m.now = m.now.Add(rapid.SampledFrom([]time.Duration{time.Second, 30 * time.Minute, 5 * time.Hour, 3 * 24 * time.Hour}).Draw(t, "for"))
	case "leave":
		m.epochs[user]++
	case "sweep":
		m.sweep(t)
	case "reopen":
		m.reopen()
	case "copy":
		m.clear(t)
	}
}

func noCheck() error { return nil }

func (m *model) ask(t *rapid.T, user string) {
	r := grant.NewRequest(grant.Person{ID: user, UserName: user, Epoch: m.epochs[user]}, m.now)
	r.Policy = rapid.SampledFrom([]string{"p1", "p1", "p2", "p3", "p4", "p5", "p6"}).Draw(t, "policy")
	stored, err := m.grants.Ask(m.t.Context(), r, noCheck)
	switch {
	case errors.Is(err, grant.ErrPerson):
	case err != nil:
		t.Fatal(err)
	case stored.ID == r.ID:
		m.asked, m.made[user] = append(m.asked, r.ID), append(m.made[user], m.now)
	case stored.Person != r.Person || stored.Policy != r.Policy || !stored.OpenAt(m.now):
		t.Fatalf("asking returns another request: %+v", stored)
	}
}

// request returns the request that a step is about, or false.
func (m *model) request(t *rapid.T) (grant.Request, bool) {
	if len(m.asked) == 0 {
		return grant.Request{}, false
	}
	newest := m.asked[max(0, len(m.asked)-6):] // which are more often open
	r, err := m.grants.Request(rapid.SampledFrom(newest).Draw(t, "request"))
	if err != nil {
		t.Fatal(err)
	}
	return r, true
}

// approve is an approval by a user or (ann, of all requests) an operator, of a plan that may be made from what was seen
// before.
func (m *model) approve(t *rapid.T, user string) {
	r, ok := m.request(t)
	if !ok {
		return
	}
	own := grant.Approval{By: user, Name: user, At: m.now, For: time.Hour}
	if rapid.Bool().Draw(t, "operator") {
		own.By = ""
	}
	a := grant.Approving{Seen: r.Approvals, Count: append(slices.Clone(r.Approvals), own), For: time.Hour, At: m.now, Check: noCheck}
	stale := rapid.IntRange(0, 9).Draw(t, "stale") == 0
	if stale {
		a.Seen = append(a.Seen, own)
	}
	if len(a.Count) >= 2 || own.By == "" {
		a.Grant = grant.NewID()
	}
	again := slices.ContainsFunc(r.Approvals, func(other grant.Approval) bool { return own.By != "" && other.By == own.By })
	stored, err := m.grants.Approve(m.t.Context(), r.ID, a)
	switch {
	case err == nil && (!r.OpenAt(m.now) || stale || own.By == r.Person.ID || again):
		t.Fatalf("%+v is approved by %+v", r, own)
	case err != nil && r.OpenAt(m.now) && !stale && own.By != r.Person.ID && !again:
		t.Fatal(err)
	case err == nil && a.Grant != "":
		g, err := m.grants.Grant(stored.Grant)
		if err != nil || g.Person != r.Person || g.Policy != r.Policy || len(g.By) != len(a.Count) {
			t.Fatalf("the grant is %+v, %v", g, err)
		}
		m.open[g.ID] = &g
	}
}

func (m *model) end(t *rapid.T, state grant.State) {
	r, ok := m.request(t)
	if !ok {
		return
	}
	if _, err := m.grants.End(m.t.Context(), r.ID, state, "x", "", m.now); (err == nil) != r.OpenAt(m.now) {
		t.Fatalf("ending %+v returns %v", r, err)
	}
}

func (m *model) revoke(t *rapid.T) {
	all := m.grants.All("", m.now, true)
	if len(all) == 0 {
		return
	}
	g := rapid.SampledFrom(all).Draw(t, "grant")
	if _, err := m.grants.Revoke(m.t.Context(), g.Person.ID, g.ID, "x", "y", m.now); (err == nil) != g.OpenAt(m.now) {
		t.Fatalf("revoking %+v returns %v", g, err)
	}
	if g.OpenAt(m.now) {
		delete(m.open, g.ID)
	}
}

func (m *model) sweep(t *rapid.T) {
	due := m.grants.Due(m.now, func(p grant.Person) bool { return m.epochs[p.ID] == p.Epoch })
	if err := m.grants.Sweep(m.t.Context(), due, m.now); err != nil {
		t.Fatal(err)
	}
	if err := m.grants.Prune(m.t.Context(), m.now); err != nil {
		t.Fatal(err)
	}
	if again := m.grants.Due(m.now, func(p grant.Person) bool { return m.epochs[p.ID] == p.Epoch }); !again.Empty() {
		t.Fatalf("after a sweep, due is %+v", again)
	}
}

// clear does what is done to a copy of the store before it is served from.
func (m *model) clear(t *rapid.T) {
	changed := m.grants.Changed()
	before, _ := m.grants.Open(m.now)
	if _, err := m.store.Update(m.t.Context(), func(w store.Writer) error { return grant.Clear(w, m.now) }); err != nil {
		t.Fatal(err)
	}
	if before > 0 {
		<-changed
	}
	m.reopen()
	clear(m.open)
	if grants, requests := m.grants.Open(m.now); grants+requests > 0 {
		t.Fatalf("a copy has %d grants and %d requests", grants, requests)
	}
}

// check compares what decisions depend on with the model.
func (m *model) check(t *rapid.T) {
	for _, user := range people {
		for _, policy := range []string{"p1", "p2", "p3", "p4", "p5", "p6"} {
			for epoch := range m.epochs[user] + 2 {
				want := time.Time{}
				for _, g := range m.open {
					if g.Person.ID == user && g.Person.Epoch == epoch && epoch == m.epochs[user] && g.Policy == policy && g.Until.After(m.now) && g.Until.After(want) {
						want = g.Until
					}
				}
				var got time.Time
				if h := m.grants.Of(user, epoch); h != nil && h.Until(policy).After(m.now) {
					got = h.Until(policy)
				}
				if epoch == m.epochs[user] && !got.Equal(want) || epoch > m.epochs[user] && !got.IsZero() {
					t.Fatalf("%s of epoch %d holds %s until %s, not %s", user, epoch, policy, got, want)
				}
			}
		}
		open, lately := 0, 0
		for _, r := range m.grants.MadeBy(user) {
			if r.OpenAt(m.now) && r.Person.Epoch == m.epochs[user] {
				open++
			}
		}
		for _, at := range m.made[user] {
			if m.now.Sub(at) < 24*time.Hour {
				lately++
			}
		}
		if open > 5 || lately > 20 {
			t.Fatalf("%s has %d open requests, and made %d in a day", user, open, lately)
		}
	}
}

// TestGrants_AreWhatWasApproved: after any steps, restarts among them, a user holds what different people approved, in
// the epoch in which they asked, until its time, unless it was revoked.
func TestGrants_AreWhatWasApproved(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := &model{world: newWorld(t), now: began, epochs: map[string]uint64{}, made: map[string][]time.Time{}, open: map[string]*grant.Grant{}}
		defer m.stop()
		for range rapid.IntRange(1, 120).Draw(rt, "steps") {
			m.step(rt)
			m.check(rt)
		}
	})
}

func TestPrune_DeletesWhatEndedLongAgo(t *testing.T) {
	w := newWorld(t)
	old := grantTo("bob", 0)
	old.Ended = old.Until
	for i, made := range []time.Time{began, began.Add(48 * time.Hour)} {
		r := grant.NewRequest(grant.Person{ID: "bob"}, made)
		r.ID, r.State, r.Decided = fmt.Sprint("r", i), grant.StateDenied, made
		w.write("request/"+r.ID, r)
	}
	w.put("grants/bob/g1", old) // after which memory has the requests too
	if err := w.grants.Prune(t.Context(), began.Add(grant.Keep+24*time.Hour)); err != nil {
		t.Fatal(err)
	}
	if all := w.grants.Requests(); len(all) != 1 || all[0].ID != "r1" {
		t.Errorf("the requests are %+v", all)
	}
	if all := w.grants.All("", began, true); len(all) != 0 {
		t.Errorf("the grants are %+v", all)
	}
}

func TestAt_KnowsWhoHeldWhat(t *testing.T) {
	w := newWorld(t)
	revoked := grantTo("bob", 3)
	revoked.Ended = began.Add(10 * time.Minute)
	w.put("grants/bob/g1", revoked)
	for _, c := range []struct {
		at    time.Time
		epoch uint64
		holds bool
	}{{began.Add(-time.Second), 3, false}, {began, 3, true}, {began.Add(9 * time.Minute), 3, true}, {began.Add(9 * time.Minute), 4, false}, {began.Add(10 * time.Minute), 3, false}} {
		past, err := w.grants.At(t.Context(), c.at)
		if err != nil {
			t.Fatal(err)
		}
		if h := past("bob", c.epoch); (h != nil && h.Until("sre").After(c.at)) != c.holds {
			t.Errorf("at %s in epoch %d, bob holds %+v", c.at, c.epoch, h)
		}
	}
}
