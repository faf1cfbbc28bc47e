package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"sallyport/store"
	"sallyport/store/follow"
	"sallyport/store/postgres"
	"sallyport/store/postgres/postgrestest"
)

const shortLease = 2 * time.Second

// replica is one process that uses the database, over connections that the test can cut.
type replica struct {
	*postgres.Store
	mirror *follow.Mirror
	link   *link
	file   string // has the connection string
	stop   func() // ends the replica in order
}

// startReplica runs a replica until the test ends.
func startReplica(t *testing.T, database, name string) *replica {
	t.Helper()
	return startProcess(t, newLink(t, database), postgres.Options{Init: true, Replica: name})
}

// startProcess runs a process of a replica until the test ends.
func startProcess(t *testing.T, l *link, options postgres.Options) *replica {
	t.Helper()
	r := &replica{link: l}
	r.file = urlFile(t, r.link.url)
	options.URLFile, options.Lease, options.Log = r.file, shortLease, slog.New(slog.NewTextHandler(t.Output(), nil))
	s, err := postgres.Open(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	r.Store = s
	load := func(ctx context.Context) (revision store.Revision, err error) {
		err = s.View(ctx, func(r store.Reader) error { revision = r.Revision(); return nil })
		return revision, err
	}
	if r.mirror, err = follow.New(t.Context(), s, load, func(store.Change) bool { return true }); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = s.Run(ctx) })
	running.Go(func() { _ = r.mirror.Run(ctx) })
	r.stop = func() { stop(); r.link.restore(); running.Wait(); _ = s.Close() }
	t.Cleanup(r.stop)
	return r
}

// awaitErr returns when the error of the mirror is one that is want, or nil.
func (r *replica) awaitErr(t *testing.T, want error) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	for {
		changed := r.mirror.Changed()
		err := r.mirror.Err()
		if errors.Is(err, want) {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("the error is %v, want %v", err, want)
		}
	}
}

func TestLease_RunsOutAndRecovers(t *testing.T) {
	t.Parallel()
	server := postgrestest.Start(t)
	r := startReplica(t, server.Database(), "a")
	r.awaitErr(t, nil)
	for range trials(2) {
		r.link.cut()
		r.awaitErr(t, store.ErrStale)
		r.link.restore()
		r.awaitErr(t, nil)
		server.Stop()
		r.awaitErr(t, store.ErrStale)
		server.Start()
		r.awaitErr(t, nil)
	}
}

// TestEnforced_WaitsForEveryReplica demands that no replica decides without a change once Enforced returns, whether the
// replica has applied it, is cut off, or is not there any more.
func TestEnforced_WaitsForEveryReplica(t *testing.T) {
	t.Parallel()
	database := postgrestest.Start(t).Database()
	a, b, c := startReplica(t, database, "a"), startReplica(t, database, "b"), startReplica(t, database, "c")
	for _, r := range []*replica{a, b, c} {
		r.awaitErr(t, nil)
	}
	e, err := a.Enforced(t.Context(), put(t, a.Store, "k", "1"))
	if err != nil || !slices.Equal(e.Applied, []string{"a", "b", "c"}) {
		t.Errorf("with three replicas: %+v, %v", e, err)
	}
	for i := range trials(2) {
		b.link.cut()
		revision := put(t, a.Store, "k", fmt.Sprint(i))
		e, err := a.Enforced(t.Context(), revision)
		if err != nil || !slices.Equal(e.Applied, []string{"a", "c"}) || !slices.Equal(e.Fenced, []string{"b"}) {
			t.Errorf("while b is cut off: %+v, %v", e, err)
		}
		if b.mirror.Revision() < revision && b.mirror.Err() == nil {
			t.Error("b decides without the change")
		}
		b.link.restore()
		b.awaitErr(t, nil)
	}
	ended, stop := context.WithCancel(t.Context())
	b.link.cut()
	revision := put(t, a.Store, "k", "2")
	stop()
	if e, err := a.Enforced(ended, revision); !errors.Is(err, context.Canceled) || len(e.Fenced) > 0 {
		t.Errorf("an ended context gives %+v, %v", e, err)
	}
}

