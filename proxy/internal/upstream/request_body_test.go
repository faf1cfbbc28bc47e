package upstream

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"sallyport/proxy/internal/lifetime"
)

// TestHTTP1Transport_SendsBody checks that a target reads the body as it was sent, and that it cannot take a body for whole
// if reading it failed or its length is another than the Content-Length.
func TestHTTP1Transport_SendsBody(t *testing.T) {
	errBroken := errors.New("broken")
	for name, c := range map[string]struct {
		body   io.Reader
		length int64
		want   string // what the target reads; "" for an error
		err    error
	}{
		"length":           {strings.NewReader("body"), 4, "body", nil},
		"length_in_pieces": {iotest.OneByteReader(strings.NewReader("body")), 4, "body", nil},
		"end_with_data":    {iotest.DataErrReader(strings.NewReader("body")), 4, "body", nil},
		"chunks":           {iotest.OneByteReader(strings.NewReader("body")), -1, "body", nil},
		"chunks_at_once":   {iotest.DataErrReader(strings.NewReader("body")), -1, "body", nil},
		"large":            {strings.NewReader(strings.Repeat("x", 100_000)), 100_000, strings.Repeat("x", 100_000), nil},
		"large_in_chunks":  {strings.NewReader(strings.Repeat("x", 100_000)), -1, strings.Repeat("x", 100_000), nil},
		"no_chunks":        {strings.NewReader(""), -1, "", nil},
		"shorter":          {strings.NewReader("bod"), 4, "", errBodyLength},
		"longer":           {strings.NewReader("body and more"), 4, "", errBodyLength},
		"broken":           {io.MultiReader(strings.NewReader("bo"), iotest.ErrReader(errBroken)), 4, "", errBroken},
		"broken_chunks":    {io.MultiReader(strings.NewReader("bo"), iotest.ErrReader(errBroken)), -1, "", errBroken},
	} {
		t.Run(name, func(t *testing.T) {
			read := make(chan string, 1)
			addr, _ := badTarget(t, func(conn *net.TCPConn) {
				r, err := http.ReadRequest(bufio.NewReader(conn))
				if err != nil {
					return
				}
				body, err := io.ReadAll(r.Body)
				if err != nil {
					read <- ""
					return
				}
				_, _ = io.WriteString(conn, okResponse)
				read <- string(body)
			})
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+addr+"/", io.NopCloser(c.body))
			if err != nil {
				t.Fatal(err)
			}
			r.ContentLength = c.length
			res, err := newTestTransport(addr, time.Minute).RoundTrip(r)
			if !errors.Is(err, c.err) || err == nil && c.err != nil {
				t.Fatalf("%v, want %v", err, c.err)
			}
			if err == nil {
				_ = res.Body.Close()
			}
			if got := <-read; got != c.want {
				t.Errorf("the target read %.40q", got)
			}
		})
	}
}

// brokenConn is a connection that breaks while the first bytes are written.
type brokenConn struct{ net.Conn }

// Write writes one half, and fails.
func (c brokenConn) Write(p []byte) (int, error) {
	n, _ := c.Conn.Write(p[:len(p)/2])
	return n, syscall.EPIPE
}

// TestConn_WaitAfterBrokenHead checks that a target which took a part of the header, and no more, has a moment to say why,
// however long it may take for the response to a whole one.
func TestConn_WaitAfterBrokenHead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		go func() { _, _ = io.Copy(io.Discard, theirs) }()
		defer ours.Close()
		c := newConn(brokenConn{ours})
		c.life = lifetime.New(t.Context())
		defer c.life.Cancel()
		begun := time.Now()
		_, _, err := c.roundTrip(&Request{Method: http.MethodGet, Path: "/", Header: HTTPHeader{"X": {strings.Repeat("x", 3*connBuffer)}}}, time.Now(), time.Hour)
		if took := time.Since(begun); !errors.Is(err, syscall.EPIPE) || took != responseAfterError {
			t.Errorf("%v after %v", err, took)
		}
	})
}
