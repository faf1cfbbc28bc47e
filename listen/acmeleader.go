package listen

import (
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"

	"sallyport/store"
)

// Of the replicas that share a store, the one that leads orders certificates. The others use what it stored, and respond to
// the challenges that it stored: the authority may connect to any of them.

// followEvery is how often a replica that does not lead looks for certificates that it lacks.
const followEvery = time.Second

// errNotLeading is the error of requests to the authority when another replica orders certificates.
var errNotLeading = errors.New("another replica orders certificates")

// gate lets requests to the authority pass only while this replica leads. autocert renews the certificates that it has
// obtained whenever they are due, whoever leads then.
type gate struct {
	next   http.RoundTripper
	leads  func(context.Context) (bool, error)
	closed atomic.Bool // for good
}

// RoundTrip implements [http.RoundTripper].
func (g *gate) RoundTrip(req *http.Request) (*http.Response, error) {
	leads, err := false, error(nil)
	if !g.closed.Load() {
		leads, err = g.leads(req.Context())
	}
	if leads {
		return g.next.RoundTrip(req)
	}
	if req.Body != nil {
		_ = req.Body.Close()
	}
	return nil, errors.Join(errNotLeading, err)
}

// authorityClient obtains certificates while this replica leads.
type authorityClient struct {
	*autocert.Manager
	gate *gate
}

// newClient puts a client in use that knows no certificate yet but those in the store. Those before order nothing any more.
func (m *acmeManager) newClient() {
	g := &gate{next: m.http.Transport, leads: m.leads}
	client := &http.Client{Transport: g, Timeout: m.http.Timeout}
	c := &authorityClient{gate: g, Manager: &autocert.Manager{Prompt: autocert.AcceptTOS, Cache: m.cache, HostPolicy: m.hostPolicy, Email: m.email,
		ExternalAccountBinding: m.eab, Client: &acme.Client{DirectoryURL: m.directory, HTTPClient: client, UserAgent: "sallyport"}}}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.client != nil {
		m.client.gate.closed.Store(true)
	}
	if m.byHTTP {
		_ = c.HTTPHandler(nil) // makes autocert ask for HTTP-01 challenges
	}
	m.client = c
}

// current returns the client in use.
func (m *acmeManager) current() *authorityClient {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.client
}

// lead reports whether this replica orders certificates now. When it begins to, it knows what the former one stored.
func (m *acmeManager) lead(ctx context.Context) bool {
	leads, err := m.leads(ctx)
	if err != nil { // the lease of the replica tells that the database cannot be reached
		m.log.Debug("it is not known which replica orders certificates", "err", err)
		return false
	}
	if leads && !m.leading {
		m.newClient()
		m.cache.forgetChallenges(ctx)
	}
	m.leading = leads
	return leads
}

// follow puts the certificates in use that another replica stored.
func (m *acmeManager) follow(ctx context.Context, hosts []string) {
	stored, err := m.cache.certificates(ctx, hosts)
	if err != nil {
		m.log.Debug("the certificates of other replicas cannot be read", "err", err)
		return
	}
	for host, cert := range stored {
		m.use(host, cert)
	}
}

// certificates returns the valid certificates in the store, by host.
func (c *certCache) certificates(ctx context.Context, hosts []string) (map[string]*tls.Certificate, error) {
	found := map[string]*tls.Certificate{}
	err := c.store.View(ctx, func(r store.Reader) error {
		for _, host := range hosts {
			stored, err := r.Get(c.key(host))
			switch {
			case errors.Is(err, store.ErrNotFound), errors.Is(err, store.ErrDamaged): // the replica that leads replaces a damaged one
				continue
			case err != nil:
				return err
			}
			cert, err := tls.X509KeyPair(stored, stored) // as autocert stores them: the key, then the chain
			if err == nil && cert.Leaf.VerifyHostname(host) == nil && time.Now().Before(cert.Leaf.NotAfter) {
				found[host] = &cert
			}
		}
		return nil
	})
	return found, err
}
