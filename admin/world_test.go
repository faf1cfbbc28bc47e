package admin_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"sallyport/admin"
	"sallyport/audit"
	"sallyport/audit/audittest"
	"sallyport/directory"
	"sallyport/grant"
	"sallyport/policy"
	"sallyport/scim"
	"sallyport/session"
	"sallyport/store/bolt"
)

// ada is the operator in these tests.
var ada = admin.Operator("ada", "control socket")

// world is an Admin over a real store, directory, sessions and audit record.
type world struct {
	*admin.Admin
	t            testing.TB
	directory    *directory.Directory
	sessions     *session.Sessions
	provisioning *scim.Provisioning
	server       *scim.Server
	store        *bolt.Store
	log          *audit.Log
	logPath      string
	token        string                      // for pushing
	reload       func(context.Context) error // what the Admin's reload does
	reloads      int
	grants       *grant.Grants
	policies     []policy.Named // of the only route
	tell         sync.Mutex     // guards told and toldOf
	told         []string       // the events that others are notified of
	toldOf       []any          // their data
	logged       bytes.Buffer
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, logPath: filepath.Join(t.TempDir(), "audit.jsonl"), reload: func(context.Context) error { return nil }}
	var err error
	w.store, err = bolt.Open(filepath.Join(t.TempDir(), "store.db"), bolt.Options{Init: true})
	must(t, err)
	w.directory, err = directory.Open(t.Context(), w.store, "externalId")
	must(t, err)
	w.sessions, err = session.Open(t.Context(), w.store, session.Settings{}, slog.New(slog.DiscardHandler))
	must(t, err)
	w.provisioning, err = scim.Open(t.Context(), w.store, w.directory)
	must(t, err)
	w.grants, err = grant.Open(t.Context(), w.store)
	must(t, err)
	w.log, err = audit.Open(w.logPath)
	must(t, err)
	w.run()
	w.Admin = admin.New(w.parts())
	w.server = scim.New(scim.Parts{Provisioning: w.provisioning, Log: slog.New(slog.DiscardHandler),
		Settings: scim.Settings{MaxDeactivations: scim.DeactivationLimit{Count: 1, Per: time.Hour}}})
	return w
}

// parts are what an Admin acts on.
func (w *world) parts() admin.Parts {
	return admin.Parts{Directory: w.directory, Sessions: w.sessions, Provisioning: w.provisioning, Audit: w.log, Store: w.store,
		Version: "1.2.3", BreakGlass: new(grant.BreakGlass), Log: slog.New(slog.NewTextHandler(&w.logged, nil)),
		Grants: w.grants, Rules: w.rules, PublicURL: func() string { return "https://login.example.com" }, Notify: w.notify, Reload: func(ctx context.Context) error { w.reloads++; return w.reload(ctx) }}
}

// notify is what the Admin tells of its events.
func (w *world) notify(event string, data any) {
	w.tell.Lock()
	defer w.tell.Unlock()
	w.told, w.toldOf = append(w.told, event), append(w.toldOf, data)
}

// run keeps memory equal to the store until the test ends.
func (w *world) run() {
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = w.directory.Run(ctx) })
	running.Go(func() { _ = w.sessions.Follow(ctx) }) // without what is done every five seconds: some tests wait for a month
	running.Go(func() { _ = w.provisioning.Run(ctx) })
	running.Go(func() { _ = w.grants.Run(ctx) })
	w.t.Cleanup(func() {
		stop()
		running.Wait()
		_ = w.log.Close()
		_ = w.store.Close()
		audittest.CheckRecord(w.t, w.logPath)
	})
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// push makes a SCIM request as the identity provider does, and returns the id in the response.
func (w *world) push(method, path, body string, status int) (id string) {
	w.t.Helper()
	if w.token == "" {
		t, text, err := scim.NewToken("test", 0)
		must(w.t, err)
		must(w.t, w.provisioning.AddToken(w.t.Context(), t))
		w.token = text
	}
	r := httptest.NewRequest(method, "/scim/v2"+path, bytes.NewReader([]byte(body)))
	r.Header.Set("Authorization", "Bearer "+w.token)
	r.Header.Set("Content-Type", "application/scim+json")
	response := httptest.NewRecorder()
	w.server.ServeHTTP(response, r)
	if response.Code != status {
		w.t.Fatalf("%s %s gets %d, want %d: %s", method, path, response.Code, status, response.Body)
	}
	var resource struct{ ID string }
	_ = json.Unmarshal(response.Body.Bytes(), &resource)
	return resource.ID
}

func (w *world) createUser(name string) (id string) {
	w.t.Helper()
	return w.push("POST", "/Users", `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"`+name+`","externalId":"`+name+`","active":true}`, http.StatusCreated)
}

// holdDeactivation creates two users and deactivates both, which is one more than may be at once.
func (w *world) holdDeactivation() (held string) {
	w.t.Helper()
	w.deactivate(w.createUser("first@example.com"), http.StatusOK)
	held = w.createUser("held@example.com")
	w.deactivate(held, http.StatusServiceUnavailable)
	return held
}

func (w *world) deactivate(id string, status int) {
	w.t.Helper()
	w.push("PATCH", "/Users/"+id, `{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[{"op":"Replace","path":"active","value":false}]}`, status)
}

func (w *world) beginSession(user string) (id string) {
	w.t.Helper()
	u, ok := w.directory.ByID(user)
	if !ok {
		w.t.Fatalf("there is no user %s", user)
	}
	s, err := w.sessions.Begin(w.t.Context(), session.Session{User: user, UserName: u.UserName, Epoch: u.Epoch, Address: "203.0.113.7"})
	must(w.t, err)
	return s.ID
}

// events returns the audit record, after checking that it is sound.
func (w *world) events() (events []audit.Event) {
	w.t.Helper()
	data, err := os.ReadFile(w.logPath)
	must(w.t, err)
	if _, err := audit.Verify(bytes.NewReader(data)); err != nil {
		w.t.Fatal(err)
	}
	for line := range bytes.Lines(data) {
		var e audit.Event
		must(w.t, json.Unmarshal(line, &e))
		events = append(events, e)
	}
	return events
}

// lastEvents returns the reasons of the last n events, after checking that ada did what they tell of.
func (w *world) lastEvents(n int) (last []audit.Event) {
	w.t.Helper()
	events := w.events()
	if len(events) < n {
		w.t.Fatalf("the record has %d events, want at least %d", len(events), n)
	}
	last = events[len(events)-n:]
	for _, e := range last {
		if e.Actor != ada {
			w.t.Errorf("the actor of %s %s is %+v", e.Kind, e.Reason, e.Actor)
		}
		if e.Time.IsZero() {
			w.t.Errorf("%s %s has no time", e.Kind, e.Reason)
		}
	}
	return last
}
