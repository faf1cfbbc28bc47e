package proxy

import (
	"context"
	"sync"
	"time"
)

// checkHealth checks the targets of all upstreams that are due, in parallel, and waits for the results.
func (p *Proxy) checkHealth(ctx context.Context, now time.Time) {
	var all sync.WaitGroup
	for _, r := range p.routing.Load().routes { // no two share an upstream: its settings include the name of the route
		if r.upstream.settings.Health == nil {
			continue
		}
		all.Go(func() {
			r.upstream.CheckHealth(ctx, now, r.host, func(target string, healthy bool) {
				p.log.Warn("the health of an upstream changed", "route", r.name, "upstream", target, "healthy", healthy)
			})
		})
	}
	all.Wait()
}

// runHealthChecks checks the health of upstreams until ctx ends.
func (p *Proxy) runHealthChecks(ctx context.Context) {
	tick := time.NewTicker(expireEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			p.checkHealth(ctx, now)
		}
	}
}
