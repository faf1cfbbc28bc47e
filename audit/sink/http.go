package sink

import (
	"bytes"
	"compress/gzip"
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
)

// The bounds of what is read of a response, in bytes.
const (
	maxResponseHeader = 16 << 10
	maxResponseBody   = 64 << 10
)

// encoding is how a batch becomes the body of a request.
type encoding interface {
	encode(items []item) (body []byte, contentType string, err error)
	// rejected returns how many items of an accepted batch the body of the response says were not accepted.
	rejected(body []byte, contentType string) int
}

// ndjson writes one JSON object a line.
type ndjson struct{}

func (ndjson) encode(items []item) (body []byte, contentType string, err error) {
	return joinLines(items), "application/x-ndjson", nil
}

func joinLines(items []item) (text []byte) {
	for _, i := range items {
		text = append(append(text, i.text...), '\n')
	}
	return text
}

func (ndjson) rejected([]byte, string) int { return 0 }

// httpReceiver posts batches.
type httpReceiver struct {
	endpoint  Endpoint
	encoding  encoding
	url       string
	transport *http.Transport // nil: make one, with the files as they are now
	dial      func(ctx context.Context, network, addr string) (net.Conn, error)
}

func newHTTPReceiver(e Endpoint, encoding encoding) (*httpReceiver, error) {
	u, err := e.URL.parse()
	if err != nil {
		return nil, fmt.Errorf("url %w", err)
	}
	return &httpReceiver{endpoint: e, encoding: encoding, url: u.String()}, nil
}

func (h *httpReceiver) close() {
	if h.transport != nil {
		h.transport.CloseIdleConnections()
		h.transport = nil
	}
}

// send posts the items as one batch, which is accepted as a whole. After a failure, the files are read again.
func (h *httpReceiver) send(ctx context.Context, items []item, _ pace) (accepted int, err error) {
	req, err := h.request(ctx, items)
	if err == nil {
		err = h.open()
	}
	if err != nil {
		return 0, err
	}
	resp, err := h.transport.RoundTrip(req) // unlike Client.Do, it does not look at redirects
	if err != nil {
		h.close()
		slow := errors.Is(err, context.DeadlineExceeded)
		return 0, &retryError{error: reasonOf(err), smaller: slow, slow: slow}
	}
	defer resp.Body.Close()
	defer context.AfterFunc(ctx, func() { _ = resp.Body.Close() })() // after 101, net/http does not end the connection with ctx
	if resp.StatusCode/100 != 2 {
		h.close()
		return 0, refusalOf(resp)
	}
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxResponseBody)) // the status says that the batch is accepted
	if n := min(h.encoding.rejected(body, resp.Header.Get("Content-Type")), len(items)); n > 0 {
		return len(items), &lossError{errors.New("the receiver accepted the batch that they were in, but not all of its lines"), n}
	}
	return len(items), nil
}

func (h *httpReceiver) request(ctx context.Context, items []item) (*http.Request, error) {
	authorization, err := h.endpoint.authorization()
	if err != nil {
		return nil, fmt.Errorf("the file with the credentials %w", err)
	}
	body, contentType, err := h.encoding.encode(items)
	if err != nil {
		return nil, fmt.Errorf("encoding lines: %w", err)
	}
	if h.endpoint.Gzip {
		body = compress(body)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.url, bytes.NewReader(body))
	if err != nil {
		return nil, errors.New("the address cannot be used") // which Check has excluded
	}
	req.Header.Set("Content-Type", contentType)
	req.Header.Set("User-Agent", "Sallyport")
	if h.endpoint.Gzip {
		req.Header.Set("Content-Encoding", "gzip")
	}
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	return req, nil
}

func compress(body []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, _ = w.Write(body) // into memory
	_ = w.Close()
	return out.Bytes()
}

// open makes the transport, if there is none.
func (h *httpReceiver) open() error {
	if h.transport != nil {
		return nil
	}
	config, err := h.endpoint.TLS.config()
	if err != nil {
		return err
	}
	h.transport = http.DefaultTransport.(*http.Transport).Clone()
	h.transport.TLSClientConfig = config
	h.transport.MaxResponseHeaderBytes = maxResponseHeader
	h.transport.DisableCompression = true
	if h.dial != nil {
		h.transport.DialContext = h.dial
	}
	return nil
}

// refusalOf returns what a response that is not of success means. Nothing is ever given up: what a receiver refuses now, it
// may accept once somebody has mended it.
func refusalOf(resp *http.Response) error {
	err := fmt.Errorf("the receiver responded with %d %s", resp.StatusCode, http.StatusText(resp.StatusCode))
	if resp.StatusCode/100 == 3 {
		err = fmt.Errorf("%w, which is not followed; configure the address that it leads to", err)
	}
	ofContent := slices.Contains([]int{http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity}, resp.StatusCode)
	return &retryError{error: err, after: retryAfter(resp.Header.Get("Retry-After"), time.Now()), smaller: ofContent}
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

// reasonOf returns why an attempt got no response. Errors that may quote what the receiver sent are not passed on: it may
// send back the address or the credentials.
func reasonOf(err error) error {
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
	return errors.New("what came back is not HTTP, or has a header that is too large; or a proxy on the way refused the connection")
}
