package oidc

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/url"
	"reflect"

	"golang.org/x/oauth2"
	"golang.org/x/sync/errgroup"
)

// Provider is a client of the identity provider, by settings that never change. [Provider.With] makes the one that follows
// it when the settings change.
type Provider struct {
	settings Settings
	secret   Secret
	callback string
	rules    string // of Settings.tokenRules: what was verified by others does not count
	basis    string
	*issuer

	bearerIssuers map[string]*Provider // of bearer_issuers, by issuer
	appsOnly      bool                 // of a bearer issuer without user_claim: its users are rejected
}

// New reads the client secret. It does not contact the provider; [Provider.Run] does.
// The callback is below publicURL.
func New(s Settings, publicURL *url.URL, log *slog.Logger) (*Provider, error) {
	return newProvider(s, publicURL, &common{log: log, metrics: newMetrics(), changed: new(signal)}, nil)
}

// With returns the provider by other settings, to take the place of p; p may still finish what it has begun. With reads the
// files that the settings name, and changes nothing. What is known of issuers that p has too, with the same ca_file, is
// shared, so that requests need not wait for it. With returns p itself if nothing differs, the secret included.
//
// [Provider.Prepare] fetches what is known of no issuer yet. [Provider.Run] has to run for the new provider, and no longer
// for p.
func (p *Provider) With(s Settings, publicURL *url.URL) (*Provider, error) {
	next, err := newProvider(s, publicURL, p.common, p.issuers())
	if err == nil && next.same(p) {
		return p, nil
	}
	return next, err
}

// same reports whether p does everything as other does.
func (p *Provider) same(other *Provider) bool {
	return reflect.DeepEqual(p.settings, other.settings) && equal(string(p.secret), string(other.secret)) && p.callback == other.callback &&
		p.issuer == other.issuer && maps.EqualFunc(p.bearerIssuers, other.bearerIssuers, (*Provider).same)
}

func newProvider(s Settings, publicURL *url.URL, c *common, known []*issuer) (*Provider, error) {
	secret, err := readSecret(s.ClientSecretFile)
	if err != nil {
		return nil, fmt.Errorf("oidc.client_secret_file %w", err)
	}
	p := &Provider{settings: s, secret: secret, callback: publicURL.JoinPath("/.sallyport/callback").String(),
		rules: s.tokenRules(false), basis: s.basis(), bearerIssuers: map[string]*Provider{}}
	if p.issuer, err = c.issuerOf(s.Issuer, s.CAFile, known); err != nil {
		return nil, fmt.Errorf("oidc.%w", err)
	}
	for i, b := range s.BearerIssuers {
		if p.bearerIssuers[b.Issuer], err = p.newBearerIssuer(b, known); err != nil {
			return nil, fmt.Errorf("oidc.bearer_issuers[%d].%w", i, err)
		}
	}
	return p, nil
}

// newBearerIssuer returns a provider that verifies bearer tokens only.
func (p *Provider) newBearerIssuer(s BearerIssuer, known []*issuer) (*Provider, error) {
	published, err := p.issuerOf(s.Issuer, s.CAFile, known)
	if err != nil {
		return nil, err
	}
	claim := s.UserClaim
	if claim == "" {
		claim = "sub" // appsOnly is set, so this claim decides nothing
	}
	settings := Settings{Issuer: s.Issuer, ClientID: p.settings.ClientID, APIAudiences: s.Audiences, UserClaim: claim, Applications: s.Applications}
	return &Provider{settings: settings, rules: settings.tokenRules(s.UserClaim == ""), issuer: published, appsOnly: s.UserClaim == ""}, nil
}

// tokenRules returns all of the settings that decide which tokens of the issuer are accepted, and for whom.
func (s Settings) tokenRules(appsOnly bool) string {
	text, _ := json.Marshal([]any{s.Issuer, s.ClientID, s.APIAudiences, s.UserClaim, s.Applications, appsOnly}) // texts: cannot fail
	return string(text)
}

// basis returns what [Provider.Basis] does.
func (s Settings) basis() string {
	text, _ := json.Marshal([]string{s.Issuer, s.ClientID, s.UserClaim, s.UserAttribute}) // texts: cannot fail
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:16])
}

// Basis names what a sign-in stands on: the issuer, the client, and the claim and attribute by which users are found. Where
// it differs, a sign-in proves nothing: another provider said who the user is, or said it in another claim.
func (p *Provider) Basis() string { return p.basis }

// issuers returns the issuers of p.
func (p *Provider) issuers() []*issuer {
	all := []*issuer{p.issuer}
	for _, other := range p.bearerIssuers {
		all = append(all, other.issuer)
	}
	return all
}

// Run discovers the issuers and keeps their keys fresh until ctx ends. Before
// discovery succeeds, logins fail; sessions are not affected.
func (p *Provider) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, i := range p.issuers() {
		g.Go(func() error { return i.run(ctx) })
	}
	return g.Wait()
}

// Prepare fetches metadata and keys of those issuers for which Run never ran. Without an error, the provider does not wait
// for them when it takes the place of another.
func (p *Provider) Prepare(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, i := range p.issuers() {
		g.Go(func() error { return i.prepare(ctx) })
	}
	return g.Wait()
}

// oauth returns what the provider's endpoints are asked by.
func (p *Provider) oauth(m *metadata) *oauth2.Config {
	return &oauth2.Config{ClientID: p.settings.ClientID, ClientSecret: string(p.secret), Endpoint: m.endpoint, RedirectURL: p.callback, Scopes: p.settings.Scopes}
}

// String returns the issuer, without secrets.
func (p *Provider) String() string { return "oidc " + p.settings.Issuer }

// GoString keeps secrets out of %#v.
func (p *Provider) GoString() string { return p.String() }

// LogoutRequest says how a browser signs out at the provider.
type LogoutRequest struct {
	IDToken  Secret // of the login; with it the provider need not ask the user; "" if unknown
	ReturnTo string // where the provider sends the browser afterwards; has to be registered there
	State    string // comes back to ReturnTo as its parameter state; "" for none
}

// LogoutURL returns the URL at which the browser ends its session with the provider.
// It is "" if the provider has no such endpoint (RP-Initiated Logout 1.0 §2).
func (p *Provider) LogoutURL(o LogoutRequest) string {
	m := p.metadata.Load()
	if m == nil || m.logout == "" {
		return ""
	}
	u, err := url.Parse(m.logout)
	if err != nil {
		return ""
	}
	q := u.Query()
	q.Set("client_id", p.settings.ClientID)
	q.Set("post_logout_redirect_uri", o.ReturnTo)
	for name, value := range map[string]string{"id_token_hint": string(o.IDToken), "state": o.State} {
		if value != "" {
			q.Set(name, value)
		}
	}
	u.RawQuery = q.Encode()
	return u.String()
}
