package listen

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/acme"
	"golang.org/x/sync/errgroup"

	"sallyport/pemfile"
	"sallyport/store"
)

const (
	reconcileEvery = 15 * time.Second // finds hosts without a certificate, and certificates that were renewed
	firstBackoff   = 2 * time.Minute  // after a failed order; autocert itself remembers a failure for a minute
	maxBackoff     = 2 * time.Hour    // authorities limit failures by the hour
	maxConcurrent  = 4                // at the same time
)

// acmeManager obtains a certificate for each configured host from an ACME authority, and renews it.
//
// A client that connects must never cause an order: only Run orders, for the hosts of the settings in force. A
// handshake uses a certificate that exists already, or fails.
type acmeManager struct {
	account
	cache   *certCache
	leads   func(context.Context) (bool, error) // whether this process, of those that share the store, orders
	leading bool                                // at the last look; only Run uses it
	hosts   func() []string                     // of the settings in force
	log     *slog.Logger
	failed  atomic.Int64  // orders
	wake    chan struct{} // the settings have changed

	mu       sync.RWMutex // guards the fields below
	client   *authorityClient
	byHTTP   bool // whether the authority may validate hosts by HTTP-01
	inUse    map[string]*tls.Certificate
	backoffs map[string]backoff
}

// account is how the authority is spoken to.
type account struct {
	directory string
	email     string
	eab       *acme.ExternalAccountBinding
	http      *http.Client
}

// backoff is how long no certificate is ordered for a host after an order failed.
type backoff struct {
	until time.Time
	delay time.Duration // the next one is twice as long
}

func newACMEManager(a ACME, hosts func() []string, st store.Store, log *slog.Logger) (*acmeManager, error) {
	client, err := acmeHTTPClient(a.CAFile)
	if err != nil {
		return nil, err
	}
	m := &acmeManager{account: account{directory: a.Directory(), email: a.Email, http: client}, cache: newCertCache(st, a.Directory(), log),
		leads: func(ctx context.Context) (bool, error) { return store.Leads(ctx, st) },
		hosts: hosts, log: log, wake: make(chan struct{}, 1), inUse: map[string]*tls.Certificate{}, backoffs: map[string]backoff{}}
	if a.EAB != nil {
		if m.eab, err = readEAB(*a.EAB); err != nil {
			return nil, err
		}
	}
	m.newClient()
	return m, nil
}

// acmeHTTPClient returns a client for requests to the authority. caFile holds the certificates that sign the
// authority's own; empty means those of the system.
func acmeHTTPClient(caFile string) (*http.Client, error) {
	roots, err := pemfile.Pool(caFile)
	if err != nil {
		return nil, fmt.Errorf("tls.acme.ca_file %w", err)
	}
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	return &http.Client{Transport: t, Timeout: time.Minute}, nil
}

func readEAB(e EAB) (*acme.ExternalAccountBinding, error) {
	text, err := os.ReadFile(e.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("reading tls.acme.eab.key_file: %w", err)
	}
	key, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(strings.TrimSpace(string(text)), "="))
	if err != nil || len(key) == 0 { // not wrapped: err quotes the key
		return nil, fmt.Errorf("tls.acme.eab.key_file %s does not hold a key in base64url; write it as the authority gave it", e.KeyFile)
	}
	return &acme.ExternalAccountBinding{KID: e.KeyID, Key: key}, nil
}

// Run obtains missing certificates until ctx ends.
func (m *acmeManager) Run(ctx context.Context) error {
	for {
		if m.reconcile(ctx); ctx.Err() != nil {
			return ctx.Err()
		}
		pause := reconcileEvery
		if !m.leading && m.missing() > 0 {
			pause = followEvery
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-m.wake:
		}
		timer.Stop()
	}
}

// wakeUp makes Run reconcile now. It does not wait.
func (m *acmeManager) wakeUp() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// reconcile obtains what is missing. An order can take minutes and does not end with ctx, so reconcile returns without
// waiting for orders when ctx ends.
func (m *acmeManager) reconcile(ctx context.Context) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		m.obtainAll(ctx)
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
}

