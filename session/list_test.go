package session_test

import (
	"testing"
	"testing/synctest"
	"time"

	"sallyport/session"
)

// TestListUser lists the live sessions of one user and of nobody else.
func TestListUser(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, session.Defaults(), "")
		defer func() { h.stop() }()
		one, two := h.begin("alice"), h.begin("alice")
		h.begin("bob")
		h.begin("alice2")
		if list := h.ListUser("alice"); len(list) != 2 || list[0].User != "alice" || list[1].User != "alice" {
			t.Errorf("%v", list)
		}
		if err := h.End(t.Context(), one.ID, session.ReasonLogout); err != nil {
			t.Fatal(err)
		}
		if list := h.ListUser("alice"); len(list) != 1 || list[0].ID != two.ID {
			t.Errorf("after one ended: %v", list)
		}
		for _, unknown := range []string{"", "carol", "alice/"} {
			if list := h.ListUser(unknown); len(list) != 0 {
				t.Errorf("%q: %v", unknown, list)
			}
		}
		time.Sleep(session.Defaults().Idle)
		if list := h.ListUser("alice"); len(list) != 0 {
			t.Errorf("after the idle time: %v", list)
		}
	})
}
