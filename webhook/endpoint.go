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
	"strconv"
	"strings"
	"time"

	"sallyport/pemfile"
)

// The bounds of one attempt.
const (
	attemptTimeout    = 15 * time.Second
	maxResponseHeader = 16 << 10 // bytes
	maxResponseBody   = 256      // bytes; the rest is not read
	maxRetryAfter     = time.Hour
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
	u, err := s.URL.parse()
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
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	transport.MaxResponseHeaderBytes = maxResponseHeader
	transport.DisableCompression = true
	if dial != nil {
		transport.DialContext = dial
	}
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
		return outcome{err: reasonOf(err)}
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
	o.err = fmt.Errorf("the receiver responded with %d %s", resp.StatusCode, http.StatusText(resp.StatusCode))
	if resp.StatusCode/100 == 3 {
		o.err = fmt.Errorf("%w, which is not followed; configure the address that it leads to", o.err)
	}
	o.retryAfter = retryAfter(resp.Header.Get("Retry-After"), time.Now())
	return o
}

// reasonOf returns why an attempt got no response. Errors that may quote what the receiver sent are not passed on: it may
// send back the address, which may have a secret in it.
func reasonOf(err error) error {
	var ofNetwork *net.OpError
	var ofCertificate *tls.CertificateVerificationError
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("the receiver did not respond within %s", attemptTimeout)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("the receiver closed the connection without a response")
	case errors.As(err, &ofNetwork), errors.As(err, &ofCertificate), errors.Is(err, http.ErrSchemeMismatch), errors.Is(err, context.Canceled),
		strings.HasPrefix(err.Error(), "tls: "), strings.HasPrefix(err.Error(), "x509: "):
		return err
	}
	return fmt.Errorf("what came back is not HTTP, or has a header of over %d bytes; or a proxy on the way refused the connection", maxResponseHeader)
}

// retryAfter returns how long the header Retry-After asks to wait: seconds or a date (RFC 9110, section 10.2.3), an hour
// at most. It returns 0 if the header says nothing that can be understood.
func retryAfter(header string, now time.Time) time.Duration {
	var wait time.Duration
	if seconds, err := strconv.ParseUint(header, 10, 31); err == nil {
		wait = time.Duration(seconds) * time.Second
	} else if at, err := http.ParseTime(header); err == nil {
		wait = at.Sub(now)
	}
	return min(max(wait, 0), maxRetryAfter)
}
