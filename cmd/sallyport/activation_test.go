package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
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
