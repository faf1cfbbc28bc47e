package proxy

import (
	"strings"
	"testing"
)

// TestIdentify_MalformedTokenIsRejected checks that a request with a malformed bearer credential does not go on with its
// session.
func TestIdentify_MalformedTokenIsRejected(t *testing.T) {
	w := newWorld(t, nil)
	_, alice := w.signIn("alice", appHost)
	for _, path := range []string{"/", "/.sallyport/me"} {
		res, body := w.get(w.client(false), "https://"+appHost+path, "Authorization", "Bearer\t"+w.token("alice", nil), "Cookie", alice)
		if res.StatusCode != 401 || !strings.Contains(body, string(tokenRefused)) || res.Header.Get("WWW-Authenticate") == "" {
			t.Errorf("%s: %d %s", path, res.StatusCode, body)
		}
	}
}
