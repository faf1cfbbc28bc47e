package oidc_test

import (
	"bytes"
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

	"sallyport/entratest"
	"sallyport/oidc"
)

const (
	audience = "api://sallyport"
	secret   = "a-secret-that-must-never-show"
	clientID = "5a111900-0000-4000-8000-000000000001"
)

// house is a provider that has found an issuer, which serves over TLS.
type house struct {
	*oidc.Provider
	entra  *entratest.Tenant
	alice  entratest.Person
	log    *bytes.Buffer
	client *http.Client // alice's browser: follows nothing
}

func newHouse(t testing.TB, alter func(*oidc.Settings)) *house {
	t.Helper()
	h := &house{log: new(bytes.Buffer)}
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.entra.ServeHTTP(w, r) }))
	t.Cleanup(server.Close)
	h.entra = entratest.New(server.URL, entratest.App{ClientID: clientID, Secret: secret,
		RedirectURIs: []string{"https://login.example.com/.sallyport/callback"}})
	h.alice = h.entra.Add(entratest.Person{UPN: "alice@example.com", Name: "Alice"})
	h.entra.SignIn(h.alice.OID)
	h.client = server.Client()
	h.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

	dir := t.TempDir()
	write(t, dir, "secret", []byte(secret+"\n"))
	write(t, dir, "ca.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	s := oidc.Defaults()
	s.Issuer, s.ClientID, s.APIAudiences = h.entra.Issuer(), clientID, []string{audience}
	s.ClientSecretFile, s.CAFile = filepath.Join(dir, "secret"), filepath.Join(dir, "ca.pem")
	if alter != nil {
		alter(&s)
	}
	h.run(t, s)
	return h
}

func write(t testing.TB, dir, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// run runs the provider and waits until it can begin a login.
func (h *house) run(t testing.TB, s oidc.Settings) {
	t.Helper()
	public, _ := url.Parse("https://login.example.com")
	found := make(chan struct{})
	p, err := oidc.New(s, public, slog.New(&watcher{Handler: slog.NewTextHandler(h.log, nil), text: "identity provider found", seen: found}))
	if err != nil {
		t.Fatal(err)
	}
	h.Provider = p
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = p.Run(ctx) }()
	t.Cleanup(func() { stop(); <-done })
	<-found
}

// watcher closes seen when a message is logged.
type watcher struct {
	slog.Handler
	text string
	once sync.Once
	seen chan struct{}
}

func (w *watcher) Handle(ctx context.Context, r slog.Record) error {
	if r.Message == w.text {
		w.once.Do(func() { close(w.seen) })
	}
	return w.Handler.Handle(ctx, r)
}

// reason is why err refuses; "" for no refusal.
func reason(err error) oidc.Reason {
	var r *oidc.Refusal
	if errors.As(err, &r) && errors.Is(err, oidc.ErrRefused) {
		return r.Reason
	}
	return ""
}

// authorize sends alice's browser to the provider and returns what comes back.
func (h *house) authorize(t testing.TB, authURL string) url.Values {
	t.Helper()
	resp, err := h.client.Get(authURL)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	back, err := resp.Location()
	if err != nil {
		t.Fatalf("the provider answers %s without sending back", resp.Status)
	}
	return back.Query()
}

