package response

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// countedConn counts the writes to a connection.
type countedConn struct {
	net.Conn
	writes *atomic.Int64
}

// Write writes to the connection.
func (c countedConn) Write(p []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(p)
}

// pipeListener accepts the connections of a channel.
type pipeListener chan net.Conn

// Accept waits for the next connection.
func (l pipeListener) Accept() (net.Conn, error) {
	conn, ok := <-l
	if !ok {
		return nil, net.ErrClosed
	}
	return conn, nil
}

// Close ends Accept.
func (l pipeListener) Close() error {
	close(l)
	return nil
}

// Addr returns the address of no network.
func (pipeListener) Addr() net.Addr { return &net.UnixAddr{} }

// TestServerBuffer_IsNotSent checks what [Writer.Write] relies on: net/http sends nothing before a handler has written more than
// its buffer holds. Over HTTP/2 the client lets the server send no body, so that a write which sends some would wait.
func TestServerBuffer_IsNotSent(t *testing.T) {
	t.Run("HTTP/1", func(t *testing.T) {
		var writes atomic.Int64
		wrote := make(chan int64, 1)
		conn, other := net.Pipe() // on which a write waits until somebody reads
		defer other.Close()
		connections := make(chan net.Conn, 1)
		connections <- countedConn{conn, &writes}
		s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write(make([]byte, serverBuffer1))
			wrote <- writes.Load()
		})}
		defer s.Close()
		go func() { _ = s.Serve(pipeListener(connections)) }()
		if _, err := io.WriteString(other, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		awaitWrite(t, serverBuffer1, wrote)
	})
	t.Run("HTTP/2", func(t *testing.T) {
		wrote := make(chan int64, 1)
		s := newHandlerServer(t, true)
		s.handlers <- func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write(make([]byte, serverBuffer2))
			wrote <- 0
		}
		conn, err := tls.Dial("tcp", s.Listener.Addr().String(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
			t.Fatal(err)
		}
		f := http2.NewFramer(conn, conn)
		if err := f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0}); err != nil {
			t.Fatal(err)
		}
		var block strings.Builder
		enc := hpack.NewEncoder(&block)
		for _, field := range []hpack.HeaderField{{Name: ":method", Value: "GET"}, {Name: ":scheme", Value: "https"}, {Name: ":authority", Value: "x"}, {Name: ":path", Value: "/"}} {
			if err := enc.WriteField(field); err != nil {
				t.Fatal(err)
			}
		}
		if err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte(block.String()), EndHeaders: true, EndStream: true}); err != nil {
			t.Fatal(err)
		}
		awaitWrite(t, serverBuffer2, wrote)
	})
}

func awaitWrite(t *testing.T, size int, wrote chan int64) {
	t.Helper()
	select {
	case n := <-wrote:
		if n != 0 {
			t.Errorf("%d bytes cause %d writes before the handler returns", size, n)
		}
	case <-time.After(waitLimit):
		t.Fatalf("a write of %d bytes waits for the client", size)
	}
}
