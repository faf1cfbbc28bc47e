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

// TestServe_Access checks who may reach which route, and the reason of each denial.
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
			{"member_with_a_session", "https://" + appHost + "/", []string{"Cookie", alice}, 200, ""},
			{"member_with_a_token", "https://" + appHost + "/", []string{"Authorization", bearer}, 200, ""},
			{"anonymous_caller", "https://" + appHost + "/", nil, 401, string(notSignedIn)},
			{"user_in_no_group", "https://" + appHost + "/", []string{"Cookie", bob}, 403, string(noRule)},
			{"member_where_a_rule_denies", "https://" + appHost + "/secret/plan", []string{"Cookie", alice}, 403, string(ruleDeny)},
			{"cookie_of_another_host", "https://" + appHost + "/", []string{"Cookie", elsewhere}, 401, string(notSignedIn)},
			{"anonymous_caller_where_anyone_may", "https://" + openHost + "/", nil, 200, ""},
			{"session_on_a_route_for_tokens", "https://" + apiHost + "/v1/x", []string{"Cookie", alice}, 401, string(notSignedIn)},
			{"token_on_a_route_for_tokens", "https://" + apiHost + "/v1/x", []string{"Authorization", bearer}, 200, ""},
			{"invalid_token_beside_a_valid_cookie", "https://" + appHost + "/", []string{"Authorization", "Bearer x.y.z", "Cookie", alice}, 401, string(tokenRefused)},
			{"two_tokens", "https://" + appHost + "/", []string{"Authorization", bearer, "Authorization", bearer}, 401, string(tokenRefused)},
			{"unknown_host", "https://nowhere.example.com/", []string{"Cookie", alice}, 404, string(noRoute)},
			{"path_without_a_route", "https://" + apiHost + "/v10/x", []string{"Authorization", bearer}, 404, string(noRoute)},
			{"ambiguous_path", "https://" + appHost + "/a%2fb", []string{"Cookie", alice}, 400, string(badPath)},
		} {
			t.Run(row.name, func(t *testing.T) {
				res, body := w.get(c, row.url, append([]string{"Accept", "application/json"}, row.headers...)...)
				if res.StatusCode != row.code || row.reason != "" && !strings.Contains(body, row.reason) {
					t.Errorf("%d %s", res.StatusCode, body)
				}
				if (res.Header.Get("X-Saw") != "") != (row.code == 200) {
					t.Errorf("the upstream saw %q", res.Header.Get("X-Saw"))
				}
			})
		}
	})
}

// TestServe_PanicEndsOneRequest checks that a panic aborts its request without a response, and does not end the server.
func TestServe_PanicEndsOneRequest(t *testing.T) {
	w := newWorld(t, nil)
	w.proxy.routing.Load().routes[1].policy = nil
	c := w.client(false)
	r, _ := http.NewRequestWithContext(w.ctx, "GET", "https://"+openHost+"/", nil)
	if _, err := c.Do(r); err == nil || !errors.Is(err, io.EOF) {
		t.Errorf("%v", err)
	}
	if res, _ := w.get(c, "https://"+appHost+"/", "Accept", "application/json"); res.StatusCode != 401 {
		t.Errorf("%d", res.StatusCode)
	}
	if n := w.metric("sallyport_live_requests"); n != 0 {
		t.Errorf("%v requests are live", n)
	}
}

// TestServe_NeverMixesSettings checks that, while settings are reloaded, no request is decided by the rules of one
// version and sent to the upstream of another.
func TestServe_NeverMixesSettings(t *testing.T) {
	w := newWorld(t, nil)
	forAnyone := w.settings
	forAnyone.Routes = slices.Clone(forAnyone.Routes)
	other := rawUpstream(t, "HTTP/1.1 200 OK\r\nX-Saw: other\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
	forAnyone.Routes[0].Policy, forAnyone.Routes[0].Upstream, forAnyone.Routes[0].UpstreamTLS = []string{"all"}, Upstreams{other}, UpstreamTLS{}
	var stop atomic.Bool
	var clients sync.WaitGroup
	defer clients.Wait()
	defer stop.Store(true)
	for i := range 4 {
		c := w.client(i%2 == 0)
		clients.Go(func() {
			for !stop.Load() {
				r, _ := http.NewRequestWithContext(w.ctx, "GET", "https://"+appHost+"/", nil)
				res, err := c.Do(r)
				if err != nil {
					continue // cut by a reload
				}
				io.Copy(io.Discard, res.Body)
				res.Body.Close()
				if saw := res.Header.Get("X-Saw"); res.StatusCode == 200 && saw != "other" {
					t.Errorf("an anonymous request reached the upstream for staff: %s", saw)
				}
			}
		})
	}
	for range 100 {
		w.must(w.proxy.Load(forAnyone))
		w.must(w.proxy.Load(w.settings))
	}
}
