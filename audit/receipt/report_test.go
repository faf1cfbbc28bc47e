package receipt_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"sallyport/audit"
	"sallyport/audit/receipt"
)

func report(t *testing.T, h *history, s receipt.ReportSettings) receipt.Report {
	t.Helper()
	r, err := receipt.Make(t.Context(), h.record(t), s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestReport_CountsOffboardings: those of the time, each once, and how long they took.
func TestReport_CountsOffboardings(t *testing.T) {
	h := new(history)
	user := func(i int) string { return fmt.Sprintf("%032x", i) }
	for i := range 200 {
		h.push(0, "create", "", user(i), fmt.Sprintf("u%d@example.com", i))
	}
	h.push(10, "patch", "deactivated", user(199), "u199@example.com")
	for i := range 100 {
		at := 1000 + float64(i)
		h.push(at, "patch", "deactivated", user(i), fmt.Sprintf("u%d@example.com", i))
		h.cut(at+float64(i+1)/1000, user(i), fmt.Sprintf("u%d@example.com", i), h.rev, at)
		h.end(at+0.2, user(i), fmt.Sprintf("u%d@example.com", i), fmt.Sprintf("s%d", i), 1)
	}
	h.push(2000, "delete", "", user(199), "u199@example.com") // has been out for long
	h.push(2000, "delete", "", user(0), "u0@example.com")
	h.push(2001, "patch", "activated", user(1), "u1@example.com")
	h.suspend(2002, "suspended", user(150), "u150@example.com")
	h.push(2003, "delete", "", user(151), "u151@example.com")
	h.push(9000, "patch", "deactivated", user(152), "u152@example.com")

	r := report(t, h, receipt.ReportSettings{Since: at(900), Until: at(8000), Slow: time.Minute, Grant: time.Hour})
	if r.Offboardings != 102 || r.Whats["deactivated"] != 100 || r.Whats["deleted"] != 1 || r.Whats["suspended"] != 1 || r.Returned != 1 || r.Sessions != 100 || r.Cuts != 100 {
		t.Errorf("%d offboardings %v, %d returned, %d sessions, %d cuts", r.Offboardings, r.Whats, r.Returned, r.Sessions, r.Cuts)
	}
	// From 0 (suspended) and 40 (deleted, no cut) to 140 ms: arrival is 40 ms before the change, and the cut 1 to 100 ms after it.
	if r.Revocation != (receipt.Quantiles{P50: 89, P99: 139, Max: 140}) {
		t.Errorf("time to revoke: %+v", r.Revocation)
	}
	if len(r.List) != 102 || !slices.IsSortedFunc(r.List, func(a, b receipt.OffboardingEntry) int { return a.Time.Compare(b.Time) }) || len(r.Exceptions) != 1 || r.Exceptions[0].Kind != "unsigned" {
		t.Errorf("%d are listed; exceptions %+v", len(r.List), r.Exceptions)
	}
	slow := report(t, h, receipt.ReportSettings{Since: at(900), Until: at(8000), Slow: 130 * time.Millisecond, Grant: time.Hour})
	if slow.Kinds["slow"] != 10 {
		t.Errorf("exceptions: %v", slow.Kinds)
	}
	if none := report(t, h, receipt.ReportSettings{Since: at(5000), Until: at(6000)}); none.Offboardings != 0 || none.Revocation != (receipt.Quantiles{}) {
		t.Errorf("of a time without any: %+v", none)
	} else if took := none.Facts()[1]; took != [2]string{"time to revoke", "none, since nobody was offboarded"} {
		t.Errorf("of a time without any: %q", took)
	}
}

// TestReport_TellsOfExceptions: each kind of them.
func TestReport_TellsOfExceptions(t *testing.T) {
	h := new(history)
	add := func(e audit.Event) { h.events = append(h.events, e) }
	for _, user := range []string{ada, bob, ada2} {
		h.push(0, "create", "", user, user[:4])
	}
	h.push(10, "held", "", ada, "ada")
	h.push(11, "held", "", bob, "bob")
	h.push(12, "held", "", ada2, "ada2")
	add(audit.Event{Time: at(110), Kind: audit.KindSCIM, Actor: grace, User: ada, Reason: "release", Detail: map[string]string{"result": "deactivated", "held_since": at(10).Format(time.RFC3339Nano)}})
	add(audit.Event{Time: at(120), Kind: audit.KindSCIM, Actor: grace, User: bob, Reason: "reject", Detail: map[string]string{"held_since": at(11).Format(time.RFC3339Nano)}})
	h.cut(130, bob, "bob", 0, 0)
	add(audit.Event{Time: at(140), Kind: audit.KindBreakGlass, Actor: grace, User: bob, UserName: "bob", Reason: "armed", Detail: map[string]string{"why": "the provider is down"}})
	add(audit.Event{Time: at(150), Kind: audit.KindGrant, User: bob, UserName: "bob", Reason: "began", Detail: map[string]string{"policy": "prod", "until": at(150 + 7200).Format(time.RFC3339)}})
	add(audit.Event{Time: at(151), Kind: audit.KindGrant, User: bob, UserName: "bob", Reason: "began", Detail: map[string]string{"policy": "prod", "until": at(151 + 60).Format(time.RFC3339)}})
	add(audit.Event{Time: at(160), Kind: audit.KindAudit, Reason: "recovered", Detail: map[string]string{"refused": "7"}})
	add(audit.Event{Time: at(170), Kind: audit.KindStore, Actor: grace, Reason: "loss_accepted"})
	add(audit.SinkLost("siem", audit.Gap{From: 3, To: 5}, 2, "the receiver rejected them"))
	h.events[len(h.events)-1].Time = at(180)
	r := report(t, h, receipt.ReportSettings{Since: at(0), Until: at(1000), Slow: time.Hour, Grant: time.Hour})
	var got []string
	for _, e := range r.Exceptions {
		got = append(got, fmt.Sprintf("%s %s %s", e.Kind, e.UserName, e.What))
	}
	for _, want := range []string{"held  a deactivation was held for 1m40s, and released", "held  a deactivation was held for 1m49s, and rejected", "held ada2 a deactivation is held since 2026-05-03T09:00:12Z, and nobody decided",
		"cut_without_push bob a request to app was cut (inactive_user)", "break_glass bob a break-glass code was made: the provider is down", "long_grant bob access by the policy prod was granted for 2h0m0s",
		"gap  the record could not be written: 7 events", "store  an older store was put in place (loss_accepted)", "unsigned  ",
		"gap  the sink siem never gets 2 lines of 3 to 5: the receiver rejected them"} {
		if !slices.ContainsFunc(got, func(line string) bool { return strings.HasPrefix(line, want) }) {
			t.Errorf("no exception says %q", want)
		}
	}
	if len(got) != 10 {
		t.Errorf("exceptions:\n%s", strings.Join(got, "\n"))
	}
	var page bytes.Buffer
	r.Exceptions[0].UserName = "\x1b<script>"
	if err := r.WritePage(&page); err != nil || strings.Contains(page.String(), "<script") || strings.Contains(page.String(), "\x1b") || !strings.Contains(page.String(), "&lt;script&gt;") {
		t.Errorf("the page: %v", err)
	}
}
