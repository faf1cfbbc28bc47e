package directory_test

import (
	"errors"
	"testing"

	"sallyport/directory"
)

// TestSuspension_LastsUntilUnsuspended: pushes and restarts do not end a suspension. Unsuspend does.
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
}

// TestSuspension_OutlivesRecord: whoever is deleted and created again, under one of their names at least, is still
// suspended, until Unsuspend.
func TestSuspension_OutlivesRecord(t *testing.T) {
	put := func(t *testing.T, h *testDirectory, u directory.User) directory.User {
		t.Helper()
		h.update(t, func(tx *directory.Tx) error { return tx.PutUser(&u) })
		return u
	}
	suspended := func(t *testing.T, h *testDirectory, u directory.User) string {
		t.Helper()
		now, ok := h.ByID(u.ID)
		if !ok {
			t.Fatal("there is no such user")
		}
		if now.Suspended == nil {
			return ""
		}
		return now.Suspended.Reason
	}
	absent := func(t *testing.T, h *testDirectory) (list []directory.Absent) {
		t.Helper()
		err := h.View(t.Context(), func(tx *directory.Tx) error {
			for a, err := range tx.Absent() {
				if err != nil {
					return err
				}
				list = append(list, a)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	lose := func(t *testing.T, h *testDirectory) directory.User {
		t.Helper()
		u := put(t, h, directory.User{UserName: "ada@example.com", ExternalID: "x", Active: true})
		h.update(t, func(tx *directory.Tx) error { return tx.Suspend(u.ID, "stolen laptop") })
		h.update(t, func(tx *directory.Tx) error { return tx.DeleteUser(u.ID) })
		return u
	}
	for name, c := range map[string]struct {
		again directory.User
		want  string
	}{
		"same names":         {directory.User{UserName: "ada@example.com", ExternalID: "x", Active: true}, "stolen laptop"},
		"other userName":     {directory.User{UserName: "ada.l@example.com", ExternalID: "x", Active: true}, "stolen laptop"},
		"other externalId":   {directory.User{UserName: "ADA@example.com", ExternalID: "y", Active: true}, "stolen laptop"},
		"no externalId":      {directory.User{UserName: "ada@example.com", Active: true}, "stolen laptop"},
		"inactive":           {directory.User{UserName: "ada@example.com", ExternalID: "x"}, "stolen laptop"},
		"somebody else":      {directory.User{UserName: "bob@example.com", ExternalID: "y", Active: true}, ""},
		"nobody's names":     {directory.User{UserName: "bob@example.com", Active: true}, ""},
		"externalId in case": {directory.User{UserName: "bob@example.com", ExternalID: "X", Active: true}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			path := t.TempDir() + "/store.db"
			h := open(t, path)
			old := lose(t, h)
			h.stop()
			h = open(t, path)
			again := put(t, h, c.again)
			if got := suspended(t, h, again); got != c.want || again.ID == old.ID {
				t.Errorf("suspended: %q, want %q", got, c.want)
			}
			h.stop()
			h = open(t, path)
			defer h.stop()
			if got := suspended(t, h, again); got != c.want {
				t.Errorf("after a restart: %q, want %q", got, c.want)
			}
			if list := absent(t, h); len(list) != 1 || list[0].UserName != "ada@example.com" || list[0].ID != old.ID {
				t.Errorf("of deleted users: %+v", list)
			}
		})
	}
	t.Run("names that come later", func(t *testing.T) {
		h := open(t, t.TempDir()+"/store.db")
		defer h.stop()
		lose(t, h)
		u := put(t, h, directory.User{UserName: "new", Active: true})
		if got := suspended(t, h, u); got != "" {
			t.Fatal(got)
		}
		u.ExternalID = "x"
		now := put(t, h, u)
		if got := suspended(t, h, u); got == "" || now.Epoch <= u.Epoch {
			t.Errorf("after they got the externalId: %q, epoch %d", got, now.Epoch)
		}
	})
	t.Run("unsuspended", func(t *testing.T) {
		h := open(t, t.TempDir()+"/store.db")
		defer h.stop()
		for range 3 { // one suspension is kept, however often they are deleted
			lose(t, h)
		}
		if list := absent(t, h); len(list) != 1 {
			t.Errorf("of deleted users: %+v", list)
		}
		again := put(t, h, directory.User{UserName: "ada@example.com", ExternalID: "x", Active: true})
		h.update(t, func(tx *directory.Tx) error { return tx.Unsuspend(again.ID) })
		h.update(t, func(tx *directory.Tx) error { return tx.DeleteUser(again.ID) })
		if u := put(t, h, directory.User{UserName: "ada@example.com", ExternalID: "x", Active: true}); suspended(t, h, u) != "" || len(absent(t, h)) != 0 {
			t.Error("still suspended")
		}
	})
	t.Run("unsuspended while deleted", func(t *testing.T) {
		h := open(t, t.TempDir()+"/store.db")
		defer h.stop()
		old := lose(t, h)
		h.update(t, func(tx *directory.Tx) error { return tx.Unsuspend(old.ID) })
		if u := put(t, h, directory.User{UserName: "ada@example.com", ExternalID: "x", Active: true}); suspended(t, h, u) != "" {
			t.Error("still suspended")
		}
		if err := h.Update(t.Context(), func(tx *directory.Tx) error { return tx.Unsuspend(old.ID) }); !errors.Is(err, directory.ErrNotFound) {
			t.Errorf("once more: %v", err)
		}
	})
}
