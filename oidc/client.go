package oidc

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"
)

const (
	askTimeout = 10 * time.Second // for one answer of the provider
	answerSize = 1 << 20          // of one answer, in bytes
)

// newClient asks the provider: with its CA, following no redirects, reading
// bounded answers.
func newClient(caFile string) (*http.Client, error) {
	pool, err := roots(caFile)
	if err != nil {
		return nil, fmt.Errorf("oidc.ca_file %w", err)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	return &http.Client{
		Timeout:   askTimeout,
		Transport: bounded{transport},
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return errors.New("the provider answered with a redirect, which is not followed")
		},
	}, nil
}

// roots are the certificates in path; nil, for the system's, where there is no path.
func roots(path string) (*x509.CertPool, error) {
	if path == "" {
		return nil, nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("cannot be read: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data) {
		return nil, fmt.Errorf("%s holds no PEM certificate", path)
	}
	return pool, nil
}

// bounded is a transport whose answers end at answerSize.
type bounded struct{ next http.RoundTripper }

// RoundTrip is next's, with a body that fails beyond answerSize.
func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := b.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	resp.Body = http.MaxBytesReader(nil, resp.Body, answerSize)
	return resp, nil
}
