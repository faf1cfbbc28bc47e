package manage_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"sallyport/admin"
	"sallyport/audit"
	"sallyport/console/manage"
)

// writeDecisions writes decisions about Bob and others.
func (e *env) writeDecisions(n int) {
	e.t.Helper()
	bob := e.user("bob@example.com")
	for i := range n {
		event := audit.Event{Time: time.Now().UTC(), Kind: audit.KindDecision, Route: "wiki", Method: "GET", Host: "wiki.example.com", Path: fmt.Sprintf("/page/%04d", i), UserName: "someone@example.com",
			User: "5a111900000040008000000000000001", Decision: "allow", Reason: "rule_allow", Rule: "sre[0]", Request: fmt.Sprintf("%032d", i), Address: "192.0.2.7"}
		if i%10 == 0 {
			event.User, event.UserName, event.Decision, event.Reason = bob.ID, bob.UserName, "deny", "no_rule"
		}
		if err := e.record.Write(event); err != nil {
			e.t.Fatal(err)
		}
	}
}

// lines returns the lines that the page shows as JSON.
func (e *env) lines(query string) (rows []map[string]any) {
	e.t.Helper()
	res := e.get(e.otto, "/record?format=json&"+query)
	if err := json.Unmarshal(res.Body.Bytes(), &rows); err != nil || res.Code != http.StatusOK {
		e.t.Fatalf("%s: %d %v %s", query, res.Code, err, res.Body)
	}
	return rows
}

