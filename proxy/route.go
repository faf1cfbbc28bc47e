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

	"sallyport/access"
	"sallyport/oidc"
	"sallyport/policy"
	"sallyport/proxy/internal/canonical"
	"sallyport/proxy/internal/forwarded"
	"sallyport/proxy/internal/header"
	"sallyport/proxy/internal/identity"
	"sallyport/proxy/internal/metric"
	"sallyport/proxy/internal/origin"
	"sallyport/proxy/internal/response"
)

// routing is the compiled settings in force. It is immutable: new settings replace it as a whole.
type routing struct {
	provider       *oidc.Provider
	public         *url.URL // scheme and host, with a port where it is not the scheme's own
	host           string   // that of public, canonical
	trustedProxies []netip.Prefix
	hsts           string // value of Strict-Transport-Security; "" for none
	managed        header.Names
	stripped       header.ResponseNames
	secret         header.SharedSecret // of front proxies; nil: none is required
	traceContext   string              // what becomes of the trace that a request names

	identity []string            // names of the identity headers of all routes
	hosts    map[string][]*route // by canonical host, or wildcard; longest path first
	below    map[string]string   // the wildcard of each name below which there is one
	routes   []*route            // in the order of the file
	policies []policy.Named      // likewise
	related  map[string]bool     // the users whom reports_to and manager_of name
	console  *route              // of the console; nil if nobody may look at it

	maxLive int           // live requests at once
	stall   time.Duration // see Limits
	pace    response.Pace // of the bodies of anonymous requests
}

// route is a compiled [Route].
type route struct {
	name              string
	host              string
	path              string // canonical, without a slash at its end except for the root
	owner             string
	login             *policy.Login // what a login is begun with that begins here; nil: any will do
	policies          []string      // names
	policy            *policy.Policy
	folded            *policy.Policy // the same rules for folded paths; nil if no route of the host has path_case: insensitive
	session           bool           // accepts sessions
	bearer            bool           // accepts bearer tokens
	passAuthorization bool           // forwards the Authorization header
	lenient           bool           // accepts lenient paths
	countPings        bool           // pings of the application count as use of the session
	passPreflights    bool           // lets CORS preflight requests through without a caller
	keepForms         bool           // keeps forms for after the sign-in
	origins           origin.Rules
	maxBody           int    // bytes; 0: no limit
	stripPath         string // leading segments that the upstream does not receive; "" for none
	addPath           string // leading segments that it receives instead
	upstream          *routeUpstream
	metrics           *metric.Route

	requestEdits, responseEdits header.EditsInForce

	headers    identity.Headers
	unset      map[string]bool   // identity headers of other routes, by CGI name
	groupIDs   map[string]string // that the policy names, each with what it is called to the upstream
	groupNames map[string]bool   // that the policy names without an ID
}

// setIdentityHeaders says by which headers and group names the upstream learns who is calling. names are those of the identity
// headers of all routes.
func (r *route) setIdentityHeaders(h identity.Headers, names []string, rules []policy.Named) {
	r.headers, r.unset, r.groupIDs, r.groupNames = h, h.Unset(names), map[string]string{}, setOf(r.policy.GroupNames())
	for _, id := range r.policy.GroupIDs() {
		r.groupIDs[id] = id
	}
	if h.GroupNames {
		maps.Copy(r.groupIDs, identity.GroupNames(rules, func(string) {}))
	}
}

// groupsOf returns the groups of a user that the route's policy names, as the upstream is to know them, without those of
// which a review revoked the membership.
func (r *route) groupsOf(c *caller) []string {
	var list []string
	u := c.user
	for i, id := range u.GroupIDs {
		called, ok := r.groupIDs[id]
		switch {
		case access.Revoked(c.held, u, i):
		case ok:
			list = append(list, called)
		case r.groupNames[u.GroupNames[i]]:
			list = append(list, u.GroupNames[i])
		}
	}
	return list
}

// upstreamOf returns the upstream of a route: that of rt if it would be the same, so that its connections are kept.
func (rt *routing) upstreamOf(settings Route) (*routeUpstream, error) {
	for _, r := range rt.routes {
		if r.upstream.same(settings) {
			return r.upstream, nil
		}
	}
	return newUpstream(settings)
}

