package proxy

import (
	"net/http"
	"strings"
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
