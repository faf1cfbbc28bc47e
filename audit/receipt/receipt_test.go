package receipt_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sallyport/audit"
	"sallyport/audit/audittest"
	"sallyport/audit/receipt"
)

var (
	begin = time.Date(2026, 5, 3, 9, 0, 0, 0, time.UTC)
	entra = audit.Actor{Kind: audit.ActorToken, Name: "entra", ID: "t1", Address: "192.0.2.1"}
	grace = audit.Actor{Kind: audit.ActorOperator, Name: "grace", Address: "control socket"}
)

const (
	ada  = "ada00000000000000000000000000000"
	ada2 = "ada22222222222222222222222222222"
	bob  = "b0b00000000000000000000000000000"
)

// history is events in the order of their lines.
type history struct {
	events []audit.Event
	rev    uint64
}

func at(seconds float64) time.Time { return begin.Add(time.Duration(seconds * float64(time.Second))) }

// push adds a change of the directory that arrived 40 ms before it was made.
func (h *history) push(seconds float64, reason, result, user, name string) {
	h.rev++
	e := audit.Event{Time: at(seconds), Kind: audit.KindSCIM, Actor: entra, User: user, UserName: name, Reason: reason, Revision: h.rev,
		Detail: map[string]string{"received": at(seconds - 0.04).Format(time.RFC3339Nano), "token": "t1"}}
	if result != "" {
		e.Detail["result"] = result
	}
	if result == "deactivated" || reason == "delete" {
		e.Detail["external_id"] = "x-" + user[:4]
	}
	h.events = append(h.events, e)
}

func (h *history) suspend(seconds float64, reason, user, name string) {
	h.events = append(h.events, audit.Event{Time: at(seconds), Kind: audit.KindSuspend, Actor: grace, User: user, UserName: name, Reason: reason,
		Detail: map[string]string{"why": "lost laptop"}})
}

// do adds what a user did.
func (h *history) do(seconds float64, kind audit.Kind, decision, reason, user, name, session string) {
	e := audit.Event{Time: at(seconds), Kind: kind, User: user, UserName: name, Session: session, Decision: decision, Reason: reason,
		Request: fmt.Sprintf("r%v", seconds), Host: "app.test", Method: "GET", Path: "/", Address: "203.0.113.7", Revision: h.rev}
	if kind == audit.KindDecision {
		e.Route = "app"
	}
	h.events = append(h.events, e)
}

// cut adds a cut for the change of a revision that arrived at a time.
func (h *history) cut(seconds float64, user, name string, revision uint64, received float64) {
	e := audit.Event{Time: at(seconds), Kind: audit.KindCut, User: user, UserName: name, Session: "s1", Reason: "inactive_user", Route: "app", Request: fmt.Sprintf("r%v", seconds),
		Host: "app.test", Method: "GET", Path: "/ws", Address: "203.0.113.7", Revision: revision, Detail: map[string]string{"begun": at(0).Format(time.RFC3339Nano)}}
	if revision > 0 {
		e.Detail["change"], e.Detail["received"] = fmt.Sprint(revision), at(received).Format(time.RFC3339Nano)
	}
	h.events = append(h.events, e)
}

func (h *history) end(seconds float64, user, name, session string, began float64) {
	h.events = append(h.events, audit.Event{Time: at(seconds), Kind: audit.KindEnd, Actor: audit.Actor{Kind: audit.ActorSystem, Name: "the user ended"}, User: user, UserName: name,
		Session: session, Reason: "user", Detail: map[string]string{"began": at(began).Format(time.RFC3339Nano), "used": at(began + 1).Format(time.RFC3339Nano)}})
}

// record writes the events, and returns the record.
func (h *history) record(t testing.TB) *audit.Record {
	t.Helper()
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	l, err := audit.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range h.events {
		if err := l.Write(e); err != nil {
			t.Fatal(err)
		}
	}
	_ = l.Close()
	audittest.CheckRecord(t, path)
	record, err := audit.OpenRecord(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = record.Close() })
	return record
}

