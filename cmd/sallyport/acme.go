package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"
	"golang.org/x/sync/errgroup"

	"sallyport/config"
	"sallyport/store"
)

const (
	lookEvery    = 15 * time.Second // for hosts that have no certificate yet, and for renewed ones
	firstPause   = 2 * time.Minute  // after a failed order; autocert itself remembers one for a minute
	longestPause = 2 * time.Hour    // doubled up to here: authorities bound failures by the hour
	ordersAtOnce = 4
)

// orders get a certificate for each of our hosts from an ACME authority, and keep
// them fresh.
//
// What must hold: nobody who connects brings an order about. Run alone orders, for
// the hosts of the settings in force; a handshake finds what is there, or fails.
type orders struct {
	authority *autocert.Manager
	kept      *keptCertificates
	hosts     func() []string
	log       *slog.Logger
	failed    atomic.Int64  // orders
	wake      chan struct{} // the settings have changed

	mu     sync.RWMutex // guards what follows
	inUse  map[string]*tls.Certificate
	pauses map[string]pause
}

// pause is how long a host is left alone after failed orders.
type pause struct {
	until time.Time
	last  time.Duration
}

// newOrders starts nothing. hosts are those of the settings in force.
func newOrders(a config.ACME, hosts func() []string, st store.Store, log *slog.Logger) (*orders, error) {
	client, err := authorityClient(a.CAFile)
	if err != nil {
		return nil, err
	}
	o := &orders{kept: newKeptCertificates(st, a.Directory(), log), hosts: hosts, log: log, wake: make(chan struct{}, 1),
		inUse: map[string]*tls.Certificate{}, pauses: map[string]pause{}}
	o.authority = &autocert.Manager{Prompt: autocert.AcceptTOS, Cache: o.kept, HostPolicy: o.ours, Email: a.Email,
		Client: &acme.Client{DirectoryURL: a.Directory(), HTTPClient: client, UserAgent: "sallyport"}}
	if a.EAB == nil {
		return o, nil
	}
	o.authority.ExternalAccountBinding, err = readBinding(*a.EAB)
	return o, err
}

// authorityClient asks the authority, whose server's certificate caFile signs.
func authorityClient(caFile string) (*http.Client, error) {
	t := http.DefaultTransport.(*http.Transport).Clone()
	if caFile == "" {
		return &http.Client{Transport: t, Timeout: time.Minute}, nil
	}
	pem, err := os.ReadFile(caFile)
	if err != nil {
		return nil, fmt.Errorf("reading tls.acme.ca_file: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("tls.acme.ca_file %s holds no PEM certificate; write one there", caFile)
	}
	t.TLSClientConfig = &tls.Config{RootCAs: roots}
	return &http.Client{Transport: t, Timeout: time.Minute}, nil
}

func readBinding(e config.EAB) (*acme.ExternalAccountBinding, error) {
	text, err := os.ReadFile(e.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("reading tls.acme.eab.key_file: %w", err)
	}
	key, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(strings.TrimSpace(string(text)), "="))
	if err != nil || len(key) == 0 { // err would tell of the key
		return nil, fmt.Errorf("tls.acme.eab.key_file %s does not hold a key in base64url; write it as the authority gave it", e.KeyFile)
	}
	return &acme.ExternalAccountBinding{KID: e.KeyID, Key: key}, nil
}

// Run orders what is missing until ctx ends.
func (o *orders) Run(ctx context.Context) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		o.look(ctx)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		case <-o.wake:
		}
	}
}

// again has Run look at the hosts now; it waits for nothing.
func (o *orders) again() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// look makes sure of each host's certificate. An order takes minutes, and no notice of
// ctx, so one under way is not waited for when ctx ends.
func (o *orders) look(ctx context.Context) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		o.secureAll(ctx)
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
}

func (o *orders) secureAll(ctx context.Context) {
	hosts := o.hosts()
	o.forget(hosts)
	var some errgroup.Group
	some.SetLimit(ordersAtOnce)
	for _, host := range hosts {
		if o.due(host) {
			some.Go(func() error {
				if ctx.Err() == nil {
					o.secure(host)
				}
				return nil
			})
		}
	}
	_ = some.Wait()
}

