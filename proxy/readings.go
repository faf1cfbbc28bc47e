package proxy

import (
	"slices"

	"sallyport/policy"
	"sallyport/proxy/internal/canonical"
)

// readings are the paths that servers could read in the path of a request. The zero value is that of a path that every
// server reads alike.
type readings struct {
	exact  []string // by servers for which paths that differ in case are different paths
	folded []string // by others; nil unless a route of the host says path_case: insensitive
}

// routeOf returns the route of req by the settings rt, and the other readings of the path of req. All readings lead to
// that route: no rule of another route is evaded by a spelling that only the upstream understands.
func (rt *routing) routeOf(req *request) (*route, readings, *denial) {
	r := rt.find(req.host, req.path)
	switch {
	case r == nil:
		return nil, readings{}, deny(noRoute, "")
	case req.lenient && !r.lenient:
		return nil, readings{}, deny(badPath, "lenient spelling on a route with strict paths")
	case !req.lenient && r.folded == nil:
		return r, readings{}, nil
	}
	all, err := r.read(req.path)
	if err != nil {
		return nil, readings{}, deny(badPath, err.Error())
	}
	if !rt.leadsTo(r, all) {
		return nil, readings{}, deny(badPath, "different servers would read the path as that of different routes")
	}
	return r, all, nil
}

// read returns the readings of a canonical path by upstreams such as that of r.
func (r *route) read(path string) (all readings, err error) {
	if all.exact, err = canonical.Readings(path); err != nil || r.folded == nil {
		return all, err
	}
	all.folded, err = canonical.FoldedReadings(path)
	return all, err
}

// leadsTo reports whether every reading leads to r, and none to a path of ours.
func (rt *routing) leadsTo(r *route, all readings) bool {
	elsewhere := func(fold func(string) string) func(string) bool {
		return func(reading string) bool {
			return canonical.Under(reading, internalRoot) || rt.findReading(r.host, reading, fold) != r
		}
	}
	return !slices.ContainsFunc(all.exact, elsewhere(asWritten)) && !slices.ContainsFunc(all.folded, elsewhere(canonical.Fold))
}

func asWritten(path string) string { return path }

// findReading returns the route of host with the longest path that contains a reading, or nil. fold is applied to the
// paths of routes; it has been applied to the reading.
func (rt *routing) findReading(host, reading string, fold func(string) string) (longest *route) {
	length := 0
	for _, r := range rt.hosts[host] {
		if path := fold(canonical.Decoded(r.path)); len(path) > length && canonical.Under(reading, path) {
			longest, length = r, len(path)
		}
	}
	return longest
}

// decideReadings decides q for its own path and for every other reading of it. All must be allowed; then the decision
// holds until the first of them ends.
func (r *route) decideReadings(q *policy.Request, all readings) (decision policy.Decision) {
	decision = r.policy.Decide(q)
	for _, reading := range all.exact {
		if decision.Allow {
			q.Path = reading
			decision = bothAllow(decision, r.policy.Decide(q))
		}
	}
	for _, reading := range all.folded {
		if decision.Allow {
			q.Path = reading
			decision = bothAllow(decision, r.folded.Decide(q))
		}
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
	first.Until = policy.Earlier(first.Until, second.Until)
	return first
}
