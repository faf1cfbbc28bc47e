// Package scim receives what identity providers push: SCIM 2.0 (RFC 7643, RFC
// 7644) as Entra ID and Okta speak it.
//
// Every deviation we accept is put right in one place (clean.go), named and
// counted; what is stored is canonical. A change is answered only when the
// directory decides by it.
package scim

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"mime"
	"net/http"
	"net/url"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sallyport/directory"
	"sallyport/scim/internal/schema"
)

// Bounds of a request's body, in bytes: Okta PUTs whole groups, and one of
// 100,000 members has 9 to 14 MB.
const (
	maxBody      = 4 << 20
	maxGroupBody = 32 << 20
)

// bodyWithin is how long a request's body may take to come in: one of 32 MiB at
// half a MiB a second.
const bodyWithin = time.Minute

const contentType = "application/scim+json"

// Server answers SCIM requests below /scim/v2.
type Server struct {
	provisioning *Provisioning
	directory    *directory.Directory // the provisioning's
	settings     Settings
	workloads    Workloads // nil without scim.oauth
	types        schema.Types
	log          *slog.Logger
	metrics      *metrics
	lastUses     lastUses
	entries      chan LogEntry // of the provisioning log, to be written by Run
	mux          *http.ServeMux
	now          func() time.Time
}

// Parts are what a server is made of.
type Parts struct {
	Provisioning *Provisioning
	Settings     Settings
	Workloads    Workloads // nil without scim.oauth: then only tokens of ours are valid
	Log          *slog.Logger
}

// New returns a server that starts nothing.
func New(p Parts) *Server {
	s := &Server{provisioning: p.Provisioning, directory: p.Provisioning.directory, settings: p.Settings, workloads: p.Workloads,
		types: schema.New(directory.Fold, p.Settings.schemas()...), log: p.Log, lastUses: lastUses{stored: map[string]time.Time{}},
		entries: make(chan LogEntry, logQueue), now: time.Now}
	s.metrics = newMetrics(s.pendingHoldCount)
	s.mux = s.routes()
	return s
}

// Collectors are the server's metrics.
func (s *Server) Collectors() []prometheus.Collector { return s.metrics.collectors() }

// exchange is one request and what is noted of it.
type request struct {
	*http.Request
	token    Token
	kinds    schema.Types
	received time.Time      // UTC
	data     map[string]any // its body, where it was read already
	base     string         // of resources' locations: https://host/scim/v2
	notes    schema.Quirks
	etag     string // of the answer's resource
	location string
	changes  []string // what the request changed

	setsActive bool // it says of a user whether they are active
	status     int  // of a successful answer; 0: 200
}

// answer is what a handler gives back: the body (nil: none), or why not.
type handlerFunc func(*request) (any, error)

func (s *Server) routes() *http.ServeMux {
	mux := http.NewServeMux()
	on := func(pattern string, h handlerFunc) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) { s.serve(w, r, h) })
	}
	users, groups := endpoint{s.types.User, s}, endpoint{s.types.Group, s}
	on("POST /Users", s.createUser)
	on("GET /Users", users.list)
	on("POST /Users/.search", users.search)
	on("GET /Users/{id}", users.show)
	on("PUT /Users/{id}", s.replaceUser)
	on("PATCH /Users/{id}", s.patchUser)
	on("DELETE /Users/{id}", s.deleteUser)
	on("POST /Groups", s.createGroup)
	on("GET /Groups", groups.list)
	on("POST /Groups/.search", groups.search)
	on("GET /Groups/{id}", groups.show)
	on("PUT /Groups/{id}", s.replaceGroup)
	on("PATCH /Groups/{id}", s.patchGroup)
	on("DELETE /Groups/{id}", s.deleteGroup)
	for _, method := range []string{"GET", "PUT", "PATCH", "DELETE"} { // .search is nobody's id
		for _, endpoint := range []string{"/Users", "/Groups"} {
			on(method+" "+endpoint+"/.search", func(*request) (any, error) { return nil, &methodNotAllowed{"POST"} })
		}
	}
	on("GET /{$}", s.listAll)
	on("POST /{$}", func(*request) (any, error) {
		return nil, fail(http.StatusNotFound, "", "Nothing is made at the root; post to /Users or /Groups.")
	})
	on("POST /.search", s.searchAll)
	on("POST /Bulk", s.bulk)
	on("GET /ServiceProviderConfig", s.serviceProviderConfig)
	on("GET /ResourceTypes", s.resourceTypes)
	on("GET /ResourceTypes/{name}", s.resourceType)
	on("GET /Schemas", s.schemas)
	on("GET /Schemas/{urn}", s.schema)
	on("/Me", func(*request) (any, error) {
		return nil, fail(http.StatusNotImplemented, "", "A token is nobody's, so there is no /Me.")
	})
	mux.HandleFunc("POST /token", s.serveToken)
	on("/", s.unknownEndpoint)
	return mux
}

