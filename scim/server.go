// Package scim is the SCIM server that identity providers push users and groups to.
//
// It speaks SCIM 2.0 (RFC 7643, RFC 7644) in the dialects of Entra ID and Okta. Deviations from the RFCs that are accepted
// are corrected in one place (scim/internal/schema), named and counted; the documents that are stored follow the RFCs.
// What must hold: a change is answered only once the directory decides by it, and the audit record of a change, the
// count of a deactivation and the change itself are one transaction.
package scim

import (
	"context"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sallyport/directory"
	"sallyport/enforce"
	"sallyport/scim/internal/schema"
	"sallyport/throttle"
)

// Parts are what a server is made of.
type Parts struct {
	Provisioning *Provisioning
	Settings     Settings
	Workloads    Workloads // nil without scim.oauth: then only tokens of ours are valid
	Origin       Origin    // nil: requests come straight from their clients
	Enforcer     *enforce.Enforcer
	Log          *slog.Logger

	Authenticated func(context.Context) // told of each request with a valid token; may be nil
}

// Server handles SCIM requests below /scim/v2.
type Server struct {
	provisioning *Provisioning
	directory    *directory.Directory // the provisioning's
	settings     Settings
	workloads    Workloads // nil without scim.oauth
	origin       Origin
	enforcer     *enforce.Enforcer // nil if only this process uses the store
	types        schema.Types
	log          *slog.Logger
	metrics      *metrics
	lastUses     *lastUses
	authFailures *throttle.Throttle
	rejections   rejections
	scans        *scans
	entries      chan LogEntry // of the provisioning log, to be written by Run
	mux          *http.ServeMux
	now          func() time.Time

	authenticated func(context.Context) // told of each request with a valid token
}

// New returns a server; it starts nothing.
func New(p Parts) *Server {
	s := &Server{provisioning: p.Provisioning, directory: p.Provisioning.directory, settings: p.Settings, workloads: p.Workloads,
		origin: p.Origin, enforcer: p.Enforcer, types: schema.New(directory.Fold, p.Settings.schemas()...), log: p.Log,
		lastUses: &lastUses{stored: map[string]time.Time{}}, authFailures: throttle.New(throttle.FailuresPerSecond, throttle.FailuresBurst),
		rejections: newRejections(), scans: newScans(), entries: make(chan LogEntry, logQueue), now: time.Now, authenticated: p.Authenticated}
	if s.origin == nil {
		s.origin = connectionOrigin
	}
	if s.authenticated == nil {
		s.authenticated = func(context.Context) {}
	}
	s.metrics = newMetrics(s.pendingHoldCount)
	s.mux = s.routes()
	return s
}

// With returns a server with other settings, to take the place of s, which finishes the requests that it has begun. Both
// share everything else: [Server.Run] and [Server.Collectors] of s serve both.
func (s *Server) With(settings Settings, workloads Workloads) *Server {
	next := *s
	next.settings, next.workloads, next.types = settings, workloads, schema.New(directory.Fold, settings.schemas()...)
	next.mux = next.routes()
	return &next
}

// Settings returns the settings of the server.
func (s *Server) Settings() Settings { return s.settings }

// Collectors returns the server's metrics.
func (s *Server) Collectors() []prometheus.Collector { return s.metrics.collectors() }

// handlerFunc handles a request. It returns the body of the response (nil: none), or why the request is rejected.
type handlerFunc func(*request) (any, error)

func (s *Server) routes() *http.ServeMux {
	mux := http.NewServeMux()
	handle := func(pattern string, h handlerFunc) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) { s.serve(w, r, h) })
	}
	users, groups := endpoint{s.types.User, s}, endpoint{s.types.Group, s}
	handle("POST /Users", s.createUser)
	handle("GET /Users", users.list)
	handle("POST /Users/.search", users.search)
	handle("GET /Users/{id}", users.show)
	handle("PUT /Users/{id}", s.replaceUser)
	handle("PATCH /Users/{id}", s.patchUser)
	handle("DELETE /Users/{id}", s.deleteUser)
	handle("POST /Groups", s.createGroup)
	handle("GET /Groups", groups.list)
	handle("POST /Groups/.search", groups.search)
	handle("GET /Groups/{id}", groups.show)
	handle("PUT /Groups/{id}", s.replaceGroup)
	handle("PATCH /Groups/{id}", s.patchGroup)
	handle("DELETE /Groups/{id}", s.deleteGroup)
	for _, method := range []string{"GET", "PUT", "PATCH", "DELETE"} { // .search is not an ID
		for _, endpoint := range []string{"/Users", "/Groups"} {
			handle(method+" "+endpoint+"/.search", func(*request) (any, error) { return nil, &methodNotAllowed{"POST"} })
		}
	}
	handle("GET /{$}", s.listAll)
	handle("POST /{$}", func(*request) (any, error) {
		return nil, fail(http.StatusNotFound, "", "Nothing can be created at the root; send the POST to /Users or /Groups.")
	})
	handle("POST /.search", s.searchAll)
	handle("POST /Bulk", s.bulk)
	handle("GET /ServiceProviderConfig", s.serviceProviderConfig)
	handle("GET /ResourceTypes", s.resourceTypes)
	handle("GET /ResourceTypes/{name}", s.resourceType)
	handle("GET /Schemas", s.schemas)
	handle("GET /Schemas/{urn}", s.schema)
	handle("/Me", func(*request) (any, error) {
		return nil, fail(http.StatusNotImplemented, "", "A token belongs to no user, so there is no /Me.")
	})
	mux.HandleFunc("POST /token", s.serveToken)
	handle("/", s.unknownEndpoint)
	return mux
}

// unknownEndpoint handles a request whose path or method no pattern matches: 405 with the methods that the path allows,
// 404 if there are none.
func (s *Server) unknownEndpoint(req *request) (any, error) {
	var allowed []string
	for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE"} {
		other := req.Clone(req.Context())
		other.Method = method
		if _, pattern := s.mux.Handler(other); pattern != "/" && pattern != "" {
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

// methodNotAllowed is a 405 with its Allow header.
type methodNotAllowed struct{ allow string }

func (m *methodNotAllowed) Error() string { return "The method is not one of " + m.allow + "." }
