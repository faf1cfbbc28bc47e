package session_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"iter"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sallyport/session"
	"sallyport/store"
	"sallyport/store/bolt"
)

// faultyStore is a real store with a fault that a test sets.
type faultyStore struct {
	store.Store
	beforeUpdate atomic.Pointer[func() error]
	compacted    atomic.Pointer[chan struct{}] // if set, Watch yields nothing, and ErrCompacted once it is closed
}

func (f *faultyStore) Update(ctx context.Context, fn func(store.Writer) error) (store.Revision, error) {
	if before := f.beforeUpdate.Load(); before != nil {
		if err := (*before)(); err != nil {
			return 0, err
		}
	}
	return f.Store.Update(ctx, fn)
}

func (f *faultyStore) Watch(ctx context.Context, after store.Revision) iter.Seq2[store.Change, error] {
	compacted := f.compacted.Load()
	if compacted == nil {
		return f.Store.Watch(ctx, after)
	}
	return func(yield func(store.Change, error) bool) {
		select {
		case <-*compacted:
			f.compacted.Store(nil)
			yield(store.Change{}, store.ErrCompacted)
		case <-ctx.Done():
			yield(store.Change{}, ctx.Err())
		}
	}
}

// replica runs sessions over st until ctx ends.
func replica(t *testing.T, ctx context.Context, st store.Store, settings session.Settings) *session.Sessions {
	t.Helper()
	s, err := session.Open(ctx, st, settings, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	go s.Run(ctx)
	return s
}

// withStore runs fn in a synctest bubble with a real store.
func withStore(t *testing.T, fn func(t *testing.T, ctx context.Context, st store.Store)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		st, err := bolt.Open(filepath.Join(t.TempDir(), "s.db"), bolt.Options{Init: true})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		fn(t, ctx, st)
		cancel()
		synctest.Wait()
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestSessions_StayCorrectDespiteFaults(t *testing.T) {
	settings := session.Settings{Lifetime: 10 * time.Hour, Idle: time.Hour, MaxSessions: 50}

	t.Run("sessions expire though the store accepts no writes", func(t *testing.T) {
		withStore(t, func(t *testing.T, ctx context.Context, st store.Store) {
			faulty := &faultyStore{Store: st}
			s := replica(t, ctx, faulty, settings)
			begun, err := s.Begin(ctx, session.Session{User: "u1"})
			if err != nil {
				t.Fatal(err)
			}
			cookie, err := s.NewToken(ctx, begun.ID, app)
			if err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			poisoned := func() error { return store.ErrPoisoned }
			faulty.beforeUpdate.Store(&poisoned)
			changed := s.Changed()
			time.Sleep(time.Hour + 6*time.Second)
			select {
			case <-changed:
			default:
				t.Error("Changed is not closed")
			}
			if _, err := s.Read(cookie, app); !errors.Is(err, session.ErrExpired) {
				t.Errorf("Read: %v", err)
			}
			if err := s.End(ctx, begun.ID, session.ReasonLogout); !errors.Is(err, store.ErrPoisoned) {
				t.Errorf("End: %v", err)
			}
		})
	})

	t.Run("storing a use does not revive a session that another replica ended", func(t *testing.T) {
		withStore(t, func(t *testing.T, ctx context.Context, st store.Store) {
			faulty := &faultyStore{Store: st}
			here, there := replica(t, ctx, faulty, settings), replica(t, ctx, st, settings)
			begun, err := here.Begin(ctx, session.Session{User: "u1"})
			if err != nil {
				t.Fatal(err)
			}
			cookie, err := here.NewToken(ctx, begun.ID, app)
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(30 * time.Second)
			if _, err := here.Read(cookie, app); err != nil {
				t.Fatal(err)
			}
			var ended atomic.Bool
			end := func() error {
				if ended.CompareAndSwap(false, true) {
					return there.End(ctx, begun.ID, session.ReasonLogout)
				}
				return nil
			}
			faulty.beforeUpdate.Store(&end)
			time.Sleep(2 * time.Minute)
			synctest.Wait()
			for name, s := range map[string]*session.Sessions{"here": here, "there": there} {
				if _, err := s.Read(cookie, app); !ended.Load() || !errors.Is(err, session.ErrEnded) {
					t.Errorf("read %s: %v (ended there: %v)", name, err, ended.Load())
				}
			}
		})
	})

	t.Run("memory is loaded again after missed changes and has the later uses", func(t *testing.T) {
		withStore(t, func(t *testing.T, ctx context.Context, st store.Store) {
			compacted := make(chan struct{})
			faulty := &faultyStore{Store: st}
			faulty.compacted.Store(&compacted)
			there := replica(t, ctx, st, settings)
			first, err := there.Begin(ctx, session.Session{User: "u1"})
			if err != nil {
				t.Fatal(err)
			}
			firstToken, err := there.NewToken(ctx, first.ID, app)
			if err != nil {
				t.Fatal(err)
			}
			here := replica(t, ctx, faulty, settings)
			time.Sleep(40 * time.Second)
			for range 50 { // used here, where the use cannot be stored yet
				if _, err := here.Read(firstToken, app); err != nil {
					t.Fatal(err)
				}
			}
			used := here.List()[0].Used
			second, err := there.Begin(ctx, session.Session{User: "u2"})
			if err != nil {
				t.Fatal(err)
			}
			missedToken, err := there.NewToken(ctx, second.ID, app)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := here.Read(missedToken, app); !errors.Is(err, session.ErrNone) {
				t.Errorf("Read before the change was applied: %v", err)
			}
			changed := here.Changed()
			close(compacted)
			<-changed
			if _, err := here.Read(missedToken, app); err != nil {
				t.Errorf("Read after memory was loaded again: %v", err)
			}
			for _, listed := range here.List() {
				if listed.ID == first.ID && listed.Used.Before(used) {
					t.Errorf("used at %s, want %s", listed.Used, used)
				}
			}
		})
	})

	t.Run("expired tickets are deleted", func(t *testing.T) {
		withStore(t, func(t *testing.T, ctx context.Context, st store.Store) {
			s := replica(t, ctx, st, settings)
			begun, err := s.Begin(ctx, session.Session{User: "u1"})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.Ticket(ctx, begun.ID, app, "b"); err != nil {
				t.Fatal(err)
			}
			h := &testSessions{t: t, store: st}
			if n := h.countKeys("session/ticket/"); n != 1 {
				t.Errorf("%d tickets at first, want 1", n)
			}
			time.Sleep(2*time.Minute + time.Second)
			synctest.Wait()
			if n := h.countKeys("session/ticket/"); n != 0 {
				t.Errorf("%d tickets are left", n)
			}
		})
	})

	t.Run("sessions do not last longer if the clock was set back before a restart", func(t *testing.T) {
		withStore(t, func(t *testing.T, ctx context.Context, st store.Store) {
			later := time.Now().Add(500 * time.Hour) // the time before the clock was set back
			stored := session.Session{ID: "00000000000000000000000000000001", User: "u1", Began: later, Used: later, Expires: later.Add(2 * time.Hour)}
			text, err := json.Marshal(stored)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := st.Update(ctx, func(w store.Writer) error { return w.Put([]byte("session/of/u1/"+stored.ID), text) }); err != nil {
				t.Fatal(err)
			}
			s := replica(t, ctx, st, settings)
			time.Sleep(59 * time.Minute)
			if _, err := s.Live(stored.ID); err != nil {
				t.Errorf("before it is idle for too long: %v", err)
			}
			time.Sleep(2 * time.Minute)
			if _, err := s.Live(stored.ID); !errors.Is(err, session.ErrExpired) {
				t.Errorf("after that: %v", err)
			}
		})
	})

	t.Run("a damaged session is unknown and can be cleared", func(t *testing.T) {
		h := open(t, settings, "")
		damaged, intact := h.begin("u1"), h.begin("u2")
		damagedToken, intactToken := h.newToken(damaged.ID, app), h.newToken(intact.ID, app)
		h.stop()
		file, err := os.ReadFile(h.path)
		if err != nil {
			t.Fatal(err)
		}
		changed := bytes.ReplaceAll(file, []byte(`"user":"u1"`), []byte(`"user":"u2"`))
		if bytes.Equal(changed, file) {
			t.Fatal("the file does not contain the record")
		}
		if err := os.WriteFile(h.path, changed, 0o600); err != nil {
			t.Fatal(err)
		}
		h = open(t, settings, h.path)
		h.wantRead(damagedToken, app, session.ErrNone)
		h.wantRead(intactToken, app, nil)
		if n, err := h.EndUser(t.Context(), "u1", session.ReasonUser); n != 0 || err != nil {
			t.Errorf("EndUser ended %d, %v", n, err)
		}
		if _, err := h.store.Update(t.Context(), session.Clear); err != nil {
			t.Error(err)
		}
		h.stop()
		if log := h.log.String(); !strings.Contains(log, "damaged records") || !strings.Contains(log, "prefix=session/of/ count=1") {
			t.Errorf("the log is %q", log)
		}
	})
}
