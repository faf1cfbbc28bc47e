package proxy

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"sallyport/audit"
	"sallyport/audit/audittest"
	"sallyport/console"
	"sallyport/directory"
	"sallyport/entratest"
	"sallyport/grant"
	"sallyport/oidc"
	"sallyport/policy"
	"sallyport/session"
	"sallyport/store"
	"sallyport/store/bolt"
)

// Hosts and groups of every world.
const (
	loginHost   = "login.example.com"
	appHost     = "app.example.com"   // for members of staff, with a session or a token
	openHost    = "open.example.com"  // for anyone
	apiHost     = "api.example.com"   // for members of staff, with a token only
	lenientHost = "files.example.com" // for members of staff; accepts lenient paths
	staff       = "61503835-0000-0000-0000-000000000001"
	admins      = "61503835-0000-0000-0000-000000000002"
	audience    = "api://sallyport"
	waitLimit   = 10 * time.Second // a test that waits longer fails
)

// world is a proxy with real parts, between a real client and a real upstream.
type world struct {
	t         testing.TB
	ctx       context.Context
	proxy     *Proxy
	directory *directory.Directory
	sessions  *session.Sessions
	grants    *grant.Grants
	provider  *oidc.Provider
	oidc      oidc.Settings // of provider
	tenant    *entratest.Tenant
	auditFile string

	stopDirectory context.CancelFunc // ends the directory's Run and no other
	forgetful     *forgetfulStore    // through which the parts use the store; nil: directly, and Run of the proxy runs
	settings      Settings
	server        *httptest.Server
	upstream      *httptest.Server
	upstreamCA    string // path of its certificate; "" if it speaks HTTP

	mu      sync.Mutex   // guards handler
	handler http.Handler // of the upstream
}

// newWorld starts a world with the usual settings, in which alice is a member of staff and bob of no group. change, which
// may be nil, alters the settings first.
func newWorld(t testing.TB, change func(*Settings)) *world {
	t.Helper()
	return newWorldOf(t, session.Defaults(), change)
}

// newWorldOf is newWorld with settings of sessions, which need not be within the bounds of a configuration.
func newWorldOf(t testing.TB, sessions session.Settings, change func(*Settings)) *world {
	t.Helper()
	w := &world{t: t, handler: http.HandlerFunc(mirror)}
	w.startUpstream()
	w.settings = usualSettings(w.upstream.URL)
	for i := range w.settings.Routes {
		w.settings.Routes[i].UpstreamTLS.CAFile = w.upstreamCA
	}
	if change != nil {
		change(&w.settings)
	}
	for i, r := range w.settings.Routes {
		if w.upstreamCA != "" && !strings.HasPrefix(r.Upstream[0], "https:") {
			w.settings.Routes[i].UpstreamTLS = UpstreamTLS{}
		}
	}
	w.startProxy(sessions)
	w.addUsersAndGroups()
	w.server = httptest.NewUnstartedServer(w.proxy)
	w.server.EnableHTTP2 = true
	w.server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	StartTLS(w.server)
	t.Cleanup(w.server.CloseClientConnections) // streams would keep Close waiting
	return w
}

// newUnreviewedWorld is newWorld without a server, in which live requests are reviewed only when the test does it. The
// parts use the store through st.
func newUnreviewedWorld(t testing.TB, st *forgetfulStore, change func(*Settings)) *world {
	t.Helper()
	w := &world{t: t, handler: http.HandlerFunc(mirror), forgetful: st}
	w.startUpstream()
	w.settings = usualSettings(w.upstream.URL)
	change(&w.settings)
	w.startProxy(session.Defaults())
	w.addUsersAndGroups()
	return w
}

// startUpstream starts the upstream. By default it speaks HTTP/1.1 without TLS, with UPSTREAM=https in the environment with
// TLS. The tests must pass with both, except those of [SkipWithTLSUpstreams].
func (w *world) startUpstream() {
	w.upstream = httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { w.upstreamHandler().ServeHTTP(rw, r) }))
	w.t.Cleanup(w.upstream.Close)
	if !tlsUpstreams {
		w.upstream.Start()
		return
	}
	StartTLS(w.upstream)
	w.upstreamCA = filepath.Join(w.t.TempDir(), "ca.pem")
	w.must(os.WriteFile(w.upstreamCA, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: w.upstream.Certificate().Raw}), 0o600))
}

var tlsUpstreams = os.Getenv("UPSTREAM") == "https"

// SkipWithTLSUpstreams skips a test that has upstreams of its own, so that UPSTREAM=https would change nothing of it.
func SkipWithTLSUpstreams(t testing.TB) {
	t.Helper()
	if tlsUpstreams {
		t.Skip("the test has upstreams of its own: UPSTREAM=https changes nothing of it")
	}
}

