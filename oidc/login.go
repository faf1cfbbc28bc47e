package oidc

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"time"

	gooidc "github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

// Flow is one login under way. Its fields are secret until the login ends; the
// caller seals it into the browser's cookie. It does not print.
type Flow struct {
	State    string `json:"state"`
	Nonce    string `json:"nonce"`
	Verifier string `json:"verifier"`          // of PKCE
	MaxAge   int    `json:"max_age,omitempty"` // seconds since the user proved who they are, at most; 0: any
}

// String keeps the flow out of text.
func (Flow) String() string { return concealed }

// GoString keeps the flow out of %#v.
func (Flow) GoString() string { return concealed }

// LogValue keeps the flow out of slog.
func (Flow) LogValue() slog.Value { return slog.StringValue(concealed) }

// Begin is the URL to send the browser to (authorization code with PKCE: RFC
// 7636, RFC 9700 §2.1.1). With maxAge, the user is to prove who they are anew
// unless they did no longer ago (OpenID Connect Core 1.0 §3.1.2.1).
func (p *Provider) Begin(ctx context.Context, maxAge time.Duration) (authURL string, f Flow, err error) {
	k, err := p.found(ctx)
	if err != nil {
		return "", Flow{}, err
	}
	f = Flow{State: rand.Text(), Nonce: rand.Text(), Verifier: oauth2.GenerateVerifier(), MaxAge: int(maxAge / time.Second)}
	options := []oauth2.AuthCodeOption{oauth2.S256ChallengeOption(f.Verifier), gooidc.Nonce(f.Nonce)}
	if f.MaxAge > 0 {
		options = append(options, oauth2.SetAuthURLParam("max_age", strconv.Itoa(f.MaxAge)), oauth2.SetAuthURLParam("prompt", "login"))
	}
	return k.oauth.AuthCodeURL(f.State, options...), f, nil
}

// Finish takes what the provider sent back with the browser.
func (p *Provider) Finish(ctx context.Context, f Flow, q url.Values) (Identity, error) {
	k, err := p.found(ctx)
	if err != nil {
		return Identity{}, err
	}
	id, err := p.finish(ctx, k, f, q)
	p.metrics.verified(err)
	return id, err
}

func (p *Provider) finish(ctx context.Context, k *known, f Flow, q url.Values) (Identity, error) {
	code, err := p.codeOf(k, f, q)
	if err != nil {
		return Identity{}, err
	}
	ctx = gooidc.ClientContext(ctx, p.client)
	token, err := k.oauth.Exchange(ctx, code, oauth2.VerifierOption(f.Verifier))
	if err != nil {
		return Identity{}, exchangeError(err)
	}
	raw, _ := token.Extra("id_token").(string)
	if raw == "" {
		return Identity{}, errors.New("the provider answered the code without an ID token; does the registration allow openid?")
	}
	id, err := p.idToken(ctx, k, raw, token.AccessToken, f.Nonce)
	if err == nil && f.MaxAge > 0 {
		err = recent(id, f.MaxAge)
	}
	return id, err
}

// recent refuses a login that is older than was asked for, or does not say how old
// it is (OpenID Connect Core 1.0 §3.1.3.7, 13).
func recent(id Identity, maxAge int) error {
	switch {
	case !id.TimeKnown:
		return refuse(ClaimMissing, "the ID token has no auth_time, though max_age was asked for; with Entra, add the optional claim auth_time to ID tokens")
	case time.Since(id.Authenticated) > time.Duration(maxAge)*time.Second+skew:
		return refuse(TooOld, "the provider did not ask the user to sign in again")
	}
	return nil
}

// codeOf checks that q answers this login and has the provider's yes.
func (p *Provider) codeOf(k *known, f Flow, q url.Values) (string, error) {
	for _, name := range []string{"state", "code", "error", "iss"} {
		if len(q[name]) > 1 {
			return "", refuse(WrongState, "the answer has "+name+" twice")
		}
	}
	switch {
	case f.State == "" || !same(q.Get("state"), f.State):
		return "", refuse(WrongState, "the answer is not to this login")
	case (q.Has("iss") || k.namesIss) && q.Get("iss") != p.settings.Issuer: // RFC 9207 §2.4
		return "", refuse(WrongIssuer, "the answer comes from another issuer")
	case q.Has("error"):
		return "", answerError(q)
	case q.Get("code") == "":
		return "", refuse(CodeRefused, "the answer has no code")
	}
	return q.Get("code"), nil
}

// same compares secrets in constant time.
func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// answerError tells a provider that says no from one that is in trouble (RFC 6749
// §4.1.2.1).
func answerError(q url.Values) error {
	said := "the provider said " + plain(q.Get("error")) + ": " + plain(q.Get("error_description"))
	switch q.Get("error") {
	case "server_error", "temporarily_unavailable":
		return errors.New(said)
	}
	return refuse(LoginRefused, said)
}

// plain makes text from outside fit for a log line.
func plain(text string) string { return fmt.Sprintf("%.300q", text) }

// exchangeError tells a code the provider refused from a provider that could not
// say. It quotes no answer: that may hold what it should not.
func exchangeError(err error) error {
	var said *oauth2.RetrieveError
	var way *url.Error // names the endpoint and what broke
	switch {
	case errors.As(err, &said) && said.ErrorCode == "invalid_grant":
		return refuse(CodeRefused, "the provider does not take the code: it is used, expired or another's")
	case said != nil && said.Response.StatusCode < http.StatusInternalServerError:
		return fmt.Errorf("the provider answered the code with %s %s; check client_id, client_secret_file and the redirect URI", said.Response.Status, plain(said.ErrorCode))
	case said != nil:
		return fmt.Errorf("the provider answered the code with %s", said.Response.Status)
	case errors.As(err, &way):
		return fmt.Errorf("exchanging the code: %w", way)
	}
	return errors.New("the provider answered the code with something that is no token response")
}

// idToken checks an ID token (OpenID Connect Core 1.0 §3.1.3.7).
func (p *Provider) idToken(ctx context.Context, k *known, raw, access, nonce string) (Identity, error) {
	c, err := p.verify(ctx, k, raw, "jwt")
	if err != nil {
		return Identity{}, err
	}
	if err := p.checkIDToken(c, access, nonce); err != nil {
		return Identity{}, err
	}
	return p.identity(c)
}

func (p *Provider) checkIDToken(c *claims, access, nonce string) error {
	us := p.settings.ClientID
	switch {
	case !c.Audience.has(us):
		return refuse(WrongAudience, "the ID token is for another application")
	case len(c.Audience) > 1 && c.Party == "", c.Party != "" && c.Party != us:
		return refuse(WrongParty, "the ID token was issued to another application")
	case nonce == "" || !same(c.Nonce, nonce):
		return refuse(WrongNonce, "the ID token is of another login")
	case c.Subject == "" || c.Issued.IsZero():
		return refuse(ClaimMissing, "the ID token has no sub or no iat")
	case c.AccessTokenHash != "" && !same(c.AccessTokenHash, hashOf(access)):
		return refuse(BadSignature, "the access token is not the one the ID token was made with")
	}
	return nil
}

// hashOf is the at_hash of an access token (OpenID Connect Core 1.0 §3.1.3.6); each
// of our algorithms goes with SHA-256.
func hashOf(access string) string {
	sum := sha256.Sum256([]byte(access))
	return base64.RawURLEncoding.EncodeToString(sum[:len(sum)/2])
}
