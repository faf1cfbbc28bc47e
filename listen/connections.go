package listen

import (
	"cmp"
	"context"
	"math"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sallyport/throttle"
)

// Connections bounds how many connections the clients of one or several servers hold, in all and from one address. Where
// there are as many already, the new connection is accepted and another is closed: one that is idle, else the slowest.
// A connection with a request of a caller who is authenticated is never closed for that; see [Authenticated].
//
// So a client that holds connections without using them loses them to the next one that comes, and people who are signed
// in keep theirs.
type Connections struct {
	exempt func(netip.Addr) bool // addresses without a bound of their own
	begun  time.Time

	closed      *prometheus.CounterVec
	open, limit prometheus.Collector

	mu         sync.Mutex // guards what follows, and the state of each conn
	freed      *sync.Cond // on mu: a connection ended or may now be closed, or a listener was closed
	perAddress int
	all        group
	clients    map[netip.Prefix]*group // by address (IPv6: /64); those with connections
}

// group is the connections that share a bound: all of them, or those of one address.
type group struct {
	limit, count int
	closable     map[*conn]struct{} // those that may be closed in favour of a new one, and some others: see [group.next]
}

// Reasons for which a connection is closed: values of the label "reason".
const (
	reasonIdle    = "idle"    // no request was under way, and a new connection needed its place
	reasonSlow    = "slow"    // the same, with a request under way, or before the first one
	reasonAddress = "address" // a new connection from an address that may have no more, and none of whose may be closed
)

// ConnectionLimits describe [Connections].
type ConnectionLimits struct {
	Name       string                // of the listener, in metrics
	Total      int                   // connections at once; required
	PerAddress int                   // connections at once from one IPv4 address or IPv6 /64; 0 means no limit
	Exempt     func(netip.Addr) bool // reports whether PerAddress does not apply to an address; nil: it applies to all
}

// NewConnections returns the connections, still none, of servers that share the limits l.
func NewConnections(l ConnectionLimits) *Connections {
	t := &Connections{perAddress: l.PerAddress, exempt: l.Exempt, begun: time.Now(), clients: map[netip.Prefix]*group{},
		all: group{limit: l.Total, closable: map[*conn]struct{}{}}}
	t.freed = sync.NewCond(&t.mu)
	labels := prometheus.Labels{"listener": l.Name}
	t.closed = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "sallyport_connections_closed_total", ConstLabels: labels,
		Help: "Connections closed because there were too many, in all or from one address."}, []string{"reason"})
	for _, reason := range []string{reasonIdle, reasonSlow, reasonAddress} {
		t.closed.WithLabelValues(reason)
	}
	t.open = prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "sallyport_connections", ConstLabels: labels,
		Help: "Connections of clients."}, func() float64 { return float64(t.count()) })
	t.limit = prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "sallyport_connections_limit", ConstLabels: labels,
		Help: "How many connections clients may have at once."}, func() float64 { return float64(t.total()) })
	return t
}

// Limit puts other limits in force. Of connections beyond them those are closed that would be closed for a new one.
func (t *Connections) Limit(total, perAddress int) {
	t.mu.Lock()
	t.all.limit, t.perAddress = total, perAddress
	surplus := t.surplus(&t.all)
	for _, g := range t.clients {
		g.limit = t.clientLimit()
		surplus = append(surplus, t.surplus(g)...)
	}
	t.freed.Broadcast()
	t.mu.Unlock()
	for _, c := range surplus {
		_ = c.Conn.Close()
	}
}

// surplus removes the connections of g beyond its limit that may be closed; the caller must close them once mu is free.
func (t *Connections) surplus(g *group) (removed []*conn) {
	for g.count > g.limit {
		c := g.next(t.now())
		if c == nil {
			break
		}
		t.remove(c)
		t.closed.WithLabelValues(c.reason()).Inc()
		removed = append(removed, c)
	}
	return removed
}

// clientLimit returns the limit of the group of an address. mu is held.
func (t *Connections) clientLimit() int { return cmp.Or(t.perAddress, math.MaxInt) }

func (t *Connections) total() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.all.limit
}

func (t *Connections) count() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.all.count
}

// enter counts c in g. If g is full, it removes another connection, which the caller must close once mu is free, and
// reports false if none may be closed. mu is held.
func (t *Connections) enter(c *conn, g *group) (displaced *conn, ok bool) {
	if g.count >= g.limit {
		if displaced = g.next(t.now()); displaced == nil {
			return nil, false
		}
		t.remove(displaced)
		t.closed.WithLabelValues(displaced.reason()).Inc()
	}
	g.count++
	c.groups = append(c.groups, g)
	g.closable[c] = struct{}{}
	return displaced, true
}

// remove takes a connection that ends out of its groups. mu is held.
func (t *Connections) remove(c *conn) {
	for _, g := range c.groups {
		g.count--
		delete(g.closable, c)
		if g != &t.all && g.count == 0 {
			delete(t.clients, c.client)
		}
	}
	c.groups, c.ended = nil, true
	t.freed.Broadcast()
}

// maxCompared bounds how many connections are compared to find the one that is closed. Iteration over a map begins
// anywhere, so that of more connections the slowest of a sample is closed.
const maxCompared = 1000

// next returns the connection that goes first, or nil if none may be closed. Those that may not are only now taken out of
// closable, and added again once they may be: most requests begin and end without a need for this.
func (g *group) next(now time.Duration) (first *conn) {
	compared := 0
	for c := range g.closable {
		if !c.mayBeClosed() {
			delete(g.closable, c)
			c.left = true
			continue
		}
		if first == nil || c.goesBefore(first, now) {
			first = c
		}
		if compared++; compared == maxCompared {
			break
		}
	}
	return first
}

// now is the time since t was made.
func (t *Connections) now() time.Duration { return time.Since(t.begun) }

// clientGroup returns the group of an address, or nil if the address has no bound. mu is held.
func (t *Connections) clientGroup(client netip.Prefix) *group {
	if !client.IsValid() {
		return nil
	}
	g := t.clients[client]
	if g == nil {
		g = &group{limit: t.clientLimit(), closable: map[*conn]struct{}{}}
		t.clients[client] = g
	}
	return g
}

// clientOf returns the addresses that are counted together with addr, or the zero value if there is no bound for it.
func (t *Connections) clientOf(addr netip.Addr) netip.Prefix {
	t.mu.Lock()
	unlimited := t.perAddress == 0
	t.mu.Unlock()
	if unlimited || t.exempt != nil && t.exempt(addr) {
		return netip.Prefix{}
	}
	return throttle.Client(addr)
}

// track is the ConnState hook of an [http.Server].
func (t *Connections) track(c *conn, state http.ConnState) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch state {
	case http.StateActive:
		c.idle, c.authenticated = false, false
		c.spare(requestSpared)
	case http.StateIdle:
		c.idle = true
		c.spare(idleSpared)
		t.freed.Broadcast()
	default:
		return
	}
	c.joinClosable()
}

// connKey is the key of the connection in the context of a request.
type connKey struct{}

// Authenticated notes that the caller of the request with the context ctx is authenticated. The connection is not closed
// in favour of another while a request is under way on it.
func Authenticated(ctx context.Context) {
	c, ok := ctx.Value(connKey{}).(*conn)
	if !ok {
		return
	}
	c.of.mu.Lock()
	defer c.of.mu.Unlock()
	c.authenticated = true
}

// Collectors returns the metrics of t.
func (t *Connections) Collectors() []prometheus.Collector {
	return []prometheus.Collector{t.closed, t.open, t.limit}
}
