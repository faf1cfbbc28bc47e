package proxy

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"sallyport/console"
	"sallyport/console/manage"
	"sallyport/policy"
	"sallyport/proxy/internal/canonical"
	"sallyport/proxy/internal/forwarded"
	"sallyport/proxy/internal/header"
	"sallyport/proxy/internal/hsts"
	"sallyport/proxy/internal/identity"
	"sallyport/proxy/internal/trace"
	"sallyport/proxy/internal/upstream"
)

// Settings are the parts of the configuration that say which applications there are and who may reach them. They are
// top-level keys of the file.
type Settings struct {
	PublicURL       string          `yaml:"public_url" doc:"where login, callback, portal and console live, such as https://login.example.com"`
	TrustedProxies  []string        `yaml:"trusted_proxies" doc:"networks (CIDR) whose X-Forwarded-For, X-Forwarded-Proto and PROXY protocol are trusted, and who may ask at /.sallyport/check; none by default"`
	ForwardAuth     ForwardAuth     `yaml:"forward_auth" doc:"how proxies of trusted_proxies ask at /.sallyport/check whether a request is allowed"`
	IdentityHeaders IdentityHeaders `yaml:"identity_headers" doc:"the headers by which an upstream learns who is calling"`
	HSTS            hsts.Settings   `yaml:"hsts" doc:"tells browsers to use https alone"`
	TraceContext    string          `yaml:"trace_context" doc:"pass: a request belongs to the trace that its traceparent names (W3C Trace Context); new: each request begins a trace"`
	TrustGroupNames bool            `yaml:"trust_group_names" doc:"let rules name groups by name alone; whoever may rename groups then decides who is let in"`
	Limits          Limits          `yaml:"-"` // from the section limits, which config shares between this package and listen
	Policies        []policy.Named  `yaml:"policies" doc:"named lists of rules"`
	Routes          []Route         `yaml:"routes" doc:"host and path to upstream"`

	Contact string        `yaml:"contact" doc:"whom people may turn to who meet an error, or a denial of a route without owner: an e-mail address, an https URL or a few words"`
	Brand   console.Brand `yaml:"brand" doc:"how the pages look that people see of Sallyport"`

	Console manage.Settings `yaml:"console" doc:"who may look at the console, which is at /.sallyport/console/ on the host of public_url; nobody if no group is named"`
}

// ForwardAuth is how a front proxy authenticates. Its address is not enough: a client that it proxies to us has the same.
type ForwardAuth struct {
	SecretFile string `yaml:"secret_file" kind:"file" doc:"a file with a line that front proxies send as X-Sallyport-Secret; others are then rejected, and only these receive the assertion"`
}

// Limits bound what is accepted at once. Further requests get 503, so that the accepted ones can be served.
type Limits struct {
	LiveRequests int `yaml:"live_requests" doc:"live requests on all routes, WebSockets and streams included; count 64 KiB of memory for each"`

	MinBodyRate int `yaml:"min_body_rate" doc:"bytes a second that the body of an anonymous request must have on average; a slower one gets 408 after 20 seconds. gRPC streams may be slower"`

	Stall time.Duration `yaml:"stall" doc:"how long the client may send nothing of a request's body, or receive nothing of a response, until the request ends; gRPC streams may be silent for longer"`
}

// defaultLimits apply where a limit is absent or 0.
var defaultLimits = Limits{LiveRequests: 20_000, MinBodyRate: 240, Stall: time.Minute}

// slowTimeout is how long the body of an anonymous request may be slower than min_body_rate.
const slowTimeout = 20 * time.Second

// check reports limits that nothing could be served with, or that bound nothing.
func (l Limits) check(fault func(path, problem string)) {
	switch n := l.LiveRequests; {
	case n < 0:
		fault("limits.live_requests", fmt.Sprintf("%d is negative; write a number such as 20000", n))
	case n > 10_000_000:
		fault("limits.live_requests", fmt.Sprintf("%d is more than one server can have; write at most 10000000", n))
	}
	if n := l.MinBodyRate; n < 0 || n > 1<<20 {
		fault("limits.min_body_rate", fmt.Sprintf("%d is not between 1 and 1048576 bytes a second; write a number such as 240", n))
	}
	if l.Stall < 0 || l.Stall > time.Hour {
		fault("limits.stall", fmt.Sprintf("%s is not between 1ms and 1h; write for example 1m", l.Stall))
	}
}

// IdentityHeaders names the headers that tell an upstream who is calling. Every spelling of them is removed from requests
// first, and of those that other routes have too.
type IdentityHeaders = identity.Settings

// Defaults returns what absent keys mean.
func Defaults() Settings {
	return Settings{TraceContext: trace.Pass, Limits: defaultLimits, HSTS: hsts.Settings{MaxAge: hsts.Year}}
}

