package store

import (
	"context"
	"errors"
	"time"
)

// reachEvery is how often a store is asked again that could not be reached.
const reachEvery = time.Second

// UntilReachable calls read until its error is not [ErrUnreachable], or ctx has ended, and returns that error.
func UntilReachable(ctx context.Context, read func() error) error {
	for {
		err := read()
		if !errors.Is(err, ErrUnreachable) {
			return err
		}
		timer := time.NewTimer(reachEvery)
		select {
		case <-ctx.Done():
			timer.Stop()
			return err
		case <-timer.C:
		}
	}
}
