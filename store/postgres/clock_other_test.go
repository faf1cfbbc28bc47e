//go:build !linux

package postgres_test

import "golang.org/x/sys/unix"

// commonClock is a clock that every process of the machine has in common.
const commonClock = unix.CLOCK_MONOTONIC
