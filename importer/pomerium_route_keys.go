package importer

import (
	"regexp"
	"slices"
	"strings"
	"sync"

	"go.yaml.in/yaml/v4"
)

// pomeriumRouteKeys has what becomes of each key of a route that is not left out.
var pomeriumRouteKeys map[string]func(*pomerium, *pomeriumRoute, setting)

func init() { // as oauth2Keys
	pomeriumRouteKeys = map[string]func(*pomerium, *pomeriumRoute, setting){
		"from": (*pomerium).from, "to": (*pomerium).to, "prefix": (*pomerium).chosen, "path": (*pomerium).chosen, "regex": (*pomerium).chosen,
		"prefix_rewrite": (*pomerium).prefixRewrite, "allowed_users": (*pomerium).legacyAllow, "allowed_groups": (*pomerium).legacyAllow, "allowed_domains": (*pomerium).legacyAllow,
		"allow_public_unauthenticated_access": (*pomerium).public, "allow_any_authenticated_user": (*pomerium).anyUser,
		"policy":             func(p *pomerium, src *pomeriumRoute, s setting) { p.readPolicy(src, s.node, s.key) },
		"ppl":                func(p *pomerium, src *pomeriumRoute, s setting) { p.readPolicy(src, s.node, s.key) },
		"allowed_idp_claims": func(p *pomerium, _ *pomeriumRoute, s setting) { p.deny(s.place, "%s", unheard["claims"]) },
		"name": func(p *pomerium, src *pomeriumRoute, s setting) {
			src.name = titleOf(known(s), 63)
			src.title = titleOf(known(s), 60)
			p.find(s.place, Carried, "routes[].name", "")
		},
		"description": func(p *pomerium, src *pomeriumRoute, s setting) {
			src.about = titleOf(known(s), 200)
			p.find(s.place, Carried, "routes[].portal.description", "")
		},
		"host_rewrite": (*pomerium).hostRewrite, "preserve_host_header": (*pomerium).preserveHost,
		"cors_allow_preflight": (*pomerium).preflight, "allow_websockets": (*pomerium).allowWebSockets,
		"timeout":         func(p *pomerium, src *pomeriumRoute, s setting) { src.timeout = p.timeoutOf(s) },
		"tls_skip_verify": (*pomerium).skipVerify, "tls_server_name": (*pomerium).serverName, "tls_upstream_server_name": (*pomerium).serverName,
		"tls_custom_ca": func(p *pomerium, src *pomeriumRoute, s setting) {
			p.takePEM(s, p.nameFor(src, "ca.pem"), "routes[].upstream_tls.ca_file", &src.ca)
		},
		"tls_custom_ca_file": func(p *pomerium, src *pomeriumRoute, s setting) {
			p.takeFile(s, "routes[].upstream_tls.ca_file", &src.ca)
		},
		"tls_client_cert": func(p *pomerium, src *pomeriumRoute, s setting) {
			p.takePEM(s, p.nameFor(src, "client.crt"), "routes[].upstream_tls.cert_file", &src.cert)
		},
		"tls_client_key": func(p *pomerium, src *pomeriumRoute, s setting) {
			p.takePEM(s, p.nameFor(src, "client.key"), "routes[].upstream_tls.key_file", &src.key)
		},
		"tls_client_cert_file": func(p *pomerium, src *pomeriumRoute, s setting) {
			p.takeFile(s, "routes[].upstream_tls.cert_file", &src.cert)
		},
		"tls_client_key_file": func(p *pomerium, src *pomeriumRoute, s setting) {
			p.takeFile(s, "routes[].upstream_tls.key_file", &src.key)
		},
		"tls_downstream_client_ca": (*pomerium).routeCertificates, "tls_downstream_client_ca_file": (*pomerium).routeCertificates,
		"set_request_headers":    func(p *pomerium, src *pomeriumRoute, s setting) { src.requestSet = p.headersOf(s.node, s.key, true) },
		"set_response_headers":   func(p *pomerium, src *pomeriumRoute, s setting) { src.responseSet = p.headersOf(s.node, s.key, false) },
		"remove_request_headers": (*pomerium).removeHeaders,
		"pass_identity_headers":  (*pomerium).routeIdentity,
		"redirect":               (*pomerium).responds, "response": (*pomerium).responds,
		"sub_policies": (*pomerium).subPolicies, "policies": (*pomerium).subPolicies,
		"mcp":                                closes("Sallyport is no authorization server for tools"),
		"identity_providers":                 closes("tokens of every issuer that is configured are accepted alike"),
		"upstream_tunnel":                    (*pomerium).responds,
		"idp_access_token_allowed_audiences": closes("the audiences of bearer tokens are the same for all routes (oidc.api_audiences)"),
	}
}

