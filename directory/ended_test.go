package directory_test

import (
	"errors"
	"path/filepath"
	"testing"
	"time"

	"sallyport/directory"
	"sallyport/store"
)

// TestEndedAt_OutlivesTheRecord: the end of a person is known by the value that callers
// are joined by, whatever ended them, and over a new start.
func TestEndedAt_OutlivesTheRecord(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	h := open(t, path)
	change := func(id string, change func(*directory.User)) {
		h.update(t, func(tx *directory.Tx) error {
			u, err := tx.User(id)
			change(&u)
			return errors.Join(err, tx.PutUser(&u))
		})
	}
	began := time.Now()
	ends := map[string]func(id string){
		"deactivated": func(id string) { change(id, func(u *directory.User) { u.Active = false }) },
		"deleted":     func(id string) { h.update(t, func(tx *directory.Tx) error { return tx.DeleteUser(id) }) },
		"suspended":   func(id string) { h.update(t, func(tx *directory.Tx) error { return tx.Suspend(id, "a test") }) },
		"rejoined":    func(id string) { change(id, func(u *directory.User) { u.ExternalID = "other" }) },
		"unjoined":    func(id string) { change(id, func(u *directory.User) { u.ExternalID = "" }) },
	}
	for name, end := range ends {
		end(h.addUser(t, name))
	}
	stays := h.addUser(t, "renamed")
	change(stays, func(u *directory.User) { u.UserName = "renamed2" })
	h.update(t, func(tx *directory.Tx) error {
		never := directory.User{UserName: "never", ExternalID: "oid-never"} // was never active
		return errors.Join(tx.PutUser(&never), tx.DeleteUser(never.ID))
	})
	check := func() {
		t.Helper()
		for name := range ends {
			if at := h.EndedAt("oid-" + name); at.Before(began.Truncate(time.Second)) || at.After(time.Now()) {
				t.Errorf("%s: ended at %v", name, at)
			}
		}
		for _, key := range []string{"oid-renamed", "oid-never", "other", ""} {
			if at := h.EndedAt(key); !at.IsZero() {
				t.Errorf("%q ended at %v", key, at)
			}
		}
	}
	check()
	h.stop()
	h = open(t, path)
	defer h.stop()
	check()
	first := h.EndedAt("oid-deleted")
	id := h.addUser(t, "deleted")
	if at := h.EndedAt("oid-deleted"); !at.Equal(first) {
		t.Errorf("after the creation of another user it ended at %v", at)
	}
	h.update(t, func(tx *directory.Tx) error { return tx.DeleteUser(id) })
	if at := h.EndedAt("oid-deleted"); !at.After(first) {
		t.Errorf("after the second end it ended at %v", at)
	}
}

// TestEndedAt_DeletionOfInactiveUser: the end of an inactive user is their
// deactivation, so that tokens are judged the same before and after the deletion.
func TestEndedAt_DeletionOfInactiveUser(t *testing.T) {
	h := newTestDirectory(t)
	id := h.addUser(t, "ann")
	h.update(t, func(tx *directory.Tx) error {
		u, err := tx.User(id)
		u.Active = false
		return errors.Join(err, tx.PutUser(&u))
	})
	u, _ := h.ByID(id)
	h.update(t, func(tx *directory.Tx) error { return tx.DeleteUser(id) })
	if at := h.EndedAt("oid-ann"); !at.Equal(u.DeactivatedAt) {
		t.Errorf("ended at %v, deactivated at %v", at, u.DeactivatedAt)
	}
}

// TestEndedAt_ForgetsAfterEndsRemembered: ends that are older than any token that is accepted
// are deleted, a few with each new one.
func TestEndedAt_ForgetsAfterEndsRemembered(t *testing.T) {
	h := newTestDirectory(t)
	now := time.Now()
	_, err := h.store.Update(t.Context(), func(w store.Writer) error {
		var errs []error
		for i, age := range []time.Duration{directory.EndsRemembered + 3*time.Hour, directory.EndsRemembered + 2*time.Hour, directory.EndsRemembered - time.Hour} {
			errs = append(errs, w.Put(directory.EndedKey(now.Add(-age), string(rune('a'+i))), []byte("{}")))
		}
		return errors.Join(errs...)
	})
	if err != nil {
		t.Fatal(err)
	}
	id := h.addUser(t, "ann")
	h.update(t, func(tx *directory.Tx) error { return tx.DeleteUser(id) })
	for key, want := range map[string]bool{"a": false, "b": false, "c": true, "oid-ann": true} {
		if got := !h.EndedAt(key).IsZero(); got != want {
			t.Errorf("%s is remembered: %v", key, got)
		}
	}
}
