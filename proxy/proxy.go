// Package proxy is the front door: it decides of every request whether it may pass to an application, and goes on
// deciding as long as the request lives.
//
// Proxy.serve is the only road from a socket to an upstream. What lets a request in keeps it in: the question of
// ask is put again to every live request when the directory, the sessions or the settings change, and those that
// would not be let in now are cut.
package proxy

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"net/url"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"sallyport/audit"
	"sallyport/console"
	"sallyport/directory"
	"sallyport/oidc"
	"sallyport/proxy/internal/canonical"
	"sallyport/session"
	"sallyport/throttle"
)

// Parts are what a Proxy stands on.
type Parts struct {
	Directory *directory.Directory
	Sessions  *session.Sessions
	Provider  *oidc.Provider
	Audit     *audit.Log
	Pages     *console.Pages
	Log       *slog.Logger
}

// Proxy is the front door. It knows no host until Load.
type Proxy struct {
	directory    *directory.Directory
	sessions     *session.Sessions
	provider     *oidc.Provider
	audit        *audit.Log
	pages        *console.Pages
	log          *slog.Logger
	metrics      *metrics
	assertions   *assertions
	buffers      sync.Pool // of *[32 << 10]byte, that answers are copied through
	routing      atomic.Pointer[routing]
	live         liveSet
	loginStarts  *throttle.Throttle // logins that an address starts
	loginReturns *throttle.Throttle // callbacks; one login can be replayed many times
	authFailures *throttle.Throttle // tokens that were rejected

	reviewing sync.Mutex // one review at a time; guards reviewed
	reviewed  uint64     // the directory's revision that the last review saw
}

// How often one address may start a login, and finish one. Many people may share an address, so the limit is far above
// what one person does.
const loginsPerSecond, loginBurst = 20, 400

// New makes a Proxy and starts nothing.
func New(parts Parts) (*Proxy, error) {
	keys, err := newAssertions(time.Now())
	if err != nil {
		return nil, err
	}
	p := &Proxy{directory: parts.Directory, sessions: parts.Sessions, provider: parts.Provider, audit: parts.Audit,
		pages: parts.Pages, log: parts.Log,
		metrics: newMetrics(), assertions: keys, live: liveSet{live: map[*liveRequest]struct{}{}},
		buffers:     sync.Pool{New: func() any { return new([32 << 10]byte) }},
		loginStarts: throttle.New(loginsPerSecond, loginBurst), loginReturns: throttle.New(loginsPerSecond, loginBurst),
		authFailures: throttle.New(throttle.FailuresPerSecond, throttle.FailuresBurst),
		reviewed:     parts.Directory.Revision()}
	p.routing.Store(&routing{public: &url.URL{Scheme: "https"}})
	return p, nil
}

// Load puts settings in force, all of them or, on an error, none. When it returns, every live request that they do
// not allow has been cut.
func (p *Proxy) Load(s Settings) error {
	var faults []error
	s.Check(func(path, problem string) { faults = append(faults, fmt.Errorf("%s: %s", path, problem)) })
	if err := errors.Join(faults...); err != nil {
		return err
	}
	old := p.routing.Load()
	rt, err := compile(s, old)
	if err != nil {
		return err
	}
	for _, r := range rt.routes {
		r.metrics = p.metrics.route(r.name)
	}
	p.routing.Store(rt)
	p.review()
	old.closeUnused(rt)
	p.warnOfGroups(s)
	return nil
}

// Hosts are those that are ours by the settings in force: public_url's and every route's.
func (p *Proxy) Hosts() []string { return p.routing.Load().hostNames() }

// Believes says whether addr is in trusted_proxies, by the settings in force.
func (p *Proxy) Trusts(addr netip.Addr) bool { return p.routing.Load().trusts(addr) }

// startOver says that new settings came before the request was in the live set; it begins again under them.
var reloaded = &denial{}

// ServeHTTP answers one request.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	answer := newResponseWriter(w, r, p.routing.Load().stall)
	var req *request
	defer func() { p.finish(req, answer, recover()) }()
	denied := reloaded
	for denied == reloaded {
		req = &request{id: newID(), received: time.Now().UTC(), routing: p.routing.Load(), method: r.Method}
		denied = p.serve(answer, r, req)
	}
	if denied != nil && denied.reason != clientGone && answer.startDenial() {
		p.logDenial(req, denied)
		p.writeDenial(answer, r, req, *denied)
	}
}

