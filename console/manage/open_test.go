package manage_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"sallyport/console/manage"
)

// heldWriter is a response that tells when it begins, and whose writes wait until it is released.
type heldWriter struct {
	*httptest.ResponseRecorder
	begun   chan struct{} // closed at the first write
	release chan struct{}
	once    sync.Once
}

func newHeldWriter(held bool) *heldWriter {
	w := &heldWriter{ResponseRecorder: httptest.NewRecorder(), begun: make(chan struct{}), release: make(chan struct{})}
	if !held {
		close(w.release)
	}
	return w
}

func (w *heldWriter) Write(p []byte) (int, error) {
	w.once.Do(func() { close(w.begun) })
	<-w.release
	return w.ResponseRecorder.Write(p)
}

func (w *heldWriter) hasBegun() bool {
	select {
	case <-w.begun:
		return true
	default:
		return false
	}
}

// TestEvents_AreBoundedForEach: one person has so many pages open that are kept up to date, and not more; those of others, and
// those that are opened when some have ended, are not affected.
func TestEvents_AreBoundedForEach(t *testing.T) {
	e := newEnv(t)
	ctx, stop := context.WithCancel(t.Context())
	var streams sync.WaitGroup
	open := func(ctx context.Context, v manage.Viewer, path string) (*heldWriter, <-chan error) {
		w, ended := newHeldWriter(false), make(chan error, 1)
		streams.Go(func() {
			r := httptest.NewRequestWithContext(ctx, http.MethodGet, origin+manage.Path+path, nil)
			ended <- e.handler.Serve(w, r, r.URL.Path, v)
		})
		return w, ended
	}
	for i := range 32 {
		w, _ := open(ctx, e.otto, []string{"/live/events", "/overview/events"}[i%2])
		<-w.begun
	}
	_, ended := open(ctx, e.otto, "/live/events")
	if err := <-ended; !errors.Is(err, manage.ErrTooMany) {
		t.Errorf("one more for the same person: %v", err)
	}
	w, _ := open(ctx, e.ada, "/live/events")
	<-w.begun
	stop()
	streams.Wait()
	again, stopAgain := context.WithCancel(t.Context())
	w, _ = open(again, e.otto, "/live/events")
	<-w.begun
	stopAgain()
	streams.Wait()
}
