package entratest_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"sallyport/entratest"
)

const (
	clientID = "5a111900-0000-4000-8000-000000000001"
	secret   = "the client secret"
	redirect = "https://login.example.com/callback"
	verifier = "0123456789012345678901234567890123456789012"
)

// fixture is a tenant served over TLS, with a browser that follows no redirects.
type fixture struct {
	*entratest.Tenant
	t      *testing.T
	client *http.Client
	alice  entratest.Person
}

func newOffice(t *testing.T) *fixture {
	t.Helper()
	o := &fixture{t: t}
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { o.ServeHTTP(w, r) }))
	t.Cleanup(server.Close)
	o.Tenant = entratest.New(server.URL, entratest.App{ClientID: clientID, Secret: secret, RedirectURIs: []string{redirect}})
	o.alice = o.Add(entratest.Person{UPN: "alice@example.com", Name: "Alice <b>Ng</b>"})
	o.client = server.Client()
	o.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return o
}

func (o *fixture) endpoint(name string) string {
	return strings.TrimSuffix(o.Issuer(), "/v2.0") + "/oauth2/v2.0/" + name
}

func (o *fixture) read(resp *http.Response, err error) (*http.Response, string) {
	o.t.Helper()
	if err != nil {
		o.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		o.t.Fatal(err)
	}
	return resp, string(body)
}

