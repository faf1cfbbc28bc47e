package admin_test

import (
	"context"
	"net/http"
	"testing"
)

// TestStats_TellsRejectedTokensFromPushes: a request whose token is rejected is no push.
func TestStats_TellsRejectedTokensFromPushes(t *testing.T) {
	w := newWorld(t)
	writeLog := func() {
		ended, end := context.WithCancel(t.Context())
		end()
		_ = w.server.Run(ended) // writes the entries that wait
	}
	valid := w.token
	w.token = "wrong"
	w.push("GET", "/Users", "", http.StatusUnauthorized)
	writeLog()
	s, err := w.Stats(t.Context(), ada)
	must(t, err)
	if s.LastPush != nil || s.Exchanges != 0 || s.Refused != 0 || s.Rejected == nil || s.Rejected.Address == "" || s.Rejected.Reason != "the token is unknown or revoked" {
		t.Errorf("after a rejected token the figures are %+v, %+v", s, s.Rejected)
	}
	w.token = valid
	w.createUser("ada@example.com")
	writeLog()
	s, err = w.Stats(t.Context(), ada)
	must(t, err)
	if s.LastPush == nil || s.Exchanges != 1 || s.Refused != 0 || s.Rejected == nil || !s.Rejected.Time.Before(*s.LastPush) {
		t.Errorf("after a push the figures are %+v, %+v", s, s.Rejected)
	}
}

// TestStats_CountsOnlyActiveUsersAsShared: an inactive user with the same externalId locks nobody out.
func TestStats_CountsOnlyActiveUsersAsShared(t *testing.T) {
	w := newWorld(t)
	create := func(name string, active string) {
		w.push("POST", "/Users", `{"userName":"`+name+`","externalId":"same","active":`+active+`}`, http.StatusCreated)
	}
	for i, c := range []struct {
		active string
		want   int
	}{{"false", 0}, {"true", 0}, {"true", 2}} {
		create(string(rune('a'+i)), c.active)
		s, err := w.Stats(t.Context(), ada)
		must(t, err)
		if s.Shared != c.want {
			t.Errorf("after %d users, %d share an externalId, want %d", i+1, s.Shared, c.want)
		}
	}
}
