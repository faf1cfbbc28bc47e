package proxy

import (
	"encoding/binary"
	"encoding/hex"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"time"

	"sallyport/directory"
	"sallyport/grant"
	"sallyport/oidc"
	"sallyport/policy"
	"sallyport/proxy/internal/canonical"
	"sallyport/proxy/internal/liveset"
	"sallyport/proxy/internal/origin"
	"sallyport/proxy/internal/trace"
	"sallyport/session"
)

// request holds the facts of one request. They are canonical: they are what is decided, recorded and forwarded. The
// *http.Request beside it is not consulted again for any of them.
type request struct {
	id string // for the log, the record and the caller; not secret
	timing
	routing *routing // the settings in force when the request came
	sender
	method  string
	host    string // canonical
	path    string // canonical; sent to the upstream byte for byte
	query   string // as the client wrote it, with its leading "?"; "" if there is none
	lenient bool   // only a route with lenient paths accepts the path

	internal   bool        // the request is for a path of ours
	authClient *authClient // the front proxy that asks whether the request is allowed; nil for any other request
	route      *route      // nil for internal requests, and until it is found
	readings   readings    // other readings of the path, which all lead to the route
	caller     *caller     // nil for an anonymous request
	presented
}

// timing is when a request began, and how long its response took.
type timing struct {
	received  time.Time     // UTC
	streaming time.Duration // of a stream that ended: from received to the headers of the response; 0 for any other request
}

// sender is where a request comes from.
type sender struct {
	scheme  string // http or https, as the client sees it
	client  netip.Addr
	address string         // client as text
	trace   *trace.Request // that the request belongs to; nil for none
	chain   string         // X-Forwarded-For: address, and those of the trusted proxies between
}

// presented is what the headers of a request say about its caller, beside who that is.
type presented struct {
	preflight    bool // a CORS preflight request that the route lets through without a caller
	crossing     origin.Request
	fragment     string // the state of the login for which the browser keeps a fragment; "" for none
	resumed      bool   // it sends a form again that was kept, which its caller sent first
	sessionError Reason // why the session cookie that was sent is not valid; "" if none was sent
}

// newRequest returns the facts of r that need no validation. [request.readTarget] adds the others.
func newRequest(r *http.Request, rt *routing) *request {
	req := &request{id: newID(), timing: timing{received: time.Now().UTC()}, routing: rt, method: r.Method}
	req.setOrigin(r)
	return req
}

// forTarget returns the facts of another request that is decided in place of req: by the same client, at the same time.
func (req *request) forTarget(method, host, path string) *request {
	other := *req
	other.method, other.host, other.path, other.query, other.lenient = method, host, path, "", false
	return &other
}

// newID returns a random name for a request.
func newID() string {
	var id [16]byte
	binary.BigEndian.PutUint64(id[:8], rand.Uint64())
	binary.BigEndian.PutUint64(id[8:], rand.Uint64())
	var text [2 * len(id)]byte // on the stack
	hex.Encode(text[:], id[:])
	return string(text[:])
}

// logOf returns a logger for lines about a request, which have its id, and that of its trace if it has one.
func (p *Proxy) logOf(req *request) *slog.Logger {
	if id := req.trace.ID(); id != "" {
		return p.log.With("request", req.id, "trace", id)
	}
	return p.log.With("request", req.id)
}

const maxMethodBytes = 32

// readTarget reads host, path and query of r. A path below /.sallyport is internal; one below /.sallyport/check puts the
// request that a front proxy asks about in place of req.
func (req *request) readTarget(r *http.Request) *denial {
	var err error
	if req.host, err = canonical.RequestHost(r); err != nil {
		return deny(badHost, err.Error())
	}
	if req.method == http.MethodConnect || len(req.method) > maxMethodBytes {
		return deny(methodRefused, "")
	}
	raw, query, err := canonical.RequestTarget(r)
	if err != nil {
		return deny(badPath, err.Error())
	}
	req.query = query
	if req.path, req.lenient, err = canonical.Path(raw); err != nil {
		return deny(badPath, err.Error())
	}
	// A lenient spelling of an internal path is neither internal nor a route's: a route with lenient paths must not
	// receive it, and a check of a lenient path must not look like one.
	if req.lenient && canonical.Under(req.path, internalRoot) {
		return deny(badPath, "lenient spelling of an internal path")
	}
	if req.internal = req.isInternal(); req.internal && canonical.Under(req.path, checkPath) {
		return req.readCheck(r, raw)
	}
	return nil
}

// isInternal reports whether req is for a path of ours: one below /.sallyport on any host we serve, or the portal at the
// root of public_url where no route is.
func (req *request) isInternal() bool {
	if canonical.Under(req.path, internalRoot) {
		return req.routing.hasHost(req.host) && !req.routing.isConsole(req.host, req.path)
	}
	return req.path == "/" && req.host == req.routing.host && req.routing.find(req.host, req.path) == nil
}

// findRoute sets the route of req.
func (req *request) findRoute() (denied *denial) {
	req.route, req.readings, denied = req.routing.routeOf(req)
	return denied
}

// acceptsSessions reports whether signing in can help: it cannot on a route that accepts bearer tokens only.
func (req *request) acceptsSessions() bool { return req.route == nil || req.route.session }

// caller is the user or application that made a request, authenticated by either a session or a token. A nil *caller is
// anonymous.
type caller struct {
	user    *directory.User  // nil before the decision, and for an application
	held    *grant.Holdings  // what grants and reviews change for user; nil if nothing
	session *session.Session // nil for a bearer token
	token   *oidc.Identity   // nil for a session; immutable
	bearer  oidc.Secret      // the token itself; "" for a session
}

// app returns the client ID of an application that calls for itself; "" if a user calls.
func (c *caller) app() string {
	if c == nil || c.token == nil {
		return ""
	}
	return c.token.App
}

// authenticated returns when the caller last signed in; zero if the provider did not say.
func (c *caller) authenticated() time.Time {
	switch {
	case c == nil:
	case c.session != nil && c.session.Proven:
		return c.session.Authenticated
	case c.token != nil && c.token.TimeKnown:
		return c.token.Authenticated
	}
	return time.Time{}
}

// strength returns how the caller signed in.
func (c *caller) strength() policy.Strength {
	switch {
	case c == nil:
		return policy.Strength{}
	case c.session != nil:
		return policy.Strength{ACR: c.session.ACR, AMR: c.session.AMR, Contexts: c.session.Contexts}
	}
	return policy.Strength{ACR: c.token.ACR, AMR: c.token.AMR, Contexts: c.token.Contexts}
}

// expires returns when the session or the token expires; zero for an anonymous caller.
func (c *caller) expires() time.Time {
	switch {
	case c == nil:
		return time.Time{}
	case c.session != nil:
		return c.session.Expires
	}
	return c.token.Expires
}

// subject returns whose changes may change the decision about the caller: a session is of one user, a token of whoever has
// its key at the time. Those of nobody change it for an application, or for an anonymous caller.
func (c *caller) subject() liveset.Subject {
	switch {
	case c == nil || c.app() != "":
		return liveset.Subject{}
	case c.session != nil:
		return liveset.User(c.session.User)
	}
	return liveset.Named(c.token.Key)
}
