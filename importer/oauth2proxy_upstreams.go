package importer

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"time"

	"go.yaml.in/yaml/v4"
)

// upstreams reads the upstreams of the file: URLs whose paths say what goes to them.
func (o *oauth2proxy) upstreams(s setting) {
	if s.opaque || s.tree {
		o.find(s.place, FillIn, "routes", "the text does not have the value itself; write the upstream into the route")
		return
	}
	for _, text := range s.list() {
		u, err := url.Parse(text)
		if err != nil {
			o.find(s.place, Dropped, "", "one of these is no URL")
			continue
		}
		switch u.Scheme {
		case "static":
			o.static = true
			if u.Path != "" {
				o.lose(u.Path)
			}
			o.find(s.place, Changed, "forward_auth", "a front proxy asks at /.sallyport/check, and forwards the requests (docs/forward-auth.md)")
			continue
		case "file", "unix":
			o.lose(cmp.Or(u.Fragment, u.Path))
			o.find(s.place, Dropped, "", "Sallyport serves no files and speaks to no Unix sockets; put a web server at an address, and write a route to it")
			continue
		}
		o.addTarget(s.place, text, u.Path, o.globalTarget())
	}
}

// globalTarget returns what the settings say of every upstream.
func (o *oauth2proxy) globalTarget() target {
	t := target{}
	if s, ok := o.get("upstream_timeout"); ok {
		t.timeout = o.timeoutOf(s)
	}
	if s, ok := o.get("pass_host_header"); ok {
		if on, isSwitch := s.on(); isSwitch && !on {
			t.upstreamHost = "upstream"
		}
		o.find(s.place, Carried, "routes[].upstream_host", "")
	}
	if s, ok := o.get("skip_auth_preflight"); ok {
		on, isSwitch := s.on()
		t.passPreflight = on && isSwitch
		o.find(s.place, Changed, "routes[].cors_preflight", "of OPTIONS requests, those alone pass that browsers send for CORS, without cookies and without a body")
	}
	return t
}

func (d *draft) timeoutOf(s setting) time.Duration {
	timeout, ok := s.duration()
	if !ok || timeout < time.Millisecond || timeout > time.Hour {
		d.find(s.place, Changed, "routes[].timeout", "an upstream may take between 1ms and 1h to begin its response, and 60s if nothing is written")
		return 0
	}
	d.find(s.place, Carried, "routes[].timeout", "until the response begins")
	return timeout
}

// addTarget adds an upstream for the requests of a path: those below it if it ends in a slash, otherwise it alone.
func (o *oauth2proxy) addTarget(at place, address, path string, t target) {
	u, ok := parseUpstream(address)
	if !ok {
		o.lose(path)
		o.find(at, Dropped, "", "this is no upstream that Sallyport can speak to: http, https or h2c with a host name and a port; write a route to it by hand")
		return
	}
	p, ok := routePath(path)
	if !ok {
		o.lose(path)
		o.find(at, Dropped, "", "routes have paths of whole segments, such as /api; write a route by hand")
		return
	}
	t.at, t.path, t.upstreams = at, p, []string{u.target}
	t.exact = p != "/" && !strings.HasSuffix(path, "/")
	if u.secret {
		o.find(at, Dropped, "", "a user, a query or a fragment in the URL of an upstream is left out")
	}
	for _, other := range o.targets {
		if other.path == p {
			o.find(at, Dropped, "", "another upstream has this path, or differs by the slash at its end")
			return
		}
	}
	o.targets = append(o.targets, t)
	switch {
	case t.exact:
		o.find(at, Changed, "routes", "the route is for %s and all below it, and what is below is denied", p)
	case p != "/":
		o.find(at, Changed, "routes", "the route is for %s and all below it: the path without the slash at its end too", p)
	default:
		o.find(at, Carried, "routes", "")
	}
}