// Check reports every fault of s by its path, except those of the rules in Policies, which [policy.Compile] reports.
func (s Settings) Check(fault func(path, problem string)) {
	if _, err := canonical.PublicURL(s.PublicURL); err != nil {
		fault("public_url", err.Error())
	}
	for i, text := range s.TrustedProxies {
		if _, err := forwarded.ParseTrusted(text); err != nil {
			fault(fmt.Sprintf("trusted_proxies[%d]", i), err.Error())
		}
	}
	s.Limits.check(fault)
	if _, err := header.ReadSharedSecret(s.ForwardAuth.SecretFile); err != nil {
		fault("forward_auth.secret_file", err.Error())
	}
	if s.TraceContext != "" && s.TraceContext != trace.Pass && s.TraceContext != trace.New {
		fault("trace_context", fmt.Sprintf("%q is neither pass nor new; write pass to keep the trace that a client names, or new to begin one for each request", s.TraceContext))
	}
	s.HSTS.Check(func(path, problem string) { fault(join("hsts", path), problem) })
	if len(s.Routes) == 0 {
		fault("routes", "there are no routes; write at least one with name, host, upstream and policy")
	}
	managed := s.managedNames()
	for i, r := range s.Routes {
		r.check(s, managed, func(path, problem string) { fault(join(fmt.Sprintf("routes[%d]", i), path), problem) })
	}
	console.CheckContact("contact", s.Contact, fault)
	s.Brand.Check(func(path, problem string) { fault(join("brand", path), problem) })
	s.Console.Check(func(path, problem string) { fault(join("console", path), problem) })
	s.checkIdentity(fault)
	s.checkDuplicates(fault)
	s.checkConditions(fault)
	s.checkRequestable(fault)
}

// checkRequestable reports routes on the host of public_url beside policies that users may ask for, or a console: a script
// of such an application could act there in the name of whoever has its page open.
func (s Settings) checkRequestable(fault func(path, problem string)) {
	public, err := canonical.PublicURL(s.PublicURL)
	requestable := slices.ContainsFunc(s.Policies, func(p policy.Named) bool { return p.Requestable != nil })
	if err != nil || !requestable && !s.Console.On() {
		return
	}
	for i, r := range s.Routes {
		if host, err := canonical.HostName(r.Host); err == nil && strings.EqualFold(host, public.Hostname()) {
			fault(fmt.Sprintf("routes[%d].host", i), "is the host of public_url, where people approve requests for access and administrators act in the console: a script of the application could do that in their name; give the route a host of its own, or leave requestable out of every policy and the groups out of console")
		}
	}
}

func join(node, path string) string {
	if path == "" {
		return node
	}
	return node + "." + path
}

// CheckFiles reports the files that routes and pages name and that do not hold what they should.
func (s Settings) CheckFiles(fault func(path, problem string)) {
	s.Brand.CheckFiles(func(path, problem string) { fault(join("brand", path), problem) })
	for i, r := range s.Routes {
		r.Portal.CheckFiles(func(path, problem string) { fault(fmt.Sprintf("routes[%d].portal.%s", i, path), problem) })
		var faulty *upstream.TLSFileError
		if _, _, err := r.UpstreamTLS.Read(); errors.As(err, &faulty) {
			fault(fmt.Sprintf("routes[%d].upstream_tls.%s", i, faulty.Key), faulty.Problem)
		}
		for key, edits := range map[string]header.Edits{"request_headers": r.RequestHeaders, "response_headers": r.ResponseHeaders} {
			var faulty *header.EditFileError
			if _, err := edits.ReadFiles(); errors.As(err, &faulty) {
				fault(fmt.Sprintf("routes[%d].%s.%s", i, key, faulty.Key), faulty.Problem)
			}
		}
	}
}

// pages returns what the pages of package console show of s.
func (s Settings) pages() console.Settings {
	pages := console.Settings{Brand: s.Brand, Contact: s.Contact, Tiles: map[string]console.Tile{}}
	for _, r := range s.Routes {
		pages.Tiles[r.Name] = r.Portal
	}
	return pages
}

// checkDuplicates reports routes that share a name, or host and path.
func (s Settings) checkDuplicates(fault func(path, problem string)) {
	names, prefixes, folding := map[string]int{}, map[string]int{}, s.foldingHosts()
	for i, r := range s.Routes {
		if first, ok := names[r.Name]; ok && r.Name != "" {
			fault(fmt.Sprintf("routes[%d].name", i), fmt.Sprintf("routes[%d] is called %q too; give each its own name", first, r.Name))
		} else {
			names[r.Name] = i
		}
		host, path, err := r.place()
		if err != nil {
			continue
		}
		if path = canonical.Decoded(path); folding[host] {
			path = canonical.Fold(path)
		}
		if first, ok := prefixes[host+path]; ok {
			fault(fmt.Sprintf("routes[%d].path", i), fmt.Sprintf("routes[%d] has the same host and path; requests can go to one of them only", first))
		} else {
			prefixes[host+path] = i
		}
	}
}

