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
)

// table is the settings in force, ready to be asked. It is replaced as a whole and never altered.
type table struct {
	public  *url.URL // scheme and host, with a port where it is not the scheme's own
	host    string   // public's, canonical
	trusted []netip.Prefix
	headers IdentityHeaders
	hsts    string // the header's value; "" for none
	managed headerNames
	secret  secret // of fronts; nil: none is asked for

	unspoken map[string]bool     // usual identity headers that are not sent, by CGI name
	hosts    map[string][]*route // by canonical host; longest path first
	routes   []*route            // as written

	mostLive int // requests under way at once
	stall    time.Duration
}

// route is one of Settings.Routes, compiled.
type route struct {
	name     string
	host     string
	path     string // canonical, without a slash at its end except for the root
	owner    string
	policy   *policy.Policy
	session  bool   // accepts sessions
	bearer   bool   // accepts bearer tokens
	pass     bool   // passes Authorization on
	lenient  bool   // takes lenient paths
	probes   bool   // lets CORS preflight requests pass
	maxBody  int    // bytes; 0: no bound
	strip    string // leading segments that the upstream does not see; "" for none
	add      string // and those it sees before the rest
	upstream *upstream
	numbers  *routeNumbers

	toUpstream, toClient headerEdits
	groupIDs, groupNames map[string]bool // that the policy names
}

// groups are those of the user's that the route's policy names, as it names them.
func (r *route) groups(u *directory.User) []string {
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
func (t *table) upstreamOf(w Route) (*upstream, error) {
	for _, r := range t.routes {
		if r.upstream.same(w) {
			return r.upstream, nil
		}
	}
	return newUpstream(w)
}

// drop closes what t has open to upstreams that next does not keep.
func (t *table) drop(next *table) {
	for _, r := range t.routes {
		if !slices.ContainsFunc(next.routes, func(n *route) bool { return n.upstream == r.upstream }) {
			r.upstream.closeIdle()
		}
	}
}

// find is the route of host whose path is the longest that path is under.
func (t *table) find(host, path string) *route {
	for _, r := range t.hosts[host] {
		if under(path, r.path) {
			return r
		}
	}
	return nil
}

// knows says whether host is one of ours.
func (t *table) knows(host string) bool {
	_, ok := t.hosts[host]
	return ok || host == t.host
}

// names are the hosts that are ours, in order.
func (t *table) names() []string {
	names := slices.Collect(maps.Keys(t.hosts))
	if _, also := t.hosts[t.host]; !also && t.host != "" {
		names = append(names, t.host)
	}
	slices.Sort(names)
	return names
}

// origin is where browsers find host: scheme and port are those of public_url for every host.
func (t *table) origin(host string) string {
	return t.public.Scheme + "://" + t.authority(host)
}

// authority is host with public_url's port, where that is not the scheme's own.
func (t *table) authority(host string) string {
	if port := t.public.Port(); port != "" {
		return host + ":" + port
	}
	return host
}

// believes says whether what addr says about its clients is true.
func (t *table) believes(addr netip.Addr) bool {
	return slices.ContainsFunc(t.trusted, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// compile makes the table of settings that Check found nothing wrong with. What old has open to upstreams that stay
// as they were is kept.
func compile(s Settings, old *table) (*table, error) {
	public, err := parsePublicURL(s.PublicURL)
	if err != nil {
		return nil, fmt.Errorf("public_url: %w", err)
	}
	t := &table{public: public, headers: s.IdentityHeaders.canonical(), managed: managedNames(s.IdentityHeaders), unspoken: unspoken(s.IdentityHeaders), hosts: map[string][]*route{},
		mostLive: min(cmp.Or(s.Limits.LiveRequests, defaultLimits.LiveRequests), mostByMemory()), stall: cmp.Or(s.Limits.Stall, defaultLimits.Stall)}
	if t.host, err = canonicalHost(public.Host); err != nil {
		return nil, fmt.Errorf("public_url: %w", err)
	}
	if t.secret, err = readSecret(s.ForwardAuth.SecretFile); err != nil {
		return nil, fmt.Errorf("forward_auth.secret_file: %w", err)
	}
	t.hsts = s.HSTS.header(public, t.host)
	for _, text := range s.TrustedProxies {
		p, err := parseTrusted(text)
		if err != nil {
			return nil, fmt.Errorf("trusted_proxies: %w", err)
		}
		t.trusted = append(t.trusted, p)
	}
	for _, written := range s.Routes {
		r, err := compileRoute(written, s)
		if err != nil {
			return nil, fmt.Errorf("route %s: %w", written.Name, err)
		}
		if r.upstream, err = old.upstreamOf(written); err != nil {
			return nil, fmt.Errorf("route %s: upstream: %w", written.Name, err)
		}
		t.routes = append(t.routes, r)
		t.hosts[r.host] = append(t.hosts[r.host], r)
	}
	for _, routes := range t.hosts {
		slices.SortStableFunc(routes, func(a, b *route) int { return len(b.path) - len(a.path) })
	}
	return t, nil
}

func compileRoute(w Route, s Settings) (*route, error) {
	r := &route{name: w.Name, owner: w.Owner, pass: w.PassAuthorization, lenient: w.PathEncoding == lenientPaths,
		probes: w.Preflight == passPreflight, maxBody: w.MaxBody, toUpstream: w.RequestHeaders.compile(), toClient: w.ResponseHeaders.compile()}
	accepts := func(word string) bool { return len(w.Accept) == 0 || slices.Contains(w.Accept, word) }
	r.session, r.bearer = accepts(acceptSession), accepts(acceptBearer)
	var err error
	if r.host, err = hostName(w.Host); err != nil {
		return nil, err
	}
	if r.path, err = routePath(w.Path); err != nil {
		return nil, err
	}
	if r.strip, r.add, err = w.Rewrite.compile(); err != nil {
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
