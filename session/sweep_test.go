package session_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"sallyport/session"
	"sallyport/store"
)

// manySessions is more than two transactions of a sweep hold.
const manySessions = 2001

// tokenOf returns the token on app of the session with number n.
func tokenOf(n int) string { return fmt.Sprintf("%043d", n) }

// putMany stores sessions of user u1 that began now, each with a token on app and a ticket that has just expired.
func putMany(t *testing.T, st store.Store, settings session.Settings) {
	t.Helper()
	now := time.Now().UTC()
	_, err := st.Update(t.Context(), func(w store.Writer) error {
		for n := range manySessions {
			id := fmt.Sprintf("%032x", n)
			digest := sha256.Sum256([]byte(tokenOf(n)))
			suffix := id + "/" + hex.EncodeToString(digest[:])
			for key, value := range map[string]any{
				"session/of/u1/" + id: session.Session{ID: id, User: "u1", Began: now, Authenticated: now, Used: now,
					Expires: now.Add(settings.Lifetime)},
				"session/grant/" + suffix:  map[string]any{"host": app, "made": now},
				"session/ticket/" + suffix: map[string]any{"host": app, "bind": "b", "expires": now},
			} {
				text, err := json.Marshal(value)
				if err != nil {
					return err
				}
				if err := w.Put([]byte(key), text); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestSweep_WorksInBatches(t *testing.T) {
	settings := session.Settings{Lifetime: 20 * time.Minute, Idle: 10 * time.Minute, MaxSessions: 1000}
	withStore(t, func(t *testing.T, ctx context.Context, st store.Store) {
		putMany(t, st, settings)
		s := replica(t, ctx, st, settings)
		h := &testSessions{Sessions: s, t: t, store: st}
		time.Sleep(30 * time.Second)
		for n := range manySessions {
			h.wantRead(tokenOf(n), app, nil)
		}
		used := time.Now()
		time.Sleep(31 * time.Second)
		synctest.Wait()
		if n := h.countKeys("session/ticket/"); n != 0 {
			t.Errorf("%d expired tickets are left", n)
		}
		stored := replica(t, ctx, st, settings).List()
		if len(stored) != manySessions {
			t.Errorf("%d sessions are stored, want %d", len(stored), manySessions)
		}
		for _, live := range stored {
			if !live.Used.Equal(used) {
				t.Fatalf("session %s is stored as used at %s, want %s", live.ID, live.Used, used)
			}
		}
		revision := h.revision()
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if now := h.revision(); now != revision {
			t.Errorf("%d commits though no session was used", now-revision)
		}
	})
}

func TestSweep_EndsAndDeletesInBatches(t *testing.T) {
	settings := session.Settings{Lifetime: 20 * time.Minute, Idle: 10 * time.Minute, MaxSessions: 1000}
	withStore(t, func(t *testing.T, ctx context.Context, st store.Store) {
		putMany(t, st, settings)
		s := replica(t, ctx, st, settings)
		h := &testSessions{Sessions: s, t: t, store: st}
		time.Sleep(10*time.Minute + 5*time.Second)
		synctest.Wait()
		ended := s.Collectors()[1].(*prometheus.CounterVec)
		if n := testutil.ToFloat64(ended.WithLabelValues("idle")); n != manySessions {
			t.Errorf("%v sessions are counted as idle, want %d", n, manySessions)
		}
		longer := replica(t, ctx, st, session.Settings{Lifetime: time.Hour, Idle: time.Hour, MaxSessions: 1000})
		if n := len(longer.List()); n != 0 {
			t.Errorf("%d sessions are stored as live", n)
		}
		time.Sleep(time.Hour + 10*time.Minute)
		synctest.Wait()
		if n := h.countKeys("session/"); n != 1 {
			t.Errorf("%d keys are left, want only the sealing key", n)
		}
	})
}

func TestTicket_DeletesExpiredOnes(t *testing.T) {
	withStore(t, func(t *testing.T, ctx context.Context, st store.Store) {
		h := &testSessions{Sessions: replica(t, ctx, st, session.Defaults()), t: t, store: st}
		begun := h.begin("u1")
		time.Sleep(time.Second)
		for range 3 {
			h.ticket(begun.ID, app, "b")
		}
		time.Sleep(time.Minute) // they have expired, and the next sweep is in 59 s
		h.ticket(begun.ID, app, "b")
		if n := h.countKeys("session/ticket/"); n != 1 {
			t.Errorf("%d tickets are stored, want 1", n)
		}
	})
}

func TestSweep_KeepsValidTickets(t *testing.T) {
	withStore(t, func(t *testing.T, ctx context.Context, st store.Store) {
		s := replica(t, ctx, st, session.Defaults())
		begun, err := s.Begin(ctx, session.Session{User: "u1"})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(30 * time.Second)
		ticket, err := s.Ticket(ctx, begun.ID, app, "b")
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(45 * time.Second) // tickets are swept once a minute
		synctest.Wait()
		if _, _, err := s.Redeem(ctx, ticket, app, "b"); err != nil {
			t.Errorf("Redeem of a valid ticket after a sweep: %v", err)
		}
	})
}