// unknown answers a path or method that no pattern takes. The methods that the
// path would take are those the mux finds.
func (s *Server) unknownEndpoint(req *request) (any, error) {
	var allowed []string
	for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE"} {
		probe := req.Clone(req.Context())
		probe.Method = method
		if _, pattern := s.mux.Handler(probe); pattern != "/" && pattern != "" {
			allowed = append(allowed, method)
		}
	}
	if len(allowed) > 0 && allowed[0] == "GET" {
		allowed = slices.Insert(allowed, 1, "HEAD")
	}
	if len(allowed) == 0 {
		return nil, fail(http.StatusNotFound, "", "There is nothing at %q; the endpoints are Users, Groups, ServiceProviderConfig, ResourceTypes and Schemas.", req.URL.Path)
	}
	return nil, &methodNotAllowed{strings.Join(allowed, ", ")}
}

// methodRefused is a 405 with its Allow header.
type methodNotAllowed struct{ allow string }

func (m *methodNotAllowed) Error() string { return "The method is not one of " + m.allow + "." }

// ServeHTTP takes /scim/v2/…, and /scim/… for those who left the version out.
// It never redirects. A request whose URL has the scheme https came by TLS to
// whoever passed it on.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimSuffix(r.URL.Path, "/")
	prefix := "/scim"
	if path == "/scim/v2" || strings.HasPrefix(path, "/scim/v2/") {
		prefix = "/scim/v2"
	}
	rest, ok := strings.CutPrefix(path, prefix)
	if strings.HasPrefix(rest, "//") {
		rest = rest[1:] // the slash that somebody typed behind the tenant URL
	}
	if !ok || rest != "" && rest[0] != '/' || strings.Contains(rest, "//") || strings.Contains(strings.TrimSuffix(rest, "/.search"), "/.") {
		rest = "/nowhere"
	}
	if rest == "" {
		rest = "/"
	}
	inner := r.Clone(r.Context())
	inner.URL.Path, inner.URL.RawPath = rest, ""
	inner.URL.RawQuery = strings.ReplaceAll(r.URL.RawQuery, ";", "%3B") // a filter's value may hold one
	s.mux.ServeHTTP(w, inner)
}

// serve is the way of every request: authenticate, handle, answer, count.
func (s *Server) serve(w http.ResponseWriter, r *http.Request, h handlerFunc) {
	req := &request{Request: r, kinds: s.types, received: s.now().UTC(), base: base(r)}
	limit := int64(maxBody)
	if strings.HasPrefix(r.URL.Path, "/Groups") {
		limit = maxGroupBody
	}
	r.Body = http.MaxBytesReader(w, r.Body, limit)
	_ = http.NewResponseController(w).SetReadDeadline(req.received.Add(bodyWithin)) // where a test's writer has none, it waits
	body, err := s.answer(req, h)
	s.recordHold(r.Context(), err)
	status := s.write(w, req, body, err)
	took := s.now().Sub(req.received)
	s.metrics.observe(req, status, took)
	s.logRequest(req, status, err, took)
	level := slog.LevelDebug
	if status >= http.StatusInternalServerError && status != http.StatusNotImplemented {
		level = slog.LevelError
	}
	s.log.Log(r.Context(), level, "scim request", "method", r.Method, "path", r.URL.Path, "code", status, "token", req.token.ID, "err", err)
}

// answer is h's, to a request that may be made and can be read. A fault of ours is
// an answer too.
func (s *Server) answer(req *request, h handlerFunc) (body any, err error) {
	defer func() {
		if fault := recover(); fault != nil {
			err = fmt.Errorf("panic: %v\n%s", fault, debug.Stack())
		}
	}()
	if err := s.authenticate(req); err != nil {
		return nil, err
	}
	if err := req.readable(); err != nil {
		return nil, err
	}
	return h(req)
}

// readable refuses what cannot be read or answered as it asks. A query that
// cannot be read must not be taken for one that asks for everything.
func (req *request) readable() error {
	if _, err := url.ParseQuery(req.URL.RawQuery); err != nil {
		return invalid("invalidValue", "The query in the URL cannot be read; percent signs and the like must be encoded.")
	}
	if accept := strings.Join(req.Header.Values("Accept"), ","); accept != "" && !acceptable(accept) {
		return fail(http.StatusNotAcceptable, "", "Answers are %s; the Accept header does not take it.", contentType)
	}
	if coding := req.Header.Get("Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
		return fail(http.StatusUnsupportedMediaType, "", "The body must come as it is, not encoded as %.20q.", coding)
	}
	return nil
}

