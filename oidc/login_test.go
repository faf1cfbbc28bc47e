package oidc_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"sallyport/entratest"
	"sallyport/oidc"
)

func TestLogin(t *testing.T) {
	h := startFixture(t, nil)
	id, err := h.signIn()
	if err != nil {
		t.Fatal(err)
	}
	if id.Key != h.alice.OID || id.Issuer != h.entra.Issuer() || id.Subject == "" || id.ProviderSession == "" || id.Authenticated.IsZero() || id.App != "" {
		t.Errorf("identity is %+v", id)
	}
}

func TestBegin_AuthorizationURL(t *testing.T) {
	h := startFixture(t, nil)
	authURL, f, err := h.Begin(context.Background(), 0)
	u, _ := url.Parse(authURL)
	q := u.Query()
	sum := sha256.Sum256([]byte(f.Verifier))
	for name, want := range map[string]string{"response_type": "code", "client_id": clientID, "state": f.State, "nonce": f.Nonce,
		"code_challenge_method": "S256", "code_challenge": base64.RawURLEncoding.EncodeToString(sum[:]),
		"redirect_uri": login + "/.sallyport/callback", "scope": "openid profile email"} {
		if q.Get(name) != want {
			t.Errorf("%s is %q, want %q", name, q.Get(name), want)
		}
	}
	_, again, _ := h.Begin(context.Background(), 0)
	if err != nil || len(f.State) < 26 || f.State == again.State || f.Nonce == again.Nonce || f.Verifier == again.Verifier || strings.Contains(authURL, f.Verifier) {
		t.Errorf("the flow could be guessed: %q, %v", authURL, err)
	}
}

// TestFinish_RejectsForeignCallbacks: CSRF, mix-up, code injection, replay.
func TestFinish_RejectsForeignCallbacks(t *testing.T) {
	for name, c := range map[string]struct {
		tamper func(*oidc.Flow, url.Values)
		want   oidc.Reason
	}{
		"no state (CVE-2026-55512)":         {func(_ *oidc.Flow, q url.Values) { q.Del("state") }, oidc.WrongState},
		"another state":                     {func(_ *oidc.Flow, q url.Values) { q.Set("state", "x") }, oidc.WrongState},
		"two states":                        {func(_ *oidc.Flow, q url.Values) { q.Add("state", q.Get("state")) }, oidc.WrongState},
		"two codes":                         {func(_ *oidc.Flow, q url.Values) { q.Add("code", "x") }, oidc.WrongState},
		"an empty flow":                     {func(f *oidc.Flow, q url.Values) { *f = oidc.Flow{}; q.Set("state", "") }, oidc.WrongState},
		"another issuer (RFC 9207)":         {func(_ *oidc.Flow, q url.Values) { q.Set("iss", "https://evil.example.com") }, oidc.WrongIssuer},
		"an empty issuer":                   {func(_ *oidc.Flow, q url.Values) { q.Set("iss", "") }, oidc.WrongIssuer},
		"two issuers":                       {func(_ *oidc.Flow, q url.Values) { q["iss"] = []string{"x", "y"} }, oidc.WrongState},
		"the provider says no":              {func(_ *oidc.Flow, q url.Values) { q.Del("code"); q.Set("error", "access_denied") }, oidc.LoginRefused},
		"an error and a code":               {func(_ *oidc.Flow, q url.Values) { q.Set("error", "access_denied") }, oidc.LoginRefused},
		"the provider is in trouble":        {func(_ *oidc.Flow, q url.Values) { q.Set("error", "server_error") }, unknown},
		"the provider is busy":              {func(_ *oidc.Flow, q url.Values) { q.Set("error", "temporarily_unavailable") }, unknown},
		"no code":                           {func(_ *oidc.Flow, q url.Values) { q.Del("code") }, oidc.CodeRefused},
		"a made-up code":                    {func(_ *oidc.Flow, q url.Values) { q.Set("code", "x") }, oidc.CodeRefused},
		"another verifier (CVE-2024-23647)": {func(f *oidc.Flow, _ url.Values) { f.Verifier = strings.Repeat("v", 43) }, oidc.CodeRefused},
		"no verifier":                       {func(f *oidc.Flow, _ url.Values) { f.Verifier = "" }, oidc.CodeRefused},
		"another nonce":                     {func(f *oidc.Flow, _ url.Values) { f.Nonce = "x" }, oidc.WrongNonce},
		"no nonce":                          {func(f *oidc.Flow, _ url.Values) { f.Nonce = "" }, oidc.WrongNonce},
		"a parameter we do not know":        {func(_ *oidc.Flow, q url.Values) { q.Set("session_state", "x") }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			h := startFixture(t, nil)
			f, q := h.begin()
			c.tamper(&f, q)
			if id, err := h.Finish(context.Background(), f, q); reasonOf(err) != c.want {
				t.Errorf("login gives %+v, %v; want %q", id, err, c.want)
			}
		})
	}
}

