package scim

import (
	"errors"
	"mime"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"sallyport/audit"
	"sallyport/directory"
	"sallyport/scim/internal/schema"
)

const contentType = "application/scim+json"

// Bounds of a request's body, in bytes. Okta PUTs whole groups: one of 100,000 members has 9 to 14 MB.
const (
	maxBody      = 4 << 20
	maxGroupBody = 32 << 20
)

func bodyLimit(r *http.Request) int64 {
	if strings.HasPrefix(r.URL.Path, "/Groups") {
		return maxGroupBody
	}
	return maxBody
}

// request is an HTTP request, or one operation of a bulk request, with what is found out about it and its response.
type request struct {
	*http.Request
	directory *directory.Directory
	types     schema.Types
	received  time.Time      // UTC
	base      string         // of the URLs of resources: https://host/scim/v2
	token     Token          // once it is authenticated
	rejection *rejection     // why its token was rejected; nil if it was not
	data      map[string]any // the body of a bulk operation; nil: to be read from Body
	quirks    schema.Quirks  // deviations that were accepted

	setsActive bool          // it sets the attribute active of a user
	changes    []string      // what it changed, for the provisioning log
	recorded   []audit.Event // of its changes, which are in the transactions of these
	enforced   string        // what replicas made of them, for the provisioning log

	status   int    // of a successful response; 0: 200
	etag     string // of the resource in the response
	location string
}

// validate rejects a request that cannot be read, or answered as it asks. A query that cannot be parsed must not be
// taken for one that asks for everything.
func (req *request) validate() error {
	if _, err := url.ParseQuery(req.URL.RawQuery); err != nil {
		return invalid("invalidValue", "The query in the URL cannot be read; percent signs and the like must be encoded.")
	}
	if accept := strings.Join(req.Header.Values("Accept"), ","); accept != "" && !acceptable(accept) {
		return fail(http.StatusNotAcceptable, "", "Responses are %s; the Accept header excludes it.", contentType)
	}
	if coding := req.Header.Get("Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
		return fail(http.StatusUnsupportedMediaType, "", "The body must not be encoded; its Content-Encoding is %.20q.", coding)
	}
	return nil
}

// acceptable reports whether an Accept header admits the media type of our responses.
func acceptable(accept string) bool {
	for item := range strings.SplitSeq(accept, ",") {
		media, _, _ := strings.Cut(item, ";")
		switch strings.ToLower(strings.TrimSpace(media)) {
		case "", "*/*", "application/*", contentType, "application/json":
			return true
		}
	}
	return false
}

// baseURL returns the URL of /scim/v2 as the client sees it.
func baseURL(r *http.Request) string { return r.URL.Scheme + "://" + r.Host + "/scim/v2" }

// body returns the JSON object in the request's body.
func (req *request) body() (map[string]any, error) {
	if req.data != nil {
		return req.data, nil
	}
	media, _, err := mime.ParseMediaType(req.Header.Get("Content-Type"))
	switch {
	case req.Header.Get("Content-Type") == "", media == contentType && err == nil:
	case media == "application/json" && err == nil:
		req.quirks.Add(schema.QuirkPlainJSON)
	default:
		return nil, fail(http.StatusUnsupportedMediaType, "", "The body must be %s.", contentType)
	}
	body, err := schema.DecodeReader(req.Body, strings.HasPrefix(req.URL.Path, "/Groups"))
	return body, bodyError(err)
}

// bodyError returns the error for a body that could not be read.
func bodyError(err error) error {
	var invalidBody *schema.Error
	var large *http.MaxBytesError
	switch {
	case err == nil, errors.As(err, &invalidBody), errors.As(err, &large):
		return err
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fail(http.StatusRequestTimeout, "", "The body took longer than %s to come in.", bodyTimeout)
	}
	return invalid("invalidSyntax", "The body cannot be read: %v.", err)
}

// precondition checks If-Match, and for a change If-None-Match too, against the version of a resource (RFC 7644 §3.14,
// RFC 9110 §13.1).
func (req *request) precondition(version uint64) error {
	ifMatch := req.Header.Get("If-Match")
	safe := req.Method == http.MethodGet || req.Method == http.MethodHead
	if ifMatch != "" && !etagListed(ifMatch, version) || !safe && req.notModified(version) {
		return fail(http.StatusPreconditionFailed, "", "The resource was changed since; its version is %s.", etag(version))
	}
	return nil
}

// notModified reports whether If-None-Match names this version: the client has it.
func (req *request) notModified(version uint64) bool {
	ifNoneMatch := req.Header.Get("If-None-Match")
	return ifNoneMatch != "" && etagListed(ifNoneMatch, version)
}

// etagListed reports whether a list of entity tags has the one of a version; * has all. Tags are compared weakly (RFC
// 9110 §8.8.3.2), because ours are weak.
func etagListed(list string, version uint64) bool {
	for tag := range strings.SplitSeq(list, ",") {
		tag = strings.TrimSpace(tag)
		if tag == "*" || strings.TrimPrefix(tag, "W/") == strings.TrimPrefix(etag(version), "W/") {
			return true
		}
	}
	return false
}

func etag(version uint64) string { return `W/"` + strconv.FormatUint(version, 10) + `"` }
