package admin_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
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

// reviewed is a world with grants, a group SRE, and a route that it reaches.
type reviewed struct {
	*world
	grants *grant.Grants
	sre    string // our id of the group
	stop   func()
}

const sreID = "61503835-0000-0000-0000-000000000001"

func newReviewed(t *testing.T) *reviewed {
	t.Helper()
	w := &reviewed{world: newWorld(t)}
	w.open()
	t.Cleanup(func() { w.stop() })
	w.sre = w.group("SRE", sreID)
	return w
}

// open opens what a running server has beside the world, as after a restart.
func (w *reviewed) open() {
	var err error
	w.grants, err = grant.Open(w.t.Context(), w.store)
	must(w.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = w.grants.Run(ctx) })
	w.stop = func() { cancel(); running.Wait() }
	w.directory.TellOfLeavers(grant.EndMemberships)
	w.Admin = admin.New(admin.Parts{Directory: w.directory, Sessions: w.sessions, Provisioning: w.provisioning, Audit: w.log, Store: w.store, Grants: w.grants, Version: "1.2.3"})
}

// restart ends memory and reads it again.
func (w *reviewed) restart() {
	w.stop()
	w.open()
}

func (w *reviewed) group(name, externalID string) (id string) {
	w.t.Helper()
	return w.push("POST", "/Groups", `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:Group"],"displayName":"`+name+`","externalId":"`+externalID+`"}`, http.StatusCreated)
}

// patch sends operations in one PATCH.
func (w *reviewed) patch(path string, operations ...string) {
	w.t.Helper()
	w.push("PATCH", path, `{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[`+strings.Join(operations, ",")+`]}`, http.StatusNoContent)
}

func member(op, user string) string {
	return fmt.Sprintf(`{"op":%q,"path":"members","value":[{"value":%q}]}`, op, user)
}

func (w *reviewed) join(group string, users ...string) {
	w.t.Helper()
	for _, user := range users {
		w.patch("/Groups/"+group, member("add", user))
	}
}

func routeOf(t testing.TB, rules ...policy.Rule) *access.Route {
	t.Helper()
	others := &policy.Match{} // with this many names, the policy keeps which rules may match a caller
	for i := range 30 {
		others.Users = append(others.Users, fmt.Sprintf("nobody%d@example.com", i))
	}
	p, err := policy.Compile([]policy.Named{{Name: "sre", Rules: append(rules, policy.Rule{Deny: others})}}, policy.Options{TrustGroupNames: true})
	must(t, err)
	return &access.Route{Name: "app", Host: "app.example.com", Path: "/", Owner: "owner@example.com", Session: true, Policy: p}
}

func allowGroup(refs ...policy.GroupRef) policy.Rule {
	return policy.Rule{Allow: &policy.Match{Groups: refs}}
}

func (w *reviewed) start(route *access.Route, reviewer grant.ReviewerKind) (id string) {
	w.t.Helper()
	v, err := w.StartReview(w.t.Context(), ada, admin.NewReview{Route: route, Due: 14 * 24 * time.Hour, Reviewer: reviewer})
	must(w.t, err)
	return v.ID
}

func (w *reviewed) decide(id string, d grant.Decision, rows ...int) error {
	_, err := w.DecideRows(w.t.Context(), ada, admin.ReviewDecision{Review: id, Rows: rows, Decision: d, Why: "because"})
	return err
}

// reason returns why a GET of the user on the route is allowed or denied.
func (w *reviewed) reason(route *access.Route, user string) string {
	w.t.Helper()
	u, ok := w.directory.ByID(user)
	if !ok {
		return "unknown"
	}
	req := policy.Request{Method: "GET", Host: route.Host, Path: "/", Time: time.Now()}
	access.SetCaller(&req, u, "", nil)
	access.SetGrants(&req, u, w.grants.Of)
	return string(route.Policy.Decide(&req).Reason)
}

func (w *reviewed) wantReason(route *access.Route, user, want, when string) {
	w.t.Helper()
	if got := w.reason(route, user); got != want {
		w.t.Errorf("%s, the decision is %s, want %s", when, got, want)
	}
}

// settle waits until grants have what the directory has.
func (w *reviewed) settle() {
	w.t.Helper()
	must(w.t, w.grants.Wait(w.t.Context(), storeRevision(w.directory)))
}

func (w *reviewed) rows(id string) []admin.ReviewRow {
	w.t.Helper()
	v, err := w.Review(w.t.Context(), ada, id)
	must(w.t, err)
	return v.Rows
}

