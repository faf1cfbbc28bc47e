package proxy_test

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sallyport/admin"
	"sallyport/audit"
	"sallyport/audit/audittest"
	"sallyport/console"
	"sallyport/console/manage"
	"sallyport/console/pins"
	"sallyport/directory"
	"sallyport/entratest"
	"sallyport/grant"
	"sallyport/live"
	"sallyport/oidc"
	"sallyport/policy"
	"sallyport/proxy"
	"sallyport/scim"
	"sallyport/session"
	"sallyport/store"
	"sallyport/store/bolt"
)

const (
	loginHost = "login.example.com"
	appHost   = "app.example.com"
	wikiHost  = "wiki.example.com"
	apiHost   = "api.example.com"
	audience  = "api://sallyport"
	navigate  = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
)

// env is a proxy with a real store on disk, a directory and an identity provider, in front of applications. Browsers
// reach it over TLS.
type env struct {
	t         *testing.T
	store     store.Store
	directory *directory.Directory
	sessions  *session.Sessions
	tenant    *entratest.Tenant
	issuer    *httptest.Server
	admin     *admin.Admin
	proxy     *proxy.Proxy
	server    *httptest.Server
	settings  proxy.Settings
	auditFile string
	log       *logBuffer
	record    *audit.Log
	prompts   []string // that the provider says it supports; nil: it does not say

	stopDirectory, stopSessions func()

	alice, bob, mallory, stranger entratest.Person // alice and mallory are in SRE, bob is in no group, the stranger was never pushed
	logins                        *countingHandler
}

// logBuffer is a log that is safe for concurrent use.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// countingHandler counts requests by the last segment of their path. While it is down, it responds with 503.
type countingHandler struct {
	http.Handler
	mu   sync.Mutex
	n    map[string]int
	down bool
}

func (c *countingHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	c.n[r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]]++
	down := c.down
	c.mu.Unlock()
	if down {
		http.Error(w, "down", http.StatusServiceUnavailable)
		return
	}
	c.Handler.ServeHTTP(w, r)
}

func (c *countingHandler) count(name string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n[name]
}

