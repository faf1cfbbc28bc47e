package listen

import (
	"net/http"
	"strings"

	"golang.org/x/crypto/acme"
)

// rejectChallengeConns returns a handler that aborts every request on a connection opened for TLS-ALPN-01: such a
// connection serves only to validate a host (RFC 8737 §4).
func (c *Certificates) rejectChallengeConns(next http.Handler) http.Handler {
	if c == nil || c.acme == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.TLS != nil && r.TLS.NegotiatedProtocol == acme.ALPNProto {
			panic(http.ErrAbortHandler)
		}
		next.ServeHTTP(w, r)
	})
}

const challengePath = "/.well-known/acme-challenge/"

// HTTPChallenges returns a handler that responds to HTTP-01 challenges of the ACME authority (RFC 8555 §8.3), and
// passes every other request to next. Without ACME it returns next.
func (c *Certificates) HTTPChallenges(next http.Handler) http.Handler {
	if c.acme == nil {
		return next
	}
	return c.acme.challenges(next)
}

func (m *acmeManager) challenges(next http.Handler) http.Handler {
	m.mu.Lock()
	m.byHTTP = true
	m.mu.Unlock()
	m.newClient()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, ok := strings.CutPrefix(r.URL.Path, challengePath)
		if !ok {
			next.ServeHTTP(w, r)
			return
		}
		response, err := m.cache.Get(r.Context(), token+httpTokenSuffix)
		if err != nil {
			w.Header().Set("Connection", "close")
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("Connection", "close")
		_, _ = w.Write(response)
	})
}