// titleOf returns a text for people, cut to a length.
func titleOf(text string, length int) string {
	if !writable(text) {
		return ""
	}
	runes := []rune(strings.TrimSpace(text))
	return strings.TrimSpace(string(runes[:min(len(runes), length)]))
}

// nameFor returns the name of a file of a route's own.
func (p *pomerium) nameFor(src *pomeriumRoute, name string) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune("[]", r) {
			return '-'
		}
		return r
	}, src.path) + name
}

// closes returns what becomes of a key that restricts access by something that cannot be expressed.
func closes(why string) func(*pomerium, *pomeriumRoute, setting) {
	return func(p *pomerium, src *pomeriumRoute, s setting) {
		src.closed = true
		p.deny(s.place, "%s; write a policy for the route", why)
	}
}

func (p *pomerium) hostRewrite(src *pomeriumRoute, s setting) {
	host, ok := plainHost(known(s))
	if !ok || host == "public" || host == "upstream" {
		p.find(s.place, FillIn, "routes[].upstream_host", "this is no host name")
		return
	}
	src.upstreamHost = host
	p.find(s.place, Carried, "routes[].upstream_host", "")
}

func (p *pomerium) preserveHost(src *pomeriumRoute, s setting) {
	if on, ok := s.on(); ok && on {
		src.upstreamHost = ""
	}
	p.find(s.place, Carried, "routes[].upstream_host", "")
}

func (p *pomerium) preflight(src *pomeriumRoute, s setting) {
	on, ok := s.on()
	src.passPreflight = on && ok
	p.find(s.place, Changed, "routes[].cors_preflight", "preflight requests pass without cookies and without a body")
}

func (p *pomerium) allowWebSockets(_ *pomeriumRoute, s setting) {
	if on, ok := s.on(); ok && on {
		p.find(s.place, Carried, "routes", "from pages of the route's own origin, or of allowed_origins")
		return
	}
	p.find(s.place, Changed, "routes", "WebSockets are forwarded, for those who may send GET to the same path; nothing switches them off")
}

func (p *pomerium) skipVerify(_ *pomeriumRoute, s setting) {
	if p.carriedIfOff(s, "routes[].upstream_tls") {
		return
	}
	p.find(s.place, FillIn, "routes[].upstream_tls.ca_file", "certificates of upstreams are always verified; name the file with the certificate that signs it")
}

func (p *pomerium) serverName(src *pomeriumRoute, s setting) {
	host, ok := plainHost(known(s))
	if !ok {
		p.find(s.place, FillIn, "routes[].upstream_tls.server_name", "this is no host name")
		return
	}
	src.serverName = host
	p.find(s.place, Carried, "routes[].upstream_tls.server_name", "")
}

func (p *pomerium) routeCertificates(src *pomeriumRoute, s setting) {
	src.closed = true
	p.deny(s.place, "Sallyport asks browsers for no certificates, so nobody gets in by this route; a rule with auth can demand a strong sign-in instead")
}

func (p *pomerium) responds(src *pomeriumRoute, s setting) {
	src.lost = true
	p.deny(s.place, "Sallyport forwards requests, and responds to none of them by itself; what the route matched is denied on the other routes of the host")
}

func (p *pomerium) subPolicies(src *pomeriumRoute, s setting) {
	src.closed = true
	p.deny(s.place, "these policies are not read; write theirs into a policy")
}

