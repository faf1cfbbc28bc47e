package session_test

import (
	"slices"
	"testing"

	"sallyport/session"
)

// TestSession_EndWithUserIsToldOnce: of each session that ends with its user, whoever finds it, and of no other.
func TestSession_EndWithUserIsToldOnce(t *testing.T) {
	ctx, h := t.Context(), open(t, session.Defaults(), "")
	var told []string
	h.TellOfUsers(func(s session.Session) {
		if s.Used.Before(s.Began) || s.User == "" {
			t.Errorf("told of %+v", s)
		}
		told = append(told, s.ID)
	})
	first, second, other := h.begin("u1"), h.begin("u2"), h.begin("u3")
	signedOut := h.begin("u1")
	if err := h.End(ctx, signedOut.ID, session.ReasonLogout); err != nil {
		t.Fatal(err)
	}
	ended := func(s *session.Session) bool { return s.User == "u2" }
	h.EndWithUsers(ended, false)
	if len(told) > 0 {
		t.Error("told of a session that ended before the start")
	}
	if n, err := h.EndUser(ctx, "u1", session.ReasonUser); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	h.EndWithUsers(func(s *session.Session) bool { return s.User != "u3" }, true)
	if !slices.Equal(told, []string{first.ID}) {
		t.Errorf("told of %v, want %s", told, first.ID)
	}
	third := h.begin("u4")
	h.EndWithUsers(func(s *session.Session) bool { return s.User == "u4" }, true)
	if n, err := h.EndUser(ctx, "u4", session.ReasonUser); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	if !slices.Equal(told, []string{first.ID, third.ID}) || slices.Contains(told, second.ID) || slices.Contains(told, other.ID) {
		t.Errorf("told of %v", told)
	}
}

// TestSession_EndWithUser_AfterStart: a start finds the sessions whose users ended, among those that were stored and those
// that began meanwhile, once.
func TestSession_EndWithUser_AfterStart(t *testing.T) {
	for name, changed := range map[string]bool{"as loaded": false, "changed since": true} {
		t.Run(name, func(t *testing.T) {
			h := open(t, session.Defaults(), "")
			for _, user := range []string{"u1", "u2", "u1", "u3"} {
				h.begin(user)
			}
			signedOut := h.begin("u1")
			if err := h.End(t.Context(), signedOut.ID, session.ReasonLogout); err != nil {
				t.Fatal(err)
			}
			h = h.restart(session.Defaults())
			want := 2
			if changed {
				h.begin("u1")
				h.begin("u3")
				want++
			}
			var asked []string
			ended := func(s *session.Session) bool {
				asked = append(asked, s.ID)
				return s.User == "u1"
			}
			h.EndWithUsers(ended, false)
			if slices.Contains(asked, signedOut.ID) {
				t.Error("it is asked about a session that ended before")
			}
			var users []string
			for _, s := range h.List() {
				users = append(users, s.User)
			}
			if slices.Sort(users); !slices.Equal(users, slices.Sorted(slices.Values(append(slices.Repeat([]string{"u3"}, want-1), "u2")))) {
				t.Errorf("sessions of %v are left", users)
			}
			h.TellOfUsers(func(s session.Session) { t.Errorf("told of %+v", s) })
			h.EndWithUsers(ended, true)
		})
	}
}
