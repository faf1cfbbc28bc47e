package proxy

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"sallyport/audit"
	"sallyport/entratest"
	"sallyport/throttle"
)

// TestThrottle_InvalidTokens: an address that goes on sending invalid tokens has to wait; valid ones still pass.
func TestThrottle_InvalidTokens(t *testing.T) {
	const api = "https://" + apiHost + "/v1/x"
	w := newWorld(t, nil)
	good := []string{"Authorization", "Bearer " + w.token("alice", nil)}
	if resp, _ := w.get(w.client(false), api, good...); resp.StatusCode != http.StatusOK {
		t.Fatalf("a good token gives %d", resp.StatusCode)
	}
	c, refused := w.client(false), 0
	for range 2 * throttle.FailuresBurst {
		resp, _ := w.get(c, api, "Authorization", "Bearer guess.guess.guess")
		if refused = resp.StatusCode; refused == http.StatusTooManyRequests {
			if resp.Header.Get("Retry-After") == "" {
				t.Error("it is not said when to try again")
			}
			break
		}
	}
	if refused != http.StatusTooManyRequests {
		t.Errorf("the last guess gives %d", refused)
	}
	if resp, _ := w.get(w.client(false), api, good...); resp.StatusCode != http.StatusOK {
		t.Errorf("the good token gives %d", resp.StatusCode)
	}
	another := w.tenant.AccessToken(w.person("alice"), audience, func(c entratest.Claims) { c["uti"] = "another" })
	if resp, _ := w.get(w.client(false), api, "Authorization", "Bearer "+another); resp.StatusCode != http.StatusOK {
		t.Errorf("a good token that was never seen before gives %d", resp.StatusCode)
	}
	if resp, _ := w.get(w.client(false), "https://"+openHost+"/"); resp.StatusCode != http.StatusOK {
		t.Errorf("a route that is open to all gives %d", resp.StatusCode)
	}
}

// TestDenial_DisclosesTokenVersion: the sender of a token of the wrong version is told what to change.
func TestDenial_DisclosesTokenVersion(t *testing.T) {
	w := newWorld(t, nil)
	w.token("alice", nil) // the provider was discovered
	text := w.tenant.AccessTokenV1(w.person("alice"), audience, nil)
	resp, body := w.get(w.client(false), "https://"+apiHost+"/v1/x", "Authorization", "Bearer "+text)
	if resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("it gives %d", resp.StatusCode)
	}
	for where, told := range map[string]string{"the problem": body, "WWW-Authenticate": resp.Header.Get("WWW-Authenticate")} {
		if !strings.Contains(told, "it is a v1.0 token; set api.requestedAccessTokenVersion to 2") {
			t.Errorf("%s says %q", where, told)
		}
	}
}

func TestThrottle_LoginStarts(t *testing.T) {
	w := newWorld(t, nil)
	w.token("alice", nil) // the provider was discovered
	c, last := w.client(true), 0
	for range 3 * loginBurst {
		resp, _ := w.get(c, "https://"+loginHost+"/.sallyport/login?return_to=/")
		if last = resp.StatusCode; last == http.StatusTooManyRequests {
			return
		}
	}
	t.Errorf("the last login begun gives %d", last)
}

// TestThrottle_Callbacks: one login can be replayed many times, and each time the provider may be asked and an event
// recorded.
func TestThrottle_Callbacks(t *testing.T) {
	w := newWorld(t, nil)
	w.token("alice", nil) // the provider was discovered
	c := w.client(true)
	resp, _ := w.get(c, "https://"+loginHost+"/.sallyport/login?return_to=/")
	to, err := resp.Location()
	w.must(err)
	flow := resp.Cookies()[0]
	back := "https://" + loginHost + callbackPath + "?error=access_denied&state=" + to.Query().Get("state")
	for range 3 * loginBurst {
		resp, _ := w.get(c, back, "Cookie", flow.Name+"="+flow.Value)
		if resp.StatusCode == http.StatusTooManyRequests {
			return
		}
	}
	t.Errorf("the record has %d lines of it", len(w.events(audit.KindLogin)))
}

// TestOverload_DeniesBeyondLimit: requests beyond the limit are denied, and the live ones go on.
func TestOverload_DeniesBeyondLimit(t *testing.T) {
	w := newWorld(t, func(s *Settings) { s.Limits.LiveRequests = 3 })
	inside, leave := make(chan struct{}), make(chan struct{})
	w.behindIs(func(rw http.ResponseWriter, r *http.Request) {
		inside <- struct{}{}
		<-leave
		_, _ = io.WriteString(rw, "done")
	})
	codes := make(chan int)
	for range 3 {
		go func() {
			resp, _ := w.get(w.client(false), "https://"+openHost+"/")
			codes <- resp.StatusCode
		}()
		<-inside
	}
	if resp, body := w.get(w.client(false), "https://"+openHost+"/"); resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
		t.Errorf("one more gives %d %s", resp.StatusCode, body)
	}
	close(leave)
	for range 3 {
		if code := <-codes; code != http.StatusOK {
			t.Errorf("one that was under way gives %d", code)
		}
	}
	go func() { <-inside }()
	if resp, _ := w.get(w.client(false), "https://"+openHost+"/"); resp.StatusCode != http.StatusOK {
		t.Errorf("afterwards it gives %d", resp.StatusCode)
	}
}

// TestOverload_HangingUpstreamSparesOtherRoutes: other routes are still served.
func TestOverload_HangingUpstreamSparesOtherRoutes(t *testing.T) {
	w := newWorld(t, func(s *Settings) { s.Limits.LiveRequests = 10 })
	_, cookie := w.signIn("alice", appHost)
	inside, leave := make(chan struct{}), make(chan struct{})
	w.behindIs(func(_ http.ResponseWriter, r *http.Request) {
		if r.Host == openHost {
			inside <- struct{}{}
			<-leave
		}
	})
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() { w.get(w.client(false), "https://"+openHost+"/") })
		<-inside
	}
	if resp, _ := w.get(w.client(false), "https://"+openHost+"/"); resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("one more to the upstream that hangs gives %d", resp.StatusCode)
	}
	if resp, _ := w.get(w.client(false), "https://"+appHost+"/", "Cookie", cookie); resp.StatusCode != http.StatusOK {
		t.Errorf("one to another gives %d", resp.StatusCode)
	}
	close(leave)
	all.Wait()
}
