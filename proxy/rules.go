package proxy

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"sallyport/access"
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

// Routes returns the routes in the order of the file.
func (r *Rules) Routes() []*access.Route {
	list := make([]*access.Route, len(r.routing.routes))
	for i, route := range r.routing.routes {
		list[i] = route.described()
	}
	return list
}

func (r *route) described() *access.Route {
	return &access.Route{Name: r.name, Host: r.host, Path: r.path, Owner: r.owner, Session: r.session, Bearer: r.bearer, Policy: r.policy}
}

// Route returns the route with a name, or false.
func (r *Rules) Route(name string) (*access.Route, bool) {
	i := slices.IndexFunc(r.routing.routes, func(route *route) bool { return route.name == name })
	if i < 0 {
		return nil, false
	}
	return r.routing.routes[i].described(), true
}

// Target returns the request for a URL, such as https://grafana.example.com/d/1 or grafana.example.com/d/1. Its error
// says why no route would receive the request.
func (r *Rules) Target(method, rawURL string) (access.Target, error) {
	host, target := splitURL(rawURL)
	req := &request{routing: r.routing, method: method}
	if denied := req.readTarget(&http.Request{Method: method, Host: host, RequestURI: target, URL: &url.URL{Path: target}}); denied != nil {
		return access.Target{}, fmt.Errorf("%s would be denied for %s%s", rawURL, denied.reason, detailText(denied))
	}
	if req.internal {
		return access.Target{}, fmt.Errorf("%s is a path of Sallyport's own, which no rule is about", rawURL)
	}
	if denied := req.findRoute(); denied != nil {
		return access.Target{}, fmt.Errorf("%s would be denied for %s%s", rawURL, denied.reason, detailText(denied))
	}
	route, readings := req.route, req.readings
	return access.Target{Route: route.described(), Method: method, Host: req.host, Path: canonical.Decoded(req.path),
		Decide: func(q *policy.Request) policy.Decision { return route.decideReadings(q, readings) }}, nil
}

// splitURL splits a URL, with or without its scheme, into its host and the target of a request for it.
func splitURL(text string) (host, target string) {
	if _, rest, ok := strings.Cut(text, "://"); ok {
		text = rest
	}
	text, _, _ = strings.Cut(text, "#")
	end := strings.IndexAny(text, "/?")
	if end < 0 {
		return text, "/"
	}
	host, target = text[:end], text[end:]
	if target[0] == '?' {
		target = "/" + target
	}
	return host, target
}

func detailText(denied *denial) string {
	if denied.detail == "" {
		return ""
	}
	return ": " + denied.detail
}
