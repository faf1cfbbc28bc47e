package directory_test

import (
	"errors"
	"testing"

	"sallyport/directory"
)

// TestSuspension_LastsUntilUnsuspended: pushes and restarts do not end a suspension. Unsuspend does, and so does
// deleting the user.
func TestSuspension_LastsUntilUnsuspended(t *testing.T) {
	path := t.TempDir() + "/store.db"
	h := open(t, path)
	var u directory.User
	h.update(t, func(tx *directory.Tx) error {
		u = directory.User{UserName: "u", ExternalID: "x", Active: true}
		return tx.PutUser(&u)
	})
	before, _ := h.Lookup("x")
	h.update(t, func(tx *directory.Tx) error { return tx.Suspend(u.ID, "stolen laptop") })
	wantSuspended := func(when string, want bool) {
		t.Helper()
		for _, find := range []func() (*directory.User, bool){func() (*directory.User, bool) { return h.Lookup("x") }, func() (*directory.User, bool) { return h.ByID(u.ID) }} {
			if now, ok := find(); !ok || (now.Suspended != nil) != want || want && now.Suspended.Reason != "stolen laptop" {
				t.Errorf("%s the user is %+v", when, now)
			}
		}
	}
	wantSuspended("at once", true)
	if now, _ := h.Lookup("x"); now.Epoch <= before.Epoch {
		t.Error("the epoch is not raised")
	}
	h.update(t, func(tx *directory.Tx) error {
		now, err := tx.User(u.ID)
		now.UserName, now.Active = "renamed", true
		return errors.Join(err, tx.PutUser(&now))
	})
	wantSuspended("after a push", true)
	h.stop()
	h = open(t, path)
	defer h.stop()
	wantSuspended("after a restart", true)
	h.update(t, func(tx *directory.Tx) error { return tx.Unsuspend(u.ID) })
	wantSuspended("after Unsuspend", false)
	if err := h.Update(t.Context(), func(tx *directory.Tx) error { return tx.Unsuspend(u.ID) }); !errors.Is(err, directory.ErrNotFound) {
		t.Errorf("Unsuspend of a user who is not suspended gives %v", err)
	}
	h.update(t, func(tx *directory.Tx) error { return tx.Suspend(u.ID, "again") })
	h.update(t, func(tx *directory.Tx) error { return tx.DeleteUser(u.ID) })
	var recreated directory.User
	h.update(t, func(tx *directory.Tx) error {
		recreated = directory.User{UserName: "u", ExternalID: "x", Active: true}
		return tx.PutUser(&recreated)
	})
	if now, ok := h.Lookup("x"); !ok || now.Suspended != nil || recreated.ID == u.ID {
		t.Errorf("the user who was created again is %+v", now)
	}
}
