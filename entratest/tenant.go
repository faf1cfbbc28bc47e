// Package entratest is a Microsoft Entra ID for tests and demonstrations: an
// issuer that signs people in, and a provisioner that pushes them by SCIM. It is
// stricter than the real one: what it lets pass, Entra does.
//
// Shapes follow Microsoft's pages on the v2.0 endpoints, token claims and SCIM
// provisioning. It keeps everything in memory and must never face a network.
package entratest

import (
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	jose "github.com/go-jose/go-jose/v4"
)

// Person is somebody in the tenant.
type Person struct {
	OID        string // object ID: never changes
	UPN        string // userPrincipalName: may change
	Name       string
	GivenName  string
	FamilyName string
	Mail       string
	Title      string
	Department string
	Disabled   bool // may not sign in
}

// Initial is the first letter of the name.
func (p Person) Initial() string {
	for _, r := range p.Name {
		return string(r)
	}
	return "?"
}

// App is an application registration.
type App struct {
	ClientID     string
	Secret       string
	RedirectURIs []string
}

// Tenant is the directory and its issuer; an http.Handler to be served at the
// URL given to New.
type Tenant struct {
	ID  string // tenant ID
	url string
	app App
	mux *http.ServeMux

	mu       sync.Mutex // guards what follows
	people   []Person
	groups   []*Team
	keys     []signingKey
	codes    map[string]code
	selected string // who signs in without being asked, by OID
	fetches  int    // of the key set
}

// Team is a security group.
type Team struct {
	OID     string
	Name    string
	Members []string // by OID
}

type signingKey struct {
	id  string
	key *rsa.PrivateKey
}

// New makes a tenant that will be served at base, with one registered app.
func New(base string, app App) *Tenant {
	t := &Tenant{ID: guid(), url: base, app: app, codes: map[string]code{}}
	t.Rotate()
	t.mux = t.routes()
	return t
}

// guid is a random UUID, as object IDs are.
func guid() string {
	b := make([]byte, 16)
	rand.Read(b) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// Issuer is the v2.0 issuer.
func (t *Tenant) Issuer() string { return t.url + "/" + t.ID + "/v2.0" }

// ClientID is the registered application's.
func (t *Tenant) ClientID() string { return t.app.ClientID }

// Allow adds a redirect URI to the registration.
func (t *Tenant) Allow(redirectURI string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.app.RedirectURIs = append(t.app.RedirectURIs, redirectURI)
}

// ServeHTTP is the issuer.
func (t *Tenant) ServeHTTP(w http.ResponseWriter, r *http.Request) { t.mux.ServeHTTP(w, r) }

// Rotate signs with a new key from now on; old keys stay published until Withdraw.
func (t *Tenant) Rotate() {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err) // the system has no randomness: nothing can be tested
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.keys = append(t.keys, signingKey{guid(), key})
}

// Withdraw stops publishing every key but the newest.
func (t *Tenant) Withdraw() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.keys = t.keys[len(t.keys)-1:]
}

// KeyFetches is how often the key set was asked for.
func (t *Tenant) KeyFetches() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.fetches
}

// Add puts a person into the tenant and returns them with what was missing filled in.
func (t *Tenant) Add(p Person) Person {
	if p.OID == "" {
		p.OID = guid()
	}
	if p.Mail == "" {
		p.Mail = p.UPN
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.people = append(t.people, p)
	return p
}

// AddTeam puts a group into the tenant.
func (t *Tenant) AddTeam(name string) Team {
	t.mu.Lock()
	defer t.mu.Unlock()
	g := &Team{OID: guid(), Name: name}
	t.groups = append(t.groups, g)
	return *g
}

// People lists everybody, in the order they came.
func (t *Tenant) People() []Person {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.people)
}

// Teams lists the groups, in the order they were made.
func (t *Tenant) Teams() []Team {
	t.mu.Lock()
	defer t.mu.Unlock()
	var teams []Team
	for _, g := range t.groups {
		teams = append(teams, Team{g.OID, g.Name, slices.Clone(g.Members)})
	}
	return teams
}

// Person finds somebody by object ID.
func (t *Tenant) Person(oid string) (Person, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	i := slices.IndexFunc(t.people, func(p Person) bool { return p.OID == oid })
	if i < 0 {
		return Person{}, false
	}
	return t.people[i], true
}

// change alters a person in place.
func (t *Tenant) change(oid string, f func(*Person)) (Person, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	i := slices.IndexFunc(t.people, func(p Person) bool { return p.OID == oid })
	if i < 0 {
		return Person{}, fmt.Errorf("nobody in the tenant has the object ID %s", oid)
	}
	f(&t.people[i])
	return t.people[i], nil
}

// SignIn makes oid the one who signs in without being asked; "" asks again.
func (t *Tenant) SignIn(oid string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.selected = oid
}

// code is an authorization code: good once, for a minute.
type code struct {
	person      string
	redirectURI string
	nonce       string
	challenge   string
	scope       string
	expires     time.Time
}

func (t *Tenant) path(format string) string { return "/" + t.ID + format }

func (t *Tenant) endpoint(format string) string { return t.url + t.path(format) }

func (t *Tenant) publicKeys() jose.JSONWebKeySet {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.fetches++
	set := jose.JSONWebKeySet{}
	for _, k := range t.keys {
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: &k.key.PublicKey, KeyID: k.id, Use: "sig", Algorithm: "RS256"})
	}
	return set
}

func withQuery(base string, q url.Values) string {
	u, err := url.Parse(base)
	if err != nil {
		return base
	}
	had := u.Query()
	for k, v := range q {
		had[k] = v
	}
	u.RawQuery = had.Encode()
	return u.String()
}
