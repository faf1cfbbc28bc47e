package importer

import (
	"cmp"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"go.yaml.in/yaml/v4"
)

// pomeriumRoute is a route of Pomerium while it is read.
type pomeriumRoute struct {
	node  *yaml.Node
	keys  string // the path of its keys, such as routes[2]
	order int

	route
	at             place
	kind           matching
	match          string // path, prefix or regular expression
	allows, denies []rule
	closed         bool  // something restricts access that cannot be expressed
	lost           bool  // it is no route here, so that no other route may have its requests
	passes         *bool // pass_identity_headers; nil if it is not written
	given          map[string]pair
}

// matching is how a route chooses requests by their path.
type matching int

// The ways, in the order in which Pomerium tries them.
const (
	byPath matching = iota
	byRegex
	byPrefix
)

// matches returns the test that a request is the route's, among those of its host.
func (src *pomeriumRoute) matches() test {
	switch src.kind {
	case byPath:
		return pathIs(src.match)
	case byPrefix:
		return pathBegins(src.match)
	}
	whole, part := pathMatches("^(?:"+src.match+")$"), pathMatches(src.match)
	return test{sure: whole.sure, maybe: part.maybe}
}

// precedes reports whether Pomerium may ask src before other, which has the same host: of equals it asks the first.
func (src *pomeriumRoute) precedes(other *pomeriumRoute) bool {
	switch {
	case src.kind != other.kind:
		return src.kind < other.kind
	case src.kind == byRegex:
		return true
	case src.match == other.match:
		return src.order < other.order
	}
	return src.kind == byPrefix && len(src.match) > len(other.match)
}

// parse reads the keys of a route.
func (p *pomerium) parse(src *pomeriumRoute) {
	src.at = placeOf(src.node, src.keys)
	src.kind, src.match, src.given = byPrefix, "/", map[string]pair{}
	src.upstreamHost = "upstream"
	for _, one := range pairs(src.node) {
		src.given[strings.ToLower(one.key.Value)] = one
	}
	for _, one := range pairs(src.node) {
		name := strings.ToLower(one.key.Value)
		s := settingOf(one, name, inFile)
		s.key, s.node = src.keys+"."+one.key.Value, one.value
		handle, known := pomeriumRouteKeys[name]
		why, dropped := pomeriumRouteDropped[name]
		switch {
		case known:
			handle(p, src, s)
		case dropped:
			p.find(s.place, Dropped, "", "%s", why)
		default:
			p.unknown(s.place, name, &src.closed)
		}
	}
	if len(pairs(src.node)) == 0 {
		p.find(src.at, Dropped, "", "this is no route")
		src.lost = true
	}
}

// choosePlaces gives each route that can be one here its path. Of those with the same host and path the first has it.
func (p *pomerium) choosePlaces() {
	taken := map[string]bool{}
	for i := range p.sources {
		src := &p.sources[i]
		others := slices.ContainsFunc(p.sources, func(o pomeriumRoute) bool { return o.host == src.host && o.keys != src.keys })
		switch {
		case src.host == "" || src.lost:
			src.lost = true
			continue
		case src.kind == byRegex && others:
			p.deny(src.at, "routes have leading segments, no regular expressions; what this one matched is denied on the other routes of the host. Write a route for its leading segments")
			src.lost = true
			continue
		case src.kind == byRegex:
			p.find(src.at, Changed, "policies", "the route is for the whole host, and its policy denies what the regular expression does not match")
			src.route.path = "/"
		default:
			src.route.path, _ = routePath(src.match)
		}
		if place := src.host + src.route.path; taken[place] {
			p.deny(src.at, "an earlier route has the same host and path; write one route for both")
			src.lost = true
		} else {
			taken[place] = true
		}
	}
}

// addSource adds the route that stands for a route of Pomerium.
func (p *pomerium) addSource(i int) {
	src := &p.sources[i]
	if src.lost {
		return
	}
	r := src.route
	r.at, r.timeout = src.at, cmp.Or(r.timeout, p.globalTimeout())
	if len(r.upstreams) == 0 {
		r.upstreams = []string{placeholderUpstream}
		p.find(src.at, FillIn, "routes[].upstream", "the route has no upstream")
	}
	r.responseSet = append(slices.Clone(p.responseSet), r.responseSet...)
	r.policy, r.headers = []string{p.policyFor(i)}, p.headersOfRoute(src)
	p.addRoute(r)
}

// globalTimeout returns default_upstream_timeout.
func (p *pomerium) globalTimeout() (t time.Duration) {
	if p.timeout.name == "" {
		return 0
	}
	return p.timeoutOf(p.timeout)
}

