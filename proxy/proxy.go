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
	"sallyport/session"
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
	directory  *directory.Directory
	sessions   *session.Sessions
	provider   *oidc.Provider
	audit      *audit.Log
	pages      *console.Pages
	log        *slog.Logger
	numbers    *numbers
	assertions *assertions
	buffers    sync.Pool // of *[32 << 10]byte, that answers are copied through
	table      atomic.Pointer[table]
	live       liveSet
	starts     *Throttle // logins begun
	returns    *Throttle // and those that come back, of which one may be made to many times
	failures   *Throttle // tokens refused

	reviewing sync.Mutex // one review at a time; guards reviewed
	reviewed  uint64     // the directory's revision that the last review saw
}

// How often one address may begin to sign in, and fail to prove who it is. Many
// people may share an address, so it is far more than one person does.
const (
	startsPerSecond, startsAtOnce     = 20, 400
	FailuresPerSecond, FailuresAtOnce = 5, 100
)

// New makes a Proxy and starts nothing.
func New(parts Parts) (*Proxy, error) {
	keys, err := newAssertions(time.Now())
	if err != nil {
		return nil, err
	}
	p := &Proxy{directory: parts.Directory, sessions: parts.Sessions, provider: parts.Provider, audit: parts.Audit,
		pages: parts.Pages, log: parts.Log,
		numbers: newNumbers(), assertions: keys, live: liveSet{live: map[*liveRequest]struct{}{}},
		buffers: sync.Pool{New: func() any { return new([32 << 10]byte) }},
		starts:  NewThrottle(startsPerSecond, startsAtOnce), returns: NewThrottle(startsPerSecond, startsAtOnce),
		failures: NewThrottle(FailuresPerSecond, FailuresAtOnce),
		reviewed: parts.Directory.Revision()}
	p.table.Store(&table{public: &url.URL{Scheme: "https"}})
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
	old := p.table.Load()
	t, err := compile(s, old)
	if err != nil {
		return err
	}
	for _, r := range t.routes {
		r.numbers = p.numbers.route(r.name)
	}
	p.table.Store(t)
	p.review()
	old.drop(t)
	p.warnOfGroups(s)
	return nil
}

// Hosts are those that are ours by the settings in force: public_url's and every route's.
func (p *Proxy) Hosts() []string { return p.table.Load().names() }

// Believes says whether addr is in trusted_proxies, by the settings in force.
func (p *Proxy) Believes(addr netip.Addr) bool { return p.table.Load().believes(addr) }

// startOver says that new settings came before the request was in the live set; it begins again under them.
var startOver = &refusal{}

// ServeHTTP answers one request.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	answer := newResponseWriter(w, r, p.table.Load().stall)
	var v *visit
	defer func() { p.finish(v, answer, recover()) }()
	x := startOver
	for x == startOver {
		v = &visit{id: newID(), received: time.Now().UTC(), table: p.table.Load(), method: r.Method}
		x = p.serve(answer, r, v)
	}
	if x != nil && x.reason != clientGone && answer.startDenial() {
		p.tell(v, x)
		p.refuse(answer, r, v, *x)
	}
}

// serve is the only road from a socket to an upstream. It returns why the request was not answered.
func (p *Proxy) serve(w *responseWriter, r *http.Request, v *visit) *refusal {
	x := v.read(r) // host and path get their one spelling, or are refused
	if w.hsts = v.hstsHeader(); x != nil {
		return x
	}
	if v.door {
		w.limitDrain()
		if w.hasBody && !w.http1 {
			r.Body = &requestBody{Reader: r.Body, stallTimeout: drainTimeout, onStall: w.stop}
		}
		p.serveDoor(w, r, v)
		return nil
	}
	if v.route = v.table.find(v.host, v.path); v.route == nil {
		return refused(noRoute, "")
	}
	if v.lenient && !v.route.lenient {
		return refused(badPath, "written leniently")
	}
	if v.probe = v.route.probes && v.front == nil && isPreflight(r); v.probe {
		delete(r.Header, "Authorization")
		delete(r.Header, "Cookie")
	} else if x := p.identify(r, v); x != nil {
		v.route.numbers.decided(verdictDeny, x.reason)
		return x
	}
	if p.live.full(v.table.mostLive) || v.route.upstream.full(v.table) {
		return refused(overloaded, "")
	}
	l := p.live.enter(v, w, r) // before asking: a change after the answer finds the request here
	defer func() {
		if !l.tunneled {
			p.live.leave(l)
		}
	}()
	if p.table.Load() != v.table {
		return startOver
	}
	a := p.ask(v.table, v, v.received)
	if x := p.note(v, a); x != nil { // before the deed
		return x
	}
	if a.refusal != nil {
		return a.refusal
	}
	l.askAt(a.decision.Until)
	if v.front != nil {
		return p.vouch(w, l)
	}
	return p.forward(w, r, l)
}

const longestMethod = 32 // bytes

// read takes from r what is decided on. r is not looked at again for any of it.
func (v *visit) read(r *http.Request) *refusal {
	v.setOrigin(r)
	var err error
	if v.host, err = authority(r); err != nil {
		return refused(badHost, err.Error())
	}
	if v.method == http.MethodConnect || len(v.method) > longestMethod {
		return refused(methodRefused, "")
	}
	raw, query, ok := requestTarget(r)
	if !ok {
		return refused(badPath, "target is not a path with an optional query")
	}
	v.query = query
	if v.path, v.lenient, err = canonicalPath(raw); err != nil {
		return refused(badPath, err.Error())
	}
	if v.lenient && under(v.path, doorRoot) { // no route's, and a check of a lenient path must not look like one
		return refused(badPath, "the door's own, written leniently")
	}
	if v.door = v.atDoor(); v.door && under(v.path, checkPath) {
		return v.readCheck(r, raw)
	}
	return nil
}

const doorRoot = "/.sallyport"

// atDoor says whether the visit is to the door itself: its paths on every host of ours, and the front page of
// public_url's where no route is.
func (v *visit) atDoor() bool {
	if under(v.path, doorRoot) {
		return v.table.knows(v.host)
	}
	return v.path == "/" && v.host == v.table.host && v.table.find(v.host, v.path) == nil
}

// tell logs a refusal: failings of ours or an upstream's loudly, all others quietly.
func (p *Proxy) tell(v *visit, x *refusal) {
	level := slog.LevelDebug
	if x.status >= http.StatusInternalServerError {
		level = slog.LevelWarn
	}
	p.log.Log(context.Background(), level, "request refused", "reason", x.reason, "err", x.detail, "rule", x.rule,
		"host", v.host, "request", v.id)
}

// finish counts a request that is over. One that was begun to be answered and cannot be, or never was, ends without
// the look of a whole answer: its connection or stream is torn down.
func (p *Proxy) finish(v *visit, w *responseWriter, panicked any) {
	if panicked == nil {
		w.flushPending()
	}
	code := w.status()
	p.count(v, code)
	if panicked != nil && panicked != http.ErrAbortHandler {
		p.log.Error("request failed by a fault of ours", "err", panicked, "request", v.id, "stack", string(debug.Stack()))
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
