package postgres_test

import (
	"io"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

// link carries connections to the servers of a URL.
type link struct {
	url string

	mu     sync.Mutex // guards the fields below
	lost   [2]bool    // whether what is sent to a server is lost, and what a server sends
	delays time.Duration
	open   map[net.Conn]bool
}

// newLink returns a link to the servers that a URL names, one after the other.
func newLink(t testing.TB, text string) *link {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	l := &link{open: map[net.Conn]bool{}}
	var addresses []string
	for host := range strings.SplitSeq(u.Host, ",") {
		addresses = append(addresses, l.listen(t, host))
	}
	u.Host = strings.Join(addresses, ",")
	l.url = u.String()
	return l
}

// listen carries connections to the server at host from the address that it returns.
func (l *link) listen(t testing.TB, host string) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go l.carry(conn, host)
		}
	}()
	return listener.Addr().String()
}

func (l *link) carry(client net.Conn, host string) {
	defer client.Close()
	server, err := net.Dial("tcp", host)
	if err != nil {
		return
	}
	defer server.Close()
	l.mu.Lock()
	l.open[client], l.open[server] = true, true
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.open, client)
		delete(l.open, server)
	}()
	done := make(chan struct{}, 2)
	go func() { l.pass(server, client, 0); done <- struct{}{} }()
	go func() { l.pass(client, server, 1); done <- struct{}{} }()
	<-done
}

// pass carries one direction. What is read while the direction is cut is lost.
func (l *link) pass(to io.Writer, from io.Reader, direction int) {
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		l.mu.Lock()
		lost, delay := l.lost[direction], l.delays
		l.mu.Unlock()
		if err != nil {
			return
		}
		time.Sleep(delay) // which is the latency of the network, and no wait of the test
		if lost {
			continue
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}

// delay has every direction take longer.
func (l *link) delay(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.delays = d
}

// cut partitions the network.
func (l *link) cut() { l.lose(true, true) }

// lose has what is sent to the servers be lost, or what they send, or both.
func (l *link) lose(sent, received bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lost = [2]bool{sent, received}
}

// restore ends the partition, and the connections whose data was lost.
func (l *link) restore() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lost != [2]bool{} {
		for conn := range l.open {
			_ = conn.Close()
		}
		clear(l.open)
	}
	l.lost = [2]bool{}
}
