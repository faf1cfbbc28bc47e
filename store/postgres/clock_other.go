//go:build !linux

package postgres

import "time"

// begun is some time.
var begun = time.Now()

// bootTime returns the time since some time. On this system it may leave out the time in which the machine slept.
func bootTime() time.Duration {
	return max(time.Since(begun), time.Duration(time.Now().UnixNano()-begun.UnixNano()))
}
