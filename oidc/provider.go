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
	"sync/atomic"
	"time"

	gooidc "github.com/coreos/go-oidc/v3/oidc"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/oauth2"
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
}

// known is what discovery found out.
type known struct {
	keys     *keys
	verifier *gooidc.IDTokenVerifier
	oauth    oauth2.Config
	logout   string // end_session_endpoint
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
	return &Provider{settings: s, secret: secret, callback: callback.String(), tenant: tenantOf(s.Issuer),
		client: client, log: log, metrics: newMetrics()}, nil
}

var entraIssuer = regexp.MustCompile(`^https?://[^/]+/([0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12})/v2\.0$`)

// tenantOf is the tenant ID in an Entra v2.0 issuer.
func tenantOf(issuer string) string {
	if m := entraIssuer.FindStringSubmatch(issuer); m != nil {
		return m[1]
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
	pause := firstPause
	for {
		err := p.discover(ctx)
		if err == nil {
			break
		}
		p.log.Warn("identity provider not reached; trying again", "err", err, "took", pause.String())
		if err := sleep(ctx, pause); err != nil {
			return err
		}
		pause = min(2*pause, lastPause)
	}
	p.log.Info("identity provider found", "issuer", p.settings.Issuer)
	for {
		if err := p.known.Load().keys.refresh(ctx); err != nil {
			p.log.Warn("keys of the identity provider not refreshed", "err", err)
		}
		if err := sleep(ctx, keysEvery); err != nil {
			return err
		}
	}
}

// sleep waits for about d (up to a tenth more, so that replicas do not march in
// step), or for the end of ctx.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d + rand.N(d/10))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// discover reads the provider's metadata (OpenID Connect Discovery 1.0 §4).
func (p *Provider) discover(ctx context.Context) error {
	ctx = gooidc.ClientContext(ctx, p.client)
	found, err := gooidc.NewProvider(ctx, p.settings.Issuer)
	if err != nil {
		return fmt.Errorf("reading the metadata of %s: %w", p.settings.Issuer, err)
	}
	var more struct {
		Keys    string   `json:"jwks_uri"`
		Logout  string   `json:"end_session_endpoint"`
		Methods []string `json:"token_endpoint_auth_methods_supported"`
	}
	if err := found.Claims(&more); err != nil {
		return fmt.Errorf("reading the metadata of %s: %w", p.settings.Issuer, err)
	}
	endpoint := found.Endpoint()
	for _, u := range []string{endpoint.AuthURL, endpoint.TokenURL, more.Keys} {
		if problem := issuerSecure(u); problem != nil {
			return problem
		}
	}
	endpoint.AuthStyle = oauth2.AuthStyleInHeader
	if slices.Contains(more.Methods, "client_secret_post") {
		endpoint.AuthStyle = oauth2.AuthStyleInParams
	}
	k := &known{logout: more.Logout, keys: &keys{url: more.Keys, client: p.client, count: p.metrics.refreshed}}
	k.verifier = gooidc.NewVerifier(p.settings.Issuer, k.keys, &gooidc.Config{ClientID: p.settings.ClientID, SupportedSigningAlgs: algorithmNames()})
	k.oauth = oauth2.Config{ClientID: p.settings.ClientID, ClientSecret: string(p.secret), Endpoint: endpoint,
		RedirectURL: p.callback, Scopes: p.settings.Scopes}
	p.known.Store(k)
	return nil
}

// issuerSecure refuses endpoints that anybody on the way could answer for.
func issuerSecure(endpoint string) error {
	u, err := url.Parse(endpoint)
	if err != nil || u.Scheme != "https" && !(u.Scheme == "http" && loopback(u.Hostname())) {
		return fmt.Errorf("the provider's metadata names an endpoint that is not https: %q", endpoint)
	}
	return nil
}

func algorithmNames() (names []string) {
	for _, a := range algorithms {
		names = append(names, string(a))
	}
	return names
}

// LogoutURL is where a browser ends its session with the provider itself, to
// come back to returnTo; "" where the provider has no such place.
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

// Collectors are the provider's metrics.
func (p *Provider) Collectors() []prometheus.Collector {
	return []prometheus.Collector{p.metrics.verifications, p.metrics.refreshes}
}

type metrics struct{ verifications, refreshes *prometheus.CounterVec }

func newMetrics() *metrics {
	return &metrics{
		verifications: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "sallyport_jwt_verifications_total",
			Help: "Tokens checked, by result (ok, refused, error) and reason."}, []string{"result", "reason"}),
		refreshes: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "sallyport_jwks_refreshes_total",
			Help: "Fetches of the identity provider's keys, by result (ok, error)."}, []string{"result"}),
	}
}

func (m *metrics) refreshed(result string) { m.refreshes.WithLabelValues(result).Inc() }

// verified counts the outcome of checking one token.
func (m *metrics) verified(err error) {
	var r *Refusal
	switch {
	case err == nil:
		m.verifications.WithLabelValues("ok", "").Inc()
	case errors.As(err, &r):
		m.verifications.WithLabelValues("refused", string(r.Reason)).Inc()
	default:
		m.verifications.WithLabelValues("error", "").Inc()
	}
}
