package postgres_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"sallyport/store"
	"sallyport/store/postgres"
	"sallyport/store/postgres/postgrestest"
)

// hold takes a hold for the test.
func hold(t testing.TB, url string, purpose postgres.Purpose) *postgres.Hold {
	t.Helper()
	h, err := postgres.TakeHold(t.Context(), urlFile(t, url), purpose)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Release)
	return h
}

func TestStore_ContinuesAfter(t *testing.T) {
	t.Parallel()
	url := postgrestest.Start(t).Database()
	s := open(t, url)
	s.Continue(41)
	s.Continue(7)
	if first, second := put(t, s, "a", "1"), put(t, s, "b", "1"); first != 42 || second != 43 {
		t.Errorf("after 41 come %d and %d", first, second)
	}
	if revision := put(t, open(t, url), "c", "1"); revision != 44 {
		t.Errorf("another store goes on with %d", revision)
	}
	for _, err := range s.Watch(t.Context(), 0) {
		if !errors.Is(err, store.ErrCompacted) {
			t.Errorf("who has seen the empty store gets %v", err)
		}
		break
	}
}

func TestHold_KeepsOthersOut(t *testing.T) {
	t.Parallel()
	server := postgrestest.Start(t)
	allowed := map[[2]postgres.Purpose]bool{{postgres.ToRead, postgres.ToRead}: true}
	for _, made := range []bool{false, true} {
		for first := range postgres.Purpose(3) {
			for second := range postgres.Purpose(3) {
				if !made && first != postgres.ToWrite {
					continue
				}
				t.Run("", func(t *testing.T) {
					t.Parallel()
					url := server.Database()
					if made {
						put(t, open(t, url), "a", "1")
					}
					held := hold(t, url, first)
					h, err := postgres.TakeHold(t.Context(), urlFile(t, url), second)
					if want := allowed[[2]postgres.Purpose{first, second}]; (err == nil) != want || !want && !errors.Is(err, store.ErrLocked) {
						t.Errorf("while it is held for %d, a hold for %d gives %v", first, second, err)
					}
					if err == nil {
						h.Release()
					}
					held.Release()
					hold(t, url, second)
				})
			}
		}
	}
}

// TestHold_RefusesWhatReplicasUse: only a replica whose lease has run out, or that gave it back, is not in the way.
func TestHold_RefusesWhatReplicasUse(t *testing.T) {
	t.Parallel()
	url := postgrestest.Start(t).Database()
	s := open(t, url)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- s.Run(ctx) }()
	f := s.Follow()
	f.Applied(0)
	for f.Err() != nil {
		<-f.Changed()
	}
	before := dump(t, url)
	for purpose := range postgres.Purpose(3) {
		_, err := postgres.TakeHold(t.Context(), urlFile(t, url), purpose)
		if !errors.Is(err, store.ErrLocked) || !strings.Contains(err.Error(), "test may decide for another 1") {
			t.Errorf("a hold for %d of what a replica uses gives %v", purpose, err)
		}
	}
	if dump(t, url) != before || f.Err() != nil {
		t.Error("the replica was disturbed")
	}
	stop()
	<-ended
	hold(t, url, postgres.ToReplace).Release()
}

// TestHold_FencesThoseWhoComeLater: while a database is held, no replica gets a lease, and what must not change does not.
func TestHold_FencesThoseWhoComeLater(t *testing.T) {
	t.Parallel()
	postgrestest.SkipIfShort(t)
	url := postgrestest.Start(t).Database()
	put(t, open(t, url), "a", "1")
	h := hold(t, url, postgres.ToRead)
	s := open(t, url)
	go func() { _ = s.Run(t.Context()) }()
	f := s.Follow()
	f.Applied(1)
	if _, err := s.Update(t.Context(), func(w store.Writer) error { return w.Put([]byte("b"), nil) }); err == nil {
		t.Error("what is copied was changed")
	}
	if f.Err() == nil {
		t.Error("a replica decides while the database is held")
	}
	if err := h.Err(t.Context()); err != nil {
		t.Error(err)
	}
	exec(t, url, "SELECT pg_terminate_backend(l.pid) FROM pg_locks l WHERE l.locktype = 'advisory' AND l.objsubid = 2")
	if err := h.Err(t.Context()); err == nil {
		t.Error("nothing says that the hold was lost")
	}
	for f.Err() != nil {
		<-f.Changed()
	}
}

func TestHold_HasNoSecretInErrors(t *testing.T) {
	t.Parallel()
	for name, url := range map[string]string{"empty": "", "not a URL": "postgres://user:hunter2@[", "nobody listens": "postgres://sallyport:hunter2@127.0.0.1:1/x"} {
		_, err := postgres.TakeHold(t.Context(), urlFile(t, url), postgres.ToRead)
		failed := postgres.Create(t.Context(), urlFile(t, url), 0, func(store.Writer) error { return nil })
		for _, err := range []error{err, failed} {
			if err == nil || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%s gives %v", name, err)
			}
		}
	}
}

// TestCreate_MakesTablesWithTheirContent: whoever finds the tables finds what was written with them.
func TestCreate_MakesTablesWithTheirContent(t *testing.T) {
	t.Parallel()
	server := postgrestest.Start(t)
	url := server.Database()
	mark := func(w store.Writer) error { return w.Put([]byte(store.UnfinishedKey), []byte("{}")) }
	boom := errors.New("boom")
	if err := postgres.Create(t.Context(), urlFile(t, url), 9, func(w store.Writer) error { return errors.Join(mark(w), boom) }); !errors.Is(err, boom) {
		t.Errorf("an error gives %v", err)
	}
	if _, err := postgres.Open(t.Context(), postgres.Options{URLFile: urlFile(t, url), Replica: "test"}); !errors.Is(err, store.ErrMissing) {
		t.Errorf("after an error there is %v", err)
	}
	if err := postgres.Create(t.Context(), urlFile(t, url), 9, mark); err != nil {
		t.Fatal(err)
	}
	if err := postgres.Create(t.Context(), urlFile(t, url), 9, mark); err == nil {
		t.Error("tables were made twice")
	}
	if _, err := postgres.Open(t.Context(), postgres.Options{URLFile: urlFile(t, url), Init: true, Replica: "test"}); !errors.Is(err, store.ErrUnfinished) {
		t.Errorf("an unfinished copy gives %v", err)
	}
	s, err := postgres.Open(t.Context(), postgres.Options{URLFile: urlFile(t, url), Replica: "test", Into: true, Slow: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if revision := put(t, s, "a", "1"); revision != 11 {
		t.Errorf("the second revision is %d", revision)
	}
}
