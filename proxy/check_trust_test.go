package proxy

import (
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sallyport/proxy/internal/header"
	"sallyport/proxy/internal/identity"
)

const testSecret = "3f9b1c6d3f9b1c6d3f9b1c6d3f9b1c6d"

// trustLoopback puts 127.0.0.1 into trusted_proxies.
func trustLoopback(s *Settings) { s.TrustedProxies = []string{"127.0.0.1"} }

// withSecret returns a function that puts 127.0.0.1 into trusted_proxies and requires testSecret of front proxies.
func withSecret(t testing.TB) func(*Settings) {
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(testSecret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return func(s *Settings) { trustLoopback(s); s.ForwardAuth.SecretFile = file }
}

// TestCheck_IsForTrustedProxies checks that a peer outside trusted_proxies gets 403, whatever form its check has.
func TestCheck_IsForTrustedProxies(t *testing.T) {
	for _, c := range []struct {
		peer    string
		trusted []string
		code    int
	}{
		{"192.0.2.1:1", nil, 403},
		{"127.0.0.1:1", nil, 403},
		{"192.0.2.1:1", []string{"10.0.0.0/8"}, 403},
		{"10.1.1.1:1", []string{"10.0.0.0/8"}, 200},
		{"[::ffff:10.1.1.1]:1", []string{"10.0.0.0/8"}, 200},
		{"[::ffff:192.0.2.1]:1", []string{"10.0.0.0/8"}, 403},
		{"[fe80::1%eth0]:1", []string{"fe80::/10"}, 200},
		{"[::1]:1", []string{"10.0.0.0/8"}, 403},
		{"@", []string{"10.0.0.0/8"}, 403},
		{"", []string{"10.0.0.0/8"}, 403},
	} {
		t.Run(fmt.Sprint(c.peer, " trusted ", c.trusted), func(t *testing.T) {
			w := newWorld(t, func(s *Settings) { s.TrustedProxies = c.trusted })
			_, alice := w.signIn("alice", appHost)
			for _, form := range [][]string{forwardedHeaders("GET", "https://"+appHost+"/"), {"path"}, {"path", hdrForwardedURI, "x"}} {
				r := httptest.NewRequest("GET", "https://"+appHost+checkPath, nil)
				if form[0] == "path" {
					r = httptest.NewRequest("GET", "https://"+appHost+checkPath+"/", nil)
					form = form[1:]
				}
				for i := 0; i < len(form)-1; i += 2 {
					r.Header[form[i]] = []string{form[i+1]}
				}
				r.RemoteAddr = c.peer
				r.Header.Set("Cookie", alice)
				resp := httptest.NewRecorder()
				w.proxy.ServeHTTP(resp, r)
				want := c.code
				if want == 200 && slices.Contains(form, "x") {
					want = 400
				}
				if resp.Code != want || want == 403 && !strings.Contains(resp.Body.String(), string(untrustedProxy)) {
					t.Errorf("%q: %d %s", form, resp.Code, resp.Body)
				}
			}
		})
	}
}

// TestCheck_RequiresSecret checks that, if there is a secret, a check without it is denied and a check with it receives
// the assertion. If there is none, no check receives the assertion: a client whose request the front proxy forwards to
// us has the address of the front proxy.
func TestCheck_RequiresSecret(t *testing.T) {
	w := newWorld(t, withSecret(t))
	_, alice := w.signIn("alice", appHost)
	c := w.client(false)
	check := append(forwardedHeaders("GET", "https://"+appHost+"/"), "Cookie", alice)
	want := aliceHeaders
	want.Assertion = "any"
	res, _ := w.get(c, checkURL, append(check, header.Secret, testSecret)...)
	checkAllowed(t, res, want)
	res, _ = w.get(c, "https://"+appHost+checkPath+"/", "Cookie", alice, header.Secret, testSecret)
	checkAllowed(t, res, want)
	for name, headers := range map[string][]string{
		"missing":          nil,
		"wrong":            {header.Secret, testSecret + "x"},
		"empty":            {header.Secret, ""},
		"sent twice":       {header.Secret, testSecret, header.Secret, testSecret},
		"another spelling": {"X_Sallyport_Secret", testSecret},
	} {
		if res, body := w.get(c, checkURL, append(check, headers...)...); res.StatusCode != 403 || !strings.Contains(body, string(untrustedProxy)) {
			t.Errorf("%s: %d %s", name, res.StatusCode, body)
		}
	}
	t.Run("secret_is_not_forwarded", func(t *testing.T) {
		if _, seen := w.get(c, "https://"+openHost+"/", header.Secret, testSecret); strings.Contains(seen, testSecret) {
			t.Errorf("the upstream sees\n%s", seen)
		}
	})
	t.Run("no_assertion_for_anonymous", func(t *testing.T) {
		res, _ := w.get(c, checkURL, append(forwardedHeaders("GET", "https://"+openHost+"/"), header.Secret, testSecret)...)
		checkAllowed(t, res, identity.Headers{})
	})
	t.Run("no_assertion_without_secret", func(t *testing.T) {
		w.settings.ForwardAuth.SecretFile = ""
		w.must(w.proxy.Load(w.settings))
		res, _ := w.get(c, checkURL, append(check, header.Secret, testSecret)...)
		checkAllowed(t, res, aliceHeaders)
	})
	t.Run("rejects_invalid_secret_file", func(t *testing.T) {
		dir := t.TempDir()
		for _, text := range []string{"", "short", strings.Repeat("a", 32) + "\nb", strings.Repeat("a b", 32)} {
			file := filepath.Join(dir, "secret")
			w.must(os.WriteFile(file, []byte(text), 0o600))
			w.settings.ForwardAuth.SecretFile = file
			if err := w.proxy.Load(w.settings); err == nil || !strings.Contains(err.Error(), "openssl rand") || text != "" && strings.Contains(err.Error(), text) {
				t.Errorf("%q: %v", text, err)
			}
		}
		w.settings.ForwardAuth.SecretFile = filepath.Join(dir, "missing")
		if err := w.proxy.Load(w.settings); err == nil {
			t.Error("a missing file is accepted")
		}
	})
}
