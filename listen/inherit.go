package listen

import (
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// Sockets are open listeners by the names of the servers that they are for.
type Sockets map[string]net.Listener

// Close closes every listener.
func (s Sockets) Close() {
	for _, l := range s {
		_ = l.Close()
	}
}

// activatable are the servers whose listeners systemd can open.
var activatable = []string{"public", "scim", "ops", "http"}

// firstPassed is the descriptor of the first socket that systemd passes.
const firstPassed = 3

// Activated returns the listeners that systemd opened for this process (sd_listen_fds(3)), or none. It removes what the
// environment says of them, which is for this process alone.
func Activated() (Sockets, error) {
	pid, count, names := os.Getenv("LISTEN_PID"), os.Getenv("LISTEN_FDS"), os.Getenv("LISTEN_FDNAMES")
	for _, name := range []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID"} {
		_ = os.Unsetenv(name)
	}
	if count == "" || pid != strconv.Itoa(os.Getpid()) {
		return nil, nil
	}
	n, err := strconv.Atoi(count)
	if err != nil || n < 0 || n > 1000 {
		return nil, fmt.Errorf("LISTEN_FDS is %q, and not how many sockets were passed", count)
	}
	sockets := Sockets{}
	for i := range n {
		if err := sockets.addPassed(firstPassed+i, nameAt(names, i)); err != nil {
			sockets.Close()
			return nil, err
		}
	}
	return sockets, nil
}

func nameAt(names string, i int) string {
	list := strings.Split(names, ":")
	if i >= len(list) {
		return ""
	}
	return list[i]
}

func (s Sockets) addPassed(descriptor int, name string) error {
	if !slices.Contains(activatable, name) {
		return fmt.Errorf("systemd passes a socket with the name %q; write FileDescriptorName=public, scim, ops or http into its unit", name)
	}
	if s[name] != nil {
		return fmt.Errorf("systemd passes two sockets with the name %s; write one ListenStream= into the unit, [::] stands for IPv4 too", name)
	}
	syscall.CloseOnExec(descriptor)
	l, err := FromFile(os.NewFile(uintptr(descriptor), name)) //nolint:gosec // a small number
	if err != nil {
		return fmt.Errorf("the socket %s that systemd passes: %w", name, err)
	}
	if _, ok := l.(*net.TCPListener); !ok {
		_ = l.Close()
		return fmt.Errorf("the socket %s that systemd passes is not one of TCP; write ListenStream= with an address and a port into its unit", name)
	}
	s[name] = l
	return nil
}

// FromFile returns the listener that a file is, and closes the file.
func FromFile(f *os.File) (net.Listener, error) {
	defer f.Close()
	return net.FileListener(f)
}