func TestReview_DecidesAtOnceAndLifts(t *testing.T) {
	w := newReviewed(t)
	bob := w.createUser("bob@example.com")
	w.join(w.sre, bob)
	byName := routeOf(t, allowGroup(policy.GroupRef{Name: "SRE"}))
	route := routeOf(t, allowGroup(policy.GroupRef{ID: sreID}))
	id := w.start(route, "")
	must(t, w.decide(id, grant.DecisionRevoke, 1))
	for _, r := range []*access.Route{route, byName} {
		w.wantReason(r, bob, "access_revoked", "after the revocation")
	}
	if row := w.rows(id)[0]; row.Decision != grant.DecisionRevoke || row.By != "ada" || row.Why != "because" || !slices.Equal(row.Revoked, []string{"SRE"}) || !row.Active {
		t.Errorf("the row is %+v", row)
	}
	if err := w.decide(id, grant.DecisionAsk, 1); !errors.Is(err, grant.ErrRevoked) {
		t.Errorf("to ask about it says %v", err)
	}
	w.restart()
	w.wantReason(route, bob, "access_revoked", "after a restart")
	must(t, w.decide(id, grant.DecisionKeep, 1))
	w.wantReason(route, bob, "rule_allow", "after it was lifted")
	var reasons []string
	for _, e := range w.lastEvents(3) {
		reasons = append(reasons, string(e.Kind)+" "+e.Reason+" "+e.UserName+" "+e.Detail["groups"]+" "+e.Detail["lifted"])
	}
	want := []string{"review started   ", "review revoked bob@example.com " + sreID + " ", "review kept bob@example.com " + sreID + " ada"}
	if !slices.Equal(reasons, want) {
		t.Errorf("recorded are\n%q\nwant\n%q", reasons, want)
	}
}

// TestReview_RevocationOutlivesEverythingButTheMembership: nothing that the identity provider pushes lifts a revocation,
// but for the removal of the membership.
func TestReview_RevocationOutlivesEverythingButTheMembership(t *testing.T) {
	other := policy.GroupRef{ID: "61503835-0000-0000-0000-000000000009"}
	for _, c := range []struct {
		name string
		push func(w *reviewed, bob string)
		want string // reason, by rules that name the group by either id, or by either name
	}{
		{"nothing", func(*reviewed, string) {}, "access_revoked"},
		{"added_again", func(w *reviewed, bob string) { w.join(w.sre, bob) }, "access_revoked"},
		{"removed_and_added_at_once", func(w *reviewed, bob string) {
			w.patch("/Groups/"+w.sre, member("remove", bob), member("add", bob))
		}, "access_revoked"},
		{"members_replaced_by_the_same", func(w *reviewed, bob string) { w.patch("/Groups/"+w.sre, member("replace", bob)) }, "access_revoked"},
		{"group_renamed", func(w *reviewed, _ string) {
			w.patch("/Groups/"+w.sre, `{"op":"replace","path":"displayName","value":"Ops"}`)
		}, "access_revoked"},
		{"group_with_another_id", func(w *reviewed, _ string) {
			w.patch("/Groups/"+w.sre, `{"op":"replace","path":"externalId","value":"`+other.ID+`"}`)
		}, "access_revoked"},
		{"deactivated_and_back", func(w *reviewed, bob string) {
			w.deactivate(bob, http.StatusOK)
			w.push("PATCH", "/Users/"+bob, `{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[{"op":"Replace","path":"active","value":true}]}`, http.StatusOK)
		}, "access_revoked"},
		{"removed_and_added", func(w *reviewed, bob string) {
			w.patch("/Groups/"+w.sre, member("remove", bob))
			w.join(w.sre, bob)
		}, "rule_allow"},
		{"group_deleted_and_back", func(w *reviewed, bob string) {
			w.push("DELETE", "/Groups/"+w.sre, "", http.StatusNoContent)
			w.join(w.group("SRE", sreID), bob)
		}, "rule_allow"},
		{"all_members_removed", func(w *reviewed, bob string) {
			w.patch("/Groups/"+w.sre, `{"op":"remove","path":"members"}`)
			w.join(w.sre, bob)
		}, "rule_allow"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newReviewed(t)
			bob := w.createUser("bob@example.com")
			w.join(w.sre, bob)
			route := routeOf(t, allowGroup(policy.GroupRef{ID: sreID}, other), allowGroup(policy.GroupRef{Name: "SRE"}, policy.GroupRef{Name: "Ops"}))
			id := w.start(route, "")
			must(t, w.decide(id, grant.DecisionRevoke, 1))
			c.push(w, bob)
			w.settle()
			w.wantReason(route, bob, c.want, "after the push")
			w.restart()
			w.wantReason(route, bob, c.want, "after a restart")
			if removed := !w.rows(id)[0].Memberships[0].Removed.IsZero(); removed != (c.want == "rule_allow") {
				t.Errorf("the row says that the membership was removed: %t", removed)
			}
		})
	}
}

// TestReview_RecordsWhatWasCleared: also of a user who was deleted, and if the server ended before it could.
func TestReview_RecordsWhatWasCleared(t *testing.T) {
	w := newReviewed(t)
	bob, eve := w.createUser("bob@example.com"), w.createUser("eve@example.com")
	w.join(w.sre, bob, eve)
	route := routeOf(t, allowGroup(policy.GroupRef{ID: sreID}))
	id := w.start(route, "")
	must(t, w.decide(id, grant.DecisionRevoke, 1, 2))
	w.push("DELETE", "/Users/"+bob, "", http.StatusNoContent)
	w.restart()
	w.patch("/Groups/"+w.sre, member("remove", eve))
	w.settle()

	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = w.RunReviews(ctx, func(err error) { t.Error(err) }) })
	w.eventually("both are recorded and forgotten", func() bool {
		inForce, cleared := w.grants.Revocations()
		return w.cleared() == 2 && len(inForce)+len(cleared) == 0
	})
	stop()
	running.Wait()
	for _, e := range w.events() {
		if e.Reason == "cleared" && (e.Actor.Kind != audit.ActorSystem || e.Detail["review"] != id || e.Group != w.sre || e.UserName == "") {
			t.Errorf("recorded is %+v", e)
		}
	}
}

