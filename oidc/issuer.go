package oidc

import (
	"context"
	"crypto/x509"
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

	"sallyport/pemfile"
)

// errNotDiscovered is returned before the first successful discovery.
var errNotDiscovered = errors.New("the metadata of the identity provider is not known yet")

// common is what a provider shares with those that take its place.
type common struct {
	log      *slog.Logger
	metrics  *metrics
	changed  *signal        // a key was withdrawn
	keyStore KeyStore       // nil: keys are not kept over a restart
	proven   func(Identity) // see [Provider.TellOfGroups]; may be nil
}

// issuer is what is known of an issuer of tokens: the metadata and keys that it publishes, and tokens of it that were
// verified. It does not depend on what the settings say of those tokens.
type issuer struct {
	*common
	url         string         // as its tokens name it
	tenant      string         // of an issuer of Entra; otherwise ""
	authorities *x509.CertPool // which sign its server's certificate; nil: those of the system
	client      *http.Client
	metadata    atomic.Pointer[metadata] // nil before discovery
	keys        *keys
	cache       *tokenCache
	ran         atomic.Bool // run was called
	firstTry    sync.Once   // closes firstTried
	firstTried  chan struct{}
}

// metadata is the result of discovery.
type metadata struct {
	keysURL  string // jwks_uri
	endpoint oauth2.Endpoint
	logout   string // end_session_endpoint; "" if there is none
	namesIss bool   // callbacks always have iss (RFC 9207 §3)

	accountPrompt string // the value of prompt that lets people choose another account
}

// issuerOf returns the one of known that has a URL, and trusts the same authorities. If there is none, it returns a new one.
func (c *common) issuerOf(url, caFile string, known []*issuer) (*issuer, error) {
	pool, err := pemfile.Pool(caFile)
	if err != nil {
		return nil, fmt.Errorf("ca_file %w", err)
	}
	cache := new(tokenCache)
	for _, i := range known {
		if i.url != url {
			continue
		}
		if (i.authorities == nil) == (pool == nil) && (pool == nil || pool.Equal(i.authorities)) {
			return i, nil
		}
		cache = i.cache // what other keys verified does not count, but when each token came first does
	}
	i := &issuer{common: c, url: url, tenant: tenantOf(url), authorities: pool, client: newClient(pool), firstTried: make(chan struct{}), cache: cache}
	i.keys = &keys{client: i.client, count: c.metrics.refreshed, withdrawn: c.changed.notify, save: i.saveKeys}
	return i, nil
}

var entraIssuer = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^(?:https?://[^/]+/([0-9a-fA-F-]{36})/v2\.0|https://sts\.windows\.net/([0-9a-fA-F-]{36})/)$`)
})

// tenantOf returns the tenant ID in an issuer of Entra, or "".
func tenantOf(issuer string) string {
	if m := entraIssuer().FindStringSubmatch(issuer); m != nil {
		return m[1] + m[2]
	}
	return ""
}

// The pause between attempts to reach the provider doubles from minPause to maxPause.
const (
	minPause = time.Second
	maxPause = time.Minute
)

// run discovers the issuer, unless that was done, and keeps its keys fresh until ctx ends.
func (i *issuer) run(ctx context.Context) error {
	i.ran.Store(true)
	if i.metadata.Load() == nil {
		i.loadSaved(ctx)
		if err := i.discoverUntilFound(ctx); err != nil {
			return err
		}
		i.log.Info("identity provider found", "issuer", i.url)
	}
	for {
		pause := refreshInterval
		if err := i.keys.refresh(ctx); err != nil {
			i.log.Warn("keys of the identity provider not refreshed", "err", err)
			pause = maxPause
		}
		if err := sleep(ctx, pause); err != nil {
			return err
		}
	}
}

// prepare fetches metadata and keys, unless they are known or run was called.
func (i *issuer) prepare(ctx context.Context) error {
	if i.ran.Load() || i.metadata.Load() != nil && !i.keys.current().IsZero() {
		return nil
	}
	m, err := i.discover(ctx)
	if err != nil {
		return err
	}
	i.found(m)
	if err := i.keys.refresh(ctx); err != nil {
		return fmt.Errorf("%s: %w", i.url, err)
	}
	return nil
}

// found makes m the metadata of the issuer.
func (i *issuer) found(m *metadata) {
	i.keys.publishedAt(m.keysURL)
	i.metadata.Store(m)
}

