package oidc

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	gooidc "github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

// Flow is the state of one login under way. Its fields are secret until the login
// ends; the caller seals them into a cookie. Printing a Flow does not show them.
type Flow struct {
	State    string `json:"state"`
	Nonce    string `json:"nonce"`
	Verifier string `json:"verifier"`          // of PKCE
	MaxAge   int    `json:"max_age,omitempty"` // the oldest sign-in that is accepted, in seconds; 0 for any
	Basis    string `json:"basis,omitempty"`   // of the provider that began it; "" is any, of an earlier version
	Stronger
}

// String keeps the flow out of text.
func (Flow) String() string { return redacted }

// GoString keeps the flow out of %#v.
func (Flow) GoString() string { return redacted }

// LogValue keeps the flow out of slog.
func (Flow) LogValue() slog.Value { return slog.StringValue(redacted) }

// Begin returns the URL to which the browser must be redirected (authorization code
// with PKCE: RFC 7636, RFC 9700 §2.1.1). With maxAge, the user must sign in again
// unless their last sign-in is more recent (OpenID Connect Core 1.0 §3.1.2.1).
func (p *Provider) Begin(ctx context.Context, maxAge time.Duration) (authURL string, f Flow, err error) {
	return p.BeginWith(ctx, LoginOptions{MaxAge: maxAge})
}

// LoginOptions say what a login asks for.
type LoginOptions struct {
	MaxAge        time.Duration // as in [Provider.Begin]
	Stronger      Stronger
	SelectAccount bool   // the provider asks for the account, even of a person who is signed in there
	Carry         string // comes back behind the first dot of the parameter state; the caller protects it
}

// Stronger is how the user has to sign in: each list that is not empty must have the
// claim of its name, or one of its values.
type Stronger struct {
	ACR      []string `json:"acr,omitempty"`  // acr
	AMR      []string `json:"amr,omitempty"`  // amr
	Contexts []string `json:"acrs,omitempty"` // acrs, Entra's authentication contexts
}

// parameters returns what asks the provider for it: acr_values (OpenID Connect Core 1.0
// §3.1.2.1), and a claims request (§5.5) for Entra's authentication context
// (https://learn.microsoft.com/entra/identity-platform/developer-guide-conditional-access-authentication-context).
// Nothing standard asks for a method, so that the user has to sign in again.
func (s Stronger) parameters() (options []oauth2.AuthCodeOption) {
	if len(s.ACR) > 0 {
		options = append(options, oauth2.SetAuthURLParam("acr_values", strings.Join(s.ACR, " ")))
	}
	if len(s.Contexts) > 0 {
		request := map[string]any{"id_token": map[string]any{"acrs": map[string]any{"essential": true, "value": s.Contexts[0]}}}
		text, _ := json.Marshal(request) // maps of texts: cannot fail
		options = append(options, oauth2.SetAuthURLParam("claims", string(text)))
	}
	return options
}

// check rejects a sign-in that is not as strong as was asked for.
func (s Stronger) check(id Identity) error {
	for _, claim := range []struct {
		name         string
		wanted, have []string
	}{{"acr", s.ACR, []string{id.ACR}}, {"amr", s.AMR, id.AMR}, {"acrs", s.Contexts, id.Contexts}} {
		if len(claim.wanted) > 0 && !slices.ContainsFunc(claim.wanted, func(text string) bool { return slices.Contains(claim.have, text) }) {
			return refuse(TooWeak, fmt.Sprintf("the rule wants the claim %s to be one of %q, and the provider signed the user in with %q", claim.name, claim.wanted, claim.have))
		}
	}
	return nil
}