func TestFinish_RequiresIssWhereSupported(t *testing.T) {
	h := newFixture(t)
	h.override(func(w http.ResponseWriter, r *http.Request) bool {
		return isFor(r, metadataPath) && h.rewrite(w, r, func(d map[string]any) { d["authorization_response_iss_parameter_supported"] = true })
	})
	<-h.run()
	for issuer, want := range map[string]oidc.Reason{"": oidc.WrongIssuer, h.entra.Issuer(): ""} {
		f, q := h.begin()
		if issuer != "" {
			q.Set("iss", issuer)
		}
		if _, err := h.Finish(context.Background(), f, q); reasonOf(err) != want {
			t.Errorf("iss %q gives %v", issuer, err)
		}
	}
}

// rewrite passes the response of the issuer on, with changes.
func (h *fixture) rewrite(w http.ResponseWriter, r *http.Request, change func(map[string]any)) bool {
	record := httptest.NewRecorder()
	h.entra.ServeHTTP(record, r)
	var d map[string]any
	if err := json.Unmarshal(record.Body.Bytes(), &d); err != nil {
		h.t.Error(err)
	}
	change(d)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(record.Code)
	_ = json.NewEncoder(w).Encode(d)
	return true
}

func TestFinish_CodeWorksOnce(t *testing.T) {
	h := startFixture(t, nil)
	f, q := h.begin()
	if _, err := h.Finish(context.Background(), f, q); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Finish(context.Background(), f, q); reasonOf(err) != oidc.CodeRefused {
		t.Errorf("the second time gives %v", err)
	}
}

// TestFinish_IDTokens: a valid signature does not make every ID token valid.
func TestFinish_IDTokens(t *testing.T) {
	h := startFixture(t, nil)
	set := func(name string, value any) func(entratest.Claims) {
		return func(c entratest.Claims) { c[name] = value }
	}
	without := func(name string) func(entratest.Claims) {
		return func(c entratest.Claims) { delete(c, name) }
	}
	for _, c := range []struct {
		name  string
		alter func(entratest.Claims)
		want  oidc.Reason
	}{
		{"good", nil, ""},
		{"for another application (CVE-2023-22482)", set("aud", "another"), oidc.WrongAudience},
		{"for nobody (CVE-2026-55689)", without("aud"), oidc.WrongAudience},
		{"for us and another, without azp", set("aud", []string{clientID, "another"}), oidc.WrongParty},
		{"for us and another, issued to us", func(c entratest.Claims) { c["aud"], c["azp"] = []string{"another", clientID}, clientID }, ""},
		{"issued to another (CVE-2024-5798)", set("azp", "another"), oidc.WrongParty},
		{"of another issuer", set("iss", "https://evil.example.com"), oidc.WrongIssuer},
		{"of another tenant (nOAuth)", set("tid", "00000000-0000-4000-8000-000000000000"), oidc.WrongTenant},
		{"another nonce (GHSA-xc49)", set("nonce", "x"), oidc.WrongNonce},
		{"no nonce", without("nonce"), oidc.WrongNonce},
		{"expired", set("exp", time.Now().Add(-time.Second).Unix()), oidc.Expired},
		{"no exp", without("exp"), oidc.Expired},
		{"of the future", set("nbf", time.Now().Add(time.Hour).Unix()), oidc.NotYetValid},
		{"a clock ten seconds fast", set("iat", time.Now().Add(10*time.Second).Unix()), ""},
		{"no iat", without("iat"), oidc.ClaimMissing},
		{"no sub", without("sub"), oidc.ClaimMissing},
		{"no oid (CVE-2026-23990)", without("oid"), oidc.ClaimMissing},
		{"a hash of another access token", set("at_hash", "AAAAAAAAAAAAAAAAAAAAAA"), oidc.BadSignature},
		{"carol's addresses, on alice (CVE-2023-3128, CVE-2026-40574)", func(c entratest.Claims) {
			c["email"], c["upn"], c["preferred_username"], c["email_verified"] = "carol@example.com", "carol@example.com", "carol@example.com", "true"
		}, ""},
		{"groups, that give nothing", set("groups", []string{"admins"}), ""},
		{"more groups than fit, at an address that is not asked", func(c entratest.Claims) {
			c["_claim_names"], c["_claim_sources"] = map[string]any{"groups": "src1"}, map[string]any{"src1": map[string]any{"endpoint": "https://evil.example.com"}}
		}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			h.entra.Alter(c.alter)
			id, err := h.signIn()
			if reasonOf(err) != c.want || c.want == "" && id.Key != h.alice.OID {
				t.Errorf("login gives %+v, %v; want %q", id, err, c.want)
			}
		})
	}
}