func (c *countingHandler) setDown(down bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.down = down
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

// newEnv starts a proxy with two applications for browsers and one for programs.
func newEnv(t *testing.T) *env {
	t.Helper()
	return newEnvOf(t, session.Defaults())
}

// newEnvOf is newEnv with settings of sessions, which need not be within the bounds of a configuration.
func newEnvOf(t *testing.T, sessions session.Settings) *env {
	t.Helper()
	return newEnvOfProvider(t, sessions, nil)
}

// newEnvOfProvider is newEnvOf with a provider that says which values of prompt it supports; nil for one that does not say.
func newEnvOfProvider(t *testing.T, sessions session.Settings, prompts []string) *env {
	t.Helper()
	proxy.SkipWithTLSUpstreams(t)
	h := &env{t: t, prompts: prompts, auditFile: filepath.Join(t.TempDir(), "audit.jsonl"), log: &logBuffer{}}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	run := func(name string, fn func(context.Context) error) (stop func()) {
		ctx, cancel := context.WithCancel(ctx)
		done := make(chan struct{})
		running.Go(func() {
			defer close(done)
			if err := fn(ctx); err != nil && !errors.Is(err, context.Canceled) {
				t.Errorf("%s: %v", name, err)
			}
		})
		return func() { cancel(); <-done }
	}
	h.store = must[*bolt.Store](t)(bolt.Open(filepath.Join(t.TempDir(), "s.db"), bolt.Options{Init: true}))
	h.directory = must[*directory.Directory](t)(directory.Open(ctx, h.store, "externalId"))
	h.stopDirectory = run("directory", h.directory.Run)
	h.sessions = must[*session.Sessions](t)(session.Open(ctx, h.store, sessions, slog.New(slog.DiscardHandler)))
	h.stopSessions = run("sessions", h.sessions.Run)
	h.record = must[*audit.Log](t)(audit.Open(h.auditFile))
	grants := must[*grant.Grants](t)(grant.Open(ctx, h.store))
	run("grants", grants.Run)
	provider := h.startProvider()
	run("provider", provider.Run)
	for tried := range 1000 { // wait until it has discovered the issuer
		if _, _, err := provider.Begin(ctx, 0); err == nil {
			break
		}
		time.Sleep(time.Duration(tried) * time.Millisecond)
	}
	log, pages := slog.New(slog.NewTextHandler(h.log, &slog.HandlerOptions{Level: slog.LevelDebug})), must[*console.Pages](t)(console.New())
	provisioning := must[*scim.Provisioning](t)(scim.Open(ctx, h.store, h.directory))
	run("provisioning", provisioning.Run)
	h.admin = admin.New(admin.Parts{Directory: h.directory, Provisioning: provisioning, Sessions: h.sessions, Audit: h.record, BreakGlass: new(grant.BreakGlass), Log: log,
		Grants: grants, PublicURL: func() string { return "https://" + loginHost }, Rules: func() admin.Rules {
			return admin.Rules{Policies: h.settings.Policies, Routes: h.proxy.Rules().Routes()}
		}, Live: admin.LiveRequests{List: func(_ context.Context, f live.Filter) live.List { return h.proxy.Live(f) },
			Lists: func(_ context.Context, filters []live.Filter) []live.List { return h.proxy.LiveEach(filters) }}})
	h.proxy = must[*proxy.Proxy](t)(proxy.New(proxy.Parts{Directory: h.directory, Sessions: h.sessions, Grants: grants, Provider: provider,
		Audit: h.record, Pages: pages, Console: console.NewHandler(console.Parts{Pages: pages, Admin: h.admin, Pins: pins.New(h.store)}), Log: log,
		Manage: manage.New(manage.Parts{Admin: h.admin, Sessions: h.sessions, Pages: pages, Log: log})}))
	h.settings = h.newSettings()
	if err := h.proxy.Load(h.settings); err != nil {
		t.Fatal(err)
	}
	run("proxy", h.proxy.Run)
	h.server = proxy.NewTLSServer(h.proxy)
	t.Cleanup(func() {
		h.server.Close()
		cancel()
		running.Wait()
		h.record.Close()
		h.store.Close()
		audittest.CheckRecord(t, h.auditFile)
	})
	h.addPeople()
	return h
}

// startProvider starts the identity provider and returns the proxy's client of it.
func (h *env) startProvider() *oidc.Provider {
	h.t.Helper()
	h.issuer = httptest.NewUnstartedServer(nil)
	base := "https://" + h.issuer.Listener.Addr().String()
	h.tenant = entratest.NewSharingKey(base, entratest.App{ClientID: "11111111-2222-3333-4444-555555555555", Secret: "canary-client-secret",
		RedirectURIs: []string{"https://" + loginHost + "/.sallyport/callback", "https://" + loginHost + "/.sallyport/logout"}})
	h.logins = &countingHandler{Handler: h.saying(h.prompts), n: map[string]int{}}
	h.issuer.Config.Handler = h.logins
	proxy.StartTLS(h.issuer)
	h.t.Cleanup(h.issuer.Close)

	dir := h.t.TempDir()
	write := func(name string, text []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			h.t.Fatal(err)
		}
		return path
	}
	settings := oidc.Defaults()
	settings.Issuer, settings.ClientID = h.tenant.Issuer(), h.tenant.ClientID()
	settings.ClientSecretFile = write("secret", []byte("canary-client-secret"))
	settings.CAFile = write("ca.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: h.issuer.Certificate().Raw}))
	settings.APIAudiences = []string{audience}
	public := &url.URL{Scheme: "https", Host: loginHost}
	return must[*oidc.Provider](h.t)(oidc.New(settings, public, slog.New(slog.NewTextHandler(h.log, nil))))
}

// saying returns the tenant, with metadata that name the supported values of prompt unless that is nil.
func (h *env) saying(prompts []string) http.Handler {
	if prompts == nil {
		return h.tenant
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, "/openid-configuration") {
			h.tenant.ServeHTTP(w, r)
			return
		}
		said := httptest.NewRecorder()
		h.tenant.ServeHTTP(said, r)
		metadata := map[string]any{}
		if err := json.Unmarshal(said.Body.Bytes(), &metadata); err != nil {
			h.t.Error(err)
		}
		metadata["prompt_values_supported"] = prompts
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(metadata)
	})
}

// newSettings returns settings with three hosts, whose application responds with what it received.
func (h *env) newSettings() proxy.Settings {
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "the application saw "+r.Method+" "+r.URL.RequestURI()+" by "+r.Header.Get("X-Forwarded-User")+" with cookies "+r.Header.Get("Cookie"))
	}))
	h.t.Cleanup(app.Close)
	sre := policy.Rule{Allow: &policy.Match{Groups: []policy.GroupRef{{ID: "g-sre", Name: "SRE"}}}}
	s := proxy.Defaults()
	s.PublicURL = "https://" + loginHost
	s.Policies = []policy.Named{{Name: "sre", Rules: []policy.Rule{sre}},
		{Name: "no-deleting", Rules: []policy.Rule{sre, {Deny: &policy.Match{Methods: []string{"DELETE"}}}}}}
	s.Routes = []proxy.Route{
		{Name: "app", Host: appHost, Upstream: proxy.Upstreams{app.URL}, Policy: []string{"no-deleting"}, Owner: "owner@example.com"},
		{Name: "wiki", Host: wikiHost, Path: "/team", Upstream: proxy.Upstreams{app.URL}, Policy: []string{"sre"}},
		{Name: "api", Host: apiHost, Upstream: proxy.Upstreams{app.URL}, Policy: []string{"sre"}, Accept: []string{"bearer"}},
	}
	return s
}

