package scim

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"sallyport/directory"
)

// problem is an answer that is a no (RFC 7644 §3.12). Its detail is written for
// the administrator who reads it in the identity provider's provisioning log.
type problem struct {
	status int
	kind   string // scimType; "" where there is none
	detail string
}

func (p *problem) Error() string { return p.detail }

func fail(status int, kind, format string, args ...any) error {
	return &problem{status, kind, fmt.Sprintf(format, args...)}
}

func invalid(kind, format string, args ...any) error {
	return fail(http.StatusBadRequest, kind, format, args...)
}

// problemOf is the one table that turns errors into SCIM answers.
func problemOf(err error) *problem {
	var p *problem
	var held *heldBack
	var taken *directory.ErrTaken
	var unkeepable *directory.ErrUnkeepable
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &p):
		return p
	case errors.As(err, &held):
		return held.problem()
	case errors.As(err, &taken):
		return &problem{http.StatusConflict, "uniqueness", taken.Error()}
	case errors.As(err, &unkeepable):
		return &problem{http.StatusBadRequest, "invalidValue", unkeepable.Error()}
	case errors.Is(err, directory.ErrNotFound):
		return &problem{http.StatusNotFound, "", "There is no such resource."}
	case errors.As(err, &large):
		return &problem{http.StatusRequestEntityTooLarge, "", fmt.Sprintf("The request is larger than %d bytes.", large.Limit)}
	case errors.Is(err, directory.ErrReadOnly), errors.Is(err, directory.ErrStale):
		return &problem{http.StatusServiceUnavailable, "", "The directory takes no changes at the moment; nothing was changed."}
	}
	return &problem{http.StatusInternalServerError, "", "Something went wrong here; nothing was changed. The server's log says what."}
}

func (p *problem) body() map[string]any {
	body := map[string]any{"schemas": []string{errorURN}, "status": strconv.Itoa(p.status), "detail": p.detail}
	if p.kind != "" {
		body["scimType"] = p.kind
	}
	return body
}
