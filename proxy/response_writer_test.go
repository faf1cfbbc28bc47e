package proxy

import (
	"bufio"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// event is something that happens to a response.
type event string

const (
	evInformational event = "1xx"
	evHeader        event = "header"
	evWrite         event = "write"
	evFlush         event = "flush"
	evHijack        event = "hijack"
	evStop          event = "stop"
	evStall         event = "stall"
	evStartDenial   event = "startDenial"
)

var allEvents = []event{evInformational, evHeader, evWrite, evFlush, evHijack, evStop, evStall, evStartDenial}

// transitions is the table in the comment of responseState, without release. A pair that is absent changes nothing.
var transitions = map[event]map[responseState]responseState{
	evInformational: {stateOpen: stateOpen},
	evHeader:        {stateOpen: stateResponding, stateDenying: stateDenied},
	evWrite:         {stateOpen: stateResponding, stateDenying: stateDenied},
	evFlush:         {stateOpen: stateResponding, stateDenying: stateDenied},
	evHijack:        {stateOpen: stateHijacked},
	evStop:          {stateOpen: stateStopped, stateResponding: stateAborted, stateHijacked: stateClosed},
	evStall:         {stateResponding: stateAborted, stateDenied: stateAborted},
	evStartDenial:   {stateOpen: stateDenying, stateStopped: stateDenying},
}

// piece is what one write writes.
const piece = "0123456789"

// model is what a response must be after some events.
type model struct {
	state   responseState
	code    int // of the final response that is begun
	written int // pieces of its body
	total   int // pieces that its Content-Length announces; -1: it has none
}

func (m *model) apply(e event, code int) {
	next, ok := transitions[e][m.state]
	if ok {
		m.state = next
	}
	begins := ok && (next == stateResponding || next == stateDenied)
	switch {
	case e == evHeader && begins:
		m.code = code
	case begins && m.code == 0 && e != evStall:
		m.code = 200
	}
	if e == evWrite && (m.state == stateResponding || m.state == stateDenied) {
		m.written++
	}
	if e == evStartDenial && ok {
		m.total = -1 // the header is cleared
	}
}

// play does one event to w, and fails if the result is not the one that the model has.
func play(t *rapid.T, w *responseWriter, m *model, e event, code int) {
	before := m.state
	m.apply(e, code)
	writable := m.state == stateResponding || m.state == stateDenied
	switch e {
	case evInformational:
		w.WriteHeader(http.StatusEarlyHints)
	case evHeader:
		w.WriteHeader(code)
	case evWrite:
		if n, err := io.WriteString(w, piece); (err == nil) != writable || writable && n != len(piece) || !writable && !errors.Is(err, errStopped) {
			t.Fatalf("a write in state %d: %d, %v", before, n, err)
		}
	case evFlush:
		if err := w.flush(); (err == nil) != writable {
			t.Fatalf("a flush in state %d: %v", before, err)
		}
	case evHijack:
		_, _, err := w.hijack(&http.Response{StatusCode: 101, ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{}}, nopCloser{})
		if (err == nil) != (before == stateOpen) {
			t.Fatalf("a hijack in state %d: %v", before, err)
		}
	case evStop:
		done := make(chan struct{})
		go func() { w.stop(byCut); close(done) }()
		<-done
	case evStall:
		w.writeStalled()
	case evStartDenial:
		if ok := w.startDenial(); ok != (m.state == stateDenying && before != stateDenying) {
			t.Fatalf("startDenial in state %d: %v", before, ok)
		}
	}
	if got := w.currentState(); got != m.state {
		t.Fatalf("%s leads from state %d to %d, want %d", e, before, got, m.state)
	}
}

type nopCloser struct{}

func (nopCloser) Close() error { return nil }

// received is what a client of HTTP/1.1 saw of one request.
type received struct {
	final    []int // status codes of the final responses
	body     string
	complete bool // the last one looked complete
}

// readResponses reads all responses until the connection ends.
func readResponses(conn net.Conn) (got received) {
	br := bufio.NewReader(conn)
	for {
		res, err := http.ReadResponse(br, nil)
		if err != nil {
			return got
		}
		if res.StatusCode >= 100 && res.StatusCode < 200 && res.StatusCode != http.StatusSwitchingProtocols {
			continue
		}
		got.final = append(got.final, res.StatusCode)
		if res.StatusCode == http.StatusSwitchingProtocols {
			got.complete = true
			return got
		}
		body, err := io.ReadAll(res.Body)
		got.body += string(body)
		got.complete = err == nil
	}
}

// handlerServer is a server of HTTP/1.1 or HTTP/2 whose handler is set for each request.
type handlerServer struct {
	*httptest.Server
	handlers chan http.HandlerFunc
}

func newHandlerServer(t *testing.T, h2 bool) *handlerServer {
	s := &handlerServer{handlers: make(chan http.HandlerFunc, 1)}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { (<-s.handlers)(w, r) }))
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	if s.EnableHTTP2 = h2; h2 {
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	return s
}