// foldingHosts returns the canonical hosts with an upstream that reads paths without regard to case. Every route of such
// a host must hold for such readings: a request could be for another of its routes.
func (s Settings) foldingHosts() map[string]bool {
	hosts := map[string]bool{}
	for _, r := range s.Routes {
		if host, _, err := r.place(); err == nil && r.PathCase == insensitiveCase {
			hosts[host] = true
		}
	}
	return hosts
}

// checkConditions reports conditions of routes on folding hosts that compare the path with a text that no folded path has:
// a deny rule with one would not apply to all spellings of the path, and an allow rule to none.
func (s Settings) checkConditions(fault func(path, problem string)) {
	folding := s.foldingHosts()
	for i, p := range s.Policies {
		used := slices.IndexFunc(s.Routes, func(r Route) bool {
			host, _, _ := r.place()
			return folding[host] && slices.Contains(r.Policy, p.Name)
		})
		if used < 0 {
			continue
		}
		p.PathLiterals(func(path, text string) {
			if folded := canonical.Fold(text); folded != text {
				fault(fmt.Sprintf("policies[%d].%s", i, path), fmt.Sprintf("compares request.path with %q, but the host of route %s has path_case: insensitive, and conditions see such paths folded; write %q", text, s.Routes[used].Name, folded))
			}
		})
	}
}

// Warn reports what is allowed but may not be meant: routes with rules of their own below another route of their host,
// whose upstream may serve their paths in capitals or other spellings. other is the path of the other route. Whoever says
// which case the upstream distinguishes gets no warning.
func (s Settings) Warn(warn func(path, other, problem string)) {
	for i, p := range s.Policies {
		warnOf := func(path, problem string) { warn(fmt.Sprintf("policies[%d].%s", i, path), "", problem) }
		p.Warn(time.Now(), warnOf)
		var owners []string
		for _, r := range s.Routes {
			if slices.Contains(r.Policy, p.Name) {
				owners = append(owners, r.Owner)
			}
		}
		p.WarnOfOwners(owners, warnOf)
	}
	s.warnOfWildcards(warn)
	s.warnOfGroupLists(warn)
	for i, inner := range s.Routes {
		host, _, _ := inner.place()
		for j, outer := range s.Routes {
			if outer.PathCase == "" && inner.below(outer) && !s.foldingHosts()[host] && !sameSet(inner.Policy, outer.Policy) {
				warn(fmt.Sprintf("routes[%d]", i), fmt.Sprintf("routes[%d]", j), fmt.Sprintf("route %s has other policies than route %s, which gets other spellings of its paths, such as %s. "+
					"If the upstream of %[2]s serves them like %s, write path_case: insensitive there; if it distinguishes them, write path_case: sensitive; or give both routes the same policies",
					inner.Name, outer.Name, strings.ToUpper(inner.Path), inner.Path))
			}
		}
	}
}

// warnOfWildcards reports hosts that a wildcard would cover and whose routes do not have every path: the wildcard does not
// have the others, since a host with routes of its own is left to these.
func (s Settings) warnOfWildcards(warn func(path, other, problem string)) {
	hosts := map[string]int{} // by host, the first route; -1 if a route has all paths
	for i, r := range s.Routes {
		host, path, err := r.place()
		if _, ok := hosts[host]; err == nil && (!ok || path == "/") {
			hosts[host] = map[bool]int{true: -1, false: i}[path == "/"]
		}
	}
	for i, r := range s.Routes {
		base, ok := strings.CutPrefix(r.Host, canonical.WildcardPrefix)
		for host, first := range hosts {
			if _, below, covered := canonical.CutLabel(host); ok && covered && first >= 0 && strings.EqualFold(below, base) {
				warn(fmt.Sprintf("routes[%d].host", first), fmt.Sprintf("routes[%d].host", i), fmt.Sprintf("%s has routes of its own, so route %s for %s serves nothing there: other paths of it are 404. "+
					"If that is not meant, give it a route for / too", host, r.Name, r.Host))
			}
		}
		if public, err := canonical.PublicURL(s.PublicURL); err == nil && ok {
			if _, below, covered := canonical.CutLabel(public.Hostname()); covered && strings.EqualFold(below, base) {
				warn(fmt.Sprintf("routes[%d].host", i), "public_url", fmt.Sprintf("%s covers %s, where people sign in: no request to it ever reaches route %s", r.Host, public.Hostname(), r.Name))
			}
		}
	}
}

// below reports whether the path of r is below that of outer, on the same host.
func (r Route) below(outer Route) bool {
	host, path, err := r.place()
	outerHost, outerPath, outerErr := outer.place()
	return err == nil && outerErr == nil && host == outerHost && path != outerPath && canonical.Under(path, outerPath)
}

func sameSet(a, b []string) bool { return maps.Equal(setOf(a), setOf(b)) }

func validName(name string) bool {
	if len(name) == 0 || len(name) > 63 || strings.ContainsAny(name[:1], "-.") {
		return false
	}
	return strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-.") == ""
}