// TestFinish_TokenEndpoint: odd token responses. Only an explicit invalid_grant, or an
// invalid ID token, is a refusal.
func TestFinish_TokenEndpoint(t *testing.T) {
	h := startFixture(t, nil)
	var nonce string
	respond := func(status int, contentType, body string) override {
		return func(w http.ResponseWriter, r *http.Request) bool {
			w.Header().Set("Content-Type", contentType)
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
			return true
		}
	}
	respondWithToken := func(idToken func() string, access string) override {
		return func(w http.ResponseWriter, r *http.Request) bool {
			body, _ := json.Marshal(map[string]any{"token_type": "Bearer", "access_token": access, "id_token": idToken()})
			return respond(http.StatusOK, "application/json", string(body))(w, r)
		}
	}
	id := func(alter func(entratest.Claims)) string { return h.entra.IDToken(h.alice, nonce, alter) }
	sum := sha256.Sum256([]byte("access"))
	hash := base64.RawURLEncoding.EncodeToString(sum[:16])
	hashed := func() string { return id(func(c entratest.Claims) { c["at_hash"] = hash }) }
	for _, c := range []struct {
		name     string
		override override
		want     oidc.Reason
	}{
		{"a hash that is right", respondWithToken(hashed, "access"), ""},
		{"a hash of another token", respondWithToken(hashed, "another"), oidc.BadSignature},
		{"no ID token", respond(200, "application/json", `{"access_token":"x","token_type":"Bearer"}`), unknown},
		{"an ID token that is no text", respond(200, "application/json", `{"access_token":"x","token_type":"Bearer","id_token":7}`), unknown},
		{"alg none", respondWithToken(func() string { return h.entra.Unsigned(entratest.Claims{"nonce": nonce}) }, "x"), oidc.AlgRefused},
		{"HS256 by the public key (CVE-2026-34950)", respondWithToken(func() string { return h.entra.Confused(entratest.Claims{"nonce": nonce}) }, "x"), oidc.AlgRefused},
		{"an encrypted one (CVE-2024-28180)", respondWithToken(func() string { return "e30.e30.e30.e30.e30" }, "x"), oidc.Malformed},
		{"a logout token", respondWithToken(func() string {
			return h.entra.Sign(entratest.Claims{"nonce": nonce, "aud": clientID}, map[string]any{"typ": "logout+jwt"})
		}, "x"), oidc.WrongType},
		{"an access token", respondWithToken(func() string { return h.accessToken() }, "x"), oidc.WrongAudience},
		{"another's key (CVE-2018-0114)", respondWithToken(func() string { return h.entra.Forged(entratest.Claims{"nonce": nonce}) }, "x"), oidc.BadSignature},
		{"invalid_grant", respond(400, "application/json", `{"error":"invalid_grant"}`), oidc.CodeRefused},
		{"our secret is wrong", respond(401, "application/json", `{"error":"invalid_client"}`), unknown},
		{"too many requests", respond(429, "text/html", "slow down"), unknown},
		{"a fault of its own", respond(500, "text/html", "<h1>oops</h1>"), unknown},
		{"a page", respond(200, "text/html", "<h1>hello</h1>"), unknown},
		{"a right answer after a megabyte (CVE-2025-66506)", func(w http.ResponseWriter, r *http.Request) bool {
			_, _ = w.Write([]byte(strings.Repeat(" ", 1<<20)))
			return false
		}, unknown},
		{"elsewhere (CVE-2026-49478)", func(w http.ResponseWriter, r *http.Request) bool {
			http.Redirect(w, r, "https://"+r.Host+"/another/token", http.StatusTemporaryRedirect)
			return true
		}, unknown},
	} {
		t.Run(c.name, func(t *testing.T) {
			strayed := false
			h.override(func(w http.ResponseWriter, r *http.Request) bool {
				strayed = strayed || strings.HasPrefix(r.URL.Path, "/another")
				return isFor(r, tokenPath) && c.override(w, r)
			})
			f, q := h.begin()
			nonce = f.Nonce
			if id, err := h.Finish(context.Background(), f, q); reasonOf(err) != c.want || strayed {
				t.Errorf("login gives %+v, %v; want %q; followed: %v", id, err, c.want, strayed)
			}
		})
	}
}

