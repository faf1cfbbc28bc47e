package proxy

import (
	"context"
	"sync"
	"time"
)

// checkHealth asks every target whose time has come how it is, all at once, and waits for their answers.
func (p *Proxy) checkHealth(ctx context.Context, now time.Time) {
	var all sync.WaitGroup
	seen := map[*upstream]bool{}
	for _, r := range p.routing.Load().routes {
		h := r.upstream.written.Health
		if h == nil || seen[r.upstream] {
			continue
		}
		seen[r.upstream] = true
		for _, t := range r.upstream.targets {
			if now.Sub(t.checked) < h.Every {
				continue
			}
			t.checked = now
			all.Go(func() {
				was := t.unhealthy.Load()
				t.check(ctx, h, r.healthHost())
				if is := t.unhealthy.Load(); is != was && ctx.Err() == nil {
					p.log.Warn("the health of an upstream changed", "route", r.name, "upstream", t.host, "well", !is)
				}
			})
		}
	}
	all.Wait()
	p.metrics.countTargetsDown(p.routing.Load())
}

// healthHost is the host that a check asks for: what the route's requests do.
func (r *route) healthHost() string {
	switch named := r.upstream.written.UpstreamHost; named {
	case "", publicHost:
		return r.host
	case upstreamsHost:
		return ""
	default:
		return named
	}
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
