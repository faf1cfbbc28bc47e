package listen

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/crypto/acme"

	"sallyport/store"
)

// Certificates chooses the certificate for each TLS handshake: one loaded from files, which can be replaced while
// serving, or one for each host from an ACME authority. With tls.off there is none, and servers speak plain HTTP; so
// they do if it is nil.
type Certificates struct {
	off  bool
	file atomic.Pointer[tls.Certificate] // with tls.cert_file
	acme *acmeManager                    // with tls.acme, else nil

	before *Certificates // are presented until there are others; nil: none
}

// NewCertificates loads what t names. hosts returns the hosts that need a certificate, by the settings in force;
// certificates from ACME are cached in st.
func NewCertificates(t TLS, hosts func() []string, st store.Store, log *slog.Logger) (*Certificates, error) {
	c := &Certificates{off: t.Off}
	var err error
	switch {
	case t.Off:
	case t.ACME != nil:
		c.acme, err = newACMEManager(*t.ACME, hosts, st, log)
	default:
		var cert *tls.Certificate
		cert, err = LoadCertificate(t)
		c.file.Store(cert)
	}
	if err != nil {
		return nil, err
	}
	return c, nil
}

// LoadCertificate loads the certificate in the files that t names. It returns nil if t names no files.
func LoadCertificate(t TLS) (*tls.Certificate, error) {
	if t.CertFile == "" {
		return nil, nil
	}
	cert, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("loading the TLS certificate (tls.cert_file %s, tls.key_file %s): %w", t.CertFile, t.KeyFile, err)
	}
	return &cert, nil
}

// Run obtains and renews certificates from the ACME authority, if there is one, until ctx ends.
func (c *Certificates) Run(ctx context.Context) error {
	if c.acme != nil {
		return c.acme.Run(ctx)
	}
	<-ctx.Done()
	return ctx.Err()
}

// Reload is called after the settings have changed, with the certificate that [LoadCertificate] returned for them.
// New connections use it if certificates come from files. With ACME, Run looks at the hosts again. Certificates from
// elsewhere, or none, are other Certificates: see [TLS.SameSource].
func (c *Certificates) Reload(cert *tls.Certificate) {
	switch {
	case c.off:
	case c.acme != nil:
		c.acme.wakeUp()
	case cert != nil:
		c.file.Store(cert)
	}
}

// SameSource reports whether certificates come from where they come from by other settings: from files, from the same
// authority in the same way, or from nowhere. Which files does not matter.
func (t TLS) SameSource(other TLS) bool {
	return t.Off == other.Off && reflect.DeepEqual(t.ACME, other.ACME)
}

// Follow has c present the certificates of before, which came from elsewhere, for hosts for which the authority has not issued
// one yet. It is called before c is used.
func (c *Certificates) Follow(before *Certificates) {
	if c.acme == nil || before.off {
		return
	}
	c.before = &Certificates{acme: before.acme} // without what before has followed itself
	c.before.file.Store(before.file.Load())
}

// get is the GetCertificate hook of a [tls.Config].
func (c *Certificates) get(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if c.acme == nil {
		return c.file.Load(), nil
	}
	cert, err := c.acme.get(hello)
	if errors.Is(err, errNoCertificate) && c.before != nil && c.acme.hostPolicy(hello.Context(), nameIn(hello)) == nil {
		return c.before.get(hello)
	}
	return cert, err
}

// tlsConfig returns the settings of TLS, or nil for plain HTTP. Older versions, and cipher suites without forward
// secrecy or authenticated encryption, are not offered; there is no setting that adds them.
func (c *Certificates) tlsConfig() *tls.Config {
	if c == nil || c.off {
		return nil
	}
	t := &tls.Config{
		MinVersion: tls.VersionTLS12, // Microsoft Entra's provisioning speaks 1.2
		CipherSuites: []uint16{ // of 1.2; those of 1.3 are all good
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		},
		CurvePreferences: []tls.CurveID{tls.X25519MLKEM768, tls.X25519, tls.CurveP256},
		NextProtos:       []string{"h2", "http/1.1"},
		GetCertificate:   c.get,
	}
	if c.acme != nil {
		t.NextProtos = append(t.NextProtos, acme.ALPNProto)
	}
	return t
}

// InUse is a certificate that is presented to clients.
type InUse struct {
	Names     []string // that it is for
	NotBefore time.Time
	NotAfter  time.Time
	Renewed   bool // by ACME
}

// InUse returns the certificates in use.
func (c *Certificates) InUse() (list []InUse) {
	if c.acme != nil {
		for _, cert := range c.acme.all() {
			list = append(list, inUse(cert, true))
		}
	} else if cert := c.file.Load(); cert != nil {
		list = append(list, inUse(cert, false))
	}
	return list
}

func inUse(cert *tls.Certificate, renewed bool) InUse {
	names := cert.Leaf.DNSNames
	if len(names) == 0 && cert.Leaf.Subject.CommonName != "" {
		names = []string{cert.Leaf.Subject.CommonName}
	}
	return InUse{names, cert.Leaf.NotBefore, cert.Leaf.NotAfter, renewed}
}

// expiry returns when the first of the certificates in use expires. ok is false if there is none.
func (c *Certificates) expiry() (first time.Time, ok bool) {
	for _, cert := range c.InUse() {
		if !ok || cert.NotAfter.Before(first) {
			first, ok = cert.NotAfter, true
		}
	}
	return first, ok
}

var (
	expiryDesc = prometheus.NewDesc("sallyport_tls_certificate_expiry_timestamp_seconds",
		"When the first of the TLS certificates in use expires; absent where there is none.", nil, nil)
	missingDesc = prometheus.NewDesc("sallyport_tls_hosts_without_certificate",
		"Configured hosts for which the ACME authority has issued no certificate, or whose certificate has expired.", nil, nil)
	failedDesc = prometheus.NewDesc("sallyport_tls_orders_failed_total",
		"Certificates ordered from the ACME authority but not obtained.", nil, nil)
)

// Collectors returns the metrics of c.
func (c *Certificates) Collectors() []prometheus.Collector { return []prometheus.Collector{c} }

// Describe implements [prometheus.Collector].
func (c *Certificates) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{expiryDesc, missingDesc, failedDesc} {
		out <- d
	}
}

// Collect implements [prometheus.Collector].
func (c *Certificates) Collect(out chan<- prometheus.Metric) {
	if expiry, ok := c.expiry(); ok {
		out <- prometheus.MustNewConstMetric(expiryDesc, prometheus.GaugeValue, float64(expiry.Unix()))
	}
	if c.acme != nil {
		out <- prometheus.MustNewConstMetric(missingDesc, prometheus.GaugeValue, float64(c.acme.missing()))
		out <- prometheus.MustNewConstMetric(failedDesc, prometheus.CounterValue, float64(c.acme.failed.Load()))
	}
}

var errNoCertificate = errors.New("there is no certificate for that name")
