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
	sweepEvery = 5 * time.Second // a live request is cut at most this long after its session expired
	writeEvery = time.Minute     // a crash loses at most the uses of the last minute
)

// Run brings every change of the store into memory, ends expired sessions, stores when sessions were used, and rotates
// the signing keys, until ctx ends or the store fails. After that nothing may be decided from memory: Read and Live
// return [ErrStopped].
func (s *Sessions) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.Follow(ctx) })
	g.Go(func() error { return s.Maintain(ctx) })
	return g.Wait()
}

// Follow is the part of Run that keeps memory equal to the store.
func (s *Sessions) Follow(ctx context.Context) error { return s.mirror.Run(ctx) }

// Maintain is the rest of Run: it sweeps, stores uses and rotates keys, at intervals. After an error it tries again at the
// next interval: even if the store accepts no writes, Read and Live deny sessions that have expired.
func (s *Sessions) Maintain(ctx context.Context) error {
	sweep, write := time.NewTicker(sweepEvery), time.NewTicker(writeEvery)
	defer sweep.Stop()
	defer write.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-sweep.C:
			err = errors.Join(s.tellUses(ctx), s.sweep(ctx))
		case <-write.C:
			err = errors.Join(s.writeUses(ctx), s.sweepRecords(ctx), s.rotateKeys(ctx, s.update))
		}
		if errors.Is(err, store.ErrClosed) {
			return fmt.Errorf("maintaining sessions: %w", err)
		}
	}
}
