package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// traffic is what people do while replicas stop: requests over connections of every kind, and streams that are opened again
// when they end.
type traffic struct {
	t    testing.TB
	stop chan struct{}
	all  sync.WaitGroup

	mu       sync.Mutex // guards the fields below
	requests int
	failures []failure
	told     int // streams that ended as a server that stops ends them
	lost     []string
}

// failure is a request that got no response, or another one than the application's.
type failure struct {
	at   time.Time
	what string
}

// startTraffic sends about 500 requests a second by the sessions of a browser: over HTTP/2 and HTTP/1.1 connections that
// are used again, and over new ones. It keeps WebSockets and event streams open beside.
func (f *fleet) startTraffic(s *stage) *traffic {
	l := &traffic{t: f.t, stop: make(chan struct{})}
	for n := range 12 {
		b := f.newBrowserWith(f.server, s.browser)
		transport := b.client.Transport.(*http.Transport)
		transport.ForceAttemptHTTP2, transport.DisableKeepAlives = n%2 == 0, n >= 10
		every := 20 * time.Millisecond
		if transport.DisableKeepAlives {
			every = 100 * time.Millisecond
		}
		l.all.Go(func() { l.request(b, every) })
	}
	for range 6 {
		b := f.newBrowserWith(f.server, s.browser)
		l.all.Go(func() { l.socket(b) })
	}
	for range 3 {
		b := f.newBrowserWith(f.server, s.browser)
		l.all.Go(func() { l.stream(b) })
	}
	return l
}

func (l *traffic) request(b *browser, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-l.stop:
			return
		case <-tick.C:
		}
		status, err := getStatus(b.client, "https://"+appHost+"/", "")
		l.mu.Lock()
		l.requests++
		if err != nil || status != http.StatusOK {
			l.failures = append(l.failures, failure{time.Now(), fmt.Sprint(status, " ", err)})
		}
		l.mu.Unlock()
	}
}

// socket keeps a WebSocket open. One that ends must end with the code 1001.
func (l *traffic) socket(b *browser) {
	ctx, cancel := l.untilStopped()
	defer cancel()
	for ctx.Err() == nil {
		c, _, err := websocket.Dial(ctx, "wss://"+appHost+"/socket", &websocket.DialOptions{HTTPClient: b.client})
		if err != nil {
			l.ended(ctx, false, fmt.Sprint("a WebSocket cannot be opened: ", err))
			continue
		}
		_, _, err = c.Read(ctx)
		l.ended(ctx, websocket.CloseStatus(err) == websocket.StatusGoingAway, fmt.Sprint("a WebSocket ends with ", err))
		_ = c.CloseNow()
	}
}

// stream keeps an event stream open.
func (l *traffic) stream(b *browser) {
	ctx, cancel := l.untilStopped()
	defer cancel()
	for ctx.Err() == nil {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+appHost+"/events", nil)
		if err != nil {
			l.t.Error(err)
			return
		}
		resp, err := b.client.Do(req)
		if err != nil {
			l.ended(ctx, false, fmt.Sprint("a stream cannot be opened: ", err))
			continue
		}
		n, err := io.Copy(io.Discard, resp.Body)
		l.ended(ctx, n > 0, fmt.Sprint("a stream ends after ", n, " bytes with ", err))
		_ = resp.Body.Close()
	}
}

func (l *traffic) untilStopped() (context.Context, func()) {
	ctx, cancel := context.WithCancel(context.Background())
	go func() { <-l.stop; cancel() }()
	return ctx, cancel
}

// ended counts a stream that ended.
func (l *traffic) ended(ctx context.Context, told bool, how string) {
	if ctx.Err() != nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if told {
		l.told++
	} else {
		l.lost = append(l.lost, how)
	}
}

// pause returns how many requests there were and which failed since the last call, how many streams were told to go, and
// which were lost.
func (l *traffic) pause() (requests int, failures []failure, told int, lost []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	requests, failures, told, lost = l.requests, l.failures, l.told, l.lost
	l.requests, l.failures, l.told, l.lost = 0, nil, 0, nil
	return requests, failures, told, lost
}

// awaitRequests waits until so many more requests were made.
func (l *traffic) awaitRequests(count int) {
	l.t.Helper()
	now := func() int {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.requests
	}
	until := now() + count
	for deadline := time.Now().Add(time.Minute); now() < until; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			l.t.Fatal("there are no more requests")
		}
	}
}

func (l *traffic) end() {
	close(l.stop)
	l.all.Wait()
}

// whats returns what happened, the same once.
func whats(failures []failure) string {
	var list []string
	for _, f := range failures {
		list = append(list, f.what)
	}
	slices.Sort(list)
	return strings.Join(slices.Compact(list), "\n")
}

// restartReplica stops a replica, as an operator does before an upgrade, and starts it again.
func (f *fleet) restartReplica(n int) {
	f.t.Helper()
	f.replicas[n].signal(terminate)
	f.replicas[n].awaitEnd()
	f.startReplica(n)
}

func (f *fleet) startReplica(n int) {
	f.t.Helper()
	f.replicas[n] = start(f.t, f.replicas[n].dir)
	f.replicas[n].awaitReady(f.t)
}
