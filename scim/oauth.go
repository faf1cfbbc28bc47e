package scim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"

	"sallyport/directory"
)

// Workloads proves which application a token of another issuer stands for; "" is
// a token that is not taken, an error that nobody could tell.
type Workloads interface {
	Client(ctx context.Context, token string) (string, error)
}

const (
	issuedLifetime  = time.Hour
	maxIssuedTokens = 1000     // live tokens of the token endpoint
	maxForm         = 64 << 10 // bytes of a request for one
	jwtBearer       = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
	federatedPrefix = "oauth:" // begins the parent of a token that an assertion was exchanged for
)

// workload authenticates a request by an access token of scim.oauth's issuer.
func (s *Server) authenticateWorkload(req *request, token string) (bool, error) {
	if s.workloads == nil {
		return false, nil
	}
	client, err := s.workloads.Client(req.Context(), token)
	if err != nil {
		return false, fail(http.StatusServiceUnavailable, "", "The issuer of the token cannot be asked for its keys at the moment; nothing was changed.")
	}
	if client == "" {
		return false, nil
	}
	req.token = directory.Token{ID: federatedPrefix + client, Name: client}
	return true, nil
}

// tokenProblem is an error answer of the token endpoint (RFC 6749 §5.2).
type tokenError struct {
	code        int
	Kind        string `json:"error"`
	Description string `json:"error_description"`
}

func (p *tokenError) Error() string { return p.Description }

// serveToken is the token endpoint (RFC 6749 §4.4): it exchanges a token of token
// create (as client secret), or an assertion of scim.oauth's issuer, for one that
// lives an hour.
func (s *Server) serveToken(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	answer, err := s.exchangeToken(r)
	var refused *tokenError
	switch {
	case errors.As(err, &refused):
		if refused.code == http.StatusUnauthorized {
			h.Set("WWW-Authenticate", `Basic realm="scim"`)
		}
		w.WriteHeader(refused.code)
		answer = refused
	case err != nil:
		s.log.Error("a provisioning token was not issued", "err", err)
		h.Set("Retry-After", "30")
		w.WriteHeader(http.StatusServiceUnavailable)
		answer = &tokenError{Kind: "temporarily_unavailable", Description: "No token can be issued at the moment."}
	}
	if err := json.NewEncoder(w).Encode(answer); err != nil {
		s.log.Debug("token answer not delivered", "err", err)
	}
}

func (s *Server) exchangeToken(r *http.Request) (any, error) {
	media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if media != "application/x-www-form-urlencoded" || r.ParseForm() != nil {
		return nil, &tokenError{http.StatusBadRequest, "invalid_request", "Send a form, application/x-www-form-urlencoded."}
	}
	for name, values := range r.PostForm {
		if len(values) > 1 {
			return nil, &tokenError{http.StatusBadRequest, "invalid_request", fmt.Sprintf("The parameter %.40q stands twice.", name)}
		}
	}
	if r.PostForm.Get("grant_type") != "client_credentials" {
		return nil, &tokenError{http.StatusBadRequest, "unsupported_grant_type", "The grant_type is client_credentials."}
	}
	parent, name, err := s.client(r)
	if err != nil {
		return nil, err
	}
	secret, err := s.issueToken(r.Context(), parent, name)
	if err != nil {
		return nil, err
	}
	return map[string]any{"access_token": secret, "token_type": "Bearer", "expires_in": int(issuedLifetime / time.Second)}, nil
}

// client is who asks for a token, by what they bring: an assertion or a secret.
func (s *Server) client(r *http.Request) (parent, name string, err error) {
	refused := &tokenError{http.StatusUnauthorized, "invalid_client", "The client is not known, or what it brings does not prove it."}
	if kind := r.PostForm.Get("client_assertion_type"); kind != "" {
		if kind != jwtBearer || s.workloads == nil {
			return "", "", refused
		}
		client, err := s.workloads.Client(r.Context(), r.PostForm.Get("client_assertion"))
		if err == nil && client == "" {
			err = refused
		}
		return federatedPrefix + client, client, err
	}
	id, secret, basic := r.BasicAuth()
	if !basic {
		id, secret = r.PostForm.Get("client_id"), r.PostForm.Get("client_secret")
	}
	t, ok := s.validToken(secret, s.now())
	if !ok || t.Parent != "" || id != t.ID && id != t.Name {
		return "", "", refused
	}
	return t.ID, t.Name, nil
}

func expired(t directory.Token, now time.Time) bool {
	return !t.Expires.IsZero() && !now.Before(t.Expires)
}

// issue makes a token that lives as long as its parent, and an hour at most.
func (s *Server) issueToken(ctx context.Context, parent, name string) (secret string, err error) {
	secret = newSecret()
	err = s.directory.Update(ctx, func(tx *directory.Tx) error {
		if err := deleteExpiredTokens(tx); err != nil {
			return err
		}
		t := tokenOf(tx, name, secret, issuedLifetime)
		t.Parent = parent
		return tx.PutToken(&t)
	})
	return secret, err
}

// sweepIssued deletes issued tokens that have expired, and refuses when too many live.
func deleteExpiredTokens(tx *directory.Tx) error {
	var gone []string
	live := 0
	for t, err := range tx.Tokens() {
		switch {
		case err != nil:
			return err
		case t.Parent == "":
		case expired(t, tx.Now()):
			gone = append(gone, t.ID)
		default:
			live++
		}
	}
	if live >= maxIssuedTokens {
		return &tokenError{http.StatusTooManyRequests, "temporarily_unavailable", "Too many tokens are in use; use one until it expires."}
	}
	for _, id := range gone {
		if err := tx.DeleteToken(id); err != nil {
			return err
		}
	}
	return nil
}

// parentLives says whether what an issued token was exchanged for is still good.
func (s *Server) parentValid(t directory.Token, now time.Time) bool {
	if t.Parent == "" {
		return true
	}
	if client, federated := strings.CutPrefix(t.Parent, federatedPrefix); federated {
		return s.settings.OAuth != nil && slices.Contains(s.settings.OAuth.ClientIDs, client)
	}
	parent, ok := s.directory.TokenByID(t.Parent)
	return ok && !expired(parent, now)
}
