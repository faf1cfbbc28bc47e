package proxy

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"sallyport/console"
	"sallyport/console/manage"
	"sallyport/policy"
	"sallyport/proxy/internal/canonical"
	"sallyport/proxy/internal/header"
	"sallyport/proxy/internal/origin"
	"sallyport/proxy/internal/upstream"
)

// Route leads one host and path to an upstream.
type Route struct {
	Name              string        `yaml:"name" doc:"names the route in logs, metrics and the assertion's audience"`
	Host              string        `yaml:"host" doc:"the exact host name, without a port; or *.apps.example.com for every name one label below, except those that have routes of their own"`
	Path              string        `yaml:"path" doc:"whole leading segments of the path; / when absent"`
	Upstream          Upstreams     `yaml:"upstream" doc:"http://, https:// or h2c:// with host and port, or a list of them; {label} stands for the label of a wildcard host"`
	UpstreamTLS       UpstreamTLS   `yaml:"upstream_tls" doc:"how to speak TLS to an https upstream"`
	UpstreamHost      string        `yaml:"upstream_host" doc:"the Host header for the upstream: public (default; the one the client asked for), upstream (its own), or a name"`
	Health            *Health       `yaml:"health" doc:"checks the health of each upstream, and sends requests to those that are healthy"`
	Policy            []string      `yaml:"policy" doc:"names of policies; their rules apply together"`
	Accept            []string      `yaml:"accept" doc:"how callers may prove who they are: session, bearer; both when absent"`
	Owner             string        `yaml:"owner" doc:"whom a person may ask who was denied"`
	Portal            console.Tile  `yaml:"portal" doc:"how the portal shows the route"`
	PassAuthorization bool          `yaml:"pass_authorization" doc:"forward the Authorization header to the upstream"`
	PathEncoding      string        `yaml:"path_encoding" doc:"strict (default), or lenient: let encoded slashes and the like through; not with anonymous rules"`
	PathCase          string        `yaml:"path_case" doc:"sensitive (default), or insensitive: the upstream serves /ADMIN, fullwidth letters and a blank or dot at the end of a segment like /admin, so that rules and routes of the host cover them"`
	Timeout           time.Duration `yaml:"timeout" doc:"how long the upstream may take to begin its response; 60s when absent"`
	MaxBody           int           `yaml:"max_body" doc:"bytes that a request's body may have; no limit when absent"`
	CountPings        bool          `yaml:"count_pings" doc:"true: a person's session counts as used while the application pings an open WebSocket, or sends comments in a stream of events"`
	Preflight         string        `yaml:"cors_preflight" doc:"decide (default): like any request; pass: CORS preflight requests, which browsers send without credentials, reach the upstream"`
	AllowedOrigins    []string      `yaml:"allowed_origins" doc:"other origins, such as https://shop.example.com, whose pages may open WebSockets, send changes and read denials with a person's session; none when absent"`
	CrossOrigin       string        `yaml:"cross_origin" doc:"what happens to a request that is not GET, HEAD or OPTIONS and that a page of another origin sends with a person's session: reject, or allow; reject when absent, but allow hosts of the same site where cors_preflight is pass and allowed_origins is absent"`
	KeepForms         bool          `yaml:"keep_forms" doc:"where a form is sent after its session has run out, or by another site, keep it and offer to send it after the sign-in: 1 MiB at most, no files"`
	Rewrite           *Rewrite      `yaml:"rewrite" doc:"gives the upstream another path than the one that was decided"`
	RequestHeaders    HeaderEdits   `yaml:"request_headers" doc:"changes what the upstream is sent"`
	ResponseHeaders   HeaderEdits   `yaml:"response_headers" doc:"changes what the client is sent"`

	IdentityHeaders IdentityHeaders `yaml:"identity_headers" doc:"the names by which this application learns who is calling; what is absent is as for all routes"`
}

// Upstreams is one URL or a list of them; requests take turns.
type Upstreams []string

// UnmarshalYAML accepts a single URL as a list of one.
func (u *Upstreams) UnmarshalYAML(node *yaml.Node) error {
	if node.Kind == yaml.ScalarNode {
		*u = Upstreams{node.Value}
		return nil
	}
	return node.Decode((*[]string)(u))
}

// UpstreamTLS is how the proxy and an https upstream authenticate each other.
type UpstreamTLS = upstream.TLS

// Health is how the health of upstreams is checked. One that fails to respond with 200 to 399 twice in a row receives no
// requests until it succeeds again, unless all fail.
type Health struct {
	Path    string        `yaml:"path" doc:"the path of a GET without credentials, such as /healthz"`
	Every   time.Duration `yaml:"every" doc:"10s when absent, 1h at most"`
	Timeout time.Duration `yaml:"timeout" doc:"2s when absent, 30s at most"`
}

