package proxy

import (
	"context"
	"sync/atomic"
	"testing"
)

// TestAuthenticated_ToldOfCallers checks for which requests the server is told that their caller is authenticated.
func TestAuthenticated_ToldOfCallers(t *testing.T) {
	w := newWorld(t, nil)
	var told atomic.Int64
	w.proxy.authenticated = func(ctx context.Context) {
		if ctx.Err() == nil {
			told.Add(1)
		}
	}
	_, alice := w.signIn("alice", appHost)
	_, open := w.signIn("alice", openHost)
	_, bob := w.signIn("bob", appHost)
	token := w.token("alice", nil)
	for name, c := range map[string]struct {
		url  string
		with []string
		want int64
	}{
		"anonymous":                {"https://" + openHost + "/", nil, 0},
		"made-up cookie":           {"https://" + openHost + "/", []string{"Cookie", "__Host-sallyport=x"}, 0},
		"made-up token":            {"https://" + openHost + "/", []string{"Authorization", "Bearer x"}, 0},
		"session":                  {"https://" + appHost + "/", []string{"Cookie", alice}, 1},
		"session, open route":      {"https://" + openHost + "/", []string{"Cookie", open}, 1},
		"token":                    {"https://" + apiHost + "/v1/x", []string{"Authorization", "Bearer " + token}, 1},
		"denied":                   {"https://" + appHost + "/", []string{"Cookie", bob}, 0},
		"not signed in":            {"https://" + appHost + "/", nil, 0},
		"internal page":            {"https://" + appHost + mePath, []string{"Cookie", alice}, 1},
		"internal page, no caller": {"https://" + appHost + mePath, nil, 0},
	} {
		for _, h2 := range []bool{false, true} {
			told.Store(0)
			res, _ := w.get(w.client(h2), c.url, c.with...)
			if n := told.Load(); n != c.want {
				t.Errorf("%s: %s, told %d times", name, res.Status, n)
			}
		}
	}
}
