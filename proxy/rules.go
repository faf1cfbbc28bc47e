package proxy

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"sallyport/access"
	"sallyport/oidc"
	"sallyport/policy"
	"sallyport/proxy/internal/canonical"
)

// Rules are the routes and policies of settings, for questions about who may reach what. A question is decided as the
// request would be.
type Rules struct{ routing *routing }

// Rules returns the rules in force.
func (p *Proxy) Rules() *Rules { return &Rules{p.routing.Load()} }

// CompileRules returns the rules of settings. It reads no files, and reports no faults of what is not a rule.
func CompileRules(s Settings) (*Rules, error) {
	rt, err := compileRules(s)
	return &Rules{rt}, err
}

// Policies returns the policies in the order of the file.
func (r *Rules) Policies() []policy.Named { return r.routing.policies }

// Routes returns the routes in the order of the file.
func (r *Rules) Routes() []*access.Route {
	list := make([]*access.Route, len(r.routing.routes))
	for i, route := range r.routing.routes {
		list[i] = r.described(route)
	}
	return list
}

func (r *Rules) described(route *route) *access.Route {
	return &access.Route{Name: route.name, Host: route.host, Path: route.path, Owner: route.owner, Policies: route.policies, Session: route.session, Bearer: route.bearer,
		Preflights: route.passPreflights, Policy: route.policy, Serves: func(host string) bool { place, _ := r.routing.served(host); return place == route.host }, Readings: func(path string) []access.Reading {
			if t, err := r.Target(http.MethodGet, route.host+path); err == nil && t.Route.Name == route.name {
				return t.Readings
			}
			return nil
		}}
}

// Route returns the route with a name, or false.
func (r *Rules) Route(name string) (*access.Route, bool) {
	i := slices.IndexFunc(r.routing.routes, func(route *route) bool { return route.name == name })
	if i < 0 {
		return nil, false
	}
	return r.described(r.routing.routes[i]), true
}

// Target returns the request for a URL, such as https://grafana.example.com/d/1 or grafana.example.com/d/1. Its error
// says why no route would receive the request.
func (r *Rules) Target(method, rawURL string) (access.Target, error) {
	host, target := canonical.SplitURL(rawURL)
	req, denied := r.routing.read(method, host, target)
	if denied != nil {
		return access.Target{}, fmt.Errorf("%s would be denied for %s%s", rawURL, denied.reason, detailText(denied))
	}
	if req.internal {
		return access.Target{}, fmt.Errorf("%s is a path of Sallyport's own, which no rule is about", rawURL)
	}
	if denied := req.findRoute(); denied != nil {
		if denied.detail == "" && len(r.routing.routesOf(req.host)) == 0 {
			denied.detail = "no route has this host"
		}
		return access.Target{}, fmt.Errorf("%s would be denied for %s%s", rawURL, denied.reason, detailText(denied))
	}
	return access.Target{Route: r.described(req.route), Method: method, Host: req.host, Path: canonical.Decoded(req.path), Readings: req.allReadings(),
		Decide: func(q *policy.Request) policy.Decision { return req.route.decideReadings(q, req.readings) }}, nil
}

// read returns the facts of a request that is made up. In place of a host, it may be for a wildcard, and is then one for
// whichever host has no routes of its own.
func (rt *routing) read(method, host, target string) (*request, *denial) {
	req := &request{routing: rt, method: method}
	wildcard := ""
	if _, ok := rt.hosts[host]; ok && canonical.IsWildcard(host) {
		wildcard, host = host, strings.TrimPrefix(host, canonical.WildcardPrefix)
	}
	denied := req.readTarget(&http.Request{Method: method, Host: host, RequestURI: target, URL: &url.URL{Path: target}})
	if wildcard != "" && denied == nil {
		req.host, req.internal = wildcard, canonical.Under(req.path, internalRoot)
	}
	return req, denied
}

// allReadings returns the readings of the path in the order of decideReadings.
func (req *request) allReadings() []access.Reading {
	all := []access.Reading{{Path: canonical.Decoded(req.path), Policy: req.route.policy}}
	for _, path := range req.readings.exact {
		all = append(all, access.Reading{Path: path, Policy: req.route.policy})
	}
	for _, path := range req.readings.folded {
		all = append(all, access.Reading{Path: path, Policy: req.route.folded})
	}
	return all
}

// CheckToken returns an error if requests with a valid token, which has an identity, are denied because of the token or its
// user, whatever the rules say.
func (p *Proxy) CheckToken(identity *oidc.Identity, token string) error {
	if _, denied := p.checkUser(&caller{token: identity, bearer: oidc.Secret(token)}, time.Now()); denied != nil {
		return fmt.Errorf("requests with the token are denied for %s%s", denied.reason, detailText(denied))
	}
	return nil
}

func detailText(denied *denial) string {
	if denied.detail == "" {
		return ""
	}
	return ": " + denied.detail
}
