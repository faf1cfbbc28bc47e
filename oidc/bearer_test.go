package oidc_test

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"sallyport/entratest"
	"sallyport/oidc"
)

// TestBearer_AccessTokens has a row for each fault that some product had.
func TestBearer_AccessTokens(t *testing.T) {
	h := startFixture(t, nil)
	access := func(alter func(entratest.Claims)) string { return h.entra.AccessToken(h.alice, audience, alter) }
	set := func(name string, value any) string {
		return access(func(c entratest.Claims) { c[name] = value })
	}
	without := func(name string) string { return access(func(c entratest.Claims) { delete(c, name) }) }
	claims := func() entratest.Claims { return h.entra.Claims(h.alice, audience) }
	header := func(name string, value any) string { return h.entra.Sign(claims(), map[string]any{name: value}) }
	now := time.Now()
	for _, c := range []struct {
		name, token string
		want        oidc.Reason // "" for a good one
	}{
		{"good", access(nil), ""},
		{"audience in a list", set("aud", []string{"api://other", audience}), ""},
		{"audience of another API (CVE-2023-22482)", set("aud", "api://other"), oidc.WrongAudience},
		{"no audience (CVE-2026-55689)", without("aud"), oidc.WrongAudience},
		{"an empty audience (CVE-2020-26160)", set("aud", []string{}), oidc.WrongAudience},
		{"audience in another case", set("aud", "API://sallyport"), oidc.WrongAudience},
		{"audience with more to it (CVE-2024-5798)", set("aud", audience+"/x"), oidc.WrongAudience},
		{"the login's own audience", set("aud", clientID), oidc.WrongAudience},
		{"no issuer", without("iss"), oidc.WrongIssuer},
		{"issuer with a slash", set("iss", h.entra.Issuer()+"/"), oidc.WrongIssuer},
		{"issuer in another case", set("iss", strings.ToUpper(h.entra.Issuer())), oidc.WrongIssuer},
		{"a list of issuers (CVE-2024-8901)", set("iss", []string{h.entra.Issuer()}), oidc.Malformed},
		{"version 1.0", h.entra.AccessTokenV1(h.alice, audience, nil), oidc.WrongVersion},
		{"another tenant (nOAuth)", set("tid", "00000000-0000-0000-0000-000000000000"), oidc.WrongTenant},
		{"no tenant", without("tid"), oidc.WrongTenant},
		{"expired", set("exp", now.Add(-time.Second).Unix()), oidc.Expired},
		{"no exp", without("exp"), oidc.Expired},
		{"exp of null", set("exp", nil), oidc.Expired},
		{"exp as text", set("exp", "9999999999"), oidc.Malformed},
		{"a time beyond all times", set("exp", 1e300), oidc.Malformed},
		{"the latest time that is accepted", set("exp", 1<<40), ""},
		{"one second beyond it", set("exp", 1<<40+1), oidc.Malformed},
		{"not valid yet", set("nbf", now.Add(time.Hour).Unix()), oidc.NotYetValid},
		{"issued in the future", set("iat", now.Add(time.Hour).Unix()), oidc.NotYetValid},
		{"a clock ten seconds fast", set("nbf", now.Add(10*time.Second).Unix()), ""},
		{"an ID token (CVE-2026-55669)", h.entra.IDToken(h.alice, "n", nil), oidc.NotForAPIs},
		{"an ID token for the API", h.entra.IDToken(h.alice, "n", func(c entratest.Claims) { c["aud"] = audience }), oidc.NotForAPIs},
		{"an ID token without a nonce", h.entra.IDToken(h.alice, "n", func(c entratest.Claims) { delete(c, "nonce") }), oidc.NotForAPIs},
		{"a token for Microsoft Graph", h.entra.GraphToken(h.alice), oidc.NotForAPIs},
		{"a logout token", header("typ", "logout+jwt"), oidc.WrongType},
		{"a type that is no text", header("typ", 7), oidc.WrongType},
		{"the type of RFC 9068", header("typ", "application/at+JWT"), ""},
		{"no user claim (CVE-2026-23990)", without("oid"), oidc.ClaimMissing},
		{"a user claim that is no text", set("oid", 7), oidc.ClaimMissing},
		{"an empty user claim", set("oid", ""), oidc.ClaimMissing},
		{"a user claim without end", set("oid", strings.Repeat("x", 1025)), oidc.ClaimMissing},
		{"a user claim in capitals", access(func(c entratest.Claims) { c["OID"] = c["oid"]; delete(c, "oid") }), oidc.ClaimMissing},
		{"an audience in capitals", access(func(c entratest.Claims) { c["AUD"] = c["aud"]; c["aud"] = "api://other" }), oidc.WrongAudience},
		{"claims of odd types", set("aud", map[string]any{"a": 1}), oidc.Malformed},
		{"PS256", h.entra.SignPSS(claims()), ""},
		{"alg none", h.entra.Unsigned(claims()), oidc.AlgRefused},
		{"HS256 by the public key (CVE-2026-33322, CVE-2026-34950)", h.entra.Confused(claims()), oidc.AlgRefused},
		{"a key of its own in the header (CVE-2018-0114)", h.entra.Forged(claims()), oidc.BadSignature},
		{"an unknown key", entratest.Garbage("another", claims()), oidc.KeyUnknown},
		{"no key", entratest.Garbage("", claims()), oidc.KeyUnknown},
		{"a path for a key (CVE-2026-38651)", entratest.Garbage("../../../../dev/null", claims()), unknown}, // right after another one, so it is not looked up
		{"a changed payload", tampered(access(nil)), oidc.BadSignature},
		{"no signature", access(nil)[:strings.LastIndexByte(access(nil), '.')+1], oidc.BadSignature},
		{"critical extensions", header("crit", []string{"b64"}), oidc.Malformed},
		{"a payload that is not encoded", header("b64", false), oidc.Malformed},
		{"encrypted (CVE-2024-28180)", "e30.e30.e30.e30.e30", oidc.Malformed},
		{"more than 16 KiB", set("filler", strings.Repeat("x", 16<<10)), oidc.Malformed},
		{"two parts", "a.b", oidc.Malformed},
		{"empty", "", oidc.Malformed},
		{"JSON (CVE-2026-34986)", `{"payload":"e30","protected":"a.b.c","signature":""}`, oidc.Malformed},
		{"with a line's end", access(nil) + "\n", oidc.Malformed},
		{"with a line's end in it", "\n" + access(nil), oidc.Malformed},
	} {
		t.Run(c.name, func(t *testing.T) {
			id, got := h.bearer(c.token)
			if got != c.want || c.want == "" && (id.Key != h.alice.OID || id.App != "") {
				t.Errorf("gives %+v, %q; want %q", id, got, c.want)
			}
		})
	}
}

