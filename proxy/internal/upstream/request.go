package upstream

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// Request is a request to an upstream. One that fails may be sent again, to another target. The response may use its memory,
// and must not be used after another response to it has begun.
type Request struct {
	Method, Host string
	Path         string // as the request line has it
	Query        string // with its leading "?"; "" if there is none
	Header       Header // nil: there is none
	Upgrade      bool   // the request asks for another protocol, which HTTP/1.1 alone can

	Body          io.ReadCloser // nil: there is none
	ContentLength int64         // of Body; -1: unknown
	Continue      bool          // the body waits until the target wants it: the request has "Expect: 100-continue"

	Informational Receiver // nil: informational responses are dropped

	ResponseHeader http.Header // an empty one, which becomes the header of the response; nil: the response has one of its own

	host string // that is sent to the target of the attempt under way
	informational
	plain plainResponse
	lent  bool // net/http's transport was given the request
}

// Header is the header of a request. A Content-Length, Host, Trailer or Transfer-Encoding in it does not count.
type Header interface {
	// EachField calls write for each field: for one with two values twice. It may be called again.
	EachField(write func(name, value string))
}

// Receiver receives the informational responses to a request.
type Receiver interface {
	// ReceiveInformational is called for each, on any goroutine but before RoundTrip returns, and never for two attempts.
	ReceiveInformational(code int, h http.Header)
}

// HTTPHeader is an [http.Header] as a [Header].
type HTTPHeader http.Header

// EachField calls write for each field.
func (h HTTPHeader) EachField(write func(name, value string)) {
	for name, values := range h {
		for _, value := range values {
			write(name, value)
		}
	}
}

func (r *Request) eachField(write func(name, value string)) {
	if r.Header != nil {
		r.Header.EachField(write)
	}
}

// IsReusable reports whether nothing uses the memory of r any more, provided that the body of its response was closed, or
// that there is none. It is for the one goroutine that called RoundTrip, after that has returned.
func (r *Request) IsReusable() bool { return !r.hasBody() && !r.lent }

func (r *Request) hasBody() bool { return r.Body != nil }

// isSafe reports whether the method is defined to have no effect (RFC 9110 §9.2.1).
func (r *Request) isSafe() bool {
	return r.Method == http.MethodGet || r.Method == http.MethodHead || r.Method == http.MethodOptions || r.Method == http.MethodTrace
}

// toHTTP returns the request for net/http's transport.
//
// The transport repeats a request without a body if it has an Idempotency-Key, but a client's word is no proof that a
// repetition is harmless. The transport looks for the canonical name only, so the header is sent under its lower-case name,
// which means the same (RFC 9110 §5.1).
func (r *Request) toHTTP(ctx context.Context, t *target) *http.Request {
	h := http.Header{}
	r.eachField(func(name, value string) {
		if (name == "Idempotency-Key" || name == "X-Idempotency-Key") && !r.hasBody() && !r.isSafe() {
			name = strings.ToLower(name)
		}
		h[name] = append(h[name], value)
	})
	if _, ok := h["User-Agent"]; !ok {
		h["User-Agent"] = []string{""} // or the transport would send its own
	}
	u := &url.URL{Scheme: t.scheme, Host: t.host, Opaque: r.Path}
	if r.Query != "" {
		u.RawQuery, u.ForceQuery = r.Query[1:], true
	}
	r.lent = true
	out := &http.Request{Method: r.Method, URL: u, Host: r.host, Header: h, Body: r.Body, ContentLength: r.ContentLength}
	return out.WithContext(r.trace(ctx))
}
