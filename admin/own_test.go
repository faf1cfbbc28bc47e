package admin_test

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"sallyport/admin"
	"sallyport/audit"
	"sallyport/directory"
	"sallyport/grant"
	"sallyport/policy"
)

// inConsole returns a user who acts in the console, in a role.
func inConsole(u *directory.User, role string) admin.Actor {
	actor := as(u)
	actor.Role = role
	return actor
}

// TestConsole_NoOneDecidesAboutThemselves: an administrator may do what operators may, but not about their own request, by
// whichever of their accounts.
func TestConsole_NoOneDecidesAboutThemselves(t *testing.T) {
	for name, second := range map[string]person{
		"same_account":       {},
		"same_externalId":    {name: "robert", externalID: "ext-bob"},
		"mail_of_the_first":  {name: "bob-admin", mail: "Bob@Example.com"},
		"mail_is_the_second": {name: "bob.work", mail: "bob.work@example.com"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.policies = sre()
			w.create(person{name: "lead", mail: "owner@example.com"})
			asks := person{name: "bob"}
			if name == "mail_is_the_second" {
				asks.mail = "bob.work@example.com"
			}
			bob := w.create(asks)
			acts := bob
			if second.name != "" {
				acts = w.create(second)
			}
			r := w.mustAsk(bob)
			actor := inConsole(acts, audit.RoleAdmin)
			if _, err := w.Approve(t.Context(), actor, r.ID, 0, ""); !errors.Is(err, admin.ErrOwnRequest) {
				t.Errorf("approving returns %v", err)
			}
			if err := w.Deny(t.Context(), actor, r.ID, "x"); !errors.Is(err, admin.ErrOwnRequest) {
				t.Errorf("denying returns %v", err)
			}
			if v, err := w.Request(t.Context(), actor, r.ID); err != nil || v.MayDecide {
				t.Errorf("they see %+v, %v", v, err)
			}
			if !w.until(bob).IsZero() {
				t.Error("the request was granted")
			}
		})
	}
}

func TestConsole_AdministratorApprovesForOthers(t *testing.T) {
	w := newWorld(t)
	w.policies = sre(func(q *policy.Requestable) { q.Approvals = 2 })
	w.create(person{name: "lead", mail: "owner@example.com"})
	w.group("leads", w.create(person{name: "second"}))
	bob, admin1 := w.create(person{name: "bob"}), w.create(person{name: "carol"})
	r := w.mustAsk(bob)
	if _, err := w.Approve(t.Context(), inConsole(admin1, audit.RoleAuditor), r.ID, 0, ""); !errors.Is(err, admin.ErrAuditor) {
		t.Errorf("an auditor approves: %v", err)
	}
	if err := w.Deny(t.Context(), inConsole(admin1, audit.RoleAuditor), r.ID, "x"); !errors.Is(err, admin.ErrAuditor) {
		t.Errorf("an auditor denies: %v", err)
	}
	if v, err := w.Request(t.Context(), inConsole(admin1, audit.RoleAuditor), r.ID); err != nil || v.MayDecide {
		t.Errorf("an auditor sees %+v, %v", v, err)
	}
	if _, err := w.Approve(t.Context(), inConsole(admin1, audit.RoleAdmin), r.ID, time.Hour, "on call"); err != nil {
		t.Fatal(err)
	}
	if w.until(bob).IsZero() {
		t.Error("the grant has not begun")
	}
	events := w.events()
	last := events[len(events)-1]
	if last.Kind != audit.KindGrant || last.Actor.ID != admin1.ID || last.Actor.Role != audit.RoleAdmin || last.Actor.Kind != audit.ActorUser {
		t.Errorf("the record says %+v", last)
	}
}

