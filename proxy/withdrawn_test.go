package proxy

import (
	"io"
	"net/http"
	"testing"
	"time"

	"sallyport/directory"
	"sallyport/entratest"
)

// askAPI sends a request with a bearer token to a route that accepts tokens alone and returns the status.
func (w *world) askAPI(token string) int {
	w.t.Helper()
	res, _ := w.get(w.client(true), "https://"+apiHost+"/v1/x", "Authorization", "Bearer "+token)
	return res.StatusCode
}

// TestCut_SigningKeyIsWithdrawn checks that a stream ends once the provider no longer publishes the key that signed its
// token, and that a stream by a session goes on.
func TestCut_SigningKeyIsWithdrawn(t *testing.T) {
	w := newWorld(t, nil)
	w.serveEvents()
	withdrawn := openEvents(w, w.client(true), "https://"+appHost, "Authorization", "Bearer "+w.token("alice", nil))
	_, cookie := w.signIn("alice", appHost)
	spared := openEvents(w, w.client(true), "https://"+appHost, "Cookie", cookie)
	w.tenant.Rotate()
	w.tenant.Withdraw()
	if got := w.askAPI(w.tenant.AccessToken(w.person("alice"), audience, nil)); got != 200 { // fetches the keys
		t.Fatalf("a token of the new key gives %d", got)
	}
	await(t, "the client sees the end", withdrawn.done)
	w.eventually("the cut is counted", func() bool {
		return w.metric("sallyport_cuts_total", "route", "app", "reason", string(tokenRefused)) == 1
	})
	select {
	case <-spared.done:
		t.Errorf("the stream by a session ended: %v", spared.err)
	default:
	}
}

// TestReactivation_AcceptsBackdatedTokens checks that a token that Entra issued after a reactivation is accepted, although
// Entra dates iat back by five minutes, and that no token from before the deactivation is.
func TestReactivation_AcceptsBackdatedTokens(t *testing.T) {
	w := newWorld(t, nil)
	w.token("alice", nil) // the provider was discovered
	issued := func(ago, backdated time.Duration) string {
		return w.tenant.AccessToken(w.person("alice"), audience, func(c entratest.Claims) {
			at := time.Now().Add(-ago - backdated).Unix()
			c["iat"], c["nbf"] = at, at
		})
	}
	const fiveMinutes = 5 * time.Minute
	old := map[string]string{
		"seen, dated back":        issued(0, fiveMinutes),
		"not seen, dated back":    issued(2*time.Second, fiveMinutes),
		"hours old":               issued(time.Hour, fiveMinutes),
		"seen, not dated back":    issued(2*time.Second, 0),
		"not seen, not back":      issued(2*time.Second, 0),
		"not seen, a minute back": issued(0, time.Minute),
	}
	for name, token := range old {
		if name[:4] == "seen" && w.askAPI(token) != 200 {
			t.Fatalf("%s is not accepted before the deactivation", name)
		}
	}
	w.setActive("alice", false)
	w.setActive("alice", true)
	for name, token := range old {
		if got := w.askAPI(token); got != 401 {
			t.Errorf("a token from before, %s: %d", name, got)
		}
	}
	if got := w.askAPI(issued(0, fiveMinutes)); got != 200 {
		t.Errorf("a new token that is dated back: %d", got)
	}
	if got := w.askAPI(issued(0, 0)); got != 200 {
		t.Errorf("a new token that is not dated back: %d", got)
	}
}

