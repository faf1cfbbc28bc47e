package admin_test

import (
	"context"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"sallyport/admin"
	"sallyport/audit"
	"sallyport/audit/rollup"
	"sallyport/peers"
	"sallyport/store/bolt"
)

// replicaStore is a store as one process of three sees it, of which the third does not respond.
type replicaStore struct {
	*bolt.Store
	own string
}

func (s replicaStore) Processes(context.Context) (string, map[string]string, error) {
	return s.own, map[string]string{"1": "frankfurt", "2": "oslo", "3": "vienna"}, nil
}

// TestFigures_OfAllReplicas adds up what two replicas counted, and names the one that does not reply.
func TestFigures_OfAllReplicas(t *testing.T) {
	w := newWorld(t)
	now := time.Now().UTC()
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	t.Cleanup(func() { stop(); running.Wait() })
	var all []*admin.Admin
	for _, process := range []string{"1", "2"} {
		log, err := audit.Open(filepath.Join(t.TempDir(), "audit.jsonl"))
		must(t, err)
		t.Cleanup(func() { _ = log.Close() })
		parts := w.parts()
		parts.Peers, parts.Rollup = peers.New(replicaStore{w.store, process}, slog.New(slog.DiscardHandler)), rollup.New()
		parts.Rollup.Follow(log)
		parts.Replica = func() admin.ReplicaFacts { return admin.ReplicaFacts{Replica: process, Live: 4} }
		all = append(all, admin.New(parts))
		running.Go(func() { _ = parts.Peers.Run(ctx) })
		for i := range 3 {
			must(t, log.Write(audit.Event{Time: now.Add(-time.Duration(i) * time.Hour), Kind: audit.KindDecision, Request: "r", User: "u", UserName: "u@example.com", Route: "wiki", Host: "h", Method: "GET", Path: "/",
				Address: "192.0.2.1", Decision: "allow", Rule: "rule 1 of sre", Reason: "rule_allow"}))
		}
	}
	figures := func(a *admin.Admin) (f admin.Figures) {
		for range 20 { // until the other one follows the store
			var err error
			f, err = a.Figures(t.Context(), ada, admin.FiguresQuery{Since: 24 * time.Hour})
			must(t, err)
			if len(f.Missing) == 1 {
				break
			}
			uses, err := a.LastUses(t.Context(), ada, rollup.UsesQuery{}) // which is not remembered
			must(t, err)
			if len(uses.Missing) == 1 {
				f, err = a.Figures(t.Context(), ada, admin.FiguresQuery{Since: 24*time.Hour + time.Minute})
				must(t, err)
				break
			}
		}
		return f
	}
	for _, a := range all {
		f := figures(a)
		if s := f.Summarize(); s.Allowed != 6 || len(f.Replicas) != 2 || len(f.Missing) != 1 || f.Missing[0].Replica != "vienna" {
			t.Errorf("%d were allowed, by %v without %v", s.Allowed, f.Replicas, f.Missing)
		}
		rules, err := a.RuleUses(t.Context(), ada)
		must(t, err)
		if len(rules.Rules) != 1 || rules.Rules[0].Hits != 6 || !rules.Rules[0].Last.Equal(now.Truncate(time.Second)) {
			t.Errorf("the rules are %+v", rules)
		}
		heat, err := a.Heat(t.Context(), ada, "wiki", "Europe/Berlin")
		must(t, err)
		berlin, err := time.LoadLocation("Europe/Berlin")
		must(t, err)
		if at := now.In(berlin); heat.Heat[at.Weekday()][at.Hour()] != 2 {
			t.Errorf("the heat map is %v", heat.Heat)
		}
		replicas, err := a.Replicas(t.Context(), ada)
		must(t, err)
		if len(replicas.Replicas) != 2 || replicas.Replicas[1].Live != 4 || len(replicas.Missing) != 1 {
			t.Errorf("the replicas are %+v", replicas)
		}
	}
}
