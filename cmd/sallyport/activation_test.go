package main

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// startWithSockets runs the server as systemd does that opened the listeners.
func (w *world) startWithSockets(names string, listeners []*net.TCPListener, flags ...string) (*running, error) {
	w.t.Helper()
	r, pipe := prepare(w.t, w.dir, flags...)
	sh, err := exec.LookPath("sh")
	if err != nil {
		w.t.Fatal(err)
	}
	r.cmd.Path, r.cmd.Args = sh, append([]string{"sh", "-c", `export LISTEN_PID=$$; exec "$0" "$@"`}, r.cmd.Args...)
	r.cmd.Env = append(os.Environ(), fmt.Sprintf("LISTEN_FDS=%d", len(listeners)), "LISTEN_FDNAMES="+names)
	for _, l := range listeners {
		f, err := l.File()
		if err != nil {
			w.t.Fatal(err)
		}
		defer f.Close()
		r.cmd.ExtraFiles = append(r.cmd.ExtraFiles, f)
	}
	if err := r.cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(r.kill)
	return r, r.listens(pipe)
}

func newListeners(t *testing.T, n int) (all []*net.TCPListener) {
	t.Helper()
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		all = append(all, l.(*net.TCPListener))
	}
	return all
}

// TestActivation: the server uses the listeners that systemd opened, and a request that comes while no server runs waits for
// the next one.
func TestActivation(t *testing.T) {
	w := newWorld(t)
	listeners := newListeners(t, 2)
	r, err := w.startWithSockets("public:scim", listeners, "--init")
	if err != nil {
		t.Fatal(err, r.log())
	}
	if got, want := r.addrs["public"], listeners[0].Addr().String(); got != want {
		t.Fatalf("the server listens on %s, and the socket is %s", got, want)
	}
	s := w.settle(r)
	r.signal(syscall.SIGTERM)
	r.awaitEnd()
	status := make(chan int, 1)
	go func() { status <- w.newBrowserWith(r, s.browser).fetch("/") }()
	if r, err = w.startWithSockets("public:scim", listeners); err != nil {
		t.Fatal(err, r.log())
	}
	if got := <-status; got != http.StatusOK {
		t.Errorf("the request that came while no server ran gets %d", got)
	}
}

// TestActivation_RefusesSockets: what systemd passes must be what the configuration names.
func TestActivation_RefusesSockets(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct{ names, want string }{
		{"sallyport.socket", `a socket with the name "sallyport.socket"; write FileDescriptorName=`},
		{"", `a socket with the name ""`},
		{"control", `a socket with the name "control"`},
		{"public:public", "two sockets with the name public"},
		{"http", "listen.http is not in the configuration"},
	} {
		t.Run(c.names, func(t *testing.T) {
			w.t = t
			r, err := w.startWithSockets(c.names, newListeners(t, strings.Count(c.names, ":")+1), "--init")
			if err == nil {
				t.Fatal("the server runs")
			}
			if log := r.log(); !strings.Contains(log, c.want) {
				t.Errorf("the server says %s", log)
			}
		})
	}
	w.t = t
}

// TestServe_NotifiesSystemd: systemd is told when the service is ready, and when it stops.
func TestServe_NotifiesSystemd(t *testing.T) {
	w := newWorld(t)
	socket := filepath.Join(w.dir, "notify")
	heard, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer heard.Close()
	demand := func(want string) {
		t.Helper()
		buf := make([]byte, 4096)
		n, err := heard.Read(buf)
		if err != nil || string(buf[:n]) != want {
			t.Fatalf("systemd hears %q, %v", buf[:n], err)
		}
	}
	r, pipe := prepare(t, w.dir, "--init")
	r.cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+socket)
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.kill)
	r.awaitListeners(pipe)
	demand("READY=1")
	r.signal(syscall.SIGTERM)
	demand("STOPPING=1")
	r.awaitEnd()
}

// heardFrom is a message to systemd, and the process that sent it.
type heardFrom struct {
	state string
	pid   int
}

