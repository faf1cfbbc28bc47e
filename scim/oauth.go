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

	"sallyport/store"
)

// Workloads tells which application an access token of another issuer stands for: "" if the token is not valid, an
// error if that could not be found out.
type Workloads interface {
	Client(ctx context.Context, token string) (string, error)
}

const (
	issuedLifetime  = time.Hour
	maxIssuedTokens = 1000     // valid tokens of the token endpoint
	maxForm         = 64 << 10 // bytes of a request to the token endpoint
	jwtBearer       = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
	federatedPrefix = "oauth:" // precedes the issuer and the client in the Parent of a token that an assertion was exchanged for
)

// authenticateWorkload authenticates a request by an access token of scim.oauth's issuer.
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
	req.token = Token{ID: federatedPrefix + client, Name: client}
	return true, nil
}

// tokenError is an error response of the token endpoint (RFC 6749 §5.2).
type tokenError struct {
	code        int
	Kind        string `json:"error"`
	Description string `json:"error_description"`
	rejection   *rejection
}

func (e *tokenError) Error() string { return e.Description }

// serveToken is the token endpoint (RFC 6749 §4.4). It exchanges a token of `sallyport token create` (as the client
// secret), or an assertion of scim.oauth's issuer, for a token that expires within an hour.
func (s *Server) serveToken(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	body, err := s.exchangeToken(r)
	var rejected *tokenError
	switch {
	case errors.As(err, &rejected):
		if rejected.code == http.StatusUnauthorized {
			h.Set("WWW-Authenticate", `Basic realm="scim"`)
			s.traceRejection(&request{Request: r, received: s.now().UTC(), rejection: rejected.rejection}, rejected.code)
		}
		w.WriteHeader(rejected.code)
		body = rejected
	case err != nil:
		s.log.Error("provisioning token not issued", "err", err)
		h.Set("Retry-After", "30")
		w.WriteHeader(http.StatusServiceUnavailable)
		body = &tokenError{Kind: "temporarily_unavailable", Description: "No token can be issued at the moment."}
	}
	if err := json.NewEncoder(w).Encode(body); err != nil {
		s.log.Debug("token response not delivered", "err", err)
	}
}

// exchangeToken returns the body of a successful response of the token endpoint.
func (s *Server) exchangeToken(r *http.Request) (any, error) {
	media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if media != "application/x-www-form-urlencoded" || r.ParseForm() != nil {
		return nil, &tokenError{code: http.StatusBadRequest, Kind: "invalid_request", Description: "Send a form, application/x-www-form-urlencoded."}
	}
	for name, values := range r.PostForm {
		if len(values) > 1 {
			return nil, &tokenError{code: http.StatusBadRequest, Kind: "invalid_request", Description: fmt.Sprintf("The parameter %.40q is there twice.", name)}
		}
	}
	if r.PostForm.Get("grant_type") != "client_credentials" {
		return nil, &tokenError{code: http.StatusBadRequest, Kind: "unsupported_grant_type", Description: "The grant_type is client_credentials."}
	}
	parent, name, err := s.client(r)
	if err != nil {
		return nil, err
	}
	text, err := s.issueToken(r.Context(), parent, name)
	if err != nil {
		return nil, err
	}
	return map[string]any{"access_token": text, "token_type": "Bearer", "expires_in": int(issuedLifetime / time.Second)}, nil
}

// client authenticates who asks for a token, by an assertion or a secret. parent is what the token will expire with.
func (s *Server) client(r *http.Request) (parent, name string, err error) {
	if err := s.provisioning.mirror.Err(); err != nil {
		return "", "", err // a token in memory may have been revoked
	}
	unauthorized := func(why *rejection) error {
		return &tokenError{code: http.StatusUnauthorized, Kind: "invalid_client", Description: "The client is unknown, or its credentials are not valid.", rejection: why}
	}
	if kind := r.PostForm.Get("client_assertion_type"); kind != "" {
		if kind != jwtBearer || s.workloads == nil || s.settings.OAuth == nil {
			return "", "", unauthorized(&rejection{reason: reasonWorkload})
		}
		client, err := s.workloads.Client(r.Context(), r.PostForm.Get("client_assertion"))
		if err == nil && client == "" {
			err = unauthorized(&rejection{reason: reasonWorkload})
		}
		return federatedParent(s.settings.OAuth.Issuer, client), client, err
	}
	id, secret, basic := r.BasicAuth()
	if !basic {
		id, secret = r.PostForm.Get("client_id"), r.PostForm.Get("client_secret")
	}
	if err := s.findToken(r.Context(), secret); err != nil {
		return "", "", err
	}
	t, rejected := s.checkToken(secret, s.now())
	if rejected == nil && (t.Parent != "" || id != t.ID && id != t.Name) {
		rejected = &rejection{t.Name, reasonClientID}
	}
	if rejected != nil {
		return "", "", unauthorized(rejected)
	}
	return t.ID, t.Name, nil
}

// issueToken stores a token for the client, which expires with its parent and within an hour.
func (s *Server) issueToken(ctx context.Context, parent, name string) (text string, err error) {
	t, text := newToken(name, issuedLifetime, s.now().UTC())
	t.Parent = parent
	return text, s.provisioning.update(ctx, func(w store.Writer) error {
		if err := deleteExpiredTokens(w, t.Created); err != nil {
			return err
		}
		return writeToken(w, t)
	})
}

// deleteExpiredTokens deletes issued tokens that have expired. It is an error if too many others are valid.
func deleteExpiredTokens(w store.Writer, now time.Time) error {
	var expired []string
	valid := 0
	for t, err := range records[Token](w, tokenKeys) {
		switch {
		case err != nil:
			return err
		case t.Parent == "":
		case t.expired(now):
			expired = append(expired, t.ID)
		default:
			valid++
		}
	}
	if valid >= maxIssuedTokens {
		return &tokenError{code: http.StatusTooManyRequests, Kind: "temporarily_unavailable", Description: "Too many tokens are in use; use one until it expires."}
	}
	for _, id := range expired {
		if err := deleteRecord(w, tokenKeys, id); err != nil {
			return err
		}
	}
	return nil
}

// federatedParent returns the Parent of a token that an assertion of an issuer about a client was exchanged for.
func federatedParent(issuer, client string) string { return federatedPrefix + issuer + " " + client }

// parentValid reports whether what an issued token was exchanged for is still valid.
func (s *Server) parentValid(t Token, now time.Time) bool {
	if t.Parent == "" {
		return true
	}
	if strings.HasPrefix(t.Parent, federatedPrefix) {
		o := s.settings.OAuth
		return o != nil && slices.ContainsFunc(o.ClientIDs, func(client string) bool { return t.Parent == federatedParent(o.Issuer, client) })
	}
	parent, ok := s.provisioning.tokens.byID(t.Parent)
	return ok && !parent.expired(now)
}
