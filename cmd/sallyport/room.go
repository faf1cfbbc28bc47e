package main

import (
	"cmp"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"

	"sallyport/proxy"
)

// garbage is how much may lie about before it is collected, in hundredths of what is in use: twice what Go has by
// itself, since most of what a request takes is garbage when it is over. GOGC says otherwise.
const garbage = 200

// limitMemory keeps the heap below what a container may have, which file says, unless GOMEMLIMIT says otherwise: too
// many requests are then refused before the kernel ends the process.
func limitMemory(file string) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(garbage)
	}
	if os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return // no container
	}
	if most, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil && most > 0 {
		debug.SetMemoryLimit(most / 10 * 9)
	}
}

// ownDescriptors are those the process needs for itself.
const ownDescriptors = 100

// connections is how many the public listener takes at once: no more than there are descriptors for, two for each, as
// a request under way needs another to its upstream.
func (s *server) connections() int {
	most := cmp.Or(s.file.Limits.Connections, proxy.Defaults().Limits.Connections)
	var descriptors syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &descriptors); err != nil {
		return most
	}
	room := max(1, (int(min(descriptors.Cur, 1<<30))-ownDescriptors)/2)
	if most <= room {
		return most
	}
	s.log.Warn("there are too few file descriptors for limits.connections; raise the limit (LimitNOFILE of systemd, ulimit -n)",
		"connections", room, "limits.connections", most, "descriptors", descriptors.Cur)
	return room
}
