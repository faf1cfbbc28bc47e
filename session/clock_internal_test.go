package session

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// fakeClock is a pair of clocks that a test sets.
type fakeClock struct{ wall, run time.Duration }

func (f *fakeClock) read() (wall, run int64) { return int64(f.wall), int64(f.run) }

func (f *fakeClock) sleep(d time.Duration) { f.wall += d; f.run += d }

func TestClock_NeverGoesBack(t *testing.T) {
	t.Run("when the wall clock is set back", func(t *testing.T) {
		clocks := &fakeClock{wall: 1000 * time.Hour}
		c := newClock(clocks.read)
		began := c.now()
		clocks.wall -= 500 * time.Hour
		clocks.sleep(time.Hour)
		if past := c.now().Sub(began); past != time.Hour {
			t.Errorf("%s have passed, want 1h", past)
		}
	})
	t.Run("when the wall clock is set forward and back", func(t *testing.T) {
		clocks := &fakeClock{wall: 1000 * time.Hour}
		c := newClock(clocks.read)
		began := c.now()
		clocks.wall += 13 * time.Hour
		c.now()
		clocks.wall -= 13 * time.Hour
		clocks.sleep(time.Minute)
		if past := c.now().Sub(began); past < 13*time.Hour {
			t.Errorf("%s have passed, want at least 13h", past)
		}
	})
	t.Run("behind a time that the store has", func(t *testing.T) {
		clocks := &fakeClock{wall: 10 * time.Hour, run: time.Minute}
		c := newClock(clocks.read)
		c.atLeast(time.Unix(0, int64(1000*time.Hour)))
		clocks.sleep(time.Hour)
		if now := c.now(); now.UnixNano() != int64(1001*time.Hour) {
			t.Errorf("the time is %s", now)
		}
	})
	t.Run("nor behind the wall clock", rapid.MakeCheck(func(t *rapid.T) {
		clocks := &fakeClock{wall: 1000 * time.Hour}
		c := newClock(clocks.read)
		last, run := c.nanos(), clocks.run
		t.Repeat(map[string]func(*rapid.T){
			"sleep": func(t *rapid.T) { clocks.sleep(time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(t, "d"))) },
			"set":   func(t *rapid.T) { clocks.wall += time.Duration(rapid.Int64Range(-1e15, 1e15).Draw(t, "by")) },
			"": func(t *rapid.T) {
				now := c.nanos()
				if now-last < int64(clocks.run-run) || now < int64(clocks.wall) {
					t.Fatalf("went from %d to %d while %d passed; the wall clock reads %d", last, now, clocks.run-run, clocks.wall)
				}
				last, run = now, clocks.run
			},
		})
	}))
}
