// Package entratest imitates Microsoft Entra ID for tests and demonstrations: an
// issuer that signs people in, and a provisioner that pushes users and groups by SCIM.
// It is stricter than Entra: it accepts nothing that Entra would reject.
//
// Requests, tokens and errors have the shapes that Microsoft documents for the v2.0
// endpoints, token claims and SCIM provisioning. Everything is kept in memory; a
// Tenant must never be reachable from a network.
package entratest

import (
	"net/http"
	"slices"
	"sync"
)

// App is an application registration.
type App struct {
	ClientID     string
	Secret       string
	RedirectURIs []string // compared exactly; after logout, too, the browser is redirected only to one of these
}

// Tenant is a directory and its issuer: an [http.Handler] that must be served at the
// URL given to [New].
type Tenant struct {
	ID  string // tenant ID
	url string
	mux *http.ServeMux

	mu       sync.Mutex // guards the fields below
	app      App
	secrets  map[string]int // of app, each of which is accepted; how often each was
	people   []Person
	groups   []*Team
	keys     []signingKey // the newest signs
	fetches  int          // of the key set
	codes    map[string]code
	selected string       // OID of the person who signs in without being asked
	alter    func(Claims) // changes the ID tokens of logins; nil for no change
}

// New returns a tenant that will be served at base, with one registered application.
func New(base string, app App) *Tenant {
	return newTenant(base, app, newKey())
}

// sharedKey is the first key of the tenants of NewSharingKey.
var sharedKey = sync.OnceValue(newKey)

// NewSharingKey is New for tests that make many tenants: making an RSA key takes
// long, so all of these tenants begin with the same one. A test in which two tenants
// must not trust each other's tokens needs New for one of them.
func NewSharingKey(base string, app App) *Tenant { return newTenant(base, app, sharedKey()) }

func newTenant(base string, app App, key signingKey) *Tenant {
	app.RedirectURIs = slices.Clone(app.RedirectURIs)
	t := &Tenant{ID: guid(), url: base, app: app, secrets: map[string]int{app.Secret: 0}, codes: map[string]code{}, keys: []signingKey{key}}
	t.mux = t.routes()
	return t
}

// Issuer returns the v2.0 issuer.
func (t *Tenant) Issuer() string { return t.url + "/" + t.ID + "/v2.0" }

// ClientID returns the client ID of the registered application.
func (t *Tenant) ClientID() string { return t.app.ClientID } // never changes

// Allow adds a redirect URI to the registration.
func (t *Tenant) Allow(redirectURI string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.app.RedirectURIs = append(t.app.RedirectURIs, redirectURI)
}

// AddSecret makes a further client secret valid, until [Tenant.RemoveSecret].
func (t *Tenant) AddSecret(text string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.secrets[text] = 0
}

// RemoveSecret makes a client secret invalid.
func (t *Tenant) RemoveSecret(text string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.secrets, text)
}

// Accepted returns how often the application authenticated by a client secret that is valid now.
func (t *Tenant) Accepted(secret string) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.secrets[secret]
}

// SignIn makes oid the person who signs in without being asked; "" shows the page to
// pick an account again.
func (t *Tenant) SignIn(oid string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.selected = oid
}

// Alter changes the claims of the ID tokens of all later logins, for tests of what an
// application accepts; nil ends that.
func (t *Tenant) Alter(f func(Claims)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.alter = f
}

// ServeHTTP serves the endpoints of the issuer.
func (t *Tenant) ServeHTTP(w http.ResponseWriter, r *http.Request) { t.mux.ServeHTTP(w, r) }

func (t *Tenant) path(rest string) string { return "/" + t.ID + rest }

func (t *Tenant) endpoint(rest string) string { return t.url + t.path(rest) }

func (t *Tenant) routes() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+t.path("/v2.0/.well-known/openid-configuration"), t.metadata)
	mux.HandleFunc("GET "+t.path("/discovery/v2.0/keys"), t.publish)
	mux.HandleFunc("GET "+t.path("/oauth2/v2.0/authorize"), t.authorize)
	mux.HandleFunc("POST "+t.path("/oauth2/v2.0/authorize"), t.authorize)
	mux.HandleFunc("POST "+t.path("/oauth2/v2.0/token"), t.token)
	mux.HandleFunc("GET "+t.path("/oauth2/v2.0/logout"), t.logout)
	return mux
}

func (t *Tenant) metadata(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, map[string]any{
		"issuer":                                t.Issuer(),
		"authorization_endpoint":                t.endpoint("/oauth2/v2.0/authorize"),
		"token_endpoint":                        t.endpoint("/oauth2/v2.0/token"),
		"jwks_uri":                              t.endpoint("/discovery/v2.0/keys"),
		"end_session_endpoint":                  t.endpoint("/oauth2/v2.0/logout"),
		"response_types_supported":              []string{"code"},
		"response_modes_supported":              []string{"query"},
		"subject_types_supported":               []string{"pairwise"},
		"id_token_signing_alg_values_supported": []string{"RS256"},
		"token_endpoint_auth_methods_supported": []string{"client_secret_post", "client_secret_basic"},
		"scopes_supported":                      []string{"openid", "profile", "email", "offline_access"},
	})
}