// TestFinish_ConcurrentIdentities: a thousand concurrent logins keep their identities
// (CVE-2026-71326, CVE-2026-33544).
func TestFinish_ConcurrentIdentities(t *testing.T) {
	h := startFixture(t, nil)
	h.entra.SignIn("")
	gate := make(chan struct{}, 64)
	var all sync.WaitGroup
	for i := range 1000 {
		person := h.entra.Add(entratest.Person{UPN: fmt.Sprintf("p%d@example.com", i)})
		all.Go(func() {
			gate <- struct{}{}
			defer func() { <-gate }()
			authURL, f, err := h.Begin(context.Background(), 0)
			if err != nil {
				t.Error(err)
				return
			}
			id, err := h.Finish(context.Background(), f, h.authorize(authURL+"&account="+person.OID))
			if err != nil || id.Key != person.OID {
				t.Errorf("%s is %+v, %v", person.UPN, id, err)
			}
		})
	}
	all.Wait()
}

// TestBegin_UsesNoMemory: abandoned logins cost no memory (CVE-2026-67437).
func TestBegin_UsesNoMemory(t *testing.T) {
	h := startFixture(t, nil)
	before := heap()
	for range 100_000 {
		if _, _, err := h.Begin(context.Background(), 0); err != nil {
			t.Fatal(err)
		}
	}
	if grown := int64(heap()) - int64(before); grown > 1<<20 {
		t.Errorf("memory grew by %d bytes", grown)
	}
}

// heap returns the number of bytes in use.
func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func TestLogoutURL(t *testing.T) {
	h := startFixture(t, nil)
	query := func(o oidc.LogoutRequest) url.Values {
		u, err := url.Parse(h.LogoutURL(o))
		if err != nil || !isFor(&http.Request{URL: u}, "/logout") {
			t.Fatalf("logout leads to %v, %v", u, err)
		}
		return u.Query()
	}
	q := query(oidc.LogoutRequest{ReturnTo: login + "/"})
	if q.Get("post_logout_redirect_uri") != login+"/" || q.Get("client_id") != clientID || q.Has("id_token_hint") || q.Has("state") {
		t.Errorf("%v", q)
	}
	q = query(oidc.LogoutRequest{IDToken: "a.b.c", ReturnTo: login + "/", State: "s"})
	if q.Get("id_token_hint") != "a.b.c" || q.Get("state") != "s" || q.Get("post_logout_redirect_uri") != login+"/" {
		t.Errorf("%v", q)
	}
}
