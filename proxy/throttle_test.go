package proxy

import (
	"net/http"
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
