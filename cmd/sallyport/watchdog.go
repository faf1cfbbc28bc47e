package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"time"
)

// The variables by which systemd asks for signs of life (sd_watchdog_enabled(3)).
const (
	watchdogTime    = "WATCHDOG_USEC"
	watchdogProcess = "WATCHDOG_PID"
)

// watchdogLimit returns how long this process may be silent before systemd ends it (WatchdogSec= of the unit). It returns 0 if
// systemd waits for nothing, or for another process.
func watchdogLimit() (time.Duration, error) {
	text, pid := os.Getenv(watchdogTime), os.Getenv(watchdogProcess)
	if text == "" || pid != "" && pid != strconv.Itoa(os.Getpid()) {
		return 0, nil
	}
	limit, err := strconv.ParseInt(text, 10, 63)
	if err != nil || limit <= 0 || limit > int64(24*time.Hour/time.Microsecond) {
		return 0, fmt.Errorf("%s is %q, and not a number of microseconds up to a day", watchdogTime, text)
	}
	return time.Duration(limit) * time.Microsecond, nil
}

// runWatchdog tells systemd that this process works, three times within the limit, since one message is lost if it comes before
// systemd knows that this process has taken over. It returns when ctx ends, or when another process has taken over.
func (s *server) runWatchdog(ctx context.Context) error {
	limit, err := watchdogLimit()
	if err != nil {
		s.log.Warn("systemd is not told that the service works", "err", err)
	}
	if limit == 0 {
		return nil
	}
	ticker := time.NewTicker(limit / 3)
	defer ticker.Stop()
	for {
		s.touchMemory()
		s.notify("WATCHDOG=1")
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.succession.handed:
			return nil
		case <-ticker.C:
		}
	}
}

// touchMemory takes locks that decisions need, and does no I/O: while one of them is never released, systemd hears nothing.
// Whether the store, the disk or the identity provider work does not matter, since a restart mends none of them.
func (s *server) touchMemory() {
	_ = s.components.directory.Fresh()
	_, _ = s.components.sessions.Live("")
}
