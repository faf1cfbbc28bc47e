package response

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

// event is an event of the state machine of responseState.
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

// transitions is the table in the comment of responseState, without Release. An event does not change a state that is
// absent.
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

// waitLimit bounds waiting for what must happen.
const waitLimit = 10 * time.Second

// piece is the text of one write.
const piece = "0123456789"

// model is the expected state of a response.
type model struct {
	state   responseState
	code    int // status of the final response; 0: none has begun
	written int // pieces of its body
	total   int // pieces in its Content-Length; -1: it has no Content-Length
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

// play applies one event to w and to the model, and fails if their states differ.
func play(t *rapid.T, w *Writer, m *model, e event, code int) {
	before := m.state
	m.apply(e, code)
	writable := m.state == stateResponding || m.state == stateDenied
	switch e {
	case evInformational:
		w.WriteHeader(http.StatusEarlyHints)
	case evHeader:
		w.WriteHeader(code)
	case evWrite:
		if n, err := io.WriteString(w, piece); (err == nil) != writable || writable && n != len(piece) || !writable && !errors.Is(err, ErrStopped) {
			t.Fatalf("a write in state %d: %d, %v", before, n, err)
		}
	case evFlush:
		if err := w.Flush(); (err == nil) != writable {
			t.Fatalf("a flush in state %d: %v", before, err)
		}
	case evHijack:
		_, err := w.BeginTunnel(&http.Response{StatusCode: 101, ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{}}, nopCloser{}, Uses{})
		if (err == nil) != (before == stateOpen) {
			t.Fatalf("a hijack in state %d: %v", before, err)
		}
	case evStop:
		done := make(chan struct{})
		go func() { w.Stop(ByCut); close(done) }()
		<-done
	case evStall:
		w.writeStalled()
	case evStartDenial:
		if ok := w.StartDenial(); ok != (m.state == stateDenying && before != stateDenying) {
			t.Fatalf("startDenial in state %d: %v", before, ok)
		}
	}
	if got := w.currentState(); got != m.state {
		t.Fatalf("%s leads from state %d to %d, want %d", e, before, got, m.state)
	}
}

type nopCloser struct{}

func (nopCloser) Close() error { return nil }

// received is the responses that a client received to one request over HTTP/1.1.
type received struct {
	final    []int // status codes of the final responses
	body     string
	complete bool // the last of them looked complete
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

// respond calls events with the Writer of a request, and ends it as [Proxy.handle] does.
func respond(w http.ResponseWriter, r *http.Request, stall time.Duration, events func(*Writer)) {
	rw := New(w, r, stall)
	events(rw)
	rw.FlushPending()
	if rw.Release() {
		panic(http.ErrAbortHandler)
	}
}

// ask sends a GET or a POST whose body is incomplete, and returns the responses.
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
	_ = conn.SetReadDeadline(time.Now().Add(waitLimit))
	got := readResponses(conn)
	<-done
	return got
}

// TestResponseWriter_FollowsStateMachine plays random events on a real server. Each must lead to the state in
// transitions, and the client must receive the response of the model, complete or visibly cut short.
func TestResponseWriter_FollowsStateMachine(t *testing.T) {
	s := newHandlerServer(t, false)
	rapid.Check(t, func(t *rapid.T) {
		events := rapid.SliceOfN(rapid.SampledFrom(allEvents), 0, 8).Draw(t, "events")
		codes := rapid.SliceOfN(rapid.SampledFrom([]int{200, 201, 403, 404, 502}), len(events), len(events)).Draw(t, "codes")
		post := rapid.Bool().Draw(t, "post")
		sized := rapid.Bool().Draw(t, "Content-Length")
		m := model{total: -1}
		var failure any
		got := s.ask(t, post, func(w http.ResponseWriter, r *http.Request) {
			respond(w, r, time.Minute, func(rw *Writer) {
				defer func() { failure = recover() }()
				for i, e := range events {
					if sized && m.state == stateOpen && (e == evHeader || e == evWrite || e == evFlush) {
						pieces := 0 // writes that follow, if nothing stops the response
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
					rw.Stop(ByCut)
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
			t.Fatalf("a response without an event that begins one: %+v", got)
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