// policyFor returns the name of the policy of a route.
func (p *pomerium) policyFor(i int) string {
	src := &p.sources[i]
	if p.certs != "" || p.closed || src.closed {
		return p.closedPolicy()
	}
	guard := p.guard(i)
	var rules []rule
	for _, r := range merged(src.allows) {
		rules = append(rules, r.guarded(guard))
	}
	if len(rules) == 0 || guard == never {
		p.deny(src.at, "nothing lets anybody in by this route; write a policy for it")
		return p.closedPolicy()
	}
	for _, r := range src.denies {
		if r.deny {
			rules = append(rules, r)
		}
	}
	if slices.ContainsFunc(rules, rule.deniesEverybody) {
		p.deny(src.at, "one of its rules keeps people out by something that cannot be asked here, so it keeps everybody out; write the policy by hand")
	}
	return p.policyOf(routeName(cmp.Or(src.name, src.host+strings.TrimSuffix(strings.ReplaceAll(src.match, "/", "-"), "-"))), "", rules)
}

// guard returns the condition that a request which comes to a route here came to it in Pomerium too: the path is the route's, and
// no route that Pomerium asked before matches.
func (p *pomerium) guard(i int) string {
	src := &p.sources[i]
	conditions := []string{src.own()}
	conditions = append(conditions, p.hostsOfOthers(src)...)
	for j := range p.sources {
		other := &p.sources[j]
		if j == i || other.host != src.host || !other.precedes(src) || other.separate() {
			continue
		}
		if base, ok := routePath(src.match); ok && other.kind != byRegex && src.kind == byPrefix && base != "/" && !strings.HasPrefix(other.match, base) {
			continue // no path is of both
		}
		conditions = append(conditions, not(other.matches().maybe))
	}
	return all(conditions...)
}

// hostsOfOthers returns the conditions that keep a route with a wildcard from hosts that Pomerium had routes for, and that have
// none here.
func (p *pomerium) hostsOfOthers(src *pomeriumRoute) (conditions []string) {
	base, ok := strings.CutPrefix(src.host, "*.")
	if !ok {
		return nil
	}
	for _, other := range p.sources {
		lost := !slices.ContainsFunc(p.sources, func(o pomeriumRoute) bool { return o.host == other.host && !o.lost })
		if _, parent, _ := strings.Cut(other.host, "."); lost && parent == base {
			literal, _ := quoted(other.host)
			conditions = append(conditions, "request.host != "+literal)
		}
	}
	return conditions
}

// own returns the condition that a request below the path of the route here is one of Pomerium's route.
func (src *pomeriumRoute) own() string {
	switch base, _ := routePath(src.match); {
	case src.kind == byPath:
		return src.matches().sure
	case src.kind == byRegex:
		return src.matches().sure
	case base != "/" && strings.HasSuffix(src.match, "/"):
		literal, _ := quoted(base)
		return "request.path != " + literal
	}
	return always
}

// separate reports whether all requests of the route go to a route of its own here.
func (src *pomeriumRoute) separate() bool {
	return !src.lost && (src.kind == byPath || src.kind == byPrefix && (strings.HasSuffix(src.match, "/")))
}

func (p *pomerium) from(src *pomeriumRoute, s setting) {
	u, err := url.Parse(known(s))
	if err == nil {
		src.host, _ = plainHost(u.Hostname()) // also of a route that is lost: no wildcard may have its requests
	}
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.Path != "" && u.Path != "/" || u.User != nil {
		p.find(s.place, Dropped, "", "Sallyport forwards HTTP for the hosts of https URLs alone; people need another way to this application")
		src.lost = true
		return
	}
	host, ok := plainHost(u.Hostname())
	if pattern, isPattern := wildcardHost(u.Hostname()); isPattern {
		src.host = pattern
		p.find(s.place, Changed, "routes[].host", "the * stands for exactly one label; certificates for such hosts come from files")
		return
	}
	if !ok {
		p.find(s.place, Dropped, "", "a host is a name, such as app.example.com; write one route for each name")
		src.lost = true
		return
	}
	src.host = host
	if u.Port() != "" && u.Port() != "443" {
		p.find(s.place, Changed, "routes[].host", "all hosts have the port of public_url")
		return
	}
	p.find(s.place, Carried, "routes[].host", "")
}

var weight = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`,\d+$`) })

