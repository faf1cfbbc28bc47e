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

// result is the result of one round. Times are in microseconds.
type result struct {
	requests  int
	perSecond float64
	cpu       float64 // of the proxy, per request
	p50, p99  float64 // with all connections busy
	alone     float64 // median with a single connection
	resident  float64 // MiB, after the round
	allocated allocations
}

func micros(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }

// measure runs one round with one subject.
func measure(ctx context.Context, s subject, o options) (r result, err error) {
	if _, err = load(ctx, s, o.connections, o.duration/8); err != nil { // to warm up
		return r, err
	}
	meter, err := newAllocationMeter(ctx, s.metrics)
	if err != nil {
		return r, err
	}
	before, begun := cpuTime(s.pid), time.Now()
	took, err := load(ctx, s, o.connections, o.duration)
	if err != nil {
		return r, err
	}
	elapsed, used := time.Since(begun), cpuTime(s.pid)-before
	allocated, err := meter.since(ctx)
	if err != nil {
		return r, err
	}
	r.requests, r.allocated = len(took), allocated.each(len(took))
	r.cpu = micros(used) / float64(len(took))
	r.perSecond = float64(len(took)) / elapsed.Seconds()
	r.p50, r.p99 = micros(quantile(took, 0.5)), micros(quantile(took, 0.99))
	r.resident = resident(s.pid)
	alone, err := load(ctx, s, 1, o.duration/4)
	r.alone = micros(quantile(alone, 0.5))
	return r, err
}

// load sends requests over concurrent connections, each as soon as the previous response is complete, and returns the
// sorted durations.
func load(ctx context.Context, s subject, connections int, duration time.Duration) ([]time.Duration, error) {
	ctx, stop := context.WithTimeout(ctx, duration)
	defer stop()
	dial := dialHTTP1
	if s.transport == tlsHTTP2 {
		client := newH2Client()
		defer client.CloseIdleConnections()
		dial = func(s subject) (func() error, func() error, error) { return requestH2(client, s) }
	}
	took := make([][]time.Duration, connections)
	errs := make([]error, connections)
	var all sync.WaitGroup
	for i := range connections {
		all.Go(func() {
			roundTrip, hangUp, err := dial(s)
			if err != nil {
				errs[i] = err
				return
			}
			for err == nil && ctx.Err() == nil {
				begun := time.Now()
				err = roundTrip()
				took[i] = append(took[i], time.Since(begun))
			}
			errs[i] = cmp.Or(err, hangUp())
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

// dialHTTP1 opens a connection of HTTP/1.1, over TLS if the subject wants it, which hangUp closes. It does as little work as
// possible on the side of the client.
func dialHTTP1(s subject) (roundTrip, hangUp func() error, err error) {
	conn, err := net.Dial("tcp", s.address)
	if err != nil {
		return nil, nil, err
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
		return readResponse(conn, s.wanted(), buffer)
	}, conn.Close, nil
}

func line(header string) string {
	if header == "" {
		return ""
	}
	return header + "\r\n"
}

// readResponse reads one response, which must have the status and a Content-Length.
func readResponse(conn io.Reader, status int, buffer []byte) error {
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
		if !strings.HasPrefix(head, "HTTP/1.1 "+strconv.Itoa(status)+" ") {
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

func newH2Client() *http.Client {
	return &http.Client{Transport: &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
}

// requestH2 returns a function that opens a stream on the client's connection of HTTP/2.
func requestH2(client *http.Client, s subject) (roundTrip, hangUp func() error, err error) {
	r, err := http.NewRequest(http.MethodGet, "https://"+s.address, nil)
	if err != nil {
		return nil, nil, err
	}
	r.Host = cmp.Or(s.host, appHost)
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
		if resp.StatusCode != s.wanted() || resp.ProtoMajor != 2 {
			return fmt.Errorf("responded with %s %s", resp.Proto, resp.Status)
		}
		return err
	}, func() error { return nil }, nil
}
