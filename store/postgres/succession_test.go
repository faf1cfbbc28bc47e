package postgres_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"sallyport/store"
	"sallyport/store/postgres"
	"sallyport/store/postgres/postgrestest"
)

// succeed starts a process that is to take the place of another.
func (r *replica) succeed(t *testing.T, name string) *replica {
	t.Helper()
	return startProcess(t, r.link, postgres.Options{Replica: name, Process: r.NameSuccessor(), Former: r.Process()})
}

// TestSuccession_KeepsTheLead has a process take the place of another one, of a replica that leads and of one that does not:
// which replica leads stays the same, while both run and when the former one has ended. If the successor ends, the former one
// leads as before.
func TestSuccession_KeepsTheLead(t *testing.T) {
	t.Parallel()
	database := postgrestest.Start(t).Database()
	a := startReplica(t, database, "a")
	a.awaitErr(t, nil)
	b := startReplica(t, database, "b")
	b.awaitErr(t, nil)
	awaitLeaders(t, "a", a, b)

	failed := a.succeed(t, "a")
	demandCurrent(t, failed)
	if got := leaders(t, a, b, failed); len(got) != 2 || got[0] != "a" || got[1] != "c" {
		t.Errorf("while the successor begins, %q lead", got)
	}
	failed.stop()
	awaitLeaders(t, "a", a, b)

	next, other := a.succeed(t, "a"), b.succeed(t, "b")
	demandCurrent(t, next)
	demandCurrent(t, other)
	if got := leaders(t, next, b, other); len(got) != 1 || got[0] != "a" {
		t.Errorf("with the successors, %q lead", got)
	}
	a.stop()
	b.stop()
	if got := leaders(t, next, other); len(got) != 1 || got[0] != "a" {
		t.Errorf("after the former processes have ended, %q lead", got)
	}
}

// demandCurrent demands that memory may be decided from once the store says so.
func demandCurrent(t *testing.T, r *replica) {
	t.Helper()
	if err := r.AwaitCurrent(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := r.mirror.Err(); err != nil {
		t.Error(err)
	}
}

// TestSuccession_EnforcedOnBoth: a change waits for both processes of a replica; for one that has ended without a word, until
// the other says so, and no longer.
func TestSuccession_EnforcedOnBoth(t *testing.T) {
	t.Parallel()
	database := postgrestest.Start(t).Database()
	a := startReplica(t, database, "a")
	a.awaitErr(t, nil)
	other := startReplica(t, database, "other")
	other.awaitErr(t, nil)
	next := a.succeed(t, "a")
	demandCurrent(t, next)
	for _, by := range []*replica{a, next, other} {
		revision := put(t, by.Store, "k", by.Process())
		e, err := by.Enforced(t.Context(), revision)
		if err != nil || len(e.Applied) != 2 || a.mirror.Revision() < revision || next.mirror.Revision() < revision {
			t.Errorf("enforced: %+v, %v; the memories have %d and %d of %d", e, err, a.mirror.Revision(), next.mirror.Revision(), revision)
		}
	}
	a.link.cut() // and with it next
	put(t, other.Store, "k", "later")
	soon, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if e, err := other.Enforced(soon, 0); !errors.Is(err, context.DeadlineExceeded) || len(e.Waiting) != 1 {
		t.Errorf("with processes that do not respond: %+v, %v", e, err)
	}
	began := time.Now()
	for _, ended := range []*replica{a, next} {
		if err := other.Forget(t.Context(), ended.Process()); err != nil {
			t.Error(err)
		}
	}
	if e, err := other.Enforced(t.Context(), 0); err != nil || len(e.Applied) != 1 || time.Since(began) > shortLease {
		t.Errorf("after the processes are forgotten: %+v, %v", e, err)
	}
}

// TestForget_LateRenewal: a row that the database writes after its process is known to have ended is deleted, and nobody waits
// for it.
func TestForget_LateRenewal(t *testing.T) {
	t.Parallel()
	postgrestest.SkipIfShort(t)
	database := postgrestest.Start(t).Database()
	a := startReplica(t, database, "a")
	a.awaitErr(t, nil)
	late := startReplica(t, database, "late")
	late.awaitErr(t, nil)
	if err := a.Forget(t.Context(), late.Process()); err != nil { // which goes on to renew its lease
		t.Fatal(err)
	}
	late.link.cut()
	revision := put(t, a.Store, "k", "1")
	if e, err := a.Enforced(t.Context(), revision); err != nil || len(e.Applied) != 1 || len(e.Fenced) > 0 {
		t.Errorf("enforced: %+v, %v", e, err)
	}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		names, err := a.Living(t.Context())
		if err == nil && len(names) == 1 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the replicas that live are %q, %v", names, err)
		}
	}
}

// TestSuccession_OtherDatabase: the successor of a process opens no other database, be it a copy, one without tables, or
// one that does not respond.
func TestSuccession_OtherDatabase(t *testing.T) {
	t.Parallel()
	postgrestest.SkipIfShort(t)
	server := postgrestest.Start(t)
	a := startReplica(t, server.Database(), "a")
	a.awaitErr(t, nil)
	other := server.Database()
	put(t, open(t, other), "k", "1")
	for name, url := range map[string]string{"other": other, "empty": server.Database()} {
		_, err := postgres.Open(t.Context(), postgres.Options{URLFile: urlFile(t, url), Init: true, Replica: "a", Process: a.NameSuccessor(), Former: a.Process()})
		if !errors.Is(err, postgres.ErrOtherDatabase) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestAwaitCurrent_Ends: memory that cannot be confirmed is not current.
func TestAwaitCurrent_Ends(t *testing.T) {
	t.Parallel()
	a := open(t, postgrestest.Start(t).Database()) // does not run
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := a.AwaitCurrent(ctx); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, store.ErrStale) {
		t.Errorf("the error is %v", err)
	}
}
