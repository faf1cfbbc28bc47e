package postgres

import (
	"time"

	"golang.org/x/sys/unix"
)

// bootTime returns the time since the machine started, with the time in which it slept.
func bootTime() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		panic(err) // every kernel that Go supports has the clock
	}
	return time.Duration(t.Nano())
}
