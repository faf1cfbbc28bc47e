package session_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"iter"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sallyport/session"
	"sallyport/store"
	"sallyport/store/bolt"
)

// faultyStore is a real store with one fault that a test sets.
type faultyStore struct {
	store.Store
	beforeUpdate atomic.Pointer[func() error]
	compacted    atomic.Pointer[chan struct{}] // once set, watching ends when it is closed
}

func (b *faultyStore) Update(ctx context.Context, fn func(store.Writer) error) (store.Revision, error) {
	if before := b.beforeUpdate.Load(); before != nil {
		if err := (*before)(); err != nil {
			return 0, err
		}
	}
	return b.Store.Update(ctx, fn)
}

func (b *faultyStore) Watch(ctx context.Context, after store.Revision) iter.Seq2[store.Change, error] {
	cut := b.compacted.Load()
	if cut == nil {
		return b.Store.Watch(ctx, after)
	}
	return func(yield func(store.Change, error) bool) {
		select {
		case <-*cut:
			b.compacted.Store(nil)
			yield(store.Change{}, store.ErrCompacted)
		case <-ctx.Done():
			yield(store.Change{}, ctx.Err())
		}
	}
}

// replica runs sessions over st until the bubble's end.
func replica(t *testing.T, ctx context.Context, st store.Store, settings session.Settings) *session.Sessions {
	t.Helper()
	s, err := session.Open(ctx, st, settings)
	if err != nil {
		t.Fatal(err)
	}
	go s.Run(ctx)
	return s
}

