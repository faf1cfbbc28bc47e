package proxy

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"sallyport/audit"
	"sallyport/live"
)

var operator = audit.Actor{Kind: audit.ActorOperator, Name: "ada", Address: "control socket"}

// TestLive_ListsAndEnds lists a live request of each kind with its facts, and ends it: the client and the upstream see the
// end, it is counted and recorded with who did it, and the next request is let in.
func TestLive_ListsAndEnds(t *testing.T) {
	for _, k := range streamKinds {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, nil)
			reached, gone := w.serveStreams()
			session, cookie := w.signIn("alice", appHost)
			s := k.open(w, w.client(false), "https://"+appHost, "Cookie", cookie)
			await(t, "the upstream is reached", reached)
			kind := live.Plain
			if name, _, _ := strings.Cut(k.name, "_"); name == "websocket" || name == "events" {
				kind = live.Kind(name)
			}
			var r live.Request
			w.eventually("it is listed", func() bool {
				list := w.proxy.Live(live.Filter{Limit: 10})
				if len(list.Requests) == 1 {
					r = list.Requests[0]
				}
				return list.Total == 1 && r.Kind == kind
			})
			alice := w.user("alice")
			if r.User != alice.ID || r.UserName != alice.UserName || r.Route != "app" || r.Host != appHost || r.Session != session.ID || r.Address != "127.0.0.1" ||
				r.Rule != "staff[0]" || len(r.ID) != 32 || time.Since(r.Since) > time.Minute || !strings.HasPrefix(r.Path, "/") || strings.Contains(r.Path, "?") {
				t.Errorf("%+v", r)
			}
			other := "f"
			if r.ID[:1] == other {
				other = "e"
			}
			if n := w.proxy.EndLive(live.Filter{ID: other + r.ID[1:], Limit: 1}, operator) + w.proxy.EndLive(live.Filter{Route: "app"}, operator) + w.proxy.EndLive(live.Filter{User: "other"}, operator); n > 0 {
				t.Errorf("%d others ended", n)
			}
			if n := w.proxy.EndLive(live.Filter{ID: r.ID}, operator); n != 1 {
				t.Errorf("%d ended", n)
			}
			await(t, "the client sees the end", s.done)
			if s.err == nil {
				t.Error("the response looks complete to the client")
			}
			await(t, "the upstream sees the end", gone)
			w.eventually("nothing is live", func() bool { return w.metric("sallyport_live_requests") == 0 && w.proxy.Live(live.Filter{}).Total == 0 })
			if w.metric("sallyport_cuts_total", "route", "app", "reason", "request_ended") != 1 {
				t.Error("it is not counted")
			}
			var e audit.Event
			w.must(json.Unmarshal([]byte(w.events(audit.KindCut)[0]), &e))
			if e.Actor != operator || e.Reason != "request_ended" || e.Request != r.ID || e.User != alice.ID || e.Detail["begun"] == "" || e.Detail["change"] != "" {
				t.Errorf("recorded: %+v", e)
			}
			w.setUpstream(mirror)
			if res, _ := w.get(w.client(false), "https://"+appHost+"/", "Cookie", cookie); res.StatusCode != http.StatusOK {
				t.Errorf("the next request: %d", res.StatusCode)
			}
			if n := w.proxy.EndLive(live.Filter{ID: r.ID}, operator); n != 0 {
				t.Errorf("%d ended again", n)
			}
		})
	}
}

// TestLive_EndsAllOfOne: all requests of one user, and of an application, end, and nobody else's.
func TestLive_EndsAllOfOne(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.setUpstream(endlessStream)
	w.addUser("carol", staff)
	_, alice := w.signIn("alice", appHost)
	_, carol := w.signIn("carol", appHost)
	client := w.client(true)
	var bodies []io.ReadCloser
	for _, cookie := range []string{alice, carol, alice, alice} {
		r, err := http.NewRequestWithContext(w.ctx, http.MethodGet, "https://"+appHost+"/", nil)
		w.must(err)
		r.Header.Set("Cookie", cookie)
		res, err := client.Do(r)
		w.must(err)
		bodies = append(bodies, res.Body)
	}
	if n := w.proxy.EndLive(live.Filter{User: w.user("alice").ID, Limit: 1}, operator); n != 3 {
		t.Errorf("%d ended, want 3", n)
	}
	for _, i := range []int{0, 2, 3} {
		if _, err := io.Copy(io.Discard, bodies[i]); err == nil {
			t.Error("a response looks complete")
		}
	}
	list := w.proxy.Live(live.Filter{Limit: 10})
	if list.Total != 1 || list.Requests[0].User != w.user("carol").ID {
		t.Errorf("%+v", list)
	}
	_ = bodies[1].Close()
}

// TestLive_CountsBytes: bytes of both directions are counted while a request lives.
func TestLive_CountsBytes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(s *Settings) { echoUpstream(t, s) })
	conn, in := w.openTunnel("")
	for i := range 3 {
		_, err := io.WriteString(conn, "hello")
		w.must(err)
		_, err = io.ReadFull(in, make([]byte, 5))
		w.must(err)
		if r := w.proxy.Live(live.Filter{Limit: 1}).Requests[0]; r.Received != int64(5*(i+1)) || r.Sent != int64(5*(i+1)) || r.User != "" || r.UserName != "" {
			t.Errorf("%+v", r)
		}
	}
	w.must(conn.Close())
}

// TestLive_OmitsDenied: a request that is being decided, or was denied, is not listed.
func TestLive_OmitsDenied(t *testing.T) {
	w := newWorld(t, nil)
	release := make(chan struct{})
	w.setUpstream(func(http.ResponseWriter, *http.Request) { <-release })
	defer close(release)
	_, cookie := w.signIn("bob", appHost)
	if res, _ := w.get(w.client(false), "https://"+appHost+"/", "Cookie", cookie); res.StatusCode != http.StatusForbidden {
		t.Fatal(res.Status)
	}
	if list := w.proxy.Live(live.Filter{Limit: 10}); list.Total != 0 {
		t.Errorf("%+v", list)
	}
}

// TestLive_EndedBeforeItsResponse: who waits for a response is told that the request was ended.
func TestLive_EndedBeforeItsResponse(t *testing.T) {
	w := newWorld(t, nil)
	reached := make(chan struct{})
	w.setUpstream(func(_ http.ResponseWriter, r *http.Request) { close(reached); <-r.Context().Done() })
	conn := w.sendRaw(fmt.Sprintf("GET / HTTP/1.1\r\nHost: %s\r\nAccept: application/json\r\n\r\n", openHost))
	<-reached
	id := w.proxy.Live(live.Filter{Limit: 1}).Requests[0].ID
	w.proxy.EndLive(live.Filter{ID: id}, operator)
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	w.must(err)
	body, _ := io.ReadAll(res.Body)
	if res.StatusCode != http.StatusServiceUnavailable || !strings.Contains(string(body), "request_ended") || !strings.Contains(string(body), id) {
		t.Errorf("%d %s", res.StatusCode, body)
	}
}
