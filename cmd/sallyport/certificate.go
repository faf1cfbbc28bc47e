package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/crypto/acme"

	"sallyport/config"
)

// certificates are what the public and scim listeners show: one from files, which
// can be replaced while serving, or one for each host from an ACME authority.
type certificates struct {
	file   atomic.Pointer[tls.Certificate]
	orders *orders // nil with files
}

// loadCertificate reads the files that t names; nil where it names none.
func loadCertificate(t config.TLS) (*tls.Certificate, error) {
	if t.CertFile == "" {
		return nil, nil
	}
	pair, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("loading the TLS certificate (tls.cert_file %s, tls.key_file %s): %w", t.CertFile, t.KeyFile, err)
	}
	return &pair, nil
}

// follow is told of new settings, and of the certificate that their files hold, if
// they name some: it is for new connections. TLS, and whether it is from files, is
// changed by a restart only.
func (c *certificates) follow(next *tls.Certificate) {
	switch {
	case c == nil:
	case c.orders != nil:
		c.orders.again()
	case next != nil:
		c.file.Store(next)
	}
}

// find is the certificate for whoever says hello.
func (c *certificates) find(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if c.orders != nil {
		return c.orders.find(hello)
	}
	return c.file.Load(), nil
}

// config is how TLS is spoken. What it leaves out (older versions, suites without
// forward secrecy or authenticated encryption) nobody gets, not even by asking.
func (c *certificates) config() *tls.Config {
	if c == nil {
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
		GetCertificate:   c.find,
	}
	if c.orders != nil {
		t.NextProtos = append(t.NextProtos, acme.ALPNProto)
	}
	return t
}

// expiry is when the first of the certificates in use ends.
func (c *certificates) expiry() (time.Time, bool) {
	if c == nil {
		return time.Time{}, false
	}
	if c.orders != nil {
		return c.orders.expiry()
	}
	return c.file.Load().Leaf.NotAfter, true
}

var (
	expiryDesc = prometheus.NewDesc("sallyport_tls_certificate_expiry_timestamp_seconds",
		"When the first of the TLS certificates in use expires; absent where there is none.", nil, nil)
	missingDesc = prometheus.NewDesc("sallyport_tls_hosts_without_certificate",
		"Hosts of ours that the ACME authority has given no certificate for, or that have an expired one.", nil, nil)
	failedDesc = prometheus.NewDesc("sallyport_tls_orders_failed_total",
		"Certificates ordered of the ACME authority and not obtained.", nil, nil)
)

// Collectors are the metrics of certificates.
func (c *certificates) Collectors() []prometheus.Collector { return []prometheus.Collector{c} }

// Describe is prometheus.Collector's.
func (c *certificates) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{expiryDesc, missingDesc, failedDesc} {
		out <- d
	}
}

// Collect is prometheus.Collector's.
func (c *certificates) Collect(out chan<- prometheus.Metric) {
	if at, any := c.expiry(); any {
		out <- prometheus.MustNewConstMetric(expiryDesc, prometheus.GaugeValue, float64(at.Unix()))
	}
	if c != nil && c.orders != nil {
		out <- prometheus.MustNewConstMetric(missingDesc, prometheus.GaugeValue, float64(c.orders.missing()))
		out <- prometheus.MustNewConstMetric(failedDesc, prometheus.CounterValue, float64(c.orders.failed.Load()))
	}
}

var errNoCertificate = errors.New("there is no certificate for that name")
