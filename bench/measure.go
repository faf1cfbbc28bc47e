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

// measure runs one round with one subject. What opening connections costs is not part of the figures.
func measure(ctx context.Context, s subject, o options) (r result, err error) {
	clients, err := connect(s, o.connections)
	defer clients.close()
	if err != nil {
		return r, err
	}
	if _, err = clients.load(ctx, o.duration/8); err != nil { // to warm up
		return r, err
	}
	meter, err := newAllocationMeter(ctx, s.metrics)
	if err != nil {
		return r, err
	}
	before, begun := cpuTime(s.pid), time.Now()
	took, err := clients.load(ctx, o.duration)
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
	alone, err := clients[:1].load(ctx, o.duration/4)
	r.alone = micros(quantile(alone, 0.5))
	return r, err
}

// client is a connection to a subject, or streams on one that clients share.
type client struct {
	roundTrip func() error
	hangUp    func() error
}

// connected are open connections to one subject.
type connected []client

// connect opens connections, and sends a request over each.
func connect(s subject, connections int) (all connected, err error) {
	dial := dialHTTP1
	if s.transport == tlsHTTP2 {
		dial = dialH2()
	}
	for range connections {
		one, err := dial(s)
		if err != nil {
			return all, err
		}
		all = append(all, one)
		if err := one.roundTrip(); err != nil {
			return all, err
		}
	}
	return all, nil
}

func (all connected) close() {
	for _, one := range all {
		_ = one.hangUp()
	}
}

// load sends requests over all connections, each as soon as the previous response is complete, and returns the sorted durations.
func (all connected) load(ctx context.Context, duration time.Duration) ([]time.Duration, error) {
	ctx, stop := context.WithTimeout(ctx, duration)
	defer stop()
	took := make([][]time.Duration, len(all))
	errs := make([]error, len(all))
	var running sync.WaitGroup
	for i, one := range all {
		running.Go(func() {
			for first := true; errs[i] == nil && (first || ctx.Err() == nil); first = false {
				begun := time.Now()
				errs[i] = one.roundTrip()
				took[i] = append(took[i], time.Since(begun))
			}
		})
	}
	running.Wait()
	if err := cmp.Or(errs...); err != nil {
		return nil, err
	}
	list := slices.Concat(took...)
	slices.Sort(list)
	return list, nil
}

// load opens connections, and sends requests over them for a while.
func load(ctx context.Context, s subject, connections int, duration time.Duration) ([]time.Duration, error) {
	all, err := connect(s, connections)
	defer all.close()
	if err != nil {
		return nil, err
	}
	return all.load(ctx, duration)
}

func quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[int(q*float64(len(sorted)-1))]
}

// dialHTTP1 opens a connection of HTTP/1.1, over TLS if the subject wants it. It does as little work as possible on the side
// of the client.
func dialHTTP1(s subject) (client, error) {
	conn, err := net.Dial("tcp", s.address)
	if err != nil {
		return client{}, err
	}
	if s.transport == tlsHTTP1 {
		conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}})
	}
	request := []byte("GET / HTTP/1.1\r\nHost: " + cmp.Or(s.host, appHost) + "\r\nAccept: application/json\r\nUser-Agent: bench\r\n" + line(s.header) + "\r\n")
	buffer := make([]byte, 16<<10)
	return client{func() error {
		if _, err := conn.Write(request); err != nil {
			return err
		}
		return readResponse(conn, s.wanted(), buffer)
	}, conn.Close}, nil
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

// dialH2 returns a function that opens streams on one connection of HTTP/2 over TLS.
func dialH2() func(s subject) (client, error) {
	shared := &http.Client{Transport: &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	return func(s subject) (client, error) {
		r, err := http.NewRequest(http.MethodGet, "https://"+s.address, nil)
		if err != nil {
			return client{}, err
		}
		r.Host = cmp.Or(s.host, appHost)
		if key, value, ok := strings.Cut(s.header, ": "); ok {
			r.Header.Set(key, value)
		}
		return client{func() error { return requestH2(shared, s, r) }, func() error { shared.CloseIdleConnections(); return nil }}, nil
	}
}

func requestH2(shared *http.Client, s subject, r *http.Request) error {
	resp, err := shared.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	if resp.StatusCode != s.wanted() || resp.ProtoMajor != 2 {
		return fmt.Errorf("responded with %s %s", resp.Proto, resp.Status)
	}
	return err
}
