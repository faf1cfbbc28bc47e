package session

import (
	"sync/atomic"
	"time"
)

// clock may leap ahead with the wall clock, but never goes back and never falls behind it: it runs with the
// monotonic clock and adopts whatever lead the wall clock gains. Setting the wall clock back makes no session live
// longer; setting it forward and back again revives no session that expired.
type clock struct {
	read   func() (wall, run int64) // nanoseconds since 1970 by the wall clock; by the monotonic clock since some start
	origin atomic.Int64             // the greatest wall-run seen
}

func newClock(read func() (wall, run int64)) *clock {
	c := &clock{read: read}
	c.now()
	return c
}

// systemClock reads the machine's clocks.
func systemClock() func() (wall, run int64) {
	start := time.Now()
	return func() (wall, run int64) {
		now := time.Now()
		return now.UnixNano(), int64(now.Sub(start))
	}
}

// nanos returns the time in nanoseconds since 1970.
func (c *clock) nanos() int64 {
	wall, run := c.read()
	c.raiseOrigin(wall - run)
	return c.origin.Load() + run
}

// now returns the time, in UTC.
func (c *clock) now() time.Time { return time.Unix(0, c.nanos()).UTC() }

// atLeast makes the clock read no earlier than t. A time that the store holds has already passed, whatever the wall
// clock reads.
func (c *clock) atLeast(t time.Time) {
	_, run := c.read()
	c.raiseOrigin(t.UnixNano() - run)
}

func (c *clock) raiseOrigin(origin int64) {
	for {
		current := c.origin.Load()
		if origin <= current || c.origin.CompareAndSwap(current, origin) {
			return
		}
	}
}
