package main

import (
	"crypto/tls"
	"encoding/base64"
	native "encoding/binary"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestReliability_Rotation replaces secrets under load: provisioning tokens, the certificate, the secret of a webhook, the client
// secret, and the keys of the identity provider. No call and no sign-in fails meanwhile, and afterwards the new secret is the one
// that counts.
func TestReliability_Rotation(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	known := &atomic.Pointer[string]{}
	known.Store(new(webhookSecret))
	w.serveReceiverOf(known)
	s := w.settle(w.start("--init"))
	var mu sync.Mutex       // guards calls
	var tokens sync.RWMutex // guards token; held during a push
	token := w.token
	stop := make(chan struct{})
	var load sync.WaitGroup
	calls := 0
	repeat := func(what string, call func() (int, error)) {
		load.Go(func() {
			made := callUntil(t, stop, what, call)
			mu.Lock()
			defer mu.Unlock()
			calls += made
		})
	}
	reused, fresh := w.newBrowserWith(s.server, s.browser), w.newBrowserWith(s.server, s.browser)
	fresh.client.Transport.(*http.Transport).DisableKeepAlives = true // a handshake for each request
	bearer, accepted := w.newBrowser(s.server).client, w.entra.AccessToken(s.person, audience, nil)
	repeat("a session", func() (int, error) { return getStatus(reused.client, "https://"+appHost+"/", "") })
	repeat("a new connection", func() (int, error) { return getStatus(fresh.client, "https://"+appHost+"/", "") })
	repeat("an access token", func() (int, error) { return getStatus(bearer, "https://"+apiHost+"/", accepted) })
	repeat("a push", func() (int, error) {
		tokens.RLock()
		defer tokens.RUnlock()
		push := *s.push
		push.token = token
		status, _, err := push.try("GET", "/Users/"+s.alice, nil)
		return status, err
	})
	var keys sync.RWMutex // held while the provider's keys are replaced: more than two new ones in 30 seconds are not fetched
	repeat("a sign-in", func() (int, error) {
		time.Sleep(50 * time.Millisecond) // an address may start 20 a second
		keys.RLock()
		defer keys.RUnlock()
		resp, err := w.newBrowser(s.server).open("https://" + appHost + "/")
		if err != nil {
			return 0, err
		}
		defer resp.Body.Close()
		page, err := io.ReadAll(resp.Body)
		if err == nil && !strings.HasPrefix(string(page), "hello ") {
			err = fmt.Errorf("the page is\n%s", page)
		}
		return resp.StatusCode, err
	})
	clientSecret := "the client secret"
	trials(t, 2, func(c *trial) {
		switch kind := c.n % 5; {
		case kind == 0:
			c.count("provisioning tokens")
			var list []struct{ ID, Name string }
			decode(c, s.server.verb("token", "list", "-o", "json"), &list)
			var made struct{ ID, Token string }
			decode(c, s.server.verb("token", "rotate", list[0].ID, "-o", "json"), &made)
			tokens.Lock() // waits for pushes that are under way with the former token
			former := token
			token = made.Token
			tokens.Unlock()
			for _, other := range list {
				s.server.verb("token", "revoke", other.ID)
			}
			push := *s.push
			push.token = former
			if status, _, err := push.try("GET", "/Users", nil); err != nil || status != http.StatusUnauthorized {
				c.Errorf("the former token gets %d, %v", status, err)
			}
		case kind == 1:
			c.count("certificates")
			old := certificateAt(c, s.server.addrs["public"], appHost)
			cert, key := w.ca.issue(c, loginHost, appHost, apiHost)
			writeFile(c, w.dir, "tls.crt", cert)
			time.Sleep(c.within(30 * time.Millisecond))
			writeFile(c, w.dir, "tls.key", key)
			s.server.verb("reload")
			for _, listener := range []string{"public", "scim"} {
				if certificateAt(c, s.server.addrs[listener], appHost).Equal(old) {
					c.Errorf("the %s listener has the former certificate", listener)
				}
			}
		case kind == 2:
			c.count("secrets of a webhook")
			former, next := *known.Load(), "whsec_"+base64.StdEncoding.EncodeToString(native.BigEndian.AppendUint64(make([]byte, 16), c.Uint64()))
			for _, step := range []struct{ file, known string }{{former + "\n" + next, former}, {former + "\n" + next, next}, {next, next}} {
				writeFile(c, w.dir, filepath.Join("secrets", "webhook"), []byte(step.file+"\n"))
				known.Store(&step.known)
				s.server.verb("reload")
				s.server.verb("webhook", "test") // fails unless the receiver accepts the signature
			}
			known.Store(&former)
			if _, code := s.server.try("webhook", "test"); code != exitError {
				c.Errorf("the former secret still signs")
			}
			known.Store(&next)
		case kind == 4:
			c.count("client secrets")
			next := fmt.Sprintf("secret %d", c.Uint64())
			w.entra.AddSecret(next)
			replace := func() { writeFile(c, w.dir, "secrets/oidc", []byte(next+"\n")) } // empty for a moment, which must change nothing
			if c.IntN(2) == 0 {
				replace = func() { replaceFile(c, filepath.Join(w.dir, "secrets/oidc"), next+"\n") }
			}
			replace()
			if c.IntN(2) == 0 {
				s.server.verb("reload")
			} else {
				awaitStatusFor(c, 20*time.Second, 1, func() int { return min(w.entra.Accepted(next), 1) })
			}
			w.entra.RemoveSecret(clientSecret)
			clientSecret = next
			w.newBrowser(s.server).signIn()
		case c.n%10 == 3:
			c.count("keys of the provider")
			keys.Lock()
			defer keys.Unlock()
			w.entra.Rotate()
			signed := w.entra.AccessToken(s.person, audience, nil)
			client := w.newBrowser(s.server).client
			awaitStatusFor(c, time.Minute, http.StatusOK, func() int {
				status, _ := getStatus(client, "https://"+apiHost+"/", signed)
				return status
			})
		default:
			c.count("sign-ins beside it")
			w.newBrowser(s.server).signIn()
		}
	})
	close(stop)
	load.Wait()
	t.Logf("%d calls meanwhile", calls)
	s.server.verb("audit", "verify")
}

// serveReceiverOf is serveReceiver for a receiver that knows one secret, which may change.
func (w *world) serveReceiverOf(known *atomic.Pointer[string]) {
	w.t.Helper()
	w.serveReceiver() // which is configured
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || !slices.Contains(strings.Fields(r.Header.Get("Webhook-Signature")), signatureBy(*known.Load(), r.Header, body)) {
			rw.WriteHeader(http.StatusBadRequest)
		}
	}))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{w.ca.pair(w.t, "localhost")}}
	server.StartTLS()
	w.t.Cleanup(server.Close)
	_, port, _ := strings.Cut(strings.TrimPrefix(server.URL, "https://"), ":")
	path := filepath.Join(w.dir, "sallyport.yaml")
	text := regexp.MustCompile(`localhost:\d+/hidden`).ReplaceAllString(string(readFile(w.t, path)), "localhost:"+port+"/")
	writeFile(w.t, w.dir, "sallyport.yaml", []byte(text))
}

// awaitStatusFor waits for at most a time until f returns status.
func awaitStatusFor(c *trial, limit time.Duration, status int, f func() int) {
	c.Helper()
	for deadline := time.Now().Add(limit); ; time.Sleep(100 * time.Millisecond) {
		got := f()
		if got == status {
			return
		}
		if time.Now().After(deadline) {
			c.Fatalf("after %v it is still %d, want %d", limit, got, status)
		}
	}
}

// callUntil calls until stop is closed, demands that each call gets 200, and returns how many did.
func callUntil(t testing.TB, stop <-chan struct{}, what string, call func() (int, error)) (made int) {
	for ; ; made++ {
		select {
		case <-stop:
			return made
		default:
		}
		if status, err := call(); err != nil || status != http.StatusOK {
			t.Errorf("%s gets %d, %v", what, status, err)
			return made
		}
	}
}
