package session_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sallyport/session"
	"sallyport/store"
)

const idToken = session.IDToken("eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhZGEifQ.c2lnbmF0dXJl")

func (h *testSessions) beginWithIDToken(token session.IDToken) session.Session {
	h.t.Helper()
	begun, err := h.Begin(context.Background(), session.Session{User: "u1", IDToken: token})
	if err != nil {
		h.t.Fatal(err)
	}
	return begun
}

func TestIDToken_LivesAsLongAsItsSession(t *testing.T) {
	ctx := context.Background()
	h := open(t, session.Defaults(), "")
	begun, other := h.beginWithIDToken(idToken), h.beginWithIDToken("another")
	if begun.IDToken != "" || h.IDToken(ctx, begun.ID) != idToken || h.IDToken(ctx, other.ID) != "another" || h.IDToken(ctx, "unknown") != "" {
		t.Errorf("the ID token of a live session is not returned by IDToken alone")
	}
	h = h.restart(session.Defaults())
	if h.IDToken(ctx, begun.ID) != idToken {
		t.Error("lost by a restart")
	}
	for _, s := range h.List() {
		if s.IDToken != "" {
			t.Error("List returns it")
		}
	}
	if err := h.End(ctx, begun.ID, session.ReasonProvider); err != nil {
		t.Fatal(err)
	}
	if _, err := h.EndUser(ctx, "u1", session.ReasonOperator); err != nil {
		t.Fatal(err)
	}
	if n := h.countKeys("session/hint/"); n != 0 || h.IDToken(ctx, begun.ID) != "" {
		t.Errorf("%d are left of sessions that have ended", n)
	}
}

func TestIDToken_EndsWithItsSession(t *testing.T) {
	for name, end := range map[string]func(*testSessions){
		"replaced": func(h *testSessions) { h.beginWithIDToken("") },
		"cleared": func(h *testSessions) {
			if _, err := h.store.Update(context.Background(), session.Clear); err != nil {
				h.t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := open(t, session.Settings{MaxSessions: 1}, "")
			h.beginWithIDToken(idToken)
			end(h)
			if n := h.countKeys("session/hint/"); n != 0 {
				t.Errorf("%d are left", n)
			}
		})
	}
	t.Run("expired", func(t *testing.T) {
		withStore(t, func(t *testing.T, ctx context.Context, st store.Store) {
			s := replica(t, ctx, st, session.Settings{Lifetime: 20 * time.Minute, Idle: 10 * time.Minute})
			h := &testSessions{Sessions: s, t: t, store: st}
			h.beginWithIDToken(idToken)
			time.Sleep(9 * time.Minute)
			synctest.Wait()
			if n := h.countKeys("session/hint/"); n != 1 {
				t.Errorf("%d before the session expires", n)
			}
			time.Sleep(2 * time.Minute)
			synctest.Wait()
			if n := h.countKeys("session/hint/"); n != 0 {
				t.Errorf("%d are left", n)
			}
		})
	})
}

func TestIDToken_AfterLogout(t *testing.T) {
	withStore(t, func(t *testing.T, ctx context.Context, st store.Store) {
		s := replica(t, ctx, st, session.Settings{Lifetime: 2 * time.Hour, Idle: 2 * time.Hour})
		h := &testSessions{Sessions: s, t: t, store: st}
		begun, other := h.beginWithIDToken(idToken), h.beginWithIDToken("")
		for _, id := range []string{begun.ID, other.ID} {
			if err := h.End(ctx, id, session.ReasonLogout); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(9 * time.Minute)
		if h.IDToken(ctx, begun.ID) != idToken || h.IDToken(ctx, other.ID) != "" {
			t.Error("it cannot be read within ten minutes")
		}
		time.Sleep(2 * time.Minute)
		if h.IDToken(ctx, begun.ID) != "" {
			t.Error("it can be read after ten minutes")
		}
		time.Sleep(4 * time.Hour)
		synctest.Wait()
		if n := h.countKeys("session/hint/"); n != 0 {
			t.Errorf("%d are left when the session is forgotten", n)
		}
	})
}

func TestIDToken_IsBounded(t *testing.T) {
	h := open(t, session.Defaults(), "")
	for n, want := range map[int]bool{0: false, 1: true, 4 << 10: true, 4<<10 + 1: false, 1 << 20: false} {
		token := session.IDToken(strings.Repeat("x", n))
		begun := h.beginWithIDToken(token)
		if got := h.IDToken(context.Background(), begun.ID); (got != "") != want || want && got != token {
			t.Errorf("of %d bytes: kept %v, want %v", n, got != "", want)
		}
	}
}

func TestIDToken_IsSecret(t *testing.T) {
	h := open(t, session.Defaults(), "")
	begun := h.beginWithIDToken(idToken)
	if text := fmt.Sprintf("%v %+v %#v %s", idToken, session.Session{IDToken: idToken}, session.Session{IDToken: idToken}, idToken); strings.Contains(text, string(idToken)) {
		t.Errorf("printed: %s", text)
	}
	t.Run("sealed_on_disk", func(t *testing.T) {
		data, err := os.ReadFile(h.path)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(data), string(idToken)) {
			t.Error("the file contains it")
		}
	})
	t.Run("record_of_another_session_is_not_taken", func(t *testing.T) {
		other := h.beginWithIDToken("")
		_, err := h.store.Update(context.Background(), func(w store.Writer) error {
			sealed, err := w.Get([]byte("session/hint/" + begun.ID))
			if err != nil {
				return err
			}
			return w.Put([]byte("session/hint/"+other.ID), sealed)
		})
		if err != nil {
			t.Fatal(err)
		}
		if h.IDToken(context.Background(), other.ID) != "" {
			t.Error("it is")
		}
	})
}
