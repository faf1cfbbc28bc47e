package session

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"sallyport/store"
)

const (
	sweepEvery = 5 * time.Second // how late at most a live request of a session that expired is cut
	writeEvery = time.Minute     // how much use is forgotten at most when the process dies
)

// Run keeps memory in step with the store, ends what expired and writes down what was used, until ctx ends or the
// store fails. After it nothing may be decided from memory: Read and Live answer ErrStopped.
func (s *Sessions) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.mirror.Run(ctx) })
	g.Go(func() error { return s.maintain(ctx) })
	return g.Wait()
}

// maintain sweeps and writes uses down. A store that will not write now is asked again at the next turn; memory
// denies what expired all the same.
func (s *Sessions) maintain(ctx context.Context) error {
	sweep, write := time.NewTicker(sweepEvery), time.NewTicker(writeEvery)
	defer sweep.Stop()
	defer write.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-sweep.C:
			err = s.sweep(ctx)
		case <-write.C:
			err = errors.Join(s.writeUses(ctx), s.sweepTickets(ctx))
		}
		if errors.Is(err, store.ErrClosed) {
			return fmt.Errorf("keeping sessions: %w", err)
		}
	}
}
