package oidc

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"time"
)

const (
	requestTimeout = 10 * time.Second // of one request to the provider
	maxResponse    = 1 << 20          // body of one response, in bytes
)

// newClient returns a client for requests to the provider. It trusts authorities (nil:
// those of the system), follows no redirects and bounds the size of responses.
func newClient(authorities *x509.CertPool) *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{RootCAs: authorities, MinVersion: tls.VersionTLS12}
	return &http.Client{Timeout: requestTimeout, Transport: limitedTransport{transport}}
}

// limitedTransport bounds responses by maxResponse, and rejects redirects and other protocols.
type limitedTransport struct{ next http.RoundTripper }

// RoundTrip rejects redirects itself because the error of [http.Client] would quote the
// Location, which may repeat a secret that we sent.
func (t limitedTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := t.next.RoundTrip(repeatable(r))
	if err != nil {
		return nil, err
	}
	if resp.StatusCode == http.StatusSwitchingProtocols { // net/http never ends such a connection by itself
		_ = resp.Body.Close()
		return nil, errors.New("the provider responded with 101 Switching Protocols, which nobody asked for")
	}
	if resp.Header.Get("Location") != "" || resp.StatusCode/100 == 3 {
		_ = resp.Body.Close()
		return nil, fmt.Errorf("the provider responded with a redirect (%d), which is not followed", resp.StatusCode)
	}
	resp.Body = http.MaxBytesReader(nil, resp.Body, maxResponse)
	return resp, nil
}

// repeatable returns r so that [http.Transport] sends it once more if the provider closed the kept connection just then. It
// does that with a GET anyway. To ask for tokens twice is harmless: a code is worth something once (RFC 6749 §4.1.2).
func repeatable(r *http.Request) *http.Request {
	r = r.Clone(r.Context())
	r.Header["Idempotency-Key"] = []string{} // without values, it is not sent
	return r
}
