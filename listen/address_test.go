package listen

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// TestServer_ListensOn: two spellings of an address are one listener, and addresses that overlap are not.
func TestServer_ListensOn(t *testing.T) {
	one := startServer(t, Options{Handler: http.NotFoundHandler()})
	_, port, _ := net.SplitHostPort(one.Addr().String())
	every, err := Open(Options{Name: "every", Addr: ":0", Handler: http.NotFoundHandler(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer every.Close()
	_, everyPort, _ := net.SplitHostPort(every.Addr().String())
	for _, c := range []struct {
		server         *Server
		addr           string
		same, overlaps bool
	}{
		{one, "127.0.0.1:" + port, true, false},
		{one, "localhost:" + port, true, false},
		{one, "[::ffff:127.0.0.1]:" + port, true, false},
		{one, "127.0.0.2:" + port, false, false},
		{one, "127.0.0.1:" + everyPort, false, false},
		{one, "127.0.0.1:0", false, false},
		{one, ":" + port, false, true},
		{one, "0.0.0.0:" + port, false, true},
		{one, "nowhere.invalid:" + port, false, false},
		{every, ":" + everyPort, true, false},
		{every, "0.0.0.0:" + everyPort, true, false},
		{every, "[::]:" + everyPort, true, false},
		{every, "127.0.0.1:" + everyPort, false, true},
		{every, ":0", false, false},
	} {
		if c.server.ListensOn(c.addr) != c.same || c.server.Overlaps(c.addr) != c.overlaps {
			t.Errorf("for a listener on %s, %s is the same: %v; overlaps: %v", c.server.Addr(), c.addr, !c.same, !c.overlaps)
		}
	}
}

// TestBeside opens an address that contains the one of a server, and one that is part of it. A program that just listens cannot.
func TestBeside(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux can")
	}
	for _, hosts := range [][2]string{{"127.0.0.1", ""}, {"", "127.0.0.1"}} {
		first, err := net.Listen("tcp", hosts[0]+":0")
		if err != nil {
			t.Fatal(err)
		}
		defer first.Close()
		_, port, _ := net.SplitHostPort(first.Addr().String())
		addr := net.JoinHostPort(hosts[1], port)
		second, err := Beside(addr, []*Server{{socket: first}})
		if err != nil {
			t.Fatal(err)
		}
		defer second.Close()
		for _, other := range []string{addr, first.Addr().String()} {
			if _, err := net.Listen("tcp", other); !errors.Is(err, syscall.EADDRINUSE) {
				t.Errorf("another listener for %s: %v", other, err)
			}
		}
		_ = first.Close()
		conn, err := net.Dial("tcp", "127.0.0.1:"+port)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.Close()
	}
}

// TestOpen_SaysWhatToDo: an address that cannot be opened is named, with the cause and what to do.
func TestOpen_SaysWhatToDo(t *testing.T) {
	busy := startServer(t, Options{Handler: http.NotFoundHandler()}).Addr().String()
	for addr, want := range map[string]string{busy: "stop it, or write another address", "192.0.2.1:7000": "write an address of this machine"} {
		_, err := Open(Options{Name: "public", Addr: addr, Handler: http.NotFoundHandler(), Log: slog.New(slog.DiscardHandler)})
		if err == nil || !strings.Contains(err.Error(), addr) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", addr, err)
		}
	}
	if got := remedy(&net.OpError{Op: "listen", Err: syscall.EACCES}); !strings.Contains(got, "CAP_NET_BIND_SERVICE") {
		t.Errorf("without the right to a port: %s", got)
	}
	if err := explained(syscall.EADDRINUSE); !errors.Is(err, syscall.EADDRINUSE) {
		t.Error("the cause is lost")
	}
}

// TestServer_Serves: a request belongs to the server that received it.
func TestServer_Serves(t *testing.T) {
	var first, second *Server
	handler := func(own, other **Server) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !(*own).Serves(r.Context()) || (*other).Serves(r.Context()) || (*own).Serves(context.Background()) {
				http.Error(w, "confused", http.StatusInternalServerError)
			}
		})
	}
	first, second = startServer(t, Options{Handler: handler(&first, &second)}), startServer(t, Options{Handler: handler(&second, &first)})
	for _, s := range []*Server{first, second} {
		resp, err := http.Get("http://" + s.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Errorf("%s says %s", s.Addr(), text)
		}
	}
}
