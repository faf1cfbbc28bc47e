package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

// creators is how many clients create users at once.
const creators = 64

// BenchmarkCreations creates users by 64 clients over TLS, on one real server, each once the response to the one before is
// complete. It reports the rate, and the processor time of the server for each. The clients do as little as possible, since
// they share the processors with the server.
func BenchmarkCreations(b *testing.B) {
	w := newWorld(b)
	server := w.start("--init")
	n := large(100_000, 20_000)
	for round := 0; b.Loop(); round++ {
		clients := make([]*creator, creators)
		for i := range clients {
			clients[i] = w.newCreator(server)
		}
		before, begun := server.processorTime(b), time.Now()
		if err := createAll(clients, round*n, n); err != nil {
			b.Fatal(err)
		}
		took, used := time.Since(begun), server.processorTime(b)-before
		b.ReportMetric(float64(n)/took.Seconds(), "users/s")
		b.ReportMetric(float64(used.Microseconds())/float64(n), "server-µs/user")
		for _, c := range clients {
			_ = c.conn.Close()
		}
	}
}

// createAll has the clients create n users, the first of them with number first.
func createAll(clients []*creator, first, n int) error {
	var next atomic.Int64
	var running errgroup.Group
	for _, c := range clients {
		running.Go(func() error {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				if err := c.create(first + i); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return running.Wait()
}

// creator is a client that keeps one connection of its own.
type creator struct {
	token   string
	conn    *tls.Conn
	reader  *bufio.Reader
	request []byte // of the last user
}

func (w *world) newCreator(s *running) *creator {
	w.t.Helper()
	token := w.pusher(s).token
	conn, err := tls.Dial("tcp", s.addrs["scim"], &tls.Config{RootCAs: w.ca.pool, ServerName: loginHost})
	if err != nil {
		w.t.Fatal(err)
	}
	return &creator{token: token, conn: conn, reader: bufio.NewReader(conn)}
}

// create creates user number i.
func (c *creator) create(i int) error {
	body := fmt.Appendf(nil, `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"user%07d@example.com","externalId":"00000000-0000-4000-8000-%012d","active":true,"displayName":"User %d",`+
		`"emails":[{"type":"work","value":"user%07d@example.com","primary":true}],"name":{"givenName":"Given","familyName":"Family"},"title":"Engineer"}`, i, i, i, i)
	c.request = fmt.Appendf(c.request[:0], "POST /scim/v2/Users HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Type: application/scim+json\r\nContent-Length: %d\r\n\r\n", loginHost, c.token, len(body))
	c.request = append(c.request, body...)
	if _, err := c.conn.Write(c.request); err != nil {
		return err
	}
	resp, err := http.ReadResponse(c.reader, nil)
	if err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusCreated {
		return fmt.Errorf("user %d: %s", i, resp.Status)
	}
	return resp.Body.Close()
}

// processorTime returns what the server has used of the processors since its start.
func (r *running) processorTime(b testing.TB) time.Duration {
	b.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", r.cmd.Process.Pid))
	if err != nil {
		b.Skip(err)
	}
	const ticksPerSecond = 100 // on Linux, for programs
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * time.Second / ticksPerSecond
}