// usualSettings returns settings with one route for each of the hosts above.
func usualSettings(upstream string) Settings {
	s := Defaults()
	s.PublicURL = "https://" + loginHost
	s.Policies = []policy.Named{
		{Name: "staff", Rules: []policy.Rule{
			{Allow: &policy.Match{Groups: []policy.GroupRef{{ID: staff, Name: "Staff"}}}},
			{Deny: &policy.Match{Paths: []string{"/secret/**"}, UnlessGroups: []policy.GroupRef{{ID: admins, Name: "Admins"}}}},
		}},
		{Name: "all", Rules: []policy.Rule{{Allow: &policy.Match{Anyone: true}}}},
	}
	s.Routes = []Route{
		{Name: "app", Host: appHost, Upstream: Upstreams{upstream}, Policy: []string{"staff"}, Owner: "owner@example.com"},
		{Name: "open", Host: openHost, Upstream: Upstreams{upstream}, Policy: []string{"all"}},
		{Name: "api", Host: apiHost, Path: "/v1", Upstream: Upstreams{upstream}, Policy: []string{"staff"}, Accept: []string{"bearer"}},
		{Name: "files", Host: lenientHost, Upstream: Upstreams{upstream}, Policy: []string{"staff"}, PathEncoding: "lenient"},
	}
	return s
}

// startProxy opens the store and all parts of the proxy, and runs them until the test ends.
func (w *world) startProxy(sessions session.Settings) {
	t := w.t
	ctx, stop := context.WithCancel(context.Background())
	w.ctx = ctx
	opened, err := bolt.Open(filepath.Join(t.TempDir(), "sallyport.db"), bolt.Options{Init: true})
	w.must(err)
	st := store.Store(opened)
	if w.forgetful != nil {
		w.forgetful.Store, st = st, w.forgetful
	}
	w.directory, err = directory.Open(ctx, st, "externalId")
	w.must(err)
	w.sessions, err = session.Open(ctx, st, sessions, slog.New(slog.DiscardHandler))
	w.must(err)
	w.grants, err = grant.Open(ctx, st)
	w.must(err)
	w.auditFile = filepath.Join(t.TempDir(), "audit.jsonl")
	record, err := audit.Open(w.auditFile)
	w.must(err)
	w.startProvider()
	pages, err := console.New()
	w.must(err)
	w.proxy, err = New(Parts{Directory: w.directory, Sessions: w.sessions, Grants: w.grants, Provider: w.provider, Audit: record, Pages: pages,
		Log: slog.New(slog.DiscardHandler)})
	w.must(err)
	w.must(w.proxy.Load(w.settings))
	var running sync.WaitGroup
	following, stopFollowing := context.WithCancel(ctx)
	w.stopDirectory = stopFollowing
	follow := func(context.Context) error { return w.directory.Run(following) }
	runs := []func(context.Context) error{follow, w.sessions.Run, w.grants.Run, w.provider.Run}
	if w.forgetful == nil {
		runs = append(runs, w.proxy.Run)
	}
	for _, run := range runs {
		running.Go(func() {
			if err := run(ctx); err != nil && !errors.Is(err, context.Canceled) {
				t.Errorf("a Run function returned: %v", err)
			}
		})
	}
	t.Cleanup(func() {
		stop()
		running.Wait()
		record.Close()
		st.Close()
		audittest.CheckRecord(t, w.auditFile)
	})
}

// startProvider starts the identity provider and the proxy's client of it.
func (w *world) startProvider() {
	t := w.t
	var tenant *entratest.Tenant
	issuer := NewTLSServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { tenant.ServeHTTP(rw, r) }))
	t.Cleanup(issuer.Close)
	tenant = entratest.NewSharingKey(issuer.URL, entratest.App{ClientID: "sallyport", Secret: "s3cret", RedirectURIs: []string{"https://" + loginHost + callbackPath}})
	w.tenant = tenant
	dir := t.TempDir()
	secret, ca := filepath.Join(dir, "secret"), filepath.Join(dir, "ca.pem")
	w.must(os.WriteFile(secret, []byte("s3cret\n"), 0o600))
	w.must(os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: issuer.Certificate().Raw}), 0o600))
	s := oidc.Defaults()
	s.Issuer, s.ClientID, s.ClientSecretFile, s.CAFile, s.APIAudiences = tenant.Issuer(), "sallyport", secret, ca, []string{audience}
	w.oidc = s
	public, err := url.Parse(w.settings.PublicURL)
	w.must(err)
	w.provider, err = oidc.New(s, public, slog.New(slog.DiscardHandler))
	w.must(err)
}