func (w *reviewed) cleared() (n int) {
	for _, e := range w.events() {
		if e.Kind == audit.KindReview && e.Reason == "cleared" {
			n++
		}
	}
	return n
}

// eventually waits until something holds that another goroutine does.
func (w *reviewed) eventually(what string, holds func() bool) {
	w.t.Helper()
	deadline, again := time.After(20*time.Second), time.NewTicker(10*time.Millisecond)
	defer again.Stop()
	for !holds() {
		select {
		case <-deadline:
			w.t.Fatalf("it does not come true that %s", what)
		case <-again.C:
		}
	}
}

// TestReview_ClearsWhatTheStoreDoesNotHave: the membership is gone without a change that could tell, as after a restore.
func TestReview_ClearsWhatTheStoreDoesNotHave(t *testing.T) {
	w := newReviewed(t)
	bob := w.createUser("bob@example.com")
	w.join(w.sre, bob)
	id := w.start(routeOf(t, allowGroup(policy.GroupRef{ID: sreID})), "")
	must(t, w.decide(id, grant.DecisionRevoke, 1))
	w.directory.TellOfLeavers(nil)
	w.patch("/Groups/"+w.sre, member("remove", bob))
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = w.RunReviews(ctx, func(err error) { t.Error(err) }) })
	w.eventually("it is recorded", func() bool { return w.cleared() == 1 })
	stop()
	running.Wait()
	if inForce, _ := w.grants.Revocations(); len(inForce) > 0 {
		t.Errorf("in force are %+v", inForce)
	}
}

// TestReview_RevocationLetsNoneIn: a revoked membership counts in deny rules and in unless_groups.
func TestReview_RevocationLetsNoneIn(t *testing.T) {
	w := newReviewed(t)
	bob := w.createUser("bob@example.com")
	contractors := w.group("Contractors", "c")
	w.join(w.sre, bob)
	w.join(contractors, bob)
	all := policy.Rule{Allow: &policy.Match{Users: []string{"bob@example.com"}}}
	denied := routeOf(t, all, policy.Rule{Deny: &policy.Match{Groups: []policy.GroupRef{{ID: "c"}}}})
	review := routeOf(t, allowGroup(policy.GroupRef{ID: "c"}))
	id := w.start(review, "")
	must(t, w.decide(id, grant.DecisionRevoke, 1))
	w.wantReason(review, bob, "access_revoked", "by the allow rule")
	w.wantReason(denied, bob, "rule_deny", "by the deny rule")
	unless := routeOf(t, policy.Rule{Allow: &policy.Match{Users: []string{"bob@example.com"}, UnlessGroups: []policy.GroupRef{{ID: "c"}}}})
	if w.reason(unless, bob) == "rule_allow" {
		t.Error("a revocation lets in by unless_groups")
	}
}

// TestReview_SharedMembership: two rows, and two reviews, revoke the same membership. It counts again once no row says
// otherwise.
func TestReview_SharedMembership(t *testing.T) {
	w := newReviewed(t)
	bob := w.createUser("bob@example.com")
	w.join(w.sre, bob)
	route := routeOf(t, allowGroup(policy.GroupRef{ID: sreID}), policy.Rule{Allow: &policy.Match{Groups: []policy.GroupRef{{ID: sreID}}, Methods: []string{"DELETE"}}})
	second := *route
	second.Name = "other"
	first, other := w.start(route, ""), w.start(&second, "")
	must(t, w.decide(first, grant.DecisionRevoke, 1, 2))
	must(t, w.decide(other, grant.DecisionRevoke, 1))
	for i, undo := range []struct {
		id  string
		row int
	}{{first, 1}, {other, 1}, {first, 2}} {
		w.wantReason(route, bob, "access_revoked", fmt.Sprintf("before undo %d", i))
		must(t, w.decide(undo.id, grant.DecisionKeep, undo.row))
	}
	w.wantReason(route, bob, "rule_allow", "after all were lifted")
}

