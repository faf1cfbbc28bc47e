package manage_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sallyport/console/manage"
	"sallyport/live"
)

// screen is an open page that receives events.
type screen struct {
	*httptest.ResponseRecorder
	mu   sync.Mutex
	held chan struct{} // not nil: what is written waits until it is closed
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	held := s.held
	s.mu.Unlock()
	if held != nil {
		<-held
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ResponseRecorder.Write(p)
}

// hold has what is written wait, until release is called.
func (s *screen) hold() (release func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	held := make(chan struct{})
	s.held = held
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.held = nil
		close(held)
	}
}

// take returns the events since it was called last.
func (s *screen) take() (events []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	text := s.Body.String()
	s.Body.Reset()
	for e := range strings.SplitSeq(text, "\n\n") {
		if e != "" {
			events = append(events, e)
		}
	}
	return events
}

// open opens a page that receives events until the test ends, or close is called. It is for tests in a bubble of synctest.
func (e *env) open(v manage.Viewer, path string) (s *screen, stop func()) {
	e.t.Helper()
	ctx, cancel := context.WithCancel(e.t.Context())
	s = &screen{ResponseRecorder: httptest.NewRecorder()}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		r := httptest.NewRequestWithContext(ctx, http.MethodGet, origin+manage.Path+path, nil)
		if err := e.handler.Serve(s, r, r.URL.Path, v); err != nil && ctx.Err() == nil {
			e.t.Error(err)
		}
	}()
	stop = func() { cancel(); <-ended }
	e.t.Cleanup(stop)
	return s, stop
}

// TestLive_IsSharedByAll: many pages ask the replicas once in two seconds, and whoever has the same role and filter is sent the
// same; nobody is sent what is for another role or filter, or a token.
func TestLive_IsSharedByAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv(t)
		e.addLive("bob@example.com", 3)
		e.addLive("carol@example.com", 5)
		var admins, auditors, bobs []*screen
		for range 8 {
			a, _ := e.open(e.ada, "/live/events")
			o, _ := e.open(e.otto, "/live/events?junk="+fmt.Sprint(len(admins)))
			b, _ := e.open(e.otto, "/live/events?person=bob")
			admins, auditors, bobs = append(admins, a), append(auditors, o), append(bobs, b)
		}
		for turn := range 3 {
			synctest.Wait()
			for name, screens := range map[string][]*screen{"administrators": admins, "auditors": auditors, "of Bob": bobs} {
				first := screens[0].take()
				if len(first) != 1 || !strings.HasPrefix(first[0], "event: list\ndata: ") {
					t.Fatalf("turn %d, %s: %d events", turn, name, len(first))
				}
				var html string
				if err := json.Unmarshal([]byte(strings.TrimPrefix(first[0], "event: list\ndata: ")), &html); err != nil {
					t.Fatal(err)
				}
				if buttons := strings.Contains(html, `<button`); buttons != (name == "administrators") {
					t.Errorf("%s get a button: %v", name, buttons)
				}
				if carol := strings.Contains(html, "carol@"); carol == (name == "of Bob") || !strings.Contains(html, "bob@") {
					t.Errorf("%s: %s", name, html)
				}
				if strings.Contains(html, "token") || strings.Contains(html, "junk") {
					t.Errorf("%s are sent what is of one of them: %s", name, html)
				}
				for i, s := range screens[1:] {
					if got := s.take(); len(got) != 1 || got[0] != first[0] {
						t.Errorf("turn %d, %s: screen %d gets another list", turn, name, i+1)
					}
				}
			}
			if asked := e.asked.Swap(0); turn == 0 && asked > 2 || turn > 0 && asked != 1 {
				t.Errorf("turn %d: the replicas are asked %d times", turn, asked)
			}
			time.Sleep(2 * time.Second)
		}
	})
}

// TestLive_FollowersAreForgotten: nobody is asked when nobody looks any more, and whoever looks again gets the list of now.
func TestLive_FollowersAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv(t)
		e.addLive("bob@example.com", 1)
		_, stop := e.open(e.otto, "/live/events")
		synctest.Wait()
		stop()
		e.asked.Store(0)
		time.Sleep(time.Minute)
		if asked := e.asked.Load(); asked != 0 {
			t.Errorf("the replicas are asked %d times although nobody looks", asked)
		}
		e.live = nil
		s, _ := e.open(e.otto, "/live/events")
		synctest.Wait()
		if got := s.take(); len(got) != 1 || !strings.Contains(got[0], "0 of 0") {
			t.Errorf("%q", got)
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if got := s.take(); len(got) != 0 {
			t.Errorf("what has not changed is sent again: %q", got)
		}
	})
}

