package importer

import (
	"cmp"
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strings"
	"time"
)

// draft is the configuration that is being written.
type draft struct {
	options  Options
	findings []Finding
	secrets  []SecretFile

	publicURL   string
	listen      listeners
	tls         certificates
	trusted     []string
	forwardAuth bool // another proxy forwards the requests and asks by forward-auth
	provider    provider
	lifetime    time.Duration
	logLevel    string
	headers     identityHeaders // of every route
	policies    []namedPolicy
	routes      []route
}

type listeners struct {
	public, http, ops string
	proxyProtocol     bool
}

type certificates struct {
	cert, key string
	off       bool
	acme      bool // the other proxy obtained its certificates by ACME
}

// provider is the identity provider.
type provider struct {
	issuer, clientID, secretFile, caFile string
	userClaim                            string
	scopes, audiences                    []string
	bearer                               []bearerIssuer
}

type bearerIssuer struct{ issuer, audience string }

type namedPolicy struct {
	name, comment string
	rules         []rule
}

// identityHeaders are the keys of identity_headers: a preset, and names by what they carry.
type identityHeaders struct {
	preset string
	names  []headerName
}

type headerName struct{ carries, name string }

type route struct {
	name, host, path    string
	upstreams           []string
	ca, cert, key       string // of upstream_tls
	serverName          string
	upstreamHost        string
	policy              []string
	strip, add          string
	timeout             time.Duration
	passPreflight       bool
	passAuthorization   bool
	requestSet          []headerValue
	requestRemove       []string
	responseSet         []headerValue
	headers             identityHeaders
	title, about, owner string
	comments            []string
	at                  place
}

type headerValue struct{ name, value string }

// Names and addresses that a person has to replace. They are valid, and nobody has them.
const (
	placeholderURL      = "https://login.example.com"
	placeholderHost     = "app.example.com"
	placeholderIssuer   = "https://idp.example.com"
	placeholderTenant   = "00000000-0000-0000-0000-000000000000"
	placeholderClient   = "replace-with-the-client-id"
	placeholderProxy    = "192.0.2.1" // TEST-NET-1 (RFC 5737)
	placeholderUpstream = "http://127.0.0.1:9"
)

const maxLifetime = 720 * time.Hour

func newDraft(o Options) *draft {
	o.SecretsDir = cmp.Or(o.SecretsDir, "secrets")
	return &draft{options: o, listen: listeners{ops: "127.0.0.1:9090"}}
}

// nowhere is the place of what the text does not have.
var nowhere = place{}

// secretFile returns the path of a file for a secret, as the configuration names it.
func (d *draft) secretFile(name string) string { return path.Join(d.options.SecretsDir, name) }

// keepSecret has a secret written to a file, and returns the path of that file.
func (d *draft) keepSecret(name, content string) string {
	d.secrets = append(d.secrets, SecretFile{name, Secret(content)})
	return d.secretFile(name)
}

// result completes the draft and writes it.
func (d *draft) result(source Source) (Result, error) {
	if len(d.findings) == 0 || !slices.ContainsFunc(d.findings, func(f Finding) bool { return f.Kind != Unknown }) {
		return Result{}, ErrNothing
	}
	d.complete()
	text, err := d.write(source)
	if err != nil {
		return Result{}, fmt.Errorf("writing the configuration: %w", err)
	}
	return Result{text, sortedFindings(d.findings), d.secrets}, nil
}

// complete fills in what a configuration needs and the text did not have.
func (d *draft) complete() {
	if d.publicURL == "" {
		d.publicURL = placeholderURL
		d.find(nowhere, FillIn, "public_url", "the address at which people sign in; the provider must know its path /.sallyport/callback")
	} else {
		d.find(nowhere, FillIn, "public_url", "register %s/.sallyport/callback at the identity provider as a redirect URI", d.publicURL)
	}
	d.completeListeners()
	d.completeTLS()
	d.completeProvider()
	if len(d.routes) == 0 {
		d.routes = append(d.routes, route{name: "app", host: placeholderHost, path: "/", upstreams: []string{placeholderUpstream}, policy: []string{d.closedPolicy()}})
		d.find(nowhere, FillIn, "routes", "no application was found in the text; write the host and the upstream of yours, and who may use it")
	}
	d.nameRoutes()
	d.find(nowhere, FillIn, "scim", "people who sign in must be in the directory: have the identity provider push users and groups by SCIM to listen.scim")
}

func (d *draft) completeListeners() {
	l := &d.listen
	if l.public == "" {
		l.public = "0.0.0.0:8443"
	}
	if strings.HasPrefix(d.publicURL, "http://") || portOf(l.http) == portOf(l.public) {
		l.http = ""
	}
	if port := portOf(l.ops); port == portOf(l.public) || port == portOf(l.http) {
		l.ops = "127.0.0.1:" + d.freePort(9090, 9091, 9092)
	}
}

// scimAddress returns an address for SCIM at which no other listener is.
func (d *draft) scimAddress() string { return "0.0.0.0:" + d.freePort(8444, 8445, 8446, 8447) }

func (d *draft) freePort(ports ...int) string {
	for _, port := range ports {
		text := fmt.Sprint(port)
		if text != portOf(d.listen.public) && text != portOf(d.listen.ops) && text != portOf(d.listen.http) {
			return text
		}
	}
	return "0"
}

