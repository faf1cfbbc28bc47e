package sink

import (
	"context"
	"math/rand/v2"
	"time"
)

// pace is how often a sink looks and tries.
type pace struct {
	poll     time.Duration // between two looks at a record that does not grow
	first    time.Duration // after the first failed attempt; it doubles each time
	most     time.Duration // between two attempts, unless the receiver asks for more
	attempt  time.Duration // how long one attempt may take
	settle   time.Duration // how long a connection must hold after what was written to it has arrived
	stopping time.Duration // for what is left when the server stops
}

func usualPace() pace {
	return pace{poll: 500 * time.Millisecond, first: time.Second, most: time.Minute, attempt: 30 * time.Second, settle: time.Second, stopping: 3 * time.Second}
}

// backoff returns how long to wait after that many failed attempts: up to a quarter more or less, so that what failed
// together is not tried again together.
func (p pace) backoff(failed int) time.Duration {
	wait := p.first
	for i := 1; i < failed && wait < p.most; i++ {
		wait *= 2
	}
	wait = min(wait, p.most)
	return wait*3/4 + rand.N(wait/2+1) //nolint:gosec // nobody gains by guessing it
}

// sleep waits, and reports whether ctx goes on.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
