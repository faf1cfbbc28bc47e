// Package proxy lets requests reach the applications behind it: it decides each request, and keeps deciding while the
// request lives.
//
// [Proxy.serve] is the only way from a socket to an upstream. A request goes on only as long as it is allowed: when the
// directory, the sessions or the settings change, [Proxy.decide] decides again every live request that the change may
// touch, and the requests that it now denies are cut.
//
// Why no request that a change denies goes on: [Proxy.decide] depends on the request, which never changes; on the settings
// and the keys of the provider, after whose change all live requests are decided again; on the time, for which a request
// is due when its decision may change; on one session, one user, what was granted to that user, and, for a token, who has
// its key and when a person with that key last ended; and on the users whom reports_to and manager_of name. The directory,
// the sessions and the grants each tell in a feed for which users they may now say something else, after memory says so;
// whatever they cannot name, such as memory that was loaded again or may no longer be trusted, they tell as unknown. A
// review reads the feeds, and then decides again the live requests of the users whom they name, by id for sessions and by
// each name that the user has or had for tokens, or all live requests if anything is unknown or somebody is named whom
// reports_to or manager_of names. A request is in the set, under the one id or name that its caller has from the beginning,
// before it is first decided. So for each change and each request, either the request was in the set when the review
// looked, and is decided again with the change; or it entered afterwards, and its first decision was made with the change.
// Should this reasoning have a fault, a minute bounds it: each live request is decided again once a minute, whatever has
// changed.
package proxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"sallyport/proxy/internal/liveset"
	"sallyport/proxy/internal/metric"
	"sallyport/proxy/internal/response"
	"sallyport/proxy/internal/touched"
	"sallyport/proxy/internal/trace"

	oteltrace "go.opentelemetry.io/otel/trace"

	"sallyport/audit"
	"sallyport/console"
	"sallyport/console/manage"
	"sallyport/directory"
	"sallyport/enforce"
	"sallyport/grant"
	"sallyport/oidc"
	"sallyport/policy"
	"sallyport/session"
	"sallyport/throttle"
)

// Parts are what a [Proxy] is built from.
type Parts struct {
	Directory *directory.Directory
	Sessions  *session.Sessions
	Grants    *grant.Grants // may be nil
	Provider  *oidc.Provider
	Audit     *audit.Log
	Enforcer  *enforce.Enforcer // nil if only this process uses the store
	Pages     *console.Pages
	Console   *console.Handler // serves the pages that people act with; nil: they act with none
	Manage    *manage.Handler  // serves the console; nil if there is none
	Log       *slog.Logger

	Tracing oteltrace.TracerProvider // makes the spans of requests; may be nil

	Authenticated func(context.Context) // told of each request whose caller is let in; may be nil
}

// Proxy is an identity-aware reverse proxy. It serves no host before the first Load.
type Proxy struct {
	directory  *directory.Directory
	sessions   *session.Sessions
	grants     *grant.Grants
	audit      *audit.Log
	enforcer   *enforce.Enforcer
	pages      *console.Pages
	console    *console.Handler
	manage     *manage.Handler // may be nil
	log        *slog.Logger
	metrics    *metric.Metrics
	tracer     trace.Tracer
	assertions *assertions
	pools      pools
	routing    atomic.Pointer[routing]
	live       liveSet
	stopping   atomic.Bool // Run has ended
	throttles  throttles

	authenticated func(context.Context) // told of each request whose caller is let in

	healthChecks chan struct{} // a place for each target that is checked

	reviewing sync.Mutex // one review at a time; guards reviewed and touched
	reviewed  uint64     // the directory's revision that the last review saw
	touched   *touched.Reader
}

// pools are memory that requests reuse.
type pools struct {
	exchanges      sync.Pool     // of *exchange; zero values
	buffers        sync.Pool     // of *[32 << 10]byte, through which responses are copied
	forms          chan struct{} // a place for each form whose body is in memory
	policyRequests sync.Pool     // of *policy.Request: the parts of a rule are function values, so what Decide is given escapes
}

