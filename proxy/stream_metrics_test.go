package proxy

import (
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sallyport/proxy/internal/response"
)

// measured returns how many samples a histogram of the route open has, and their sum in seconds.
func (w *world) measured(name string) (count uint64, sum float64) {
	w.t.Helper()
	reg := prometheus.NewRegistry()
	reg.MustRegister(w.proxy.Collectors()...)
	families, err := reg.Gather()
	w.must(err)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && len(m.GetLabel()) == 1 && m.GetLabel()[0].GetValue() == "open" {
				return m.GetHistogram().GetSampleCount(), m.GetHistogram().GetSampleSum()
			}
		}
	}
	return 0, 0
}

// TestStream_IsMeasuredApart checks that a stream does not count as a slow request, and that a slow request does not count
// as a stream.
func TestStream_IsMeasuredApart(t *testing.T) {
	const pause = 300 * time.Millisecond
	flush := func(rw http.ResponseWriter) { _ = http.NewResponseController(rw).Flush() }
	for name, c := range map[string]struct {
		serve   http.HandlerFunc
		streams uint64
		slow    bool // the request
	}{
		"events": {func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
			flush(rw)
			time.Sleep(pause)
		}, 1, false},
		"compressed_events": {func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Type", "Text/Event-Stream")
			rw.Header().Set("Content-Encoding", "gzip")
			flush(rw)
			time.Sleep(pause)
		}, 1, false},
		"events_after_a_wait": {func(rw http.ResponseWriter, _ *http.Request) {
			time.Sleep(pause)
			rw.Header().Set("Content-Type", "text/event-stream")
			flush(rw)
		}, 1, true},
		"events_of_known_length": {func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Type", "text/event-stream")
			rw.Header().Set("Content-Length", "1")
			flush(rw)
			time.Sleep(pause)
			io.WriteString(rw, "\n")
		}, 0, true},
		"page_in_chunks": {func(rw http.ResponseWriter, _ *http.Request) {
			flush(rw)
			time.Sleep(pause)
			io.WriteString(rw, "x")
		}, 0, true},
		"page_after_a_wait": {func(rw http.ResponseWriter, _ *http.Request) {
			time.Sleep(pause)
			io.WriteString(rw, "x")
		}, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, nil)
			w.setUpstream(c.serve)
			begun := time.Now()
			res := w.open(w.client(false), "GET", "/", nil)
			responded := time.Since(begun).Seconds()
			_, err := io.Copy(io.Discard, res.Body)
			w.must(err)
			var took float64
			w.eventually("the request ends", func() bool {
				var n uint64
				n, took = w.measured("sallyport_http_request_duration_seconds")
				return n == 1
			})
			if n, _ := w.measured("sallyport_live_duration_seconds"); n != c.streams {
				t.Errorf("%d streams, want %d", n, c.streams)
			}
			if c.slow && took < pause.Seconds() || !c.slow && took > responded {
				t.Errorf("the request took %fs; the client had the headers of the response after %fs", took, responded)
			}
		})
	}
}

// TestStream_WebSocket checks that a WebSocket is measured until its end.
func TestStream_WebSocket(t *testing.T) {
	w := newWorld(t, nil)
	w.setUpstream(echo)
	conn, _ := w.openTunnel("")
	w.must(conn.CloseWrite())
	_, _ = io.Copy(io.Discard, conn)
	w.eventually("the WebSocket is measured", func() bool { n, _ := w.measured("sallyport_live_duration_seconds"); return n == 1 })
}

// TestStream_OfUnknownLength checks that a response of unknown length counts as a stream once it has gone on for long, and
// one that only came late does not.
func TestStream_OfUnknownLength(t *testing.T) {
	w := newWorld(t, nil)
	r := w.proxy.routing.Load().routes[1]
	for _, c := range []struct {
		responded, took time.Duration
		unbounded       bool
		want            time.Duration
	}{
		{time.Second, 20 * time.Second, true, 3 * time.Second},
		{15 * time.Second, 20 * time.Second, true, 0},
		{time.Second, 20 * time.Second, false, 0},
		{time.Second, 11 * time.Second, true, 0},
	} {
		now := time.Now()
		req := &request{route: r, timing: timing{received: now.Add(-2 * time.Second)}}
		ex := &exchange{request: req, live: &liveRequest{}, by: response.ByUpstream, begun: now, responded: c.responded, unbounded: c.unbounded}
		if ex.measureStream(c.took); req.streaming != c.want {
			t.Errorf("%+v counts as a request of %s", c, req.streaming)
		}
	}
	if n, _ := w.measured("sallyport_live_duration_seconds"); n != 1 {
		t.Errorf("%d streams are measured, want 1", n)
	}
}
