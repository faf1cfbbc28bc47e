package proxy

import (
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// bothProtocols runs a test over HTTP/1.1 and over HTTP/2.
func bothProtocols(t *testing.T, w *world, f func(t *testing.T, c *http.Client)) {
	for name, h2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2": true} {
		t.Run(name, func(t *testing.T) { f(t, w.client(h2)) })
	}
}

func TestServe_Access(t *testing.T) {
	w := newWorld(t, nil)
	_, alice := w.signIn("alice", appHost)
	_, bob := w.signIn("bob", appHost)
	_, elsewhere := w.signIn("alice", openHost)
	bearer := "Bearer " + w.token("alice", nil)
	bothProtocols(t, w, func(t *testing.T, c *http.Client) {
		for _, row := range []struct {
			name    string
			url     string
			headers []string
			code    int
			reason  string
		}{
			{"a member with a session", "https://" + appHost + "/", []string{"Cookie", alice}, 200, ""},
			{"a member with a token", "https://" + appHost + "/", []string{"Authorization", bearer}, 200, ""},
			{"an anonymous caller", "https://" + appHost + "/", nil, 401, string(notSignedIn)},
			{"a user in no group", "https://" + appHost + "/", []string{"Cookie", bob}, 403, string(noRule)},
			{"a member where a rule denies", "https://" + appHost + "/secret/plan", []string{"Cookie", alice}, 403, string(ruleDeny)},
			{"a cookie of another host", "https://" + appHost + "/", []string{"Cookie", elsewhere}, 401, string(notSignedIn)},
			{"an anonymous caller where anyone may", "https://" + openHost + "/", nil, 200, ""},
			{"a session on a route for tokens", "https://" + apiHost + "/v1/x", []string{"Cookie", alice}, 401, string(notSignedIn)},
			{"a token on a route for tokens", "https://" + apiHost + "/v1/x", []string{"Authorization", bearer}, 200, ""},
			{"an invalid token beside a valid cookie", "https://" + appHost + "/", []string{"Authorization", "Bearer x.y.z", "Cookie", alice}, 401, string(tokenRefused)},
			{"two tokens", "https://" + appHost + "/", []string{"Authorization", bearer, "Authorization", bearer}, 401, string(tokenRefused)},
			{"an unknown host", "https://nowhere.example.com/", []string{"Cookie", alice}, 404, string(noRoute)},
			{"a path without a route", "https://" + apiHost + "/v10/x", []string{"Authorization", bearer}, 404, string(noRoute)},
			{"an ambiguous path", "https://" + appHost + "/a%2fb", []string{"Cookie", alice}, 400, string(badPath)},
		} {
			t.Run(row.name, func(t *testing.T) {
				res, body := w.get(c, row.url, append([]string{"Accept", "application/json"}, row.headers...)...)
				if res.StatusCode != row.code || row.reason != "" && !strings.Contains(body, row.reason) {
					t.Errorf("%d %s", res.StatusCode, body)
				}
				if (res.Header.Get("X-Saw") != "") != (row.code == 200) {
					t.Errorf("reached the upstream: %v", res.Header)
				}
			})
		}
	})
}

// TestPanic_EndsOneRequest checks that a panic ends its request, not the server, and does not look like a response.
func TestPanic_EndsOneRequest(t *testing.T) {
	w := newWorld(t, nil)
	w.proxy.routing.Load().routes[1].policy = nil
	c := w.client(false)
	r, _ := http.NewRequestWithContext(w.ctx, "GET", "https://"+openHost+"/", nil)
	var eof error
	if _, eof = c.Do(r); eof == nil || !errors.Is(eof, io.EOF) {
		t.Errorf("%v", eof)
	}
	if res, _ := w.get(c, "https://"+appHost+"/", "Accept", "application/json"); res.StatusCode != 401 {
		t.Errorf("%d", res.StatusCode)
	}
	if n := w.metric("sallyport_live_requests"); n != 0 {
		t.Errorf("%v are live", n)
	}
}

// TestServe_NeverMixesSettings: however reloads and requests interleave, no request is decided by one route and sent to the
// upstream of another.
func TestServe_NeverMixesSettings(t *testing.T) {
	w := newWorld(t, nil)
	open := w.settings
	open.Routes = slices.Clone(open.Routes)
	other := rawUpstream(t, "HTTP/1.1 200 OK\r\nX-Saw: other\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
	open.Routes[0].Policy, open.Routes[0].Upstream, open.Routes[0].UpstreamTLS = []string{"all"}, Upstreams{other}, UpstreamTLS{}
	var stop atomic.Bool
	var asking sync.WaitGroup
	defer asking.Wait()
	defer stop.Store(true)
	for i := range 4 {
		c := w.client(i%2 == 0)
		asking.Go(func() {
			for !stop.Load() {
				r, _ := http.NewRequestWithContext(w.ctx, "GET", "https://"+appHost+"/", nil)
				res, err := c.Do(r)
				if err != nil {
					continue // cut by a reload
				}
				io.Copy(io.Discard, res.Body)
				res.Body.Close()
				if saw := res.Header.Get("X-Saw"); res.StatusCode == 200 && saw != "other" {
					t.Errorf("nobody reached the upstream of staff: %s", saw)
				}
			}
		})
	}
	for range 100 {
		w.must(w.proxy.Load(open))
		w.must(w.proxy.Load(w.settings))
	}
}
