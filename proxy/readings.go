package proxy

import (
	"time"

	"sallyport/policy"
	"sallyport/proxy/internal/canonical"
)

// routeOf returns the route of req by the settings rt, and how else servers could read the path of req. All readings
// lead to that route: no rule of another route is evaded by a spelling that only the upstream understands.
func (rt *routing) routeOf(req *request) (*route, []string, *denial) {
	r := rt.find(req.host, req.path)
	switch {
	case r == nil:
		return nil, nil, deny(noRoute, "")
	case !req.lenient:
		return r, nil, nil
	case !r.lenient:
		return nil, nil, deny(badPath, "lenient spelling on a route with strict paths")
	}
	readings, err := canonical.Readings(req.path)
	if err != nil {
		return nil, nil, deny(badPath, err.Error())
	}
	for _, reading := range readings {
		if canonical.Under(reading, internalRoot) || rt.findDecoded(req.host, reading) != r {
			return nil, nil, deny(badPath, "different servers would read the path as that of different routes")
		}
	}
	return r, readings, nil
}

// findDecoded returns the route of host with the longest path that contains a decoded path, or nil.
func (rt *routing) findDecoded(host, path string) *route {
	for _, r := range rt.hosts[host] {
		if canonical.Under(path, canonical.Decoded(r.path)) {
			return r
		}
	}
	return nil
}

// decideReadings decides q for its own path and for every other reading of it. All must be allowed; then the decision
// holds until the first of them ends.
func (r *route) decideReadings(q *policy.Request, readings []string) policy.Decision {
	decision := r.policy.Decide(q)
	for _, reading := range readings {
		if !decision.Allow {
			break
		}
		q.Path = reading
		decision = bothAllow(decision, r.policy.Decide(q))
	}
	return decision
}

// bothAllow returns the decision for a request that has two readings, of which the first is allowed.
func bothAllow(first, second policy.Decision) policy.Decision {
	if !second.Allow {
		return second
	}
	if first.Report == nil {
		first.Report = second.Report
	}
	first.Until = earlier(first.Until, second.Until)
	return first
}

// earlier returns the earlier of two times, of which zero is never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
