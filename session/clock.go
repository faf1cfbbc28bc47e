package session

import (
	"sync/atomic"
	"time"
)

// clock may leap ahead of the wall's clock and never goes back or falls behind: it runs with the monotonic clock
// and takes up whatever lead the wall gains. Set the wall back and nothing lives longer; set it forward and back
// again and what expired stays expired.
type clock struct {
	read   func() (wall, run int64) // nanoseconds since 1970 by the wall; by the monotonic clock since some start
	origin atomic.Int64             // what wall-run was when it was greatest
}

func newClock(read func() (wall, run int64)) *clock {
	c := &clock{read: read}
	c.now()
	return c
}

// system reads the machine's clocks.
func system() func() (wall, run int64) {
	start := time.Now()
	return func() (wall, run int64) {
		now := time.Now()
		return now.UnixNano(), int64(now.Sub(start))
	}
}

// nanos is the time in nanoseconds since 1970.
func (c *clock) nanos() int64 {
	wall, run := c.read()
	c.lead(wall - run)
	return c.origin.Load() + run
}

// now is the time, in UTC.
func (c *clock) now() time.Time { return time.Unix(0, c.nanos()).UTC() }

// atLeast makes the clock read no earlier than t: what the store remembers has already been.
func (c *clock) atLeast(t time.Time) {
	_, run := c.read()
	c.lead(t.UnixNano() - run)
}

func (c *clock) lead(origin int64) {
	for {
		had := c.origin.Load()
		if origin <= had || c.origin.CompareAndSwap(had, origin) {
			return
		}
	}
}
