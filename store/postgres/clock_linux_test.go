package postgres_test

import "golang.org/x/sys/unix"

// commonClock is a clock that every process of the machine has in common, and that goes on while the machine sleeps.
const commonClock = unix.CLOCK_BOOTTIME
