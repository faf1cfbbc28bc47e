package directory_test

import (
	"fmt"
	"sync"
	"testing"

	"sallyport/directory"
)

// setManager sets the manager and the userName of a user.
func (h *testDirectory) setManager(t testing.TB, id, userName, manager string) {
	t.Helper()
	h.update(t, func(tx *directory.Tx) error {
		u, err := tx.User(id)
		if err != nil {
			return err
		}
		u.UserName = userName
		u.Document = fmt.Appendf(nil, `{"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User":{"manager":{"value":%q}}}`, manager)
		return tx.PutUser(&u)
	})
}

func TestManager_FollowsPushes(t *testing.T) {
	h := newTestDirectory(t)
	ada, grace, dan := h.addUser(t, "ada"), h.addUser(t, "grace"), h.addUser(t, "dan")
	if _, _, ok := h.Manager(ada); ok || h.Manages(grace, "ada") {
		t.Error("a user without a manager has one")
	}
	h.setManager(t, ada, "ada", grace)
	if name, external, ok := h.Manager(ada); !ok || name != "grace" || external == "" {
		t.Errorf("the manager is %q, %q, %t", name, external, ok)
	}
	u, _ := h.ByID(ada)
	for name, want := range map[string]bool{"ada": true, u.ExternalID: true, "dan": false, "nobody": false, "": false} {
		if got := h.Manages(grace, name); got != want {
			t.Errorf("Grace manages %q: %t, want %t", name, got, want)
		}
	}
	if h.Manages("", "dan") {
		t.Error("nobody manages a user without a manager")
	}
	h.setManager(t, ada, "ada.lovelace", grace)
	if h.Manages(grace, "ada") || !h.Manages(grace, "ada.lovelace") {
		t.Error("the former userName is still found, or the new one is not")
	}
	h.setManager(t, ada, "ada.lovelace", dan)
	if h.Manages(grace, "ada.lovelace") || !h.Manages(dan, "ada.lovelace") {
		t.Error("the former manager still counts")
	}
	h.setManager(t, ada, "ada.lovelace", "gone")
	if _, _, ok := h.Manager(ada); ok {
		t.Error("a manager who was not pushed counts")
	}
	h.update(t, func(tx *directory.Tx) error { return tx.DeleteUser(ada) })
	if h.Manages(dan, "ada.lovelace") {
		t.Error("a deleted user is managed")
	}
	if _, _, ok := h.Manager(ada); ok {
		t.Error("a deleted user has a manager")
	}
}

// TestManages_WhileUsersArePushed: no user is lost who is pushed while names are first
// asked for.
func TestManages_WhileUsersArePushed(t *testing.T) {
	h := newTestDirectory(t)
	boss := h.addUser(t, "boss")
	var pushes sync.WaitGroup
	pushes.Go(func() {
		for i := range 20 {
			h.setManager(t, h.addUser(t, fmt.Sprint("user", i)), fmt.Sprint("user", i), boss)
		}
	})
	h.Manages(boss, "user0")
	pushes.Wait()
	for i := range 20 {
		if name := fmt.Sprint("user", i); !h.Manages(boss, name) {
			t.Errorf("%s is not found", name)
		}
	}
}
