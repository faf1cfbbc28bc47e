package main

import (
	"errors"
	"net"
	"testing"
	"time"
)

// TestACrowdTakesTurns: a connection beyond the bound is taken when another leaves.
func TestACrowdTakesTurns(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := newCrowd(l, 2)
	taken := make(chan net.Conn)
	ended := make(chan error)
	go func() {
		for {
			conn, err := c.Accept()
			if err != nil {
				ended <- err
				return
			}
			taken <- conn
		}
	}()
	for range 3 {
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	first, second := <-taken, <-taken
	select {
	case <-taken:
		t.Fatal("three are in")
	case <-time.After(20 * time.Millisecond):
	}
	_, _ = first.Close(), first.Close() // once counts
	third := <-taken
	if err := second.(*placed).CloseWrite(); err != nil {
		t.Error(err)
	}
	_ = c.Close()
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
	_, _ = second.Close(), third.Close()
}
