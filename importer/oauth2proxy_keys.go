package importer

import (
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// oauth2Keys has what becomes of each setting that is not left out, by its name in the file.
var oauth2Keys map[string]func(*oauth2proxy, setting)

func init() { // the functions read the table themselves
	oauth2Keys = map[string]func(*oauth2proxy, setting){
		"provider":                  (*oauth2proxy).provide,
		"oidc_issuer_url":           func(o *oauth2proxy, s setting) { o.setIssuer(s.place, known(s)) },
		"azure_tenant":              func(o *oauth2proxy, s setting) { o.setTenant(s.place, known(s)) },
		"client_id":                 func(o *oauth2proxy, s setting) { o.takeText(s, "oidc.client_id", &o.draft.provider.clientID) },
		"client_secret":             func(o *oauth2proxy, s setting) { o.takeSecret(s) },
		"client_secret_file":        (*oauth2proxy).secretIn,
		"scope":                     func(o *oauth2proxy, s setting) { o.takeScopes(s, strings.Fields(s.value())) },
		"provider_ca_files":         (*oauth2proxy).providerCA,
		"redirect_url":              (*oauth2proxy).redirect,
		"http_address":              func(*oauth2proxy, setting) {}, // completeTLSMode
		"https_address":             func(*oauth2proxy, setting) {},
		"tls_cert_file":             func(o *oauth2proxy, s setting) { o.takeFile(s, "tls.cert_file", &o.tls.cert) },
		"tls_key_file":              func(o *oauth2proxy, s setting) { o.takeFile(s, "tls.key_file", &o.tls.key) },
		"force_https":               (*oauth2proxy).forceHTTPS,
		"reverse_proxy":             (*oauth2proxy).reverseProxy,
		"trusted_proxy_ips":         (*oauth2proxy).trustedProxies,
		"cookie_expire":             func(o *oauth2proxy, s setting) { d, ok := s.duration(); o.takeLifetime(s, d, ok) },
		"metrics_address":           func(o *oauth2proxy, s setting) { o.takeMetrics(s) },
		"upstreams":                 (*oauth2proxy).upstreams,
		"upstream_timeout":          func(*oauth2proxy, setting) {}, // upstreams
		"pass_host_header":          func(*oauth2proxy, setting) {},
		"email_domains":             (*oauth2proxy).emailDomains,
		"authenticated_emails_file": (*oauth2proxy).emailsFile,
		"allowed_groups":            (*oauth2proxy).groups,
		"google_groups":             (*oauth2proxy).groups,
		"gitlab_groups":             (*oauth2proxy).groups,
		"keycloak_groups":           (*oauth2proxy).groups,
		"gitlab_projects":           (*oauth2proxy).projects,
		"allowed_roles":             (*oauth2proxy).allowedRoles,
		"entra_id_allowed_tenants":  (*oauth2proxy).tenants,
		"github_org":                restricts("organizations of GitHub"),
		"github_team":               restricts("teams of GitHub"),
		"github_repo":               restricts("collaborators of a repository"),
		"github_users":              restricts("users of GitHub"),
		"bitbucket_team":            restricts("teams of Bitbucket"),
		"bitbucket_repository":      restricts("repositories of Bitbucket"),
		"skip_auth_regexs":          (*oauth2proxy).skipAuth,
		"skip_auth_regex":           (*oauth2proxy).skipAuth,
		"skip_auth_routes":          (*oauth2proxy).skipAuth,
		"skip_auth_preflight":       func(*oauth2proxy, setting) {}, // upstreams
		"trusted_ips":               (*oauth2proxy).trustedIPs,
		"skip_jwt_bearer_tokens":    (*oauth2proxy).bearer,
		"extra_jwt_issuers":         (*oauth2proxy).extraIssuers,
		"api_routes": func(o *oauth2proxy, s setting) {
			o.find(s.place, Changed, "", "every request that is no navigation of a browser gets 401 instead of a redirect, on all paths")
		},
		"pass_user_headers":                 (*oauth2proxy).userHeaders,
		"pass_basic_auth":                   (*oauth2proxy).basicAuth,
		"set_xauthrequest":                  (*oauth2proxy).xAuthRequest,
		"ssl_upstream_insecure_skip_verify": (*oauth2proxy).insecureUpstreams,
		"proxy_websockets":                  (*oauth2proxy).webSockets,
		"custom_sign_in_logo": func(o *oauth2proxy, s setting) {
			o.find(s.place, Dropped, "", "write brand.logo with the name of a PNG, SVG or WebP file")
		},
	}
}

// known returns the value of a setting; "" if the text does not have it.
func known(s setting) string {
	if s.opaque || s.tree {
		return ""
	}
	return s.value()
}

// restricts returns what becomes of a setting that says who gets in by something that no directory has.
func restricts(what string) func(*oauth2proxy, setting) {
	return func(o *oauth2proxy, s setting) {
		if !s.opaque && len(s.list()) == 0 {
			o.find(s.place, Dropped, "", "it is empty")
			return
		}
		o.closed = true
		o.deny(s.place, "%s are not in the directory; have the identity provider push a group with the same people, and name it in the policy", what)
	}
}

func (o *oauth2proxy) provide(s setting) {
	name := known(s)
	switch {
	case wellKnown[name] != "":
		if o.draft.provider.issuer == "" && o.text("oidc_issuer_url") == "" {
			o.draft.provider.issuer = wellKnown[name]
		}
		o.find(s.place, Carried, "oidc.issuer", "")
	case name == "oidc" || name == "keycloak-oidc" || name == "adfs":
		o.find(s.place, Carried, "oidc.issuer", "OpenID Connect is the one protocol here")
	case name == "azure" || name == "entra-id":
		if o.text("azure_tenant") == "" && o.text("oidc_issuer_url") == "" {
			o.setTenant(s.place, "common")
			return
		}
		o.find(s.place, Carried, "oidc.issuer", "")
	case slices.Contains(withoutOIDC, name):
		o.find(s.place, FillIn, "oidc.issuer", "this provider does not speak OpenID Connect as Sallyport needs it; put one that does, and that pushes SCIM, between the two, such as Keycloak")
	default:
		o.find(s.place, FillIn, "oidc.issuer", "this provider is not known here; write its OpenID Connect issuer, exactly as in its tokens")
	}
}

func (o *oauth2proxy) secretIn(s setting) {
	if o.text("client_secret") != "" {
		o.find(s.place, Dropped, "", "client_secret outweighs it")
		return
	}
	o.takeFile(s, "oidc.client_secret_file", &o.draft.provider.secretFile)
}

func (o *oauth2proxy) providerCA(s setting) {
	files := s.list()
	if len(files) != 1 || s.opaque || !filePath(files[0]) {
		o.find(s.place, FillIn, "oidc.ca_file", "write the name of one PEM file with all certificates that may sign the provider's")
		return
	}
	o.draft.provider.caFile = files[0]
	o.find(s.place, Carried, "oidc.ca_file", "")
}

func (o *oauth2proxy) redirect(s setting) {
	public, host, ok := origin(known(s))
	if !ok {
		o.find(s.place, FillIn, "public_url", "this is no https URL with a host; write the address at which people sign in")
		return
	}
	o.publicURL, o.host = public, host
	o.find(s.place, Changed, "public_url", "applications and sign-in stay at this host; the provider has to know %s/.sallyport/callback instead", public)
}

func (o *oauth2proxy) forceHTTPS(s setting) {
	if on, ok := s.on(); !ok || !on {
		o.find(s.place, Dropped, "", "browsers are redirected to https where listen.http is set")
		return
	}
	o.listen.http = "0.0.0.0:80"
	o.find(s.place, Changed, "listen.http", "a listener of its own redirects browsers to https, and serves nothing else")
}

func (o *oauth2proxy) reverseProxy(s setting) {
	if s.isOff() {
		o.find(s.place, Carried, "trusted_proxies", "no proxy in front is believed")
		return
	}
	o.find(s.place, Changed, "trusted_proxies", "headers are believed from named addresses alone, not from everybody")
}

func (o *oauth2proxy) trustedProxies(s setting) {
	networks, ok := networksOf(s.list())
	if s.opaque || s.tree || !ok {
		o.find(s.place, FillIn, "trusted_proxies", "write the networks of the proxies in front")
		return
	}
	o.trusted = networks
	o.find(s.place, Carried, "trusted_proxies", "")
}

func (d *draft) takeMetrics(s setting) {
	address := listenAddress(known(s))
	switch {
	case address == "":
		d.find(s.place, Changed, "listen.ops", "metrics are at %s", d.listen.ops)
	case isLoopback(address):
		d.listen.ops = address
		d.find(s.place, Carried, "listen.ops", "")
	default:
		d.listen.ops = "127.0.0.1:" + portOf(address)
		d.find(s.place, Changed, "listen.ops", "metrics need no sign-in, so they are at %s alone; write another address if only your monitoring reaches it", d.listen.ops)
	}
}

func (o *oauth2proxy) emailDomains(s setting) {
	if s.opaque || s.tree {
		o.people = append(o.people, impossible)
		o.deny(s.place, "the text does not have the value itself; write the domains into the policy")
		return
	}
	var domains []string
	for _, domain := range s.list() {
		plain := strings.TrimPrefix(domain, "*")
		switch {
		case domain == "*":
			o.people = append(o.people, exactly(always))
			o.find(s.place, Changed, "policies", "everybody who can sign in is every user whom the identity provider pushes by SCIM")
		case (plain == domain || strings.HasPrefix(plain, ".")) && domainForm().MatchString(strings.TrimPrefix(plain, ".")):
			domains = append(domains, strings.ToLower(plain))
		default:
			o.deny(s.place, "one of these is no domain")
		}
	}
	if len(domains) == 0 {
		return
	}
	o.people = append(o.people, domainIs(true, domains...))
	o.find(s.place, Changed, "policies", "the address is the user's only or primary one in the directory (SCIM), not one of a token; a group is the better rule")
}

func (o *oauth2proxy) emailsFile(s setting) {
	o.people = append(o.people, impossible)
	o.deny(s.place, "the file with addresses is not read; have the identity provider push a group with these people, and name it in the policy")
}

func (o *oauth2proxy) groups(s setting) {
	if s.opaque || s.tree {
		o.members = append(o.members, impossible)
		o.deny(s.place, "the text does not have the value itself; write the object IDs of the groups into the policy")
		return
	}
	names := s.list()
	for _, name := range names {
		o.members = append(o.members, memberOf(name))
	}
	switch {
	case len(names) == 0:
		o.find(s.place, Dropped, "", "it is empty")
	case slices.ContainsFunc(names, func(name string) bool { return !objectID().MatchString(name) }):
		o.find(s.place, FillIn, "policies", "groups are named by the object ID that SCIM pushes as externalId: a name can be taken by another. Nobody is in a group whose ID is not filled in")
	default:
		o.find(s.place, Changed, "policies", "these are object IDs of groups that SCIM pushes, not of tokens")
	}
}

func (o *oauth2proxy) projects(s setting) {
	o.members = append(o.members, impossible)
	o.deny(s.place, "projects of GitLab are not in the directory; have the identity provider push a group with the same people, and name it in the policy")
}

func (o *oauth2proxy) allowedRoles(s setting) {
	for _, role := range s.list() {
		if !s.opaque && writable(role) && strings.TrimSpace(role) == role {
			o.roles = append(o.roles, role)
		}
	}
	if len(o.roles) == 0 {
		o.members = append(o.members, impossible)
	}
	o.find(s.place, Changed, "policies", "roles are those that SCIM pushes, not those of a token")
}

func (o *oauth2proxy) tenants(s setting) {
	tenants := s.list()
	if len(tenants) == 1 && !s.opaque {
		o.setTenant(s.place, tenants[0])
		return
	}
	o.find(s.place, Changed, "oidc.issuer", "people sign in through one tenant")
}

func (o *oauth2proxy) trustedIPs(s setting) {
	networks, ok := networksOf(s.list())
	switch {
	case !ok || s.opaque || s.tree:
		o.deny(s.place, "these are not all networks, or all networks")
	case o.isOn("reverse_proxy", false):
		o.deny(s.place, "with a proxy in front, the address of a client is known only once trusted_proxies names that proxy; then write allow: {anyone: true, networks: […]}")
	default:
		o.open = append(o.open, rule{anyone: true, networks: networks, comment: "No sign-in from these addresses."})
		o.find(s.place, Carried, "policies", "whoever has these addresses needs no sign-in; if a proxy stands in front, its address would be everybody's")
	}
}

func (o *oauth2proxy) bearer(s setting) {
	on, ok := s.on()
	id := o.text("client_id")
	switch {
	case !ok || !on:
		o.find(s.place, Carried, "oidc.api_audiences", "bearer tokens are rejected")
	case id == "" || !writable(id):
		o.find(s.place, FillIn, "oidc.api_audiences", "the audience that bearer tokens have; without one they are rejected")
	default:
		o.draft.provider.audiences = []string{id}
		o.find(s.place, Carried, "oidc.api_audiences", "the rules decide about tokens of users as about sessions; applications need rules with apps")
	}
}

func (o *oauth2proxy) extraIssuers(s setting) {
	for _, text := range s.list() {
		issuer, audience, ok := strings.Cut(text, "=")
		u, err := url.Parse(issuer)
		taken := slices.ContainsFunc(o.draft.provider.bearer, func(b bearerIssuer) bool { return b.issuer == issuer })
		if !ok || err != nil || u.Scheme != "https" || u.Host == "" || u.Host == microsoft || audience == "" || taken || u.User != nil || s.opaque ||
			!writable(text) || strings.ContainsAny(text, "?# ") || issuer == o.text("oidc_issuer_url") || issuer == o.draft.provider.issuer || strings.Contains(strings.ToLower(u.Path), "/common") {
			o.find(s.place, Dropped, "", "write it into oidc.bearer_issuers by hand: issuer exactly as in the tokens, and audiences")
			continue
		}
		o.draft.provider.bearer = append(o.draft.provider.bearer, bearerIssuer{issuer, audience})
		o.find(s.place, Changed, "oidc.bearer_issuers", "its applications are known, its users are not, until user_claim is written there")
	}
}

func (o *oauth2proxy) webSockets(s setting) {
	if on, ok := s.on(); ok && on {
		o.find(s.place, Carried, "routes", "")
		return
	}
	o.find(s.place, Changed, "routes", "WebSockets are forwarded, for those who may send GET to the same path; nothing switches them off")
}

func (o *oauth2proxy) insecureUpstreams(s setting) {
	if o.carriedIfOff(s, "routes") {
		return
	}
	o.find(s.place, FillIn, "routes[].upstream_tls.ca_file", "certificates of upstreams are always verified; name the file with the certificate that signs them")
}

func (o *oauth2proxy) userHeaders(s setting) {
	if s.isOff() && !o.isOn("pass_basic_auth", true) {
		o.headers.names = noIdentity
		o.find(s.place, Carried, "identity_headers", "")
		return
	}
	o.find(s.place, Changed, "identity_headers", "the headers have the same names; X-Forwarded-User has the userName of SCIM, X-Forwarded-Groups the groups that the policy names")
}

func (o *oauth2proxy) basicAuth(s setting) {
	if o.carriedIfOff(s, "identity_headers") {
		return
	}
	o.find(s.place, Dropped, "", "no password is sent to applications; they read X-Forwarded-User, or verify X-Sallyport-Assertion, which is signed")
}

func (o *oauth2proxy) xAuthRequest(s setting) {
	if o.carriedIfOff(s, "identity_headers") {
		return
	}
	if !o.asksFor("static://") {
		o.find(s.place, Dropped, "", "responses to clients name nobody; only those to checks at /.sallyport/check do")
		return
	}
	o.headers.preset = "x-auth-request"
	o.find(s.place, Carried, "identity_headers.preset", "the response to a check at /.sallyport/check has these headers")
}

// asksFor reports whether some upstream begins with a text.
func (o *oauth2proxy) asksFor(prefix string) bool {
	s, _ := o.get("upstreams")
	return slices.ContainsFunc(s.list(), func(u string) bool { return strings.HasPrefix(u, prefix) })
}

// noIdentity switches off all headers that say who is calling, but the signed assertion.
var noIdentity = []headerName{{"user", ""}, {"login", ""}, {"email", ""}, {"groups", ""}}

var literalPattern = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^\^(/[A-Za-z0-9/_~-]*)\$$`) })

// skipAuth reads what needs no sign-in: METHOD=REGEX, METHOD!=REGEX, REGEX or !=REGEX.
func (o *oauth2proxy) skipAuth(s setting) {
	if s.opaque || s.tree {
		o.deny(s.place, "the text does not have the value itself")
		return
	}
	for _, text := range s.values {
		o.skipOne(s, text)
	}
}

var methodAndPattern = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^([A-Z]*)(!?=)(.*)$`) })