func (h *house) begin(t testing.TB) (oidc.Flow, url.Values) {
	t.Helper()
	authURL, f, err := h.Begin(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return f, h.authorize(t, authURL)
}

func TestLogin(t *testing.T) {
	h := newHouse(t, nil)
	f, q := h.begin(t)
	id, err := h.Finish(context.Background(), f, q)
	if err != nil {
		t.Fatal(err)
	}
	if id.Key != h.alice.OID || id.Issuer != h.entra.Issuer() || id.ProviderSession == "" || id.Authenticated.IsZero() {
		t.Errorf("identity is %+v", id)
	}
}

// TestLoginsThatMustFail: CSRF, mix-up (RFC 9207, RFC 9700), code injection,
// replay (CVE-2024-23647 and kin: PKCE must bind).
func TestLoginsThatMustFail(t *testing.T) {
	for _, c := range []struct {
		name   string
		tamper func(*oidc.Flow, url.Values)
		want   oidc.Reason
	}{
		{"no state", func(_ *oidc.Flow, q url.Values) { q.Del("state") }, oidc.WrongState},
		{"another state", func(_ *oidc.Flow, q url.Values) { q.Set("state", "x") }, oidc.WrongState},
		{"two states", func(_ *oidc.Flow, q url.Values) { q.Add("state", q.Get("state")) }, oidc.WrongState},
		{"an empty flow", func(f *oidc.Flow, q url.Values) { *f = oidc.Flow{}; q.Set("state", "") }, oidc.WrongState},
		{"another issuer", func(_ *oidc.Flow, q url.Values) { q.Set("iss", "https://evil.example.com") }, oidc.WrongIssuer},
		{"the provider says no", func(_ *oidc.Flow, q url.Values) { q.Del("code"); q.Set("error", "access_denied") }, oidc.LoginRefused},
		{"no code", func(_ *oidc.Flow, q url.Values) { q.Del("code") }, oidc.CodeRefused},
		{"a made-up code", func(_ *oidc.Flow, q url.Values) { q.Set("code", "x") }, oidc.CodeRefused},
		{"another verifier", func(f *oidc.Flow, _ url.Values) { f.Verifier = strings.Repeat("v", 43) }, oidc.CodeRefused},
		{"another nonce", func(f *oidc.Flow, _ url.Values) { f.Nonce = "x" }, oidc.WrongNonce},
		{"no nonce", func(f *oidc.Flow, _ url.Values) { f.Nonce = "" }, oidc.WrongNonce},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHouse(t, nil)
			f, q := h.begin(t)
			c.tamper(&f, q)
			if id, err := h.Finish(context.Background(), f, q); reason(err) != c.want {
				t.Errorf("login gives %+v, %v; want %s", id, err, c.want)
			}
		})
	}
}

func TestACodeIsGoodOnce(t *testing.T) {
	h := newHouse(t, nil)
	f, q := h.begin(t)
	if _, err := h.Finish(context.Background(), f, q); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Finish(context.Background(), f, q); reason(err) != oidc.CodeRefused {
		t.Errorf("the second time gives %v", err)
	}
}