// TestReview_RowsWithoutMembership cannot be revoked, and the error says what to do.
func TestReview_RowsWithoutMembership(t *testing.T) {
	w := newReviewed(t)
	bob := w.createUser("bob@example.com")
	w.join(w.sre, bob)
	route := routeOf(t, policy.Rule{Allow: &policy.Match{Users: []string{"bob@example.com"}}}, allowGroup(policy.GroupRef{ID: sreID}), policy.Rule{Allow: &policy.Match{Anyone: true}})
	id := w.start(route, "")
	if n := len(w.rows(id)); n != 3 {
		t.Fatalf("there are %d rows", n)
	}
	before := len(w.events())
	err := w.decide(id, grant.DecisionRevoke, 2, 1)
	if err == nil || !strings.Contains(err.Error(), "row 1: bob@example.com reaches the route by sre[0]") || !strings.Contains(err.Error(), "users suspend") {
		t.Errorf("the error is %v", err)
	}
	if w.rows(id)[1].Decision != grant.DecisionOpen || len(w.events()) != before {
		t.Error("half of it was done")
	}
	must(t, w.decide(id, grant.DecisionKeep, 1, 2, 3, 3))
}

func TestReview_RefusesBadInput(t *testing.T) {
	w := newReviewed(t)
	w.join(w.sre, w.createUser("bob@example.com"))
	route := routeOf(t, allowGroup(policy.GroupRef{ID: sreID}))
	id := w.start(route, "")
	before := len(w.events())
	for name, d := range map[string]admin.ReviewDecision{
		"no_row":       {id, []int{2}, grant.DecisionKeep, "x"},
		"row_zero":     {id, []int{0}, grant.DecisionKeep, "x"},
		"negative_row": {id, []int{-1}, grant.DecisionKeep, "x"},
		"no_rows":      {id, nil, grant.DecisionKeep, "x"},
		"many_rows":    {id, make([]int, 1001), grant.DecisionKeep, "x"},
		"no_reason":    {id, []int{1}, grant.DecisionKeep, " "},
		"long_reason":  {id, []int{1}, grant.DecisionKeep, strings.Repeat("x", 501)},
		"bell":         {id, []int{1}, grant.DecisionKeep, "a\ab"},
		"not_utf8":     {id, []int{1}, grant.DecisionKeep, "a\xff"},
		"open":         {id, []int{1}, grant.DecisionOpen, "x"},
		"no_decision":  {id, []int{1}, "", "x"},
		"no_review":    {"5d0f1c2ab9e04d11", []int{1}, grant.DecisionKeep, "x"},
		"another_key":  {id + "/../x", []int{1}, grant.DecisionKeep, "x"},
	} {
		if name == "many_rows" {
			for i := range d.Rows {
				d.Rows[i] = i + 1
			}
		}
		if _, err := w.DecideRows(t.Context(), ada, d); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
	if _, err := w.StartReview(t.Context(), ada, admin.NewReview{Route: route, Due: time.Hour}); err == nil {
		t.Error("a second review of the route is accepted")
	}
	if len(w.events()) != before || w.rows(id)[0].Decision != grant.DecisionOpen {
		t.Error("something was changed")
	}
}

// TestReview_DecidedByReviewersAlone: by operators, and by the manager of the row's user or the owner of the route, but
// never by that user.
func TestReview_DecidedByReviewersAlone(t *testing.T) {
	w := newReviewed(t)
	create := func(name, externalID, manager string) string {
		body := `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User","urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"],"userName":"` + name +
			`","externalId":"` + externalID + `","active":true,"emails":[{"value":"` + name + `","type":"work"}],"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User":{"manager":{"value":"` + manager + `"}}}`
		return w.push("POST", "/Users", body, http.StatusCreated)
	}
	boss := create("boss@example.com", "x-boss", "")
	owner := create("owner@example.com", "x-owner", boss)
	bob := create("bob@example.com", "x-bob", boss)
	double := create("double@example.com", "x-bob", "") // the same person as bob, pushed twice
	w.join(w.sre, bob, owner)                           // in the order of the rows
	person := func(id string) admin.Actor {
		u, _ := w.directory.ByID(id)
		return admin.Person(u, "192.0.2.1")
	}
	for _, c := range []struct {
		kind    grant.ReviewerKind
		actor   string
		row     int
		allowed bool
	}{
		{grant.ReviewerManager, boss, 1, true},
		{grant.ReviewerManager, owner, 1, false},
		{grant.ReviewerManager, bob, 1, false},
		{grant.ReviewerManager, double, 1, false},
		{grant.ReviewerManager, boss, 2, true},
		{grant.ReviewerOwner, owner, 1, true},
		{grant.ReviewerOwner, boss, 1, false},
		{grant.ReviewerOwner, owner, 2, false}, // their own row
		{grant.ReviewerOwner, boss, 2, true},
		{grant.ReviewerOperator, boss, 1, false},
		{grant.ReviewerOperator, owner, 1, false},
	} {
		t.Run(fmt.Sprintf("%s_%s_%d", c.kind, person(c.actor).Name, c.row), func(t *testing.T) {
			route := routeOf(t, allowGroup(policy.GroupRef{ID: sreID}))
			id := w.start(route, c.kind)
			defer func() { _, _ = w.CloseReview(t.Context(), ada, id) }()
			before, err := w.DecideRows(t.Context(), person(c.actor), admin.ReviewDecision{Review: id, Rows: []int{c.row}, Decision: grant.DecisionKeep, Why: "x"})
			if (err == nil) != c.allowed {
				t.Fatalf("the decision about %v says %v", before, err)
			}
			row := w.rows(id)[c.row-1]
			if c.allowed && (row.By != person(c.actor).Name || row.Reviewer != row.By) || !c.allowed && row.Decision != grant.DecisionOpen {
				t.Errorf("the row is %+v", row)
			}
			if _, err := w.CloseReview(t.Context(), person(c.actor), id); !errors.Is(err, admin.ErrNotReviewer) {
				t.Errorf("a user may close it: %v", err)
			}
			if _, err := w.ExportReview(t.Context(), person(c.actor), id); err == nil {
				t.Error("a user gets every row")
			}
		})
	}
	id := w.start(routeOf(t, allowGroup(policy.GroupRef{ID: sreID})), grant.ReviewerManager)
	actor := person(boss)
	w.deactivate(boss, http.StatusOK)
	if _, err := w.DecideRows(t.Context(), actor, admin.ReviewDecision{Review: id, Rows: []int{1}, Decision: grant.DecisionKeep, Why: "x"}); !errors.Is(err, admin.ErrNotReviewer) {
		t.Errorf("a manager who has left decides: %v", err)
	}
	if _, err := w.DecideRows(t.Context(), admin.System("cause"), admin.ReviewDecision{Review: id, Rows: []int{1}, Decision: grant.DecisionKeep, Why: "x"}); !errors.Is(err, admin.ErrNotReviewer) {
		t.Errorf("the server decides: %v", err)
	}
}

// TestReview_DecidedByManyAtOnce: whoever wins, the row, the counts and what is in force agree.
func TestReview_DecidedByManyAtOnce(t *testing.T) {
	w := newReviewed(t)
	bob := w.createUser("bob@example.com")
	w.join(w.sre, bob)
	route := routeOf(t, allowGroup(policy.GroupRef{ID: sreID}))
	id := w.start(route, "")
	for range 5 {
		var all sync.WaitGroup
		for i := range 8 {
			all.Go(func() {
				d := []grant.Decision{grant.DecisionKeep, grant.DecisionRevoke}[i%2]
				if err := w.decide(id, d, 1); err != nil && !errors.Is(err, grant.ErrRowChanged) {
					t.Error(err)
				}
			})
		}
		all.Wait()
		v, err := w.Review(t.Context(), ada, id)
		must(t, err)
		want := map[grant.Decision]string{grant.DecisionKeep: "rule_allow", grant.DecisionRevoke: "access_revoked"}[v.Rows[0].Decision]
		w.wantReason(route, bob, want, "after "+string(v.Rows[0].Decision))
		if v.Counts.Total() != 1 || v.Counts.Open != 0 {
			t.Errorf("the counts are %+v", v.Counts)
		}
	}
}

// TestReview_DoesNothingUnrecorded: on a full disk of the record, no decision is made and no review begins.
func TestReview_DoesNothingUnrecorded(t *testing.T) {
	w := newReviewed(t)
	bob := w.createUser("bob@example.com")
	w.join(w.sre, bob)
	route := routeOf(t, allowGroup(policy.GroupRef{ID: sreID}))
	id := w.start(route, "")
	must(t, w.decide(id, grant.DecisionKeep, 1))
	for range 1000 {
		must(t, w.log.Write(audit.Event{Kind: audit.KindDecision, Reason: "rule_allow", Path: "/" + strings.Repeat("x", 1000)}))
	}
	release := limitFileSize(t, w.logPath)
	err := w.decide(id, grant.DecisionRevoke, 1)
	_, closing := w.CloseReview(t.Context(), ada, id)
	release()
	if !errors.Is(err, admin.ErrNotRecorded) || !errors.Is(closing, admin.ErrNotRecorded) {
		t.Errorf("the errors are %v, %v", err, closing)
	}
	w.wantReason(route, bob, "rule_allow", "after the failure")
	if row := w.rows(id)[0]; row.Decision != grant.DecisionKeep {
		t.Errorf("the row is %+v", row)
	}
}

// TestReview_ClosedRejectsDecisions, but for the one that lifts a revocation.
func TestReview_ClosedRejectsDecisions(t *testing.T) {
	w := newReviewed(t)
	bob, eve := w.createUser("bob@example.com"), w.createUser("eve@example.com")
	w.join(w.sre, bob, eve)
	route := routeOf(t, allowGroup(policy.GroupRef{ID: sreID}))
	id := w.start(route, "")
	must(t, w.decide(id, grant.DecisionRevoke, 1))
	v, err := w.CloseReview(t.Context(), ada, id)
	if err != nil || v.State != grant.ReviewClosed || v.ClosedBy != "ada" || v.Counts.Open != 1 {
		t.Fatalf("%+v, %v", v, err)
	}
	w.wantReason(route, bob, "access_revoked", "after the review is closed")
	for _, d := range []grant.Decision{grant.DecisionKeep, grant.DecisionRevoke, grant.DecisionAsk} {
		if err := w.decide(id, d, 2); !errors.Is(err, grant.ErrReviewClosed) {
			t.Errorf("%s says %v", d, err)
		}
	}
	must(t, w.decide(id, grant.DecisionKeep, 1))
	w.wantReason(route, bob, "rule_allow", "after it was lifted")
	if _, err := w.CloseReview(t.Context(), ada, id); err == nil {
		t.Error("it is closed twice")
	}
	if w.start(route, "") == id {
		t.Error("a review begins twice")
	}
}

// TestVerifyReview_NoticesEveryChange changes each character of an export.
func TestVerifyReview_NoticesEveryChange(t *testing.T) {
	w := newReviewed(t)
	w.join(w.sre, w.createUser("bob@example.com"))
	id := w.start(routeOf(t, allowGroup(policy.GroupRef{ID: sreID})), "")
	signed, err := w.ExportReview(t.Context(), ada, id)
	must(t, err)
	keys, err := w.ReviewKeys(t.Context(), ada)
	must(t, err)
	export, _, err := admin.VerifyReview(signed+"\n", keys)
	if err != nil || export.By != "ada" || export.Review.ID != id || len(export.Review.Rows) != 1 || export.Review.Rows[0].User.UserName != "bob@example.com" || export.Review.Rules[0].Text != "allow: groups "+sreID {
		t.Fatalf("%+v, %v", export, err)
	}
	for i := range signed {
		for _, c := range []byte("AB.=") {
			if signed[i] == c {
				continue
			}
			changed := signed[:i] + string(c) + signed[i+1:]
			if _, _, err := admin.VerifyReview(changed, keys); !errors.Is(err, admin.ErrUnsound) {
				t.Fatalf("%q for %q at %d: %v", c, signed[i], i, err)
			}
		}
	}
	another := newReviewed(t)
	foreign, err := another.ReviewKeys(t.Context(), ada)
	must(t, err)
	if _, _, err := admin.VerifyReview(signed, foreign); !errors.Is(err, admin.ErrUnsound) {
		t.Errorf("another installation's key says %v", err)
	}
	foreign.Keys[0].KeyID = keys.Keys[0].KeyID
	if _, _, err := admin.VerifyReview(signed, foreign); !errors.Is(err, admin.ErrUnsound) {
		t.Errorf("a key with the id of ours says %v", err)
	}
	header := "eyJhbGciOiJub25lIiwia2lkIjoieCIsInR5cCI6InNhbGx5cG9ydC1yZXZpZXcranNvbiJ9"
	for _, forged := range []string{"", ".", "..", header + "." + strings.Split(signed, ".")[1] + ".", strings.Replace(signed, ".", "..", 1), signed + "." + signed} {
		if _, _, err := admin.VerifyReview(forged, keys); !errors.Is(err, admin.ErrUnsound) {
			t.Errorf("%.20q says %v", forged, err)
		}
	}
}

// TestReview_KeysInCopies: a copy cannot sign, and what was signed before can still be verified with its keys.
func TestReview_KeysInCopies(t *testing.T) {
	w := newReviewed(t)
	w.join(w.sre, w.createUser("bob@example.com"))
	id := w.start(routeOf(t, allowGroup(policy.GroupRef{ID: sreID})), "")
	must(t, w.decide(id, grant.DecisionRevoke, 1))
	signed, err := w.ExportReview(t.Context(), ada, id)
	must(t, err)
	must(t, w.clear())
	w.restart()
	again, err := w.ExportReview(t.Context(), ada, id)
	must(t, err)
	keys, err := w.ReviewKeys(t.Context(), ada)
	must(t, err)
	if len(keys.Keys) != 2 {
		t.Fatalf("there are %d keys", len(keys.Keys))
	}
	ids := map[string]bool{}
	for _, text := range []string{signed, again} {
		_, keyID, err := admin.VerifyReview(text, keys)
		must(t, err)
		ids[keyID] = true
	}
	if len(ids) != 2 {
		t.Errorf("signed by %q", slices.Collect(maps.Keys(ids)))
	}
	if inForce, _ := w.grants.Revocations(); len(inForce) != 1 {
		t.Error("the copy has lost the revocation")
	}
}

// TestReview_OfManyRows: 20,000 users are reviewed, decided about and exported.
func TestReview_OfManyRows(t *testing.T) {
	w := newReviewed(t)
	const n = 4_000
	for part := range 4 {
		must(t, w.directory.Update(t.Context(), func(tx *directory.Tx) error {
			var ids []string
			for i := range n / 4 {
				u := directory.User{UserName: fmt.Sprintf("user%05d@example.com", part*n/4+i), ExternalID: fmt.Sprintf("x%d", part*n/4+i), Active: true, Document: []byte("{}")}
				if err := tx.PutUser(&u); err != nil {
					return err
				}
				ids = append(ids, u.ID)
			}
			_, err := tx.AddMembers(w.sre, ids)
			return err
		}))
	}
	id := w.start(routeOf(t, allowGroup(policy.GroupRef{ID: sreID})), grant.ReviewerManager)
	rows := make([]int, 1000)
	for i := range rows {
		rows[i] = n - 1000 + i + 1
	}
	must(t, w.decide(id, grant.DecisionRevoke, rows...))
	v, err := w.Review(t.Context(), ada, id)
	if err != nil || len(v.Rows) != n || v.Counts.Revoke != 1000 || v.Rows[n-1].Decision != grant.DecisionRevoke || v.Rows[n-1].User.UserName != "user03999@example.com" {
		t.Fatalf("%d rows, %+v, %v", len(v.Rows), v.Counts, err)
	}
	signed, err := w.ExportReview(t.Context(), ada, id)
	must(t, err)
	keys, err := w.ReviewKeys(t.Context(), ada)
	must(t, err)
	if export, _, err := admin.VerifyReview(signed, keys); err != nil || len(export.Review.Rows) != n {
		t.Errorf("%d rows are exported, %v", len(export.Review.Rows), err)
	}
	w.push("DELETE", "/Groups/"+w.sre, "", http.StatusNoContent)
	w.settle()
	if inForce, cleared := w.grants.Revocations(); len(inForce) > 0 || len(cleared) != 1000 {
		t.Errorf("%d are in force, %d cleared", len(inForce), len(cleared))
	}
}

// TestPruneReviews_KeepsRevocations: a closed review is deleted after its time, unless a revocation of its is in force; the
// rest of one that was never wholly stored is deleted too.
func TestPruneReviews_KeepsRevocations(t *testing.T) {
	w := newReviewed(t)
	bob, eve := w.createUser("bob@example.com"), w.createUser("eve@example.com")
	w.join(w.sre, bob, eve)
	route := routeOf(t, allowGroup(policy.GroupRef{ID: sreID}))
	id := w.start(route, "")
	must(t, w.decide(id, grant.DecisionRevoke, 1))
	_, err := w.CloseReview(t.Context(), ada, id)
	must(t, err)
	later := time.Now().Add(grant.Keep + time.Hour)
	must(t, w.grants.PruneReviews(t.Context(), later))
	if n := len(w.grants.Reviews()); n != 1 {
		t.Fatalf("a review with a revocation in force is deleted, there are %d", n)
	}
	must(t, w.decide(id, grant.DecisionKeep, 1))
	must(t, w.grants.PruneReviews(t.Context(), time.Now()))
	if n := len(w.grants.Reviews()); n != 1 {
		t.Fatalf("a young review is deleted, there are %d", n)
	}
	must(t, w.grants.PruneReviews(t.Context(), later))
	if n := w.countKeys("review"); n != 0 {
		t.Errorf("%d records are left", n)
	}
}

// TestReview_IsOverdueInTime uses the clock of synctest.
func TestReview_IsOverdueInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		r := grant.Review{State: grant.ReviewOpen, Due: now.Add(time.Hour)}
		time.Sleep(time.Hour)
		if r.Overdue(time.Now()) {
			t.Error("it is overdue when it is due")
		}
		time.Sleep(time.Second)
		if !r.Overdue(time.Now()) {
			t.Error("it is not overdue")
		}
		r.State = grant.ReviewClosed
		if r.Overdue(time.Now()) {
			t.Error("a closed one is overdue")
		}
	})
}

