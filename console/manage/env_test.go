package manage_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sallyport/access"
	"sallyport/admin"
	"sallyport/audit"
	"sallyport/audit/audittest"
	"sallyport/audit/rollup"
	"sallyport/console"
	"sallyport/console/manage"
	"sallyport/directory"
	"sallyport/grant"
	"sallyport/live"
	"sallyport/peers"
	"sallyport/policy"
	"sallyport/proxy"
	"sallyport/scim"
	"sallyport/session"
	"sallyport/store/bolt"
)

const (
	origin  = "https://login.example.com"
	address = "203.0.113.9" // of whoever looks
)

// env is the console over a real store, directory, sessions, provisioning, grants and record, as the proxy calls it.
//
// Ada is an administrator of the console and in the group SRE, Otto is an auditor, and Bob and Carol are people: Bob is in
// SRE. The route "wiki" lets SRE in, and "payroll" lets in nobody but may be requested by anybody.
type env struct {
	t            testing.TB
	store        *bolt.Store
	directory    *directory.Directory
	sessions     *session.Sessions
	provisioning *scim.Provisioning
	grants       *grant.Grants
	record       *audit.Log
	recordPath   string
	settings     proxy.Settings // whose policies and routes are in force
	tests        []access.Case  // in the configuration
	config       admin.Configuration
	fixed        *admin.Rules // nil: those of settings
	parts        admin.Parts
	admin        *admin.Admin
	scim         *scim.Server
	handler      *manage.Handler
	live         []live.Request // under way
	asked        atomic.Int32   // how often the replicas were asked for what is watched
	ada, otto    manage.Viewer
	replica      admin.ReplicaFacts
	diagnosis    admin.Diagnosis
}

