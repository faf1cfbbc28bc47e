// Package outbound has what is common to everything that is posted to other programs: addresses that are never printed, and
// what their responses and errors mean.
package outbound

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// URL is the address of a receiver. Some receivers know the sender by a secret in it, so it is never printed.
type URL string

const redacted = "[secret]"

// String keeps the address out of text.
func (URL) String() string { return redacted }

// GoString keeps the address out of %#v.
func (URL) GoString() string { return redacted }

// MarshalText keeps the address out of JSON and YAML.
func (URL) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// LogValue keeps the address out of slog.
func (URL) LogValue() slog.Value { return slog.StringValue(redacted) }

// Hints are the ends of the errors of [URL.Parse].
type Hints struct {
	Example     string // what to write, such as "write one such as https://example.com"
	Credentials string // what to do in place of writing a user or a password
}

// Parse returns the address, or an error that does not show it.
func (u URL) Parse(h Hints) (*url.URL, error) {
	parsed, err := url.Parse(string(u))
	switch {
	case u == "":
		return nil, errors.New("is missing; " + h.Example)
	case err != nil || parsed.Hostname() == "":
		return nil, errors.New("is not a URL with a scheme and a host; " + h.Example)
	case parsed.User != nil:
		return nil, errors.New("has a user or a password in it; " + h.Credentials)
	case strings.Contains(string(u), "#"):
		return nil, errors.New("has a fragment, which is never sent; leave out # and what comes after it")
	case parsed.Scheme == "https", parsed.Scheme == "http" && IsLocal(parsed.Hostname()):
		return parsed, nil
	case parsed.Scheme == "http":
		return nil, errors.New("would be sent in the clear; write https:// (http:// is for localhost alone)")
	}
	return nil, errors.New("is neither https nor http; write https://")
}

// IsLocal reports whether host is on this machine.
func IsLocal(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || ip != nil && ip.IsLoopback()
}

// maxHeader is how much of the header of a response is read, in bytes.
const maxHeader = 16 << 10

// Dial connects to an address, as [net.Dialer.DialContext] does.
type Dial func(ctx context.Context, network, address string) (net.Conn, error)

// Transport returns a transport that reads little of what a receiver sends. dial may be nil.
func Transport(config *tls.Config, dial Dial) *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.TLSClientConfig = config
	t.MaxResponseHeaderBytes = maxHeader
	t.DisableCompression = true
	if dial != nil {
		t.DialContext = dial
	}
	return t
}

// Refusal returns what a response means that is not of success: redirects are not followed.
func Refusal(resp *http.Response) error {
	err := fmt.Errorf("the receiver responded with %d %s", resp.StatusCode, http.StatusText(resp.StatusCode))
	if resp.StatusCode/100 == 3 {
		err = fmt.Errorf("%w, which is not followed; configure the address that it leads to", err)
	}
	return err
}

// Reason returns why there was no response. Errors that may quote what the receiver sent are not passed on: it may send
// back the address or the credentials.
func Reason(err error) error {
	var ofNetwork *net.OpError
	var ofCertificate *tls.CertificateVerificationError
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return errors.New("the receiver did not respond in time")
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("the receiver closed the connection without a response")
	case errors.As(err, &ofNetwork), errors.As(err, &ofCertificate), errors.Is(err, http.ErrSchemeMismatch), errors.Is(err, context.Canceled),
		strings.HasPrefix(err.Error(), "tls: "), strings.HasPrefix(err.Error(), "x509: "):
		return err
	}
	return fmt.Errorf("what came back is not HTTP, or has a header of over %d bytes; or a proxy on the way refused the connection", maxHeader)
}

// MaxRetryAfter bounds how long a receiver can ask to wait.
const MaxRetryAfter = time.Hour

// RetryAfter returns how long the header Retry-After asks to wait: seconds or a date (RFC 9110, section 10.2.3), an hour
// at most. It returns 0 if the header says nothing that can be understood.
func RetryAfter(header string, now time.Time) time.Duration {
	var wait time.Duration
	if seconds, err := strconv.ParseUint(header, 10, 31); err == nil {
		wait = time.Duration(seconds) * time.Second
	} else if at, err := http.ParseTime(header); err == nil {
		wait = at.Sub(now)
	}
	return min(max(wait, 0), MaxRetryAfter)
}
