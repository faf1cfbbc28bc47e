package proxy

import "time"

// RouteHealth is how the targets of a route are.
type RouteHealth struct {
	Route   string
	Targets int
	Down    int  // those that fail their health check, or that could not be reached a moment ago
	Checked bool // by a health check
}

// Health returns how the targets of each route are.
func (p *Proxy) Health() (list []RouteHealth) {
	now := time.Now()
	for _, r := range p.routing.Load().routes {
		if r.upstream == nil || r.upstream.Upstream == nil {
			continue
		}
		h := RouteHealth{Route: r.name}
		h.Targets, h.Down = r.upstream.Available(now)
		_, h.Checked = r.upstream.Unhealthy()
		list = append(list, h)
	}
	return list
}

// LiveCount returns how many requests on routes are under way.
func (p *Proxy) LiveCount() (n int) {
	for _, r := range p.routing.Load().routes {
		if r.upstream != nil {
			n += int(r.upstream.live.Load())
		}
	}
	return n
}
