package proxy

import (
	"net/http"
	"testing"

	"sallyport/audit"
	"sallyport/entratest"
	"sallyport/throttle"
)

// hardlyEver is how many events a second a throttle allows that even a slow machine comes up against.
const hardlyEver = 0.001

// TestThrottle_InvalidTokens checks that an address that sends many invalid tokens gets 429 for further ones, but is
// still served with a valid token or without one.
func TestThrottle_InvalidTokens(t *testing.T) {
	const api = "https://" + apiHost + "/v1/x"
	w := newWorld(t, nil)
	w.proxy.throttles.failures = throttle.New(hardlyEver, throttle.FailuresBurst)
	good := []string{"Authorization", "Bearer " + w.token("alice", nil)}
	if resp, _ := w.get(w.client(false), api, good...); resp.StatusCode != http.StatusOK {
		t.Fatalf("a valid token: %d", resp.StatusCode)
	}
	c, last := w.client(false), 0
	for range throttle.FailuresBurst + 1 {
		resp, _ := w.get(c, api, "Authorization", "Bearer guess.guess.guess")
		if last = resp.StatusCode; last == http.StatusTooManyRequests {
			if resp.Header.Get("Retry-After") == "" {
				t.Error("no Retry-After")
			}
			break
		}
	}
	if last != http.StatusTooManyRequests {
		t.Errorf("the last invalid token: %d", last)
	}
	if resp, _ := w.get(w.client(false), api, good...); resp.StatusCode != http.StatusOK {
		t.Errorf("the valid token again: %d", resp.StatusCode)
	}
	another := w.tenant.AccessToken(w.person("alice"), audience, func(c entratest.Claims) { c["uti"] = "another" })
	if resp, _ := w.get(w.client(false), api, "Authorization", "Bearer "+another); resp.StatusCode != http.StatusOK {
		t.Errorf("a valid token that was not verified before: %d", resp.StatusCode)
	}
	if resp, _ := w.get(w.client(false), "https://"+openHost+"/"); resp.StatusCode != http.StatusOK {
		t.Errorf("an anonymous request on an open route: %d", resp.StatusCode)
	}
}

func TestThrottle_LoginStarts(t *testing.T) {
	w := newWorld(t, nil)
	w.proxy.throttles.logins = throttle.New(hardlyEver, loginBurst)
	w.token("alice", nil) // waits until the provider was discovered
	c, last := w.client(true), 0
	for range loginBurst + 1 {
		resp, _ := w.get(c, "https://"+loginHost+"/.sallyport/login?return_to=/")
		if last = resp.StatusCode; last == http.StatusTooManyRequests {
			return
		}
	}
	t.Errorf("the last login: %d", last)
}

// TestThrottle_Callbacks checks that callbacks are throttled: one login can be replayed many times, and each time the
// proxy may send a request to the provider and record an event.
func TestThrottle_Callbacks(t *testing.T) {
	w := newWorld(t, nil)
	w.proxy.throttles.callbacks = throttle.New(hardlyEver, loginBurst)
	w.token("alice", nil) // waits until the provider was discovered
	c := w.client(true)
	resp, _ := w.get(c, "https://"+loginHost+"/.sallyport/login?return_to=/")
	to, err := resp.Location()
	w.must(err)
	flow := resp.Cookies()[0]
	back := "https://" + loginHost + callbackPath + "?error=access_denied&state=" + to.Query().Get("state")
	for range loginBurst + 1 {
		resp, _ := w.get(c, back, "Cookie", flow.Name+"="+flow.Value)
		if resp.StatusCode == http.StatusTooManyRequests {
			return
		}
	}
	t.Errorf("never throttled; %d logins were recorded", len(w.events(audit.KindLogin)))
}
