package webhook

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"time"

	"sallyport/outbound"
	"sallyport/pemfile"
)

// The bounds of one attempt.
const (
	attemptTimeout  = 15 * time.Second
	maxResponseBody = 256 // bytes; the rest is not read
)

// endpoint is where events are posted, by the settings in force.
type endpoint struct {
	name      string
	url       string
	secrets   []secret
	events    []string // nil: all
	transport *http.Transport
}

// open reads the files that the settings name.
func (s Settings) open(dial func(ctx context.Context, network, addr string) (net.Conn, error)) (*endpoint, error) {
	u, err := s.URL.Parse(hints)
	if err != nil {
		return nil, fmt.Errorf("url %w", err)
	}
	secrets, err := readSecrets(s.SecretFile)
	if err != nil {
		return nil, fmt.Errorf("secret_file %w", err)
	}
	pool, err := pemfile.Pool(s.CAFile)
	if err != nil {
		return nil, fmt.Errorf("ca_file %w", err)
	}
	transport := outbound.Transport(&tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, dial)
	return &endpoint{s.name(), u.String(), secrets, s.Events, transport}, nil
}

// wants reports whether an event is sent to the endpoint.
func (e *endpoint) wants(event string) bool {
	return e.events == nil || slices.Contains(e.events, event)
}

// outcome is what came of one attempt.
type outcome struct {
	status     int           // 0: there was no response
	err        error         // nil: the event was delivered
	retryAfter time.Duration // what the receiver asks for; 0: nothing
	body       string        // where the response's body begins, if the event was not delivered
}

// post makes one attempt to deliver m. Its error does not show the address of the endpoint.
func (e *endpoint) post(ctx context.Context, m *message) outcome {
	ctx, stop := context.WithTimeout(ctx, attemptTimeout)
	defer stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, e.url, bytes.NewReader(m.body))
	if err != nil {
		return outcome{err: errors.New("the address cannot be used")} // which Check has excluded
	}
	at := timestamp(time.Now()) // of the attempt: the receiver rejects old ones
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "Sallyport")
	req.Header.Set("Webhook-Id", m.id)
	req.Header.Set("Webhook-Timestamp", at)
	req.Header.Set("Webhook-Signature", sign(e.secrets, m.id, at, m.body))
	resp, err := e.transport.RoundTrip(req) // unlike Client.Do, it does not look at redirects
	if err != nil {
		return outcome{err: outbound.Reason(err)}
	}
	defer resp.Body.Close()
	defer context.AfterFunc(ctx, func() { _ = resp.Body.Close() })() // after 101, net/http leaves the connection to us, and ctx does not end it
	return judge(resp)
}

// judge returns what a response means: only 2xx is success, and redirects are not followed (Standard Webhooks, "Delivery
// success and failure").
func judge(resp *http.Response) outcome {
	o := outcome{status: resp.StatusCode}
	if resp.StatusCode/100 == 2 {
		return o // the body may never come
	}
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxResponseBody)) // the status says all that matters
	o.body = string(body)
	o.err = outbound.Refusal(resp)
	o.retryAfter = outbound.RetryAfter(resp.Header.Get("Retry-After"), time.Now())
	return o
}
