package oidc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	gooidc "github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
	"golang.org/x/sync/errgroup"
)

// errUnknown is the state before discovery.
var errUnknown = errors.New("the identity provider has not answered yet")

// Provider is the identity provider, as far as it is known.
type Provider struct {
	settings Settings
	secret   Secret
	callback string
	tenant   string // of an Entra issuer; "" for others
	client   *http.Client
	log      *slog.Logger
	metrics  *metrics
	known    atomic.Pointer[known] // nil before discovery
	first    sync.Once             // the first try of discovery, which closes tried
	tried    chan struct{}

	remembered remembered
	others     map[string]*Provider // further issuers of bearer tokens, by name
	appsOnly   bool                 // of a further issuer: no user of its comes in
}

// known is what discovery found out.
type known struct {
	keys     *keys
	oauth    oauth2.Config
	logout   string // end_session_endpoint; "" where there is none
	namesIss bool   // answers to a login always name the issuer (RFC 9207 §3)
}

// New reads the client secret and contacts nobody. publicURL is where the
// callback lives.
func New(s Settings, publicURL *url.URL, log *slog.Logger) (*Provider, error) {
	secret, err := readSecret(s.ClientSecretFile)
	if err != nil {
		return nil, fmt.Errorf("oidc.client_secret_file %w", err)
	}
	client, err := newClient(s.CAFile)
	if err != nil {
		return nil, err
	}
	callback := publicURL.JoinPath("/.sallyport/callback")
	p := &Provider{settings: s, secret: secret, callback: callback.String(), tenant: tenantOf(s.Issuer),
		client: client, log: log, metrics: newMetrics(), tried: make(chan struct{}), others: map[string]*Provider{}}
	for _, more := range s.BearerIssuers {
		if p.others[more.Issuer], err = p.further(more); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// further is an issuer whose tokens are taken, though nobody signs in there.
func (p *Provider) further(s BearerIssuer) (*Provider, error) {
	client, err := newClient(s.CAFile)
	if err != nil {
		return nil, err
	}
	claim := s.UserClaim
	if claim == "" {
		claim = "sub" // of applications alone: it decides nothing
	}
	return &Provider{settings: Settings{Issuer: s.Issuer, ClientID: p.settings.ClientID, APIAudiences: s.Audiences, UserClaim: claim},
		tenant: tenantOf(s.Issuer), client: client, log: p.log, metrics: p.metrics, tried: make(chan struct{}), appsOnly: s.UserClaim == ""}, nil
}

// String names the provider, and nothing that is secret about it.
func (p *Provider) String() string { return "oidc " + p.settings.Issuer }

// GoString is String.
func (p *Provider) GoString() string { return p.String() }

var entraIssuer = regexp.MustCompile(`^(?:https?://[^/]+/([0-9a-fA-F-]{36})/v2\.0|https://sts\.windows\.net/([0-9a-fA-F-]{36})/)$`)

// tenantOf is the tenant ID in an issuer of Entra's.
func tenantOf(issuer string) string {
	if m := entraIssuer.FindStringSubmatch(issuer); m != nil {
		return m[1] + m[2]
	}
	return ""
}

// Between attempts to reach the provider: doubled from the first to the last.
const (
	firstPause = time.Second
	lastPause  = time.Minute
)

// Run finds the provider and keeps its keys fresh until ctx ends. Until it is
// found, nobody can log in; whoever is signed in goes on.
func (p *Provider) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, other := range p.others {
		g.Go(func() error { return other.run(ctx) })
	}
	g.Go(func() error { return p.run(ctx) })
	return g.Wait()
}

func (p *Provider) run(ctx context.Context) error {
	if err := p.find(ctx); err != nil {
		return err
	}
	p.log.Info("identity provider found", "issuer", p.settings.Issuer)
	for {
		pause := keysEvery
		if err := p.known.Load().keys.refresh(ctx); err != nil {
			p.log.Warn("keys of the identity provider not refreshed", "err", err)
			pause = lastPause
		}
		if err := sleep(ctx, pause); err != nil {
			return err
		}
	}
}

// find discovers the provider, however long that takes.
func (p *Provider) find(ctx context.Context) error {
	defer p.first.Do(func() { close(p.tried) })
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		found, err := p.discover(ctx)
		if err == nil {
			p.known.Store(found)
			return nil
		}
		p.first.Do(func() { close(p.tried) })
		p.log.Warn("identity provider not reached; trying again", "err", err, "pause", pause.String())
		if err := sleep(ctx, pause); err != nil {
			return err
		}
	}
}