// hearAs returns a reader of what is sent to a socket for systemd, as systemd reads it: with the sender, by the kernel.
func hearAs(t *testing.T, socket string) (next func() heardFrom) {
	t.Helper()
	heard, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = heard.Close() })
	raw, err := heard.SyscallConn()
	if err == nil {
		err = errors.Join(raw.Control(func(fd uintptr) { err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_PASSCRED, 1) }), err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return func() heardFrom {
		t.Helper()
		text, control := make([]byte, 4096), make([]byte, 4096)
		_ = heard.SetReadDeadline(time.Now().Add(30 * time.Second))
		n, cn, _, _, err := heard.ReadMsgUnix(text, control)
		if err != nil {
			t.Fatal("systemd hears nothing more: ", err)
		}
		messages, err := syscall.ParseSocketControlMessage(control[:cn])
		if err != nil || len(messages) != 1 {
			t.Fatal(messages, err)
		}
		cred, err := syscall.ParseUnixCredentials(&messages[0])
		if err != nil {
			t.Fatal(err)
		}
		return heardFrom{string(text[:n]), int(cred.Pid)}
	}
}

// TestWatchdog: systemd hears regularly that the service works, from the process that serves: after an upgrade from the new one.
func TestWatchdog(t *testing.T) {
	w := newWorld(t)
	socket := filepath.Join(w.dir, "notify")
	next := hearAs(t, socket)
	r, pipe := prepare(t, w.dir, "--init")
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Fatal(err)
	}
	r.cmd.Path, r.cmd.Args = sh, append([]string{"sh", "-c", `export WATCHDOG_PID=$$; exec "$0" "$@"`}, r.cmd.Args...)
	r.cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+socket, "WATCHDOG_USEC=60000")
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.kill)
	r.awaitListeners(pipe)
	await := func(state string, pid, times int) {
		t.Helper()
		for times > 0 {
			if m := next(); m.pid == pid && m.state == state {
				times--
			}
		}
	}
	await("WATCHDOG=1", r.cmd.Process.Pid, 3)
	upgraded := make(chan int, 1)
	go func() { upgraded <- r.upgrade(t) }()
	for m := next(); !strings.HasPrefix(m.state, "MAINPID="); {
		m = next()
	}
	pid := <-upgraded
	await("WATCHDOG=1", pid, 3)
	former := 0
	for range 10 {
		if m := next(); m.pid == r.cmd.Process.Pid && m.state == "WATCHDOG=1" {
			former++
		}
	}
	if former > 0 {
		t.Errorf("the former process still says %d times that it works", former)
	}
	_ = syscall.Kill(pid, syscall.SIGTERM)
	await("STOPPING=1", pid, 1)
}

// TestWatchdog_OfAnother: nothing is said if systemd waits for another process, and a time that is none is no reason not to serve.
func TestWatchdog_OfAnother(t *testing.T) {
	for _, env := range [][]string{{"WATCHDOG_USEC=1000", "WATCHDOG_PID=1"}, {"WATCHDOG_USEC=soon"}, {"WATCHDOG_USEC=-1"}, {"WATCHDOG_USEC=99999999999999999999"}} {
		t.Run(env[0], func(t *testing.T) {
			w := newWorld(t)
			socket := filepath.Join(w.dir, "notify")
			next := hearAs(t, socket)
			r, pipe := prepare(t, w.dir, "--init")
			r.cmd.Env = append(append(os.Environ(), "NOTIFY_SOCKET="+socket), env...)
			if err := r.cmd.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(r.kill)
			r.awaitListeners(pipe)
			r.signal(syscall.SIGTERM)
			for _, want := range []string{"READY=1", "STOPPING=1"} {
				if m := next(); m.state != want {
					t.Errorf("systemd hears %q in place of %q", m.state, want)
				}
			}
			r.awaitEnd()
		})
	}
}

// TestSystemdUnits: systemd accepts the units, if it is installed.
func TestSystemdUnits(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("systemd-analyze is not installed")
	}
	units, err := filepath.Glob("../../deploy/systemd/*")
	if err != nil || len(units) < 3 {
		t.Fatal(units, err)
	}
	out, err := exec.Command(analyze, append([]string{"verify", "--man=no"}, units...)...).CombinedOutput()
	for line := range strings.Lines(string(out)) {
		if !strings.Contains(line, "is not executable") { // the binary, where it is not installed
			t.Error(strings.TrimSpace(line))
		}
	}
	t.Log(err)
}