// forget what is known of hosts that are ours no more.
func (o *orders) forget(hosts []string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for host := range o.inUse {
		if !slices.Contains(hosts, host) {
			delete(o.inUse, host)
		}
	}
	for host := range o.pauses {
		if !slices.Contains(hosts, host) {
			delete(o.pauses, host)
		}
	}
}

func (o *orders) due(host string) bool {
	o.mu.RLock()
	defer o.mu.RUnlock()
	return !time.Now().Before(o.pauses[host].until)
}

// secure puts in use what the authority has given for host, now or before.
func (o *orders) secure(host string) {
	cert, err := o.authority.GetCertificate(&tls.ClientHelloInfo{ServerName: host, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}})
	if err != nil {
		o.failed.Add(1)
		until := o.postpone(host)
		o.log.Error("no certificate for a host; see that the authority reaches its port 443, or 80 where listen.http is", "host", host, "err", err, "again", until.UTC().Format(time.RFC3339))
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.pauses, host)
	if old := o.inUse[host]; old == nil || !old.Leaf.Equal(cert.Leaf) {
		o.log.Info("certificate in use", "host", host, "expires", cert.Leaf.NotAfter.UTC().Format(time.RFC3339))
		o.inUse[host] = cert
	}
}

// postpone doubles the pause of host.
func (o *orders) postpone(host string) time.Time {
	o.mu.Lock()
	defer o.mu.Unlock()
	next := min(cmp.Or(2*o.pauses[host].last, firstPause), longestPause)
	o.pauses[host] = pause{time.Now().Add(next), next}
	return o.pauses[host].until
}

// ours is the policy of what may be ordered.
func (o *orders) ours(_ context.Context, host string) error {
	if !slices.Contains(o.hosts(), host) {
		return errNoCertificate
	}
	return nil
}

// find is the certificate in use for the name in hello or, where the authority
// looks whether that name is ours (RFC 8737), the one that proves it.
func (o *orders) find(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	host := strings.ToLower(strings.TrimSuffix(hello.ServerName, "."))
	if slices.Equal(hello.SupportedProtos, []string{acme.ALPNProto}) && o.ours(hello.Context(), host) == nil {
		return o.authority.GetCertificate(&tls.ClientHelloInfo{ServerName: host, SupportedProtos: hello.SupportedProtos})
	}
	o.mu.RLock()
	defer o.mu.RUnlock()
	if cert := o.inUse[host]; cert != nil {
		return cert, nil
	}
	return nil, errNoCertificate
}

// expiry is when the first of the certificates in use ends.
func (o *orders) expiry() (first time.Time, any bool) {
	o.mu.RLock()
	defer o.mu.RUnlock()
	for _, cert := range o.inUse {
		if end := cert.Leaf.NotAfter; !any || end.Before(first) {
			first, any = end, true
		}
	}
	return first, any
}

// missing is how many of our hosts have no certificate, or one that has expired.
func (o *orders) missing() (n int) {
	hosts := o.hosts()
	o.mu.RLock()
	defer o.mu.RUnlock()
	for _, host := range hosts {
		if cert := o.inUse[host]; cert == nil || time.Now().After(cert.Leaf.NotAfter) {
			n++
		}
	}
	return n
}

// nothingElse answers no request on a connection that was opened to see a proof that a
// name is ours (RFC 8737 §4).
func (c *certificates) nothingElse(next http.Handler) http.Handler {
	if c == nil || c.orders == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.TLS != nil && r.TLS.NegotiatedProtocol == acme.ALPNProto {
			panic(http.ErrAbortHandler)
		}
		next.ServeHTTP(w, r)
	})
}

const challengePath = "/.well-known/acme-challenge/"

// challenges answers the authority's questions by HTTP-01 (RFC 8555 §8.3), and
// leaves every other request to next.
func (o *orders) challenges(next http.Handler) http.Handler {
	_ = o.authority.HTTPHandler(nil) // from now on, such questions are asked for
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, is := strings.CutPrefix(r.URL.Path, challengePath)
		if !is {
			next.ServeHTTP(w, r)
			return
		}
		answer, err := o.kept.Get(r.Context(), token+tokenMark)
		if err != nil {
			w.Header().Set("Connection", "close")
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("Connection", "close")
		_, _ = w.Write(answer)
	})
}
