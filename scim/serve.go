package scim

import (
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"strings"
)

// Origin returns the address of a request's client and the scheme that the client used. They differ from those of the
// connection behind a trusted proxy.
type Origin func(*http.Request) (address, scheme string)

// connectionOrigin is the Origin without trusted proxies.
func connectionOrigin(r *http.Request) (address, scheme string) {
	address, _, _ = net.SplitHostPort(r.RemoteAddr)
	if r.TLS != nil {
		return address, "https"
	}
	return address, "http"
}

// ServeHTTP handles a request below /scim/v2, or below /scim if the client left the version out. It never redirects.
// It delays an address that keeps sending invalid tokens, but no request with a valid one.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rw := newResponseWriter(w, r)
	defer rw.finish()
	address, scheme := s.origin(r)
	r = canonicalURL(r, scheme)
	if s.authFailures.Exhausted(address) && !s.hasValidToken(r) {
		s.rejectThrottled(rw, r)
		return
	}
	s.mux.ServeHTTP(rw, r)
	unchecked := rw.status == http.StatusServiceUnavailable && !s.hasValidToken(r) // perhaps a made-up token whose key cannot be looked up
	if rw.status == http.StatusUnauthorized || unchecked {
		s.authFailures.Allow(address)
	}
}

// canonicalURL returns a copy of r whose path begins at the endpoint, as the patterns of the mux do, and whose URL has
// the client's scheme.
func canonicalURL(r *http.Request, scheme string) *http.Request {
	path := strings.TrimSuffix(r.URL.Path, "/")
	prefix := "/scim"
	if path == "/scim/v2" || strings.HasPrefix(path, "/scim/v2/") {
		prefix = "/scim/v2"
	}
	endpoint, ok := strings.CutPrefix(path, prefix)
	if strings.HasPrefix(endpoint, "//") {
		endpoint = endpoint[1:] // the tenant URL was configured with a slash at its end
	}
	if !ok || endpoint != "" && endpoint[0] != '/' || strings.Contains(endpoint, "//") || strings.Contains(strings.TrimSuffix(endpoint, "/.search"), "/.") {
		endpoint = "/nowhere" // matches no pattern; the mux would redirect from the path itself
	}
	if endpoint == "" {
		endpoint = "/"
	}
	out := r.Clone(r.Context())
	out.URL.Scheme, out.URL.Path, out.URL.RawPath = scheme, endpoint, ""
	out.URL.RawQuery = strings.ReplaceAll(r.URL.RawQuery, ";", "%3B") // the value of a filter may have one
	return out
}

// rejectThrottled responds with 429.
func (s *Server) rejectThrottled(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Retry-After", "5")
	req := &request{Request: r, received: s.now().UTC()}
	req.rejection = s.rejectionOf(r, req.received)
	s.traceRejection(req, http.StatusTooManyRequests)
	s.write(w, req, nil, fail(http.StatusTooManyRequests, "", "Too many requests with a wrong token came from this address. Try again in a moment."))
}

// serve handles a request by h, writes the response, and counts and logs the request.
func (s *Server) serve(w http.ResponseWriter, r *http.Request, h handlerFunc) {
	req := &request{Request: r, directory: s.directory, types: s.types, received: s.now().UTC(), base: baseURL(r)}
	r.Body = http.MaxBytesReader(w, r.Body, bodyLimit(r))
	body, err := s.handle(req, h)
	s.recordHold(req, err)
	if unknown := s.awaitReplicas(req, err); unknown != nil {
		body, err = nil, unknown
	}
	status := s.write(w, req, body, err)
	took := s.now().Sub(req.received)
	s.metrics.observe(req, status, took)
	s.logRequest(req, status, err, took)
	s.traceRejection(req, status)
	level := slog.LevelDebug
	if status >= http.StatusInternalServerError && status != http.StatusNotImplemented {
		level = slog.LevelError
	}
	s.log.Log(r.Context(), level, "scim request", "method", r.Method, "path", r.URL.Path, "code", status, "token", req.token.ID, "err", err)
}

// handle authenticates and validates the request and calls h. A panic becomes an error.
func (s *Server) handle(req *request, h handlerFunc) (body any, err error) {
	defer func() {
		if fault := recover(); fault != nil {
			err = fmt.Errorf("%w: %v\n%s", errPanic, fault, debug.Stack())
		}
	}()
	if err := s.authenticate(req); err != nil {
		return nil, err
	}
	s.authenticated(req.Context())
	if err := req.validate(); err != nil {
		return nil, err
	}
	return h(req)
}
