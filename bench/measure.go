package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// result is the result of one round.
type result struct {
	perSecond float64
	cpu       time.Duration // of the proxy, per request
	p50, p99  time.Duration // with all connections busy
	single    time.Duration // median with a single connection
	resident  float64       // MiB, after the round
}

// measure runs one round with one subject.
func measure(ctx context.Context, s subject, o options) (r result, err error) {
	if _, err = load(ctx, s, o.connections, o.duration/8); err != nil { // to warm up
		return r, err
	}
	before, begun := cpuTime(s.pid), time.Now()
	took, err := load(ctx, s, o.connections, o.duration)
	if err != nil {
		return r, err
	}
	elapsed := time.Since(begun)
	r.cpu = (cpuTime(s.pid) - before) / time.Duration(len(took))
	r.perSecond = float64(len(took)) / elapsed.Seconds()
	r.p50, r.p99 = quantile(took, 0.5), quantile(took, 0.99)
	r.resident = resident(s.pid)
	single, err := load(ctx, s, 1, o.duration/4)
	r.single = quantile(single, 0.5)
	return r, err
}

// load sends requests over concurrent connections, each as soon as the previous response is complete, and returns the
// sorted durations.
func load(ctx context.Context, s subject, connections int, duration time.Duration) ([]time.Duration, error) {
	ctx, stop := context.WithTimeout(ctx, duration)
	defer stop()
	dial := dialPlain
	if s.transport == tlsHTTP2 {
		dial = dialH2()
	}
	took := make([][]time.Duration, connections)
	errs := make([]error, connections)
	var all sync.WaitGroup
	for i := range connections {
		all.Go(func() {
			roundTrip, err := dial(s)
			for err == nil && ctx.Err() == nil {
				begun := time.Now()
				err = roundTrip()
				took[i] = append(took[i], time.Since(begun))
			}
			errs[i] = err
		})
	}
	all.Wait()
	list := slices.Concat(took...)
	if err := cmp.Or(errs...); err != nil {
		return nil, err
	}
	slices.Sort(list)
	return list, nil
}

func quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[int(q*float64(len(sorted)-1))]
}

// dialPlain opens a connection of HTTP/1.1, over TLS if the subject wants it. It does as little work as possible on the
// side of the client.
func dialPlain(s subject) (roundTrip func() error, err error) {
	conn, err := net.Dial("tcp", s.address)
	if err != nil {
		return nil, err
	}
	if s.transport == tlsHTTP1 {
		conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}})
	}
	request := []byte("GET / HTTP/1.1\r\nHost: " + cmp.Or(s.host, appHost) + "\r\nAccept: application/json\r\nUser-Agent: bench\r\n" + line(s.header) + "\r\n")
	buffer := make([]byte, 16<<10)
	return func() error {
		if _, err := conn.Write(request); err != nil {
			return err
		}
		return readResponse(conn, buffer)
	}, nil
}

func line(header string) string {
	if header == "" {
		return ""
	}
	return header + "\r\n"
}

// readResponse reads one response, which must be 200 with a Content-Length.
func readResponse(conn io.Reader, buffer []byte) error {
	have, want := 0, -1
	for want < 0 || have < want {
		n, err := conn.Read(buffer[have:])
		if err != nil {
			return err
		}
		have += n
		if want >= 0 {
			continue
		}
		head, _, whole := strings.Cut(string(buffer[:have]), "\r\n\r\n")
		if !whole {
			continue
		}
		if !strings.HasPrefix(head, "HTTP/1.1 200 ") {
			return fmt.Errorf("responded with %q", head)
		}
		_, length, _ := strings.Cut(strings.ToLower(head)+"\r\n", "content-length: ")
		length, _, _ = strings.Cut(length, "\r\n")
		body, err := strconv.Atoi(length)
		if err != nil {
			return fmt.Errorf("no length: %q", head)
		}
		want = len(head) + 4 + body
	}
	return nil
}

// dialH2 returns a function that opens streams on one connection of HTTP/2 over TLS.
func dialH2() func(s subject) (func() error, error) {
	client := &http.Client{Transport: &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	return func(s subject) (func() error, error) {
		r, err := http.NewRequest(http.MethodGet, "https://"+s.address, nil)
		if err != nil {
			return nil, err
		}
		r.Host = appHost
		if key, value, ok := strings.Cut(s.header, ": "); ok {
			r.Header.Set(key, value)
		}
		return func() error {
			resp, err := client.Do(r)
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			_, err = io.Copy(io.Discard, resp.Body)
			if resp.StatusCode != http.StatusOK || resp.ProtoMajor != 2 {
				return fmt.Errorf("responded with %s %s", resp.Proto, resp.Status)
			}
			return err
		}, nil
	}
}