func storeRevision(d *directory.Directory) store.Revision { return store.Revision(d.Revision()) }

// clear makes a copy of the store, as a backup is.
func (w *reviewed) clear() error {
	revision, err := w.store.Update(w.t.Context(), func(tx store.Writer) error { return grant.Clear(tx, time.Now()) })
	if err != nil {
		return err
	}
	return w.grants.Wait(w.t.Context(), revision)
}

func (w *reviewed) countKeys(prefix string) (n int) {
	w.t.Helper()
	must(w.t, w.store.View(w.t.Context(), func(r store.Reader) error {
		for range r.Scan([]byte(prefix), nil) {
			n++
		}
		return nil
	}))
	return n
}

// TestReview_FailureIsRecordedForEachRow: a decision that is recorded and then not made says so of every row.
func TestReview_FailureIsRecordedForEachRow(t *testing.T) {
	w := newReviewed(t)
	bob, eve := w.createUser("bob@example.com"), w.createUser("eve@example.com")
	w.join(w.sre, bob, eve)
	route := routeOf(t, allowGroup(policy.GroupRef{ID: sreID}))
	id := w.start(route, "")
	must(t, w.decide(id, grant.DecisionRevoke, 1, 2))
	_, err := w.store.Update(t.Context(), func(tx store.Writer) error { return tx.Put([]byte("revoked/"+eve+"/"+w.sre), []byte("{")) })
	must(t, err)
	if err := w.decide(id, grant.DecisionKeep, 1, 2); err == nil {
		t.Fatal("a damaged revocation is lifted")
	}
	w.wantReason(route, bob, "access_revoked", "after the failure")
	var got []string
	for _, e := range w.lastEvents(4) {
		got = append(got, e.Reason+" "+e.UserName+" "+e.Detail["action"])
	}
	if want := []string{"kept bob@example.com ", "kept eve@example.com ", "failed bob@example.com kept", "failed eve@example.com kept"}; !slices.Equal(got, want) {
		t.Errorf("recorded are %q", got)
	}
}