// tampered returns the token with another payload under the same signature.
func tampered(token string) string {
	parts := strings.Split(token, ".")
	parts[1] = parts[1][:20] + "AAAA" + parts[1][24:]
	return strings.Join(parts, ".")
}

// TestBearer_IgnoresEmail: a token of alice that has the address of carol still
// identifies alice (CVE-2023-3128, CVE-2026-55075, nOAuth).
func TestBearer_IgnoresEmail(t *testing.T) {
	h := startFixture(t, nil)
	token := h.entra.AccessToken(h.alice, audience, func(c entratest.Claims) {
		c["email"], c["upn"], c["preferred_username"], c["email_verified"] = "carol@example.com", "carol@example.com", "carol@example.com", "true"
	})
	if id, got := h.bearer(token); got != "" || id.Key != h.alice.OID {
		t.Errorf("identity is %+v, %q", id, got)
	}
}

// TestBearer_ClientIDAsAudience: with one registration for login and API, Entra's
// access tokens have the client ID as audience, like ID tokens.
func TestBearer_ClientIDAsAudience(t *testing.T) {
	h := startFixture(t, func(s *oidc.Settings) { s.APIAudiences = []string{clientID} })
	app := "7a111900-0000-4000-8000-000000000007"
	for _, c := range []struct {
		name, token string
		want        oidc.Reason
	}{
		{"an access token", h.entra.AccessToken(h.alice, clientID, nil), ""},
		{"an application's, without roles", h.entra.AppToken(app, "8a111900-0000-4000-8000-000000000008", clientID, func(c entratest.Claims) { delete(c, "roles") }), ""},
		{"an ID token", h.entra.IDToken(h.alice, "n", nil), oidc.NotForAPIs},
		{"an ID token without a nonce", h.entra.IDToken(h.alice, "n", func(c entratest.Claims) { delete(c, "nonce") }), oidc.NotForAPIs},
		{"an ID token that names its party", h.entra.IDToken(h.alice, "n", func(c entratest.Claims) { delete(c, "nonce"); c["azp"] = clientID }), oidc.NotForAPIs},
	} {
		if id, got := h.bearer(c.token); got != c.want {
			t.Errorf("%s gives %+v, %q", c.name, id, got)
		}
	}
}

func TestBearer_DistinguishesApplications(t *testing.T) {
	h := startFixture(t, nil)
	const app, principal = "7a111900-0000-4000-8000-000000000007", "8a111900-0000-4000-8000-000000000008"
	for name, alter := range map[string]func(entratest.Claims){
		"as Entra does by default": nil,
		"by idtyp":                 func(c entratest.Claims) { c["idtyp"], c["sub"] = "app", "x" },
	} {
		id, got := h.bearer(h.entra.AppToken(app, principal, audience, alter))
		if got != "" || id.App != app || id.Key != principal || len(id.Roles) != 1 {
			t.Errorf("%s: %+v, %q", name, id, got)
		}
	}
}

func TestBearer_RejectsWithoutAudiences(t *testing.T) {
	h := startFixture(t, func(s *oidc.Settings) { s.APIAudiences = nil })
	for _, token := range []string{h.accessToken(), h.entra.AccessToken(h.alice, "", nil)} {
		_, err := h.Bearer(context.Background(), token)
		if reasonOf(err) != oidc.WrongAudience || !strings.Contains(err.Error(), "api_audiences") {
			t.Errorf("gives %v", err)
		}
	}
}