// TestLive_RefusesLongFilters: a filter that would not fit into a question with others is refused, and named.
func TestLive_RefusesLongFilters(t *testing.T) {
	e := newEnv(t)
	if res := e.get(e.otto, "/live/events?person="+strings.Repeat("x", 5000)); res.Code != http.StatusUnprocessableEntity || !strings.Contains(res.Body.String(), "at most 200 bytes") {
		t.Errorf("%d %s", res.Code, res.Body)
	}
	e.page(e.otto, "/live?person="+strings.Repeat("x", 5000))
}

// TestOverview_IsSharedByAll: many pages of the same time are sent the same.
func TestOverview_IsSharedByAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv(t)
		e.live = append(e.live, live.Request{})
		var screens []*screen
		for i := range 12 {
			s, _ := e.open([]manage.Viewer{e.ada, e.otto}[i%2], []string{"/overview/events?range=24h", "/overview/events?range=1h"}[i/6])
			screens = append(screens, s)
		}
		synctest.Wait()
		sent := make([]string, len(screens))
		for i, s := range screens {
			sent[i] = strings.Join(s.take(), "\n\n")
		}
		for i := range sent {
			if sent[i] != sent[i%2+i/6*6] || !strings.Contains(sent[i], "event: charts") || !strings.Contains(sent[i], `"Name":"cards"`) {
				t.Errorf("screen %d is sent something else: %.200s", i, sent[i])
			}
		}
		if sent[0] == sent[6] {
			t.Error("another time has the same charts")
		}
	})
}

// TestDecisions_AreSharedByAll: whoever follows the same is sent the same rows once, and told how many they missed.
func TestDecisions_AreSharedByAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv(t)
		var screens []*screen
		for i := range 6 {
			s, _ := e.open([]manage.Viewer{e.ada, e.otto}[i%2], "/decisions/events?person="+url.QueryEscape("carol@example.com")+"&since="+fmt.Sprint(i+1)+"h")
			screens = append(screens, s)
		}
		all, _ := e.open(e.otto, "/decisions/events")
		synctest.Wait()
		n := 0
		decide := func(count int) {
			for range count {
				n++
				e.recordDecision(n, "carol@example.com", "deny", "no_rule", time.Now())
			}
			e.recordDecision(100_000+n, "bob@example.com", "allow", "rule_allow", time.Now())
			time.Sleep(2 * time.Second)
			synctest.Wait()
		}
		rows := func(events []string) (rows int, text string) {
			for _, event := range events {
				var sent struct{ Rows, Dropped string }
				data, ok := strings.CutPrefix(event, "event: decisions\ndata: ")
				if !ok {
					continue
				}
				if err := json.Unmarshal([]byte(data), &sent); err != nil {
					t.Fatal(err)
				}
				rows, text = rows+strings.Count(sent.Rows, "<tr id="), text+sent.Dropped
			}
			return rows, text
		}
		decide(7)
		for i, s := range screens {
			if got, dropped := rows(s.take()); got != 7 || dropped != "" {
				t.Errorf("screen %d: %d rows, %q", i, got, dropped)
			}
		}
		if got, _ := rows(all.take()); got != 8 {
			t.Errorf("%d rows of all", got)
		}
		release := screens[0].hold()
		decide(5)
		decide(6)
		decide(250) // of which 100 are shown
		release()
		decide(3)
		first, dropped := rows(screens[0].take())
		if first != 8 || !strings.Contains(dropped, "256") {
			t.Errorf("one who was slow gets %d rows, and is told %q", first, dropped)
		}
		others, dropped := rows(screens[1].take())
		if others != 5+6+100+3 || !strings.Contains(dropped, "150") || strings.Contains(dropped, "256") {
			t.Errorf("the others get %d rows, and are told %q", others, dropped)
		}
		late, stop := e.open(e.ada, "/decisions/events?person="+url.QueryEscape("carol@example.com"))
		synctest.Wait()
		decide(2)
		if got, dropped := rows(late.take()); got != 2 || dropped != "" {
			t.Errorf("one who comes later gets %d rows, %q", got, dropped)
		}
		stop()
	})
}