// closeUnused closes the idle connections to upstreams that next does not use.
func (rt *routing) closeUnused(next *routing) {
	for _, r := range rt.routes {
		if !slices.ContainsFunc(next.routes, func(n *route) bool { return n.upstream == r.upstream }) {
			r.upstream.CloseIdleConnections()
		}
	}
}

// find returns the route of host with the longest path that contains path, or nil.
func (rt *routing) find(host, path string) *route {
	if rt.isConsole(host, path) {
		return rt.console
	}
	for _, r := range rt.routesOf(host) {
		if canonical.Under(path, r.path) {
			return r
		}
	}
	return nil
}

// served returns the host of the routes that serve host: itself, or the wildcard that covers it. No wildcard covers a host
// that has routes of its own, nor that of public_url.
func (rt *routing) served(host string) (place string, ok bool) {
	if _, ok := rt.hosts[host]; ok || host == rt.host {
		return host, true
	}
	if len(rt.below) == 0 {
		return "", false
	}
	_, base, ok := canonical.CutLabel(host)
	if !ok {
		return "", false
	}
	place, ok = rt.below[base]
	return place, ok
}

// routesOf returns the routes that serve host, the one with the longest path first.
func (rt *routing) routesOf(host string) []*route {
	place, _ := rt.served(host)
	return rt.hosts[place]
}

// hasHost reports whether host is that of public_url, or a route serves it.
func (rt *routing) hasHost(host string) bool {
	_, ok := rt.served(host)
	return ok
}

// hostNames returns the hosts of public_url and of the routes, sorted, without wildcards.
func (rt *routing) hostNames() []string {
	names := slices.DeleteFunc(slices.Collect(maps.Keys(rt.hosts)), canonical.IsWildcard)
	if _, ok := rt.hosts[rt.host]; !ok && rt.host != "" {
		names = append(names, rt.host)
	}
	slices.Sort(names)
	return names
}

// origin returns the origin at which browsers find host. Every host has the scheme and port of public_url.
func (rt *routing) origin(host string) string {
	return rt.public.Scheme + "://" + rt.authority(host)
}

// authority returns host with the port of public_url, unless it is the default port.
func (rt *routing) authority(host string) string {
	if port := rt.public.Port(); port != "" {
		return host + ":" + port
	}
	return host
}

