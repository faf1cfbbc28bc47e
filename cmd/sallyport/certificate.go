package main

import (
	"crypto/tls"
	"fmt"
	"sync/atomic"

	"sallyport/config"
)

// certificate is the TLS certificate in use; it can be replaced while serving.
type certificate struct {
	current atomic.Pointer[tls.Certificate]
}

// loadCertificate reads the files that t names; nil where TLS is off.
func loadCertificate(t config.TLS) (*certificate, error) {
	if t.Off {
		return nil, nil
	}
	pair, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("loading the TLS certificate (tls.cert_file %s, tls.key_file %s): %w", t.CertFile, t.KeyFile, err)
	}
	c := &certificate{}
	c.current.Store(&pair)
	return c, nil
}

// replace puts next in use for new connections. TLS itself is switched on or
// off only by a restart, so with either nil it does nothing.
func (c *certificate) replace(next *certificate) {
	if c != nil && next != nil {
		c.current.Store(next.current.Load())
	}
}

func (c *certificate) config() *tls.Config {
	if c == nil {
		return nil
	}
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"h2", "http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.current.Load(), nil },
	}
}
