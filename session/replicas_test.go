package session_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sallyport/session"
	"sallyport/store"
	"sallyport/store/bolt"
)

// sharedStore is a store of which a test says that several replicas use it. They are all current.
type sharedStore struct{ store.Store }

func (sharedStore) Follow() store.Follower { return current{} }

func (sharedStore) Enforced(context.Context, store.Revision) (store.Enforcement, error) {
	return store.Enforcement{}, nil
}

func (s sharedStore) Newest(ctx context.Context) (revision store.Revision, err error) {
	err = s.View(ctx, func(r store.Reader) error { revision = r.Revision(); return nil })
	return revision, err
}

func (sharedStore) Leads(context.Context) (bool, error) { return true, nil }

type current struct{}

func (current) Applied(store.Revision)   {}
func (current) Err() error               { return nil }
func (current) Changed() <-chan struct{} { return nil }

// TestReplicas_UseElsewhereKeepsSession: a session that is used on one replica shortly before it would be idle is not ended
// by another, which has not seen that use. One that is used on none ends soon after its idle time, on each.
func TestReplicas_UseElsewhereKeepsSession(t *testing.T) {
	for name, idle := range map[string]time.Duration{"usual": time.Hour, "short": time.Minute} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				st, err := bolt.Open(filepath.Join(dir, "s.db"), bolt.Options{Init: true})
				if err != nil {
					t.Fatal(err)
				}
				ctx, stop := context.WithCancel(context.Background())
				var running sync.WaitGroup
				var replicas [2]*session.Sessions
				for i := range replicas {
					if replicas[i], err = session.Open(ctx, sharedStore{st}, session.Settings{Idle: idle}, slog.New(slog.DiscardHandler)); err != nil {
						t.Fatal(err)
					}
					running.Go(func() { _ = replicas[i].Run(ctx) })
				}
				defer func() { stop(); running.Wait(); _ = st.Close() }()
				one, other := replicas[0], replicas[1]
				s, err := one.Begin(ctx, session.Session{User: "ada"})
				if err != nil {
					t.Fatal(err)
				}
				token, err := one.NewToken(ctx, s.ID, "app.test")
				if err != nil {
					t.Fatal(err)
				}
				for range 5 {
					time.Sleep(idle - time.Millisecond)
					if _, err := one.Read(token, "app.test"); err != nil {
						t.Fatalf("on the replica where it is used: %v", err)
					}
					time.Sleep(8 * time.Second)
					if _, err := other.Live(s.ID); err != nil {
						t.Fatalf("on the other: %v", err)
					}
					if _, err := one.Read(token, "app.test"); err != nil {
						t.Fatalf("after the other has looked: %v", err)
					}
				}
				time.Sleep(idle + 30*time.Second)
				for i, r := range replicas {
					if _, err := r.Live(s.ID); !errors.Is(err, session.ErrExpired) {
						t.Errorf("unused, on replica %d: %v", i+1, err)
					}
				}
			})
		})
	}
}

// countingStore counts the reads of a store, without those that ask for its newest revision.
type countingStore struct {
	sharedStore
	views *atomic.Int64
}

func (s countingStore) View(ctx context.Context, fn func(store.Reader) error) error {
	s.views.Add(1)
	return s.sharedStore.View(ctx, fn)
}

// TestReplicas_InventedTicketsShareQuestions: anybody may send tickets of sessions that do not exist. They cost no read of
// the store each. A ticket that cannot be looked for is not said to be invalid.
func TestReplicas_InventedTicketsShareQuestions(t *testing.T) {
	st, err := bolt.Open(filepath.Join(t.TempDir(), "s.db"), bolt.Options{Init: true})
	if err != nil {
		t.Fatal(err)
	}
	shared := countingStore{sharedStore{st}, new(atomic.Int64)}
	s, err := session.Open(t.Context(), shared, session.Settings{}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = s.Run(ctx) })
	defer func() { stop(); running.Wait(); _ = st.Close() }()
	begun, err := s.Begin(ctx, session.Session{User: "ada"})
	if err != nil {
		t.Fatal(err)
	}
	genuine, err := s.Ticket(ctx, begun.ID, "app.test", "bind")
	if err != nil {
		t.Fatal(err)
	}
	before := shared.views.Load()
	for n := range 100 {
		invented := fmt.Sprintf("%032x%s", n, genuine[32:])
		if _, _, err := s.Redeem(ctx, invented, "app.test", "bind"); !errors.Is(err, session.ErrNone) {
			t.Fatal(err)
		}
	}
	if views := shared.views.Load() - before; views > 0 {
		t.Errorf("100 invented tickets cost %d reads", views)
	}
	ended, end := context.WithCancel(ctx)
	end()
	if _, _, err := s.Redeem(ended, genuine, "app.test", "bind"); err == nil || errors.Is(err, session.ErrNone) {
		t.Errorf("a ticket that cannot be looked for gives %v", err)
	}
	if _, _, err := s.Redeem(ctx, genuine, "app.test", "bind"); err != nil {
		t.Error(err)
	}
}
