package directory_test

import (
	"errors"
	"testing"

	"sallyport/directory"
)

// TestSuspension_LastsUntilUnsuspended: it holds whatever is pushed, over a new start, and until the user
// is deleted or an operator takes it back.
func TestSuspension_LastsUntilUnsuspended(t *testing.T) {
	path := t.TempDir() + "/store.db"
	h := open(t, path)
	var u directory.User
	h.update(t, func(tx *directory.Tx) error {
		u = directory.User{UserName: "u", ExternalID: "x", Active: true}
		return tx.PutUser(&u)
	})
	before, _ := h.Lookup("x")
	h.update(t, func(tx *directory.Tx) error { return tx.Suspend(u.ID, "left in anger") })
	suspended := func(where string, want bool) {
		t.Helper()
		for _, find := range []func() (*directory.User, bool){func() (*directory.User, bool) { return h.Lookup("x") }, func() (*directory.User, bool) { return h.ByID(u.ID) }} {
			if now, ok := find(); !ok || (now.Suspended != nil) != want || want && now.Suspended.Reason != "left in anger" {
				t.Errorf("%s the user is %+v", where, now)
			}
		}
	}
	suspended("at once", true)
	if now, _ := h.Lookup("x"); now.Epoch <= before.Epoch {
		t.Error("sessions begun before would live again")
	}
	h.update(t, func(tx *directory.Tx) error {
		now, err := tx.User(u.ID)
		now.UserName, now.Active = "renamed", true
		return errors.Join(err, tx.PutUser(&now))
	})
	suspended("after a push", true)
	h.stop()
	h = open(t, path)
	defer h.stop()
	suspended("after a new start", true)
	h.update(t, func(tx *directory.Tx) error { return tx.Unsuspend(u.ID) })
	suspended("afterwards", false)
	if err := h.Update(t.Context(), func(tx *directory.Tx) error { return tx.Unsuspend(u.ID) }); !errors.Is(err, directory.ErrNotFound) {
		t.Errorf("taking back what was never said gives %v", err)
	}
	h.update(t, func(tx *directory.Tx) error { return tx.Suspend(u.ID, "again") })
	h.update(t, func(tx *directory.Tx) error { return tx.DeleteUser(u.ID) })
	var again directory.User
	h.update(t, func(tx *directory.Tx) error {
		again = directory.User{UserName: "u", ExternalID: "x", Active: true}
		return tx.PutUser(&again)
	})
	if now, ok := h.Lookup("x"); !ok || now.Suspended != nil || again.ID == u.ID {
		t.Errorf("who is made again is %+v", now)
	}
}
