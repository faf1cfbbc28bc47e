package oidc

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	gooidc "github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

// Flow is one login under way. Its fields are secret until the login ends; the
// caller seals it into the browser's cookie.
type Flow struct {
	State    string `json:"state"`
	Nonce    string `json:"nonce"`
	Verifier string `json:"verifier"` // of PKCE
}

// Begin is the URL to send the browser to (authorization code with PKCE: RFC
// 7636, RFC 9700 §2.1.1).
func (p *Provider) Begin(context.Context) (authURL string, f Flow, err error) {
	k := p.known.Load()
	if k == nil {
		return "", Flow{}, errUnknown
	}
	f = Flow{State: rand.Text(), Nonce: rand.Text(), Verifier: oauth2.GenerateVerifier()}
	return k.oauth.AuthCodeURL(f.State, oauth2.S256ChallengeOption(f.Verifier), gooidc.Nonce(f.Nonce)), f, nil
}

// Finish takes what the provider sent back with the browser.
func (p *Provider) Finish(ctx context.Context, f Flow, q url.Values) (Identity, error) {
	k := p.known.Load()
	if k == nil {
		return Identity{}, errUnknown
	}
	id, err := p.finish(gooidc.ClientContext(ctx, p.client), k, f, q)
	p.metrics.verified(err)
	return id, err
}

func (p *Provider) finish(ctx context.Context, k *known, f Flow, q url.Values) (Identity, error) {
	code, err := p.codeOf(f, q)
	if err != nil {
		return Identity{}, err
	}
	token, err := k.oauth.Exchange(ctx, code, oauth2.VerifierOption(f.Verifier))
	if err != nil {
		return Identity{}, exchangeError(err)
	}
	raw, _ := token.Extra("id_token").(string)
	if raw == "" {
		return Identity{}, errors.New("the provider answered the code without an ID token; does the registration allow openid?")
	}
	return p.idToken(ctx, k, raw, token.AccessToken, f.Nonce)
}

// codeOf checks that q answers this login and has the provider's yes.
func (p *Provider) codeOf(f Flow, q url.Values) (string, error) {
	for _, name := range []string{"state", "code", "error", "iss"} {
		if len(q[name]) > 1 {
			return "", refuse(WrongState, "the answer has "+name+" twice")
		}
	}
	switch {
	case f.State == "" || subtle.ConstantTimeCompare([]byte(q.Get("state")), []byte(f.State)) != 1:
		return "", refuse(WrongState, "the answer is not to this login")
	case q.Has("iss") && q.Get("iss") != p.settings.Issuer: // RFC 9207 §2.4
		return "", refuse(WrongIssuer, "the answer comes from another issuer")
	case q.Has("error"):
		return "", refuse(LoginRefused, "the provider said "+plain(q.Get("error"))+": "+plain(q.Get("error_description")))
	case q.Get("code") == "":
		return "", refuse(CodeRefused, "the answer has no code")
	}
	return q.Get("code"), nil
}

// plain makes text from outside fit for a log line.
func plain(text string) string {
	return fmt.Sprintf("%.200q", text)
}

// exchangeError tells a code the provider refused from a provider that could not say.
func exchangeError(err error) error {
	var e *oauth2.RetrieveError
	if errors.As(err, &e) && e.ErrorCode == "invalid_grant" {
		return refuse(CodeRefused, "the provider does not take the code: it is used, expired or another's")
	}
	if e != nil && e.Response != nil && e.Response.StatusCode < http.StatusInternalServerError {
		return fmt.Errorf("the provider answered %s %s; check client_id, client_secret_file and the redirect URI", e.Response.Status, plain(e.ErrorCode))
	}
	return errors.New("asking the provider to exchange the code: no usable answer")
}

// idToken checks an ID token (OpenID Connect Core 1.0 §3.1.3.7).
func (p *Provider) idToken(ctx context.Context, k *known, raw, access, nonce string) (Identity, error) {
	c, err := p.verify(ctx, k, raw)
	if err != nil {
		return Identity{}, err
	}
	if err := p.checkIDToken(c, nonce); err != nil {
		return Identity{}, err
	}
	if c.AccessTokenHash != "" {
		verified, err := k.verifier.Verify(ctx, raw)
		if err != nil {
			return Identity{}, refuse(Malformed, "the ID token does not stand a second look")
		}
		if verified.VerifyAccessToken(access) != nil {
			return Identity{}, refuse(BadSignature, "the access token is not the one the ID token was made with")
		}
	}
	return p.identity(c)
}

func (p *Provider) checkIDToken(c *claims, nonce string) error {
	us := p.settings.ClientID
	switch {
	case !c.Audience.has(us):
		return refuse(WrongAudience, "the ID token is for another application")
	case len(c.Audience) > 1 && c.Party == "", c.Party != "" && c.Party != us:
		return refuse(WrongParty, "the ID token was issued to another application")
	case nonce == "" || subtle.ConstantTimeCompare([]byte(c.Nonce), []byte(nonce)) != 1:
		return refuse(WrongNonce, "the ID token is of another login")
	}
	return nil
}
