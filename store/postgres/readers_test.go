package postgres_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"sallyport/store"
	"sallyport/store/postgres/postgrestest"
)

// TestView_SparesConnectionsForReplicas has more readers than connections, as when somebody sends invented tickets: whoever
// waits for a change to be enforced, or for what another replica committed, does not wait for them.
func TestView_SparesConnectionsForReplicas(t *testing.T) {
	t.Parallel()
	postgrestest.SkipIfShort(t)
	for _, size := range []string{"", "&pool_max_conns=1", "&pool_max_conns=3"} {
		t.Run(size, func(t *testing.T) {
			a := startReplica(t, postgrestest.Start(t).Database()+size, "a")
			a.awaitErr(t, nil)
			reading, release := context.WithCancel(t.Context())
			var readers sync.WaitGroup
			defer readers.Wait()
			defer release()
			for range 100 {
				readers.Go(func() {
					err := a.View(reading, func(store.Reader) error { <-reading.Done(); return nil })
					if err != nil && !errors.Is(err, context.Canceled) {
						t.Errorf("a reader gets %v", err)
					}
				})
			}
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			if _, err := a.Enforced(ctx, put(t, a.Store, "k", "1")); err != nil {
				t.Errorf("Enforced gives %v", err)
			}
			if err := a.mirror.CatchUp(ctx); err != nil {
				t.Errorf("CatchUp gives %v", err)
			}
			if _, err := a.Living(ctx); err != nil {
				t.Errorf("Living gives %v", err)
			}
			if leads, err := a.Leads(ctx); !leads || err != nil {
				t.Errorf("Leads gives %v, %v", leads, err)
			}
		})
	}
}
