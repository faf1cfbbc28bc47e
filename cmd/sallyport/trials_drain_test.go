package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"

	"sallyport/entratest"
)

// reached remembers which requests reached the application.
type reached struct {
	mu  sync.Mutex // guards ids
	ids map[string]bool
}

// newSlowApplication returns an application that remembers what reached it, and whose responses take a while.
func newSlowApplication(t *testing.T) (*httptest.Server, *reached) {
	seen := &reached{ids: map[string]bool{}}
	mux := http.NewServeMux()
	mux.HandleFunc("/socket", echo)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		seen.mu.Lock()
		seen.ids[r.URL.Query().Get("id")] = true
		seen.mu.Unlock()
		const pieces, piece = 10, "0123456789"
		w.Header().Set("Content-Length", fmt.Sprint(pieces*len(piece)))
		for range pieces {
			_, _ = io.WriteString(w, piece)
			_ = http.NewResponseController(w).Flush()
			time.Sleep(5 * time.Millisecond) // the response must still be under way when the signal comes
		}
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s, seen
}

// TestReliability_Drain stops the server (SIGTERM) at a random time under load. Every request that reached the application gets all
// of its response, every push that was acknowledged is there afterwards, a WebSocket ends with the code 1001, and the
// process ends without an error and leaves a sound store and record.
func TestReliability_Drain(t *testing.T) {
	t.Parallel()
	application, seen := newSlowApplication(t)
	w := newWorld(t)
	w.rewrite("upstream: "+w.upstream.URL, "upstream: "+application.URL)
	sound := string(readFile(t, filepath.Join(w.dir, "sallyport.yaml")))
	s := w.start("--init")
	stage := w.settleWithoutSignIn(s)
	if status, _ := stage.browser.navigate("https://" + appHost + "/"); status != http.StatusOK {
		t.Fatal(status)
	}
	s.kill()
	title := ""
	trials(t, 2, func(c *trial) {
		w.t = c.T
		socket := c.IntN(5) == 0
		listen := "ops: 127.0.0.1:0, grace: 30s, drain: " + pick(c, []string{"0s", "50ms", "200ms"}) + "}"
		if socket {
			listen = "ops: 127.0.0.1:0, grace: 2s}"
		}
		writeFile(c.T, w.dir, "sallyport.yaml", []byte(strings.Replace(sound, "ops: 127.0.0.1:0}", listen, 1)))
		s := w.start()
		push := w.pusher(s)
		if u := push.send("GET", "/Users/"+stage.alice, nil, http.StatusOK); title != "" && u["title"] != title {
			c.Errorf("the title is %v, and %s was acknowledged", u["title"], title)
		}
		l := &drained{trial: c, title: title}
		if socket {
			l.openSocket(w.newBrowserWith(s, stage.browser))
		}
		stop := make(chan struct{})
		for n := range 4 {
			b := w.newBrowserWith(s, stage.browser)
			b.client.Transport.(*http.Transport).ForceAttemptHTTP2 = n%2 == 0
			l.all.Go(func() { l.request(b, stop, seen, n) })
		}
		l.all.Go(func() { l.push(push, stage.alice, stop) })
		time.Sleep(c.within(300 * time.Millisecond))
		s.signal(syscall.SIGTERM)
		s.awaitEnd()
		close(stop)
		l.all.Wait()
		title = l.title
		c.count("stopped")
		if socket {
			c.count("with a WebSocket")
		}
		if c.n%10 == 0 {
			verb(c.T, w.dir, "store", "check")
			verb(c.T, w.dir, "audit", "verify")
		}
	})
	w.t = t
}

// settleWithoutSignIn is settle for an application that does not greet.
func (w *world) settleWithoutSignIn(server *running) *stage {
	w.t.Helper()
	s := &stage{world: w, server: server, push: w.pusher(server)}
	s.person = w.entra.Add(entratest.Person{UPN: "alice@example.com", Name: "Alice"})
	w.entra.SignIn(s.person.OID)
	s.alice = s.push.hire("alice", s.person.OID)
	s.group = s.push.form("Members", w.group)
	s.push.member("Add", s.group, s.alice)
	s.browser = w.newBrowser(server)
	return s
}

// drained is the load on a server that stops.
type drained struct {
	*trial
	all   sync.WaitGroup
	title string // the last that was acknowledged; "" if that is unknown
}

// request sends requests until one fails, and demands that the failed one did not reach the application.
func (l *drained) request(b *browser, stop <-chan struct{}, seen *reached, worker int) {
	for n := 0; ; n++ {
		select {
		case <-stop:
			return
		default:
		}
		id := fmt.Sprintf("%d-%d-%d", l.n, worker, n)
		resp, err := b.client.Get("https://" + appHost + "/?id=" + id)
		if err == nil {
			var body []byte
			body, err = io.ReadAll(resp.Body)
			if err == nil && (resp.StatusCode != http.StatusOK || len(body) != 100) {
				l.Errorf("a request gets %d and %d bytes", resp.StatusCode, len(body))
			}
			_ = resp.Body.Close()
		}
		if err == nil {
			continue
		}
		seen.mu.Lock()
		defer seen.mu.Unlock()
		if seen.ids[id] {
			l.Errorf("a request that reached the application ends with %v", err)
		}
		return
	}
}

// push changes the title of a user until the server is gone.
func (l *drained) push(p *pusher, user string, stop <-chan struct{}) {
	for n := 0; ; n++ {
		select {
		case <-stop:
			return
		default:
		}
		title := fmt.Sprintf("%d-%d", l.n, n)
		status, body, err := p.try("PATCH", "/Users/"+user, patchOf(map[string]any{"op": "Replace", "path": "title", "value": title}))
		switch {
		case errors.Is(err, syscall.ECONNREFUSED): // it cannot have arrived
			return
		case err != nil:
			l.title = ""
			return
		case status/100 != 2:
			l.Errorf("a push gets %d %v", status, body)
			return
		}
		l.title = title
	}
}

func (l *drained) openSocket(b *browser) {
	l.Helper()
	ctx, cancel := context.WithTimeout(l.Context(), time.Minute)
	l.Cleanup(cancel)
	socket, _, err := websocket.Dial(ctx, "wss://"+appHost+"/socket", &websocket.DialOptions{HTTPClient: b.client})
	if err != nil {
		l.Fatal(err)
	}
	l.all.Go(func() {
		if _, _, err := socket.Read(ctx); websocket.CloseStatus(err) != websocket.StatusGoingAway {
			l.Errorf("the WebSocket ends with %v", err)
		}
	})
}
