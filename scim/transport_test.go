package scim_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"sallyport/scim"
)

// timed is a writer that knows by when the body must have come in.
type timed struct {
	*httptest.ResponseRecorder
	within time.Duration
}

// SetReadDeadline is what http.ResponseController asks for.
func (w *timed) SetReadDeadline(t time.Time) error {
	w.within = time.Until(t)
	return nil
}

// TestABodyMustComeInSoon: nobody holds a connection by a body that never ends.
func TestABodyMustComeInSoon(t *testing.T) {
	_, token, _, server := serveWith(t, scim.Settings{})
	w := &timed{ResponseRecorder: httptest.NewRecorder()}
	server.ServeHTTP(w, newRequest(token, "POST", "/scim/v2/Users", `{"userName":"u"}`))
	if w.Code != http.StatusCreated || w.within <= 0 || w.within > time.Minute {
		t.Errorf("a creation answers %d, and its body might have taken %s", w.Code, w.within)
	}
}

// TestLocationsAreAsTheClientSees: where somebody in front of us took TLS off, the
// URLs in answers are https all the same (RFC 7643 §3.1).
func TestLocationsAreAsTheClientSees(t *testing.T) {
	_, token, _, server := serveWith(t, scim.Settings{})
	for scheme, want := range map[string]string{"": "http://scim.example.com/scim/v2/Users/", "https": "https://scim.example.com/scim/v2/Users/"} {
		r := newRequest(token, "POST", "/scim/Users", `{"userName":"`+want+`"}`)
		r.Host, r.URL.Scheme = "scim.example.com", scheme
		w := httptest.NewRecorder()
		server.ServeHTTP(w, r)
		if got := w.Header().Get("Location"); !strings.HasPrefix(got, want) {
			t.Errorf("by %q, the location is %q, want %s…", scheme, got, want)
		}
	}
}

func newRequest(token, method, path, body string) *http.Request {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+token)
	return r
}