// TestRecreation_RevivesNoToken checks that the end of a person is remembered when their record is gone: in whatever way
// another record comes to have the same join attribute, tokens from before stay invalid and new ones are valid.
func TestRecreation_RevivesNoToken(t *testing.T) {
	create := func(w *world, name, key string) {
		w.update(func(tx *directory.Tx) error {
			u := directory.User{UserName: name, ExternalID: key, Active: true}
			if err := tx.PutUser(&u); err != nil {
				return err
			}
			g, err := tx.GroupByExternalID(staff)
			if err != nil {
				return err
			}
			_, err = tx.AddMembers(g.ID, []string{u.ID})
			return err
		})
	}
	rekey := func(w *world, id, key string) {
		w.update(func(tx *directory.Tx) error {
			u, err := tx.User(id)
			if err != nil {
				return err
			}
			u.ExternalID = key
			return tx.PutUser(&u)
		})
	}
	for name, again := range map[string]func(w *world, id, key string){
		"deleted and created again": func(w *world, id, key string) {
			w.update(func(tx *directory.Tx) error { return tx.DeleteUser(id) })
			create(w, "alice@example.com", key)
		},
		"deactivated, deleted and created again": func(w *world, id, key string) {
			w.setActive("alice", false)
			w.update(func(tx *directory.Tx) error { return tx.DeleteUser(id) })
			create(w, "alice2@example.com", key)
		},
		"suspended, deleted and created again": func(w *world, id, key string) {
			w.update(func(tx *directory.Tx) error { return tx.Suspend(id, "a test") })
			w.update(func(tx *directory.Tx) error { return tx.DeleteUser(id) })
			create(w, "alice@example.com", key)
			if code := w.askAPI(w.tenant.AccessToken(w.person("alice"), audience, nil)); code != 403 { // still suspended
				w.t.Errorf("before Unsuspend a new token gets %d", code)
			}
			w.update(func(tx *directory.Tx) error { return tx.Unsuspend(w.user("alice").ID) })
		},
		"externalId taken away and given back": func(w *world, id, key string) {
			rekey(w, id, "another")
			rekey(w, id, key)
		},
		"deactivated, and the externalId moved to another record": func(w *world, id, key string) {
			w.setActive("alice", false)
			rekey(w, id, "another")
			create(w, "alice2@example.com", key)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, nil)
			key, id := w.person("alice").OID, w.user("alice").ID
			old := w.token("alice", func(c entratest.Claims) { c["iat"] = time.Now().Add(-time.Minute).Unix() })
			before := w.askAPI(old)
			again(w, id, key)
			if after, anew := w.askAPI(old), w.askAPI(w.tenant.AccessToken(w.person("alice"), audience, nil)); before != 200 || after != 401 || anew != 200 {
				t.Errorf("before %d, after %d, with a new one %d", before, after, anew)
			}
		})
	}
}

// TestBearer_OlderThanMemory checks that a token is rejected that is older than the memory of ended people, and one that
// does not say when it was issued.
func TestBearer_OlderThanMemory(t *testing.T) {
	w := newWorld(t, nil)
	for name, c := range map[string]struct {
		alter func(entratest.Claims)
		want  int
	}{
		"a month old": {func(c entratest.Claims) { c["iat"] = time.Now().Add(-32 * 24 * time.Hour).Unix() }, 401},
		"without iat": {func(c entratest.Claims) { delete(c, "iat") }, 401},
		"a week old":  {func(c entratest.Claims) { c["iat"] = time.Now().Add(-7 * 24 * time.Hour).Unix() }, 200},
	} {
		if got := w.askAPI(w.token("alice", c.alter)); got != c.want {
			t.Errorf("%s: %d", name, got)
		}
	}
}

// TestBearer_KeyCannotBeLookedUp checks that a token of a key that cannot be looked up just now is not called invalid.
func TestBearer_KeyCannotBeLookedUp(t *testing.T) {
	w := newWorld(t, nil)
	w.token("alice", nil)
	w.tenant.Rotate()
	if got := w.askAPI(w.tenant.AccessToken(w.person("alice"), audience, nil)); got != 200 {
		t.Errorf("after the first rotation: %d", got)
	}
	w.tenant.Rotate()
	res, _ := w.get(w.client(true), "https://"+apiHost+"/v1/x", "Authorization", "Bearer "+w.tenant.AccessToken(w.person("alice"), audience, nil))
	if res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") == "" {
		t.Errorf("after the second: %d, Retry-After %q", res.StatusCode, res.Header.Get("Retry-After"))
	}
	limited := false // whoever makes up key ids is slowed down, as with other tokens that are not valid
	for range 1000 {
		limited = limited || w.askAPI(entratest.Garbage(newID(), entratest.Claims{})) == http.StatusTooManyRequests
	}
	if !limited {
		t.Error("1000 made-up key ids were looked at")
	}
}

// serveEvents makes the upstream serve any number of streams of events, each until the proxy ends it.
func (w *world) serveEvents() {
	w.setUpstream(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/events" {
			return
		}
		_, _ = io.WriteString(rw, "data: tick\n\n")
		_ = http.NewResponseController(rw).Flush()
		<-r.Context().Done()
	})
}