// TestEnforced_WaitsForEachProcessOfOneName has a second process with the name of the first, as while one takes the place of
// the other: a change is enforced when neither decides without it, and the end of the one says nothing of the other.
func TestEnforced_WaitsForEachProcessOfOneName(t *testing.T) {
	t.Parallel()
	postgrestest.SkipIfShort(t)
	database := postgrestest.Start(t).Database()
	writer, former, latter := startReplica(t, database, "writer"), startReplica(t, database, "a"), startReplica(t, database, "a")
	for _, r := range []*replica{writer, former, latter} {
		r.awaitErr(t, nil)
	}
	for _, cut := range []*replica{former, latter} {
		cut.link.cut()
		revision := put(t, writer.Store, "k", "1")
		e, err := writer.Enforced(t.Context(), revision)
		if err != nil || !slices.Equal(e.Applied, []string{"a", "writer"}) || len(e.Fenced) > 0 {
			t.Errorf("while one is cut off: %+v, %v", e, err)
		}
		if cut.mirror.Revision() < revision && cut.mirror.Err() == nil {
			t.Error("a process decides without the change, which the other one of its name has")
		}
		cut.link.restore()
		cut.awaitErr(t, nil)
	}
	former.stop()
	if e, err := writer.Enforced(t.Context(), put(t, writer.Store, "k", "2")); err != nil || !slices.Equal(e.Applied, []string{"a", "writer"}) {
		t.Errorf("after one ended: %+v, %v", e, err)
	}
}

// TestLease_ForgetsProcessesThatAreGone demands that the rows of processes that ended without a word are deleted when
// their lease has run out for some time, and not before, and that one that was only away comes back.
func TestLease_ForgetsProcessesThatAreGone(t *testing.T) {
	t.Parallel()
	postgrestest.SkipIfShort(t)
	database := postgrestest.Start(t).Database()
	open(t, database)
	exec(t, database, "INSERT INTO sallyport_replicas SELECT name, name, now() - ago, '1 s', 0 FROM (VALUES ('gone', interval '11 minutes'), ('away', '9 minutes')) AS v (name, ago)")
	r := startReplica(t, database, "a")
	r.awaitErr(t, nil)
	want := []string{"a", "away"}
	for deadline := time.Now().Add(30 * time.Second); ; {
		e, err := r.Enforced(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		if slices.Equal(e.Applied, want) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the replicas are %v, want %v", e.Applied, want)
		}
	}
	exec(t, database, "DELETE FROM sallyport_replicas")
	r.awaitErr(t, nil)
	for deadline := time.Now().Add(30 * time.Second); ; {
		if e, err := r.Enforced(t.Context(), 0); err == nil && slices.Equal(e.Applied, []string{"a"}) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("a replica whose row was deleted does not come back")
		}
	}
}

// TestLease_IsGivenBack ends replicas at any time: nobody waits for them afterwards.
func TestLease_IsGivenBack(t *testing.T) {
	t.Parallel()
	postgrestest.SkipIfShort(t)
	database := postgrestest.Start(t).Database()
	watching := open(t, database)
	for range trials(20) {
		r := startReplica(t, database, "a")
		r.awaitErr(t, nil)
		put(t, r.Store, "k", "1")
		r.stop()
		e, err := watching.Enforced(t.Context(), 0)
		if err != nil || len(e.Applied)+len(e.Fenced)+len(e.Waiting) > 0 {
			t.Fatalf("after the end of the replica there are %+v, %v", e, err)
		}
	}
}

func TestErr_TellsThatTheDatabaseIsAway(t *testing.T) {
	t.Parallel()
	postgrestest.SkipIfShort(t)
	server := postgrestest.Start(t)
	r := startReplica(t, server.Database(), "a")
	for range trials(1) {
		r.awaitErr(t, nil)
		if err := r.Err(); err != nil {
			t.Errorf("with the database there is %v", err)
		}
		server.Stop()
		r.awaitErr(t, store.ErrStale)
		if err := r.Err(); !errors.Is(err, store.ErrUnreachable) {
			t.Errorf("without the database there is %v", err)
		}
		server.Start()
	}
}

