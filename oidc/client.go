package oidc

import (
	"crypto/tls"
	"crypto/x509"
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
	return &http.Client{Timeout: askTimeout, Transport: careful{transport}}, nil
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

// careful is a transport whose answers end at answerSize and are no redirects.
type careful struct{ next http.RoundTripper }

// RoundTrip is next's. A redirect is an error here already: the client's own would
// quote the Location, which may repeat what we sent.
func (c careful) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := c.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if resp.Header.Get("Location") != "" || resp.StatusCode/100 == 3 {
		resp.Body.Close()
		return nil, fmt.Errorf("the provider answered with a redirect (%d), which is not followed", resp.StatusCode)
	}
	resp.Body = http.MaxBytesReader(nil, resp.Body, answerSize)
	return resp, nil
}