// serve is the only road from a socket to an upstream. It returns why the request was not answered.
func (p *Proxy) serve(w *responseWriter, r *http.Request, req *request) *denial {
	denied := req.read(r) // host and path get their one spelling, or are refused
	if w.hsts = req.hstsHeader(); denied != nil {
		return denied
	}
	if req.internal {
		w.limitDrain()
		if w.hasBody && !w.http1 {
			r.Body = &requestBody{Reader: r.Body, stallTimeout: drainTimeout, onStall: w.stop}
		}
		p.serveInternal(w, r, req)
		return nil
	}
	if req.route = req.routing.find(req.host, req.path); req.route == nil {
		return deny(noRoute, "")
	}
	if req.lenient && !req.route.lenient {
		return deny(badPath, "written leniently")
	}
	if req.preflight = req.route.passPreflights && req.authClient == nil && isPreflight(r); req.preflight {
		delete(r.Header, "Authorization")
		delete(r.Header, "Cookie")
	} else if denied := p.identify(r, req); denied != nil {
		req.route.metrics.countDecision(decisionDeny, denied.reason)
		return denied
	}
	if p.live.full(req.routing.maxLive) || req.route.upstream.full(req.routing) {
		return deny(overloaded, "")
	}
	live := p.live.enter(req, w, r) // before asking: a change after the answer finds the request here
	defer func() {
		if !live.tunneled {
			p.live.leave(live)
		}
	}()
	if p.routing.Load() != req.routing {
		return reloaded
	}
	out := p.decide(req.routing, req, req.received)
	if denied := p.recordDecision(req, out); denied != nil { // before the deed
		return denied
	}
	if out.denial != nil {
		return out.denial
	}
	live.decideAgainAt(out.decision.Until)
	if req.authClient != nil {
		return p.writeAllowed(w, live)
	}
	return p.forward(w, r, live)
}

const maxMethodBytes = 32 // bytes

// read takes from r what is decided on. r is not looked at again for any of it.
func (req *request) read(r *http.Request) *denial {
	req.setOrigin(r)
	var err error
	if req.host, err = canonical.RequestHost(r); err != nil {
		return deny(badHost, err.Error())
	}
	if req.method == http.MethodConnect || len(req.method) > maxMethodBytes {
		return deny(methodRefused, "")
	}
	var raw string
	if raw, req.query, err = canonical.RequestTarget(r); err != nil {
		return deny(badPath, err.Error())
	}
	if req.path, req.lenient, err = canonical.Path(raw); err != nil {
		return deny(badPath, err.Error())
	}
	if req.lenient && canonical.Under(req.path, internalRoot) { // no route's, and a check of a lenient path must not look like one
		return deny(badPath, "the door's own, written leniently")
	}
	if req.internal = req.isInternal(); req.internal && canonical.Under(req.path, checkPath) {
		return req.readCheck(r, raw)
	}
	return nil
}

const internalRoot = "/.sallyport"

// atDoor says whether the visit is to the door itself: its paths on every host of ours, and the front page of
// public_url's where no route is.
func (req *request) isInternal() bool {
	if canonical.Under(req.path, internalRoot) {
		return req.routing.hasHost(req.host)
	}
	return req.path == "/" && req.host == req.routing.host && req.routing.find(req.host, req.path) == nil
}

// tell logs a refusal: failings of ours or an upstream's loudly, all others quietly.
func (p *Proxy) logDenial(req *request, denied *denial) {
	level := slog.LevelDebug
	if denied.status >= http.StatusInternalServerError {
		level = slog.LevelWarn
	}
	p.log.Log(context.Background(), level, "request refused", "reason", denied.reason, "err", denied.detail, "rule", denied.rule,
		"host", req.host, "request", req.id)
}

// finish counts a request that is over. One that was begun to be answered and cannot be, or never was, ends without
// the look of a whole answer: its connection or stream is torn down.
func (p *Proxy) finish(req *request, w *responseWriter, panicked any) {
	if panicked == nil {
		w.flushPending()
	}
	code := w.status()
	p.count(req, code)
	if panicked != nil && panicked != http.ErrAbortHandler {
		p.log.Error("request failed by a fault of ours", "err", panicked, "request", req.id, "stack", string(debug.Stack()))
	}
	cutOff := w.release() && !w.refusing && w.taken == nil
	if panicked != nil || code == 0 || cutOff {
		panic(http.ErrAbortHandler)
	}
}

// newID names a request. It is not secret.
func newID() string {
	var id [16]byte
	binary.BigEndian.PutUint64(id[:8], rand.Uint64())
	binary.BigEndian.PutUint64(id[8:], rand.Uint64())
	return hex.EncodeToString(id[:])
}