// throttles limit clients by address.
type throttles struct {
	logins    *throttle.Throttle // logins that are started
	callbacks *throttle.Throttle // logins that come back: one login can be replayed many times
	failures  *throttle.Throttle // tokens that were rejected
}

// How often one address may start a login, and come back from one. Many people may share an address, so the limit is far
// above what one person does.
const loginsPerSecond, loginBurst = 20, 400

// New returns a Proxy and starts nothing.
func New(parts Parts) (*Proxy, error) {
	p := &Proxy{directory: parts.Directory, sessions: parts.Sessions, grants: parts.Grants, audit: parts.Audit, enforcer: parts.Enforcer,
		pages: parts.Pages, console: parts.Console, manage: parts.Manage, log: parts.Log, authenticated: parts.Authenticated,
		metrics: metric.New(), tracer: trace.NewTracer(parts.Tracing), assertions: newAssertions(parts.Sessions), live: liveSet{liveset.New[*liveRequest]()},
		pools: pools{
			exchanges:      sync.Pool{New: func() any { return new(exchange) }},
			buffers:        sync.Pool{New: func() any { return new([32 << 10]byte) }},
			forms:          make(chan struct{}, maxForms),
			policyRequests: sync.Pool{New: func() any { return new(policy.Request) }},
		},
		throttles: throttles{
			logins:    throttle.New(loginsPerSecond, loginBurst),
			callbacks: throttle.New(loginsPerSecond, loginBurst),
			failures:  throttle.New(throttle.FailuresPerSecond, throttle.FailuresBurst),
		},
		healthChecks: make(chan struct{}, maxHealthChecks),
		reviewed:     parts.Directory.Revision(),
		touched:      touched.NewReader(parts.Directory, parts.Sessions, parts.Grants)}
	if p.console == nil {
		p.console = console.NewHandler(console.Parts{Pages: p.pages})
	}
	if p.authenticated == nil {
		p.authenticated = func(context.Context) {}
	}
	p.routing.Store(&routing{public: &url.URL{Scheme: "https"}, provider: parts.Provider})
	p.sessions.EndWithUsers(p.userEnded(), false)
	return p, nil
}

// Load puts settings in force: all of them or, on an error, none. When it returns, every live request that they do not
// allow has been cut.
func (p *Proxy) Load(s Settings) error {
	use, err := p.Prepare(s, p.routing.Load().provider)
	if err == nil {
		use()
	}
	return err
}

// Prepare is [Proxy.Load] in two steps, with the provider that callers prove themselves to from then on: use puts the
// settings in force, which cannot fail. No other settings may be put in force between.
func (p *Proxy) Prepare(s Settings, provider *oidc.Provider) (use func(), err error) {
	var faults []error
	s.Check(func(path, problem string) { faults = append(faults, fmt.Errorf("%s: %s", path, problem)) })
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	old := p.routing.Load()
	rt, err := compile(s, old)
	if err != nil {
		return nil, err
	}
	rt.provider = provider
	useLook, err := p.pages.Prepare(s.pages())
	if err != nil {
		return nil, err
	}
	return func() {
		useLook()
		for _, r := range rt.all() {
			r.metrics = p.metrics.Route(r.name)
		}
		p.routing.Store(rt)
		p.reviewAll()
		old.closeUnused(rt)
		p.warnOfGroups(s)
	}, nil
}

// Provider returns the provider in force.
func (p *Proxy) Provider() *oidc.Provider { return p.routing.Load().provider }

// Hosts returns the hosts that the settings in force serve: that of public_url and those of the routes.
func (p *Proxy) Hosts() []string { return p.routing.Load().hostNames() }

// Trusts reports whether addr is in trusted_proxies, by the settings in force.
func (p *Proxy) Trusts(addr netip.Addr) bool { return p.routing.Load().trusts(addr) }

// ServeHTTP handles one request of the public listener.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	growStack(false)
	p.handle(response.New(w, r, p.routing.Load().stall), r, p.serve)
}

