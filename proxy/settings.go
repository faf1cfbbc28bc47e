package proxy

import (
	"fmt"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"sallyport/policy"
	"sallyport/proxy/internal/canonical"
)

// Settings are the parts of the configuration that say what is behind the door and who may pass. They are the
// top-level keys of the file, so they can be inlined there.
type Settings struct {
	PublicURL       string          `yaml:"public_url" doc:"where login, callback, portal and console live, such as https://login.example.com"`
	TrustedProxies  []string        `yaml:"trusted_proxies" doc:"networks (CIDR) whose X-Forwarded-For, X-Forwarded-Proto and PROXY protocol are believed, and who may ask at /.sallyport/check; none by default"`
	ForwardAuth     ForwardAuth     `yaml:"forward_auth" doc:"how proxies of trusted_proxies ask at /.sallyport/check whether a request may pass"`
	IdentityHeaders IdentityHeaders `yaml:"identity_headers" doc:"the headers by which an upstream learns who is calling"`
	HSTS            HSTS            `yaml:"hsts" doc:"tells browsers to come by https alone"`
	TrustGroupNames bool            `yaml:"trust_group_names" doc:"let rules name groups by name alone; whoever may rename groups then decides who passes"`
	Limits          Limits          `yaml:"-"` // config reads it from the section "limits", which it shares with package listen
	Policies        []policy.Named  `yaml:"policies" doc:"named lists of rules"`
	Routes          []Route         `yaml:"routes" doc:"host and path to upstream"`
}

// ForwardAuth is how a front proves to be one. A client whom it passes on to us comes from its address, too.
type ForwardAuth struct {
	SecretFile string `yaml:"secret_file" kind:"file" doc:"a file with a line that fronts send as X-Sallyport-Secret; others are refused then, and these are told the assertion"`
}

// Limits bound what is taken on at once; the rest is answered with 503, so that
// what was taken on can be served.
type Limits struct {
	LiveRequests int `yaml:"live_requests" doc:"requests under way on all routes, WebSockets and streams among them; count 64 KiB of memory for each"`

	Stall time.Duration `yaml:"stall" doc:"how long nothing may come of a request's body, or nothing be taken of an answer, until the request ends; streams of gRPC may send nothing for longer"`
}

// defaultLimits are in force where nothing, or 0, is written.
var defaultLimits = Limits{LiveRequests: 20_000, Stall: time.Minute}

// IdentityHeaders names the headers set for the upstream. An empty name means that header is not sent; every inbound
// spelling of a named one is removed. Values are ASCII: any other byte, and "%", is percent-encoded (RFC 3986 §2.1),
// and so is a comma inside one group of the list.
type IdentityHeaders struct {
	User      string `yaml:"user" doc:"carries userName"`
	Email     string `yaml:"email" doc:"carries the e-mail address"`
	Name      string `yaml:"name" doc:"carries the display name"`
	Groups    string `yaml:"groups" doc:"carries the caller's groups that the route's policy names, separated by commas"`
	Assertion string `yaml:"assertion" doc:"carries a signed JWT of the same, valid for a minute; its keys are at /.sallyport/jwks.json"`
}

// Defaults is what absent keys mean.
func Defaults() Settings {
	return Settings{Limits: defaultLimits, HSTS: HSTS{MaxAge: aYear}, IdentityHeaders: IdentityHeaders{
		User:      "X-Forwarded-User",
		Email:     "X-Forwarded-Email",
		Name:      "X-Forwarded-Preferred-Username",
		Groups:    "X-Forwarded-Groups",
		Assertion: "X-Sallyport-Assertion",
	}}
}

// Check reports every fault of s by its path, except those of the rules in Policies, which policy reports.
func (s Settings) Check(fault func(path, problem string)) {
	if _, err := parsePublicURL(s.PublicURL); err != nil {
		fault("public_url", err.Error())
	}
	for i, text := range s.TrustedProxies {
		if _, err := parseTrusted(text); err != nil {
			fault(fmt.Sprintf("trusted_proxies[%d]", i), err.Error())
		}
	}
	if n := s.Limits.LiveRequests; n < 0 {
		fault("limits.live_requests", fmt.Sprintf("%d is negative; write a number such as 20000", n))
	}
	if s.Limits.Stall < 0 {
		fault("limits.stall", "write for example 1m")
	}
	s.IdentityHeaders.check(fault)
	if _, err := readSecret(s.ForwardAuth.SecretFile); err != nil {
		fault("forward_auth.secret_file", err.Error())
	}
	s.HSTS.check(func(path, problem string) { fault(join("hsts", path), problem) })
	if len(s.Routes) == 0 {
		fault("routes", "no route leads anywhere; write at least one with name, host, upstream and policy")
	}
	for i, r := range s.Routes {
		r.check(s, func(path, problem string) { fault(join(fmt.Sprintf("routes[%d]", i), path), problem) })
	}
	s.checkTwins(fault)
}