// respond does what the proxy does around the events of one request.
func respond(w http.ResponseWriter, r *http.Request, stall time.Duration, events func(*responseWriter)) {
	rw := newResponseWriter(w, r, stall)
	events(rw)
	rw.flushPending()
	if rw.release() {
		panic(http.ErrAbortHandler)
	}
}

// ask sends a GET or, with a body that is incomplete, a POST, and returns what comes back until the connection ends.
func (s *handlerServer) ask(t *rapid.T, post bool, h http.HandlerFunc) received {
	conn, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	done := make(chan struct{})
	s.handlers <- func(w http.ResponseWriter, r *http.Request) { defer close(done); h(w, r) }
	head := "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
	if post {
		head = "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 100\r\n\r\npart of it"
	}
	if _, err := io.WriteString(conn, head); err != nil {
		t.Fatal(err)
	}
	if post {
		_ = conn.(*net.TCPConn).CloseWrite()
	}
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	got := readResponses(conn)
	<-done
	return got
}

// TestResponseWriter_FollowsItsStates plays random events against a real server. Each must lead to the state that the
// table has, and the client must see the one response that the model has, complete or visibly broken off.
func TestResponseWriter_FollowsItsStates(t *testing.T) {
	s := newHandlerServer(t, false)
	rapid.Check(t, func(t *rapid.T) {
		events := rapid.SliceOfN(rapid.SampledFrom(allEvents), 0, 8).Draw(t, "events")
		codes := rapid.SliceOfN(rapid.SampledFrom([]int{200, 201, 403, 404, 502}), len(events), len(events)).Draw(t, "codes")
		post := rapid.Bool().Draw(t, "post")
		sized := rapid.Bool().Draw(t, "Content-Length")
		m := model{total: -1}
		var failure any
		got := s.ask(t, post, func(w http.ResponseWriter, r *http.Request) {
			respond(w, r, time.Minute, func(rw *responseWriter) {
				defer func() { failure = recover() }()
				for i, e := range events {
					if sized && m.state == stateOpen && (e == evHeader || e == evWrite || e == evFlush) {
						pieces := 0 // that are written if nothing stops the response
						for _, later := range events[i:] {
							if later == evWrite {
								pieces++
							}
						}
						m.total = pieces
						rw.Header().Set("Content-Length", strconv.Itoa(pieces*len(piece)))
					}
					play(t, rw, &m, e, codes[i])
				}
				if m.state == stateHijacked {
					rw.stop(byCut)
				}
			})
		})
		if failure != nil {
			panic(failure)
		}
		m.check(t, got)
	})
}

// check compares what the client saw with the model.
func (m *model) check(t *rapid.T, got received) {
	switch m.state {
	case stateOpen, stateStopped, stateDenying:
		if len(got.final) != 0 {
			t.Fatalf("a response that nothing began: %+v", got)
		}
	case stateHijacked, stateClosed:
		if !slices.Equal(got.final, []int{101}) {
			t.Fatalf("a hijacked connection: %+v", got)
		}
	case stateResponding, stateDenied:
		if !slices.Equal(got.final, []int{m.code}) || !got.complete || got.body != strings.Repeat(piece, m.written) {
			t.Fatalf("want a complete %d of %d pieces: %+v", m.code, m.written, got)
		}
	case stateAborted:
		whole := m.total == m.written // all of it may have been sent before the stop
		if len(got.final) > 1 || got.complete && !whole || len(got.body) > m.written*len(piece) {
			t.Fatalf("an aborted response of %d pieces: %+v", m.written, got)
		}
	}
}