// TestReview_RevokesNewMembership: one that the provider added after it had removed the former one, which is not recorded
// yet.
func TestReview_RevokesNewMembership(t *testing.T) {
	w := newReviewed(t)
	bob := w.createUser("bob@example.com")
	w.join(w.sre, bob)
	route := routeOf(t, allowGroup(policy.GroupRef{ID: sreID}))
	id := w.start(route, "")
	must(t, w.decide(id, grant.DecisionRevoke, 1))
	w.patch("/Groups/"+w.sre, member("remove", bob))
	must(t, w.decide(id, grant.DecisionRevoke, 1)) // of nothing: the membership is gone
	w.join(w.sre, bob)
	w.settle()
	w.wantReason(route, bob, "rule_allow", "with a new membership")
	must(t, w.decide(id, grant.DecisionRevoke, 1))
	w.wantReason(route, bob, "access_revoked", "after that one was revoked")
	must(t, w.decide(id, grant.DecisionKeep, 1))
	w.wantReason(route, bob, "rule_allow", "after it was lifted")
	if n := w.cleared(); n != 1 {
		t.Errorf("%d revocations are recorded as cleared", n)
	}
}

// TestReview_ClearedIsRecordedOnce: however many look for it.
func TestReview_ClearedIsRecordedOnce(t *testing.T) {
	w := newReviewed(t)
	const n = 30
	rows := make([]int, n)
	for i := range n {
		w.join(w.sre, w.createUser(fmt.Sprintf("user%d@example.com", i)))
		rows[i] = i + 1
	}
	id := w.start(routeOf(t, allowGroup(policy.GroupRef{ID: sreID})), "")
	must(t, w.decide(id, grant.DecisionRevoke, rows...))
	w.push("DELETE", "/Groups/"+w.sre, "", http.StatusNoContent)
	w.settle()
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	for range 8 {
		running.Go(func() { _ = w.RunReviews(ctx, func(err error) { t.Error(err) }) })
	}
	w.eventually("all are forgotten", func() bool { _, cleared := w.grants.Revocations(); return len(cleared) == 0 })
	stop()
	running.Wait()
	if got := w.cleared(); got != n {
		t.Errorf("%d are recorded, want %d", got, n)
	}
}