// alphaNames has the names of the file for keys of the configuration in YAML.
var alphaNames = map[string]string{
	"clientID": "client_id", "clientSecret": "client_secret", "clientSecretFile": "client_secret_file", "provider": "provider", "scope": "scope",
	"caFiles": "provider_ca_files", "allowedGroups": "allowed_groups", "loginURL": "login_url", "redeemURL": "redeem_url", "profileURL": "profile_url",
	"validateURL": "validate_url", "resource": "resource", "code_challenge_method": "code_challenge_method", "codeChallengeMethod": "code_challenge_method",
	"name": "provider_display_name", "id": "provider_id", "useSystemTrustStore": "use_system_trust_store", "loginURLParameters": "login_url_parameters",
	"skipClaimsFromProfileURL": "skip_claims_from_profile_url", "backendLogoutURL": "backend_logout_url", "authRequestResponseMode": "auth_request_response_mode",
	"additionalClaims":                          "additional_claims",
	"oidcConfig.issuerURL":                      "oidc_issuer_url",
	"oidcConfig.jwksURL":                        "oidc_jwks_url",
	"oidcConfig.emailClaim":                     "oidc_email_claim",
	"oidcConfig.groupsClaim":                    "oidc_groups_claim",
	"oidcConfig.userIDClaim":                    "user_id_claim",
	"oidcConfig.publicKeys":                     "oidc_public_key_files",
	"oidcConfig.audienceClaims":                 "oidc_audience_claims",
	"oidcConfig.extraAudiences":                 "oidc_extra_audiences",
	"oidcConfig.skipDiscovery":                  "skip_oidc_discovery",
	"oidcConfig.insecureSkipNonce":              "insecure_oidc_skip_nonce",
	"oidcConfig.insecureAllowUnverifiedEmail":   "insecure_oidc_allow_unverified_email",
	"oidcConfig.insecureSkipIssuerVerification": "insecure_oidc_skip_issuer_verification",
	"oidcConfig.enabledSigningAlgs":             "oidc_enabled_signing_algs", "oidcConfig.rolesClaim": "oidc_roles_claim",
	"azureConfig.tenant": "azure_tenant", "azureConfig.graphGroupField": "azure_graph_group_field", "ADFSConfig.skipScope": "adfs_skip_scope",
	"microsoftEntraIDConfig.allowedTenants": "entra_id_allowed_tenants", "microsoftEntraIDConfig.federatedTokenAuth": "entra_id_federated_token_auth",
	"githubConfig.org": "github_org", "githubConfig.team": "github_team", "githubConfig.repo": "github_repo", "githubConfig.token": "github_token", "githubConfig.users": "github_users",
	"gitlabConfig.group": "gitlab_groups", "gitlabConfig.projects": "gitlab_projects",
	"googleConfig.group": "google_groups", "googleConfig.adminEmail": "google_admin_email", "googleConfig.serviceAccountJson": "google_service_account_json",
	"googleConfig.useApplicationDefaultCredentials": "google_use_application_default_credentials", "googleConfig.targetPrincipal": "google_target_principal",
	"googleConfig.useOrganizationID": "google_use_organization_id", "googleConfig.adminAPIUserScope": "google_admin_api_user_scope",
	"keycloakConfig.groups": "keycloak_groups", "keycloakConfig.roles": "allowed_roles",
	"bitbucketConfig.team": "bitbucket_team", "bitbucketConfig.repository": "bitbucket_repository",
	"loginGovConfig.jwtKey": "jwt_key", "loginGovConfig.jwtKeyFile": "jwt_key_file", "loginGovConfig.pubjwkURL": "pubjwk_url",
	"server.BindAddress": "http_address", "server.SecureBindAddress": "https_address",
	"server.TLS.Key.fromFile": "tls_key_file", "server.TLS.Cert.fromFile": "tls_cert_file", "server.TLS.MinVersion": "tls_min_version", "server.TLS.CipherSuites": "tls_cipher_suites",
	"metricsServer.BindAddress": "metrics_address", "metricsServer.SecureBindAddress": "metrics_secure_address",
}

