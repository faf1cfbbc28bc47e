package store_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"sallyport/store"
)

func TestUntilReachable_TriesAgain(t *testing.T) {
	unreachable, other := fmt.Errorf("%w: refused", store.ErrUnreachable), errors.New("other")
	for name, c := range map[string]struct {
		errs []error
		want error
		took time.Duration
	}{
		"reached":             {[]error{nil}, nil, 0},
		"reached_after_while": {[]error{unreachable, unreachable, nil}, nil, 2 * time.Second},
		"fails_otherwise":     {[]error{unreachable, other}, other, time.Second},
		"ends_with_context":   {[]error{unreachable, unreachable, unreachable, unreachable}, unreachable, 2500 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), 2500*time.Millisecond)
				defer cancel()
				began, calls := time.Now(), 0
				err := store.UntilReachable(ctx, func() error { calls++; return c.errs[calls-1] })
				if !errors.Is(err, c.want) || time.Since(began) != c.took {
					t.Errorf("the error is %v after %v, want %v after %v", err, time.Since(began), c.want, c.took)
				}
			})
		})
	}
}
