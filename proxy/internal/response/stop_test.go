package response

import (
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestResponseWriter_StopEndsWaiting stops the response of a handler that waits for its client. The wait must end at
// once, and nothing that is written after the stop, except a denial, may reach the client.
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
			respond(w, r, stall, func(rw *Writer) {
				if wait == "write" {
					_, _ = io.WriteString(rw, piece) // the response begins before it is stopped
				}
				if !byTimer {
					time.AfterFunc(stopDelay, func() { rw.Stop(ByCut) })
				}
				waitFor(rw, r, wait)
				close(ended)
				_, afterStop = io.WriteString(rw, "after the stop")
				if denied = deny && rw.StartDenial(); denied {
					rw.WriteHeader(http.StatusForbidden)
				}
			})
		}
		body, complete := silentClient(t, s, h2, wait, handler, ended)
		<-done
		if !errors.Is(afterStop, ErrStopped) {
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

// stopDelay is how long a handler waits before its response is stopped.
const stopDelay = 10 * time.Millisecond

// waitFor waits for the client until the response is stopped.
func waitFor(rw *Writer, r *http.Request, wait string) {
	switch wait {
	case "read":
		_, _ = io.ReadAll(r.Body)
	case "write":
		for err := error(nil); err == nil; {
			_, err = rw.Write(make([]byte, 64<<10))
		}
	case "write 1xx":
		for rw.StopCause() == "" {
			rw.Header().Set("Link", strings.Repeat("x", 32<<10))
			rw.WriteHeader(http.StatusEarlyHints)
		}
	}
}

// silentClient sends a request without its body, and reads nothing until the handler no longer waits. It returns the
// body of the response, and whether the response looked complete.
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
	_ = conn.SetReadDeadline(time.Now().Add(waitLimit))
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
	case <-time.After(waitLimit):
		t.Fatal("the client sees no end")
		return "", false
	}
}

func awaitEnd(t *rapid.T, wait string, ended chan struct{}) {
	select {
	case <-ended:
	case <-time.After(waitLimit):
		t.Fatalf("a %s does not end with the stop", wait)
	}
}
