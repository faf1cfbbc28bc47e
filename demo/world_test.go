package demo_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"sallyport/config"
	"sallyport/demo"
	"sallyport/directory"
	"sallyport/scim"
	"sallyport/store/bolt"
)

// target is Sallyport's SCIM side; it tells cut of each user made inactive.
type target struct {
	*directory.Directory
	token string
	scim  *scim.Server

	mu  sync.Mutex // guards cut
	cut func(userName string)
}

func newTarget(t *testing.T) *target {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	st, err := bolt.Open(filepath.Join(t.TempDir(), "db"), bolt.Options{Init: true})
	if err != nil {
		t.Fatal(err)
	}
	d, err := directory.Open(ctx, st, "externalId")
	if err != nil {
		t.Fatal(err)
	}
	p, err := scim.Open(ctx, st, d)
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() { _ = d.Run(ctx) })
	running.Go(func() { _ = p.Run(ctx) })
	t.Cleanup(func() { stop(); running.Wait(); _ = st.Close() })
	token, text, err := scim.NewToken("demo", 0)
	if err := errors.Join(err, p.AddToken(ctx, token)); err != nil {
		t.Fatal(err)
	}
	server := scim.New(scim.Parts{Provisioning: p, Settings: scim.Defaults(), Log: slog.New(slog.DiscardHandler)})
	return &target{Directory: d, token: text, scim: server, cut: func(string) {}}
}

func (s *target) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.scim.ServeHTTP(w, r)
	u, known := s.ByID(r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:])
	if r.Method != http.MethodPatch || !known || u.Active {
		return
	}
	s.mu.Lock()
	cut := s.cut
	s.mu.Unlock()
	cut(u.UserName)
}

// onCut says what to do when somebody is made inactive.
func (s *target) onCut(f func(userName string)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cut = f
}

// world is a running demo whose tenant is connected to target.
type world struct {
	*demo.Demo
	t      *testing.T
	target *target
	base   string // of the tenant's pages, without a trailing slash
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w, err := demo.New(demo.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Listen(); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = w.Run(ctx) }()
	t.Cleanup(func() { stop(); <-ended })
	s := newTarget(t)
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	if err := w.Connect(server.URL+"/scim/v2", s.token, server.Client()); err != nil {
		t.Fatal(err)
	}
	return &world{w, t, s, strings.TrimSuffix(w.URL(), "/")}
}

// state is what the pages draw, as far as the tests look.
type state struct {
	People []person
	Pushes []struct {
		What, Problem string
		Clocks        int
		Stopped       *float64
		Waiting       bool
		Exchanges     []struct{ Method, Body string }
	}
}

type person struct {
	ID, User, Team string
	Active         bool
	Clocks         int
}

// await reads the stream of states until one is as wanted.
func (w *world) await(what string, wanted func(state) bool) state {
	w.t.Helper()
	ctx, stop := context.WithTimeout(context.Background(), 20*time.Second)
	defer stop()
	req, err := http.NewRequestWithContext(ctx, "GET", w.base+"/state", nil)
	if err != nil {
		w.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	var last string
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok {
			continue
		}
		var s state
		if err := json.Unmarshal([]byte(data), &s); err != nil {
			w.t.Fatal(err)
		}
		if last = data; wanted(s) {
			return s
		}
	}
	w.t.Fatalf("never came: %s; last: %s", what, last)
	return state{}
}

func (w *world) now() state { return w.await("any state", func(state) bool { return true }) }

func (w *world) person(user string) string {
	w.t.Helper()
	for _, p := range w.now().People {
		if p.User == user {
			return p.ID
		}
	}
	w.t.Fatalf("nobody is called %s", user)
	return ""
}

