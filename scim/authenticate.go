package scim

import (
	"context"
	"maps"
	"net/http"
	"strings"
	"sync"
	"time"

	"sallyport/store"
)

// bearer returns the text of the one bearer token in a header.
func bearer(h http.Header) (text string, ok bool) {
	values := h.Values("Authorization")
	if len(values) != 1 {
		return "", false
	}
	scheme, text, _ := strings.Cut(values[0], " ")
	return strings.TrimSpace(text), strings.EqualFold(scheme, "Bearer")
}

// authenticate sets the token that the request brings: one of ours, or one of scim.oauth's issuer.
func (s *Server) authenticate(req *request) error {
	unauthorized := fail(http.StatusUnauthorized, "", "The secret token is missing, wrong, expired or revoked. Make one with `sallyport token create` and paste it into the provisioning settings.")
	text, ok := bearer(req.Header)
	if !ok {
		req.rejection = s.rejectionOf(req.Request, req.received)
		return unauthorized
	}
	if err := s.provisioning.mirror.Err(); err != nil {
		return err // a token in memory may have been revoked
	}
	if len(text) != tokenLength || !strings.HasPrefix(text, tokenPrefix) {
		ok, err := s.authenticateWorkload(req, text)
		if err == nil && !ok {
			req.rejection = &rejection{reason: reasonUnknown}
			err = unauthorized
		}
		return err
	}
	if err := s.findToken(req.Context(), text); err != nil {
		return err
	}
	if req.token, req.rejection = s.checkToken(text, req.received); req.rejection != nil {
		return unauthorized
	}
	s.recordUse(req)
	return nil
}

// findToken returns once memory has the token with a text, if another replica stored it a moment ago. A text that no
// token can have costs nothing; of others, all that come at the same time share a question to the database.
func (s *Server) findToken(ctx context.Context, text string) error {
	if _, ok := s.provisioning.tokens.byText(text); ok || !isTokenText(text) {
		return nil
	}
	return s.provisioning.CatchUp(ctx)
}

// hasValidToken reports whether a request brings a valid token of ours. It costs a digest and writes nothing.
func (s *Server) hasValidToken(r *http.Request) bool {
	text, ok := bearer(r.Header)
	if !ok {
		return false
	}
	_, rejected := s.checkToken(text, s.now())
	return rejected == nil
}

// lastUses remembers when each token's last use was stored.
type lastUses struct {
	mu     sync.Mutex // guards stored
	stored map[string]time.Time
}

// useInterval is the precision of a token's last use: it is not stored more often.
const useInterval = 10 * time.Minute

// maxRemembered is how many tokens are remembered before those are forgotten that were not used lately: the token
// endpoint issues new ones all the time.
const maxRemembered = 2 * maxIssuedTokens

// due reports whether a use of a token now is to be stored, and if so takes it as stored.
func (u *lastUses) due(id string, now time.Time) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	recent := func(stored time.Time) bool { return now.Sub(stored) < useInterval }
	if recent(u.stored[id]) {
		return false
	}
	if len(u.stored) >= maxRemembered {
		maps.DeleteFunc(u.stored, func(_ string, stored time.Time) bool { return !recent(stored) })
	}
	u.stored[id] = now
	return true
}

// recordUse stores the time of the token's last use, at most once in useInterval.
func (s *Server) recordUse(req *request) {
	if !s.lastUses.due(req.token.ID, req.received) {
		return
	}
	if err := s.provisioning.setLastUse(req.Context(), req.token.ID, req.received); err != nil {
		s.log.Warn("last use of a token not stored", "token", req.token.ID, "err", err)
	}
}

func (p *Provisioning) setLastUse(ctx context.Context, id string, used time.Time) error {
	_, err := p.store.Update(ctx, func(w store.Writer) error {
		t, ok, err := readToken(w, id)
		switch {
		case err != nil:
			return err
		case !ok:
			return unknownToken(id) // revoked meanwhile
		}
		t.LastUsed = used
		return writeToken(w, t)
	})
	return err
}