// addPeople adds all persons to the tenant, and all but the stranger to the directory.
func (h *env) addPeople() {
	h.t.Helper()
	h.alice = h.tenant.Add(entratest.Person{UPN: "alice@example.com", Name: "Alice Ng"})
	h.bob = h.tenant.Add(entratest.Person{UPN: "bob@example.com", Name: "Bob Roe"})
	h.mallory = h.tenant.Add(entratest.Person{UPN: "mallory@example.com", Name: "Mallory Poe"})
	h.stranger = h.tenant.Add(entratest.Person{UPN: "stranger@example.com", Name: "A Stranger"})
	h.change(func(tx *directory.Tx) error {
		group := &directory.Group{ExternalID: "g-sre", DisplayName: "SRE"}
		if err := tx.PutGroup(group); err != nil {
			return err
		}
		for _, p := range []entratest.Person{h.alice, h.bob, h.mallory} {
			u := &directory.User{ExternalID: p.OID, UserName: p.UPN, Active: true, Document: fmt.Appendf(nil, `{"displayName":%q}`, p.Name)}
			if err := tx.PutUser(u); err != nil {
				return err
			}
			if p.OID != h.bob.OID {
				if _, err := tx.AddMembers(group.ID, []string{u.ID}); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// change changes the directory.
func (h *env) change(fn func(*directory.Tx) error) {
	h.t.Helper()
	if err := h.directory.Update(context.Background(), fn); err != nil {
		h.t.Fatal(err)
	}
}

// setActive activates or deactivates a user.
func (h *env) setActive(userName string, active bool) {
	h.t.Helper()
	h.change(func(tx *directory.Tx) error {
		u, err := tx.UserByName(userName)
		if err != nil {
			return err
		}
		u.Active = active
		return tx.PutUser(&u)
	})
}

// removeFromGroup removes a user from the group SRE.
func (h *env) removeFromGroup(userName string) {
	h.t.Helper()
	h.change(func(tx *directory.Tx) error {
		u, err := tx.UserByName(userName)
		if err != nil {
			return err
		}
		g, err := tx.GroupByExternalID("g-sre")
		if err != nil {
			return err
		}
		_, err = tx.RemoveMembers(g.ID, []string{u.ID})
		return err
	})
}

// revision returns the revision of the store.
func (h *env) revision() (revision store.Revision) {
	h.t.Helper()
	if err := h.store.View(context.Background(), func(r store.Reader) error { revision = r.Revision(); return nil }); err != nil {
		h.t.Fatal(err)
	}
	return revision
}

// write replaces the first record of the store whose key begins with prefix.
func (h *env) write(prefix string, value []byte) {
	h.t.Helper()
	_, err := h.store.Update(context.Background(), func(w store.Writer) error {
		for e, err := range w.Scan([]byte(prefix), nil) {
			if err != nil {
				return err
			}
			return w.Put(slices.Clone(e.Key), value)
		}
		return store.ErrNotFound
	})
	if err != nil {
		h.t.Fatal(err)
	}
}

// events returns the lines of the audit record of a kind.
func (h *env) events(kind audit.Kind) (lines []string) {
	h.t.Helper()
	for line := range strings.Lines(string(must[[]byte](h.t)(os.ReadFile(h.auditFile)))) {
		if strings.Contains(line, `"kind":"`+string(kind)+`"`) {
			lines = append(lines, line)
		}
	}
	return lines
}

// count returns the value of logins_total for a result and a reason.
func (h *env) count(result, reason string) float64 {
	h.t.Helper()
	registry := prometheus.NewRegistry()
	registry.MustRegister(h.proxy.Collectors()...)
	families, err := registry.Gather()
	if err != nil {
		h.t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() != "sallyport_logins_total" {
			continue
		}
		for _, m := range family.GetMetric() {
			labels := map[string]string{}
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			if labels["result"] == result && labels["reason"] == reason {
				return m.GetCounter().GetValue()
			}
		}
	}
	return 0
}