func (o *oauth2proxy) skipOne(s setting, text string) {
	method, negative, pattern := "", false, text
	if m := methodAndPattern().FindStringSubmatch(text); m != nil && s.name == "skip_auth_routes" {
		method, negative, pattern = m[1], m[2] == "!=", m[3]
	}
	r := rule{anyone: true}
	if method != "" {
		r.methods = []string{method}
	}
	t := pathMatches(pattern)
	if negative {
		t = t.negated()
	}
	literal := literalPattern().FindStringSubmatch(pattern)
	if literal != nil {
		if _, ok := routePath(literal[1]); !ok {
			literal = nil
		}
	}
	switch {
	case t.sure == never || method != "" && !methodForm().MatchString(method):
		o.deny(s.place, "one of these is no regular expression that can be written here")
		return
	case literal != nil && !negative && !strings.Contains(literal[1], "//"):
		r.paths = []string{literal[1]}
	default:
		r.when = t.sure
	}
	o.open = append(o.open, r)
	if !negative && strings.HasPrefix(pattern, "^") {
		o.find(s.place, Carried, "policies", "what it matches is open to everybody")
		return
	}
	o.find(s.place, Carried, "policies", "what it matches is open to everybody; it matches anywhere in the path, unless it begins with ^, as it did before")
}
