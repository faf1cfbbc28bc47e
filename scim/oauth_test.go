package scim_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"sallyport/scim"
)

// issuer accepts one token, of the application "app"; it cannot tell about "broken.jwt".
type issuer struct{}

func (issuer) Client(_ context.Context, token string) (string, error) {
	switch token {
	case "good.jwt":
		return "app", nil
	case "broken.jwt":
		return "", errors.New("the keys cannot be fetched")
	}
	return "", nil
}

var federated = scim.Settings{OAuth: &scim.OAuth{Issuer: "https://issuer.example", Audiences: []string{"api://scim"}, ClientIDs: []string{"app"}}}

func serveFederated(t *testing.T) (*client, *tenant) {
	t.Helper()
	base, token, d, _ := serveFor(t, federated, issuer{})
	return &client{t, base, token}, d
}

// TestWorkload_TokensAreAccepted: RFC 6749 §4.4.
func TestWorkload_TokensAreAccepted(t *testing.T) {
	c, _ := serveFederated(t)
	for token, want := range map[string]int{"good.jwt": 200, "bad.jwt": 401, "broken.jwt": 503, "": 401, c.token: 200} {
		if resp, _ := (&client{t, c.base, token}).do("GET", "/Users", ""); resp.StatusCode != want {
			t.Errorf("%q: status %d, want %d", token, resp.StatusCode, want)
		}
	}
	if resp, _ := (&client{t, c.base, "good.jwt"}).do("POST", "/Users", `{"userName":"u"}`); resp.StatusCode != http.StatusCreated {
		t.Errorf("a push: status %d", resp.StatusCode)
	}
}

// requestToken sends a request to the token endpoint.
func (c *client) requestToken(form url.Values, header http.Header) (int, map[string]any) {
	c.t.Helper()
	req, err := http.NewRequest(http.MethodPost, strings.TrimSuffix(c.base, "/v2")+"/token", strings.NewReader(form.Encode()))
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header = header.Clone()
	if req.Header.Get("Content-Type") == "" {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	var result map[string]any
	if err := json.NewDecoder(resp.Body).Decode(&result); err != nil {
		c.t.Fatal(err)
	}
	if resp.Header.Get("Cache-Control") != "no-store" {
		c.t.Error("a token may be cached")
	}
	return resp.StatusCode, result
}

// TestTokenEndpoint: RFC 6749 §4.4 and §5.2, RFC 7523 §2.2.
func TestTokenEndpoint(t *testing.T) {
	c, d := serveFederated(t)
	minted, secret, err := d.mint("gallery", 0)
	if err != nil {
		t.Fatal(err)
	}
	_, expired, err := d.mint("expired", time.Nanosecond)
	if err != nil {
		t.Fatal(err)
	}
	grant := func(pairs ...string) url.Values {
		form := url.Values{"grant_type": {"client_credentials"}}
		for i := 0; i < len(pairs); i += 2 {
			form.Add(pairs[i], pairs[i+1])
		}
		return form
	}
	const jwt = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
	basic := &http.Request{Header: http.Header{}}
	basic.SetBasicAuth("gallery", secret)
	good := map[string]string{}
	for _, x := range []struct {
		name   string
		form   url.Values
		header http.Header
		status int
		kind   string
	}{
		{"a secret by the token's name", grant("client_id", "gallery", "client_secret", secret), http.Header{}, 200, ""},
		{"a secret by the token's id", grant("client_id", minted.ID, "client_secret", secret), http.Header{}, 200, ""},
		{"a secret by Basic", grant("scope", "anything"), basic.Header, 200, ""},
		{"an assertion", grant("client_assertion_type", jwt, "client_assertion", "good.jwt", "client_id", "app"), http.Header{}, 200, ""},
		{"another's name", grant("client_id", "test", "client_secret", secret), http.Header{}, 401, "invalid_client"},
		{"an expired secret", grant("client_id", "expired", "client_secret", expired), http.Header{}, 401, "invalid_client"},
		{"a wrong secret", grant("client_id", "gallery", "client_secret", strings.ToUpper(secret)), http.Header{}, 401, "invalid_client"},
		{"no secret", grant("client_id", "gallery"), http.Header{}, 401, "invalid_client"},
		{"a bad assertion", grant("client_assertion_type", jwt, "client_assertion", "bad.jwt"), http.Header{}, 401, "invalid_client"},
		{"an assertion of another type", grant("client_assertion_type", "saml", "client_assertion", "good.jwt"), http.Header{}, 401, "invalid_client"},
		{"an issuer that cannot be asked", grant("client_assertion_type", jwt, "client_assertion", "broken.jwt"), http.Header{}, 503, "temporarily_unavailable"},
		{"another grant", url.Values{"grant_type": {"password"}}, http.Header{}, 400, "unsupported_grant_type"},
		{"a parameter twice", grant("client_id", "gallery", "client_id", "test", "client_secret", secret), http.Header{}, 400, "invalid_request"},
		{"no form", grant(), http.Header{"Content-Type": {"application/json"}}, 400, "invalid_request"},
		{"a form without end", grant("filler", strings.Repeat("x", 100_000)), http.Header{}, 400, "invalid_request"},
	} {
		status, result := c.requestToken(x.form, x.header)
		kind, _ := result["error"].(string)
		if status != x.status || kind != x.kind {
			t.Errorf("%s: status %d %v", x.name, status, result)
		}
		if status == 200 {
			good[x.name] = result["access_token"].(string)
			if resp, _ := (&client{t, c.base, good[x.name]}).do("GET", "/Users", ""); resp.StatusCode != 200 {
				t.Errorf("the token of %s: status %d", x.name, resp.StatusCode)
			}
		}
	}
	issued := good["a secret by Basic"]
	if status, _ := c.requestToken(grant("client_id", "gallery", "client_secret", issued), http.Header{}); status != 401 {
		t.Errorf("an issued token is taken for a secret: %d", status)
	}
	if err := d.RevokeToken(t.Context(), minted.ID); err != nil {
		t.Fatal(err)
	}
	if resp, _ := (&client{t, c.base, issued}).do("GET", "/Users", ""); resp.StatusCode != 401 {
		t.Errorf("after its parent is revoked, a token: status %d", resp.StatusCode)
	}
}

// TestWorkload_RejectedWithoutOAuth: without scim.oauth only our own tokens are accepted.
func TestWorkload_RejectedWithoutOAuth(t *testing.T) {
	c := newClient(t)
	if resp, _ := (&client{t, c.base, "good.jwt"}).do("GET", "/Users", ""); resp.StatusCode != 401 {
		t.Errorf("a foreign token: status %d", resp.StatusCode)
	}
	form := url.Values{"grant_type": {"client_credentials"}, "client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}, "client_assertion": {"good.jwt"}}
	if status, _ := c.requestToken(form, http.Header{}); status != 401 {
		t.Errorf("an assertion: status %d", status)
	}
}

// panicking is an issuer whose check panics.
type panicking struct{}

func (panicking) Client(context.Context, string) (string, error) { panic("broken") }

// TestServer_PanicIsAnError: a panic is answered with a SCIM error like any other.
func TestServer_PanicIsAnError(t *testing.T) {
	base, _, _, _ := serveFor(t, scim.Settings{}, panicking{})
	resp, result := (&client{t, base, "some.other.token"}).do("GET", "/Users", "")
	if resp.StatusCode != http.StatusInternalServerError || result["status"] != "500" || result["detail"] == "" {
		t.Errorf("a panic: status %d %v", resp.StatusCode, result)
	}
}
