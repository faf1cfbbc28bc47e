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

// house is a provider, and an issuer that serves over TLS.
type house struct {
	*oidc.Provider
	t        testing.TB
	entra    *entratest.Tenant
	alice    entratest.Person
	settings oidc.Settings
	log      *safeBuffer
	client   *http.Client // alice's browser: follows nothing
	bent     atomic.Pointer[bend]
}

// bend answers in the issuer's place; false leaves a request to it.
type bend func(w http.ResponseWriter, r *http.Request) bool

func (h *house) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if b := h.bent.Load(); b != nil && (*b)(w, r) {
		return
	}
	h.entra.ServeHTTP(w, r)
}

func (h *house) bend(b bend) { h.bent.Store(&b) }

// newHouse is one whose provider has been found.
func newHouse(t testing.TB, alter func(*oidc.Settings)) *house {
	t.Helper()
	h := newSite(t)
	if alter != nil {
		alter(&h.settings)
	}
	<-h.run()
	return h
}

// newSite is a house before its provider runs.
func newSite(t testing.TB) *house {
	t.Helper()
	h := &house{t: t, log: new(safeBuffer)}
	server := httptest.NewUnstartedServer(h)
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	h.client = server.Client()
	h.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	h.found(server.URL)
	h.settings.CAFile = h.write("ca.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	return h
}

// found makes the tenant at base, and settings for it.
func (h *house) found(base string) {
	h.entra = entratest.New(base, entratest.App{ClientID: clientID, Secret: secret, RedirectURIs: []string{login + "/.sallyport/callback"}})
	h.alice = h.entra.Add(entratest.Person{UPN: "alice@example.com", Name: "Alice"})
	h.entra.SignIn(h.alice.OID)
	h.settings = oidc.Defaults()
	h.settings.Issuer, h.settings.ClientID, h.settings.APIAudiences = h.entra.Issuer(), clientID, []string{audience}
	h.settings.ClientSecretFile = h.write("secret", []byte(secret+"\n"))
}

func (h *house) write(name string, data []byte) (path string) {
	h.t.Helper()
	path = filepath.Join(h.t.TempDir(), name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		h.t.Fatal(err)
	}
	return path
}

// What the provider logs.
const (
	foundText  = "identity provider found"
	failedText = "identity provider not reached; trying again"
)

// make builds the provider; seen is closed once it logs text.
func (h *house) make(text string) (seen <-chan struct{}) {
	h.t.Helper()
	public, _ := url.Parse(login)
	said := make(chan struct{})
	watch := &watcher{Handler: slog.NewTextHandler(h.log, &slog.HandlerOptions{Level: slog.LevelDebug}), text: text, seen: said}
	p, err := oidc.New(h.settings, public, slog.New(watch))
	if err != nil {
		h.t.Fatal(err)
	}
	h.Provider = p
	return said
}

// run makes and runs the provider; seen is closed once it has found its issuer.
func (h *house) run() (seen <-chan struct{}) {
	h.t.Helper()
	seen = h.make(foundText)
	h.start()
	return seen
}

// start runs the provider until stop, or the end of the test.
func (h *house) start() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = h.Run(ctx) }()
	stop = func() { cancel(); <-done }
	h.t.Cleanup(stop)
	return stop
}

// watcher closes seen once a message is logged.
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

// doubt stands for an error that is no refusal.
const doubt oidc.Reason = "could not tell"

// verdict is why err refuses, doubt, or "" for a yes.
func verdict(err error) oidc.Reason {
	var r *oidc.Refusal
	switch {
	case err == nil:
		return ""
	case errors.As(err, &r) && errors.Is(err, oidc.ErrRefused):
		return r.Reason
	}
	return doubt
}

func (h *house) bearer(token string) (oidc.Identity, oidc.Reason) {
	id, err := h.Bearer(context.Background(), token)
	return id, verdict(err)
}

func (h *house) accessToken() string { return h.entra.AccessToken(h.alice, audience, nil) }

// authorize sends a browser to the provider and returns what comes back.
func (h *house) authorize(authURL string) url.Values {
	resp, err := h.client.Get(authURL)
	if err != nil {
		h.t.Error(err)
		return nil
	}
	defer resp.Body.Close()
	back, err := resp.Location()
	if err != nil {
		h.t.Errorf("the provider answers %s without sending back", resp.Status)
		return nil
	}
	return back.Query()
}

func (h *house) begin() (oidc.Flow, url.Values) {
	h.t.Helper()
	authURL, f, err := h.Begin(context.Background(), 0)
	if err != nil {
		h.t.Fatal(err)
	}
	return f, h.authorize(authURL)
}

// signIn is a whole login.
func (h *house) signIn() (oidc.Identity, error) {
	h.t.Helper()
	f, q := h.begin()
	return h.Finish(context.Background(), f, q)
}

// at says whether a request goes to an endpoint.
func at(r *http.Request, endpoint string) bool { return strings.HasSuffix(r.URL.Path, endpoint) }

const (
	metadataPath = "/openid-configuration"
	keysPath     = "/keys"
	tokenPath    = "/token"
)