// triedWithin is how long whoever comes right after the start waits for discovery.
const triedWithin = 5 * time.Second

// found is what discovery found out. As long as it is being tried for the first
// time it is waited for: nobody should be turned away because we have just started.
func (p *Provider) found(ctx context.Context) (*known, error) {
	if k := p.known.Load(); k != nil {
		return k, nil
	}
	late := time.NewTimer(triedWithin)
	defer late.Stop()
	select {
	case <-p.tried:
	case <-ctx.Done():
	case <-late.C:
	}
	if k := p.known.Load(); k != nil {
		return k, nil
	}
	return nil, errUnknown
}

// sleep waits for d or up to a half less, so that replicas do not march in step,
// or for the end of ctx.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d - rand.N(d/2))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// discover reads the provider's metadata (OpenID Connect Discovery 1.0 §4), which
// must name the very issuer that was asked.
func (p *Provider) discover(ctx context.Context) (*known, error) {
	found, err := gooidc.NewProvider(gooidc.ClientContext(ctx, p.client), p.settings.Issuer)
	if err != nil {
		return nil, fmt.Errorf("reading the metadata of %s: %s", p.settings.Issuer, plain(err.Error())) // it may quote the whole answer
	}
	var more struct {
		Keys     string   `json:"jwks_uri"`
		Logout   string   `json:"end_session_endpoint"`
		Methods  []string `json:"token_endpoint_auth_methods_supported"`
		NamesIss bool     `json:"authorization_response_iss_parameter_supported"`
	}
	if err := found.Claims(&more); err != nil {
		return nil, fmt.Errorf("reading the metadata of %s: %w", p.settings.Issuer, err)
	}
	endpoint := found.Endpoint()
	for name, u := range map[string]string{"authorization_endpoint": endpoint.AuthURL, "token_endpoint": endpoint.TokenURL, "jwks_uri": more.Keys} {
		if !p.secure(u) {
			return nil, fmt.Errorf("the metadata of %s has as its %s %s, which is not an https URL", p.settings.Issuer, name, plain(u))
		}
	}
	if !p.secure(more.Logout) {
		more.Logout = "" // a login is possible without
	}
	endpoint.AuthStyle = oauth2.AuthStyleInHeader // what every provider takes (RFC 6749 §2.3.1)
	if slices.Contains(more.Methods, "client_secret_post") {
		endpoint.AuthStyle = oauth2.AuthStyleInParams
	}
	return &known{
		keys: &keys{url: more.Keys, client: p.client, count: p.metrics.refreshed},
		oauth: oauth2.Config{ClientID: p.settings.ClientID, ClientSecret: string(p.secret), Endpoint: endpoint,
			RedirectURL: p.callback, Scopes: p.settings.Scopes},
		logout: more.Logout, namesIss: more.NamesIss,
	}, nil
}

// secure says whether nobody on the way can answer for an endpoint: it is https,
// or like the issuer itself on this very machine.
func (p *Provider) secure(endpoint string) bool {
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" {
		return false
	}
	own, err := url.Parse(p.settings.Issuer)
	return u.Scheme == "https" || err == nil && own.Scheme == "http" && u.Scheme == "http" && loopback(u.Hostname())
}

// LogoutURL is where a browser ends its session with the provider itself, to
// come back to returnTo (which the provider may want to have been registered);
// "" where the provider has no such place (RP-Initiated Logout 1.0 §2).
func (p *Provider) LogoutURL(returnTo string) string {
	k := p.known.Load()
	if k == nil || k.logout == "" {
		return ""
	}
	u, err := url.Parse(k.logout)
	if err != nil {
		return ""
	}
	q := u.Query()
	q.Set("client_id", p.settings.ClientID)
	q.Set("post_logout_redirect_uri", returnTo)
	u.RawQuery = q.Encode()
	return u.String()
}
