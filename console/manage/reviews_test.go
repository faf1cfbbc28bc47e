package manage_test

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"sallyport/access"
	"sallyport/admin"
	"sallyport/audit"
	"sallyport/directory"
	"sallyport/grant"
)

// startReview starts a review of wiki, whose rows are those of Ada (1) and Bob (2).
func (e *env) startReview() (id string) {
	e.t.Helper()
	to := e.done(e.ada, "/reviews", url.Values{"route": {"wiki"}, "due": {"14d"}, "reviewer": {""}})
	id, ok := strings.CutSuffix(strings.TrimPrefix(to, "/reviews/"), "?done=started_review")
	if !ok || id == "" {
		e.t.Fatalf("it leads to %s", to)
	}
	return id
}

// rows returns the decisions about the rows of a review.
func (e *env) rows(id string) (decisions string) {
	e.t.Helper()
	for _, row := range must[admin.ReviewView](e.t)(e.admin.Review(e.t.Context(), admin.Operator("root", "test"), id)).Rows {
		decisions += string(row.Decision) + " "
	}
	return strings.TrimSpace(decisions)
}

// usedAt has the record tell that Bob used the wiki at a time.
func usedAt(at time.Time) func(*env) {
	return func(e *env) {
		e.parts.Decisions = func(_ context.Context, _ admin.RecordQuery, add func(access.Recorded) error) (admin.RecordRead, error) {
			return admin.RecordRead{Begins: at.Add(-time.Hour)}, add(access.Recorded{Time: at, User: e.user("bob@example.com").ID, Route: "wiki", Rule: "sre[0]", Allow: true})
		}
	}
}

