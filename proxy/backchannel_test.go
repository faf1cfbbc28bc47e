package proxy

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"sallyport/entratest"
)

// TestBackchannelLogout has one row for each token: OpenID Connect Back-Channel Logout 1.0 §2.4 to §2.6. ends reports
// whether alice's session has ended afterwards.
func TestBackchannelLogout(t *testing.T) {
	const event = "http://schemas.openid.net/event/backchannel-logout"
	for _, c := range []struct {
		name   string
		alter  func(entratest.Claims)
		header map[string]any
		status int
		ends   bool
	}{
		{"by session", func(c entratest.Claims) { delete(c, "sub") }, nil, 200, true},
		{"by subject", func(c entratest.Claims) { delete(c, "sid") }, nil, 200, true},
		{"by both", nil, nil, 200, true},
		{"typed JWT", nil, map[string]any{"typ": "JWT"}, 200, true},
		{"another session", func(c entratest.Claims) { c["sid"] = "another" }, nil, 200, false},
		{"another subject", func(c entratest.Claims) { c["sub"] = "another" }, nil, 200, false},
		{"issued before the session began", func(c entratest.Claims) { c["iat"] = time.Now().Add(-time.Hour).Unix() }, nil, 200, false},
		{"a nonce, as an ID token has", func(c entratest.Claims) { c["nonce"] = "n" }, nil, 400, false},
		{"no event", func(c entratest.Claims) { delete(c, "events") }, nil, 400, false},
		{"another event", func(c entratest.Claims) { c["events"] = map[string]any{"x": map[string]any{}} }, nil, 400, false},
		{"an event that is no object", func(c entratest.Claims) { c["events"] = map[string]any{event: true} }, nil, 400, false},
		{"another audience", func(c entratest.Claims) { c["aud"] = "another" }, nil, 400, false},
		{"another issuer", func(c entratest.Claims) { c["iss"] = "https://elsewhere.example" }, nil, 400, false},
		{"expired", func(c entratest.Claims) { c["exp"] = 1 }, nil, 400, false},
		{"no jti", func(c entratest.Claims) { delete(c, "jti") }, nil, 400, false},
		{"nobody", func(c entratest.Claims) { delete(c, "sid"); delete(c, "sub") }, nil, 400, false},
		{"an access token's type", nil, map[string]any{"typ": "at+jwt"}, 400, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, nil)
			w.token("alice", nil) // the provider was discovered
			one, cookie := w.signIn("alice", appHost)
			claims := entratest.Claims{"iss": w.tenant.Issuer(), "aud": w.tenant.ClientID(), "tid": w.tenant.ID, "iat": time.Now().Unix(), "exp": time.Now().Add(time.Minute).Unix(), "jti": "j",
				"sub": one.Subject, "sid": one.ProviderSession, "events": map[string]any{event: map[string]any{}}}
			if c.alter != nil {
				c.alter(claims)
			}
			header := c.header
			if header == nil {
				header = map[string]any{"typ": "logout+jwt"}
			}
			status := w.tellLogout(loginHost, w.tenant.Sign(claims, header))
			if status != c.status {
				t.Errorf("it answers %d, want %d", status, c.status)
			}
			resp, _ := w.get(w.client(false), "https://"+appHost+"/", "Cookie", cookie)
			if ended := resp.StatusCode == http.StatusUnauthorized; ended != c.ends {
				t.Errorf("afterwards the session gives %d", resp.StatusCode)
			}
		})
	}
}

func (w *world) tellLogout(host, token string) int {
	form := url.Values{"logout_token": {token}}.Encode()
	resp, _ := w.send(w.client(false), http.MethodPost, "https://"+host+"/.sallyport/backchannel-logout", strings.NewReader(form), "Content-Type", "application/x-www-form-urlencoded")
	return resp.StatusCode
}

func TestBackchannelLogout_AcceptsOneFormOnLoginHost(t *testing.T) {
	w := newWorld(t, nil)
	w.token("alice", nil) // the provider was discovered
	const path = "/.sallyport/backchannel-logout"
	for name, c := range map[string]struct {
		method, host, body, media string
		want                      int
	}{
		"garbage":        {"POST", loginHost, "logout_token=x", "application/x-www-form-urlencoded", 400},
		"nothing":        {"POST", loginHost, "", "application/x-www-form-urlencoded", 400},
		"two":            {"POST", loginHost, "logout_token=a&logout_token=b", "application/x-www-form-urlencoded", 400},
		"JSON":           {"POST", loginHost, `{"logout_token":"x"}`, "application/json", 400},
		"huge":           {"POST", loginHost, "logout_token=" + strings.Repeat("x", 1<<20), "application/x-www-form-urlencoded", 400},
		"an application": {"POST", appHost, "logout_token=x", "application/x-www-form-urlencoded", 404},
		"a GET":          {"GET", loginHost, "", "", 405},
	} {
		resp, _ := w.send(w.client(false), c.method, "https://"+c.host+path, strings.NewReader(c.body), "Content-Type", c.media)
		if resp.StatusCode != c.want || resp.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s answers %d, %q", name, resp.StatusCode, resp.Header.Get("Cache-Control"))
		}
	}
}
