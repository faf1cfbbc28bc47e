// Package entratest is a Microsoft Entra ID for tests and demonstrations: an
// issuer that signs people in, and a provisioner that pushes them by SCIM. It is
// stricter than the real one: what it lets pass, Entra does.
//
// Shapes follow Microsoft's pages on the v2.0 endpoints, token claims and SCIM
// provisioning. It keeps everything in memory and must never face a network.
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
	RedirectURIs []string // compared exactly; after logout, too, the browser is sent to one of these or nowhere
}

// Tenant is the directory and its issuer; an http.Handler to be served at the
// URL given to New.
type Tenant struct {
	ID  string // tenant ID
	url string
	mux *http.ServeMux

	mu       sync.Mutex // guards what follows
	app      App
	people   []Person
	groups   []*Team
	keys     []signingKey // the newest signs
	fetches  int          // of the key set
	codes    map[string]code
	selected string       // who signs in without being asked, by OID
	alter    func(Claims) // of ID tokens given at login; nil: nothing
}

// New makes a tenant that will be served at base, with one registered app.
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
	t := &Tenant{ID: guid(), url: base, app: app, codes: map[string]code{}, keys: []signingKey{key}}
	t.mux = t.routes()
	return t
}

// Issuer is the v2.0 issuer.
func (t *Tenant) Issuer() string { return t.url + "/" + t.ID + "/v2.0" }

// ClientID is the registered application's.
func (t *Tenant) ClientID() string { return t.app.ClientID } // never changes

// Allow adds a redirect URI to the registration.
func (t *Tenant) Allow(redirectURI string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.app.RedirectURIs = append(t.app.RedirectURIs, redirectURI)
}

// SignIn makes oid the one who signs in without being asked; "" asks again.
func (t *Tenant) SignIn(oid string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.selected = oid
}

// Alter changes the claims of every ID token given at login from now on, for tests
// of what an application takes; nil ends that.
func (t *Tenant) Alter(f func(Claims)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.alter = f
}

// ServeHTTP is the issuer.
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
