package proxy

import (
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Throttle bounds how often one address may fail to prove who it is, or begin to.
// What it remembers is bounded: of the addresses that failed lately, so many.
type Throttle struct {
	every rate.Limit
	burst int

	mu         sync.Mutex // guards what follows
	young, old map[netip.Prefix]*rate.Limiter
}

// throttledMost bounds each of the two halves of what is remembered.
const throttledMost = 16_384

// NewThrottle lets an address do something burst times at once and then perSecond
// times a second.
func NewThrottle(perSecond float64, burst int) *Throttle {
	return &Throttle{every: rate.Limit(perSecond), burst: burst}
}

// Exhausted says whether an address has used up what it may. It takes nothing.
func (t *Throttle) Exhausted(address string) bool {
	who, ok := neighbourhood(address)
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.young[who]
	if l == nil {
		l = t.old[who]
	}
	return ok && l != nil && l.TokensAt(time.Now()) < 1
}

// Take uses up one of what an address may, and says whether there was one left.
func (t *Throttle) Take(address string) bool {
	who, ok := neighbourhood(address)
	if !ok {
		return true // not an address: a Unix socket or the like
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.limiter(who).Allow()
}

// limiter wants the lock held.
func (t *Throttle) limiter(who netip.Prefix) *rate.Limiter {
	if l := t.young[who]; l != nil {
		return l
	}
	l := t.old[who]
	if l == nil {
		l = rate.NewLimiter(t.every, t.burst)
	}
	if t.young == nil || len(t.young) >= throttledMost {
		t.young, t.old = map[netip.Prefix]*rate.Limiter{}, t.young
	}
	t.young[who] = l
	return l
}

// neighbourhood is the addresses that count as one: of IPv6 the /64 that one
// subscriber has.
func neighbourhood(address string) (netip.Prefix, bool) {
	ip, err := netip.ParseAddr(address)
	if err != nil {
		return netip.Prefix{}, false
	}
	ip = ip.Unmap().WithZone("")
	bits := 32
	if ip.Is6() {
		bits = 64
	}
	p, err := ip.Prefix(bits)
	return p, err == nil
}
