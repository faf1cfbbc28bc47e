package upstream

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sallyport/deadline"
	"sallyport/proxy/internal/lifetime"
)

// TestConn_WaitsAfterFastResponse sends a request shortly after another, whose deadline is still set. The target does not
// respond to it: the wait must end when the client leaves, and else at the timeout of the second request.
func TestConn_WaitsAfterFastResponse(t *testing.T) {
	const content = "x"
	for name, goneAfter := range map[string]time.Duration{"client leaves": 300 * time.Millisecond, "timeout": time.Minute} {
		for i, pause := range []time.Duration{time.Millisecond, time.Millisecond, promptly - time.Millisecond, time.Second} {
			whole := i%2 == 1 // the first response arrives whole, or its body follows the header
			t.Run(fmt.Sprintf("%s, %t, after %v", name, whole, pause), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					ours, theirs := net.Pipe()
					defer func() { _, _ = ours.Close(), theirs.Close() }()
					go func() {
						in := bufio.NewReader(theirs)
						_, _ = http.ReadRequest(in)
						first := "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n" + content
						if !whole {
							_, _ = io.WriteString(theirs, strings.TrimSuffix(first, content))
							first = content
						}
						_, _ = io.WriteString(theirs, first)
						_, _ = http.ReadRequest(in)
					}()
					c, r, timeout := newConn(deadline.New(ours)), &Request{Method: http.MethodGet, Host: "a", host: "a", Path: "/"}, 10*time.Second
					client, leave := context.WithCancel(t.Context())
					c.life = lifetime.New(client)
					defer c.life.Cancel()
					c.life.Add(&c.end)
					res, _, err := c.roundTrip(r, time.Now(), timeout)
					if err != nil {
						t.Fatal(err)
					}
					if text, err := io.ReadAll(io.LimitReader(c.in, res.ContentLength)); string(text) != content {
						t.Fatal(err)
					}
					time.Sleep(pause)
					begun, want := time.Now(), min(goneAfter, timeout)
					time.AfterFunc(goneAfter, leave)
					_, _, err = c.roundTrip(r, begun, timeout)
					if took := time.Since(begun); took != want || IsTimeout(err) != (want == timeout) || err == nil {
						t.Errorf("%v after %v, want %v", err, took, want)
					}
				})
			})
		}
	}
}