// trusts reports whether addr is in trusted_proxies. The unspecified address never is: it stands for a peer whose address
// cannot be read.
func (rt *routing) trusts(addr netip.Addr) bool {
	return !addr.Unmap().IsUnspecified() && slices.ContainsFunc(rt.trustedProxies, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// compile compiles settings that [Settings.Check] accepted. Upstreams that did not change keep the connections that old
// has.
func compile(s Settings, old *routing) (*routing, error) {
	rt, err := compileRules(s)
	if err != nil {
		return nil, err
	}
	if rt.secret, err = header.ReadSharedSecret(s.ForwardAuth.SecretFile); err != nil {
		return nil, fmt.Errorf("forward_auth.secret_file: %w", err)
	}
	for i, r := range s.Routes {
		if rt.routes[i].upstream, err = old.upstreamOf(r); err != nil {
			return nil, fmt.Errorf("route %s: upstream: %w", r.Name, err)
		}
		if rt.routes[i].requestEdits, err = compileEdits(r.RequestHeaders); err != nil {
			return nil, fmt.Errorf("route %s: request_headers: %w", r.Name, err)
		}
		if rt.routes[i].responseEdits, err = compileEdits(r.ResponseHeaders); err != nil {
			return nil, fmt.Errorf("route %s: response_headers: %w", r.Name, err)
		}
	}
	if rt.console != nil {
		if rt.console.upstream = old.consoleUpstream(); rt.console.upstream == nil {
			rt.console.upstream = new(routeUpstream)
		}
	}
	return rt, nil
}

func compileEdits(e header.Edits) (header.EditsInForce, error) {
	e, err := e.ReadFiles()
	return e.Compile(), err
}

// compileRules compiles all of the settings that decisions depend on. It reads no files.
func compileRules(s Settings) (*routing, error) {
	public, err := canonical.PublicURL(s.PublicURL)
	if err != nil {
		return nil, fmt.Errorf("public_url: %w", err)
	}
	headers := s.identityHeaders()
	rt := &routing{public: public, policies: s.Policies, related: setOf(policy.RelatedIn(s.Policies)), identity: identity.Names(headers...), managed: s.managedNames(), hosts: map[string][]*route{}, below: map[string]string{},
		maxLive: min(cmp.Or(s.Limits.LiveRequests, defaultLimits.LiveRequests), maxLiveByMemory()), stall: cmp.Or(s.Limits.Stall, defaultLimits.Stall),
		pace: response.Pace{BytesPerSecond: cmp.Or(s.Limits.MinBodyRate, defaultLimits.MinBodyRate), Tolerance: slowTimeout}}
	rt.stripped = header.Stripped(rt.identity...)
	if rt.host, err = canonical.Host(public.Host); err != nil {
		return nil, fmt.Errorf("public_url: %w", err)
	}
	rt.hsts, rt.traceContext = s.HSTS.Header(public, rt.host), s.TraceContext
	for _, text := range s.TrustedProxies {
		p, err := forwarded.ParseTrusted(text)
		if err != nil {
			return nil, fmt.Errorf("trusted_proxies: %w", err)
		}
		rt.trustedProxies = append(rt.trustedProxies, p)
	}
	folding := s.foldingHosts()
	for i, r := range s.Routes {
		compiled, err := compileRoute(r, s, folding)
		if err != nil {
			return nil, fmt.Errorf("route %s: %w", r.Name, err)
		}
		compiled.setIdentityHeaders(headers[1+i], rt.identity, r.rules(s))
		rt.routes = append(rt.routes, compiled)
		rt.hosts[compiled.host] = append(rt.hosts[compiled.host], compiled)
		if base, ok := strings.CutPrefix(compiled.host, canonical.WildcardPrefix); ok {
			rt.below[base] = compiled.host
		}
	}
	if rt.console, err = compileConsole(s, rt.host); err != nil {
		return nil, fmt.Errorf("console: %w", err)
	}
	if rt.console != nil {
		rt.console.setIdentityHeaders(headers[0], rt.identity, []policy.Named{s.Console.Policy()})
	}
	for _, routes := range rt.hosts {
		slices.SortStableFunc(routes, func(a, b *route) int { return len(b.path) - len(a.path) })
	}
	return rt, nil
}

// compileRoute compiles one route of s, without its upstream. folding are the hosts whose upstreams ignore case.
func compileRoute(settings Route, s Settings, folding map[string]bool) (*route, error) {
	r := &route{name: settings.Name, owner: settings.Owner, policies: settings.Policy, passAuthorization: settings.PassAuthorization, lenient: settings.PathEncoding == lenientPaths,
		passPreflights: settings.Preflight == passPreflight, countPings: settings.CountPings, keepForms: settings.KeepForms, origins: settings.compileOrigins(), maxBody: settings.MaxBody}
	accepts := func(kind string) bool { return len(settings.Accept) == 0 || slices.Contains(settings.Accept, kind) }
	r.session, r.bearer = accepts(acceptSession), accepts(acceptBearer)
	var err error
	if r.host, r.path, err = settings.place(); err != nil {
		return nil, err
	}
	if r.stripPath, r.addPath, err = settings.Rewrite.compile(); err != nil {
		return nil, fmt.Errorf("rewrite: %w", err)
	}
	rules := settings.rules(s)
	if r.policy, err = policy.Compile(rules, policy.Options{TrustGroupNames: s.TrustGroupNames}); err != nil {
		return nil, fmt.Errorf("policy %s: %w", strings.Join(settings.Policy, ", "), err)
	}
	if folding[r.host] {
		if r.folded, err = policy.Compile(policy.MapPaths(rules, canonical.Fold), policy.Options{TrustGroupNames: s.TrustGroupNames}); err != nil {
			return nil, fmt.Errorf("policy %s with path_case: insensitive: %w", strings.Join(settings.Policy, ", "), err)
		}
	}
	return r, nil
}

func setOf(words []string) map[string]bool {
	m := make(map[string]bool, len(words))
	for _, word := range words {
		m[word] = true
	}
	return m
}
