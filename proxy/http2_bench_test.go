package proxy

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net/http/httptest"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// BenchmarkForwardHTTP2 measures one request with a session over TLS and HTTP/2, as BenchmarkForward does over HTTP/1.1. The
// handler of each runs on a new goroutine, whose stack is small.
func BenchmarkForwardHTTP2(b *testing.B) {
	addr := silentUpstream(b, "HTTP/1.1 200 OK\r\nDate: Sat, 28 Nov 2026 20:00:00 GMT\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: 1024\r\n\r\n"+strings.Repeat("x", 1<<10))
	w := newWorld(b, func(s *Settings) { s.Routes[0].Upstream = Upstreams{"http://" + addr} })
	_, cookie := w.signIn("alice", appHost)
	server := httptest.NewUnstartedServer(w.proxy)
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	b.ReportAllocs()
	b.ResetTimer()
	before := processTime(b)
	b.RunParallel(func(pb *testing.PB) {
		c, err := dialHTTP2(server.Listener.Addr().String(), cookie)
		for err == nil && pb.Next() {
			err = c.roundTrip()
		}
		if err != nil {
			b.Error(err)
			return
		}
		_ = c.conn.Close()
	})
	b.ReportMetric(float64(processTime(b)-before)/float64(b.N), "cpu-ns/op")
}

// plainHTTP2 is a client of HTTP/2 that allocates nothing for a request.
type plainHTTP2 struct {
	*http2.Framer
	conn   *tls.Conn
	block  []byte // the fields of each request
	stream uint32 // of the last request
}

func dialHTTP2(addr, cookie string) (*plainHTTP2, error) {
	conn, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	if err != nil {
		return nil, err
	}
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	encoder.SetMaxDynamicTableSize(0) // so that each block is the same
	for _, field := range [][2]string{{":method", "GET"}, {":scheme", "https"}, {":authority", appHost}, {":path", "/v1/x?y=z"},
		{"accept", "application/json"}, {"user-agent", "bench"}, {"cookie", cookie}} {
		if err := encoder.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]}); err != nil {
			return nil, err
		}
	}
	c := &plainHTTP2{http2.NewFramer(conn, conn), conn, block.Bytes(), ^uint32(0)}
	c.SetReuseFrames()
	if _, err = io.WriteString(conn, http2.ClientPreface); err == nil {
		err = c.WriteSettings()
	}
	return c, err
}

func (c *plainHTTP2) roundTrip() error {
	c.stream += 2
	if err := c.WriteHeaders(http2.HeadersFrameParam{StreamID: c.stream, BlockFragment: c.block, EndStream: true, EndHeaders: true}); err != nil {
		return err
	}
	for {
		f, err := c.ReadFrame()
		if err != nil {
			return err
		}
		switch f := f.(type) {
		case *http2.SettingsFrame:
			if !f.IsAck() {
				err = c.WriteSettingsAck()
			}
		case *http2.RSTStreamFrame:
			return errors.New(f.ErrCode.String())
		case *http2.DataFrame:
			if n := uint32(len(f.Data())); n > 0 {
				err = c.WriteWindowUpdate(0, n)
			}
			if f.StreamEnded() {
				return err
			}
		}
		if err != nil {
			return err
		}
	}
}