func find(t testing.TB, h *history, q receipt.Question) (receipt.Receipt, error) {
	t.Helper()
	return receipt.Find(t.Context(), h.record(t), q)
}

func mustFind(t testing.TB, h *history, q receipt.Question) receipt.Receipt {
	t.Helper()
	r, err := find(t, h, q)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// offboarded is somebody who worked, was deactivated while a request was open, tried again, and was deleted a day later.
func offboarded() *history {
	h := new(history)
	h.push(0, "create", "", ada, "ada@example.com")
	h.push(0, "create", "", bob, "bob@example.com")
	h.do(1, audit.KindLogin, "allow", "signed_in", ada, "ada@example.com", "s1")
	h.do(2, audit.KindDecision, "allow", "rule_allow", ada, "ada@example.com", "s1")
	h.do(50, audit.KindDecision, "deny", "no_rule", ada, "ada@example.com", "s1")
	h.cut(100.007, ada, "ada@example.com", 3, 99.96)  // its line comes before that of the change
	h.cut(100.0125, bob, "bob@example.com", 3, 99.96) // of another
	h.push(100, "patch", "deactivated", ada, "ada@example.com")
	h.do(99.99, audit.KindDecision, "allow", "rule_allow", ada, "ada@example.com", "s1") // had arrived before
	h.end(100.1, ada, "ada@example.com", "s1", 1)
	h.do(101, audit.KindDecision, "deny", "inactive_user", ada, "ada@example.com", "s1")
	h.do(102, audit.KindDecision, "deny", "inactive_user", ada, "ada@example.com", "s1")
	h.do(103, audit.KindLogin, "deny", "inactive_user", ada, "ada@example.com", "")
	h.do(104, audit.KindDecision, "allow", "rule_allow", bob, "bob@example.com", "s9")
	h.push(86400, "delete", "", ada, "ada@example.com")
	h.events = append(h.events, audit.Event{Time: at(86500), Kind: audit.KindLogin, UserName: "Ada Lovelace", Decision: "deny", Reason: "unknown_user", Code: 403,
		Detail: map[string]string{"claim": "oid", "value": "x-ada0", "attribute": "externalId"}})
	return h
}

// TestFind_TellsWhatHappened: the whole of one offboarding, whoever asks by which name.
func TestFind_TellsWhatHappened(t *testing.T) {
	for name, q := range map[string]receipt.Question{
		"by_name":        {Name: "ADA@example.com"},
		"by_id":          {Name: ada},
		"by_external_id": {Name: "x-ada0"},
		"in_directory":   {Name: "ada", User: receipt.Person{ID: ada, UserName: "ada@example.com", ExternalID: "x-ada0"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := mustFind(t, offboarded(), q)
			if r.Person != (receipt.Person{ID: ada, UserName: "ada@example.com", ExternalID: "x-ada0"}) {
				t.Errorf("it is about %+v", r.Person)
			}
			if o := r.Offboarding; o.What != receipt.Deactivated || o.Actor != entra || !o.Received.Equal(at(99.96)) || !o.Done.Equal(at(100)) || o.Line != 8 || o.Revision != 3 || len(o.Hash) != 64 {
				t.Errorf("offboarding: %+v", o)
			}
			if len(r.Cuts) != 1 || r.Cuts[0].Milliseconds != 47 || r.Cuts[0].Line != 6 || r.Cuts[0].Path != "/ws" || !r.Cuts[0].Begun.Equal(at(0)) {
				t.Errorf("cuts: %+v", r.Cuts)
			}
			if e := r.Enforced; e.Milliseconds != 47 || e.Cuts != 1 || e.Sessions != 1 || !e.Last.Equal(at(100.007)) {
				t.Errorf("enforced: %+v", e)
			}
			if len(r.Sessions) != 1 || r.Sessions[0].ID != "s1" || r.Sessions[0].Login == nil || r.Sessions[0].Login.Line != 3 || !r.Sessions[0].Began.Equal(at(1)) {
				t.Errorf("sessions: %+v", r.Sessions)
			}
			a := r.Attempts
			if a.Count != 4 || len(a.Lines) != 4 || !a.First.Equal(at(101)) || !a.Last.Equal(at(86500)) || len(a.Kinds) != 3 || a.Kinds[0].Count != 2 || a.Kinds[0].Route != "app" {
				t.Errorf("attempts: %+v", a)
			}
			if r.Allowed.Count != 0 || len(r.Later) != 1 || r.Later[0].What != receipt.Deleted || r.Still.Access != receipt.AccessNone {
				t.Errorf("allowed %+v, later %+v, still %+v", r.Allowed, r.Later, r.Still)
			}
		})
	}
}

// TestFind_ChoosesTheOffboarding: the last one, or the last until a time.
// enforce adds what replicas made of the change of a revision.
func (h *history) enforce(seconds float64, reason, user, name string, revision uint64, text string) {
	h.events = append(h.events, audit.Event{Time: at(seconds), Kind: audit.KindEnforced, Actor: entra, User: user, UserName: name, Reason: reason, Revision: revision,
		Detail: map[string]string{"change": "scim", "action": "patch", "replicas": "3", "applied": "2", "fenced": "replica-3", "milliseconds": "15500", "text": text}})
}

// TestFind_TellsWhenEveryReplicaHadIt: the line may be before that of the change, and one that says that it is not known
// gives way to a later one that says more.
func TestFind_TellsWhenEveryReplicaHadIt(t *testing.T) {
	for name, c := range map[string]struct {
		write func(h *history)
		text  string
	}{
		"none": {func(h *history) { h.push(10, "patch", "deactivated", ada, "ada@example.com") }, ""},
		"before the line of the change": {func(h *history) {
			h.enforce(5, "everywhere", ada, "ada@example.com", 1, "of another change")
			h.enforce(10.01, "fenced", ada, "ada@example.com", 2, "fenced")
			h.push(10, "patch", "deactivated", ada, "ada@example.com")
			h.enforce(11, "everywhere", ada, "ada@example.com", 3, "of a later change")
		}, "fenced"},
		"sent again": {func(h *history) {
			h.push(10, "patch", "deactivated", ada, "ada@example.com")
			h.enforce(30, "unknown", ada, "ada@example.com", 2, "unknown")
			h.enforce(60, "everywhere", ada, "ada@example.com", 9, "everywhere")
			h.enforce(70, "unknown", ada, "ada@example.com", 10, "again unknown")
		}, "everywhere"},
		"of somebody else": {func(h *history) {
			h.push(10, "patch", "deactivated", ada, "ada@example.com")
			h.enforce(11, "everywhere", bob, "bob@example.com", 3, "of Bob")
		}, ""},
		"suspension": {func(h *history) {
			h.enforce(5, "everywhere", ada, "ada@example.com", 1, "of an earlier change")
			h.suspend(10, "suspended", ada, "ada@example.com")
			h.enforce(10.1, "everywhere", ada, "ada@example.com", 2, "of the suspension")
		}, "of the suspension"},
	} {
		t.Run(name, func(t *testing.T) {
			h := &history{}
			h.push(0, "create", "", ada, "ada@example.com")
			c.write(h)
			made, err := receipt.Find(t.Context(), h.record(t), receipt.Question{Name: "ada@example.com"})
			if err != nil {
				t.Fatal(err)
			}
			if c.text == "" {
				if made.Everywhere != nil {
					t.Errorf("it tells %+v", made.Everywhere)
				}
				return
			}
			e := made.Everywhere
			if e == nil || e.Text != c.text || e.Replicas != 3 || e.Applied != 2 || e.Fenced != "replica-3" || e.Milliseconds != 15500 || !slices.Contains(made.Refs(), e.Ref) {
				t.Errorf("it tells %+v", e)
			}
		})
	}
}

func TestFind_ChoosesTheOffboarding(t *testing.T) {
	h := new(history)
	h.push(0, "create", "", ada, "ada@example.com")
	h.push(100, "patch", "deactivated", ada, "ada@example.com")
	h.do(101, audit.KindDecision, "deny", "inactive_user", ada, "ada@example.com", "s1")
	h.push(200, "patch", "activated", ada, "ada@example.com")
	h.end(200.2, ada, "ada@example.com", "s1", 50) // was found late
	h.do(201, audit.KindDecision, "allow", "rule_allow", ada, "ada@example.com", "s2")
	h.suspend(300, "suspended", ada, "ada@example.com")
	h.cut(300.02, ada, "ada@example.com", 0, 0)
	h.end(300.03, ada, "ada@example.com", "s2", 201)
	h.push(400, "patch", "deactivated", ada, "ada@example.com")
	h.suspend(500, "unsuspended", ada, "ada@example.com") // is inactive still
	h.do(501, audit.KindLogin, "deny", "inactive_user", ada, "ada@example.com", "")

	r := mustFind(t, h, receipt.Question{Name: "ada@example.com"})
	if r.Offboarding.What != receipt.Suspended || r.Offboarding.Actor != grace || r.Offboarding.Why != "lost laptop" || r.Enforced.Milliseconds != 20 || r.Still.Access != receipt.AccessNone {
		t.Errorf("the last one: %+v %+v %+v", r.Offboarding, r.Enforced, r.Still)
	}
	var later []string
	for _, c := range r.Later {
		later = append(later, c.What)
	}
	if !slices.Equal(later, []string{"deactivated", "unsuspended"}) || r.Attempts.Count != 1 || len(r.Sessions) != 1 || r.Sessions[0].ID != "s2" {
		t.Errorf("later %v, attempts %+v, sessions %+v", later, r.Attempts, r.Sessions)
	}
	r = mustFind(t, h, receipt.Question{Name: ada, At: at(250)})
	if r.Offboarding.What != receipt.Deactivated || r.Still.Access != receipt.AccessReturned || !r.Still.Since.Equal(at(200)) || r.Attempts.Count != 1 || len(r.Sessions) != 1 || r.Sessions[0].ID != "s1" {
		t.Errorf("the first one: %+v %+v %+v", r.Offboarding, r.Still, r.Sessions)
	}
	if _, err := find(t, h, receipt.Question{Name: ada, At: at(50)}); !errors.Is(err, receipt.ErrNone) || !strings.Contains(err.Error(), "the first time was 2026-05-03T09:01:40Z") {
		t.Errorf("before all of them: %v", err)
	}
}

// TestFind_SaysWhyThereIsNone: nobody of the name, somebody who is still there, and a suspension that failed.
func TestFind_SaysWhyThereIsNone(t *testing.T) {
	h := offboarded()
	h.suspend(200, "suspended", bob, "bob@example.com")
	h.events = append(h.events, audit.Event{Time: at(200.1), Kind: audit.KindSuspend, Actor: grace, User: bob, UserName: "bob@example.com", Reason: "failed",
		Detail: map[string]string{"action": "suspended", "error": "suspending bob@example.com: the disk is full", "why": "x"}})
	for name, want := range map[string]string{
		"eve@example.com": "neither the directory nor the record has a user",
		"s1":              "neither the directory nor the record has a user", // a session is no user
		"entra":           "neither the directory nor the record has a user",
	} {
		if _, err := find(t, h, receipt.Question{Name: name}); !errors.Is(err, receipt.ErrNone) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	r, err := find(t, h, receipt.Question{Name: bob})
	if err != nil || r.Still.Access != receipt.AccessReturned {
		t.Errorf("a suspension that failed: %+v, %v", r.Still, err)
	}
	if _, err := find(t, offboarded(), receipt.Question{Name: bob}); !errors.Is(err, receipt.ErrNone) || !strings.Contains(err.Error(), "was ever deactivated") {
		t.Errorf("who is there: %v", err)
	}
	if _, err := find(t, offboarded(), receipt.Question{Name: "carol", User: receipt.Person{ID: "ca401000000000000000000000000000", UserName: "carol"}}); !errors.Is(err, receipt.ErrNone) || !strings.Contains(err.Error(), "before it begins") {
		t.Errorf("whom the record does not have: %v", err)
	}
}

// TestFind_TellsNamesakesApart: a userName that was given to somebody else later, and a user who had another name before.
func TestFind_TellsNamesakesApart(t *testing.T) {
	h := new(history)
	h.push(0, "create", "", ada, "countess@example.com")
	h.do(1, audit.KindLogin, "allow", "signed_in", ada, "countess@example.com", "s1")
	h.push(50, "patch", "", ada, "ada@example.com")
	h.push(100, "delete", "", ada, "ada@example.com")
	h.end(100.1, ada, "countess@example.com", "s1", 1) // the session has the name of the login
	h.do(101, audit.KindDecision, "deny", "unknown_user", ada, "countess@example.com", "s1")
	h.push(200, "create", "", ada2, "Ada@example.com")
	h.do(201, audit.KindDecision, "allow", "rule_allow", ada2, "Ada@example.com", "s2")
	for name, q := range map[string]receipt.Question{
		"directory_has_the_other": {Name: "ada@example.com", User: receipt.Person{ID: ada2, UserName: "Ada@example.com", ExternalID: "x-new"}},
		"directory_has_nobody":    {Name: "ada@example.com"},
		"by_id":                   {Name: ada},
	} {
		t.Run(name, func(t *testing.T) {
			r := mustFind(t, h, q)
			if r.Person.ID != ada || r.Offboarding.What != receipt.Deleted || r.Attempts.Count != 1 || r.Allowed.Count != 0 || len(r.Sessions) != 1 || r.Sessions[0].Login == nil {
				t.Errorf("%+v, attempts %+v, allowed %+v, sessions %+v", r.Person, r.Attempts, r.Allowed, r.Sessions)
			}
			if r.Still.Access != receipt.AccessNone || !slices.Equal(r.Still.Others, []string{ada2}) {
				t.Errorf("still: %+v", r.Still)
			}
		})
	}
	if _, err := find(t, h, receipt.Question{Name: ada2, User: receipt.Person{ID: ada2, UserName: "Ada@example.com"}}); !errors.Is(err, receipt.ErrNone) {
		t.Errorf("the id of the other: %v", err)
	}
}

// TestFind_NoticesWhatIsAllowed: a request that was let in after the change stands out.
func TestFind_NoticesWhatIsAllowed(t *testing.T) {
	h := offboarded()
	h.do(300, audit.KindDecision, "allow", "rule_allow", ada, "ada@example.com", "s1")
	if r := mustFind(t, h, receipt.Question{Name: ada}); r.Allowed.Count != 1 || r.Allowed.Lines[0].Line != 17 {
		t.Errorf("allowed: %+v", r.Allowed)
	}
}

// TestFind_TellsOfGaps: what the record could not tell is in the receipt, also if the line of the change had to wait.
func TestFind_TellsOfGaps(t *testing.T) {
	h := new(history)
	gap := func(seconds float64) {
		h.events = append(h.events, audit.Event{Time: at(seconds), Kind: audit.KindAudit, Reason: "recovered", Detail: map[string]string{"refused": "7"}})
	}
	h.push(0, "create", "", ada, "ada@example.com")
	gap(50)
	gap(100.5)
	h.push(100, "patch", "deactivated", ada, "ada@example.com")
	gap(200)
	r := mustFind(t, h, receipt.Question{Name: ada})
	if len(r.Gaps) != 2 || r.Gaps[0].Line != 3 || r.Gaps[1].Line != 5 || r.Gaps[1].Refused != 7 {
		t.Errorf("gaps: %+v", r.Gaps)
	}
}

// TestFind_Bounds: however often somebody tries, a receipt lists the first attempts and counts all.
func TestFind_Bounds(t *testing.T) {
	h := offboarded()
	for i := range 3000 {
		h.do(200+float64(i), audit.KindDecision, "deny", "inactive_user", ada, "ada@example.com", "s1")
		h.end(300, ada, "ada@example.com", fmt.Sprintf("s%d", i), 1)
	}
	r := mustFind(t, h, receipt.Question{Name: ada})
	if r.Attempts.Count != 3004 || len(r.Attempts.Lines) != 50 || r.Enforced.Sessions != 3001 || len(r.Sessions) != 1000 {
		t.Errorf("%d attempts, %d of them are listed; %d sessions, %d are listed", r.Attempts.Count, len(r.Attempts.Lines), r.Enforced.Sessions, len(r.Sessions))
	}
}

// TestFind_HeldDeactivation: the receipt says since when it was held.
func TestFind_HeldDeactivation(t *testing.T) {
	h := new(history)
	h.push(0, "create", "", ada, "ada@example.com")
	h.push(10, "held", "", ada, "ada@example.com")
	h.events = append(h.events, audit.Event{Time: at(100), Kind: audit.KindSCIM, Actor: grace, User: ada, UserName: "ada@example.com", Reason: "release", Revision: 9,
		Detail: map[string]string{"result": "deactivated", "held_since": at(10).Format(time.RFC3339Nano)}})
	r := mustFind(t, h, receipt.Question{Name: ada})
	if r.Offboarding.Held == nil || !r.Offboarding.Held.Equal(at(10)) || r.Offboarding.Actor != grace || r.Enforced.Milliseconds != 0 {
		t.Errorf("%+v %+v", r.Offboarding, r.Enforced)
	}
}

// TestFind_ClockSetBack: what comes behind the line of the change belongs to it, although the clock was set back in between.
func TestFind_ClockSetBack(t *testing.T) {
	h := new(history)
	h.push(0, "create", "", ada, "ada@example.com")
	h.do(1, audit.KindLogin, "allow", "signed_in", ada, "ada@example.com", "s1")
	h.do(1000, audit.KindDecision, "deny", "no_rule", ada, "ada@example.com", "s1")
	h.cut(1000.1, ada, "ada@example.com", 1, 1000) // for an earlier change
	h.cut(500.01, ada, "ada@example.com", 2, 1099.96)
	h.push(1100, "patch", "deactivated", ada, "ada@example.com")
	h.end(500.1, ada, "ada@example.com", "s1", 1)
	h.do(1099.9, audit.KindDecision, "allow", "rule_allow", ada, "ada@example.com", "s1")
	h.events[len(h.events)-1].Revision = 1 // had arrived before
	h.do(501, audit.KindDecision, "deny", "inactive_user", ada, "ada@example.com", "s1")
	h.do(502, audit.KindLogin, "deny", "inactive_user", ada, "ada@example.com", "")
	h.do(503, audit.KindDecision, "allow", "rule_allow", ada, "ada@example.com", "s1")
	h.do(504, audit.KindLogin, "allow", "signed_in", ada, "ada@example.com", "s2")
	r := mustFind(t, h, receipt.Question{Name: ada})
	if r.Enforced.Cuts != 1 || r.Cuts[0].Revision != 2 || r.Enforced.Sessions != 1 || r.Attempts.Count != 2 || r.Allowed.Count != 2 || r.Enforced.Milliseconds != 40 {
		t.Errorf("%+v, cuts %+v, attempts %+v, allowed %+v", r.Enforced, r.Cuts, r.Attempts, r.Allowed)
	}
}
