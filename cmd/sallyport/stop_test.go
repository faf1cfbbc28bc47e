package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// signal sends the process a signal.
func (r *running) signal(sig syscall.Signal) {
	r.t.Helper()
	if err := r.cmd.Process.Signal(sig); err != nil {
		r.t.Fatal(err)
	}
}

// awaitEnd demands that the process ends without an error.
func (r *running) awaitEnd() {
	r.t.Helper()
	select {
	case err := <-r.exited:
		r.exited <- err
		if err != nil {
			r.t.Errorf("the server ends with %v\n%s", err, r.log())
		}
	case <-time.After(30 * time.Second):
		r.t.Fatalf("the server does not end\n%s", r.log())
	}
}

// awaitStopping waits until /readyz says that the server stops.
func (r *running) awaitStopping() {
	r.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		status, body, err := installation{run: &runFile{Ops: r.addrs["ops"]}}.getOps(r.t.Context(), "/readyz")
		if status == http.StatusServiceUnavailable && strings.Contains(body, "stopping") {
			return
		}
		if time.Now().After(deadline) {
			r.t.Fatalf("/readyz is %d %q, %v", status, body, err)
		}
	}
}

// TestStop_Drains: after SIGTERM, /readyz says that the server stops, while the listeners go on accepting for
// listen.drain and live requests go on. A second signal ends everything at once, and each WebSocket with the code 1001.
func TestStop_Drains(t *testing.T) {
	w := newWorld(t)
	w.rewrite("ops: 127.0.0.1:0}", "ops: 127.0.0.1:0, drain: 1h, grace: 1h}")
	s := w.settle(w.start("--init"))
	socket, _, err := websocket.Dial(t.Context(), "wss://"+appHost+"/socket", &websocket.DialOptions{HTTPClient: s.browser.client})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.CloseNow()
	requests := s.openAll(t)
	s.server.signal(syscall.SIGTERM)
	s.server.awaitStopping()
	fresh := w.newBrowser(s.server) // with connections of its own
	fresh.signIn()
	s.push.send("GET", "/Users/"+s.alice, nil, http.StatusOK)
	if _, code := s.server.try("users", "show", "alice@example.com"); code != exitOK {
		t.Errorf("a verb exits with %d", code)
	}
	for _, l := range requests {
		select {
		case <-l.ended:
			t.Errorf("the %s has ended", l.name)
		default:
		}
	}
	s.server.signal(syscall.SIGTERM)
	s.server.awaitEnd()
	for _, l := range requests {
		<-l.ended
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if _, _, err := socket.Read(ctx); websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Errorf("the WebSocket ends with %v", err)
	}
	verb(t, s.dir, "store", "check")
	verb(t, s.dir, "audit", "verify")
}

// TestStop_EndsAfterDrain: when listen.drain is over, the listeners close, and the server ends by itself.
func TestStop_EndsAfterDrain(t *testing.T) {
	w := newWorld(t)
	w.rewrite("ops: 127.0.0.1:0}", "ops: 127.0.0.1:0, drain: 300ms, grace: 1h}")
	s := w.start("--init")
	s.signal(syscall.SIGINT)
	s.awaitStopping()
	s.awaitEnd()
}

// TestStop_EndsStreamsFirst: once the listeners are closed, WebSockets end with the code 1001 after listen.stream_grace, and
// so do streams and downloads; a request goes on. The times are those of the last reload.
func TestStop_EndsStreamsFirst(t *testing.T) {
	w := newWorld(t)
	w.rewrite("ops: 127.0.0.1:0}", "ops: 127.0.0.1:0, grace: 1h, stream_grace: 1h}")
	s := w.settle(w.start("--init"))
	socket, _, err := websocket.Dial(t.Context(), "wss://"+appHost+"/socket", &websocket.DialOptions{HTTPClient: s.browser.client})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.CloseNow()
	body, send := io.Pipe()
	uploaded := make(chan string, 1)
	go func() {
		resp, err := s.browser.client.Post("https://"+appHost+"/upload", "text/plain", body)
		if err != nil {
			uploaded <- err.Error()
			return
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		uploaded <- fmt.Sprint(resp.StatusCode, " ", string(text), err)
	}()
	if _, err := io.WriteString(send, "abc"); err != nil {
		t.Fatal(err)
	}
	await(t, s.server, `sallyport_live_requests{route="app"} 2`+"\n") // the WebSocket and the upload
	requests := s.openAll(t)
	s.rewrite("stream_grace: 1h", "stream_grace: 0s")
	s.server.verb("reload")
	s.server.signal(syscall.SIGTERM)
	for _, l := range requests {
		<-l.ended
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if _, _, err := socket.Read(ctx); websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Errorf("the WebSocket ends with %v", err)
	}
	if _, err := io.WriteString(send, "def"); err != nil {
		t.Fatal(err)
	}
	if err := send.Close(); err != nil {
		t.Fatal(err)
	}
	if text := <-uploaded; text != "200 6\n<nil>" {
		t.Errorf("the upload gets %q", text)
	}
	s.server.awaitEnd()
}

// TestStop_OperatorsReachServer: while requests under way finish, no other is accepted, /readyz says why, and operators
// can still shut somebody out. The server ends with the last request.
func TestStop_OperatorsReachServer(t *testing.T) {
	w := newWorld(t)
	w.rewrite("ops: 127.0.0.1:0}", "ops: 127.0.0.1:0, grace: 1h, stream_grace: 1h}")
	s := w.settle(w.start("--init"))
	stream := s.openStream(t, "/events")
	s.server.signal(syscall.SIGTERM)
	s.server.awaitStopping()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		_, err := newClient(t, w.ca, map[string]string{appHost + ":443": s.server.addrs["public"]}).Get("https://" + appHost + "/")
		if errors.Is(err, syscall.ECONNREFUSED) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the public listener is still open: %v", err)
		}
	}
	select {
	case <-stream.ended:
		t.Fatal("the stream has ended")
	default:
	}
	s.server.verb("users", "suspend", "alice@example.com", "--reason", "left")
	<-stream.ended
	s.server.awaitEnd()
}