func TestRecord_IsSearched(t *testing.T) {
	e := newEnv(t)
	e.writeDecisions(250)
	if _, err := e.admin.Suspend(t.Context(), admin.Operator("root", "control socket"), "carol@example.com", "the <i>laptop</i> was lost"); err != nil {
		t.Fatal(err)
	}
	bob := e.user("bob@example.com")
	for query, want := range map[string]int{"": 100, "kind=suspend": 1, "kind=cut": 0, "person=bob@example.com": 25, "person=BOB@example.com": 25, "person=" + bob.ID: 25, "person=nobody-here": 0, "actor=root": 1, "actor=ROOT&kind=suspend": 1,
		"actor=bob": 0, "reason=no_rule": 25, "route=wiki&person=bob@example.com": 25, "route=none": 0, "text=" + url.QueryEscape("page/0123"): 1, "text=LAPTOP": 1, "text=" + url.QueryEscape("<i>laptop</i>"): 1,
		"text=laptop&kind=decision": 0, "since=1h&kind=suspend": 1, "until=2020-01-01": 0, "since=2020-01-01&until=2020-01-02": 0, "text=00000000000000000000000000000240": 1} {
		if rows := e.lines(query); len(rows) != want {
			t.Errorf("%s finds %d lines, want %d", query, len(rows), want)
		}
	}
	if first := e.lines("")[0]; first["kind"] != "suspend" || first["by"] != "root" {
		t.Errorf("the newest line is not the first: %v", first)
	}
	body := e.page(e.ada, "/record?kind=suspend").Body.String()
	for _, want := range []string{"carol@example.com", "suspended", `href="/.sallyport/console/record/lines/251"`, "was not checked yet", "as=ndjson&amp;kind=suspend"} {
		if !strings.Contains(body, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
	for query, want := range map[string]string{"text=abc": "at least 4", "since=never": "cannot be read", "kind=odd": "cannot be read"} {
		if body := e.page(e.ada, "/record?"+query).Body.String(); !strings.Contains(body, want) || strings.Contains(body, "<tbody>") {
			t.Errorf("%s: the page does not say what is wrong, or shows lines", query)
		}
	}
	if res := e.get(e.ada, "/record?before=odd"); res.Code < 400 {
		t.Errorf("a place that is none: %d", res.Code)
	}
	line := e.page(e.otto, "/record/lines/251").Body.String()
	for _, want := range []string{"the &lt;i&gt;laptop&lt;/i&gt; was lost", "root", "control socket"} {
		if !strings.Contains(line, want) {
			t.Errorf("the line lacks %s", want)
		}
	}
	for _, n := range []string{"0", "x", "9999", "18446744073709551615"} {
		if res := e.get(e.ada, "/record/lines/"+n); res.Code != http.StatusNotFound {
			t.Errorf("line %s: %d", n, res.Code)
		}
	}
}

func TestRecord_PagesHaveEachLineOnce(t *testing.T) {
	e := newEnv(t)
	e.writeDecisions(321)
	seen, before := map[uint64]bool{}, ""
	for range 10 {
		found, err := e.admin.SearchRecord(t.Context(), admin.System("test"), admin.RecordFilter{Before: before}, 100)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range found.Lines {
			if seen[l.Seq] {
				t.Errorf("line %d is on two pages", l.Seq)
			}
			seen[l.Seq] = true
		}
		e.writeDecisions(1) // what comes meanwhile moves nothing
		if before = found.Next; before == "" {
			break
		}
	}
	if len(seen) != 321 {
		t.Errorf("%d lines are on all pages, want 321", len(seen))
	}
}

func TestRecord_IsExported(t *testing.T) {
	e := newEnv(t)
	e.writeDecisions(200)
	raw := must[[]byte](t)(os.ReadFile(e.recordPath))
	if res := e.get(e.otto, "/record/export?as=ndjson"); res.Code != http.StatusOK || res.Body.String() != string(raw) || !strings.HasPrefix(res.Header().Get("Content-Disposition"), "attachment") {
		t.Errorf("%d, %d bytes, want the record as it is (%d)", res.Code, res.Body.Len(), len(raw))
	}
	if res := e.get(e.otto, "/record/export?as=ndjson&person=bob@example.com"); strings.Count(res.Body.String(), "\n") != 20 {
		t.Errorf("it has %d lines about Bob", strings.Count(res.Body.String(), "\n"))
	}
	ocsf := e.get(e.otto, "/record/export?as=ocsf&reason=no_rule")
	for line := range strings.Lines(ocsf.Body.String()) {
		var event struct {
			Class int `json:"class_uid"`
		}
		if err := json.Unmarshal([]byte(line), &event); err != nil || event.Class == 0 {
			t.Errorf("%v: %s", err, line)
		}
	}
	if strings.Count(ocsf.Body.String(), "\n") != 20 {
		t.Errorf("it has %d events", strings.Count(ocsf.Body.String(), "\n"))
	}
	unknown := strings.Repeat("0", 32)
	for _, path := range []string{"/record?before=x", "/decisions?before=x", "/decisions/" + unknown + "?seen=x"} {
		if res := e.get(e.otto, path); res.Code != http.StatusNotFound {
			t.Errorf("%s, a place that is none: %d %v", path, res.Code, res.err)
		}
	}
	if res := e.get(e.otto, "/decisions/"+unknown+"?before=~9&seen=~99999999"); res.err != nil {
		t.Errorf("a line that is not there was seen: %v", res.err)
	}
	for _, query := range []string{"", "as=xml", "as=ndjson&since=never"} {
		if res := e.get(e.otto, "/record/export?"+query); res.Code != http.StatusNotFound || res.Header().Get("Content-Disposition") != "" {
			t.Errorf("%q: %d", query, res.Code)
		}
	}
}

// TestRecord_ExportsNothing: an export without a line is a response all the same. Without one, the proxy would break the
// connection off.
func TestRecord_ExportsNothing(t *testing.T) {
	e := newEnv(t)
	w := newHeldWriter(false)
	r := httptest.NewRequest(http.MethodGet, origin+manage.Path+"/record/export?as=ndjson&until=2020-01-01", nil)
	if err := e.handler.Serve(w, r, r.URL.Path, e.otto); err != nil || !w.hasBegun() || w.Body.Len() > 0 {
		t.Errorf("%v, a response: %v, %s", err, w.hasBegun(), w.Body)
	}
}

// TestRecord_ExportsOneAtATimeForEach: whoever reads an export slowly does not keep the places of others.
func TestRecord_ExportsOneAtATimeForEach(t *testing.T) {
	e := newEnv(t)
	e.writeDecisions(20)
	const path = "/record/export?as=ndjson"
	w, ended := newHeldWriter(true), make(chan error)
	go func() {
		r := httptest.NewRequest(http.MethodGet, origin+manage.Path+path, nil)
		ended <- e.handler.Serve(w, r, r.URL.Path, e.otto)
	}()
	<-w.begun
	if res := e.get(e.otto, path); res.Code != http.StatusServiceUnavailable {
		t.Errorf("a second one for the same person: %d", res.Code)
	}
	if res := e.get(e.ada, path); res.Code != http.StatusOK {
		t.Errorf("one for somebody else: %d", res.Code)
	}
	close(w.release)
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if res := e.get(e.otto, path); res.Code != http.StatusOK {
		t.Errorf("one after the first has ended: %d", res.Code)
	}
}

func TestRecord_SaysWhetherTheChainIsSound(t *testing.T) {
	var failed error
	e := newEnv(t, func(e *env) {
		e.parts.Record.Verify = func(ctx context.Context) (audit.Checked, error) {
			if failed != nil {
				return audit.Checked{}, failed
			}
			record, err := audit.OpenRecord(e.recordPath)
			if err != nil {
				return audit.Checked{}, err
			}
			defer record.Close()
			return record.VerifyInBackground(ctx, audit.Trust{})
		}
	})
	e.writeDecisions(40)
	e.admin.CheckRecord(t.Context())
	if body := e.page(e.ada, "/record").Body.String(); !strings.Contains(body, "The chain is sound: lines 1 to 40") || !strings.Contains(body, "checked <time") {
		t.Error("the page does not say until where and when the chain was checked")
	}
	failed = fmt.Errorf("%w: line 7 was changed", audit.ErrBroken)
	e.admin.CheckRecord(t.Context())
	if body := e.page(e.ada, "/record").Body.String(); !strings.Contains(body, "The chain is not sound") || !strings.Contains(body, "line 7 was changed") {
		t.Error("the page does not say that the chain is broken")
	}
	failed = errors.New("the disk does not respond")
	e.admin.CheckRecord(t.Context())
	if body := e.page(e.ada, "/record").Body.String(); !strings.Contains(body, "could not be checked") || strings.Contains(body, "is sound") {
		t.Error("the page says that a record is sound which was not checked")
	}
}

func TestRecord_ListsReceipts(t *testing.T) {
	var asked admin.Actor
	e := newEnv(t, func(e *env) {
		e.parts.Record.Receipt = func(_ context.Context, actor admin.Actor, user string, at time.Time) (admin.ReceiptDocument, error) {
			if asked = actor; user != e.user("carol@example.com").ID || at.IsZero() {
				return admin.ReceiptDocument{}, errors.New("no offboarding")
			}
			return admin.ReceiptDocument{JWS: "a.b.c", Page: "<!doctype html><p>Carol"}, nil
		}
	})
	e.writeDecisions(20)
	if _, err := e.admin.Suspend(t.Context(), admin.Operator("root", "control socket"), "carol@example.com", "left"); err != nil {
		t.Fatal(err)
	}
	body := e.page(e.otto, "/record/receipts").Body.String()
	carol := "/record/receipts/" + e.user("carol@example.com").ID
	if !strings.Contains(body, carol+"/page?at=") || strings.Count(body, "/jws?at=") != 1 {
		t.Errorf("the list is not that of Carol alone")
	}
	jws := e.get(e.otto, carol+"/jws?at="+time.Now().UTC().Format(time.RFC3339))
	if jws.Code != http.StatusOK || jws.Body.String() != "a.b.c" || jws.Header().Get("Content-Type") != "application/jose" || asked.ID != e.otto.User.ID {
		t.Errorf("%d %v %s, for %+v", jws.Code, jws.Header(), jws.Body, asked)
	}
	page := e.get(e.otto, carol+"/page?at="+time.Now().UTC().Format(time.RFC3339))
	if page.Code != http.StatusOK || !strings.HasPrefix(page.Header().Get("Content-Disposition"), "attachment") || page.Header().Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("%d %v", page.Code, page.Header())
	}
	for _, path := range []string{"/record/receipts/none/jws?at=1h", carol + "/xml?at=1h", carol + "/jws?at=never"} {
		if res := e.get(e.otto, path); res.Code != http.StatusNotFound {
			t.Errorf("%s: %d", path, res.Code)
		}
	}
}
