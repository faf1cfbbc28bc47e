package session_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sallyport/session"
	"sallyport/store"
)

// inUse runs fn in a synctest bubble, with a session that just began and what counts its uses.
func inUse(t *testing.T, fn func(h *testSessions, id string, use session.Use)) {
	t.Helper()
	settings := session.Settings{Lifetime: 10 * time.Hour, Idle: time.Hour, MaxSessions: 50}
	withStore(t, func(t *testing.T, ctx context.Context, st store.Store) {
		h := &testSessions{Sessions: replica(t, ctx, st, settings), t: t, store: st}
		id := h.begin("u1").ID
		fn(h, id, h.Use(id))
	})
}

// wantLive checks the error of Live.
func (h *testSessions) wantLive(id string, want error) {
	h.t.Helper()
	if _, err := h.Live(id); !errors.Is(err, want) || (want == nil) != (err == nil) {
		h.t.Errorf("Live: %v, want %v", err, want)
	}
}

func TestUse_KeepsSessionUntilItsLifetime(t *testing.T) {
	inUse(t, func(h *testSessions, id string, use session.Use) {
		for range 11 { // 9 h 54 min
			time.Sleep(54 * time.Minute)
			synctest.Wait()
			h.wantLive(id, nil)
			use.Note()
		}
		if used := h.List()[0].Used; !used.Equal(time.Now()) {
			t.Errorf("used at %s, want %s", used, time.Now())
		}
		time.Sleep(6 * time.Minute)
		synctest.Wait()
		use.Note()
		h.wantLive(id, session.ErrExpired)
	})
}

func TestUse_CountsToTheMillisecond(t *testing.T) {
	inUse(t, func(h *testSessions, id string, use session.Use) {
		time.Sleep(time.Hour - time.Millisecond)
		use.Note()
		time.Sleep(time.Hour - time.Millisecond)
		h.wantLive(id, nil)
		time.Sleep(time.Millisecond)
		h.wantLive(id, session.ErrExpired)
	})
}

func TestUse_RevivesNothing(t *testing.T) {
	t.Run("that was found to be idle", func(t *testing.T) {
		inUse(t, func(h *testSessions, id string, use session.Use) {
			time.Sleep(time.Hour)
			h.wantLive(id, session.ErrExpired)
			use.Note()
			h.wantLive(id, session.ErrExpired)
			time.Sleep(6 * time.Second)
			synctest.Wait()
			use.Note()
			h.wantLive(id, session.ErrExpired)
		})
	})
	t.Run("that was ended", func(t *testing.T) {
		inUse(t, func(h *testSessions, id string, use session.Use) {
			if err := h.End(context.Background(), id, session.ReasonLogout); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
			use.Note()
			synctest.Wait()
			h.wantLive(id, session.ErrEnded)
		})
	})
	t.Run("that is deleted", func(t *testing.T) {
		inUse(t, func(h *testSessions, id string, use session.Use) {
			time.Sleep(12 * time.Hour)
			synctest.Wait()
			use.Note()
			h.wantLive(id, session.ErrNone)
			if use := h.Use(id); use != (session.Use{}) {
				t.Error("there is something to count uses of a session that is gone")
			}
			h.Use(id).Note()
		})
	})
}

func TestUse_IsStoredOnceAMinute(t *testing.T) {
	inUse(t, func(h *testSessions, id string, use session.Use) {
		before := h.revision()
		for range 600 {
			time.Sleep(time.Second)
			use.Note()
		}
		synctest.Wait()
		if commits := h.revision() - before; commits < 9 || commits > 11 {
			t.Errorf("%d commits in ten minutes", commits)
		}
	})
}

// TestUse_OfAnotherReplicaKeepsSession checks that a replica on which nothing happens learns of uses on another one.
func TestUse_OfAnotherReplicaKeepsSession(t *testing.T) {
	settings := session.Settings{Lifetime: 10 * time.Hour, Idle: time.Hour, MaxSessions: 50}
	withStore(t, func(t *testing.T, ctx context.Context, st store.Store) {
		busy := &testSessions{Sessions: replica(t, ctx, st, settings), t: t, store: st}
		idle := &testSessions{Sessions: replica(t, ctx, st, settings), t: t, store: st}
		id := busy.begin("u1").ID
		use := busy.Use(id)
		for range 6 {
			time.Sleep(30 * time.Minute)
			use.Note()
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		busy.wantLive(id, nil)
		idle.wantLive(id, nil)
	})
}

// TestUse_OrEndComesFirst checks that a session which was found to be idle stays so, whatever happens at the same moment.
func TestUse_OrEndComesFirst(t *testing.T) {
	h := open(t, session.Settings{Lifetime: time.Hour, Idle: 2 * time.Millisecond, MaxSessions: 50}, "")
	for range 20 {
		id := h.begin("u1").ID
		use := h.Use(id)
		var all sync.WaitGroup
		for range 2 {
			all.Go(func() {
				for range 2000 {
					use.Note()
				}
			})
		}
		all.Go(func() {
			expired := false
			for range 2000 {
				_, err := h.Live(id)
				if expired && err == nil {
					t.Error("a session that had expired is live again")
					return
				}
				expired = err != nil
			}
		})
		all.Wait()
	}
}