// readAlpha reads the configuration in YAML. Beside what it alone has, its keys are those of the file by other names.
func (o *oauth2proxy) readAlpha(root *yaml.Node) {
	for _, p := range pairs(root) {
		at := placeOf(p.key, p.key.Value)
		switch p.key.Value {
		case "providers":
			o.readProviders(p)
		case "server", "metricsServer":
			o.flatten(p.value, p.key.Value+".", p.key.Value+".")
		case "upstreamConfig", "upstreams":
			o.readAlphaUpstreams(p.value, p.key.Value)
		case "injectRequestHeaders":
			o.readInjected(p.value, at)
		case "injectResponseHeaders":
			o.find(at, Dropped, "", "responses carry no identity, but those of checks at /.sallyport/check, with the names of identity_headers")
		default:
			s := settingOf(p, oauth2Name(p.key.Value), inFile)
			if _, ok := alphaNames[p.key.Value]; !ok && !isOAuth2Key(s.name) {
				o.unknown(at, p.key.Value)
				continue
			}
			o.add(o.draft, s)
		}
	}
}

func (o *oauth2proxy) readProviders(p pair) {
	for i, one := range p.value.Content {
		path := fmt.Sprintf("providers[%d].", i)
		if i > 0 {
			o.find(placeOf(one, strings.TrimSuffix(path, ".")), Dropped, "", "people sign in through one provider")
			continue
		}
		o.flatten(one, path, "")
	}
}

// flatten adds the keys of a mapping, and of those in it, as settings. path names them in findings, prefix in the table.
func (o *oauth2proxy) flatten(n *yaml.Node, path, prefix string) {
	for _, p := range pairs(n) {
		name, ok := alphaNames[prefix+p.key.Value]
		switch {
		case ok:
			s := settingOf(p, name, inFile)
			s.key = path + p.key.Value
			o.add(o.draft, s)
		case p.value.Kind == yaml.MappingNode:
			o.flatten(p.value, path+p.key.Value+".", prefix+p.key.Value+".")
		default:
			o.unknown(placeOf(p.key, path+p.key.Value), p.key.Value)
		}
	}
}

func (o *oauth2proxy) readAlphaUpstreams(n *yaml.Node, path string) {
	if n.Kind == yaml.SequenceNode {
		for i, one := range n.Content {
			o.readAlphaUpstream(one, fmt.Sprintf("%s[%d]", path, i))
		}
		return
	}
	for _, p := range pairs(n) {
		switch p.key.Value {
		case "upstreams":
			o.readAlphaUpstreams(p.value, path+".upstreams")
		case "proxyRawPath":
			o.find(placeOf(p.key, path+".proxyRawPath"), Changed, "", "write path_encoding: lenient in the route if the upstream needs encoded slashes")
		default:
			o.unknown(placeOf(p.key, path+"."+p.key.Value), p.key.Value)
		}
	}
}

