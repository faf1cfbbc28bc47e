package demo

import (
	"sync"
	"time"
)

// clocks knows which clocks tick, and for whom. A clock is one WebSocket at
// the dashboard; it stops when the dashboard sees its connection end.
type clocks struct {
	changed func() // told after every start and stop

	mu      sync.Mutex // guards what follows
	ticking map[*clock]struct{}
}

type clock struct {
	user    string        // the user name that came with the request
	stopped chan struct{} // closed once at is set
	at      time.Time     // when it stopped
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

func (c *clocks) stop(k *clock, at time.Time) {
	c.mu.Lock()
	delete(c.ticking, k)
	c.mu.Unlock()
	k.at = at
	close(k.stopped)
	c.changed()
}

// of are the clocks that tick for user now.
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

// stops waits until every one of ks has stopped, at most for patience, and
// returns how long after from the last of them did; ok is false if one ticks on.
func stops(ks []*clock, from time.Time, patience time.Duration) (took time.Duration, ok bool) {
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for _, k := range ks {
		select {
		case <-k.stopped:
			took = max(took, k.at.Sub(from))
		case <-deadline.C:
			return 0, false
		}
	}
	return took, len(ks) > 0
}