// bubble runs fn with a real store in a bubble of time.
func bubble(t *testing.T, fn func(t *testing.T, ctx context.Context, st store.Store)) {
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

func TestSessions_Faults(t *testing.T) {
	settings := session.Settings{Lifetime: 10 * time.Hour, Idle: time.Hour, MaxSessions: 50}

	t.Run("a store that takes no writes lets nothing live longer, and live requests hear of it", func(t *testing.T) {
		bubble(t, func(t *testing.T, ctx context.Context, st store.Store) {
			b := &faultyStore{Store: st}
			s := replica(t, ctx, b, settings)
			one, err := s.Begin(ctx, session.Session{User: "u1"})
			if err != nil {
				t.Fatal(err)
			}
			cookie, err := s.NewToken(ctx, one.ID, app)
			if err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			poisoned := func() error { return store.ErrPoisoned }
			b.beforeUpdate.Store(&poisoned)
			changed := s.Changed()
			time.Sleep(time.Hour + 6*time.Second)
			select {
			case <-changed:
			default:
				t.Error("live requests were not told")
			}
			if _, err := s.Read(cookie, app); !errors.Is(err, session.ErrExpired) {
				t.Errorf("Read: %v", err)
			}
			if err := s.End(ctx, one.ID, session.ReasonLogout); !errors.Is(err, store.ErrPoisoned) {
				t.Errorf("End: %v", err)
			}
		})
	})

	t.Run("writing use down does not revive what another replica ended meanwhile", func(t *testing.T) {
		bubble(t, func(t *testing.T, ctx context.Context, st store.Store) {
			b := &faultyStore{Store: st}
			here, there := replica(t, ctx, b, settings), replica(t, ctx, st, settings)
			one, err := here.Begin(ctx, session.Session{User: "u1"})
			if err != nil {
				t.Fatal(err)
			}
			cookie, err := here.NewToken(ctx, one.ID, app)
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
					return there.End(ctx, one.ID, session.ReasonLogout)
				}
				return nil
			}
			b.beforeUpdate.Store(&end)
			time.Sleep(2 * time.Minute)
			synctest.Wait()
			for name, s := range map[string]*session.Sessions{"here": here, "there": there} {
				if _, err := s.Read(cookie, app); !ended.Load() || !errors.Is(err, session.ErrEnded) {
					t.Errorf("read %s: %v (ended there: %v)", name, err, ended.Load())
				}
			}
		})
	})

	t.Run("changes missed are read anew and use is not forgotten by it", func(t *testing.T) {
		bubble(t, func(t *testing.T, ctx context.Context, st store.Store) {
			cut := make(chan struct{})
			b := &faultyStore{Store: st}
			b.compacted.Store(&cut)
			there := replica(t, ctx, st, settings)
			first, err := there.Begin(ctx, session.Session{User: "u1"})
			if err != nil {
				t.Fatal(err)
			}
			opened, err := there.NewToken(ctx, first.ID, app)
			if err != nil {
				t.Fatal(err)
			}
			here := replica(t, ctx, b, settings)
			time.Sleep(40 * time.Second)
			for range 50 { // used here, where writing it down has to wait for the store
				if _, err := here.Read(opened, app); err != nil {
					t.Fatal(err)
				}
			}
			used := here.List()[0].Used
			second, err := there.Begin(ctx, session.Session{User: "u2"})
			if err != nil {
				t.Fatal(err)
			}
			missed, err := there.NewToken(ctx, second.ID, app)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := here.Read(missed, app); !errors.Is(err, session.ErrNone) {
				t.Errorf("knew already: %v", err)
			}
			changed := here.Changed()
			close(cut)
			<-changed
			if _, err := here.Read(missed, app); err != nil {
				t.Errorf("read what was missed: %v", err)
			}
			for _, one := range here.List() {
				if one.ID == first.ID && one.Used.Before(used) {
					t.Errorf("used %s, was used %s", one.Used, used)
				}
			}
		})
	})

	t.Run("tickets nobody comes for are deleted", func(t *testing.T) {
		bubble(t, func(t *testing.T, ctx context.Context, st store.Store) {
			s := replica(t, ctx, st, settings)
			one, err := s.Begin(ctx, session.Session{User: "u1"})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.Ticket(ctx, one.ID, app, "b"); err != nil {
				t.Fatal(err)
			}
			h := &testSessions{t: t, store: st}
			if n := h.keys("session/ticket/"); n != 1 {
				t.Errorf("%d tickets at first, want 1", n)
			}
			time.Sleep(2*time.Minute + time.Second)
			synctest.Wait()
			if n := h.keys("session/ticket/"); n != 0 {
				t.Errorf("%d tickets are left", n)
			}
		})
	})

	t.Run("a machine restarted in the past gives no session more time", func(t *testing.T) {
		bubble(t, func(t *testing.T, ctx context.Context, st store.Store) {
			later := time.Now().Add(500 * time.Hour) // by which the clock was set back
			one := session.Session{ID: "00000000000000000000000000000001", User: "u1", Began: later, Used: later, Expires: later.Add(2 * time.Hour)}
			text, err := json.Marshal(one)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := st.Update(ctx, func(w store.Writer) error { return w.Put([]byte("session/of/u1/"+one.ID), text) }); err != nil {
				t.Fatal(err)
			}
			s := replica(t, ctx, st, settings)
			time.Sleep(59 * time.Minute)
			if _, err := s.Live(one.ID); err != nil {
				t.Errorf("before its idle time: %v", err)
			}
			time.Sleep(2 * time.Minute)
			if _, err := s.Live(one.ID); !errors.Is(err, session.ErrExpired) {
				t.Errorf("after its idle time: %v", err)
			}
		})
	})

	t.Run("a damaged record opens nothing and can be cleared away", func(t *testing.T) {
		h := open(t, settings, "")
		broken, sound := h.begin("u1"), h.begin("u2")
		a, b := h.grant(broken.ID, app), h.grant(sound.ID, app)
		h.stop()
		file, err := os.ReadFile(h.path)
		if err != nil {
			t.Fatal(err)
		}
		bad := bytes.ReplaceAll(file, []byte(`"user":"u1"`), []byte(`"user":"u2"`))
		if bytes.Equal(bad, file) {
			t.Fatal("nothing to damage")
		}
		if err := os.WriteFile(h.path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		h = open(t, settings, h.path)
		h.reads(a, app, session.ErrNone)
		h.reads(b, app, nil)
		if n, err := h.EndUser(t.Context(), "u1", session.ReasonUser); n != 0 || err != nil {
			t.Errorf("ended %d, %v", n, err)
		}
		if _, err := h.store.Update(t.Context(), session.Clear); err != nil {
			t.Error(err)
		}
	})
}