func (p *pomerium) to(src *pomeriumRoute, s setting) {
	values := s.values
	if s.opaque || s.tree || len(values) == 0 {
		p.find(s.place, FillIn, "routes[].upstream", "the text does not have the upstream itself")
		src.upstreams = []string{placeholderUpstream}
		return
	}
	base := ""
	for _, text := range values {
		u, ok := parseUpstream(weight().ReplaceAllString(text, ""))
		if !ok {
			p.find(s.place, FillIn, "routes[].upstream", "one of these is no http, https or h2c URL with a host name; write one")
			continue
		}
		if u.secret {
			p.find(s.place, Dropped, "", "a user, a query or a fragment in the URL of an upstream is left out")
		}
		if weight().MatchString(text) {
			p.find(s.place, Changed, "routes[].upstream", "upstreams take turns; they have no weights")
		}
		base = u.path
		src.upstreams = append(src.upstreams, u.target)
	}
	if len(src.upstreams) == 0 {
		src.upstreams = []string{placeholderUpstream}
		return
	}
	if into, ok := routePath(base); ok && into != "/" && src.given["prefix_rewrite"].key == nil {
		src.add = into
	}
	p.find(s.place, Carried, "routes[].upstream", "")
}

// chosen takes over prefix, path or regex.
func (p *pomerium) chosen(src *pomeriumRoute, s setting) {
	text := known(s)
	if s.name == "regex" {
		src.kind, src.match = byRegex, text
		if src.matches().sure == never {
			p.find(s.place, Dropped, "", "this regular expression cannot be written here")
			src.lost = true
		}
		return
	}
	src.match = text
	if s.name == "path" {
		src.kind = byPath
	}
	base, ok := routePath(text)
	if !ok || text == "" || text[0] != '/' {
		p.find(s.place, Dropped, "", "routes have paths of whole segments, such as /api; write a route by hand")
		src.lost = true
		return
	}
	switch {
	case src.kind == byPath:
		p.find(s.place, Changed, "routes[].path", "the route is for the path and all below it, and its policy denies what is below")
	case base != "/" && !strings.HasSuffix(text, "/"):
		p.find(s.place, Changed, "routes[].path", "paths are whole segments: what only begins with the same letters is denied")
	default:
		p.find(s.place, Carried, "routes[].path", "")
	}
}

func (p *pomerium) prefixRewrite(src *pomeriumRoute, s setting) {
	into, ok := routePath(known(s))
	if !ok || known(s) == "" {
		p.find(s.place, FillIn, "routes[].rewrite", "this is no path of whole segments; write rewrite by hand")
		return
	}
	prefix := "/"
	if given, ok := src.given["prefix"]; ok {
		prefix = given.value.Value
	}
	if base, ok := routePath(prefix); ok && base != "/" {
		src.strip = base
	}
	if into != "/" {
		src.add = into
	}
	p.find(s.place, Carried, "routes[].rewrite", "")
}

func (p *pomerium) legacyAllow(src *pomeriumRoute, s setting) {
	if s.opaque || s.tree {
		p.deny(s.place, "the text does not have the value itself")
		return
	}
	fill := false
	for _, value := range s.values {
		t := impossible
		switch {
		case s.name == "allowed_domains" && !strings.HasPrefix(value, "."):
			t = domainIs(false, value)
		case s.name == "allowed_groups":
			t = memberOf(value)
			fill = fill || t.group != nil && t.group.id == ""
		case s.name == "allowed_users" && emailForm().MatchString(value):
			t = emailIs(value)
		case s.name == "allowed_users" && !strings.Contains(value, "@"):
			if literal, ok := quoted(value); ok && value != "" {
				t = exactly("user.externalId == " + literal)
			}
		}
		if t.sure == never && t.group == nil {
			p.deny(s.place, "one of these cannot be written here")
			continue
		}
		p.allow(src, t)
	}
	if fill {
		p.find(s.place, FillIn, "policies", "groups are named by the object ID that SCIM pushes as externalId: a name can be taken by another. Nobody is in a group whose ID is not filled in")
		return
	}
	p.find(s.place, Changed, "policies", "users, addresses and groups are those that SCIM pushes, not those of tokens; a group is the better rule")
}

func (p *pomerium) public(src *pomeriumRoute, s setting) {
	if on, ok := s.on(); !ok || !on {
		p.find(s.place, Carried, "policies", "")
		return
	}
	p.allow(src, withoutValue["accept"])
	p.find(s.place, Carried, "policies", "everybody gets in, signed in or not")
}

func (p *pomerium) anyUser(src *pomeriumRoute, s setting) {
	if on, ok := s.on(); !ok || !on {
		p.find(s.place, Carried, "policies", "")
		return
	}
	p.allow(src, withoutValue["authenticated_user"])
	p.find(s.place, Changed, "policies", "everybody who can sign in is every user whom the identity provider pushes by SCIM")
}
