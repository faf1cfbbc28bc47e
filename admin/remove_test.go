package admin_test

import (
	"net/http"
	"strings"
	"testing"
)

func TestRemoveUser_EndsSessionsAndMemberships(t *testing.T) {
	w := newWorld(t)
	id := w.createUser("bob@example.com")
	group := w.push("POST", "/Groups", `{"displayName":"team","members":[{"value":"`+id+`"}]}`, http.StatusCreated)
	w.beginSession(id)
	if ended, err := w.RemoveUser(t.Context(), ada, "bob@example.com"); ended != 1 || err != nil {
		t.Errorf("%d sessions ended, %v", ended, err)
	}
	if g, err := w.Group(t.Context(), ada, "TEAM"); err != nil || g.ID != group || g.Members != 0 {
		t.Errorf("the group is %+v, %v", g, err)
	}
	w.push("GET", "/Users/"+id, "", http.StatusNotFound)
	if again := w.createUser("bob@example.com"); again == id {
		t.Error("an id is used again")
	}
}

// TestRemoveUser_KeepsSuspension: a suspension would not survive the user.
func TestRemoveUser_KeepsSuspension(t *testing.T) {
	w := newWorld(t)
	id := w.createUser("bob@example.com")
	_, err := w.Suspend(t.Context(), ada, id, "laptop stolen")
	must(t, err)
	if _, err := w.RemoveUser(t.Context(), ada, id); err == nil || !strings.Contains(err.Error(), "suspended") {
		t.Errorf("a suspended user is removed: %v", err)
	}
	if e := w.lastEvents(1)[0]; e.Reason != "failed" {
		t.Errorf("the last event is %s", e.Reason)
	}
	if u, ok := w.directory.ByID(id); !ok || u.Suspended == nil {
		t.Error("the user is not there, or not suspended")
	}
}

// TestRemoveUser_DeletesHold: a user whose deactivation is held is removed with the hold.
func TestRemoveUser_DeletesHold(t *testing.T) {
	w := newWorld(t)
	held := w.holdDeactivation()
	_, err := w.RemoveUser(t.Context(), ada, held)
	must(t, err)
	if holds, err := w.Holds(t.Context(), ada); len(holds) != 0 || err != nil {
		t.Errorf("the holds are %v, %v", holds, err)
	}
}

func TestRemoveGroup_NeedsOneGroup(t *testing.T) {
	w := newWorld(t)
	w.push("POST", "/Groups", `{"displayName":"one","externalId":"two"}`, http.StatusCreated)
	w.push("POST", "/Groups", `{"displayName":"two"}`, http.StatusCreated)
	before := len(w.events())
	for name, want := range map[string]string{"two": "names 2 groups", "three": "no group has", "": "no group has"} {
		if err := w.RemoveGroup(t.Context(), ada, name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("removing %q: %v", name, err)
		}
	}
	if len(w.directory.Groups()) != 2 || len(w.events()) != before {
		t.Error("a group was removed, or a removal was recorded")
	}
	must(t, w.RemoveGroup(t.Context(), ada, "ONE"))
	if left := w.directory.Groups(); len(left) != 1 || left[0].DisplayName != "two" {
		t.Errorf("the groups left are %v", left)
	}
}