func (m *acmeManager) obtainAll(ctx context.Context) {
	hosts := m.hosts()
	m.forgetOthers(hosts)
	if !m.lead(ctx) {
		m.follow(ctx, hosts)
		return
	}
	var g errgroup.Group
	g.SetLimit(maxConcurrent)
	for _, host := range hosts {
		if m.due(host) {
			g.Go(func() error {
				if ctx.Err() == nil {
					m.obtain(host)
				}
				return nil
			})
		}
	}
	_ = g.Wait()
}

// forgetOthers forgets the state of every host that is not in hosts.
func (m *acmeManager) forgetOthers(hosts []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for host := range m.inUse {
		if !slices.Contains(hosts, host) {
			delete(m.inUse, host)
		}
	}
	for host := range m.backoffs {
		if !slices.Contains(hosts, host) {
			delete(m.backoffs, host)
		}
	}
}

func (m *acmeManager) due(host string) bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return !time.Now().Before(m.backoffs[host].until)
}

// obtain puts the certificate of host into use, from the cache or from the authority.
func (m *acmeManager) obtain(host string) {
	cert, err := m.current().GetCertificate(&tls.ClientHelloInfo{ServerName: host, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}})
	if errors.Is(err, errNotLeading) {
		m.log.Info("another replica began to order certificates", "host", host)
		return
	}
	if err != nil {
		m.failed.Add(1)
		until := m.postpone(host)
		m.log.Error("no certificate for a host; check that the authority can reach port 443 of the host, or port 80 if listen.http is set",
			"host", host, "err", err, "retry", until.UTC().Format(time.RFC3339))
		return
	}
	m.use(host, cert)
}

// use puts a certificate in use.
func (m *acmeManager) use(host string, cert *tls.Certificate) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.backoffs, host)
	if old := m.inUse[host]; old == nil || !old.Leaf.Equal(cert.Leaf) {
		m.log.Info("certificate in use", "host", host, "expires", cert.Leaf.NotAfter.UTC().Format(time.RFC3339))
		m.inUse[host] = cert
	}
}

// postpone doubles the delay of host, and returns when the next order may be made.
func (m *acmeManager) postpone(host string) time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	delay := min(cmp.Or(2*m.backoffs[host].delay, firstBackoff), maxBackoff)
	m.backoffs[host] = backoff{time.Now().Add(delay), delay}
	return m.backoffs[host].until
}

// hostPolicy rejects hosts that are not configured.
func (m *acmeManager) hostPolicy(_ context.Context, host string) error {
	if !slices.Contains(m.hosts(), host) {
		return errNoCertificate
	}
	return nil
}

// nameIn returns the host that hello names, in its one spelling.
func nameIn(hello *tls.ClientHelloInfo) string {
	return strings.ToLower(strings.TrimSuffix(hello.ServerName, "."))
}

// get returns the certificate in use for the host that hello names. For a handshake by which the authority validates
// the host (TLS-ALPN-01, RFC 8737), it returns the challenge certificate.
func (m *acmeManager) get(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	host := nameIn(hello)
	if slices.Equal(hello.SupportedProtos, []string{acme.ALPNProto}) && m.hostPolicy(hello.Context(), host) == nil {
		return m.current().GetCertificate(&tls.ClientHelloInfo{ServerName: host, SupportedProtos: hello.SupportedProtos})
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	if cert := m.inUse[host]; cert != nil {
		return cert, nil
	}
	return nil, errNoCertificate
}

// all returns the certificates in use.
func (m *acmeManager) all() []*tls.Certificate {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return slices.Collect(maps.Values(m.inUse))
}

// missing returns the number of hosts whose certificate does not exist or has expired.
func (m *acmeManager) missing() (n int) {
	hosts := m.hosts()
	m.mu.RLock()
	defer m.mu.RUnlock()
	for _, host := range hosts {
		if cert := m.inUse[host]; cert == nil || time.Now().After(cert.Leaf.NotAfter) {
			n++
		}
	}
	return n
}