var rewritten = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^\^(/[A-Za-z0-9._~/-]*/)\(\.\*\)\$?$`) })

func (o *oauth2proxy) readAlphaUpstream(n *yaml.Node, path string) {
	var t target
	uri, mount, rewrite := "", "", ""
	at := placeOf(n, path)
	missing, static := false, false
	for _, p := range pairs(n) {
		s := settingOf(p, p.key.Value, inFile)
		s.key = path + "." + p.key.Value
		switch p.key.Value {
		case "id":
			t.name = known(s)
		case "uri":
			uri = known(s)
		case "path":
			mount = known(s)
			missing = missing || s.opaque || s.tree
		case "rewriteTarget":
			rewrite = known(s)
			missing = missing || s.opaque || s.tree
		case "timeout":
			t.timeout = o.timeoutOf(s)
		case "passHostHeader":
			if s.isOff() {
				t.upstreamHost = "upstream"
			}
			o.find(s.place, Carried, "routes[].upstream_host", "")
		case "proxyWebSockets":
			o.webSockets(s)
		case "insecureSkipTLSVerify":
			o.insecureUpstreams(s)
		case "static":
			if on, ok := s.on(); ok && on {
				o.static, static = true, true
				o.find(at, Changed, "forward_auth", "a front proxy asks at /.sallyport/check, and forwards the requests (docs/forward-auth.md)")
			}
		case "staticCode", "flushInterval", "disableKeepAlives":
			o.find(s.place, Dropped, "", "responses are passed on as they come, and connections are kept open")
		default:
			o.unknown(s.place, p.key.Value)
		}
	}
	if static {
		o.lose(mount)
		return
	}
	if m := rewritten().FindStringSubmatch(mount); m != nil && rewrite != "" {
		added, ok := strings.CutSuffix(rewrite, "$1")
		if into, valid := routePath(added); ok && valid && strings.HasSuffix(added, "/") {
			mount, t.strip, t.add, rewrite = m[1], strings.TrimSuffix(m[1], "/"), into, ""
			if t.add == "/" {
				t.add = ""
			}
		}
	}
	if missing || rewrite != "" || strings.HasPrefix(mount, "^") {
		o.lost = append(o.lost, lost{"", pathMatches(mount)})
		o.find(at, Dropped, "", "its path cannot be written as leading segments; write a route with rewrite by hand")
		return
	}
	if strings.HasPrefix(uri, "file:") || strings.HasPrefix(uri, "unix:") {
		o.lose(mount)
		o.find(at, Dropped, "", "Sallyport serves no files and speaks to no Unix sockets; put a web server at an address, and write a route to it")
		return
	}
	o.addTarget(at, uri, mount, t)
}

// injected has what the claims of headers are here.
var injected = map[string]string{"user": "user", "email": "email", "groups": "groups", "preferred_username": "login", "name": "name"}

// readInjected reads the headers of requests to upstreams.
func (o *oauth2proxy) readInjected(n *yaml.Node, at place) {
	for i, one := range n.Content {
		at := placeOf(one, fmt.Sprintf("injectRequestHeaders[%d]", i))
		values := child(one, "values")
		name := child(one, "name")
		if values == nil || len(values.Content) != 1 || !isScalar(name) {
			o.find(at, Dropped, "", "a header has one value; write it by hand")
			continue
		}
		value := values.Content[0]
		claim := child(value, "claim")
		switch {
		case !isScalar(claim):
			o.find(at, Dropped, "", "its value may be a secret; write it into request_headers of the route if it is none")
		case child(value, "basicAuthPassword") != nil || child(value, "prefix") != nil || injected[claim.Value] == "":
			o.find(at, Dropped, "", "no password, prefix or token is sent to applications; they verify X-Sallyport-Assertion, which is signed")
		default:
			o.nameHeader(at, &o.headers, injected[claim.Value], name.Value)
		}
	}
	_ = at
}

var identityHeaderForm = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^X-[A-Za-z][A-Za-z0-9-]{0,60}$|^Remote-[A-Za-z]{2,20}$`)
})

// nameHeader has an identity header carry a value, if no other carries it and the name has no other meaning.
func (d *draft) nameHeader(at place, headers *identityHeaders, carries, name string) {
	if !identityHeaderForm().MatchString(name) || forwardedName().MatchString(name) {
		d.find(at, Dropped, "", "the header has a meaning of its own, or none that an identity may have; choose another in identity_headers")
		return
	}
	for _, h := range headers.names {
		if h.carries == carries || strings.EqualFold(h.name, name) {
			d.find(at, Dropped, "", "identity_headers has one header for each value, and one value for each header")
			return
		}
	}
	headers.names = append(headers.names, headerName{carries, name})
	d.find(at, Carried, "identity_headers."+carries, "")
}

var forwardedName = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`(?i)^X-(Forwarded-(For|Proto|Host|Port|Server|Prefix|Uri|Method|Path|Scheme|Ssl|Proto-Version|By)|Real-Ip|Original-.*|Rewrite-.*|Http-Method.*|Method-Override|Scheme|Script-Name|Sallyport-.*|Client-Ip|Cluster-Client-Ip|Envoy-.*|Host|Url|Path|Uri)$`)
})

// decoded returns the bytes that a text has in base64.
func decoded(text string) (string, bool) {
	data, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(text), ""))
	return string(data), err == nil && len(data) > 0
}

// shift moves the places of nodes, which stand in another text.
func shift(n *yaml.Node, down, right int) {
	n.Line, n.Column = n.Line+down, n.Column+right
	for _, one := range n.Content {
		shift(one, down, right)
	}
}
