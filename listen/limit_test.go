package listen

import (
	"errors"
	"net"
	"testing"
	"time"
)

// TestLimitListener_AcceptsWhenAnotherCloses: a connection beyond the limit is accepted when another is closed.
func TestLimitListener_AcceptsWhenAnotherCloses(t *testing.T) {
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := newLimitListener(tcp, 2)
	accepted := make(chan net.Conn)
	ended := make(chan error)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				ended <- err
				return
			}
			accepted <- conn
		}
	}()
	for range 3 {
		conn, err := net.Dial("tcp", tcp.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	first, second := <-accepted, <-accepted
	select {
	case <-accepted:
		t.Fatal("three connections are accepted")
	case <-time.After(20 * time.Millisecond):
	}
	_, _ = first.Close(), first.Close() // counts once
	third := <-accepted
	if err := second.(*limitConn).CloseWrite(); err != nil {
		t.Error(err)
	}
	_ = l.Close()
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
	_, _ = second.Close(), third.Close()
}
