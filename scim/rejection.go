package scim

import (
	"cmp"
	"net/http"
	"time"

	"golang.org/x/time/rate"

	"sallyport/throttle"
)

// rejection says why a token was rejected.
type rejection struct {
	token  string // the name of the token, if it is one of ours that is no longer valid
	reason string
}

// The reasons for a rejection.
const (
	reasonUnknown  = "the token is unknown or revoked"
	reasonExpired  = "the token has expired"
	reasonParent   = "what the token was exchanged for is no longer valid"
	reasonScheme   = "the Authorization header has no bearer token"
	reasonClientID = "the client ID is not that of the token"
	reasonWorkload = "the assertion is not valid, or its client is not in scim.oauth.client_ids"
)

// rejections bounds the traces that rejected tokens leave, so that strangers can fill neither the server's log nor the
// provisioning log.
type rejections struct {
	byAddress *throttle.Throttle
	ofOurs    *throttle.Throttle // by address too, for tokens that were ours
	lines     *rate.Limiter      // of the server's log
	entries   *rate.Limiter      // of the provisioning log
}

func newRejections() rejections {
	return rejections{
		byAddress: throttle.New(1.0/60, 1),
		ofOurs:    throttle.New(1.0/60, 1),
		lines:     rate.NewLimiter(rate.Every(time.Second), 100),
		entries:   rate.NewLimiter(rate.Every(time.Minute), 100),
	}
}

// traceRejection leaves a trace of a request whose token was rejected: a line in the server's log, and an entry in the
// provisioning log, at most once a minute for each address. What strangers at an address send does not hide that a token
// of ours has expired. A request without any token leaves none.
func (s *Server) traceRejection(req *request, status int) {
	if req.rejection == nil {
		return
	}
	address, _ := s.origin(req.Request)
	first := s.rejections.byAddress.Allow(address)
	if req.rejection.token != "" {
		first = s.rejections.ofOurs.Allow(address)
	}
	if !first || !s.rejections.lines.Allow() {
		return
	}
	target := redactedTarget(req.Request)
	s.log.Warn("scim token rejected", "address", address, "reason", req.rejection.reason, "token", req.rejection.token,
		"method", methodLabel(req.Method), "path", target, "code", status)
	if !s.rejections.entries.Allow() {
		return
	}
	s.enqueue(LogEntry{Time: req.received, Token: req.rejection.token, Address: address, Method: methodLabel(req.Method), Target: target,
		Code: status, Problem: req.rejection.reason})
}

// checkToken returns the token of ours with this text, and why it is not valid now; nil if it is. The text is never
// compared: its digest is looked up.
func (s *Server) checkToken(text string, now time.Time) (Token, *rejection) {
	t, ok := s.provisioning.tokens.byText(text)
	switch {
	case !ok:
		return Token{}, &rejection{reason: reasonUnknown}
	case t.expired(now):
		return Token{}, &rejection{t.Name, reasonExpired}
	case !s.parentValid(t, now):
		return Token{}, &rejection{t.Name, reasonParent}
	}
	return t, nil
}

// rejectionOf returns why the token of a request that was not authenticated is rejected; nil if it has none.
func (s *Server) rejectionOf(r *http.Request, now time.Time) *rejection {
	text, ok := bearer(r.Header)
	switch {
	case ok:
		_, rejected := s.checkToken(text, now)
		return cmp.Or(rejected, &rejection{reason: reasonUnknown})
	case r.Header.Get("Authorization") != "":
		return &rejection{reason: reasonScheme}
	}
	return nil
}