// BeginWith is [Provider.Begin] with options.
func (p *Provider) BeginWith(ctx context.Context, o LoginOptions) (authURL string, f Flow, err error) {
	m, err := p.discovered(ctx)
	if err != nil {
		return "", Flow{}, err
	}
	f = Flow{State: rand.Text(), Nonce: rand.Text(), Verifier: oauth2.GenerateVerifier(), MaxAge: int(o.MaxAge / time.Second), Basis: p.basis, Stronger: o.Stronger}
	options := []oauth2.AuthCodeOption{oauth2.S256ChallengeOption(f.Verifier), gooidc.Nonce(f.Nonce)}
	switch {
	case f.MaxAge > 0:
		options = append(options, oauth2.SetAuthURLParam("max_age", strconv.Itoa(f.MaxAge)), oauth2.SetAuthURLParam("prompt", "login"))
	case len(f.AMR) > 0 && len(f.ACR)+len(f.Contexts) == 0:
		options = append(options, oauth2.SetAuthURLParam("prompt", "login"))
	case o.SelectAccount:
		options = append(options, oauth2.SetAuthURLParam("prompt", m.accountPrompt))
	}
	options = append(options, f.parameters()...)
	state := f.State
	if o.Carry != "" {
		state += "." + o.Carry
	}
	return p.oauth(m).AuthCodeURL(state, options...), f, nil
}

// Finish completes a login with the query parameters of the callback.
func (p *Provider) Finish(ctx context.Context, f Flow, q url.Values) (Identity, error) {
	m, err := p.discovered(ctx)
	if err != nil {
		return Identity{}, err
	}
	id, err := p.finish(ctx, m, f, q)
	p.metrics.verified(err)
	if err == nil {
		p.tell(id)
	}
	return id, err
}

func (p *Provider) finish(ctx context.Context, m *metadata, f Flow, q url.Values) (Identity, error) {
	code, err := p.checkCallback(m, f, q)
	if err != nil {
		return Identity{}, err
	}
	ctx = gooidc.ClientContext(ctx, p.client)
	token, err := p.oauth(m).Exchange(ctx, code, oauth2.VerifierOption(f.Verifier))
	if err != nil {
		return Identity{}, exchangeError(err)
	}
	raw, _ := token.Extra("id_token").(string)
	if raw == "" {
		return Identity{}, errors.New("the token response has no ID token; does the registration allow openid?")
	}
	id, err := p.idToken(ctx, raw, token.AccessToken, f.Nonce)
	if err == nil && f.MaxAge > 0 {
		err = checkAuthAge(id, f.MaxAge)
	}
	if err == nil {
		err = f.check(id)
	}
	if err != nil {
		return Identity{}, err
	}
	id.IDToken, id.Basis = Secret(raw), p.basis
	return id, nil
}

// checkAuthAge rejects a sign-in that is older than maxAge, or of unknown age (OpenID
// Connect Core 1.0 §3.1.3.7, 13). It rejects one that soon will be, and grants no skew:
// rules grant none, so that they would send the browser back at once, without end.
func checkAuthAge(id Identity, maxAge int) error {
	const left = 10 // seconds that a sign-in must still be good for
	oldest := time.Duration(maxAge-min(left, maxAge/2)) * time.Second
	switch {
	case !id.TimeKnown:
		return refuse(ClaimMissing, "the ID token has no auth_time, though max_age was asked for; with Entra, add the optional claim auth_time to ID tokens")
	case time.Since(id.Authenticated) > oldest:
		return refuse(TooOld, "the provider did not ask the user to sign in again, or its clock is late")
	}
	return nil
}

// checkCallback checks that q belongs to this login and returns its code.
func (p *Provider) checkCallback(m *metadata, f Flow, q url.Values) (string, error) {
	for _, name := range []string{"state", "code", "error", "iss"} {
		if len(q[name]) > 1 {
			return "", refuse(WrongState, "the callback has "+name+" twice")
		}
	}
	state, _, _ := strings.Cut(q.Get("state"), ".") // before Carry
	switch {
	case f.State == "" || !equal(state, f.State):
		return "", refuse(WrongState, "the callback does not belong to this login")
	case f.Basis != "" && f.Basis != p.basis: // the code is for another issuer or client, which nobody else is told
		return "", refuse(WrongIssuer, "the login began at another issuer, client or claim than the one in force; it has to begin again")
	case (q.Has("iss") || m.namesIss) && q.Get("iss") != p.settings.Issuer: // RFC 9207 §2.4
		return "", refuse(WrongIssuer, "the callback comes from another issuer")
	case q.Has("error"):
		return "", callbackError(q)
	case q.Get("code") == "":
		return "", refuse(CodeRefused, "the callback has no code")
	}
	return q.Get("code"), nil
}