// TestTokens is one row a fault that somebody shipped.
func TestTokens(t *testing.T) {
	h := newHouse(t, nil)
	access := func(alter func(entratest.Claims)) string { return h.entra.AccessToken(h.alice, audience, alter) }
	set := func(name string, value any) string {
		return access(func(c entratest.Claims) { c[name] = value })
	}
	without := func(name string) string { return access(func(c entratest.Claims) { delete(c, name) }) }
	header := func(name string, value any) string {
		return h.entra.Sign(h.entra.Claims(h.alice, audience), map[string]any{name: value})
	}
	hour := time.Hour
	for _, c := range []struct {
		name, token string
		want        oidc.Reason // "" for a good one
	}{
		{"good", access(nil), ""},
		{"audience in a list", set("aud", []string{"api://other", audience}), ""},
		{"audience of another API (CVE-2023-22482)", set("aud", "api://other"), oidc.WrongAudience},
		{"no audience (CVE-2026-55689)", without("aud"), oidc.WrongAudience},
		{"audience in another case", set("aud", "API://sallyport"), oidc.WrongAudience},
		{"no issuer", without("iss"), oidc.WrongIssuer},
		{"issuer with a slash", set("iss", h.entra.Issuer()+"/"), oidc.WrongIssuer},
		{"version 1.0", h.entra.AccessTokenV1(h.alice, audience, nil), oidc.WrongVersion},
		{"another tenant (nOAuth)", set("tid", "00000000-0000-0000-0000-000000000000"), oidc.WrongTenant},
		{"no tenant", without("tid"), oidc.WrongTenant},
		{"expired", set("exp", time.Now().Add(-hour).Unix()), oidc.Expired},
		{"no exp", without("exp"), oidc.Expired},
		{"not valid yet", set("nbf", time.Now().Add(hour).Unix()), oidc.NotYetValid},
		{"issued in the future", set("iat", time.Now().Add(hour).Unix()), oidc.NotYetValid},
		{"an ID token", h.entra.IDToken(h.alice, "n", func(c entratest.Claims) { c["aud"] = audience }), oidc.NotForAPIs},
		{"a token for Microsoft Graph", header("nonce", "x"), oidc.NotForAPIs},
		{"no user claim (CVE-2026-23990)", without("oid"), oidc.ClaimMissing},
		{"a user claim that is no text", set("oid", 7), oidc.ClaimMissing},
		{"an empty user claim", set("oid", ""), oidc.ClaimMissing},
		{"critical extensions", header("crit", []string{"b64"}), oidc.Malformed},
		{"alg none", h.entra.Unsigned(h.entra.Claims(h.alice, audience)), oidc.AlgRefused},
		{"HS256 by the public key (CVE-2026-33322)", h.entra.Confused(h.entra.Claims(h.alice, audience)), oidc.AlgRefused},
		{"a changed payload", tampered(access(nil)), oidc.BadSignature},
		{"encrypted", "a.b.c.d.e", oidc.Malformed},
		{"two parts", "a.b", oidc.Malformed},
		{"empty", "", oidc.Malformed},
		{"many dots (CVE-2025-30204)", strings.Repeat(".", 10_000), oidc.Malformed},
		{"huge", strings.Repeat("x", 1<<20), oidc.Malformed},
		{"claims of odd types", set("aud", map[string]any{"a": 1}), oidc.Malformed},
		{"a time beyond all times", set("exp", 1e300), oidc.Malformed},
	} {
		t.Run(c.name, func(t *testing.T) {
			id, err := h.Bearer(context.Background(), c.token)
			if c.want == "" && (err != nil || id.Key != h.alice.OID) || c.want != "" && reason(err) != c.want {
				t.Errorf("gives %+v, %v; want %q", id, err, c.want)
			}
		})
	}
}

// tampered has another payload under the same signature.
func tampered(token string) string {
	parts := strings.Split(token, ".")
	parts[1] = parts[1][:20] + "AAAA" + parts[1][24:]
	return strings.Join(parts, ".")
}

// TestAnEmailDecidesNothing: a token of alice that claims carol's address is
// still alice's (CVE-2023-3128, nOAuth).
func TestAnEmailDecidesNothing(t *testing.T) {
	h := newHouse(t, nil)
	token := h.entra.AccessToken(h.alice, audience, func(c entratest.Claims) {
		c["email"], c["upn"], c["preferred_username"] = "carol@example.com", "carol@example.com", "carol@example.com"
	})
	if id, err := h.Bearer(context.Background(), token); err != nil || id.Key != h.alice.OID {
		t.Errorf("identity is %+v, %v", id, err)
	}
}

func TestWithoutAudiencesNoBearerIsTaken(t *testing.T) {
	h := newHouse(t, func(s *oidc.Settings) { s.APIAudiences = nil })
	if _, err := h.Bearer(context.Background(), h.entra.AccessToken(h.alice, audience, nil)); reason(err) != oidc.WrongAudience {
		t.Errorf("gives %v", err)
	}
}

// TestMadeUpKeysDoNotHammerTheProvider: whatever key ids tokens name, the
// provider is asked once in thirty seconds at most.
func TestMadeUpKeysDoNotHammerTheProvider(t *testing.T) {
	h := newHouse(t, nil)
	other := entratest.New("https://elsewhere.example.com", entratest.App{ClientID: clientID})
	claims := h.entra.Claims(h.alice, audience)
	if _, err := h.Bearer(context.Background(), h.entra.AccessToken(h.alice, audience, nil)); err != nil {
		t.Fatal(err)
	}
	before := h.entra.KeyFetches()
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for n := range 250 {
				token := other.Sign(claims, map[string]any{"kid": fmt.Sprint(i, "-", n)})
				if _, err := h.Bearer(context.Background(), token); reason(err) != oidc.KeyUnknown {
					t.Errorf("a made-up key gives %v", err)
				}
			}
		})
	}
	all.Wait()
	if n := h.entra.KeyFetches() - before; n > 1 {
		t.Errorf("the provider was asked %d times", n)
	}
}

