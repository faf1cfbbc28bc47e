// Package throttle limits how often one client address may do something, such as fail to authenticate.
//
// Each address has a token bucket, and all addresses of one IPv6 /64 share one. The memory for the buckets is bounded:
// an address that was not seen while maxAddresses others were starts again with a full bucket.
package throttle

import (
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// How often one address may fail to authenticate. Many people may share an address, so the limit is far above what one
// person does.
const (
	FailuresPerSecond = 5
	FailuresBurst     = 100
)

// maxAddresses bounds each of the two generations of buckets.
const maxAddresses = 16_384

// Throttle holds a token bucket for each client address. It is safe for concurrent use.
type Throttle struct {
	limit rate.Limit
	burst int

	mu sync.Mutex // guards the two generations
	// A bucket moves to current when it is used. When current is full, it becomes previous, and the buckets of the
	// old previous are forgotten.
	current, previous map[netip.Prefix]*rate.Limiter
}

// New returns a Throttle that allows each address burst events at once and perSecond events a second after that.
func New(perSecond float64, burst int) *Throttle {
	return &Throttle{limit: rate.Limit(perSecond), burst: burst}
}

// Exhausted reports whether the bucket of address is empty. It takes no token.
func (t *Throttle) Exhausted(address string) bool {
	client, ok := clientPrefix(address)
	if !ok {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	bucket := t.current[client]
	if bucket == nil {
		bucket = t.previous[client]
	}
	return bucket != nil && bucket.TokensAt(time.Now()) < 1
}

// Allow takes a token from the bucket of address and reports whether there was one. It always allows text that is not
// an IP address, such as the peer of a Unix socket.
func (t *Throttle) Allow(address string) bool {
	client, ok := clientPrefix(address)
	if !ok {
		return true
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.bucket(client).Allow()
}

// bucket returns the bucket of client and makes it if needed. The caller holds t.mu.
func (t *Throttle) bucket(client netip.Prefix) *rate.Limiter {
	if bucket := t.current[client]; bucket != nil {
		return bucket
	}
	bucket := t.previous[client]
	if bucket == nil {
		bucket = rate.NewLimiter(t.limit, t.burst)
	}
	if t.current == nil || len(t.current) >= maxAddresses {
		t.current, t.previous = map[netip.Prefix]*rate.Limiter{}, t.current
	}
	t.current[client] = bucket
	return bucket
}

// clientPrefix returns the addresses that share a bucket with address. It reports false if address is not an IP address.
func clientPrefix(address string) (netip.Prefix, bool) {
	ip, err := netip.ParseAddr(address)
	return Client(ip), err == nil
}

// Client returns the addresses that count as one client with addr: the IPv4 address alone, or the /64 that one IPv6
// subscriber has.
func Client(addr netip.Addr) netip.Prefix {
	addr = addr.Unmap().WithZone("")
	bits := 32
	if addr.Is6() {
		bits = 64
	}
	client, _ := addr.Prefix(bits)
	return client
}