// Rewrite replaces leading segments of a path.
type Rewrite struct {
	Strip string `yaml:"strip" doc:"leading segments to remove: the route's path, or the beginning of it"`
	Add   string `yaml:"add" doc:"leading segments to put before the rest"`
}

// HeaderEdits removes headers, then sets others.
type HeaderEdits = header.Edits

// HeaderSet is one header.
type HeaderSet = header.Edit

// The values of a Route's keys.
const (
	acceptSession   = "session"
	acceptBearer    = "bearer"
	strictPaths     = "strict"
	lenientPaths    = "lenient"
	sensitiveCase   = "sensitive"
	insensitiveCase = "insensitive"
	decidePreflight = "decide"
	passPreflight   = "pass"
	rejectCrossing  = "reject"
	allowCrossing   = "allow"
	publicHost      = "public"
	upstreamsHost   = "upstream"
	defaultTimeout  = time.Minute

	defaultHealthEvery   = 10 * time.Second
	defaultHealthTimeout = 2 * time.Second
	maxHealthEvery       = time.Hour
	maxHealthTimeout     = 30 * time.Second
)

func (r Route) check(s Settings, managed header.Names, fault func(path, problem string)) {
	if !validName(r.Name) {
		fault("name", "a name is 1 to 63 lower-case letters, digits, dashes and dots, beginning with a letter or digit")
	}
	if r.Name == manage.RouteName {
		fault("name", "is the name under which the record and the metrics have the console; choose another")
	}
	if _, err := canonical.RouteHost(r.Host); err != nil {
		fault("host", err.Error())
	}
	if _, err := routePath(r.Path); err != nil {
		fault("path", err.Error())
	}
	if len(r.Upstream) == 0 {
		fault("upstream", "no upstream; write for example http://127.0.0.1:3000")
	}
	r.checkUpstreams(fault)
	r.checkValues(fault)
	r.checkTLS(fault)
	r.checkRewrite(fault)
	r.Health.check(fault)
	r.RequestHeaders.Check("request_headers", managed, fault)
	r.ResponseHeaders.Check("response_headers", header.Names{}, fault)
	r.checkOrigins(fault)
	r.checkPolicy(s, fault)
	r.Portal.Check(func(path, problem string) { fault("portal."+path, problem) })
}

func (r Route) checkTLS(fault func(path, problem string)) {
	t := r.UpstreamTLS
	secure := slices.ContainsFunc(r.Upstream, func(u string) bool { return strings.HasPrefix(u, "https:") })
	switch {
	case t != UpstreamTLS{} && !secure:
		fault("upstream_tls", "no upstream of this route is https://")
	case (t.CertFile == "") != (t.KeyFile == ""):
		fault("upstream_tls", "cert_file and key_file belong together; write both or neither")
	}
	if _, err := canonical.HostName(t.ServerName); err != nil && t.ServerName != "" {
		fault("upstream_tls.server_name", err.Error())
	}
}

func (r Route) checkRewrite(fault func(path, problem string)) {
	if r.Rewrite == nil {
		return
	}
	strip, err := routePath(r.Rewrite.Strip)
	if err != nil {
		fault("rewrite.strip", err.Error())
	} else if path, err := routePath(r.Path); err == nil && !canonical.Under(path, strip) {
		fault("rewrite.strip", fmt.Sprintf("not every path of this route begins with %s; write its path %s or the beginning of it", strip, path))
	}
	if _, err := routePath(r.Rewrite.Add); err != nil {
		fault("rewrite.add", err.Error())
	}
}

func (h *Health) check(fault func(path, problem string)) {
	if h == nil {
		return
	}
	if h.Path == "" {
		fault("health.path", "no path to check; write one such as /healthz")
	} else if _, err := routePath(h.Path); err != nil {
		fault("health.path", err.Error())
	}
	if h.Every < 0 || h.Every > 0 && h.Every < time.Second || h.Every > maxHealthEvery {
		fault("health.every", "upstreams are checked once a second at most, and once an hour at least; write for example 10s")
	}
	if h.Timeout < 0 || h.Timeout > maxHealthTimeout {
		fault("health.timeout", "a health check may take 30s at most; write for example 2s")
	}
}

// checkUpstreams reports targets that cannot be reached, or that another than the operator could choose.
func (r Route) checkUpstreams(fault func(path, problem string)) {
	for i, text := range r.Upstream {
		if _, err := parseUpstream(text); err != nil {
			fault(upstreamPath(r, i), err.Error())
		} else if upstream.HasLabel(text) && !canonical.IsWildcard(r.Host) {
			fault(upstreamPath(r, i), "{label} stands for the label by which a wildcard host was reached, and the host of this route is none; write the name itself")
		}
	}
	if r.Health != nil && slices.ContainsFunc(r.Upstream, upstream.HasLabel) {
		fault("health", "there is no telling which targets {label} stands for, so they cannot be checked; leave health out")
	}
}

