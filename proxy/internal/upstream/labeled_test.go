package upstream

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"sallyport/proxy/internal/lifetime"
)

// TestLabeled_IsBounded asks for ever new labels: those that were not used for the longest time are forgotten, and what they
// have open is closed, also what was in use.
func TestLabeled_IsBounded(t *testing.T) {
	l := NewLabeled(Config{Timeout: time.Second}, []string{"http://{label}.apps.internal:8080"})
	of := func(label string) *Upstream {
		t.Helper()
		u, err := l.For(label)
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	first, second := of("first"), of("second")
	if first == second || first.targets[0].host != "first.apps.internal:8080" {
		t.Fatalf("%v %v", first.targets[0].host, second.targets[0].host)
	}
	for i := range maxLabels - 2 {
		of(fmt.Sprint("l", i))
	}
	if of("first") != first {
		t.Error("a label was forgotten before there were too many")
	}
	of("one-more")
	if of("first") != first {
		t.Error("the label that was used last was forgotten")
	}
	if targets, down := l.Available(time.Now()); targets != maxLabels || down != 0 {
		t.Errorf("%d targets, %d down", targets, down)
	}
	if of("second") == second || !second.targets[0].http1.retired {
		t.Error("the label that was not used for the longest time was not forgotten")
	}
	if _, err := l.For("a/b"); err == nil {
		t.Error("something that is no label is one")
	}
}

// TestUpstream_RetiredKeepsNoConnection checks that the connection of a request that was under way is closed after it, as is
// one that waits.
func TestUpstream_RetiredKeepsNoConnection(t *testing.T) {
	closed := make(chan struct{}, 2)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "text") }))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateClosed {
			closed <- struct{}{}
		}
	}
	s.Start()
	defer s.Close()
	u := newUpstream(t, Config{Timeout: time.Minute}, s.URL)
	var bodies []io.ReadCloser
	for range 2 {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := u.RoundTrip(lifetime.New(r.Context()), requestOf(r))
		if err != nil {
			t.Fatal(err)
		}
		bodies = append(bodies, res.Body)
	}
	read := func(body io.ReadCloser) {
		if text, err := io.ReadAll(body); err != nil || string(text) != "text" {
			t.Errorf("%q, %v", text, err)
		}
		_ = body.Close()
	}
	read(bodies[0])
	u.retire()
	<-closed
	read(bodies[1])
	<-closed
}
