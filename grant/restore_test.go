package grant_test

import (
	"encoding/json"
	"path/filepath"
	"testing"
	"time"

	"sallyport/grant"
	"sallyport/store"
	"sallyport/store/bolt"
)

// TestDenyAsIn_AddsRevocations: a copy of the store gets what a later store revoked, and loses no revocation of its own.
func TestDenyAsIn_AddsRevocations(t *testing.T) {
	now := time.Date(2026, 11, 29, 3, 0, 0, 0, time.UTC)
	revoked := func(user string, cleared time.Time) grant.Revocation {
		return grant.Revocation{User: user, Group: "g", Key: "g", By: "ada", Since: now, Cleared: cleared}
	}
	open := func(revocations ...grant.Revocation) *bolt.Store {
		st, err := bolt.Open(filepath.Join(t.TempDir(), "store"), bolt.Options{Init: true})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = st.Close() })
		_, err = st.Update(t.Context(), func(w store.Writer) error {
			for _, r := range revocations {
				text, err := json.Marshal(r)
				if err != nil {
					return err
				}
				if err := w.Put([]byte("revoked/"+r.User+"/"+r.Group), text); err != nil {
					return err
				}
			}
			return w.Put([]byte("review/1"), []byte(`{"id":"1"}`))
		})
		if err != nil {
			t.Fatal(err)
		}
		return st
	}
	later := open(revoked("new", time.Time{}), revoked("gone", now), revoked("both", time.Time{}), revoked("cleared", now), revoked("again", time.Time{}))
	copied := open(revoked("both", time.Time{}), revoked("cleared", time.Time{}), revoked("again", now), revoked("ours", time.Time{}))
	added := 0
	_, err := copied.Update(t.Context(), func(w store.Writer) error {
		return later.View(t.Context(), func(r store.Reader) (err error) {
			added, err = grant.DenyAsIn(r, w)
			return err
		})
	})
	if err != nil || added != 2 {
		t.Fatalf("%d revocations are added, %v", added, err)
	}
	err = copied.View(t.Context(), func(r store.Reader) error {
		for user, want := range map[string]bool{"new": true, "gone": false, "both": true, "cleared": true, "again": true, "ours": true} {
			var got grant.Revocation
			text, err := r.Get([]byte("revoked/" + user + "/g"))
			inForce := err == nil && json.Unmarshal(text, &got) == nil && got.Cleared.IsZero()
			if inForce != want {
				t.Errorf("the revocation of %s is in force: %v, want %v", user, inForce, want)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