// equal compares secrets in constant time.
func equal(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// callbackError is a refusal, unless the error parameter means that the provider
// itself failed (RFC 6749 §4.1.2.1).
func callbackError(q url.Values) error {
	text := "the provider reports " + quoted(q.Get("error")) + ": " + quoted(q.Get("error_description"))
	switch q.Get("error") {
	case "server_error", "temporarily_unavailable":
		return errors.New(text)
	}
	return refuse(LoginRefused, text)
}

// quoted makes text from outside safe for a log line.
func quoted(text string) string { return fmt.Sprintf("%.300q", text) }

// exchangeError is a refusal if the provider rejected the code, and another error if
// the exchange failed. It never quotes the response, which may repeat secrets.
func exchangeError(err error) error {
	var retrieveErr *oauth2.RetrieveError
	var urlErr *url.Error // names the endpoint and the failure
	switch {
	case errors.As(err, &retrieveErr) && retrieveErr.ErrorCode == "invalid_grant":
		return refuse(CodeRefused, "the provider rejects the code: it was used, has expired, or was issued to another client")
	case retrieveErr != nil && retrieveErr.Response.StatusCode < http.StatusInternalServerError:
		return fmt.Errorf("%w: the exchange of the code was answered with %s %s; check client_id, client_secret_file and the redirect URI", ErrRejected, retrieveErr.Response.Status, quoted(retrieveErr.ErrorCode))
	case retrieveErr != nil:
		return fmt.Errorf("the exchange of the code failed with %s", retrieveErr.Response.Status)
	case errors.As(err, &urlErr):
		return fmt.Errorf("exchanging the code: %w", urlErr)
	}
	return errors.New("the response to the code is not a token response")
}

// idToken checks an ID token (OpenID Connect Core 1.0 §3.1.3.7).
func (p *Provider) idToken(ctx context.Context, raw, access, nonce string) (Identity, error) {
	c, err := p.verify(ctx, raw, "jwt")
	if err != nil {
		return Identity{}, err
	}
	if err := p.checkIDToken(c, access, nonce); err != nil {
		return Identity{}, err
	}
	return p.identity(c)
}

func (p *Provider) checkIDToken(c *claims, access, nonce string) error {
	clientID := p.settings.ClientID
	switch {
	case !c.Audience.has(clientID):
		return refuse(WrongAudience, "the ID token is for another application")
	case len(c.Audience) > 1 && c.Party == "", c.Party != "" && c.Party != clientID:
		return refuse(WrongParty, "the ID token was issued to another application")
	case nonce == "" || !equal(c.Nonce, nonce):
		return refuse(WrongNonce, "the ID token belongs to another login")
	case c.Subject == "" || c.Issued.IsZero():
		return refuse(ClaimMissing, "the ID token has no sub or no iat")
	case c.AccessTokenHash != "" && !equal(c.AccessTokenHash, accessTokenHash(access)):
		return refuse(BadSignature, "the at_hash of the ID token does not match the access token")
	}
	return nil
}

// accessTokenHash returns the at_hash of an access token (OpenID Connect Core 1.0
// §3.1.3.6). All algorithms that we accept imply SHA-256.
func accessTokenHash(access string) string {
	sum := sha256.Sum256([]byte(access))
	return base64.RawURLEncoding.EncodeToString(sum[:len(sum)/2])
}
