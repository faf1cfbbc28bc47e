package scim

import (
	"cmp"
	"encoding/json"
	"errors"
	"net/http"
)

// write writes the response: body, or if err is not nil why the request was rejected. It returns the status.
func (s *Server) write(w http.ResponseWriter, req *request, body any, err error) (status int) {
	status = cmp.Or(req.status, http.StatusOK)
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Cache-Control", "no-store")
	if err != nil {
		status, body = req.errorResponse(h, err)
	} else {
		setUnlessEmpty(h, "ETag", req.etag)
		setUnlessEmpty(h, "Location", req.location)
		setUnlessEmpty(h, "Content-Location", req.location) // RFC 7643 §3.1
	}
	if body == nil {
		h.Del("Content-Type")
	}
	w.WriteHeader(status)
	if body == nil || req.Method == http.MethodHead {
		return status
	}
	if err := json.NewEncoder(w).Encode(body); err != nil {
		s.log.Debug("scim response not delivered", "err", err)
	}
	return status
}

func setUnlessEmpty(h http.Header, name, value string) {
	if value != "" {
		h.Set(name, value)
	}
}

// errorResponse returns the status and body for err, and sets the headers that go with it.
func (req *request) errorResponse(h http.Header, err error) (status int, body any) {
	p := problemOf(err)
	var method *methodNotAllowed
	var held *heldError
	switch {
	case errors.As(err, &method):
		h.Set("Allow", method.allow)
	case errors.As(err, &held):
		h.Set("Retry-After", held.retryAfter())
	case p.status == http.StatusUnauthorized:
		h.Set("WWW-Authenticate", req.challenge())
	case p.status == http.StatusServiceUnavailable:
		h.Set("Retry-After", "30")
	}
	return p.status, p.body()
}

// challenge asks for a token, and tells if the one in the request is invalid (RFC 6750 §3).
func (req *request) challenge() string {
	if text, ok := bearer(req.Header); ok && text != "" {
		return `Bearer realm="scim", error="invalid_token"`
	}
	return `Bearer realm="scim"`
}
