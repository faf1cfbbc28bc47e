package demo

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/coder/websocket"
)

const (
	tickEvery = 100 * time.Millisecond
	newsEvery = 2 * time.Second
)

// dashboard is the first upstream: a page with a clock over a WebSocket and news over
// server-sent events. It has no access control of its own; Sallyport decides.
type dashboard struct {
	clocks *clocks
	origin string // host:port of the pages that may open a WebSocket
	pages  *pages
}

func (d *dashboard) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		d.pages.write(w, "dashboard.html", callerOf(r))
	})
	mux.HandleFunc("GET /ticks", d.serveTicks)
	mux.HandleFunc("GET /news", d.serveNews)
	d.pages.assets(mux)
	return mux
}

// serveTicks sends the time until the connection ends, and records when that was.
func (d *dashboard) serveTicks(w http.ResponseWriter, r *http.Request) {
	socket, err := websocket.Accept(w, r, &websocket.AcceptOptions{OriginPatterns: []string{d.origin}})
	if err != nil {
		return // Accept has responded
	}
	defer socket.CloseNow()
	k := d.clocks.start(callerOf(r).UserName)
	ended := socket.CloseRead(r.Context())
	tick := time.NewTicker(tickEvery)
	defer tick.Stop()
	for n := 0; ended.Err() == nil; n++ {
		now, _ := json.Marshal(map[string]any{"n": n, "time": time.Now().UTC()})
		if socket.Write(ended, websocket.MessageText, now) != nil {
			break
		}
		select {
		case <-tick.C:
		case <-ended.Done():
		}
	}
	d.clocks.stop(k, time.Now())
}

// headlines are the news of the company, sent in a loop.
var headlines = []string{
	"orders-api: release 412 is out on 3 of 3 machines",
	"db-2: replica caught up, 14 ms behind",
	"checkout: error rate 0.02 %, the lowest this week",
	"certs: login renewed, good for 89 days",
	"queue: drained, 0 waiting",
	"on call today: Grace Hopper",
}

func (d *dashboard) serveNews(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	flush := http.NewResponseController(w).Flush
	tick := time.NewTicker(newsEvery)
	defer tick.Stop()
	for n := 0; ; n++ {
		if _, err := fmt.Fprintf(w, "data: %s\n\n", headlines[n%len(headlines)]); err != nil || flush() != nil {
			return
		}
		select {
		case <-tick.C:
		case <-r.Context().Done():
			return
		}
	}
}