// newEnv returns the console. Each of the options may change what the Admin is made of before it is.
func newEnv(t testing.TB, options ...func(*env)) *env {
	t.Helper()
	e := &env{t: t, recordPath: filepath.Join(t.TempDir(), "audit.jsonl"), settings: rules()}
	ctx, log := t.Context(), slog.New(slog.DiscardHandler)
	e.store = must[*bolt.Store](t)(bolt.Open(filepath.Join(t.TempDir(), "s.db"), bolt.Options{Init: true}))
	e.directory = must[*directory.Directory](t)(directory.Open(ctx, e.store, "externalId"))
	e.sessions = must[*session.Sessions](t)(session.Open(ctx, e.store, session.Defaults(), log))
	e.provisioning = must[*scim.Provisioning](t)(scim.Open(ctx, e.store, e.directory))
	e.grants = must[*grant.Grants](t)(grant.Open(ctx, e.store))
	e.record = must[*audit.Log](t)(audit.Open(e.recordPath))
	e.parts = admin.Parts{Directory: e.directory, Sessions: e.sessions, Provisioning: e.provisioning, Audit: e.record, Store: e.store, Grants: e.grants,
		Peers: peers.New(e.store, log), Rollup: rollup.New(), Replica: func() admin.ReplicaFacts { return e.replica }, Doctor: func() admin.Diagnosis { return e.diagnosis },
		BreakGlass: new(grant.BreakGlass), Rules: e.rules, PublicURL: func() string { return origin }, Version: "1.2.3", Log: log}
	e.parts.Live = admin.LiveRequests{List: e.listLive, Lists: e.listLives, End: e.endLive}
	e.parts.Parse, e.parts.Decisions, e.parts.Configuration = e.parse, e.decisions, e.configuration
	e.parts.Rollup.Follow(e.record)
	e.parts.Record.Open = func() (*audit.Record, error) { return audit.OpenRecord(e.recordPath) }
	for _, option := range options {
		option(e)
	}
	e.run()
	e.admin = admin.New(e.parts)
	e.scim = scim.New(scim.Parts{Provisioning: e.provisioning, Log: log, Settings: scim.Settings{MaxDeactivations: scim.DeactivationLimit{Count: 2, Per: time.Hour}}})
	pages := must[*console.Pages](t)(console.New())
	e.handler = manage.New(manage.Parts{Admin: e.admin, Sessions: e.sessions, Pages: pages, Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	e.addPeople()
	e.ada, e.otto = e.viewer("ada@example.com", true), e.viewer("otto@example.com", false)
	return e
}

// rules returns the settings whose rules are in force.
func rules() proxy.Settings {
	s := proxy.Defaults()
	s.PublicURL = origin
	sre := policy.Rule{Allow: &policy.Match{Groups: []policy.GroupRef{{ID: "g-sre", Name: "SRE"}}}}
	s.Policies = []policy.Named{{Name: "sre", Rules: []policy.Rule{sre, {Deny: &policy.Match{Methods: []string{"DELETE"}}}}},
		{Name: "payroll", Rules: []policy.Rule{{Allow: &policy.Match{Groups: []policy.GroupRef{{ID: "g-payroll", Name: "Payroll"}}}}},
			Requestable: &policy.Requestable{By: policy.Requesters{Anyone: true}, Approvers: policy.Approvers{Groups: []policy.GroupRef{{ID: "g-sre", Name: "SRE"}}}, Max: 4 * time.Hour}}}
	s.Routes = []proxy.Route{
		{Name: "wiki", Host: "wiki.example.com", Upstream: proxy.Upstreams{"http://127.0.0.1:1"}, Policy: []string{"sre"}, Owner: "owner@example.com"},
		{Name: "payroll", Host: "payroll.example.com", Upstream: proxy.Upstreams{"http://127.0.0.1:1"}, Policy: []string{"payroll"}},
	}
	return s
}

// rules compiles the settings, which a test may change, unless it has fixed them.
func (e *env) rules() admin.Rules {
	if e.fixed != nil {
		return *e.fixed
	}
	compiled, err := proxy.CompileRules(e.settings)
	if err != nil {
		e.t.Error(err)
		return admin.Rules{}
	}
	return admin.Rules{Policies: compiled.Policies(), Routes: compiled.Routes(), Target: compiled.Target, Tests: e.tests}
}

// run keeps memory equal to the store until the test ends, and then checks the record.
func (e *env) run() {
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	// Without what sessions do every five seconds: some tests wait for a month.
	for _, run := range []func(context.Context) error{e.directory.Run, e.sessions.Follow, e.provisioning.Run, e.grants.Run} {
		running.Go(func() { _ = run(ctx) })
	}
	e.t.Cleanup(func() {
		stop()
		running.Wait()
		_, _ = e.record.Close(), e.store.Close()
		audittest.CheckRecord(e.t, e.recordPath)
	})
}

// listLive returns live requests, as the proxy does.
func (e *env) listLive(_ context.Context, f live.Filter) live.List {
	return live.Choose(f, e.live, func(r live.Request) (live.Key, bool) { return r.Key, true }, func(r live.Request, _ live.Key) live.Request { return r })
}

// listLives returns live requests of several filters, as the proxy does, and counts how often it is asked.
func (e *env) listLives(ctx context.Context, filters []live.Filter) (lists []live.List) {
	e.asked.Add(1)
	for _, f := range filters {
		lists = append(lists, e.listLive(ctx, f))
	}
	return lists
}

// endLive ends live requests, as the proxy does.
func (e *env) endLive(_ context.Context, f live.Filter, _ admin.Actor) (ended int, _ []string) {
	before := len(e.live)
	e.live = slices.DeleteFunc(e.live, func(r live.Request) bool { return f.Matches(&r.Key) })
	return before - len(e.live), nil
}

func (e *env) addPeople() {
	e.t.Helper()
	e.change(func(tx *directory.Tx) error {
		sre := &directory.Group{ExternalID: "g-sre", DisplayName: "SRE"}
		if err := errors.Join(tx.PutGroup(sre), tx.PutGroup(&directory.Group{ExternalID: "g-payroll", DisplayName: "Payroll"})); err != nil {
			return err
		}
		for name, display := range map[string]string{"ada": "Ada Lovelace", "otto": "Otto Auditor", "bob": "Bob Roe", "carol": "Carol Quinn"} {
			u := &directory.User{ExternalID: "ext-" + name, UserName: name + "@example.com", Active: true,
				Document: fmt.Appendf(nil, `{"displayName":%q,"emails":[{"value":"%s@example.com","primary":true}]}`, display, name)}
			if err := tx.PutUser(u); err != nil {
				return err
			}
			if name == "ada" || name == "bob" {
				if _, err := tx.AddMembers(sre.ID, []string{u.ID}); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// change changes the directory, without a push.
func (e *env) change(fn func(*directory.Tx) error) {
	e.t.Helper()
	if err := e.directory.Update(e.t.Context(), fn); err != nil {
		e.t.Fatal(err)
	}
}

// user returns a user by their userName.
func (e *env) user(userName string) *directory.User {
	e.t.Helper()
	for _, u := range e.directory.Users() {
		if u.UserName == userName {
			return u
		}
	}
	e.t.Fatalf("there is no user %s", userName)
	return nil
}

// viewer returns a user who has signed in and looks at the console.
func (e *env) viewer(userName string, admin bool) manage.Viewer {
	e.t.Helper()
	u := e.user(userName)
	s := must[session.Session](e.t)(e.sessions.Begin(e.t.Context(), session.Session{User: u.ID, UserName: u.UserName, Epoch: u.Epoch, Address: address,
		Authenticated: time.Now(), Proven: true}))
	return manage.Viewer{Admin: admin, Caller: console.Caller{User: u, Session: &s, Person: console.PersonOf(u), Host: "login.example.com", Address: address,
		Request: "0123456789abcdef0123456789abcdef", Public: origin, Target: func(string) (console.Target, bool) { return console.Target{}, false }}}
}

// push makes a SCIM request as the identity provider does, and returns the id in the response.
func (e *env) push(method, path, body string, status int) (id string) {
	e.t.Helper()
	token, text, err := scim.NewToken("entra", 0)
	if err == nil {
		err = e.provisioning.AddToken(e.t.Context(), token)
	}
	if err != nil {
		e.t.Fatal(err)
	}
	r := httptest.NewRequest(method, "/scim/v2"+path, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+text)
	r.Header.Set("Content-Type", "application/scim+json")
	w := httptest.NewRecorder()
	e.scim.ServeHTTP(w, r)
	if w.Code != status {
		e.t.Fatalf("%s %s gets %d, want %d: %s", method, path, w.Code, status, w.Body)
	}
	var resource struct{ ID string }
	_ = json.Unmarshal(w.Body.Bytes(), &resource)
	return resource.ID
}

// events returns the events of a kind in the record, after checking that it is sound.
func (e *env) events(kind audit.Kind) (events []audit.Event) {
	e.t.Helper()
	text := must[[]byte](e.t)(os.ReadFile(e.recordPath))
	if _, err := audit.Verify(bytes.NewReader(text)); err != nil {
		e.t.Fatal(err)
	}
	for line := range bytes.Lines(text) {
		var event audit.Event
		if err := json.Unmarshal(line, &event); err != nil {
			e.t.Fatal(err)
		}
		if event.Kind == kind {
			events = append(events, event)
		}
	}
	return events
}

// response is a response of the console.
type response struct {
	*httptest.ResponseRecorder
	err  error  // with which Serve did not respond
	path string // below the console, with the query
}

// serve has the console respond to a request. Where it returns an error, the status is the one that the proxy responds with.
func (e *env) serve(v manage.Viewer, r *http.Request) *response {
	e.t.Helper()
	res := &response{ResponseRecorder: httptest.NewRecorder(), path: strings.TrimPrefix(r.URL.RequestURI(), manage.Path)}
	if strings.HasPrefix(r.URL.Path, manage.StaticPath) {
		res.err = e.handler.Static(res, r, r.URL.Path)
	} else {
		res.err = e.handler.Serve(res, r.WithContext(e.t.Context()), r.URL.Path, v)
	}
	if res.err != nil {
		res.Code = statusOf(res.err)
	}
	return res
}

func statusOf(err error) int {
	var method *console.MethodError
	switch {
	case errors.Is(err, console.ErrNoPage):
		return http.StatusNotFound
	case errors.Is(err, console.ErrForm):
		return http.StatusBadRequest
	case errors.Is(err, console.ErrCrossOrigin):
		return http.StatusForbidden
	case errors.Is(err, manage.ErrTooMany):
		return http.StatusTooManyRequests
	case errors.As(err, &method):
		return http.StatusMethodNotAllowed
	}
	return http.StatusInternalServerError
}

// get asks for a page. path is below the console, with a query if it has one.
func (e *env) get(v manage.Viewer, path string) *response {
	e.t.Helper()
	return e.serve(v, httptest.NewRequest(http.MethodGet, origin+manage.Path+path, nil))
}

// page asks for a page, which must be there and sound: see [response.check].
func (e *env) page(v manage.Viewer, path string) *response {
	e.t.Helper()
	res := e.get(v, path)
	if res.Code != http.StatusOK {
		e.t.Fatalf("%s: %d %v %s", path, res.Code, res.err, res.Body)
	}
	res.check(e.t, v.Admin)
	return res
}

// post sends a form with a valid token, as a browser sends it from a page of the console.
func (e *env) post(v manage.Viewer, path string, form url.Values) *response {
	e.t.Helper()
	sent := url.Values{"token": {e.token(v)}}
	maps.Copy(sent, form)
	return e.postAs(v, path, sent, origin)
}

// postAs sends a form as it is, from a page of an origin.
func (e *env) postAs(v manage.Viewer, path string, form url.Values, from string) *response {
	e.t.Helper()
	r := httptest.NewRequest(http.MethodPost, origin+manage.Path+path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Origin", from)
	r.Header.Set("Sec-Fetch-Site", map[bool]string{true: "same-origin", false: "cross-site"}[from == origin])
	return e.serve(v, r)
}

// done sends a form and returns where it leads. It fails the test if the action was not carried out.
func (e *env) done(v manage.Viewer, path string, form url.Values) (location string) {
	e.t.Helper()
	res := e.post(v, path, form)
	if res.Code != http.StatusSeeOther {
		e.t.Fatalf("POST %s: %d %v %s", path, res.Code, res.err, res.Body)
	}
	return strings.TrimPrefix(res.Header().Get("Location"), manage.Path)
}

// token returns a token for forms of the viewer's session.
func (e *env) token(v manage.Viewer) string {
	e.t.Helper()
	return must[string](e.t)(e.sessions.Seal("console form", v.Host, []byte(v.Session.ID+" "+v.User.ID), time.Hour))
}

// isRefused checks that an action is refused to everybody who may not act, and changes nothing that check would notice:
// to auditors, without a token, with the token of another session, and from another origin.
func (e *env) isRefused(path string, form url.Values, check func()) {
	e.t.Helper()
	other := e.viewer("ada@example.com", true)
	with := func(token string) url.Values {
		sent := url.Values{"token": {token}}
		maps.Copy(sent, form)
		return sent
	}
	for name, res := range map[string]*response{
		"auditor":                e.postAs(e.otto, path, with(e.token(e.otto)), origin),
		"without a token":        e.postAs(e.ada, path, with(""), origin),
		"token of other session": e.postAs(e.ada, path, with(e.token(other)), origin),
		"another origin":         e.postAs(e.ada, path, with(e.token(e.ada)), "https://evil.example"),
		"GET":                    e.get(e.ada, path+"?"+with(e.token(e.ada)).Encode()),
	} {
		if res.Code < 400 && (name != "GET" || res.Code != http.StatusOK) {
			e.t.Errorf("POST %s, %s: %d", path, name, res.Code)
		}
		check()
	}
}

func must[V any](t testing.TB) func(V, error) V {
	t.Helper()
	return func(v V, err error) V {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}