// post does what a click does and returns the status.
func (w *world) post(path string, form url.Values) int {
	w.t.Helper()
	resp, err := http.PostForm(w.base+path, form)
	if err != nil {
		w.t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

// openClock opens user's clock as Sallyport would, and returns how to cut it.
func (w *world) openClock(user string) (cut func()) {
	w.t.Helper()
	at := regexp.MustCompile(`name: clock\n.*\n    upstream: http://(\S+)`).FindSubmatch(w.Config())
	socket, _, err := websocket.Dial(context.Background(), "ws://"+string(at[1])+"/ticks",
		&websocket.DialOptions{HTTPHeader: http.Header{"X-Forwarded-User": {user}}})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { socket.CloseNow() })
	w.await("a ticking clock", func(s state) bool {
		return slices.ContainsFunc(s.People, func(p person) bool { return p.User == user && p.Clocks == 1 })
	})
	return func() { socket.CloseNow() }
}

const ada = "ada.lovelace@castle-works.example"

func TestOffboard_MeasuresStopOfClock(t *testing.T) {
	w := newWorld(t)
	cut := w.openClock(ada)
	w.target.onCut(func(user string) {
		if user == ada {
			cut()
		}
	})
	if status := w.post("/people/"+w.person(ada)+"/offboard", nil); status != http.StatusNoContent {
		t.Fatalf("offboarding responded %d", status)
	}
	s := w.await("the end of the clock", func(s state) bool { return !s.Pushes[0].Waiting })
	p := s.Pushes[0]
	if p.What != "Ada Lovelace offboarded" || p.Clocks != 1 || p.Stopped == nil || *p.Stopped <= 0 || p.Problem != "" {
		t.Errorf("the push reads %+v", p)
	}
	if p.Exchanges[0].Method != "PATCH" || !strings.Contains(p.Exchanges[0].Body, `"False"`) {
		t.Errorf("the push is not the one Entra makes: %+v", p.Exchanges)
	}
}

func TestOffboard_WithoutTimeIfClockTicks(t *testing.T) {
	w := newWorld(t)
	w.openClock(ada)
	w.post("/people/"+w.person(ada)+"/move", url.Values{"team": {"Research"}})
	p := w.now().Pushes[0]
	if p.What != "Ada Lovelace moved to Research" || p.Clocks != 1 || p.Stopped != nil || p.Waiting {
		t.Errorf("the push reads %+v", p)
	}
}

func TestMove_ReplacesTeam(t *testing.T) {
	w := newWorld(t)
	w.post("/people/"+w.person(ada)+"/move", url.Values{"team": {"Finance"}})
	for _, p := range w.now().People {
		if p.User == ada && p.Team != "Finance" {
			t.Errorf("she is in %q", p.Team)
		}
	}
}

func TestRestore_Reactivates(t *testing.T) {
	w := newWorld(t)
	id := w.person(ada)
	for _, step := range []struct {
		verb   string
		active bool
	}{{"offboard", false}, {"restore", true}} {
		if status := w.post("/people/"+id+"/"+step.verb, nil); status != http.StatusNoContent {
			t.Fatalf("%s responded %d", step.verb, status)
		}
		if got := w.now().People[0].Active; got != step.active {
			t.Errorf("after %s, active is %v", step.verb, got)
		}
	}
}

func TestHire(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		name, team string
		status     int
	}{
		{"  Margaret   Hamilton ", "Operations", http.StatusNoContent},
		{"Margaret Hamilton", "Research", http.StatusUnprocessableEntity}, // is there already
		{"Émilie du Châtelet", "Research", http.StatusNoContent},
		{"?!", "Research", http.StatusUnprocessableEntity},
		{strings.Repeat("x", 61), "Research", http.StatusUnprocessableEntity},
		{"Somebody Else", "Administrators", http.StatusUnprocessableEntity}, // no team
	} {
		if got := w.post("/hire", url.Values{"name": {c.name}, "team": {c.team}}); got != c.status {
			t.Errorf("hiring %q into %s responded %d, want %d", c.name, c.team, got, c.status)
		}
	}
	last := w.now().People[len(w.now().People)-2]
	if last.User != "margaret.hamilton@castle-works.example" || last.Team != "Operations" {
		t.Errorf("hired: %+v", last)
	}
}

func TestTenantPage_RejectsOtherOrigins(t *testing.T) {
	w := newWorld(t)
	for name, alter := range map[string]func(*http.Request){
		"from another origin":       func(r *http.Request) { r.Header.Set("Origin", "https://evil.example") },
		"from another site":         func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") },
		"by a name that leads here": func(r *http.Request) { r.Host = "rebound.example" },
	} {
		t.Run(name, func(t *testing.T) {
			req, _ := http.NewRequest("POST", w.base+"/people/"+w.person(ada)+"/offboard", nil)
			alter(req)
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode < 400 || !w.now().People[0].Active {
				t.Errorf("responded %d, active: %v", resp.StatusCode, w.now().People[0].Active)
			}
		})
	}
}

func TestListen_ReplacesPortsInUse(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	taken := l.Addr().(*net.TCPAddr).Port
	w, err := demo.New(demo.Settings{Public: taken, SCIM: taken, Ops: taken, Tenant: taken})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Listen(); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	stop()
	_ = w.Run(ctx) // closes its listeners
	if strings.Contains(string(w.Config())+w.URL(), ":"+strconv.Itoa(taken)) {
		t.Errorf("the taken port %d is used:\n%s\n%s", taken, w.URL(), w.Config())
	}
}

func TestConfig_IsValid(t *testing.T) {
	w := newWorld(t)
	dir := t.TempDir()
	files := map[string]string{"sallyport.yaml": string(w.Config())}
	maps.Copy(files, w.Secrets())
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	file, err := config.Load(filepath.Join(dir, "sallyport.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if len(file.Routes) != 3 {
		t.Errorf("%d routes, want the three applications", len(file.Routes))
	}
}