func (d *draft) completeTLS() {
	if d.listen.proxyProtocol && len(d.trusted) == 0 {
		d.trusted = []string{placeholderProxy}
		d.find(nowhere, FillIn, "trusted_proxies", "the addresses of the proxies in front, which send PROXY headers; nobody is trusted until then")
	}
	switch {
	case d.tls.cert != "" && d.tls.key != "":
		d.tls.off = false
	case d.tls.off && len(d.trusted) == 0 && !strings.HasPrefix(d.publicURL, "http://localhost"):
		d.trusted = []string{placeholderProxy}
		d.find(nowhere, FillIn, "trusted_proxies", "the addresses of the proxy that speaks TLS in front; nobody is trusted until then, so that all clients seem to have one address")
	case !d.tls.off:
		d.tls.cert, d.tls.key = "tls.crt", "tls.key"
		how := "files with a certificate for every host and its key"
		if d.tls.acme {
			how += "; or tls.acme, if you agree to the terms of service of the authority, which only you can say"
		}
		d.find(nowhere, FillIn, "tls", how)
	}
}

func (d *draft) completeProvider() {
	p := &d.provider
	if p.issuer == "" {
		p.issuer = placeholderIssuer
		d.find(nowhere, FillIn, "oidc.issuer", "the issuer of the identity provider, exactly as in its tokens")
	}
	if p.clientID == "" {
		p.clientID = placeholderClient
		d.find(nowhere, FillIn, "oidc.client_id", "the client ID that the provider gave to this application")
	}
	if p.secretFile == "" {
		p.secretFile = d.secretFile("oidc")
		d.find(nowhere, FillIn, "oidc.client_secret_file", "write the client secret into %s, readable for the server alone", p.secretFile)
	}
	if p.userClaim == "" {
		p.userClaim = userClaimOf(p.issuer)
	}
	if p.userClaim != "oid" {
		d.find(nowhere, FillIn, "oidc.user_attribute", "the provider must push as externalId what its tokens have in the claim %s", p.userClaim)
	}
}

// closedPolicy returns the name of the policy that lets nobody in.
func (d *draft) closedPolicy() string {
	return d.policyOf("nobody", "Nobody gets in until somebody writes who may.", []rule{denyEverybody})
}

// policyOf returns the name of a policy with these rules, which is added if there is none yet.
func (d *draft) policyOf(name, comment string, rules []rule) string {
	allows := slices.ContainsFunc(rules, func(r rule) bool { return !r.deny })
	if denies := slices.ContainsFunc(rules, rule.deniesEverybody); (denies || !allows) && name != "nobody" {
		return d.closedPolicy()
	}
	written := fmt.Sprintf("%#v", rules)
	taken := map[string]bool{}
	for _, p := range d.policies {
		if fmt.Sprintf("%#v", p.rules) == written {
			return p.name
		}
		taken[p.name] = true
	}
	name = unused(name, 63, taken)
	d.policies = append(d.policies, namedPolicy{name, comment, rules})
	return name
}

// unused returns a name that is not taken, no longer than length.
func unused(name string, length int, taken map[string]bool) string {
	name = name[:min(len(name), length)]
	for i, candidate := 2, name; ; i++ {
		if !taken[candidate] {
			return candidate
		}
		suffix := fmt.Sprintf("-%d", i)
		candidate = name[:min(len(name), length-len(suffix))] + suffix
	}
}

// nameRoutes gives each route a name of its own.
func (d *draft) nameRoutes() {
	taken := map[string]bool{}
	for i := range d.routes {
		r := &d.routes[i]
		r.name = unused(routeName(cmp.Or(r.name, strings.Trim(r.host+strings.ReplaceAll(r.path, "/", "-"), "-"))), 63, taken)
		taken[r.name] = true
	}
}

// routeName returns the part of a text that the name of a route may have.
func routeName(text string) string {
	name := strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z', '0' <= r && r <= '9', r == '.', r == '-':
			return r
		case r == ' ' || r == '_' || r == '/':
			return '-'
		}
		return -1
	}, strings.ToLower(text))
	name = strings.Trim(name, "-.")
	return cmp.Or(name[:min(len(name), 63)], "app")
}

// addRoute adds a route, unless its host and path are those of one before it.
func (d *draft) addRoute(r route) bool {
	for _, other := range d.routes {
		if other.host == r.host && other.path == r.path {
			d.find(r.at, Dropped, "", "an earlier route has the same host and path, and outweighs this one")
			return false
		}
	}
	d.routes = append(d.routes, r)
	return true
}

// isLoopback reports whether an address to listen on is reached from this machine alone.
func isLoopback(address string) bool {
	host, _, ok := splitAddress(address)
	ip, err := netip.ParseAddr(host)
	return ok && (host == "localhost" || err == nil && ip.IsLoopback())
}

// take hands a setting to its function in keys, or says why it is left out. It reports whether it is in one of both.
func take[T any](d *draft, reading T, name string, s setting, keys map[string]func(T, setting), dropped map[string]string) bool {
	if handle, ok := keys[name]; ok {
		handle(reading, s)
		return true
	}
	why, ok := dropped[name]
	if ok {
		d.find(s.place, Dropped, "", "%s", why)
	}
	return ok
}

// carriedIfOff says that a switch is carried over if it is off, as it always is at the target, and reports whether it is.
func (d *draft) carriedIfOff(s setting, target string) bool {
	if s.isOff() {
		d.find(s.place, Carried, target, "")
		return true
	}
	return false
}