func upstreamPath(r Route, i int) string {
	if len(r.Upstream) == 1 {
		return "upstream"
	}
	return fmt.Sprintf("upstream[%d]", i)
}

func (r Route) checkValues(fault func(path, problem string)) {
	for i, kind := range r.Accept {
		if kind != acceptSession && kind != acceptBearer {
			fault(fmt.Sprintf("accept[%d]", i), fmt.Sprintf("%q is not a way to authenticate; write session or bearer", kind))
		}
	}
	if r.PathEncoding != "" && r.PathEncoding != strictPaths && r.PathEncoding != lenientPaths {
		fault("path_encoding", fmt.Sprintf("%q is unknown; write strict or lenient", r.PathEncoding))
	}
	if r.PathCase != "" && r.PathCase != sensitiveCase && r.PathCase != insensitiveCase {
		fault("path_case", fmt.Sprintf("%q is unknown; write sensitive or insensitive", r.PathCase))
	}
	if r.Preflight != "" && r.Preflight != decidePreflight && r.Preflight != passPreflight {
		fault("cors_preflight", fmt.Sprintf("%q is unknown; write decide or pass", r.Preflight))
	}
	if r.KeepForms && len(r.Accept) > 0 && !slices.Contains(r.Accept, acceptSession) {
		fault("keep_forms", "forms are kept for people who sign in, and this route accepts no sessions; add session to accept, or remove keep_forms")
	}
	if r.MaxBody < 0 {
		fault("max_body", "write a number of bytes such as 10485760, or nothing for no limit")
	}
	if host := r.UpstreamHost; host != "" && host != publicHost && host != upstreamsHost {
		if _, err := canonical.Host(host); err != nil {
			fault("upstream_host", fmt.Sprintf("%q is not a host; write public, upstream, or a name such as app.internal", host))
		}
	}
	if r.Timeout < 0 || r.Timeout > time.Hour {
		fault("timeout", "an upstream may take between 1ms and 1h to begin its response; write for example 60s")
	}
}

// compileOrigins returns the rules of a route. A route that lets CORS preflight requests pass is made for scripts of
// other hosts, which have worked without being named; it goes on to accept those of the same site until it names some.
func (r Route) compileOrigins() origin.Rules {
	allow := r.CrossOrigin == allowCrossing
	forScripts := r.CrossOrigin == "" && r.Preflight == passPreflight && len(r.AllowedOrigins) == 0
	return origin.Rules{Allowed: setOf(r.AllowedOrigins), AllowSite: allow || forScripts, AllowForeign: allow}
}

func (r Route) checkOrigins(fault func(path, problem string)) {
	for i, text := range r.AllowedOrigins {
		if err := origin.Check(text); err != nil {
			fault(fmt.Sprintf("allowed_origins[%d]", i), err.Error())
		}
	}
	if r.CrossOrigin != "" && r.CrossOrigin != rejectCrossing && r.CrossOrigin != allowCrossing {
		fault("cross_origin", fmt.Sprintf("%q is unknown; write reject or allow", r.CrossOrigin))
	}
}

func (r Route) checkPolicy(s Settings, fault func(path, problem string)) {
	if len(r.Policy) == 0 {
		fault("policy", "nobody would be let in; name at least one policy (one with allow: {anyone: true} is open to all)")
	}
	for i, name := range r.Policy {
		index := slices.IndexFunc(s.Policies, func(p policy.Named) bool { return p.Name == name })
		switch {
		case index < 0:
			fault(fmt.Sprintf("policy[%d]", i), fmt.Sprintf("there is no policy %q; add it under policies or correct the name", name))
		case r.PathEncoding == lenientPaths && admitsAnyone(s.Policies[index]):
			fault(fmt.Sprintf("policy[%d]", i), fmt.Sprintf("policy %q lets anyone in, which a route with lenient paths must not: an oddly encoded path could slip past a rule", name))
		}
	}
}

// rules returns the policies of a route.
func (r Route) rules(s Settings) (rules []policy.Named) {
	for _, p := range s.Policies {
		if slices.Contains(r.Policy, p.Name) {
			rules = append(rules, p)
		}
	}
	return rules
}

func admitsAnyone(p policy.Named) bool {
	return slices.ContainsFunc(p.Rules, func(r policy.Rule) bool { return r.Allow != nil && r.Allow.Anyone })
}

// place returns the canonical host and path of a route.
func (r Route) place() (host, path string, err error) {
	if host, err = canonical.RouteHost(r.Host); err != nil {
		return "", "", err
	}
	path, err = routePath(r.Path)
	return host, path, err
}

// routePath returns the canonical path of a route. A route cannot have one of our own paths.
func routePath(text string) (string, error) {
	path, err := canonical.Prefix(text)
	if err == nil && path != "/" && (canonical.Under(path, internalRoot) || canonical.Under(internalRoot, path)) {
		return "", fmt.Errorf("%s belongs to Sallyport; choose another path", internalRoot)
	}
	return path, err
}