// TestBearer_BoundsParsing: hostile tokens cost at most a mebibyte of allocations.
func TestBearer_BoundsParsing(t *testing.T) {
	h := startFixture(t, nil)
	part := func(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }
	good := part(`{"alg":"RS256","kid":"x"}`)
	for name, token := range map[string]string{
		"many dots (CVE-2025-30204, CVE-2025-22868)": strings.Repeat(".", 16<<10),
		"huge (CVE-2025-66506)":                      strings.Repeat("x", 1<<20),
		"huge with two dots":                         strings.Repeat("x.", 2) + strings.Repeat("x", 1<<20),
		"a deep header":                              part(strings.Repeat(`{"a":`, 1900)+"1"+strings.Repeat("}", 1900)) + ".e30.e30",
		"a header of lists":                          part(strings.Repeat("[", 12_000)) + ".e30.e30",
		"deep claims":                                good + "." + part(strings.Repeat("[", 12_000)) + ".e30",
		"a header of spaces (CVE-2025-27144)":        part(strings.Repeat(" ", 12_000)+`{"alg":"RS256"}`) + ".e30.e30",
		"an encrypted key's iterations (GHSA-2c7c)":  part(`{"alg":"PBES2-HS512+A256KW","enc":"A256GCM","p2c":2147483647}`) + ".e30.e30.e30.e30",
		"a zip (CVE-2024-28180)":                     part(`{"alg":"dir","enc":"A256GCM","zip":"DEF"}`) + ".e30.e30.e30.e30",
	} {
		const times = 20
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range times {
			if _, got := h.bearer(token); got == "" || got == unknown {
				t.Errorf("%s gives %q", name, got)
			}
		}
		runtime.ReadMemStats(&after)
		if each := (after.TotalAlloc - before.TotalAlloc) / times; each > 1<<20 {
			t.Errorf("%s costs %d bytes", name, each)
		}
	}
}

// TestBearer_FetchesNothingThatTokensName, only the provider's own endpoints (CVE-2025-59936,
// CVE-2026-32301, CVE-2025-52477).
func TestBearer_FetchesNothingThatTokensName(t *testing.T) {
	h := startFixture(t, nil)
	asked := make(chan string, 100)
	h.override(func(_ http.ResponseWriter, r *http.Request) bool { asked <- r.URL.Path; return false })
	elsewhere := strings.TrimSuffix(h.entra.Issuer(), "/v2.0") + "/elsewhere"
	for _, name := range []string{"jku", "x5u"} {
		claims := h.entra.Claims(h.alice, audience)
		claims["_claim_sources"] = map[string]any{"src1": map[string]any{"endpoint": elsewhere}}
		h.bearer(h.entra.Sign(claims, map[string]any{name: elsewhere}))
		claims["iss"] = elsewhere
		h.bearer(h.entra.Sign(claims, map[string]any{name: elsewhere, "kid": elsewhere}))
	}
	close(asked)
	for path := range asked {
		if !strings.HasSuffix(path, keysPath) {
			t.Errorf("asked for %s", path)
		}
	}
}

func BenchmarkBearer(b *testing.B) {
	h := startFixture(b, nil)
	tokens := make([]string, 20_000) // more than are remembered
	for i := range tokens {
		tokens[i] = h.accessToken()
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, err := h.Bearer(context.Background(), tokens[i%len(tokens)]); err != nil {
			b.Fatal(err)
		}
	}
}

// FuzzBearer: no text that the provider did not sign for us is taken, whatever it is.
// A key id that is made up may not be looked up at once.
func FuzzBearer(f *testing.F) {
	h := startFixture(f, nil)
	claims := h.entra.Claims(h.alice, audience)
	f.Add(h.entra.AccessToken(h.alice, "api://other", nil))
	f.Add(h.entra.IDToken(h.alice, "n", nil))
	f.Add(h.entra.GraphToken(h.alice))
	f.Add(h.entra.Unsigned(claims))
	f.Add(h.entra.Confused(claims))
	f.Add(h.entra.Forged(claims))
	f.Add(entratest.Garbage("x", claims))
	f.Add(tampered(h.accessToken()))
	f.Add("a.b.c")
	f.Add("e30.e30.")
	f.Add("eyJhbGciOiJSUzI1NiIsImNyaXQiOlsiYjY0Il19.e30.e30")
	f.Fuzz(func(t *testing.T, token string) {
		if id, err := h.Bearer(context.Background(), token); reasonOf(err) == "" || reasonOf(err) == unknown && !errors.Is(err, oidc.ErrNotLookedUp) {
			t.Errorf("gives %+v, %v", id, err)
		}
	})
}

func TestBearer_UserClaimLength(t *testing.T) {
	h := startFixture(t, nil)
	for length, want := range map[int]oidc.Reason{1024: "", 1025: oidc.ClaimMissing} {
		oid := strings.Repeat("a", length)
		token := h.entra.AccessToken(h.alice, audience, func(c entratest.Claims) { c["oid"] = oid })
		if id, got := h.bearer(token); got != want || got == "" && id.Key != oid {
			t.Errorf("a claim of %d bytes gives %q, want %q", length, got, want)
		}
	}
}