// TestContinue_IsFollowedBeyondTheGap continues a store after a later revision, as when a backup takes its place: whoever
// follows it reads everything again and goes on.
func TestContinue_IsFollowedBeyondTheGap(t *testing.T) {
	t.Parallel()
	database := postgrestest.Start(t).Database()
	a, b := startReplica(t, database, "a"), startReplica(t, database, "b")
	for _, after := range []store.Revision{0, 3, 1_000_000, 5} {
		before := put(t, a.Store, "k", "1")
		a.Continue(after)
		unchanged, err := a.Update(t.Context(), func(store.Writer) error { return nil })
		if err != nil || unchanged != before {
			t.Errorf("an update that writes nothing gives revision %d, %v after %d", unchanged, err, before)
		}
		for _, r := range []*replica{a, b} { // nothing waits for what is not there yet
			r.awaitErr(t, nil)
			if err := r.mirror.Wait(t.Context(), before); err != nil || r.mirror.Revision() != before {
				t.Errorf("before the next change memory has %d, want %d: %v", r.mirror.Revision(), before, err)
			}
		}
		next := put(t, a.Store, "k", "2")
		if want := max(before, after) + 1; next != want {
			t.Errorf("after %d and Continue(%d) comes %d, want %d", before, after, next, want)
		}
		for _, r := range []*replica{a, b} {
			if err := r.mirror.Wait(t.Context(), next); err != nil {
				t.Error(err)
			}
		}
	}
	for _, err := range b.Watch(t.Context(), 2) {
		if !errors.Is(err, store.ErrCompacted) {
			t.Errorf("a watch from before the gap gives %v", err)
		}
		break
	}
}

// TestEnforced_SharesQueries has many wait at once for a replica that is cut off: one query at a time serves them all. Each
// gets what holds of its own change.
func TestEnforced_SharesQueries(t *testing.T) {
	t.Parallel()
	postgrestest.SkipIfShort(t)
	database := postgrestest.Start(t).Database()
	a, b := startReplica(t, database, "a"), startReplica(t, database, "b")
	a.awaitErr(t, nil)
	b.awaitErr(t, nil)
	b.link.cut()
	var others sync.WaitGroup
	for i := range 64 {
		others.Go(func() {
			revision, wanted := put(t, a.Store, "k", fmt.Sprint(i)), store.Revision(0)
			if i%2 == 0 {
				wanted = revision
			}
			e, err := a.Enforced(t.Context(), wanted)
			if err != nil || e.Revision < revision || !slices.Equal(e.Applied, []string{"a"}) || !slices.Equal(e.Fenced, []string{"b"}) {
				t.Errorf("of revision %d: %+v, %v", revision, e, err)
			}
		})
	}
	others.Wait()
}

// TestLease_NeverDecidesLate has replicas decide all the time while their links are cut and restored: none decides by
// what was before a change after Enforced has returned for it.
func TestLease_NeverDecidesLate(t *testing.T) {
	t.Parallel()
	database := postgrestest.Start(t).Database()
	all := []*replica{startReplica(t, database, "a"), startReplica(t, database, "b"), startReplica(t, database, "c")}
	for _, r := range all {
		r.awaitErr(t, nil)
	}
	var mu sync.Mutex
	var enforced store.Revision
	stop := make(chan struct{})
	var others sync.WaitGroup
	for _, r := range all {
		others.Go(func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(time.Millisecond):
				}
				mu.Lock()
				floor := enforced
				mu.Unlock()
				if has := r.mirror.Revision(); r.mirror.Err() == nil && r.mirror.Revision() == has && has < floor {
					t.Errorf("a replica decides with revision %d after %d is enforced", has, floor)
				}
			}
		})
	}
	for i := range trials(3) {
		cut := all[1+i%2]
		cut.link.cut()
		revision := put(t, all[0].Store, "k", fmt.Sprint(i))
		if _, err := all[0].Enforced(t.Context(), revision); err != nil {
			t.Fatal(err)
		}
		mu.Lock()
		enforced = revision
		mu.Unlock()
		cut.link.restore()
		if i%2 == 0 {
			cut.awaitErr(t, nil)
		}
	}
	close(stop)
	others.Wait()
}
