package postgres_test

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"sallyport/store"
	"sallyport/store/postgres/postgrestest"
)

// pair is a primary and its synchronous standby.
type pair struct {
	primary, standby *postgrestest.Server
	url              string // names both
}

func startPair(t testing.TB, settings ...string) *pair {
	t.Helper()
	p := &pair{primary: postgrestest.Start(t, settings...)}
	p.url = p.primary.Database()
	p.standby = p.primary.Standby()
	p.url = strings.Replace(p.url, p.primary.Address(), p.primary.Address()+","+p.standby.Address(), 1)
	return p
}

// promote has the standby take the place of the primary, which goes on as if it were one if it runs.
func (p *pair) promote() {
	p.standby.Promote()
	p.primary, p.standby = p.standby, p.primary
}

// awaitSQL returns when a statement prints want.
func awaitSQL(t testing.TB, server *postgrestest.Server, statement, want string) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; {
		if got := server.SQL(statement); got == want {
			return
		} else if time.Now().After(deadline) {
			t.Fatalf("%s prints %s, want %s", statement, got, want)
		}
	}
}

// TestUpdate_IsNotAcknowledgedWithoutTheStandby ends the wait of a commit for its synchronous standby: the server reports a
// success then, with a warning, and shows a change to everybody that is lost when the standby is promoted. Nobody may be told
// that it is stored, and no memory may have it.
func TestUpdate_IsNotAcknowledgedWithoutTheStandby(t *testing.T) {
	t.Parallel()
	postgrestest.SkipIfShort(t)
	p := startPair(t)
	a, b := startReplica(t, p.url, "a"), startReplica(t, p.url, "b")
	before := put(t, a.Store, "k", "before")
	for _, r := range []*replica{a, b} {
		if err := r.mirror.Wait(t.Context(), before); err != nil {
			t.Fatal(err)
		}
		r.awaitErr(t, nil)
	}
	p.standby.Kill()
	updated := make(chan error, 1)
	go func() {
		_, err := a.Update(context.Background(), func(w store.Writer) error { return w.Put([]byte("k"), []byte("lost")) })
		updated <- err
	}()
	awaitSQL(t, p.primary, "SELECT count(pg_cancel_backend(pid)) FROM (SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND query = 'COMMIT' OFFSET 0) AS waiting", "1")
	if err := <-updated; !errors.Is(err, store.ErrUncertain) {
		t.Errorf("a change that the standby does not have gives %v", err)
	}
	awaitSQL(t, p.primary, "SELECT 1", "1")
	for _, r := range []*replica{a, b} {
		if r.mirror.Revision() != before {
			t.Errorf("memory has revision %d, which may be lost, after %d", r.mirror.Revision(), before)
		}
		r.awaitErr(t, store.ErrStale)
	}
	p.standby.SetFile("postgresql.auto.conf", "") // so that it does not receive what it lacks
	p.standby.Start()
	p.promote() // the former primary goes on, and responds to reads
	for _, r := range []*replica{a, b} {
		r.awaitErr(t, nil)
	}
	revision := put(t, b.Store, "k", "after")
	e, err := b.Enforced(t.Context(), revision)
	if err != nil || !slices.Equal(e.Applied, []string{"a", "b"}) {
		t.Errorf("after the promotion: %+v, %v", e, err)
	}
	if value, err := get(a.Store, "k"); value != "after" || err != nil {
		t.Errorf("after the promotion the value is %q, %v", value, err)
	}
}

// TestEnforced_DistrustsClocksOfTheDatabase sets back what the database says of the last renewal of a replica, as its clock
// does when it is set forward, or that of a standby that is promoted: the replica may decide until its lease runs out.
func TestEnforced_DistrustsClocksOfTheDatabase(t *testing.T) {
	t.Parallel()
	postgrestest.SkipIfShort(t)
	database := postgrestest.Start(t).Database()
	a, b := startReplica(t, database, "a"), startReplica(t, database, "b")
	for _, r := range []*replica{a, b} {
		r.awaitErr(t, nil)
	}
	b.link.cut()
	revision := put(t, a.Store, "k", "1")
	exec(t, database, "UPDATE sallyport_replicas SET renewed = renewed - interval '5 minutes' WHERE name = 'b'")
	e, err := a.Enforced(t.Context(), revision)
	if b.mirror.Err() == nil {
		t.Errorf("a replica decides without a change that is enforced: %+v, %v", e, err)
	}
	if err != nil || !slices.Equal(e.Fenced, []string{"b"}) {
		t.Errorf("while b is cut off: %+v, %v", e, err)
	}
}

// TestEnforced_DistrustsAFormerPrimary has a replica ask the former primary, which has the rows of former renewals, whether a
// change is enforced that was committed at the new one.
func TestEnforced_DistrustsAFormerPrimary(t *testing.T) {
	t.Parallel()
	postgrestest.SkipIfShort(t)
	p := startPair(t)
	a, b := startReplica(t, p.url, "a"), startReplica(t, p.url, "b")
	for _, r := range []*replica{a, b} {
		r.awaitErr(t, nil)
	}
	former := strings.Replace(p.url, ","+p.standby.Address(), "", 1)
	asking := open(t, former) // knows no other server
	if e, err := asking.Enforced(t.Context(), put(t, a.Store, "k", "1")); err != nil || len(e.Applied) != 2 {
		t.Errorf("before the promotion: %+v, %v", e, err)
	}
	p.promote()
	ctx, cancel := context.WithTimeout(t.Context(), 3*shortLease)
	defer cancel()
	if e, err := asking.Enforced(ctx, 1000); err == nil {
		t.Errorf("of a change that nobody has, the former primary says: %+v", e)
	}
	for _, r := range []*replica{a, b} {
		r.awaitErr(t, nil)
	}
}

// TestWatch_DistrustsAFormerPrimary has a replica come back to the former primary, which goes on, after it has read changes
// of the new one: that its changes are not there says nothing, and the replica goes on.
func TestWatch_DistrustsAFormerPrimary(t *testing.T) {
	t.Parallel()
	postgrestest.SkipIfShort(t)
	p := startPair(t)
	former := strings.Replace(p.url, ","+p.standby.Address(), "", 1)
	a := startReplica(t, p.url, "a")
	put(t, a.Store, "k", "1")
	a.awaitErr(t, nil)
	p.promote()
	put(t, open(t, strings.Replace(p.url, p.standby.Address()+",", "", 1)), "k", "2") // at the new primary
	a.awaitErr(t, store.ErrStale)
	a.awaitErr(t, nil)
	file := urlFile(t, former)
	behind, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	both, err := os.ReadFile(a.file)
	if err != nil {
		t.Fatal(err)
	}
	write(t, a.file, string(behind))
	p.primary.SQL("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'sallyport'")
	a.awaitErr(t, store.ErrStale)
	write(t, a.file, string(both))
	a.awaitErr(t, nil)
	if err := a.mirror.Wait(t.Context(), put(t, a.Store, "k", "3")); err != nil {
		t.Error(err)
	}
}