// TestResponseWriter_StopEndsWaiting stops a handler that waits for its client in a random way: the wait must end at
// once, and nothing of what follows the stop may reach the client but a denial.
func TestResponseWriter_StopEndsWaiting(t *testing.T) {
	servers := map[bool]*handlerServer{false: newHandlerServer(t, false), true: newHandlerServer(t, true)}
	rapid.Check(t, func(t *rapid.T) {
		h2 := rapid.Bool().Draw(t, "HTTP/2")
		s := servers[h2]
		wait := rapid.SampledFrom([]string{"read", "write", "write 1xx"}).Draw(t, "wait")
		byTimer := (wait == "write" || wait == "write 1xx" && !h2) && rapid.Bool().Draw(t, "by the stall timer")
		deny := rapid.Bool().Draw(t, "deny")
		stall := time.Minute
		if byTimer {
			stall = 30 * time.Millisecond
		}
		ended, done, denied := make(chan struct{}), make(chan struct{}), false
		var afterStop error
		handler := func(w http.ResponseWriter, r *http.Request) {
			defer close(done)
			respond(w, r, stall, func(rw *responseWriter) {
				if !byTimer {
					time.AfterFunc(rapidDelay, func() { rw.stop(byCut) })
				}
				waitFor(rw, r, wait)
				close(ended)
				_, afterStop = io.WriteString(rw, "after the stop")
				if denied = deny && rw.startDenial(); denied {
					rw.WriteHeader(http.StatusForbidden)
				}
			})
		}
		body, complete := silentClient(t, s, h2, wait, handler, ended)
		<-done
		if !errors.Is(afterStop, errStopped) {
			t.Fatalf("a write after the stop: %v", afterStop)
		}
		if strings.Contains(body, "after the stop") {
			t.Fatalf("written after the stop: %q", body)
		}
		if complete && !denied {
			t.Fatalf("a stopped response looks complete: %q", body)
		}
		if wait != "write" && deny != denied {
			t.Fatal("no denial could follow a stop before the response")
		}
		if wait == "write" && denied {
			t.Fatal("a denial follows a response that had begun")
		}
	})
}

// rapidDelay is how long after its begin a handler is stopped.
const rapidDelay = 10 * time.Millisecond

// waitFor waits for the client until the response is stopped.
func waitFor(rw *responseWriter, r *http.Request, wait string) {
	switch wait {
	case "read":
		_, _ = io.ReadAll(r.Body)
	case "write":
		for err := error(nil); err == nil; {
			_, err = rw.Write(make([]byte, 64<<10))
		}
	case "write 1xx":
		for rw.stopCause() == "" {
			rw.Header().Set("Link", strings.Repeat("x", 32<<10))
			rw.WriteHeader(http.StatusEarlyHints)
		}
	}
}

// silentClient makes a request that it neither completes nor reads the response of until the handler stopped waiting.
// It returns what it received of the body then, and whether the response looked complete.
func silentClient(t *rapid.T, s *handlerServer, h2 bool, wait string, h http.HandlerFunc, ended chan struct{}) (body string, complete bool) {
	s.handlers <- h
	if h2 {
		return silentHTTP2Client(t, s, wait, ended)
	}
	conn, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, err = io.WriteString(conn, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n")
	if err != nil {
		t.Fatal(err)
	}
	awaitEnd(t, wait, ended)
	_ = conn.(*net.TCPConn).CloseWrite()
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	got := readResponses(conn)
	return got.body, len(got.final) > 0 && got.complete
}

// silentHTTP2Client does the same over HTTP/2, on a connection of its own. net/http's client stops the server after 4 MiB
// of a body that is not read.
func silentHTTP2Client(t *rapid.T, s *handlerServer, wait string, ended chan struct{}) (text string, complete bool) {
	transport := s.Client().Transport.(*http.Transport).Clone()
	defer transport.CloseIdleConnections()
	body, feed := io.Pipe()
	defer feed.Close()
	r, err := http.NewRequest("POST", s.URL, body)
	if err != nil {
		t.Fatal(err)
	}
	type result struct {
		res *http.Response
		err error
	}
	results := make(chan result, 1)
	go func() {
		res, err := transport.RoundTrip(r)
		results <- result{res, err}
	}()
	awaitEnd(t, wait, ended)
	select {
	case got := <-results:
		if got.err != nil {
			return "", false
		}
		defer got.res.Body.Close()
		body, err := io.ReadAll(got.res.Body)
		return string(body), err == nil
	case <-time.After(patience):
		t.Fatal("the client sees no end")
		return "", false
	}
}

func awaitEnd(t *rapid.T, wait string, ended chan struct{}) {
	select {
	case <-ended:
	case <-time.After(patience):
		t.Fatalf("a %s does not end with the stop", wait)
	}
}
