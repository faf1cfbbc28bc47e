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
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
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
	name    string
	url     string
	secrets []secret
	events  []string // nil: all
	client  *http.Client
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
	pool, err := certPool(s.CAFile)
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
	client := &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return &endpoint{s.name(), u.String(), secrets, s.Events, client}, nil
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
		return outcome{err: withoutURL(err)}
	}
	at := timestamp(time.Now()) // of the attempt: the receiver rejects old ones
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "Sallyport")
	req.Header.Set("Webhook-Id", m.id)
	req.Header.Set("Webhook-Timestamp", at)
	req.Header.Set("Webhook-Signature", sign(e.secrets, m.id, at, m.body))
	resp, err := e.client.Do(req)
	if err != nil {
		return outcome{err: withoutURL(err)}
	}
	defer resp.Body.Close()
	return judge(resp)
}

// judge returns what a response means: only 2xx is success, and redirects are not followed (Standard Webhooks, "Delivery
// success and failure").
func judge(resp *http.Response) outcome {
	o := outcome{status: resp.StatusCode}
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxResponseBody)) // the status says all that matters
	if resp.StatusCode/100 == 2 {
		return o
	}
	o.body = string(body)
	o.err = fmt.Errorf("the receiver responded with %d %s", resp.StatusCode, http.StatusText(resp.StatusCode))
	if resp.StatusCode/100 == 3 {
		o.err = fmt.Errorf("%w, which is not followed; configure the address that it leads to", o.err)
	}
	o.retryAfter = retryAfter(resp.Header.Get("Retry-After"), time.Now())
	return o
}

// maxError is how much of an error is told, in bytes: it may quote what the receiver sent.
const maxError = 300

// withoutURL returns the error of an attempt without the address, which may have a secret in it.
func withoutURL(err error) error {
	if withURL := (*url.Error)(nil); errors.As(err, &withURL) {
		err = withURL.Err
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("the receiver did not respond within %s", attemptTimeout)
	}
	if text := err.Error(); len(text) > maxError {
		return errors.New(strings.ToValidUTF8(text[:maxError], "") + "…")
	}
	return err
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
