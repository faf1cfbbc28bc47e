package session

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// fakeClock is a pair of clocks that a test sets.
type fakeClock struct{ wall, run time.Duration }

func (h *fakeClock) read() (wall, run int64) { return int64(h.wall), int64(h.run) }

func (h *fakeClock) pass(d time.Duration) { h.wall += d; h.run += d }

func TestClock_NeverGoesBack(t *testing.T) {
	t.Run("set back does not make an hour longer", func(t *testing.T) {
		h := &fakeClock{wall: 1000 * time.Hour}
		c := newClock(h.read)
		began := c.now()
		h.wall -= 500 * time.Hour
		h.pass(time.Hour)
		if past := c.now().Sub(began); past != time.Hour {
			t.Errorf("%s have passed, want 1h", past)
		}
	})
	t.Run("set forward and back leaves what expired expired", func(t *testing.T) {
		h := &fakeClock{wall: 1000 * time.Hour}
		c := newClock(h.read)
		began := c.now()
		h.wall += 13 * time.Hour
		c.now()
		h.wall -= 13 * time.Hour
		h.pass(time.Minute)
		if past := c.now().Sub(began); past < 13*time.Hour {
			t.Errorf("%s have passed, want what was once read", past)
		}
	})
	t.Run("restarted in the past goes on from what the store remembers", func(t *testing.T) {
		h := &fakeClock{wall: 10 * time.Hour}
		c := newClock(h.read)
		c.atLeast(time.Unix(0, int64(1000*time.Hour)))
		h.pass(time.Hour)
		if now := c.now(); now.UnixNano() != int64(1001*time.Hour) {
			t.Errorf("it is %s", now)
		}
	})
	t.Run("never goes back, never runs slower than time, never falls behind the wall", rapid.MakeCheck(func(t *rapid.T) {
		h := &fakeClock{wall: 1000 * time.Hour}
		c := newClock(h.read)
		last, run := c.nanos(), h.run
		t.Repeat(map[string]func(*rapid.T){
			"pass": func(t *rapid.T) { h.pass(time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(t, "d"))) },
			"set":  func(t *rapid.T) { h.wall += time.Duration(rapid.Int64Range(-1e15, 1e15).Draw(t, "by")) },
			"": func(t *rapid.T) {
				now := c.nanos()
				if now-last < int64(h.run-run) || now < int64(h.wall) {
					t.Fatalf("went from %d to %d while %d passed; the wall says %d", last, now, h.run-run, h.wall)
				}
				last, run = now, h.run
			},
		})
	}))
}
