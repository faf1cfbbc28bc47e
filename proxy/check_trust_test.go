package proxy

import (
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const testSecret = "3f9b1c6d3f9b1c6d3f9b1c6d3f9b1c6d"

// trustLoopback puts 127.0.0.1 into trusted_proxies.
func trustLoopback(s *Settings) { s.TrustedProxies = []string{"127.0.0.1"} }

// withSecret also requires the secret.
func withSecret(t testing.TB) func(*Settings) {
	file := filepath.Join(t.TempDir(), "front")
	if err := os.WriteFile(file, []byte(testSecret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return func(s *Settings) { trustLoopback(s); s.ForwardAuth.SecretFile = file }
}

// TestCheck_IsForTrustedProxies: others learn nothing, whatever they send.
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
		t.Run(fmt.Sprint(c.peer, " by ", c.trusted), func(t *testing.T) {
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

// TestCheck_RequiresSecret: if there is a secret, a check without it is denied, and one with it receives the assertion. If
// there is none, no check receives the assertion: a client that a front proxy proxies to us looks like the front proxy.
func TestCheck_RequiresSecret(t *testing.T) {
	w := newWorld(t, withSecret(t))
	_, alice := w.signIn("alice", appHost)
	c := w.client(false)
	ask := append(forwardedHeaders("GET", "https://"+appHost+"/"), "Cookie", alice)
	told := aliceHeaders
	told.Assertion = "one"
	res, _ := w.get(c, checkURL, append(ask, secretHeader, testSecret)...)
	checkAllowed(t, res, told)
	res, _ = w.get(c, "https://"+appHost+checkPath+"/", "Cookie", alice, secretHeader, testSecret)
	checkAllowed(t, res, told)
	for says, with := range map[string][]string{
		"none":             nil,
		"a wrong one":      {secretHeader, testSecret + "x"},
		"an empty one":     {secretHeader, ""},
		"two":              {secretHeader, testSecret, secretHeader, testSecret},
		"another spelling": {"X_Sallyport_Secret", testSecret},
	} {
		if res, body := w.get(c, checkURL, append(ask, with...)...); res.StatusCode != 403 || !strings.Contains(body, string(untrustedProxy)) {
			t.Errorf("%s: %d %s", says, res.StatusCode, body)
		}
	}
	t.Run("it reaches no upstream", func(t *testing.T) {
		if _, seen := w.get(c, "https://"+openHost+"/", secretHeader, testSecret); strings.Contains(seen, testSecret) {
			t.Error(seen)
		}
	})
	t.Run("nobody has no assertion", func(t *testing.T) {
		res, _ := w.get(c, checkURL, append(forwardedHeaders("GET", "https://"+openHost+"/"), secretHeader, testSecret)...)
		checkAllowed(t, res, IdentityHeaders{})
	})
	t.Run("without one, nobody is told an assertion", func(t *testing.T) {
		w.settings.ForwardAuth.SecretFile = ""
		w.must(w.proxy.Load(w.settings))
		res, _ := w.get(c, checkURL, append(ask, secretHeader, testSecret)...)
		checkAllowed(t, res, aliceHeaders)
	})
	t.Run("a file that holds none is a fault", func(t *testing.T) {
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
			t.Error("a missing file is none")
		}
	})
}