// authorizeQuery returns a valid authorization request.
func authorizeQuery() url.Values {
	sum := sha256.Sum256([]byte(verifier))
	return url.Values{"client_id": {clientID}, "redirect_uri": {redirect}, "response_type": {"code"}, "scope": {"openid profile"},
		"state": {"s"}, "nonce": {"n"}, "code_challenge_method": {"S256"}, "code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}}
}

// back returns the query of the callback.
func (o *fixture) back(q url.Values) url.Values {
	o.t.Helper()
	resp, body := o.read(o.client.Get(o.endpoint("authorize") + "?" + q.Encode()))
	to, err := resp.Location()
	if err != nil {
		o.t.Fatalf("%s: %s", resp.Status, body)
	}
	return to.Query()
}

// form returns a valid token request with a new code of alice.
func (o *fixture) form() url.Values {
	o.SignIn(o.alice.OID)
	return url.Values{"grant_type": {"authorization_code"}, "code": {o.back(authorizeQuery()).Get("code")}, "redirect_uri": {redirect},
		"code_verifier": {verifier}, "client_id": {clientID}, "client_secret": {secret}}
}

func (o *fixture) exchange(form url.Values) (status int, tokens map[string]any) {
	o.t.Helper()
	resp, body := o.read(o.client.PostForm(o.endpoint("token"), form))
	if err := json.Unmarshal([]byte(body), &tokens); err != nil {
		o.t.Fatal(err)
	}
	return resp.StatusCode, tokens
}

func claimsOf(t *testing.T, token any) (claims map[string]any) {
	t.Helper()
	text, _ := token.(string)
	parts := strings.Split(text, ".")
	if len(parts) != 3 {
		t.Fatalf("%v is no JWT", token)
	}
	data, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err == nil {
		err = json.Unmarshal(data, &claims)
	}
	if err != nil {
		t.Fatal(err)
	}
	return claims
}

func TestToken_CodeForTokens(t *testing.T) {
	o := newOffice(t)
	status, tokens := o.exchange(o.form())
	if status != http.StatusOK {
		t.Fatalf("%d: %v", status, tokens)
	}
	claims := claimsOf(t, tokens["id_token"])
	want := []string{"aio", "aud", "email", "exp", "iat", "iss", "name", "nbf", "nonce", "oid", "preferred_username", "rh", "sid", "sub", "tid", "uti", "ver"}
	if got := slices.Sorted(maps.Keys(claims)); !slices.Equal(got, want) {
		t.Errorf("claims are %v\nwant       %v", got, want)
	}
	if claims["aud"] != clientID || claims["iss"] != o.Issuer() || claims["oid"] != o.alice.OID || claims["nonce"] != "n" || claims["tid"] != o.ID || claims["sub"] == o.alice.OID {
		t.Errorf("claims are %v", claims)
	}
}

func TestAuthorize_RejectsBadRequests(t *testing.T) {
	o := newOffice(t)
	o.SignIn(o.alice.OID)
	for name, alter := range map[string]func(url.Values){
		"AADSTS700016":  func(q url.Values) { q.Set("client_id", "another") },
		"AADSTS50011":   func(q url.Values) { q.Set("redirect_uri", redirect+"/") },
		"AADSTS50011 ":  func(q url.Values) { q.Set("redirect_uri", strings.ToUpper(redirect)) },
		"AADSTS50011  ": func(q url.Values) { q.Del("redirect_uri") },
		"AADSTS700054":  func(q url.Values) { q.Set("response_type", "code id_token") },
		"AADSTS501481":  func(q url.Values) { q.Del("code_challenge") },
		"AADSTS501481 ": func(q url.Values) { q.Set("code_challenge_method", "plain") },
		"AADSTS900144":  func(q url.Values) { q.Set("scope", "profile") },
		"AADSTS9000411": func(q url.Values) { q.Add("nonce", "m") },
		"a state":       func(q url.Values) { q.Del("state") },
		"a state ":      func(q url.Values) { q.Del("nonce") },
	} {
		q := authorizeQuery()
		alter(q)
		resp, body := o.read(o.client.Get(o.endpoint("authorize") + "?" + q.Encode()))
		if resp.StatusCode != http.StatusBadRequest || !strings.HasPrefix(body, strings.TrimSpace(name)) {
			t.Errorf("%s: responds %s: %s", name, resp.Status, body)
		}
	}
}

func TestToken_RejectsBadRequests(t *testing.T) {
	o := newOffice(t)
	for name, c := range map[string]struct {
		alter func(url.Values)
		want  string
	}{
		"wrong secret":         {func(f url.Values) { f.Set("client_secret", "x") }, "invalid_client"},
		"no secret":            {func(f url.Values) { f.Del("client_secret") }, "invalid_client"},
		"another client":       {func(f url.Values) { f.Set("client_id", "x") }, "invalid_client"},
		"no code":              {func(f url.Values) { f.Del("code") }, "invalid_grant"},
		"a made-up code":       {func(f url.Values) { f.Set("code", "x") }, "invalid_grant"},
		"another redirect URI": {func(f url.Values) { f.Set("redirect_uri", redirect+"/") }, "invalid_grant"},
		"no verifier":          {func(f url.Values) { f.Del("code_verifier") }, "invalid_grant"},
		"another verifier":     {func(f url.Values) { f.Set("code_verifier", strings.Repeat("v", 43)) }, "invalid_grant"},
		"another grant":        {func(f url.Values) { f.Set("grant_type", "password") }, "unsupported_grant_type"},
		"a code twice":         {func(f url.Values) { f.Add("code", "x") }, "invalid_request"},
	} {
		form := o.form()
		c.alter(form)
		if status, tokens := o.exchange(form); status < 400 || tokens["error"] != c.want || tokens["id_token"] != nil {
			t.Errorf("%s: responds %d, %v", name, status, tokens)
		}
	}
}

func TestToken_FailedRequestUsesCodeUp(t *testing.T) {
	o := newOffice(t)
	form := o.form()
	wrong := maps.Clone(form)
	wrong["code_verifier"] = []string{strings.Repeat("v", 43)}
	o.exchange(wrong)
	if status, tokens := o.exchange(form); status != http.StatusBadRequest || tokens["error"] != "invalid_grant" {
		t.Errorf("responds %d, %v", status, tokens)
	}
}

func TestAuthorize_DeniesAccounts(t *testing.T) {
	o := newOffice(t)
	off := o.Add(entratest.Person{UPN: "off@example.com", Disabled: true})
	for who, want := range map[string]string{off.OID: "access_denied", "nobody": "access_denied"} {
		o.SignIn(who)
		if back := o.back(authorizeQuery()); back.Get("error") != want || back.Has("code") || back.Get("state") != "s" {
			t.Errorf("%s: comes back with %v", who, back)
		}
	}
	o.SignIn("")
	q := authorizeQuery()
	q.Set("prompt", "none")
	if back := o.back(q); back.Get("error") != "login_required" {
		t.Errorf("nobody, silently: comes back with %v", back)
	}
}

// TestAuthorize_AsksForTheAccount: with prompt=select_account, a person who is signed in is asked too.
func TestAuthorize_AsksForTheAccount(t *testing.T) {
	o := newOffice(t)
	o.SignIn(o.alice.OID)
	q := authorizeQuery()
	if back := o.back(q); !back.Has("code") {
		t.Errorf("without a prompt: comes back with %v", back)
	}
	q.Set("prompt", "select_account")
	if _, page := o.read(o.client.Get(o.endpoint("authorize") + "?" + q.Encode())); !strings.Contains(page, `name="account" value="`+o.alice.OID+`"`) {
		t.Errorf("page is %s", page)
	}
	q.Set("prompt", "select_account login")
	if resp, page := o.read(o.client.Get(o.endpoint("authorize") + "?" + q.Encode())); resp.StatusCode != http.StatusBadRequest || !strings.Contains(page, "AADSTS90023") {
		t.Errorf("an unknown prompt: %s %s", resp.Status, page)
	}
}

func TestAuthorize_ShowsAccounts(t *testing.T) {
	o := newOffice(t)
	resp, page := o.read(o.client.Get(o.endpoint("authorize") + "?" + authorizeQuery().Encode()))
	policy := resp.Header.Get("Content-Security-Policy")
	if resp.StatusCode != http.StatusOK || !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "script-src") {
		t.Errorf("responds %s with the policy %q", resp.Status, policy)
	}
	if !strings.Contains(page, `name="account" value="`+o.alice.OID+`"`) || strings.Contains(page, "<b>Ng") || strings.Contains(page, "<script") {
		t.Errorf("page is %s", page)
	}
	form := authorizeQuery()
	form.Set("account", o.alice.OID)
	resp, _ = o.read(o.client.PostForm(o.endpoint("authorize"), form))
	if to, err := resp.Location(); err != nil || to.Query().Get("code") == "" {
		t.Errorf("a click responds %s, %v", resp.Status, to)
	}
}

