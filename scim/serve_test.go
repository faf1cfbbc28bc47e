package scim_test

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sallyport/scim"
	"sallyport/throttle"
)

// timed is a ResponseWriter that remembers the deadline of the body.
type timed struct {
	*httptest.ResponseRecorder
	within time.Duration
}

// SetReadDeadline is for [http.ResponseController].
func (w *timed) SetReadDeadline(t time.Time) error {
	w.within = time.Until(t)
	return nil
}

// TestServer_BodyHasDeadline: a body that never ends does not hold a connection.
func TestServer_BodyHasDeadline(t *testing.T) {
	_, token, _, server := serveWith(t, scim.Settings{})
	w := &timed{ResponseRecorder: httptest.NewRecorder()}
	server.ServeHTTP(w, newRequest(token, "POST", "/scim/v2/Users", `{"userName":"u"}`))
	if w.Code != http.StatusCreated || w.within <= 0 || w.within > time.Minute {
		t.Errorf("a creation: status %d, and its body had %s", w.Code, w.within)
	}
}

// TestServer_LocationHasClientsScheme: behind a proxy that terminates TLS, the URLs in responses are https all the same
// (RFC 7643 §3.1).
func TestServer_LocationHasClientsScheme(t *testing.T) {
	_, token, d, _ := serveWith(t, scim.Settings{})
	for _, scheme := range []string{"http", "https"} {
		server := scim.New(scim.Parts{Provisioning: d.Provisioning, Log: slog.New(slog.DiscardHandler),
			Origin: func(*http.Request) (string, string) { return "192.0.2.1", scheme }})
		want := scheme + "://scim.example.com/scim/v2/Users/"
		r := newRequest(token, "POST", "/scim/Users", `{"userName":"`+want+`"}`)
		r.Host = "scim.example.com"
		w := httptest.NewRecorder()
		server.ServeHTTP(w, r)
		if got := w.Header().Get("Location"); !strings.HasPrefix(got, want) {
			t.Errorf("by %q, the location is %q, want %s…", scheme, got, want)
		}
	}
}

// TestServer_ThrottlesInvalidTokens by the client's address, but no valid token.
func TestServer_ThrottlesInvalidTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // no time passes, in which another would be allowed
		const token = "sallyport_scim_0123456789012345678901234567890123456789012abcdef"
		d := openTenant(t, storeWith(t, map[string]string{"token/0123456789abcdef": `{"id":"30313233343536373839616263646566","name":"entra","digest":` +
			digestOf(token) + `,"created":"1999-01-01T00:00:00Z","expires":"2099-12-31T00:00:00Z"}`}))
		server := scim.New(scim.Parts{Provisioning: d.Provisioning, Log: slog.New(slog.DiscardHandler),
			Origin: func(r *http.Request) (string, string) { return r.Header.Get("Client"), "https" }})
		send := func(client, token string) *httptest.ResponseRecorder {
			r, w := newRequest(token, "GET", "/scim/v2/Users", ""), httptest.NewRecorder()
			r.Header.Set("Client", client)
			server.ServeHTTP(w, r)
			return w
		}
		for i := range throttle.FailuresBurst {
			if w := send("192.0.2.1", "wrong"); w.Code != http.StatusUnauthorized {
				t.Fatalf("invalid token %d: status %d", i, w.Code)
			}
		}
		if w := send("192.0.2.1", "wrong"); w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") == "" {
			t.Errorf("after %d invalid tokens the next: status %d, Retry-After %q", throttle.FailuresBurst, w.Code, w.Header().Get("Retry-After"))
		}
		if w := send("192.0.2.1", token); w.Code != http.StatusOK {
			t.Errorf("a valid token from that address: status %d", w.Code)
		}
		if w := send("192.0.2.2", "wrong"); w.Code != http.StatusUnauthorized {
			t.Errorf("another address: status %d", w.Code)
		}
	})
}

func newRequest(token, method, path, body string) *http.Request {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+token)
	return r
}
