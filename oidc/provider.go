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

// errNotDiscovered is returned before the first successful discovery.
var errNotDiscovered = errors.New("the metadata of the identity provider is not known yet")

// Provider is a client of the identity provider.
type Provider struct {
	settings   Settings
	secret     Secret
	callback   string
	tenant     string // of an issuer of Entra; otherwise ""
	client     *http.Client
	log        *slog.Logger
	metrics    *metrics
	metadata   atomic.Pointer[metadata] // nil before discovery
	keys       *keys
	keyStore   KeyStore  // nil: keys are not kept over a restart
	firstTry   sync.Once // closes firstTried
	firstTried chan struct{}

	changed       *signal // shared with bearerIssuers: a key was withdrawn
	cache         tokenCache
	bearerIssuers map[string]*Provider // of bearer_issuers, by issuer
	appsOnly      bool                 // of a bearer issuer without user_claim: its users are rejected
}

// metadata is the result of discovery.
type metadata struct {
	keysURL  string // jwks_uri
	oauth    oauth2.Config
	logout   string // end_session_endpoint; "" if there is none
	namesIss bool   // callbacks always have iss (RFC 9207 §3)

	accountPrompt string // the value of prompt that lets people choose another account
}

// New reads the client secret. It does not contact the provider; [Provider.Run] does.
// The callback is below publicURL.
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
		client: client, log: log, metrics: newMetrics(), firstTried: make(chan struct{}), changed: new(signal), bearerIssuers: map[string]*Provider{}}
	p.keys = p.newKeys()
	for _, b := range s.BearerIssuers {
		if p.bearerIssuers[b.Issuer], err = p.newBearerIssuer(b); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// newBearerIssuer returns a provider that verifies bearer tokens only.
func (p *Provider) newBearerIssuer(s BearerIssuer) (*Provider, error) {
	client, err := newClient(s.CAFile)
	if err != nil {
		return nil, err
	}
	claim := s.UserClaim
	if claim == "" {
		claim = "sub" // appsOnly is set, so this claim decides nothing
	}
	other := &Provider{settings: Settings{Issuer: s.Issuer, ClientID: p.settings.ClientID, APIAudiences: s.Audiences, UserClaim: claim, Applications: s.Applications},
		tenant: tenantOf(s.Issuer), client: client, log: p.log, metrics: p.metrics, firstTried: make(chan struct{}), changed: p.changed, appsOnly: s.UserClaim == ""}
	other.keys = other.newKeys()
	return other, nil
}

// newKeys returns the keys of the provider, of which none is known yet.
func (p *Provider) newKeys() *keys {
	return &keys{client: p.client, count: p.metrics.refreshed, withdrawn: p.changed.notify}
}

// String returns the issuer, without secrets.
func (p *Provider) String() string { return "oidc " + p.settings.Issuer }

// GoString keeps secrets out of %#v.
func (p *Provider) GoString() string { return p.String() }

var entraIssuer = regexp.MustCompile(`^(?:https?://[^/]+/([0-9a-fA-F-]{36})/v2\.0|https://sts\.windows\.net/([0-9a-fA-F-]{36})/)$`)

// tenantOf returns the tenant ID in an issuer of Entra, or "".
func tenantOf(issuer string) string {
	if m := entraIssuer.FindStringSubmatch(issuer); m != nil {
		return m[1] + m[2]
	}
	return ""
}

// The pause between attempts to reach the provider doubles from minPause to maxPause.
const (
	minPause = time.Second
	maxPause = time.Minute
)

// Run discovers the provider and keeps its keys fresh until ctx ends. Before
// discovery succeeds, logins fail; sessions are not affected.
func (p *Provider) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, other := range p.bearerIssuers {
		g.Go(func() error { return other.run(ctx) })
	}
	g.Go(func() error { return p.run(ctx) })
	return g.Wait()
}

func (p *Provider) run(ctx context.Context) error {
	p.loadSaved(ctx)
	if err := p.discoverUntilFound(ctx); err != nil {
		return err
	}
	p.log.Info("identity provider found", "issuer", p.settings.Issuer)
	for {
		pause := refreshInterval
		if err := p.keys.refresh(ctx); err != nil {
			p.log.Warn("keys of the identity provider not refreshed", "err", err)
			pause = maxPause
		}
		if err := sleep(ctx, pause); err != nil {
			return err
		}
	}
}

