package main

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"net/http"
	"sync"
	"time"

	"sallyport/admin"
)

// The headers by which a request shows that it came to this server. The response to reachHeader has a secret of its own, so
// that whatever repeats requests is not taken for this server.
const (
	reachHeader   = "Sallyport-Reach"
	reachedHeader = "Sallyport-Reached"
)

const (
	reachLifetime = time.Minute
	maxReach      = 16 // pairs at once; another replaces the oldest
)

// reachPair is what the running server tells over the control socket: how a request asks whether it reached this server, and
// what the response then says. Both are random.
type reachPair struct {
	Request  string `json:"request"`
	Response string `json:"response"`
}

// reach marks responses to requests that ask whether they reached this server. It says nothing to requests that have no
// pair, and lets every request go on as it is.
type reach struct {
	mu    sync.Mutex // guards pairs
	pairs []timedPair
}

type timedPair struct {
	reachPair
	expires time.Time
}

// begin returns a new pair.
func (r *reach) begin(now time.Time) reachPair {
	pair := reachPair{rand.Text(), rand.Text()}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.pairs) >= maxReach {
		r.pairs = r.pairs[1:]
	}
	r.pairs = append(r.pairs, timedPair{pair, now.Add(reachLifetime)})
	return pair
}

// response returns what the response to a request says; ok is false if no pair is that of the request.
func (r *reach) response(request string, now time.Time) (response string, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range r.pairs {
		if subtle.ConstantTimeCompare([]byte(p.Request), []byte(request)) == 1 && now.Before(p.expires) {
			response, ok = p.Response, true
		}
	}
	return response, ok
}

// handler returns a handler that marks responses of next.
func (r *reach) handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if request := req.Header.Get(reachHeader); request != "" {
			if response, ok := r.response(request, time.Now()); ok {
				w.Header().Set(reachedHeader, response)
			}
		}
		next.ServeHTTP(w, req)
	})
}

// beginReach returns a pair with which the doctor finds out whether an address leads to this server.
func (c *control) beginReach(context.Context, admin.Actor) (reachPair, error) {
	if c.reach == nil {
		return reachPair{}, admin.ErrNoServer
	}
	return c.reach.begin(time.Now()), nil
}