// TestReview_StartedTwiceAtOnce: of two reviews of one route, one is started, and of the other nothing is left.
func TestReview_StartedTwiceAtOnce(t *testing.T) {
	w := newReviewed(t)
	w.join(w.sre, w.createUser("bob@example.com"))
	route := routeOf(t, allowGroup(policy.GroupRef{ID: sreID}))
	for range 5 {
		var all sync.WaitGroup
		var started atomic.Int32
		for range 4 {
			all.Go(func() {
				switch _, err := w.StartReview(context.Background(), ada, admin.NewReview{Route: route, Due: time.Hour}); {
				case err == nil:
					started.Add(1)
				case !errors.Is(err, grant.ErrReviewOpen):
					t.Error(err)
				}
			})
		}
		all.Wait()
		list, err := w.Reviews(t.Context(), ada)
		must(t, err)
		var open []string
		for _, r := range list {
			if r.State == grant.ReviewOpen {
				open = append(open, r.ID)
			}
		}
		if len(open) != 1 || started.Load() != 1 {
			t.Fatalf("%d reviews were started, and %d are open", started.Load(), len(open))
		}
		rows := 0
		must(t, w.store.View(t.Context(), func(r store.Reader) error {
			for range r.Scan([]byte("reviewrow/"), nil) {
				rows++
			}
			return nil
		}))
		if rows != len(list) {
			t.Errorf("%d reviews have %d rows", len(list), rows)
		}
		_, err = w.CloseReview(t.Context(), ada, open[0])
		must(t, err)
	}
}