func TestLogout_RedirectsToRegisteredURIs(t *testing.T) {
	o := newOffice(t)
	for to, want := range map[string]int{redirect: http.StatusFound, "https://evil.example.com/": http.StatusOK, "": http.StatusOK} {
		resp, _ := o.read(o.client.Get(o.endpoint("logout") + "?post_logout_redirect_uri=" + url.QueryEscape(to)))
		if resp.StatusCode != want {
			t.Errorf("to %q: responds %s", to, resp.Status)
		}
	}
	resp, _ := o.read(o.client.Get(o.endpoint("logout") + "?state=a%26b&post_logout_redirect_uri=" + url.QueryEscape(redirect)))
	if to, err := resp.Location(); err != nil || to.Query().Get("state") != "a&b" {
		t.Errorf("the state does not come back: %v, %v", to, err)
	}
}

func TestKeys_RotateAndWithdraw(t *testing.T) {
	o := newOffice(t)
	published := func() int {
		_, body := o.read(o.client.Get(strings.TrimSuffix(o.Issuer(), "/v2.0") + "/discovery/v2.0/keys"))
		if strings.Contains(body, `"d"`) {
			t.Error("a private key is published")
		}
		return strings.Count(body, `"kid"`)
	}
	counts := []int{published()}
	o.Rotate()
	counts = append(counts, published())
	o.Withdraw()
	counts = append(counts, published())
	if !slices.Equal(counts, []int{1, 2, 1}) || o.KeyFetches() != 3 {
		t.Errorf("keys published: %v in %d fetches", counts, o.KeyFetches())
	}
}
