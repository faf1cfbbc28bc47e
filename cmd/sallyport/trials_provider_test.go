package main

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sallyport/entratest"
)

// providerFault is what the identity provider does instead of its work. If lies, its responses look like responses.
type providerFault struct {
	name string
	do   func(w http.ResponseWriter, r *http.Request)
}

// replies returns a fault that responds to everything with the same.
func replies(status int, kind, body string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", kind)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

var providerFaults = []providerFault{
	{"down", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }},
	{"hangs", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }},
	{"slow", func(w http.ResponseWriter, r *http.Request) {
		for range 1000 {
			if _, err := io.WriteString(w, " "); err != nil || r.Context().Err() != nil {
				return
			}
			_ = http.NewResponseController(w).Flush()
			time.Sleep(20 * time.Millisecond) // slower than anybody waits
		}
	}},
	{"overloaded", replies(http.StatusServiceUnavailable, "text/html", "<h1>Service Unavailable</h1>")},
	{"throttles", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "3600")
		replies(http.StatusTooManyRequests, "application/json", `{"error":"temporarily_unavailable"}`)(w, r)
	}},
	{"a web page", replies(http.StatusOK, "text/html", "<html>Please sign in to the hotel's network</html>")},
	{"an empty object", replies(http.StatusOK, "application/json", "{}")},
	{"null", replies(http.StatusOK, "application/json", "null")},
	{"nothing", replies(http.StatusOK, "application/json", "")},
	{"no keys", replies(http.StatusOK, "application/json", `{"keys":[]}`)},
	{"half of it", replies(http.StatusOK, "application/json", `{"issuer":"https://`)},
	{"too much", replies(http.StatusOK, "application/json", `{"keys":["`+strings.Repeat("x", 8<<20)+`"]}`)},
	{"deep nesting", replies(http.StatusOK, "application/json", strings.Repeat("[", 200_000))},
	{"another issuer", replies(http.StatusOK, "application/json", `{"issuer":"https://evil.test","jwks_uri":"https://evil.test/keys","authorization_endpoint":"https://evil.test/","token_endpoint":"https://evil.test/"}`)},
	{"redirects elsewhere", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "https://evil.test/", http.StatusTemporaryRedirect)
	}},
	{"redirects to itself", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.String(), http.StatusFound) }},
	{"error of the client", replies(http.StatusBadRequest, "application/json", `{"error":"invalid_grant"}`)},
	{"a forged token", replies(http.StatusOK, "application/json", `{"token_type":"Bearer","access_token":"x","id_token":"eyJhbGciOiJub25lIn0.e30."}`)},
}

// TestReliability_ProviderFaults lets the identity provider fail while people work, and in every eighth trial restarts the server meanwhile. Those
// who are signed in go on, and so do programs whose tokens were signed with known keys; forged tokens are rejected and nobody signs
// in; a deactivation has an effect at once; the provider is not asked more often for it; and when it is back, people sign in.
// A key that is new is found, and one that was withdrawn is not trusted after the next look.
func TestReliability_ProviderFaults(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var fault atomic.Pointer[providerFault]
	var asked atomic.Int64
	sound := w.provider.Config.Handler
	w.provider.Config.Handler = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if f := fault.Load(); f != nil {
			asked.Add(1)
			f.do(rw, r)
			return
		}
		sound.ServeHTTP(rw, r)
	})
	w.rewrite("store: {", "scim: {max_deactivations: {count: 0}}\nsession: {max_sessions: 1000}\nstore: {")
	s := w.settle(w.start("--init"))
	bob := w.entra.Add(entratest.Person{UPN: "bob@example.com", Name: "Bob"})
	bobID := s.push.hire("bob", bob.OID)
	s.push.member("Add", s.group, bobID)
	aliceToken := w.entra.AccessToken(s.person, audience, nil)
	if status, err := getStatus(w.newBrowser(s.server).client, "https://"+apiHost+"/", aliceToken); err != nil || status != http.StatusOK {
		t.Fatal(status, err)
	}
	trials(t, len(providerFaults), func(c *trial) {
		f := providerFaults[c.n%len(providerFaults)]
		asked.Store(0)
		fault.Store(&f)
		if c.IntN(8) == 0 {
			s.server.kill()
			s.server = w.start() // for this trial and those after it
			s.browser = w.newBrowserWith(s.server, s.browser)
			s.push = w.pusher(s.server)
			c.count("with a restart")
			// The keys that are saved are used once it is known that the provider has no newer ones, or does not tell in time.
			awaitStatus(c.T, http.StatusOK, func() int {
				status, _ := getStatus(w.newBrowser(s.server).client, "https://"+apiHost+"/", aliceToken)
				return status
			})
		}
		forged := map[string]string{
			"forged": w.entra.Forged(w.entra.Claims(s.person, audience)), "unsigned": w.entra.Unsigned(w.entra.Claims(s.person, audience)),
			"garbage": entratest.Garbage(fmt.Sprint(c.Uint64()), w.entra.Claims(s.person, audience)),
		}
		w.t = c.T
		client := w.newBrowser(s.server).client
		demand := func(what string, got int, err error, want ...int) {
			c.Helper()
			if err != nil || !slices.Contains(want, got) {
				c.Errorf("%s: %s gets %d, %v, want %v", f.name, what, got, err, want)
			}
		}
		for range 3 {
			demand("a session", s.browser.fetch("/"), nil, http.StatusOK)
			status, err := getStatus(client, "https://"+apiHost+"/", aliceToken)
			demand("a token", status, err, http.StatusOK)
		}
		for what, token := range forged {
			status, err := getStatus(client, "https://"+apiHost+"/", token)
			demand("a token that is "+what, status, err, http.StatusUnauthorized, http.StatusServiceUnavailable)
		}
		bobToken := w.entra.AccessToken(bob, audience, func(claims entratest.Claims) { claims["iat"] = time.Now().Add(-time.Minute).Unix() })
		s.push.setActive(bobID, "False")
		status, err := getStatus(client, "https://"+apiHost+"/", bobToken)
		demand("somebody deactivated", status, err, http.StatusForbidden, http.StatusUnauthorized)
		s.push.setActive(bobID, "True")

		patience := *client
		patience.Timeout = 300 * time.Millisecond
		if resp, err := patience.Get("https://" + appHost + "/"); err == nil { // follows redirects to the provider
			if body, _ := io.ReadAll(resp.Body); strings.HasPrefix(string(body), "hello ") {
				c.Errorf("%s: somebody signs in", f.name)
			}
			_ = resp.Body.Close()
		}
		if n := asked.Load(); n > 40 {
			c.Errorf("%s: the provider is asked %d times", f.name, n)
		}
		fault.Store(nil)
		if c.n%20 == 19 {
			w.entra.Rotate()
			c.count("with new keys")
		}
		for deadline := time.Now().Add(time.Minute); ; {
			status, body := w.newBrowser(s.server).navigate("https://" + appHost + "/")
			if status == http.StatusOK && strings.HasPrefix(body, "hello alice") {
				break
			}
			if time.Now().After(deadline) {
				c.Fatalf("%s: when the provider is back, signing in ends with %d:\n%.500s", f.name, status, body)
			}
			time.Sleep(100 * time.Millisecond)
		}
		w.t = t
		c.count("survived")
	})
	w.t = t
	s.server.verb("audit", "verify")
}