// discoverUntilFound retries discovery until it succeeds or ctx ends.
func (i *issuer) discoverUntilFound(ctx context.Context) error {
	defer i.firstTry.Do(func() { close(i.firstTried) })
	for pause := minPause; ; pause = min(2*pause, maxPause) {
		m, err := i.discover(ctx)
		if err == nil {
			i.found(m)
			return nil
		}
		if i.keys.useSaved() {
			i.log.Warn("bearer tokens are verified with the keys from before the start", "fetched", i.keys.current())
		}
		i.firstTry.Do(func() { close(i.firstTried) })
		i.log.Warn("identity provider not reached; trying again", "err", err, "pause", pause.String())
		if err := sleep(ctx, pause); err != nil {
			return err
		}
	}
}

// firstTryTimeout is how long requests wait for the first attempt at discovery.
const firstTryTimeout = 5 * time.Second

// discovered returns the metadata. During the first attempt at discovery it waits, so
// that logins do not fail just because the server has started a moment ago.
func (i *issuer) discovered(ctx context.Context) (*metadata, error) {
	if m := i.metadata.Load(); m != nil {
		return m, nil
	}
	timeout := time.NewTimer(firstTryTimeout)
	defer timeout.Stop()
	select {
	case <-i.firstTried:
	case <-ctx.Done():
	case <-timeout.C:
	}
	if m := i.metadata.Load(); m != nil {
		return m, nil
	}
	return nil, errNotDiscovered
}

// verifying returns the keys to verify tokens with. Before discovery, those are the keys
// from before the start.
func (i *issuer) verifying(ctx context.Context) (*keys, error) {
	if _, err := i.discovered(ctx); err != nil && i.keys.current().IsZero() {
		return nil, err
	}
	return i.keys, nil
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
func (i *issuer) discover(ctx context.Context) (*metadata, error) {
	provider, err := gooidc.NewProvider(gooidc.ClientContext(ctx, i.client), i.url)
	if err != nil {
		return nil, fmt.Errorf("reading the metadata of %s: %s", i.url, quoted(err.Error())) // the error may quote the whole response
	}
	var extra struct {
		Keys     string   `json:"jwks_uri"`
		Logout   string   `json:"end_session_endpoint"`
		Methods  []string `json:"token_endpoint_auth_methods_supported"`
		Prompts  []string `json:"prompt_values_supported"`
		NamesIss bool     `json:"authorization_response_iss_parameter_supported"`
	}
	if err := provider.Claims(&extra); err != nil {
		return nil, fmt.Errorf("reading the metadata of %s: %w", i.url, err)
	}
	endpoint := provider.Endpoint()
	for name, u := range map[string]string{"authorization_endpoint": endpoint.AuthURL, "token_endpoint": endpoint.TokenURL, "jwks_uri": extra.Keys} {
		if !i.isSecure(u) {
			return nil, fmt.Errorf("the metadata of %s has as its %s %s, which is not an https URL", i.url, name, quoted(u))
		}
	}
	if !i.isSecure(extra.Logout) {
		extra.Logout = "" // a login does not need it
	}
	endpoint.AuthStyle = oauth2.AuthStyleInHeader // every provider must support it (RFC 6749 §2.3.1)
	if slices.Contains(extra.Methods, "client_secret_post") {
		endpoint.AuthStyle = oauth2.AuthStyleInParams
	}
	return &metadata{keysURL: extra.Keys, endpoint: endpoint, logout: extra.Logout, namesIss: extra.NamesIss, accountPrompt: accountPrompt(extra.Prompts)}, nil
}

// accountPrompt returns the value of prompt that lets people choose an account: login where the provider says which
// values it supports and select_account is not among them.
func accountPrompt(supported []string) string {
	if len(supported) == 0 || slices.Contains(supported, selectAccount) {
		return selectAccount
	}
	return "login"
}

const selectAccount = "select_account"

// SwitchesByLogout reports whether people have to sign out at the provider before they can sign in with another account: it
// says which values of prompt it supports, and has no account chooser among them. With prompt=login alone, it would ask for
// the password of the same account.
func (p *Provider) SwitchesByLogout(ctx context.Context) bool {
	m, err := p.discovered(ctx)
	return err == nil && m.accountPrompt != selectAccount && m.logout != ""
}

// isSecure reports whether an endpoint is https or, if the issuer itself is http,
// on the loopback interface.
func (i *issuer) isSecure(endpoint string) bool {
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" {
		return false
	}
	issuer, err := url.Parse(i.url)
	return u.Scheme == "https" || err == nil && issuer.Scheme == "http" && u.Scheme == "http" && isLoopback(u.Hostname())
}