func TestConsole_RowsOfReviews(t *testing.T) {
	w := newReviewed(t)
	create := func(name, externalID, mail string) *directory.User {
		id := w.push("POST", "/Users", `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"`+name+`","externalId":"`+externalID+
			`","active":true,"emails":[{"value":"`+mail+`","type":"work"}]}`, http.StatusCreated)
		u, _ := w.directory.ByID(id)
		return u
	}
	bob := create("bob@example.com", "x-bob", "robert@example.com")
	other := create("other@example.com", "x-other", "other@example.com")
	second := create("bob-admin@example.com", "x-bob2", "robert@example.com") // the mail of bob, and not in the group
	w.join(w.sre, bob.ID, other.ID)
	route := routeOf(t, allowGroup(policy.GroupRef{ID: sreID}))
	id := w.start(route, grant.ReviewerOperator)
	decide := func(actor admin.Actor, rows ...int) error {
		_, err := w.DecideRows(t.Context(), actor, admin.ReviewDecision{Review: id, Rows: rows, Decision: grant.DecisionKeep, Why: "x"})
		return err
	}
	for name, err := range map[string]error{"own": decide(inConsole(bob, audit.RoleAdmin), 1), "own_among_others": decide(inConsole(bob, audit.RoleAdmin), 1, 2),
		"own_by_second_account": decide(inConsole(second, audit.RoleAdmin), 1)} {
		if !errors.Is(err, admin.ErrOwnRow) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := decide(inConsole(other, audit.RoleAuditor), 1); !errors.Is(err, admin.ErrAuditor) {
		t.Errorf("an auditor decides: %v", err)
	}
	if _, err := w.CloseReview(t.Context(), inConsole(other, audit.RoleAuditor), id); !errors.Is(err, admin.ErrAuditor) {
		t.Errorf("an auditor closes it: %v", err)
	}
	if _, err := w.StartReview(t.Context(), inConsole(other, audit.RoleAuditor), admin.NewReview{Route: route, Due: time.Hour}); !errors.Is(err, admin.ErrAuditor) {
		t.Errorf("an auditor starts one: %v", err)
	}
	v, err := w.Review(t.Context(), inConsole(bob, audit.RoleAdmin), id)
	if err != nil || len(v.Rows) != 2 || !v.Rows[0].Own || v.Rows[1].Own || v.Counts.Open != 2 {
		t.Fatalf("an administrator sees %+v, %v", v, err)
	}
	if _, err := w.ExportReview(t.Context(), inConsole(other, audit.RoleAuditor), id); err != nil {
		t.Errorf("an auditor exports: %v", err)
	}
	if err := decide(inConsole(bob, audit.RoleAdmin), 2); err != nil {
		t.Fatal(err)
	}
	w.deactivate(bob.ID, http.StatusOK)
	if err := decide(inConsole(bob, audit.RoleAdmin), 2); !errors.Is(err, admin.ErrNotReviewer) {
		t.Errorf("an administrator who has left decides: %v", err)
	}
}

// TestReject_NeverTheirOwn: whoever is to leave does not keep themselves.
func TestReject_NeverTheirOwn(t *testing.T) {
	w := newWorld(t)
	w.deactivate(w.createUser("first@example.com"), http.StatusOK)
	mine, other, colleague := w.create(person{name: "me"}), w.create(person{name: "other"}), w.create(person{name: "colleague"})
	second := w.create(person{name: "me-admin", mail: "me@example.com"})
	w.deactivate(mine.ID, http.StatusServiceUnavailable)
	w.deactivate(other.ID, http.StatusServiceUnavailable)
	for name, c := range map[string]struct {
		by    *directory.User
		users []string
	}{
		"by_id": {mine, []string{mine.ID}}, "by_name": {mine, []string{"ME@example.com"}}, "all": {mine, nil}, "among_others": {mine, []string{other.ID, mine.ID}},
		"by_second_account": {second, []string{mine.ID}},
	} {
		if n, err := w.Reject(t.Context(), inConsole(c.by, audit.RoleAdmin), c.users); !errors.Is(err, admin.ErrOwnHold) || n != 0 {
			t.Errorf("%s: %d, %v", name, n, err)
		}
	}
	if _, err := w.Reject(t.Context(), inConsole(colleague, audit.RoleAuditor), []string{other.ID}); !errors.Is(err, admin.ErrAuditor) {
		t.Errorf("an auditor rejects: %v", err)
	}
	if _, err := w.Release(t.Context(), inConsole(colleague, audit.RoleAuditor), nil); !errors.Is(err, admin.ErrAuditor) {
		t.Errorf("an auditor releases: %v", err)
	}
	if n, err := w.Reject(t.Context(), inConsole(mine, audit.RoleAdmin), []string{other.ID}); n != 1 || err != nil {
		t.Errorf("of another: %d, %v", n, err)
	}
	if n, err := w.Reject(t.Context(), inConsole(colleague, audit.RoleAdmin), nil); n != 1 || err != nil {
		t.Errorf("by a colleague: %d, %v", n, err)
	}
	if n, err := w.Reject(t.Context(), inConsole(colleague, audit.RoleAdmin), nil); n != 0 || err != nil {
		t.Errorf("with none left: %d, %v", n, err)
	}
}

// TestConsole_AuditorsMakeNoToken: what an auditor asks for leaves no token behind.
func TestConsole_AuditorsMakeNoToken(t *testing.T) {
	w := newWorld(t)
	bob := w.create(person{name: "bob"})
	auditor := inConsole(bob, audit.RoleAuditor)
	_, createErr := w.CreateToken(t.Context(), auditor, "new", 0)
	_, rotateErr := w.RotateToken(t.Context(), auditor, "test", 0, 0)
	_, revokeErr := w.RevokeToken(t.Context(), auditor, "test")
	for name, err := range map[string]error{"create": createErr, "rotate": rotateErr, "revoke": revokeErr} {
		if !errors.Is(err, admin.ErrAuditor) {
			t.Errorf("%s: %v", name, err)
		}
	}
	tokens, err := w.provisioning.Tokens(t.Context())
	if must(t, err); len(tokens) != 1 || tokens[0].Name != "test" || !tokens[0].Expires.IsZero() {
		t.Errorf("the tokens are %+v", tokens)
	}
}
