package proxy

import (
	"strings"
	"testing"

	"sallyport/entratest"
)

// TestMe_FaultOfOurs checks that a response that cannot be written as JSON is a fault of the service, not of the request.
func TestMe_FaultOfOurs(t *testing.T) {
	w := newWorld(t, nil)
	beyond := w.token("alice", func(c entratest.Claims) { c["exp"] = int64(300_000_000_000) }) // JSON has no time after the year 9999
	res, body := w.get(w.client(false), "https://"+appHost+"/.sallyport/me", "Authorization", "Bearer "+beyond)
	if res.StatusCode != 500 || !strings.Contains(body, `"reason":"internal_error"`) || strings.Contains(body, "year") {
		t.Errorf("%d %s", res.StatusCode, body)
	}
}