func join(node, path string) string {
	if path == "" {
		return node
	}
	return node + "." + path
}

// checkTwins reports routes that share a name, or host and path.
func (s Settings) checkTwins(fault func(path, problem string)) {
	names, places := map[string]int{}, map[string]int{}
	for i, r := range s.Routes {
		if first, taken := names[r.Name]; taken && r.Name != "" {
			fault(fmt.Sprintf("routes[%d].name", i), fmt.Sprintf("routes[%d] is called %q too; give each its own name", first, r.Name))
		} else {
			names[r.Name] = i
		}
		host, hostErr := canonical.HostName(r.Host)
		path, pathErr := routePath(r.Path)
		if hostErr != nil || pathErr != nil {
			continue
		}
		if first, taken := places[host+path]; taken {
			fault(fmt.Sprintf("routes[%d].path", i), fmt.Sprintf("routes[%d] has the same host and path; requests can go to one of them only", first))
		} else {
			places[host+path] = i
		}
	}
}

func (h IdentityHeaders) check(fault func(path, problem string)) {
	first := map[string]string{}
	for key, name := range h.all() {
		switch taken, twice := first[cgiName(name)]; {
		case name == "":
		case !validHeaderName(name):
			fault("identity_headers."+key, fmt.Sprintf("%q cannot be a header's name; write letters, digits and dashes", name))
		case reservedHeader(name):
			fault("identity_headers."+key, fmt.Sprintf("%s has a meaning of its own in HTTP; choose another name", name))
		case twice:
			fault("identity_headers."+key, fmt.Sprintf("%s carries %s already; give each its own header", name, taken))
		default:
			first[cgiName(name)] = key
		}
	}
}

// all yields the key and name of each identity header, in order.
func (h IdentityHeaders) all() func(yield func(key, name string) bool) {
	return func(yield func(key, name string) bool) {
		_ = yield("user", h.User) && yield("email", h.Email) && yield("name", h.Name) &&
			yield("groups", h.Groups) && yield("assertion", h.Assertion)
	}
}

func validName(name string) bool {
	if len(name) == 0 || len(name) > 63 || strings.ContainsAny(name[:1], "-.") {
		return false
	}
	return strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-.") == ""
}

// parsePublicURL accepts https://host[:port]; http only where the host is this machine.
func parsePublicURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Path != "" && u.Path != "/" {
		return nil, fmt.Errorf("write scheme and host alone, such as https://login.example.com")
	}
	host, err := canonical.HostName(u.Hostname())
	if err != nil {
		return nil, err
	}
	if u.Scheme != "https" && !(u.Scheme == "http" && isLocal(host)) {
		return nil, fmt.Errorf("browsers keep the session's cookie over https only; write https:// (http:// is for localhost alone)")
	}
	origin := &url.URL{Scheme: u.Scheme, Host: host}
	if port := u.Port(); port != "" && port != defaultPort(u.Scheme) {
		origin.Host += ":" + port
	}
	return origin, nil
}

// isLocal says whether host is this machine's alone.
func isLocal(host string) bool { return host == "localhost" || strings.HasSuffix(host, ".localhost") }

func defaultPort(scheme string) string {
	if scheme == "https" {
		return "443"
	}
	return "80"
}

// parseTrusted accepts a network, or one address; never everyone.
func parseTrusted(text string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(text); err == nil {
		return netip.PrefixFrom(addr.Unmap(), addr.Unmap().BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	switch {
	case err != nil:
		return p, fmt.Errorf("%q is no network; write for example 10.0.0.0/8", text)
	case p.Bits() == 0:
		return p, fmt.Errorf("%s is everyone, who could then claim any address; write the networks of your own proxies", text)
	case p.Addr().Is4In6():
		return p, fmt.Errorf("%s is an IPv4 network in IPv6 clothes; write it as IPv4", text)
	}
	return p.Masked(), nil
}