func TestReviews_StartDecideAndClose(t *testing.T) {
	used := time.Now().Add(-100 * 24 * time.Hour).UTC().Truncate(time.Second)
	e := newEnv(t, usedAt(used))
	none := func() {
		t.Helper()
		if list := must[[]admin.ReviewView](t)(e.admin.Reviews(t.Context(), admin.System("test"))); len(list) != 0 {
			t.Errorf("the reviews are %+v", list)
		}
	}
	form := url.Values{"route": {"wiki"}, "due": {"14d"}, "reviewer": {""}}
	e.isRefused("/reviews", form, none)
	for _, odd := range []url.Values{{"route": {"none"}, "due": {"14d"}, "reviewer": {""}}, {"route": {"wiki"}, "due": {"1s"}, "reviewer": {""}}, {"route": {"wiki"}, "due": {"x"}, "reviewer": {""}},
		{"route": {"wiki"}, "due": {"14d"}, "reviewer": {"me"}}} {
		if res := e.post(e.ada, "/reviews", odd); res.Code < 400 {
			t.Errorf("%v: %d", odd, res.Code)
		}
		none()
	}
	id := e.startReview()
	if res := e.post(e.ada, "/reviews", form); res.Code != http.StatusConflict {
		t.Errorf("a second review of the route: %d", res.Code)
	}
	page := e.page(e.ada, "/reviews/"+id).Body.String()
	for _, want := range []string{"Bob Roe", "Ada Lovelace (you)", "sre[0]", used.Format(time.RFC3339), "never", `value="1" aria-label="Choose Ada Lovelace, sre[0]" disabled`, "0 keep, 0 revoke, 0 ask, 2 undecided"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
	path := "/reviews/" + id + "/decide"
	open := func() {
		t.Helper()
		if got := e.rows(id); got != "open open" {
			t.Errorf("the rows are %s", got)
		}
	}
	e.isRefused(path, url.Values{"row": {"2"}, "decision": {"keep"}, "why": {"x"}}, open)
	for name, odd := range map[string]url.Values{
		"own": {"row": {"1"}, "decision": {"keep"}, "why": {"x"}}, "own_among_others": {"row": {"1", "2"}, "decision": {"revoke"}, "why": {"x"}},
		"none": {"decision": {"keep"}, "why": {"x"}}, "no_reason": {"row": {"2"}, "decision": {"keep"}}, "no_decision": {"row": {"2"}, "why": {"x"}}, "odd_decision": {"row": {"2"}, "decision": {"open"}, "why": {"x"}},
		"no_row": {"row": {"3"}, "decision": {"keep"}, "why": {"x"}}, "odd_row": {"row": {"x"}, "decision": {"keep"}, "why": {"x"}}, "negative": {"row": {"-1"}, "decision": {"keep"}, "why": {"x"}},
	} {
		if res := e.post(e.ada, path, odd); res.Code < 400 {
			t.Errorf("%s: %d", name, res.Code)
		}
		open()
	}
	if to := e.done(e.ada, path, url.Values{"row": {"2"}, "decision": {"revoke"}, "why": {"left the team"}, "back": {"decision=open&text=bob"}}); to != "/reviews/"+id+"?decision=open&done=decided_rows&text=bob" {
		t.Errorf("it leads to %s", to)
	}
	if got := e.rows(id); got != "open revoke" {
		t.Errorf("the rows are %s", got)
	}
	last := e.events(audit.KindReview)
	if event := last[len(last)-1]; event.Actor.ID != e.ada.User.ID || event.Actor.Role != audit.RoleAdmin || event.Detail["why"] != "left the team" {
		t.Errorf("the record has %+v", event)
	}
	if res := e.post(e.ada, "/reviews/"+id+"/close", nil); res.Code != http.StatusUnprocessableEntity {
		t.Errorf("closing without being sure: %d", res.Code)
	}
	e.isRefused("/reviews/"+id+"/close", url.Values{"sure": {"yes"}}, func() {
		if v := must[admin.ReviewView](t)(e.admin.Review(t.Context(), admin.Operator("root", "test"), id)); v.State != grant.ReviewOpen {
			t.Error("it is closed")
		}
	})
	e.done(e.ada, "/reviews/"+id+"/close", url.Values{"sure": {"yes"}})
	if res := e.post(e.ada, path, url.Values{"row": {"2"}, "decision": {"ask"}, "why": {"x"}}); res.Code != http.StatusConflict {
		t.Errorf("deciding after it was closed: %d", res.Code)
	}
	e.done(e.ada, path, url.Values{"row": {"2"}, "decision": {"keep"}, "why": {"a mistake"}}) // which lifts the revocation
	if body := e.page(e.ada, "/reviews").Body.String(); !strings.Contains(body, "closed") || !strings.Contains(body, "50 %") {
		t.Error("the list does not say how far it came")
	}
}

// TestReviews_StalePageUndoesNothing: whoever decides by a page on which a row was not decided yet, or otherwise, does not undo
// what somebody else decided meanwhile.
func TestReviews_StalePageUndoesNothing(t *testing.T) {
	e := newEnv(t, usedAt(time.Now()))
	id := e.startReview()
	path, choice := "/reviews/"+id+"/decide", regexp.MustCompile(`name="row" value="(2[^"]*)"`)
	onPage := func() string {
		t.Helper()
		found := choice.FindStringSubmatch(e.page(e.ada, "/reviews/"+id).Body.String())
		if found == nil {
			t.Fatal("the row cannot be chosen")
		}
		return found[1]
	}
	stale := onPage()
	e.done(e.ada, path, url.Values{"row": {stale}, "decision": {"revoke"}, "why": {"left the team"}})
	for _, row := range []string{stale, "2.1", "2.x", "2."} {
		if res := e.post(e.ada, path, url.Values{"row": {row}, "decision": {"keep"}, "why": {"all well"}}); res.Code < 400 {
			t.Errorf("%s: %d", row, res.Code)
		}
		if got := e.rows(id); got != "open revoke" {
			t.Errorf("%s: the rows are %s", row, got)
		}
	}
	e.done(e.ada, path, url.Values{"row": {onPage()}, "decision": {"keep"}, "why": {"they are back"}})
	if got := e.rows(id); got != "open keep" {
		t.Errorf("the rows are %s", got)
	}
}

func TestReviews_FilterRows(t *testing.T) {
	e := newEnv(t, usedAt(time.Now().Add(-24*time.Hour)))
	e.change(func(tx *directory.Tx) error {
		sre, err := tx.GroupByName("SRE")
		if err != nil {
			return err
		}
		for i := range 230 {
			u := &directory.User{UserName: fmt.Sprintf("p%03d@example.com", i), ExternalID: fmt.Sprintf("p%03d", i), Active: true, Document: fmt.Appendf(nil, `{"displayName":"Person %03d"}`, i)}
			if err := tx.PutUser(u); err != nil {
				return err
			}
			if _, err := tx.AddMembers(sre.ID, []string{u.ID}); err != nil {
				return err
			}
		}
		return nil
	})
	id := e.startReview()
	gone := e.user("p007@example.com").ID
	e.change(func(tx *directory.Tx) error { return tx.DeleteUser(gone) })
	count := func(query string) int {
		t.Helper()
		return strings.Count(e.page(e.ada, "/reviews/"+id+"?"+query).Body.String(), `name="row"`)
	}
	for query, want := range map[string]int{"": 100, "from=101": 100, "from=201": 32, "from=999": 0, "text=PERSON+00": 10, "text=bob": 1, "text=none": 0, "decision=keep": 0, "decision=open&text=p22": 10, "gone=yes": 1,
		"unused=1h&text=bob": 1, "unused=7d&text=bob": 0, "unused=7d&text=ada": 1, "unused=2020-01-01&text=p001": 1, "from=x": 0, "decision=odd": 0, "unused=odd": 0} {
		if got := count(query); got != want {
			t.Errorf("%q shows %d rows, want %d", query, got, want)
		}
	}
	if res := e.get(e.ada, "/reviews/none"); res.Code != http.StatusNotFound {
		t.Errorf("no such review: %d", res.Code)
	}
}

func TestReviews_AreExportedSigned(t *testing.T) {
	e := newEnv(t, usedAt(time.Now()))
	id := e.startReview()
	res := e.get(e.otto, "/reviews/"+id+"/export")
	if res.Code != http.StatusOK || res.Header().Get("Content-Type") != "application/jose" || !strings.HasPrefix(res.Header().Get("Content-Disposition"), `attachment; filename="review-`+id) {
		t.Fatalf("%d %v", res.Code, res.Header())
	}
	keys, err := e.admin.ReviewKeys(t.Context(), admin.System("test"))
	if err != nil {
		t.Fatal(err)
	}
	export, _, err := admin.VerifyReview(res.Body.String(), keys)
	if err != nil || export.By != "otto@example.com" || len(export.Review.Rows) != 2 {
		t.Errorf("the export says %+v, %v", export, err)
	}
	if res := e.get(e.otto, "/reviews/none/export"); res.Code != http.StatusNotFound {
		t.Errorf("no such review: %d", res.Code)
	}
	if body := e.page(e.otto, "/reviews").Body.String() + e.page(e.otto, "/reviews/"+id).Body.String(); strings.Contains(body, `method="post"`) || strings.Contains(body, `name="row"`) {
		t.Error("an auditor has forms")
	}
}