func (p *pomerium) routeIdentity(src *pomeriumRoute, s setting) {
	on, ok := s.on()
	p.find(s.place, Carried, "identity_headers", "")
	src.passes = &on
	if !ok {
		off := false
		src.passes = &off
	}
}

func (p *pomerium) removeHeaders(src *pomeriumRoute, s setting) {
	for _, name := range s.values {
		if s.opaque || s.tree || !headerForm().MatchString(name) || ownHeader().MatchString(name) {
			p.find(s.place, Dropped, "", "one of these headers is Sallyport's own to remove or to set")
			continue
		}
		src.requestRemove = append(src.requestRemove, name)
	}
	p.find(s.place, Carried, "routes[].request_headers.remove", "")
}

var (
	headerForm = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z][A-Za-z0-9-]{0,60}$`) })
	// ownHeader matches headers that frame or route messages, describe the client or identify the caller: Sallyport alone sets them.
	ownHeader = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`(?i)^(connection|content-.*|host|keep-alive|proxy.*|set-cookie|cookie|te|trailer|transfer-encoding|upgrade|http2-settings|expect|origin|referer|user-agent|sec-.*|` +
			`forwarded.*|x-forward.*|x-real.*|x-client-.*|x-cluster-.*|x-remote.*|remote-.*|x-orig.*|x-http.*|x-method.*|x-rewrite.*|x-override.*|x-envoy.*|x-request-(method|url|uri|path|id).*|x-path.*|x-url.*|x-uri.*|x-waws.*|` +
			`request-uri|path-info|x-ms-.*|x-auth.*|x-user.*|x-webauth.*|x-email.*|x-sallyport.*|x-pomerium.*|x-goog-.*|x-amzn-.*|x-azure.*|x-appengine.*|cf-.*|true-client.*|client-.*|wl-.*|fastly-.*|ssl-.*|x-ssl.*|x-host.*|x-proxy.*|` +
			`x-backend.*|x-server.*|x-scheme|x-proto|x-https|front-end.*|x-script.*|script-.*|x-context.*|x-ingress.*|x-base.*|traceparent|tracestate|from|x-username|x-groups?|x-roles?|x-token.*|x-id.*|x-sub.*|x-principal.*|x-account.*|x-login.*|x-name|x-preferred.*|x-jwt.*|x-oidc.*|x-access.*|x-credential.*|clear-site-data|strict-transport-security)$`)
	})
	secretName = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`(?i)auth|token|secret|passw|key|cookie|session|credential|signature|bearer|jwt`)
	})
	longWord = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`[A-Za-z0-9+/=_.-]{20,}`) })
)

// headersOf returns the headers of a mapping that routes may set. Values that may be secrets are left out.
func (p *pomerium) headersOf(n *yaml.Node, path string, request bool) (headers []headerValue) {
	target := map[bool]string{true: "routes[].request_headers", false: "routes[].response_headers"}[request]
	for _, one := range pairs(n) {
		at := placeOf(one.key, path+"."+one.key.Value)
		name, value := one.key.Value, one.value.Value
		switch {
		case one.value.Kind != yaml.ScalarNode || !headerForm().MatchString(name) || name == "disable":
			p.find(at, Dropped, "", "this is no header with a value")
		case ownHeader().MatchString(name):
			p.find(at, Dropped, "", "this header is Sallyport's own to set; identity_headers, hsts and pass_authorization say which it sends")
		case request && (secretName().MatchString(name) || longWord().MatchString(value)):
			p.find(at, Dropped, "", "its value may be a secret, and is not printed here; write it into %s if the file is readable for the server alone", target)
		case !writable(value) || templates().MatchString(value) || strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r > '~' }):
			p.find(at, Dropped, "", "its value is no printable ASCII, or is made from something else")
		default:
			headers = append(headers, headerValue{name, value})
			p.find(at, Carried, target, "")
		}
	}
	return headers
}

// identify names the headers by which applications learn who is calling: Pomerium's, and those of jwt_claims_headers.
func (p *pomerium) identify() {
	p.passed = identityHeaders{preset: "pomerium"}
	if s, ok := p.get("jwt_claims_headers"); ok {
		p.nameClaims(s)
	}
	if p.passHeaders {
		p.headers = p.passed
	} else {
		p.headers.names = noIdentity
	}
}

func (p *pomerium) nameClaims(s setting) {
	if s.node == nil || s.node.Kind != yaml.MappingNode {
		p.find(s.place, Changed, "identity_headers", "the preset pomerium has the headers for user, email, name and groups")
		return
	}
	for _, one := range pairs(s.node) {
		at := placeOf(one.key, s.key+"."+one.key.Value)
		carries := map[string]string{"email": "email", "groups": "groups", "name": "name", "user": "user", "sub": "user", "preferred_username": "login"}[one.value.Value]
		if carries == "" {
			p.find(at, Dropped, "", "no header carries this claim; the assertion has what Sallyport says of a caller")
			continue
		}
		p.nameHeader(at, &p.passed, carries, one.key.Value)
	}
}

// headersOfRoute returns what a route says otherwise than all routes about the headers that say who is calling.
func (p *pomerium) headersOfRoute(src *pomeriumRoute) identityHeaders {
	switch {
	case src.passes == nil || *src.passes == p.passHeaders:
		return identityHeaders{}
	case *src.passes:
		return p.passed
	}
	off := identityHeaders{names: slices.Clone(noIdentity)}
	off.names = append(off.names, headerName{"name", ""})
	return off
}

// pomeriumRouteDropped has why a key of a route is not carried over.
var pomeriumRouteDropped = map[string]string{
	"id": noLegacy, "logo_url": "write portal.icon with the name of a PNG, SVG or WebP file", "regex_priority_order": "the longest path wins", "regex_rewrite_pattern": "rewrite replaces leading segments; write it by hand", "regex_rewrite_substitution": "rewrite replaces leading segments; write it by hand",
	"host_rewrite_header": "write upstream_host: a name, public or upstream", "host_path_regex_rewrite_pattern": "write upstream_host: a name, public or upstream", "host_path_regex_rewrite_substitution": "write upstream_host: a name, public or upstream",
	"idle_timeout": noTimeouts, "allow_spdy": "upgrades are forwarded for WebSockets alone; kubectl exec by SPDY does not work, by WebSocket it does", "tls_downstream_server_name": noTLSChoice, "tls_upstream_allow_renegotiation": noTLSChoice,
	"kubernetes_service_account_token": "no token of Sallyport's is sent to upstreams; it is not printed here", "kubernetes_service_account_token_file": "no token of Sallyport's is sent to upstreams", "enable_google_cloud_serverless_authentication": "no token of Sallyport's is sent to upstreams",
	"jwt_groups_filter": "the assertion has the groups that the route's policy names", "jwt_issuer_format": "the issuer of the assertion is public_url", "rewrite_response_headers": "Location is rewritten where rewrite changes paths; write other headers into response_headers",
	"idp_client_id": "people sign in through one registration", "idp_client_secret": "people sign in through one registration; the secret is not printed here", "show_error_details": "pages of denials say which kind of rule denied", "depends_on": "one sign-in serves all hosts",
	"circuit_breaker_thresholds": "limits.live_requests bounds what is under way", "health_checks": "write health: {path: …} into the route", "outlier_detection": "an upstream that fails is skipped for a while", "lb_policy": "upstreams take turns", "lb_config": "upstreams take turns",
	"load_balancing_policy": "upstreams take turns", "healthy_panic_threshold": "an upstream that fails is skipped for a while", "stat_name": "metrics have the route's name", "bearer_token_format": "write oidc.api_audiences, if programs bring bearer tokens",
	"enable_google_cloud_serverless_auth": "no token of Sallyport's is sent to upstreams", "tls_client_certificate": "write upstream_tls.cert_file and key_file", "_to_weights": "upstreams take turns",
}
