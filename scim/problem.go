package scim

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"sync"

	"sallyport/directory"
	"sallyport/enforce"
	"sallyport/scim/internal/schema"
	"sallyport/store"
	"sallyport/store/follow"
)

// problem is an error response (RFC 7644 §3.12). Its detail is written for the administrator who reads it in the
// identity provider's provisioning log.
type problem struct {
	status int
	kind   string // scimType; "" if there is none
	detail string
	shape  string // the detail without what the client sent; "" if the client's words are not in it
}

func (p *problem) Error() string { return p.detail }

// fail returns a problem whose shape has an ellipsis in the place of each value.
func fail(status int, kind, format string, args ...any) error {
	return &problem{status, kind, fmt.Sprintf(format, args...), verbs().ReplaceAllString(format, "…")}
}

// verbs matches what fmt replaces by values.
var verbs = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`%[.0-9]*[a-z]`) })

// invalid returns a problem with status 400.
func invalid(kind, format string, args ...any) error {
	return fail(http.StatusBadRequest, kind, format, args...)
}

// The errors of a change that cannot be confirmed, although it may have been made.
var (
	errNoResponse = errors.New("the change is stored, but the response to it cannot be made")
	errPanic      = errors.New("the server has a bug")
)

// problemOf returns the response for err. It is the one table from errors to SCIM.
func problemOf(err error) *problem {
	var p *problem
	var rejected *schema.Error
	var held *heldError
	var method *methodNotAllowed
	var conflict *directory.ConflictError
	var unstorable *directory.InvalidError
	var large *http.MaxBytesError
	switch {
	case errors.Is(err, enforce.ErrUnknown):
		return &problem{status: http.StatusServiceUnavailable, detail: "The change is stored, but it could not be found out in time whether every replica of the server decides by it. Send the request again."}
	case errors.Is(err, directory.ErrStored):
		return &problem{status: http.StatusServiceUnavailable, detail: "The change is stored, but this server does not decide by it yet. The server's log says why."}
	case errors.Is(err, store.ErrUncertain):
		return &problem{status: http.StatusServiceUnavailable, detail: "Writing the change failed, and it is uncertain whether it was stored; it shows once the server has recovered. Send the request again."}
	case errors.Is(err, store.ErrFull):
		return &problem{status: http.StatusServiceUnavailable, detail: "The server's disk is full; nothing was changed. An administrator must free some space. Until then, only what takes access away is accepted."}
	case errors.Is(err, errNoResponse):
		return &problem{status: http.StatusInternalServerError, detail: "The change is stored, but the response to it cannot be made. The server's log says why."}
	case errors.Is(err, errPanic):
		return &problem{status: http.StatusInternalServerError, detail: "Something went wrong in the server; a change that was asked for may have been made or not. The server's log says why."}
	case errors.As(err, &p):
		return p
	case errors.As(err, &rejected):
		return &problem{http.StatusBadRequest, rejected.Type, rejected.Detail, rejected.Shape}
	case errors.As(err, &held):
		return held.problem()
	case errors.As(err, &method):
		return &problem{status: http.StatusMethodNotAllowed, detail: method.Error()}
	case errors.As(err, &conflict):
		return &problem{http.StatusConflict, "uniqueness", conflict.Error(), conflict.Attribute + " … already exists"}
	case errors.As(err, &unstorable):
		return &problem{status: http.StatusBadRequest, kind: "invalidValue", detail: unstorable.Error()}
	case errors.Is(err, directory.ErrNotFound):
		return &problem{status: http.StatusNotFound, detail: "There is no such resource."}
	case errors.As(err, &large):
		return &problem{status: http.StatusRequestEntityTooLarge, detail: fmt.Sprintf("The request is larger than %d bytes.", large.Limit)}
	case unavailable(err):
		return &problem{status: http.StatusServiceUnavailable, detail: "The directory takes no changes at the moment; nothing was changed."}
	}
	return &problem{status: http.StatusInternalServerError, detail: "Something went wrong in the server; nothing was changed. The server's log tells what."}
}

// unavailable reports whether err means that the store takes no changes, or that memory no longer follows it.
func unavailable(err error) bool {
	for _, cause := range []error{directory.ErrReadOnly, directory.ErrStale, store.ErrPoisoned, store.ErrUnreachable, store.ErrStale, store.ErrClosed, follow.ErrEnded} {
		if errors.Is(err, cause) {
			return true
		}
	}
	return false
}

// redacted returns the problem's detail without what the client sent.
func (p *problem) redacted() string { return cmp.Or(p.shape, p.detail) }

func (p *problem) body() map[string]any {
	body := map[string]any{"schemas": []string{errorURN}, "status": strconv.Itoa(p.status), "detail": p.detail}
	if p.kind != "" {
		body["scimType"] = p.kind
	}
	return body
}