// discoverUntilFound retries discovery until it succeeds or ctx ends.
func (p *Provider) discoverUntilFound(ctx context.Context) error {
	defer p.firstTry.Do(func() { close(p.firstTried) })
	for pause := minPause; ; pause = min(2*pause, maxPause) {
		m, err := p.discover(ctx)
		if err == nil {
			p.keys.publishedAt(m.keysURL)
			p.metadata.Store(m)
			return nil
		}
		if p.keys.useSaved() {
			p.log.Warn("bearer tokens are verified with the keys from before the start", "fetched", p.keys.current())
		}
		p.firstTry.Do(func() { close(p.firstTried) })
		p.log.Warn("identity provider not reached; trying again", "err", err, "pause", pause.String())
		if err := sleep(ctx, pause); err != nil {
			return err
		}
	}
}

// firstTryTimeout is how long requests wait for the first attempt at discovery.
const firstTryTimeout = 5 * time.Second

// discovered returns the metadata. During the first attempt at discovery it waits, so
// that logins do not fail just because the server has started a moment ago.
func (p *Provider) discovered(ctx context.Context) (*metadata, error) {
	if m := p.metadata.Load(); m != nil {
		return m, nil
	}
	timeout := time.NewTimer(firstTryTimeout)
	defer timeout.Stop()
	select {
	case <-p.firstTried:
	case <-ctx.Done():
	case <-timeout.C:
	}
	if m := p.metadata.Load(); m != nil {
		return m, nil
	}
	return nil, errNotDiscovered
}

// verifying returns the keys to verify tokens with. Before discovery, those are the keys
// from before the start.
func (p *Provider) verifying(ctx context.Context) (*keys, error) {
	if _, err := p.discovered(ctx); err != nil && p.keys.current().IsZero() {
		return nil, err
	}
	return p.keys, nil
}

// sleep waits for a random time between half of d and d, so that replicas do not act
// at the same time. It returns early if ctx ends.
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

// discover reads the provider's metadata (OpenID Connect Discovery 1.0 §4), whose
// issuer must equal the configured one.
func (p *Provider) discover(ctx context.Context) (*metadata, error) {
	provider, err := gooidc.NewProvider(gooidc.ClientContext(ctx, p.client), p.settings.Issuer)
	if err != nil {
		return nil, fmt.Errorf("reading the metadata of %s: %s", p.settings.Issuer, quoted(err.Error())) // the error may quote the whole response
	}
	var extra struct {
		Keys     string   `json:"jwks_uri"`
		Logout   string   `json:"end_session_endpoint"`
		Methods  []string `json:"token_endpoint_auth_methods_supported"`
		Prompts  []string `json:"prompt_values_supported"`
		NamesIss bool     `json:"authorization_response_iss_parameter_supported"`
	}
	if err := provider.Claims(&extra); err != nil {
		return nil, fmt.Errorf("reading the metadata of %s: %w", p.settings.Issuer, err)
	}
	endpoint := provider.Endpoint()
	for name, u := range map[string]string{"authorization_endpoint": endpoint.AuthURL, "token_endpoint": endpoint.TokenURL, "jwks_uri": extra.Keys} {
		if !p.isSecure(u) {
			return nil, fmt.Errorf("the metadata of %s has as its %s %s, which is not an https URL", p.settings.Issuer, name, quoted(u))
		}
	}
	if !p.isSecure(extra.Logout) {
		extra.Logout = "" // a login does not need it
	}
	endpoint.AuthStyle = oauth2.AuthStyleInHeader // every provider must support it (RFC 6749 §2.3.1)
	if slices.Contains(extra.Methods, "client_secret_post") {
		endpoint.AuthStyle = oauth2.AuthStyleInParams
	}
	return &metadata{
		keysURL: extra.Keys,
		oauth: oauth2.Config{ClientID: p.settings.ClientID, ClientSecret: string(p.secret), Endpoint: endpoint,
			RedirectURL: p.callback, Scopes: p.settings.Scopes},
		logout: extra.Logout, namesIss: extra.NamesIss, accountPrompt: accountPrompt(extra.Prompts),
	}, nil
}

// accountPrompt returns the value of prompt that lets people choose an account: login where the provider says which
// values it supports and select_account is not among them.
func accountPrompt(supported []string) string {
	const selectAccount = "select_account"
	if len(supported) == 0 || slices.Contains(supported, selectAccount) {
		return selectAccount
	}
	return "login"
}

// isSecure reports whether an endpoint is https or, if the issuer itself is http,
// on the loopback interface.
func (p *Provider) isSecure(endpoint string) bool {
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" {
		return false
	}
	issuer, err := url.Parse(p.settings.Issuer)
	return u.Scheme == "https" || err == nil && issuer.Scheme == "http" && u.Scheme == "http" && isLoopback(u.Hostname())
}

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