// acceptable says whether an Accept header takes what we answer.
func acceptable(accept string) bool {
	for one := range strings.SplitSeq(accept, ",") {
		media, _, _ := strings.Cut(one, ";")
		switch strings.ToLower(strings.TrimSpace(media)) {
		case "", "*/*", "application/*", contentType, "application/json":
			return true
		}
	}
	return false
}

// base is the URL that the client reaches us at; in front of us, somebody may
// have taken TLS off (Server.ServeHTTP).
func base(r *http.Request) string {
	scheme := "http"
	if r.TLS != nil || r.URL.Scheme == "https" {
		scheme = "https"
	}
	return scheme + "://" + r.Host + "/scim/v2"
}

func (s *Server) write(w http.ResponseWriter, req *request, body any, err error) (status int) {
	status = cmp.Or(req.status, http.StatusOK)
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Cache-Control", "no-store")
	if err != nil {
		status, body = req.errorResponse(w, err)
	} else {
		setUnlessEmpty(h, "ETag", req.etag)
		setUnlessEmpty(h, "Location", req.location)
		setUnlessEmpty(h, "Content-Location", req.location) // RFC 7643 §3.1
	}
	if body == nil {
		h.Del("Content-Type")
		w.WriteHeader(status)
		return status
	}
	w.WriteHeader(status)
	if req.Method == http.MethodHead {
		return status
	}
	if err := json.NewEncoder(w).Encode(body); err != nil {
		s.log.Debug("scim answer not delivered", "err", err)
	}
	return status
}

func setUnlessEmpty(h http.Header, name, value string) {
	if value != "" {
		h.Set(name, value)
	}
}

func (req *request) errorResponse(w http.ResponseWriter, err error) (status int, body any) {
	var m *methodNotAllowed
	if errors.As(err, &m) {
		w.Header().Set("Allow", m.allow)
		err = &problem{status: http.StatusMethodNotAllowed, detail: m.Error()}
	}
	p := problemOf(err)
	var held *heldError
	if errors.As(err, &held) {
		w.Header().Set("Retry-After", held.retryAfter())
		return p.status, p.body()
	}
	switch p.status {
	case http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", req.challenge())
	case http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", strconv.Itoa(30))
	}
	return p.status, p.body()
}

// challenge asks for a token, and says if the one brought is no good (RFC 6750 §3).
func (req *request) challenge() string {
	if secret, ok := bearer(req.Header); ok && secret != "" {
		return `Bearer realm="scim", error="invalid_token"`
	}
	return `Bearer realm="scim"`
}

// body reads and decodes the request's JSON object.
func (req *request) body() (map[string]any, error) {
	if req.data != nil {
		return req.data, nil
	}
	media, _, err := mime.ParseMediaType(req.Header.Get("Content-Type"))
	switch {
	case req.Header.Get("Content-Type") == "", media == contentType && err == nil:
	case media == "application/json" && err == nil:
		req.notes.Add(schema.QuirkPlainJSON)
	default:
		return nil, fail(http.StatusUnsupportedMediaType, "", "The body must be %s.", contentType)
	}
	body, err := schema.DecodeReader(req.Body, strings.HasPrefix(req.URL.Path, "/Groups"))
	return body, bodyError(err)
}

// bodyError returns the response to a body that could not be read.
func bodyError(err error) error {
	var invalidBody *schema.Error
	var large *http.MaxBytesError
	switch {
	case err == nil, errors.As(err, &invalidBody), errors.As(err, &large):
		return err
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fail(http.StatusRequestTimeout, "", "The body took longer than %s to come in.", bodyWithin)
	}
	return invalid("invalidSyntax", "The body cannot be read: %v.", err)
}

// precondition checks If-Match, and of a change If-None-Match too, against a
// version (RFC 7644 §3.14, RFC 9110 §13.1).
func (req *request) precondition(version uint64) error {
	want := req.Header.Get("If-Match")
	reads := req.Method == http.MethodGet || req.Method == http.MethodHead
	if want != "" && !etagListed(want, version) || !reads && req.notModified(version) {
		return fail(http.StatusPreconditionFailed, "", "The resource was changed since; its version is %s.", etag(version))
	}
	return nil
}

// notModified says whether the client has this version already.
func (req *request) notModified(version uint64) bool {
	have := req.Header.Get("If-None-Match")
	return have != "" && etagListed(have, version)
}

// tagged says whether a list of entity tags has the version's; * has all. Tags
// are compared weakly (RFC 9110 §8.8.3.2), for ours are.
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
