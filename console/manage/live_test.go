package manage_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"sallyport/audit"
	"sallyport/console/manage"
	"sallyport/live"
)

// addLive adds n live requests of a user.
func (e *env) addLive(userName string, n int) {
	u := e.user(userName)
	for range n {
		i := len(e.live)
		e.live = append(e.live, live.Request{Key: live.Key{ID: fmt.Sprintf("%032x", i), Kind: live.Kinds()[i%3], User: u.ID, UserName: u.UserName, Route: []string{"wiki", "payroll"}[i%2],
			Since: time.Now().Add(-time.Duration(i) * time.Second), Received: 12_345, Sent: 6_789_012}, Rule: "sre[0]", Method: "GET", Host: "wiki.example.com", Path: "/a<b>", Address: "203.0.113.7"})
	}
}

func TestLive_ShowsRequests(t *testing.T) {
	e := newEnv(t)
	if page := e.page(e.ada, "/live").Body.String(); !strings.Contains(page, "No such request is under way") {
		t.Error("nothing is said of an empty list")
	}
	e.addLive("bob@example.com", 150)
	e.addLive("carol@example.com", 3)
	e.live = append(e.live, live.Request{Key: live.Key{ID: "ff", Kind: live.Plain, UserName: "app:reporting", Route: "wiki"}, Method: "GET", Path: "/"}, live.Request{Key: live.Key{ID: "fe", Kind: live.Plain, Route: "wiki"}, Method: "GET", Path: "/"})
	page := e.page(e.ada, "/live").Body.String()
	for _, want := range []string{"155 of 155", "bob@example.com", "12 kB", "6.8 MB", "sre[0]", "GET /a&lt;b&gt;", "203.0.113.7", `name="request" value="`, "page=2", "WebSocket"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if strings.Contains(e.page(e.otto, "/live").Body.String(), "<button class=\"button small\" form") {
		t.Error("an auditor gets buttons")
	}
	second := e.page(e.otto, "/live?page=2").Body.String()
	for _, want := range []string{"carol@example.com", "app:reporting", ">anyone<"} {
		if !strings.Contains(page+second, want) {
			t.Errorf("the pages lack %q", want)
		}
	}
	for query, want := range map[string]int{"?person=CAROL": 3, "?kind=events&route=payroll": 26, "?user=" + e.user("bob@example.com").ID: 150, "?user=app:reporting": 1, "?person=nobody": 0, "?route=none": 0} {
		if page := e.page(e.ada, "/live"+query).Body.String(); !strings.Contains(page, fmt.Sprintf("%d of 155", want)) {
			t.Errorf("%s: %s", query, page)
		}
	}
	if page := e.page(e.ada, "/live?kind=tunnel&sort=x").Body.String(); !strings.Contains(page, "cannot be read: kind") || !strings.Contains(page, "cannot be read: sort") {
		t.Error("a filter that cannot be read is not named")
	}
	var rows []map[string]any
	if err := json.Unmarshal(e.get(e.otto, "/live?format=json&sort=longest").Body.Bytes(), &rows); err != nil || len(rows) != 100 {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	if row := rows[99]; row["received"] != 12345.0 || row["kind"] == "event stream" || row["request"] == "" || row["end"] != nil {
		t.Errorf("%v", row)
	}
}

func TestLive_EndsOne(t *testing.T) {
	e := newEnv(t)
	e.addLive("bob@example.com", 2)
	id := e.live[0].ID
	e.isRefused("/live/end", url.Values{"request": {id}}, func() {
		if len(e.live) != 2 || len(e.events(audit.KindLive)) > 0 {
			t.Error("something was ended")
		}
	})
	to := e.done(e.ada, "/live/end", url.Values{"request": {id}, "back": {"person=bob&page=1"}})
	if len(e.live) != 1 || to != "/live?done=live_ended&page=1&person=bob" {
		t.Errorf("%d are left, and it leads to %s", len(e.live), to)
	}
	if !strings.Contains(e.page(e.ada, to).Body.String(), "The request was ended") {
		t.Error("the page does not say so")
	}
	if events := e.events(audit.KindLive); len(events) != 1 || events[0].Actor.Name != "ada@example.com" || events[0].Actor.Role != audit.RoleAdmin || events[0].Request != id || events[0].UserName != "bob@example.com" {
		t.Errorf("%+v", events)
	}
	if res := e.post(e.ada, "/live/end", url.Values{"request": {id}}); res.Code != http.StatusUnprocessableEntity || !strings.Contains(res.Body.String(), "it has ended, or never was") {
		t.Errorf("again: %d %s", res.Code, res.Body)
	}
	if to := e.done(e.ada, "/live/end", url.Values{"request": {e.live[0].ID}, "back": {"https://evil.example/?x=1"}}); !strings.HasPrefix(to, "/live?") {
		t.Errorf("it leads to %s", to)
	}
}

func TestLive_EndsAllOfOne(t *testing.T) {
	e := newEnv(t)
	e.addLive("bob@example.com", 5)
	e.addLive("carol@example.com", 1)
	bob := e.user("bob@example.com").ID
	page := e.page(e.ada, "/live?user="+bob).Body.String()
	if !strings.Contains(page, "End all of bob@example.com") || !strings.Contains(page, "/people/"+bob) {
		t.Error("the page has no button for all")
	}
	if page := e.page(e.otto, "/live?user="+bob).Body.String(); strings.Contains(page, "End all of") {
		t.Error("an auditor gets the button for all")
	}
	e.isRefused("/live/end-all", url.Values{"user": {bob}}, func() {
		if len(e.live) != 6 {
			t.Error("something was ended")
		}
	})
	e.done(e.ada, "/live/end-all", url.Values{"user": {bob}})
	if len(e.live) != 1 || e.events(audit.KindLive)[0].User != bob {
		t.Errorf("%d are left", len(e.live))
	}
	if res := e.post(e.ada, "/live/end-all", nil); res.Code != http.StatusUnprocessableEntity || len(e.live) != 1 {
		t.Errorf("nobody's: %d", res.Code)
	}
}

// stream opens a stream of events, and returns a function that returns the data of the next one.
func (e *env) stream(v manage.Viewer, path string) (next func() (name string, data []byte), stop func()) {
	e.t.Helper()
	ctx, cancel := context.WithCancel(e.t.Context())
	ended := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer close(ended)
		if err := e.handler.Serve(w, r, manage.Path+strings.SplitN(path, "?", 2)[0], v); err != nil {
			e.t.Error(err)
		}
	}))
	r := must[*http.Request](e.t)(http.NewRequestWithContext(ctx, http.MethodGet, server.URL+manage.Path+path, nil))
	res := must[*http.Response](e.t)(http.DefaultClient.Do(r))
	if kind := res.Header.Get("Content-Type"); res.StatusCode != http.StatusOK || kind != "text/event-stream" {
		e.t.Fatalf("%d %s", res.StatusCode, kind)
	}
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(nil, 1<<20)
	stop = func() { cancel(); _ = res.Body.Close(); <-ended; server.Close() }
	return func() (name string, data []byte) {
		for lines.Scan() {
			switch field, value, _ := strings.Cut(lines.Text(), ": "); field {
			case "event":
				name = value
			case "data":
				return name, []byte(value)
			}
		}
		return "", nil
	}, stop
}

func TestLive_FollowsChanges(t *testing.T) {
	e := newEnv(t)
	e.addLive("bob@example.com", 2)
	next, stop := e.stream(e.otto, "/live/events?person=bob")
	defer stop()
	name, data := next()
	var html string
	if err := json.Unmarshal(data, &html); err != nil || name != "list" {
		t.Fatal(name, err)
	}
	if !strings.Contains(html, "2 of 2") || strings.Contains(html, "<html") || !strings.Contains(html, `<tr id="r000`) {
		t.Error(html)
	}
	if name, _ = next(); name != "list" {
		t.Error("there is no second list")
	}
}

// TestLive_IsBounded: with 10,000 live requests, a page and a refresh stay small.
func TestLive_IsBounded(t *testing.T) {
	e := newEnv(t)
	e.addLive("bob@example.com", 10_000)
	page := e.page(e.ada, "/live?page=10").Body.String()
	if !strings.Contains(page, "10000 of 10000") || !strings.Contains(page, "The last 9000 are on no page") || strings.Contains(page, "page=11") {
		t.Error("the page does not say how many there are")
	}
	e.page(e.ada, "/live?page=999999999")
}
