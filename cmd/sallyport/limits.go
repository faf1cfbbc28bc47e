package main

import (
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"

	"sallyport/listen"
)

// gcPercent is GOGC unless it is set in the environment. It is twice Go's default, since most of what a request
// allocates is garbage when the request ends.
const gcPercent = 200

// gcPercentOfStart takes the place of gcPercent while a start reads the store: nearly everything that it allocates stays in
// use, so that a collection frees little.
const gcPercentOfStart = 400

// collectGarbageAt has the collector let the heap grow by percent before it runs, unless GOGC is set.
func collectGarbageAt(percent int) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(percent)
	}
}

// limitMemory keeps the heap below the memory limit of the container, which is read from file, unless GOMEMLIMIT is set.
// The proxy then rejects requests before the kernel kills the process.
func limitMemory(file string) {
	if os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return // not in a container
	}
	if limit, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil && limit > 0 {
		debug.SetMemoryLimit(limit / 10 * 9)
	}
}

const (
	ownDescriptors  = 100 // file descriptors reserved for the process itself
	scimConnections = 250 // connections to the SCIM listener at once; identity providers use a few dozen
)

// clientConnections returns the connections of the public listener and of listen.http, and those of the SCIM listener, so
// that neither keeps the other from accepting.
func (s *server) clientConnections() (public, scim *listen.Connections) {
	total := s.maxConnections(s.file.Limits.Listen)
	public = listen.NewConnections(listen.ConnectionLimits{Name: "public", Total: total, PerAddress: s.file.Limits.Listen.PerAddress(total),
		Exempt: s.proxy.Trusts})
	return public, listen.NewConnections(listen.ConnectionLimits{Name: "scim", Total: scimConnections})
}

// maxConnections returns how many connections the public listener and listen.http accept at once: limits.connections, or fewer if the
// process has too few file descriptors. A connection needs two, its own and one to the upstream.
func (s *server) maxConnections(limits listen.Limits) int {
	limit := limits.MaxConnections()
	var descriptors syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &descriptors); err != nil {
		return limit
	}
	available := max(1, (int(min(descriptors.Cur, 1<<30))-ownDescriptors-scimConnections)/2)
	if limit <= available {
		return limit
	}
	s.log.Warn("there are too few file descriptors for limits.connections; raise the limit (LimitNOFILE of systemd, ulimit -n)",
		"connections", available, "configured", limit, "descriptors", descriptors.Cur)
	return available
}
