package proxy

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http/httptest"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// BenchmarkForward measures one request with a session, or with a bearer token, over loopback. Client and upstream are in the same process, but
// allocate nothing, so what is reported is that of net/http's server and the proxy alone.
func BenchmarkForward(b *testing.B) {
	const browser = "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\nAccept-Encoding: gzip, deflate, br\r\nAccept-Language: en-GB,en;q=0.5\r\n" +
		"Referer: https://app.example.com/\r\nSec-Fetch-Dest: document\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Site: same-origin\r\n" +
		"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n"
	const page = "HTTP/1.1 200 OK\r\nDate: Sat, 28 Nov 2026 20:00:00 GMT\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: 1024\r\n"
	for _, c := range []struct{ name, method, header, response, body string }{
		{"program", "GET", "Accept: application/json\r\nUser-Agent: bench\r\n", page, ""},
		{"bearer", "GET", "Accept: application/json\r\nUser-Agent: bench\r\n", page, ""},
		{"browser", "GET", browser, page + "Cache-Control: private, max-age=0\r\nEtag: \"33a64df551425fcc55e4d42a148795d9\"\r\nVary: Accept-Encoding\r\nServer: x\r\n", ""},
		{"form", "POST", "Accept: application/json\r\nContent-Length: 64\r\n", page, strings.Repeat("x", 64)},
	} {
		b.Run(c.name, func(b *testing.B) {
			addr := silentUpstream(b, c.response+"\r\n"+strings.Repeat("x", 1<<10))
			w := newWorld(b, func(s *Settings) { s.Routes[0].Upstream = Upstreams{"http://" + addr} })
			credential := "Authorization: Bearer " + w.token("alice", nil)
			if c.name != "bearer" {
				_, cookie := w.signIn("alice", appHost)
				credential = "Cookie: " + cookie
			}
			server := httptest.NewServer(w.proxy)
			defer server.Close()
			request := []byte(c.method + " /v1/x?y=z HTTP/1.1\r\nHost: " + appHost + "\r\n" + credential + "\r\n" + c.header + "\r\n" + c.body)
			b.ReportAllocs()
			b.ResetTimer()
			before := processTime(b)
			b.RunParallel(func(pb *testing.PB) {
				conn, err := net.Dial("tcp", server.Listener.Addr().String())
				if err != nil {
					b.Error(err)
					return
				}
				defer conn.Close()
				in := bufio.NewReader(conn)
				for pb.Next() {
					if _, err := conn.Write(request); err != nil {
						b.Error(err)
						return
					}
					if status, err := discardMessage(in); err != nil || status != 200 {
						b.Error(status, err)
						return
					}
				}
			})
			b.ReportMetric(float64(processTime(b)-before)/float64(b.N), "cpu-ns/op") // means more than ns/op where other programs run
		})
	}
}

// processTime returns how long the process has used a processor.
func processTime(tb testing.TB) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// silentUpstream is an upstream that sends the same response to every request.
func silentUpstream(tb testing.TB, response string) (addr string) {
	l, out := listenTCP(tb), []byte(response)
	go acceptEach(l, func(conn net.Conn) {
		in := bufio.NewReader(conn)
		for {
			if _, err := discardMessage(in); err != nil {
				return
			}
			if _, err := conn.Write(out); err != nil {
				return
			}
		}
	})
	return l.Addr().String()
}

// discardMessage reads one message with or without a Content-Length, and returns the status in its first line, which is 0
// for a request.
func discardMessage(in *bufio.Reader) (status int, err error) {
	length := 0
	for first := true; ; first = false {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return 0, err
		}
		line = bytes.TrimRight(line, "\r\n")
		switch {
		case len(line) == 0:
			_, err = in.Discard(length)
			return status, err
		case first && bytes.HasPrefix(line, []byte("HTTP/1.1 ")):
			status, err = strconv.Atoi(string(line[9:12]))
		case len(line) > 16 && strings.EqualFold(string(line[:16]), "Content-Length: "):
			length, err = strconv.Atoi(string(line[16:]))
		}
		if err != nil {
			return 0, io.ErrUnexpectedEOF
		}
	}
}
