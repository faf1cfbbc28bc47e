package manage_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"sallyport/admin"
	"sallyport/directory"
)

// TestResponses_StayInTheirOrigin: no page of another origin can embed what the console responds with, in whatever format, and no
// browser takes it for something else.
func TestResponses_StayInTheirOrigin(t *testing.T) {
	e := newEnv(t, func(e *env) {
		e.parts.Record.Receipt = func(context.Context, admin.Actor, string, time.Time) (admin.ReceiptDocument, error) {
			return admin.ReceiptDocument{JWS: "a.b.c"}, nil
		}
	})
	e.writeDecisions(20)
	id := e.recordDecision(1, "bob@example.com", "allow", "rule_allow", time.Now())
	for _, path := range []string{"/", "/?format=csv", "/?format=json", "/overview/charts", "/people?format=csv", "/people?format=json", "/groups?format=csv", "/routes?format=json", "/live?format=json", "/live?format=csv",
		"/decisions?format=json", "/decisions/" + id + "?format=json", "/record?format=csv", "/record/export?as=ndjson", "/record/export?as=ocsf", "/record/receipts/x/jws", "/search?q=a&format=json",
		"/provisioning?format=json", "/configuration?format=json", "/policy?format=csv", "/nothing", "", "/record/lines/0"} {
		h := e.get(e.otto, path).Header()
		if path != "/nothing" && h.Get("Cross-Origin-Resource-Policy") != "same-origin" && path != "" {
			t.Errorf("%s: Cross-Origin-Resource-Policy is %q", path, h.Get("Cross-Origin-Resource-Policy"))
		}
		if strings.Contains(path, "format=") && h.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: X-Content-Type-Options is %q", path, h.Get("X-Content-Type-Options"))
		}
	}
}

// slowReceiver receives an export as slowly as it likes.
type slowReceiver struct {
	bytes.Buffer
	begun   chan struct{} // gets a value with the first part
	release chan struct{} // closed when it goes on
	once    sync.Once
}

func (w *slowReceiver) Write(p []byte) (int, error) {
	w.once.Do(func() { w.begun <- struct{}{} })
	<-w.release
	return w.Buffer.Write(p)
}

// TestExports_SlowOnesBlockNoOthers: whoever receives an export slowly keeps nobody else from one; there are only so many at once.
func TestExports_SlowOnesBlockNoOthers(t *testing.T) {
	e := newEnv(t)
	e.writeDecisions(400)
	raw := must[[]byte](t)(os.ReadFile(e.recordPath))
	actor := admin.Person(e.otto.User, address)
	begun, release := make(chan struct{}), make(chan struct{})
	var slow []*slowReceiver
	var all sync.WaitGroup
	for range 15 {
		w := &slowReceiver{begun: begun, release: release}
		slow = append(slow, w)
		all.Go(func() {
			if err := e.admin.ExportRecord(t.Context(), actor, admin.RecordFilter{}, false, w); err != nil {
				t.Error(err)
			}
		})
		<-begun
	}
	var fast bytes.Buffer
	if err := e.admin.ExportRecord(t.Context(), actor, admin.RecordFilter{}, false, &fast); err != nil || !bytes.Equal(fast.Bytes(), raw) {
		t.Errorf("while 15 are slow, another one gets %d of %d bytes, %v", fast.Len(), len(raw), err)
	}
	last := &slowReceiver{begun: begun, release: release}
	all.Go(func() { _ = e.admin.ExportRecord(t.Context(), actor, admin.RecordFilter{}, false, last) })
	<-begun
	if err := e.admin.ExportRecord(t.Context(), actor, admin.RecordFilter{}, false, &fast); !errors.Is(err, admin.ErrBusy) {
		t.Errorf("a 17th: %v", err)
	}
	close(release)
	all.Wait()
	for i, w := range slow {
		if !bytes.Equal(w.Bytes(), raw) {
			t.Errorf("slow export %d has %d of %d bytes", i, w.Len(), len(raw))
		}
	}
}