// handle has serve handle a request and writes the response if serve denied it.
func (p *Proxy) handle(w *response.Writer, r *http.Request, serve func(*response.Writer, *http.Request, *request) *denial) {
	var req *request
	defer func() { p.finish(r, req, w, recover()) }()
	traced := p.tracer.Begin(r, p.routing.Load().traceContext)
	denied := reloaded
	for denied == reloaded {
		req = newRequest(r, p.routing.Load())
		req.trace = traced
		denied = serve(w, r, req)
	}
	if denied == nil || denied.reason == clientGone {
		return
	}
	req.trace.Denied(string(denied.reason))
	cookies := w.Header()["Set-Cookie"]
	if !w.StartDenial() {
		return
	}
	if req.internal && cookies != nil { // set by a handler of ours, such as the deletion of a flow cookie
		w.Header()["Set-Cookie"] = cookies
	}
	p.logDenial(req, denied)
	if !p.writeForm(w, r, req, denied) {
		p.writeDenial(w, r, req, denied)
	}
}

// reloaded is returned by serve if the settings changed before the request was live. It is then served by the new ones.
var reloaded = &denial{}

// serve is the only way from a socket to an upstream. It returns why the request is denied, and nil if it responded.
// docs/architecture.md has its outline.
func (p *Proxy) serve(w *response.Writer, r *http.Request, req *request) *denial {
	denied := req.readTarget(r)
	w.HSTS = req.hstsHeader()
	if denied != nil {
		return denied
	}
	if req.internal {
		return p.serveInternal(w, r, req)
	}
	if denied := req.findRoute(); denied != nil {
		return denied
	}
	if denied := req.rejectUnset(r.Header); denied != nil {
		return denied
	}
	if denied := p.identify(r, req); denied != nil {
		return denied
	}
	if p.overloaded(req) {
		return deny(overloaded, "")
	}
	live := p.live.enter(req, w, r) // before the decision: a change after it finds the request among the live ones
	defer p.live.leaveUnlessTunneled(live)
	if p.routing.Load() != req.routing {
		return reloaded
	}
	decided := p.decide(req.routing, req, req.received)
	if denied := p.recordDecision(req, decided); denied != nil { // before the request is forwarded
		denied.bodyUnread = true
		return denied
	}
	p.live.noteAllowed(live, decided)
	if req.caller != nil {
		p.authenticated(r.Context())
	}
	if req.authClient != nil {
		return p.writeAllowed(w, live)
	}
	if req.route == req.routing.console {
		return p.serveConsole(w, r, live)
	}
	return p.forward(w, r, live)
}

// overloaded reports whether there are too many live requests, in all or to the upstream of req. Anonymous requests may
// not use the last quarter of the limit.
func (p *Proxy) overloaded(req *request) bool {
	limit := req.routing.maxLive
	if req.caller == nil {
		limit -= limit / 4
	}
	return p.live.full(limit) || req.route.upstream.full(req.routing)
}

// logDenial logs a denial, as a warning if the service or an upstream is the cause.
func (p *Proxy) logDenial(req *request, denied *denial) {
	level := slog.LevelDebug
	if denied.status() >= http.StatusInternalServerError {
		level = slog.LevelWarn
	}
	if p.log.Enabled(context.Background(), level) {
		p.logOf(req).Log(context.Background(), level, "request denied", "reason", denied.reason, "err", denied.detail, "rule", denied.rule,
			"host", req.host)
	}
}

// finish counts a request that has ended. If its response was cut short or never started, the connection or stream is
// aborted, so that the response does not look complete.
func (p *Proxy) finish(r *http.Request, req *request, w *response.Writer, panicked any) {
	if panicked == nil {
		w.FlushPending()
	}
	p.count(req, w.Status())
	if panicked != nil && panicked != http.ErrAbortHandler { //nolint:errorlint // net/http compares it with ==
		p.logOf(req).Error("request failed by a fault of the proxy", "err", panicked, "stack", string(debug.Stack()))
	}
	if panicked == nil {
		w.Linger(r.Body)
	}
	if abort := w.Release(); panicked != nil || abort {
		panic(http.ErrAbortHandler)
	}
}
