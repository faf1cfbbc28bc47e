package postgres_test

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"sallyport/store"
	"sallyport/store/postgres"
	"sallyport/store/postgres/postgrestest"
)

// leaders returns the names of the replicas that lead.
func leaders(t *testing.T, replicas ...*replica) (names []string) {
	t.Helper()
	for n, r := range replicas {
		leads, err := store.Leads(t.Context(), r.Store)
		if err != nil {
			t.Fatal(err)
		}
		if leads {
			names = append(names, string(rune('a'+n)))
		}
	}
	return names
}

func awaitLeaders(t *testing.T, want string, replicas ...*replica) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		got := strings.Join(leaders(t, replicas...), " ")
		if got == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%q lead, want %q", got, want)
		}
	}
}

// TestLeads_IsTheOldestWhoseLeaseRuns demands that one replica leads, that another does when it is cut off or ends, and that
// who comes later does not take over.
func TestLeads_IsTheOldestWhoseLeaseRuns(t *testing.T) {
	t.Parallel()
	database := postgrestest.Start(t).Database()
	a := startReplica(t, database, "z")
	a.awaitErr(t, nil)
	b := startReplica(t, database, "a")
	b.awaitErr(t, nil)
	c := startReplica(t, database, "b")
	c.awaitErr(t, nil)
	awaitLeaders(t, "a", a, b, c)
	a.link.cut()
	a.awaitErr(t, store.ErrStale)
	awaitLeaders(t, "a", b, c)
	a.link.restore()
	a.awaitErr(t, nil)
	awaitLeaders(t, "a", a, b, c)
	a.stop()
	awaitLeaders(t, "a", b, c)
}

// TestNewest_IsWhatOthersCommitted demands that memory that catches up has what another replica committed before.
func TestNewest_IsWhatOthersCommitted(t *testing.T) {
	t.Parallel()
	postgrestest.SkipIfShort(t)
	database := postgrestest.Start(t).Database()
	a, b := startReplica(t, database, "a"), startReplica(t, database, "b")
	for n := range 200 {
		revision := put(t, a.Store, "k", string(rune('a'+n%26)))
		if err := b.mirror.CatchUp(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := b.mirror.Revision(); got < revision {
			t.Fatalf("memory has revision %d after %d was committed", got, revision)
		}
	}
	b.link.cut()
	if err := b.mirror.CatchUp(t.Context()); err == nil {
		t.Error("a replica that is cut off has caught up")
	}
}

// TestMetrics_TellOfReplicas demands that a replica tells its name, its lease and its lag, and how many there are.
func TestMetrics_TellOfReplicas(t *testing.T) {
	t.Parallel()
	postgrestest.SkipIfShort(t)
	database := postgrestest.Start(t).Database()
	a := startReplica(t, database, "a")
	a.awaitErr(t, nil)
	b := startReplica(t, database, "b")
	b.awaitErr(t, nil)
	value := func(r *replica, name string) float64 {
		t.Helper()
		reg := prometheus.NewPedanticRegistry()
		reg.MustRegister(r.Collectors()...)
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		name, label, _ := strings.Cut(name, "/")
		for _, f := range families {
			if f.GetName() != "sallyport_"+name {
				continue
			}
			for _, m := range f.GetMetric() {
				if label == "" || m.GetLabel()[0].GetValue() == label {
					return m.GetGauge().GetValue()
				}
			}
		}
		return -1
	}
	demand := func(r *replica, name string, low, high float64) {
		t.Helper()
		for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
			got := value(r, name)
			if got >= low && got <= high {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s is %v, want %v to %v", name, got, low, high)
			}
		}
	}
	demand(a, "replica_info/a", 1, 1)
	demand(b, "store_replicas/running", 2, 2)
	demand(b, "store_replicas/fenced", 0, 0)
	demand(a, "store_leads", 1, 1)
	demand(b, "store_leads", 0, 0)
	demand(b, "store_lease_seconds", 0.1, 2)
	demand(b, "store_lag_revisions", 0, 0)
	b.link.cut()
	put(t, a.Store, "k", "1")
	demand(b, "store_lease_seconds", 0, 0)
	demand(a, "store_replicas/fenced", 1, 1)
	demand(b, "store_replicas/running", -1, -1) // it cannot know
	b.link.restore()
	demand(b, "store_lease_seconds", 0.1, 2)
	demand(b, "store_lag_seconds", 0, 0)
	problems, err := testutil.GatherAndLint(func() prometheus.Gatherer {
		reg := prometheus.NewRegistry()
		reg.MustRegister(a.Collectors()...)
		return reg
	}())
	if err != nil || len(problems) > 0 {
		t.Errorf("lint finds %v, %v", problems, err)
	}
	out := make(chan *prometheus.Desc, 100)
	postgres.Describe(out)
	if close(out); len(out) != 10 {
		t.Errorf("%d metrics are described", len(out))
	}
}