// TestReceipt_IsMadeInTheBackground: no page waits for a receipt that needs the whole record to be read. It is made once, for one
// person one at a time, and is there when the page is asked for again.
func TestReceipt_IsMadeInTheBackground(t *testing.T) {
	var mu sync.Mutex
	made := map[string]int{}
	release := make(chan struct{})
	e := newEnv(t, func(e *env) {
		e.parts.Record.Receipt = func(ctx context.Context, actor admin.Actor, user string, _ time.Time) (admin.ReceiptDocument, error) {
			mu.Lock()
			made[actor.Name+" "+user]++
			mu.Unlock()
			switch user {
			case "fault":
				panic("a fault")
			case "quick":
				return admin.ReceiptDocument{JWS: "q.u.ick"}, nil
			}
			<-release
			if ctx.Err() != nil {
				return admin.ReceiptDocument{}, ctx.Err()
			}
			return admin.ReceiptDocument{JWS: "a.b." + actor.Name, Page: "<!doctype html><p>Bob"}, nil
		}
	})
	bob := e.user("bob@example.com").ID
	const at = "?at=2026-11-01T00%3A00%3A00Z"
	state := func(res *response) string {
		t.Helper()
		to := strings.TrimPrefix(res.Header().Get("Location"), "/.sallyport/console")
		if res.Code != http.StatusSeeOther || !strings.HasPrefix(to, "/record/receipts/") {
			t.Fatalf("%d %s %v", res.Code, to, res.err)
		}
		return to
	}
	to := state(e.get(e.otto, "/record/receipts/"+bob+"/jws"+at))
	if page := e.page(e.otto, to).Body.String(); !strings.Contains(page, "data-renewing") || !strings.Contains(page, "Receipt of bob@example.com") || strings.Contains(page, "/jws") {
		t.Errorf("the page does not say that it is being made: %s", page)
	}
	state(e.get(e.otto, "/record/receipts/"+bob+"/page"+at))
	if res := e.get(e.otto, "/record/receipts/other/jws"+at); res.Code != http.StatusServiceUnavailable {
		t.Errorf("a second one for the same person: %d", res.Code)
	}
	state(e.get(e.ada, "/record/receipts/"+bob+"/jws"+at))
	carol := e.viewer("carol@example.com", false)
	if res := e.get(carol, "/record/receipts/quick/jws"+at); res.Code != http.StatusServiceUnavailable {
		t.Errorf("a third one at the same time: %d", res.Code)
	}
	close(release)
	deadline := time.Now().Add(time.Minute)
	for strings.Contains(e.page(e.otto, to).Body.String(), "data-renewing") || strings.Contains(e.page(e.ada, to).Body.String(), "data-renewing") {
		if time.Now().After(deadline) {
			t.Fatal("it is never made")
		}
	}
	for v, want := range map[string]string{"otto@example.com": "a.b.otto@example.com", "ada@example.com": "a.b.ada@example.com"} {
		viewer := e.otto
		if v == "ada@example.com" {
			viewer = e.ada
		}
		page := e.page(viewer, to).Body.String()
		_, link, _ := strings.Cut(page, `href="/.sallyport/console/record/receipts/`+bob+`/jws?`)
		query, _, _ := strings.Cut(link, `"`)
		res := e.get(viewer, "/record/receipts/"+bob+"/jws?"+strings.ReplaceAll(query, "&amp;", "&"))
		if res.Code != http.StatusOK || res.Body.String() != want {
			t.Errorf("%s gets %d %s", v, res.Code, res.Body)
		}
	}
	if res := e.get(e.otto, "/record/receipts/"+bob+"/page"+at); res.Code != http.StatusOK || res.Body.String() != "<!doctype html><p>Bob" {
		t.Errorf("%d %s", res.Code, res.Body)
	}
	mu.Lock()
	for who, n := range made {
		if n != 1 {
			t.Errorf("that of %s was made %d times", who, n)
		}
	}
	mu.Unlock()
	if res := e.get(e.otto, "/record/receipts/fault/jws"+at); res.Code != http.StatusNotFound || !strings.Contains(res.Body.String(), "a fault of the program") {
		t.Errorf("after a fault: %d %s", res.Code, res.Body)
	}
	if res := e.get(e.otto, "/record/receipts/quick/jws?at=1h"); res.Code != http.StatusOK || res.Body.String() != "q.u.ick" {
		t.Errorf("a quick one: %d %s", res.Code, res.Body)
	}
	if res := e.get(e.otto, "/record/receipts/"+bob+"?at=never"); res.Code != http.StatusNotFound {
		t.Errorf("a time that is none: %d", res.Code)
	}
}

// TestRequest_CountsOthersInTheBackground: in a large directory, the page of a request for access is there before it was computed who
// else reaches the route, and says so.
func TestRequest_CountsOthersInTheBackground(t *testing.T) {
	e := newEnv(t)
	e.change(func(tx *directory.Tx) error {
		g, err := tx.GroupByExternalID("g-payroll")
		if err != nil {
			return err
		}
		var ids []string
		for i := range 5_000 {
			u := &directory.User{ExternalID: fmt.Sprint("many-", i), UserName: fmt.Sprintf("many%05d@example.com", i), Active: true}
			if err := tx.PutUser(u); err != nil {
				return err
			}
			ids = append(ids, u.ID)
		}
		_, err = tx.AddMembers(g.ID, ids)
		return err
	})
	asked, err := e.admin.Ask(t.Context(), admin.Person(e.user("carol@example.com"), address), admin.Asking{User: e.user("carol@example.com"), Route: "payroll", Policy: "payroll", URL: "https://payroll.example.com/", Reason: "wages"})
	if err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(time.Minute)
	for {
		page := e.page(e.ada, "/requests/"+url.PathEscape(asked.ID)).Body.String()
		counted := strings.Contains(page, "and 4994 more") || strings.Contains(page, "4\u202f994")
		if counted {
			if strings.Contains(page, "data-renewing") {
				t.Error("the page goes on asking")
			}
			return
		}
		if !strings.Contains(page, "data-renewing") || strings.Contains(page, "nobody") {
			t.Fatalf("the page neither has the others nor says that they are being counted: %s", page)
		}
		if time.Now().After(deadline) {
			t.Fatal("they are never counted")
		}
	}
}