// TestReview_SaysThatAnotherRowRevoked: whoever lifts a revocation is told that another row holds it.
func TestReview_SaysThatAnotherRowRevoked(t *testing.T) {
	w := newReviewed(t)
	bob := w.createUser("bob@example.com")
	w.join(w.sre, bob)
	get, put := allowGroup(policy.GroupRef{ID: sreID}), allowGroup(policy.GroupRef{ID: sreID})
	get.Allow.Methods, put.Allow.Methods = []string{"GET"}, []string{"PUT"}
	route := routeOf(t, get, put)
	id := w.start(route, "")
	must(t, w.decide(id, grant.DecisionRevoke, 1, 2))
	before, err := w.DecideRows(t.Context(), ada, admin.ReviewDecision{Review: id, Rows: []int{1}, Decision: grant.DecisionKeep, Why: "x"})
	must(t, err)
	if !before[0].Others {
		t.Error("row 1 does not say that row 2 revoked the same")
	}
	w.wantReason(route, bob, "access_revoked", "while another row holds it")
	before, err = w.DecideRows(t.Context(), ada, admin.ReviewDecision{Review: id, Rows: []int{2}, Decision: grant.DecisionKeep, Why: "x"})
	must(t, err)
	if before[0].Others {
		t.Error("another row holds what row 2 alone holds")
	}
	w.wantReason(route, bob, "rule_allow", "after it was lifted")
}