// TestBeforeDiscoveryNothingCanBeTold: doubt is not a refusal.
func TestBeforeDiscoveryNothingCanBeTold(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "secret", []byte(secret))
	s := oidc.Defaults()
	s.Issuer, s.ClientID, s.ClientSecretFile, s.APIAudiences = "https://127.0.0.1:1/x", clientID, filepath.Join(dir, "secret"), []string{audience}
	public, _ := url.Parse("https://login.example.com")
	p, err := oidc.New(s, public, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	_, _, begin := p.Begin(context.Background())
	_, finish := p.Finish(context.Background(), oidc.Flow{}, url.Values{})
	_, bearer := p.Bearer(context.Background(), "a.b.c")
	for _, err := range []error{begin, finish, bearer} {
		if err == nil || errors.Is(err, oidc.ErrRefused) {
			t.Errorf("gives %v", err)
		}
	}
}

// TestSecretsDoNotShow in errors, logs or printed settings.
func TestSecretsDoNotShow(t *testing.T) {
	h := newHouse(t, nil)
	f, q := h.begin(t)
	q.Set("code", "x")
	_, err := h.Finish(context.Background(), f, q)
	token := h.entra.AccessToken(h.alice, "api://other", nil)
	_, err2 := h.Bearer(context.Background(), token)
	shown := fmt.Sprint(err, err2, h.log.String(), oidc.Secret(secret)) + fmt.Sprintf("%#v %+v %q", oidc.Secret(secret), oidc.Secret(secret), oidc.Secret(secret))
	for _, hidden := range []string{secret, token, f.Verifier, f.Nonce} {
		if strings.Contains(shown, hidden) {
			t.Errorf("%q shows in %s", hidden, shown)
		}
	}
}

func TestSettingsThatCannotBeMeant(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "secret", []byte(secret))
	write(t, dir, "empty", nil)
	for name, alter := range map[string]func(*oidc.Settings){
		"issuer":              func(s *oidc.Settings) { s.Issuer = "https://login.microsoftonline.com/common/v2.0" },
		"issuer ":             func(s *oidc.Settings) { s.Issuer = "http://login.example.com" },
		"client_id":           func(s *oidc.Settings) { s.ClientID = "" },
		"client_secret_file":  func(s *oidc.Settings) { s.ClientSecretFile = filepath.Join(dir, "missing") },
		"client_secret_file ": func(s *oidc.Settings) { s.ClientSecretFile = filepath.Join(dir, "empty") },
		"user_claim":          func(s *oidc.Settings) { s.UserClaim = "email" },
		"user_attribute":      func(s *oidc.Settings) { s.UserAttribute = "emails" },
		"ca_file":             func(s *oidc.Settings) { s.CAFile = filepath.Join(dir, "secret") },
		"api_audiences[0]":    func(s *oidc.Settings) { s.APIAudiences = []string{" "} },
	} {
		s := oidc.Defaults()
		s.Issuer, s.ClientID, s.ClientSecretFile = "https://login.example.com/x", clientID, filepath.Join(dir, "secret")
		s.Check(func(path, problem string) { t.Errorf("good settings: %s: %s", path, problem) })
		alter(&s)
		var paths []string
		s.Check(func(path, _ string) { paths = append(paths, path) })
		if len(paths) != 1 || paths[0] != strings.TrimSpace(name) {
			t.Errorf("%s: faults are at %v", name, paths)
		}
	}
}

func FuzzBearer(f *testing.F) {
	h := newHouse(f, nil)
	f.Add(h.entra.AccessToken(h.alice, "api://other", nil))
	f.Add(h.entra.Unsigned(h.entra.Claims(h.alice, audience)))
	f.Add("a.b.c")
	f.Add("e30.e30.")
	f.Fuzz(func(t *testing.T, token string) {
		if id, err := h.Bearer(context.Background(), token); reason(err) == "" {
			t.Errorf("gives %+v, %v", id, err)
		}
	})
}
