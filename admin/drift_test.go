package admin_test

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"sallyport/admin"
	"sallyport/directory"
	"sallyport/oidc/claimed"
	"sallyport/peers"
)

// TestDrift_OfAllReplicas puts together what two replicas remember of tokens, and names the one that does not reply. The
// newest token of a person counts, whichever replica it went to.
func TestDrift_OfAllReplicas(t *testing.T) {
	w := newWorld(t)
	must(t, w.directory.Update(t.Context(), func(tx *directory.Tx) error {
		g := &directory.Group{ExternalID: "g-ops", DisplayName: "Ops"}
		if err := tx.PutGroup(g); err != nil {
			return err
		}
		for _, name := range []string{"dora", "emil", "fred"} {
			if err := tx.PutUser(&directory.User{ExternalID: name, UserName: name + "@example.com", Active: name != "fred", Document: []byte(`{}`)}); err != nil {
				return err
			}
		}
		return nil
	}))
	now := time.Now().UTC()
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	t.Cleanup(func() { stop(); running.Wait() })
	var all []*admin.Admin
	for _, process := range []string{"1", "2"} {
		parts := w.parts()
		parts.Peers, parts.TokenGroups = peers.New(replicaStore{w.store, process}, slog.New(slog.DiscardHandler)), claimed.New()
		note := func(user string, ago time.Duration, groups ...string) {
			parts.TokenGroups.Note(claimed.Claim{User: user, At: now.Add(-ago), Stated: true}, groups)
		}
		if process == "1" {
			note("dora", time.Minute, "g-ops", "elsewhere")
			note("emil", time.Hour, "OPS")
			note("fred", time.Hour, "g-ops")
		} else {
			note("dora", time.Hour)
			note("emil", time.Minute, "elsewhere", "there")
		}
		all = append(all, admin.New(parts))
		running.Go(func() { _ = parts.Peers.Run(ctx) })
	}
	drift := func(a *admin.Admin) (d admin.Drift) {
		for range 20 { // until the other one follows the store
			var err error
			d, err = a.Drift(t.Context(), ada)
			must(t, err)
			if d.Tokens != nil && len(d.Tokens.Missing) == 1 {
				break
			}
		}
		return d
	}
	for _, a := range all {
		d := drift(a).Tokens
		if d == nil || len(d.Missing) != 1 || d.Missing[0].Replica != "vienna" {
			t.Fatalf("missing is %+v", d)
		}
		if want := []admin.TokenGroup{{Name: "elsewhere", Users: 2}, {Name: "there", Users: 1}}; !slices.Equal(d.Groups, want) {
			t.Errorf("the groups that nobody pushed are %v", d.Groups)
		}
		if d.Compared != 4 || d.Differing != 1 || len(d.People) != 1 || d.People[0].UserName != "dora@example.com" || d.People[0].Unpushed.Total != 1 || d.People[0].Unpushed.Groups[0].Name != "Ops" || d.People[0].Unnamed.Total != 0 {
			t.Errorf("the differences are %+v", d)
		}
	}
}
