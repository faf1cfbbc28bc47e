package oidc_test

import (
	"context"
	"encoding/pem"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"sallyport/entratest"
	"sallyport/oidc"
)

// elsewhere returns another tenant with its own server, key and certificate.
func elsewhere(t *testing.T, h *fixture) (*entratest.Tenant, string) {
	t.Helper()
	server := httptest.NewUnstartedServer(nil)
	tenant := entratest.New("https://"+server.Listener.Addr().String(), entratest.App{ClientID: clientID})
	server.Config.Handler = tenant
	server.StartTLS()
	t.Cleanup(server.Close)
	return tenant, h.write("other.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
}

// TestBearerIssuers: a token is verified as one of the issuer that it names and of no
// other (CVE-2024-8901, CVE-2026-49998). Users of another tenant are rejected unless
// the settings name a claim for them.
func TestBearerIssuers(t *testing.T) {
	const other = "api://elsewhere"
	for _, claim := range []string{"", "oid"} {
		h := newFixture(t)
		tenant, ca := elsewhere(t, h)
		bob := tenant.Add(entratest.Person{UPN: "bob@elsewhere.example"})
		h.settings.BearerIssuers = []oidc.BearerIssuer{{Issuer: tenant.Issuer(), Audiences: []string{other}, UserClaim: claim, CAFile: ca},
			{Issuer: "https://127.0.0.1:1/gone", Audiences: []string{other}}} // one that never answers stops nobody
		<-h.run()
		app := tenant.AppToken("a", "b", other, nil)
		for h.bearerReason(app) == unknown { // until the other issuer is found, too
		}
		users := oidc.WrongIssuer
		if claim != "" {
			users = ""
		}
		for _, c := range []struct {
			name, token string
			want        oidc.Reason
		}{
			{"our own", h.accessToken(), ""},
			{"an application of the other's", app, ""},
			{"a user of the other's", tenant.AccessToken(bob, other, nil), users},
			{"the other's, for our audience", tenant.AppToken("a", "b", audience, nil), oidc.WrongAudience},
			{"ours, for the other's audience", h.entra.AppToken("a", "b", other, nil), oidc.WrongAudience},
			{"the other's key, our name", tenant.AppToken("a", "b", audience, func(c entratest.Claims) { c["iss"] = h.entra.Issuer() }), oidc.KeyUnknown},
			{"our key, the other's name", h.entra.AppToken("a", "b", other, func(c entratest.Claims) { c["iss"] = tenant.Issuer() }), oidc.KeyUnknown},
			{"a third's", tenant.AppToken("a", "b", other, func(c entratest.Claims) { c["iss"] = "https://third.example" }), oidc.KeyUnknown},
			{"the other's name with a slash", tenant.AppToken("a", "b", other, func(c entratest.Claims) { c["iss"] = tenant.Issuer() + "/" }), oidc.KeyUnknown},
			{"one that cannot be asked", tenant.AppToken("a", "b", other, func(c entratest.Claims) { c["iss"] = "https://127.0.0.1:1/gone" }), unknown},
		} {
			if got := h.bearerReason(c.token); got != c.want {
				t.Errorf("with the claim %q, %s gives %q, want %q", claim, c.name, got, c.want)
			}
		}
	}
}

// TestBearer_LengthLimit: a token of 16 KiB is accepted and cached, whichever issuer it
// names; a longer one is rejected.
func TestBearer_LengthLimit(t *testing.T) {
	const limit, other = 16 << 10, "api://elsewhere"
	h := newFixture(t)
	tenant, ca := elsewhere(t, h)
	bob := tenant.Add(entratest.Person{UPN: "bob@elsewhere.example"})
	h.settings.BearerIssuers = []oidc.BearerIssuer{{Issuer: tenant.Issuer(), Audiences: []string{other}, UserClaim: "oid", CAFile: ca}}
	<-h.run()
	for h.bearerReason(tenant.AccessToken(bob, other, nil)) == unknown { // until the other issuer is found, too
	}
	for name, sign := range map[string]func(pad, header string) string{
		"our issuer":   func(pad, header string) string { return signPadded(h.entra, h.alice, audience, pad, header) },
		"other issuer": func(pad, header string) string { return signPadded(tenant, bob, other, pad, header) },
	} {
		token := ofLength(t, limit, sign)
		cachedBefore := h.Cached(token) != nil
		reason := h.bearerReason(token)
		if cached := h.Cached(token) != nil; reason != "" || cachedBefore || !cached {
			t.Errorf("%s: a token of %d bytes gives %q; cached before and after: %t, %t", name, len(token), reason, cachedBefore, cached)
		}
		if h.Cached(ofLength(t, limit+1, sign)) != nil || h.bearerReason(ofLength(t, limit+1, sign)) != oidc.Malformed {
			t.Errorf("%s: a longer token is accepted", name)
		}
	}
}

func signPadded(tenant *entratest.Tenant, person entratest.Person, audience, pad, header string) string {
	claims := tenant.Claims(person, audience)
	claims["pad"] = pad
	return tenant.Sign(claims, map[string]any{"pad": header})
}

// ofLength returns a token of a length. Base64 has no text of 4n+1 bytes, so the header
// is padded too.
func ofLength(t *testing.T, length int, sign func(pad, header string) string) string {
	t.Helper()
	rest := (length - len(sign("", ""))) * 3 / 4
	for pad := rest - 4; pad <= rest+4; pad++ {
		for header := range 4 {
			if token := sign(strings.Repeat("x", pad), strings.Repeat("x", header)); len(token) == length {
				return token
			}
		}
	}
	t.Fatalf("no token has %d bytes", length)
	return ""
}

func (h *fixture) bearerReason(token string) oidc.Reason {
	_, err := h.Bearer(context.Background(), token)
	return reasonOf(err)
}

// TestCache_KeyIsWholeToken (CVE-2026-35039: the key was a part of it), and an entry
// expires with its token.
func TestCache_KeyIsWholeToken(t *testing.T) {
	h := startFixture(t, nil)
	good := h.accessToken()
	for range 3 {
		if id, got := h.bearer(good); got != "" || id.Key != h.alice.OID {
			t.Fatalf("a good token gives %+v, %q", id, got)
		}
	}
	for name, token := range map[string]string{"a changed payload": tampered(good), "another signature": good[:len(good)-8] + "AAAAAAAA",
		"no signature": good[:strings.LastIndexByte(good, '.')+1], "one character more": good + "A"} {
		if _, got := h.bearer(token); got == "" {
			t.Errorf("%s is taken for the token that was good", name)
		}
	}
	short := h.entra.AccessToken(h.alice, audience, func(c entratest.Claims) { c["exp"] = time.Now().Add(time.Second).Unix() + 1 })
	if _, got := h.bearer(short); got != "" {
		t.Fatal(got)
	}
	for deadline := time.Now().Add(10 * time.Second); ; {
		if _, got := h.bearer(short); got == oidc.Expired {
			break
		} else if got != "" || time.Now().After(deadline) {
			t.Fatalf("after its end it gives %q", got)
		}
	}
}

// TestBearer_ConcurrentIdentities (CVE-2026-33496, CVE-2026-71326).
func TestBearer_ConcurrentIdentities(t *testing.T) {
	h := startFixture(t, nil)
	bob := h.entra.Add(entratest.Person{UPN: "bob@example.com"})
	tokens := map[string]string{h.accessToken(): h.alice.OID, h.entra.AccessToken(bob, audience, nil): bob.OID}
	var all sync.WaitGroup
	for token, want := range tokens {
		for range 500 {
			all.Go(func() {
				if id, err := h.Bearer(context.Background(), token); err != nil || id.Key != want {
					t.Errorf("gives %q, %v", id.Key, err)
				}
			})
		}
	}
	all.Wait()
}

func BenchmarkCachedBearer(b *testing.B) {
	h := startFixture(b, nil)
	token := h.accessToken()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := h.Bearer(context.Background(), token); err != nil {
			b.Fatal(err)
		}
	}
}
