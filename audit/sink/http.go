package sink

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"time"

	"sallyport/outbound"
)

// maxResponseBody is how much is read of the body of a response, in bytes.
const maxResponseBody = 64 << 10

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
	u, err := e.URL.Parse(hints)
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
		return 0, &retryError{error: outbound.Reason(err), smaller: slow, slow: slow}
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
	h.transport = outbound.Transport(config, h.dial)
	return nil
}

// refusalOf returns what a response that is not of success means. Nothing is ever given up: what a receiver refuses now, it
// may accept once somebody has mended it.
func refusalOf(resp *http.Response) error {
	ofContent := slices.Contains([]int{http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity}, resp.StatusCode)
	return &retryError{error: outbound.Refusal(resp), after: outbound.RetryAfter(resp.Header.Get("Retry-After"), time.Now()), smaller: ofContent}
}