// addUsersAndGroups adds the usual users and groups.
func (w *world) addUsersAndGroups() {
	w.update(func(tx *directory.Tx) error {
		for id, name := range map[string]string{staff: "Staff", admins: "Admins"} {
			if err := tx.PutGroup(&directory.Group{ExternalID: id, DisplayName: name}); err != nil {
				return err
			}
		}
		return nil
	})
	w.addUser("alice", staff)
	w.addUser("bob")
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// update changes the directory.
func (w *world) update(f func(*directory.Tx) error) {
	w.t.Helper()
	w.must(w.directory.Update(w.ctx, f))
}

// userDocument is the SCIM document of a person.
func userDocument(p entratest.Person) []byte {
	return fmt.Appendf(nil, `{"displayName":%q,"emails":[{"type":"work","value":%q}]}`, p.Name, p.Mail)
}

// addUser adds an active user to the tenant, to the directory and to groups.
func (w *world) addUser(name string, groups ...string) entratest.Person {
	w.t.Helper()
	p := w.tenant.Add(entratest.Person{UPN: name + "@example.com", Name: strings.ToUpper(name[:1]) + name[1:] + " Doe", Mail: name + "@example.com"})
	w.update(func(tx *directory.Tx) error {
		u := directory.User{ExternalID: p.OID, UserName: p.UPN, Active: true, Document: userDocument(p)}
		if err := tx.PutUser(&u); err != nil {
			return err
		}
		for _, id := range groups {
			g, err := tx.GroupByExternalID(id)
			if err != nil {
				return err
			}
			if _, err := tx.AddMembers(g.ID, []string{u.ID}); err != nil {
				return err
			}
		}
		return nil
	})
	return p
}

func (w *world) person(name string) entratest.Person {
	w.t.Helper()
	for _, p := range w.tenant.People() {
		if p.UPN == name+"@example.com" {
			return p
		}
	}
	w.t.Fatalf("no person is called %s", name)
	return entratest.Person{}
}

func (w *world) user(name string) *directory.User {
	w.t.Helper()
	u, ok := w.directory.Lookup(w.person(name).OID)
	if !ok {
		w.t.Fatalf("the directory has no user %s", name)
	}
	return u
}

// setActive activates or deactivates a user.
func (w *world) setActive(name string, active bool) {
	w.t.Helper()
	id := w.user(name).ID
	w.update(func(tx *directory.Tx) error {
		u, err := tx.User(id)
		if err != nil {
			return err
		}
		u.Active = active
		return tx.PutUser(&u)
	})
}

// removeFromGroup removes a user from a group.
func (w *world) removeFromGroup(name, group string) {
	w.t.Helper()
	w.changeMember(name, group, (*directory.Tx).RemoveMembers)
}

// addToGroup adds a user to a group.
func (w *world) addToGroup(name, group string) {
	w.t.Helper()
	w.changeMember(name, group, (*directory.Tx).AddMembers)
}

func (w *world) changeMember(name, group string, change func(*directory.Tx, string, []string) (int, error)) {
	w.t.Helper()
	id := w.user(name).ID
	w.update(func(tx *directory.Tx) error {
		g, err := tx.GroupByExternalID(group)
		if err != nil {
			return err
		}
		_, err = change(tx, g.ID, []string{id})
		return err
	})
}

// signIn starts a session of a user and returns it with its Cookie header for host.
func (w *world) signIn(name, host string) (session.Session, string) {
	w.t.Helper()
	u := w.user(name)
	started, err := w.sessions.Begin(w.ctx, session.Session{User: u.ID, Epoch: u.Epoch, UserName: u.UserName, Subject: "subject of " + name, ProviderSession: newID()})
	w.must(err)
	token, err := w.sessions.NewToken(w.ctx, started.ID, host)
	w.must(err)
	return started, session.CookieName + "=" + token
}

// token returns an access token of a user, once the provider can verify it.
func (w *world) token(name string, change func(entratest.Claims)) string {
	w.t.Helper()
	text := w.tenant.AccessToken(w.person(name), audience, nil)
	for deadline := time.Now().Add(waitLimit); ; time.Sleep(time.Millisecond) { // the provider is discovered in the background
		if _, err := w.provider.Bearer(w.ctx, text); err == nil {
			break
		} else if time.Now().After(deadline) {
			w.t.Fatal(err)
		}
	}
	return w.tenant.AccessToken(w.person(name), audience, change)
}

// setUpstream sets the handler of the upstream.
func (w *world) setUpstream(h http.HandlerFunc) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.handler = h
}

func (w *world) upstreamHandler() http.Handler {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.handler
}
