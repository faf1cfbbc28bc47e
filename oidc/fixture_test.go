package oidc_test

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"sallyport/entratest"
	"sallyport/oidc"
)

const (
	audience = "api://sallyport"
	secret   = "a-secret-that-must-never-show"
	clientID = "5a111900-0000-4000-8000-000000000001"
	login    = "https://login.example.com"
)

// fixture is a provider and its issuer, which serves over TLS.
type fixture struct {
	*oidc.Provider
	t          testing.TB
	entra      *entratest.Tenant
	alice      entratest.Person
	settings   oidc.Settings
	log        *safeBuffer
	client     *http.Client // the browser of alice; follows no redirects
	overridden atomic.Pointer[override]
}

// override responds in place of the issuer; false passes the request on to it.
type override func(w http.ResponseWriter, r *http.Request) bool

func (h *fixture) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if o := h.overridden.Load(); o != nil && (*o)(w, r) {
		return
	}
	h.entra.ServeHTTP(w, r)
}

func (h *fixture) override(o override) { h.overridden.Store(&o) }

// startFixture returns a fixture after discovery.
func startFixture(t testing.TB, alter func(*oidc.Settings)) *fixture {
	t.Helper()
	h := newFixture(t)
	if alter != nil {
		alter(&h.settings)
	}
	<-h.run()
	return h
}

// newFixture returns a fixture whose provider does not run yet.
func newFixture(t testing.TB) *fixture {
	t.Helper()
	h := &fixture{t: t, log: new(safeBuffer)}
	server := httptest.NewUnstartedServer(h)
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	h.client = server.Client()
	h.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	h.setUp(server.URL)
	h.settings.CAFile = h.write("ca.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	return h
}

// setUp makes the tenant at base, and settings for it.
func (h *fixture) setUp(base string) {
	h.entra = entratest.NewSharingKey(base, entratest.App{ClientID: clientID, Secret: secret, RedirectURIs: []string{login + "/.sallyport/callback"}})
	h.alice = h.entra.Add(entratest.Person{UPN: "alice@example.com", Name: "Alice"})
	h.entra.SignIn(h.alice.OID)
	h.settings = oidc.Defaults()
	h.settings.Issuer, h.settings.ClientID, h.settings.APIAudiences = h.entra.Issuer(), clientID, []string{audience}
	h.settings.ClientSecretFile = h.write("secret", []byte(secret+"\n"))
}

func (h *fixture) write(name string, data []byte) (path string) {
	h.t.Helper()
	path = filepath.Join(h.t.TempDir(), name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		h.t.Fatal(err)
	}
	return path
}

// Messages that the provider logs.
const (
	foundText  = "identity provider found"
	failedText = "identity provider not reached; trying again"
)

// newProvider makes the provider; logged is closed once it logs text.
func (h *fixture) newProvider(text string) (logged <-chan struct{}) {
	h.t.Helper()
	public, _ := url.Parse(login)
	done := make(chan struct{})
	watch := &watcher{Handler: slog.NewTextHandler(h.log, &slog.HandlerOptions{Level: slog.LevelDebug}), text: text, seen: done}
	p, err := oidc.New(h.settings, public, slog.New(watch))
	if err != nil {
		h.t.Fatal(err)
	}
	h.Provider = p
	return done
}

// run makes and runs the provider; logged is closed after discovery.
func (h *fixture) run() (logged <-chan struct{}) {
	h.t.Helper()
	logged = h.newProvider(foundText)
	h.start()
	return logged
}

// start runs the provider until stop, or the end of the test.
func (h *fixture) start() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = h.Run(ctx) }()
	stop = func() { cancel(); <-done }
	h.t.Cleanup(stop)
	return stop
}

// watcher closes seen once the message text is logged.
type watcher struct {
	slog.Handler
	text string
	once sync.Once
	seen chan struct{}
}

func (w *watcher) Handle(ctx context.Context, r slog.Record) error {
	err := w.Handler.Handle(ctx, r)
	if r.Message == w.text {
		w.once.Do(func() { close(w.seen) })
	}
	return err
}

type safeBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// unknown stands for an error that is not a refusal.
const unknown oidc.Reason = "unknown"

// reasonOf returns the reason of a refusal, unknown for another error, or "".
func reasonOf(err error) oidc.Reason {
	var r *oidc.Refusal
	switch {
	case err == nil:
		return ""
	case errors.As(err, &r) && errors.Is(err, oidc.ErrRefused):
		return r.Reason
	}
	return unknown
}

func (h *fixture) bearer(token string) (oidc.Identity, oidc.Reason) {
	id, err := h.Bearer(context.Background(), token)
	return id, reasonOf(err)
}

func (h *fixture) accessToken() string { return h.entra.AccessToken(h.alice, audience, nil) }

// authorize sends the browser to the provider and returns the query of the callback.
func (h *fixture) authorize(authURL string) url.Values {
	resp, err := h.client.Get(authURL)
	if err != nil {
		h.t.Error(err)
		return nil
	}
	defer resp.Body.Close()
	back, err := resp.Location()
	if err != nil {
		h.t.Errorf("the provider responds %s without a redirect", resp.Status)
		return nil
	}
	return back.Query()
}

func (h *fixture) begin() (oidc.Flow, url.Values) {
	h.t.Helper()
	authURL, f, err := h.Begin(context.Background(), 0)
	if err != nil {
		h.t.Fatal(err)
	}
	return f, h.authorize(authURL)
}

// signIn makes a complete login.
func (h *fixture) signIn() (oidc.Identity, error) {
	h.t.Helper()
	f, q := h.begin()
	return h.Finish(context.Background(), f, q)
}

// isFor reports whether a request goes to an endpoint.
func isFor(r *http.Request, endpoint string) bool { return strings.HasSuffix(r.URL.Path, endpoint) }

const (
	metadataPath = "/openid-configuration"
	keysPath     = "/keys"
	tokenPath    = "/token"
)
