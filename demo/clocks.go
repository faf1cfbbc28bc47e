package demo

import (
	"sync"
	"time"
)

// clocks holds the clocks that tick now. A clock is one WebSocket of the dashboard; it
// stops when the dashboard sees the connection end.
type clocks struct {
	changed func() // called after every start and stop

	mu      sync.Mutex // guards ticking
	ticking map[*clock]struct{}
}

type clock struct {
	user      string        // from the identity headers of the request
	stopped   chan struct{} // closed once stoppedAt is set
	stoppedAt time.Time
}

func newClocks(changed func()) *clocks {
	return &clocks{changed: changed, ticking: map[*clock]struct{}{}}
}

func (c *clocks) start(user string) *clock {
	k := &clock{user: user, stopped: make(chan struct{})}
	c.mu.Lock()
	c.ticking[k] = struct{}{}
	c.mu.Unlock()
	c.changed()
	return k
}

func (c *clocks) stop(k *clock, stoppedAt time.Time) {
	c.mu.Lock()
	delete(c.ticking, k)
	c.mu.Unlock()
	k.stoppedAt = stoppedAt
	close(k.stopped)
	c.changed()
}

// of returns the clocks that tick for a user now.
func (c *clocks) of(user string) []*clock {
	c.mu.Lock()
	defer c.mu.Unlock()
	var found []*clock
	for k := range c.ticking {
		if k.user == user {
			found = append(found, k)
		}
	}
	return found
}

// awaitStops waits until all clocks have stopped, for at most timeout, and returns how
// long after from the last one stopped. ok is false if one still ticks.
func awaitStops(ks []*clock, from time.Time, timeout time.Duration) (took time.Duration, ok bool) {
	deadline := time.NewTimer(timeout)
	defer deadline.Stop()
	for _, k := range ks {
		select {
		case <-k.stopped:
			took = max(took, k.stoppedAt.Sub(from))
		case <-deadline.C:
			return 0, false
		}
	}
	return took, len(ks) > 0
}
