package proxy

import (
	"context"
	"sync"
	"time"

	"sallyport/proxy/internal/canonical"
)

// maxHealthChecks is how many targets are checked at once, over all routes.
const maxHealthChecks = 64

// checkHealth checks the targets of all upstreams that are due, in parallel, and waits for the results. Calls may
// overlap.
func (p *Proxy) checkHealth(ctx context.Context, now time.Time) {
	var all sync.WaitGroup
	for _, r := range p.routing.Load().routes { // no two share an upstream: its settings include the name of the route
		if r.upstream.settings.Health == nil {
			continue
		}
		host := r.host
		if canonical.IsWildcard(host) {
			host = "" // the target's own
		}
		all.Go(func() {
			r.upstream.CheckHealth(ctx, now, host, p.healthChecks, func(target string, healthy bool) {
				p.log.Warn("the health of an upstream changed", "route", r.name, "upstream", target, "healthy", healthy)
			})
		})
	}
	all.Wait()
}

// runHealthChecks checks the health of upstreams until ctx ends. It does not wait for one round of checks before it starts
// the next, so that a slow target delays the checks of no other.
func (p *Proxy) runHealthChecks(ctx context.Context) {
	tick := time.NewTicker(expireEvery)
	defer tick.Stop()
	var rounds sync.WaitGroup // each ends within the longest timeout of a check, or waits for a slot
	defer rounds.Wait()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			rounds.Go(func() { p.checkHealth(ctx, now) })
		}
	}
}
