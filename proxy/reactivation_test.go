package proxy

import (
	"testing"
	"time"

	"sallyport/directory"
	"sallyport/entratest"
)

// TestReactivation_RevivesNoSession checks that a reactivated user has access only after a new login.
func TestReactivation_RevivesNoSession(t *testing.T) {
	w := newWorld(t, nil)
	c := w.client(true)
	_, old := w.signIn("alice", appHost)
	w.setActive("alice", false)
	if res, _ := w.get(c, "https://"+appHost+"/", "Cookie", old); res.StatusCode != 403 && res.StatusCode != 401 {
		t.Errorf("while inactive: %d", res.StatusCode)
	}
	w.setActive("alice", true)
	if res, _ := w.get(c, "https://"+appHost+"/", "Cookie", old, "Accept", "application/json"); res.StatusCode != 401 {
		t.Errorf("with the old cookie: %d", res.StatusCode)
	}
	_, renewed := w.signIn("alice", appHost)
	if res, _ := w.get(c, "https://"+appHost+"/", "Cookie", renewed); res.StatusCode != 200 {
		t.Errorf("after a new login: %d", res.StatusCode)
	}
}

// TestReactivation_RevivesNoToken checks that a token from before a deactivation or suspension stays invalid, and that a
// new one is valid.
func TestReactivation_RevivesNoToken(t *testing.T) {
	for name, revoke := range map[string]func(w *world){
		"deactivated": func(w *world) { w.setActive("alice", false); w.setActive("alice", true) },
		"suspended": func(w *world) {
			id := w.user("alice").ID
			w.update(func(tx *directory.Tx) error { return tx.Suspend(id, "a test") })
			w.update(func(tx *directory.Tx) error { return tx.Unsuspend(id) })
		},
	} {
		w := newWorld(t, nil)
		statusWith := func(token string) int {
			res, _ := w.get(w.client(true), "https://"+apiHost+"/v1/x", "Authorization", "Bearer "+token)
			return res.StatusCode
		}
		old := w.token("alice", func(c entratest.Claims) { c["iat"] = time.Now().Add(-time.Minute).Unix() })
		before := statusWith(old)
		revoke(w)
		if after, renewed := statusWith(old), statusWith(w.token("alice", nil)); before != 200 || after != 401 || renewed != 200 {
			t.Errorf("%s: before %d, after %d, with a new one %d", name, before, after, renewed)
		}
	}
}
