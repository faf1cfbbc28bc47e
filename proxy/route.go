package proxy

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"sallyport/directory"
	"sallyport/policy"
	"sallyport/proxy/internal/canonical"
)

// table is the settings in force, ready to be asked. It is replaced as a whole and never altered.
type routing struct {
	public         *url.URL // scheme and host, with a port where it is not the scheme's own
	host           string   // public's, canonical
	trustedProxies []netip.Prefix
	headers        IdentityHeaders
	hsts           string // the header's value; "" for none
	managed        headerNames
	secret         secret // of fronts; nil: none is asked for

	unusedIdentityHeaders map[string]bool     // usual identity headers that are not sent, by CGI name
	hosts                 map[string][]*route // by canonical host; longest path first
	routes                []*route            // as written

	maxLive int // requests under way at once
	stall   time.Duration
}

// route is one of Settings.Routes, compiled.
type route struct {
	name              string
	host              string
	path              string // canonical, without a slash at its end except for the root
	owner             string
	policy            *policy.Policy
	session           bool   // accepts sessions
	bearer            bool   // accepts bearer tokens
	passAuthorization bool   // passes Authorization on
	lenient           bool   // takes lenient paths
	passPreflights    bool   // lets CORS preflight requests pass
	maxBody           int    // bytes; 0: no bound
	stripPath         string // leading segments that the upstream does not see; "" for none
	addPath           string // and those it sees before the rest
	upstream          *routeUpstream
	metrics           *routeMetrics

	requestEdits, responseEdits headerEdits
	groupIDs, groupNames        map[string]bool // that the policy names
}

// groups are those of the user's that the route's policy names, as it names them.
func (r *route) groupsOf(u *directory.User) []string {
	var list []string
	for i, id := range u.GroupIDs {
		switch {
		case r.groupIDs[id]:
			list = append(list, id)
		case r.groupNames[u.GroupNames[i]]:
			list = append(list, u.GroupNames[i])
		}
	}
	return list
}

// upstreamOf is the upstream of w: the one t has if it would be the same.
func (rt *routing) upstreamOf(w Route) (*routeUpstream, error) {
	for _, r := range rt.routes {
		if r.upstream.same(w) {
			return r.upstream, nil
		}
	}
	return newUpstream(w)
}

// drop closes what t has open to upstreams that next does not keep.
func (rt *routing) closeUnused(next *routing) {
	for _, r := range rt.routes {
		if !slices.ContainsFunc(next.routes, func(n *route) bool { return n.upstream == r.upstream }) {
			r.upstream.CloseIdleConnections()
		}
	}
}

// find is the route of host whose path is the longest that path is under.
func (rt *routing) find(host, path string) *route {
	for _, r := range rt.hosts[host] {
		if canonical.Under(path, r.path) {
			return r
		}
	}
	return nil
}

// knows says whether host is one of ours.
func (rt *routing) hasHost(host string) bool {
	_, ok := rt.hosts[host]
	return ok || host == rt.host
}

// names are the hosts that are ours, in order.
func (rt *routing) hostNames() []string {
	names := slices.Collect(maps.Keys(rt.hosts))
	if _, also := rt.hosts[rt.host]; !also && rt.host != "" {
		names = append(names, rt.host)
	}
	slices.Sort(names)
	return names
}

// origin is where browsers find host: scheme and port are those of public_url for every host.
func (rt *routing) origin(host string) string {
	return rt.public.Scheme + "://" + rt.authority(host)
}

// authority is host with public_url's port, where that is not the scheme's own.
func (rt *routing) authority(host string) string {
	if port := rt.public.Port(); port != "" {
		return host + ":" + port
	}
	return host
}

// believes says whether what addr says about its clients is true.
func (rt *routing) trusts(addr netip.Addr) bool {
	return slices.ContainsFunc(rt.trustedProxies, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// compile makes the table of settings that Check found nothing wrong with. What old has open to upstreams that stay
// as they were is kept.
func compile(s Settings, old *routing) (*routing, error) {
	public, err := parsePublicURL(s.PublicURL)
	if err != nil {
		return nil, fmt.Errorf("public_url: %w", err)
	}
	rt := &routing{public: public, headers: s.IdentityHeaders.canonical(), managed: managedNames(s.IdentityHeaders), unusedIdentityHeaders: unusedIdentityHeaders(s.IdentityHeaders), hosts: map[string][]*route{},
		maxLive: min(cmp.Or(s.Limits.LiveRequests, defaultLimits.LiveRequests), maxLiveByMemory()), stall: cmp.Or(s.Limits.Stall, defaultLimits.Stall)}
	if rt.host, err = canonical.Host(public.Host); err != nil {
		return nil, fmt.Errorf("public_url: %w", err)
	}
	if rt.secret, err = readSecret(s.ForwardAuth.SecretFile); err != nil {
		return nil, fmt.Errorf("forward_auth.secret_file: %w", err)
	}
	rt.hsts = s.HSTS.header(public, rt.host)
	for _, text := range s.TrustedProxies {
		p, err := parseTrusted(text)
		if err != nil {
			return nil, fmt.Errorf("trusted_proxies: %w", err)
		}
		rt.trustedProxies = append(rt.trustedProxies, p)
	}
	for _, written := range s.Routes {
		r, err := compileRoute(written, s)
		if err != nil {
			return nil, fmt.Errorf("route %s: %w", written.Name, err)
		}
		if r.upstream, err = old.upstreamOf(written); err != nil {
			return nil, fmt.Errorf("route %s: upstream: %w", written.Name, err)
		}
		rt.routes = append(rt.routes, r)
		rt.hosts[r.host] = append(rt.hosts[r.host], r)
	}
	for _, routes := range rt.hosts {
		slices.SortStableFunc(routes, func(a, b *route) int { return len(b.path) - len(a.path) })
	}
	return rt, nil
}

func compileRoute(w Route, s Settings) (*route, error) {
	r := &route{name: w.Name, owner: w.Owner, passAuthorization: w.PassAuthorization, lenient: w.PathEncoding == lenientPaths,
		passPreflights: w.Preflight == passPreflight, maxBody: w.MaxBody, requestEdits: w.RequestHeaders.compile(), responseEdits: w.ResponseHeaders.compile()}
	accepts := func(word string) bool { return len(w.Accept) == 0 || slices.Contains(w.Accept, word) }
	r.session, r.bearer = accepts(acceptSession), accepts(acceptBearer)
	var err error
	if r.host, err = canonical.HostName(w.Host); err != nil {
		return nil, err
	}
	if r.path, err = routePath(w.Path); err != nil {
		return nil, err
	}
	if r.stripPath, r.addPath, err = w.Rewrite.compile(); err != nil {
		return nil, fmt.Errorf("rewrite: %w", err)
	}
	var rules []policy.Named
	for _, p := range s.Policies {
		if slices.Contains(w.Policy, p.Name) {
			rules = append(rules, p)
		}
	}
	if r.policy, err = policy.Compile(rules, policy.Options{TrustGroupNames: s.TrustGroupNames}); err != nil {
		return nil, fmt.Errorf("policy %s: %w", strings.Join(w.Policy, ", "), err)
	}
	r.groupIDs, r.groupNames = setOf(r.policy.GroupIDs()), setOf(r.policy.GroupNames())
	return r, nil
}

func setOf(words []string) map[string]bool {
	m := make(map[string]bool, len(words))
	for _, word := range words {
		m[word] = true
	}
	return m
}
