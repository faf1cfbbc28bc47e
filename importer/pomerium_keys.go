package importer

import (
	"strings"

	"go.yaml.in/yaml/v4"
)

// pomeriumKeys has what becomes of each setting that is not left out.
var pomeriumKeys map[string]func(*pomerium, setting)

func init() { // as oauth2Keys
	pomeriumKeys = map[string]func(*pomerium, setting){
		"authenticate_service_url": (*pomerium).authenticate,
		"idp_provider":             (*pomerium).provide,
		"idp_provider_url":         (*pomerium).issuer,
		"idp_client_id":            func(p *pomerium, s setting) { p.takeText(s, "oidc.client_id", &p.provider.clientID) },
		"idp_client_secret":        func(p *pomerium, s setting) { p.takeSecret(s) },
		"idp_client_secret_file":   func(p *pomerium, s setting) { p.takeFile(s, "oidc.client_secret_file", &p.provider.secretFile) },
		"idp_scopes":               func(p *pomerium, s setting) { p.takeScopes(s, s.values) },
		"address":                  (*pomerium).address,
		"insecure_server":          (*pomerium).insecure,
		"http_redirect_addr":       (*pomerium).redirectAddress,
		"certificates":             (*pomerium).certificates,
		"certificate_file":         func(p *pomerium, s setting) { p.takeFile(s, "tls.cert_file", &p.tls.cert) },
		"certificate_key_file":     func(p *pomerium, s setting) { p.takeFile(s, "tls.key_file", &p.tls.key) },
		"certificate":              func(p *pomerium, s setting) { p.takePEM(s, "tls.crt", "tls.cert_file", &p.tls.cert) },
		"certificate_key":          func(p *pomerium, s setting) { p.takePEM(s, "tls.key", "tls.key_file", &p.tls.key) },
		"autocert":                 (*pomerium).autocert,
		"cookie_expire":            func(p *pomerium, s setting) { d, ok := s.duration(); p.takeLifetime(s, d, ok) },
		"log_level":                func(p *pomerium, s setting) { p.takeLogLevel(s) },
		"metrics_address":          func(p *pomerium, s setting) { p.takeMetrics(s) },
		"use_proxy_protocol":       (*pomerium).useProxyProtocol,
		"xff_num_trusted_hops":     (*pomerium).hops,
		"pass_identity_headers":    (*pomerium).passIdentity,
		"jwt_claims_headers":       func(*pomerium, setting) {}, // identify
		"default_upstream_timeout": func(p *pomerium, s setting) { p.timeout = s },
		"set_response_headers":     (*pomerium).globalResponse,
		"headers":                  (*pomerium).globalResponse,
		"downstream_mtls":          (*pomerium).clientCertificates,
		"client_ca":                (*pomerium).clientCertificates,
		"client_ca_file":           (*pomerium).clientCertificates,
	}
}

func (p *pomerium) authenticate(s setting) {
	public, host, ok := origin(known(s))
	if !ok || strings.HasSuffix(host, "pomerium.app") {
		p.find(s.place, FillIn, "public_url", "Sallyport signs people in itself; write an address of your own, whose name leads to it")
		return
	}
	p.publicURL = public
	p.find(s.place, Carried, "public_url", "the provider has to know %s/.sallyport/callback in place of authenticate_callback_path", public)
}

func (p *pomerium) provide(s setting) {
	name := known(s)
	switch {
	case wellKnown[name] != "" && p.text("idp_provider_url") == "":
		p.provider.issuer = wellKnown[name]
		p.find(s.place, Carried, "oidc.issuer", "")
	case name == "azure" && p.text("idp_provider_url") == "":
		p.setTenant(s.place, "common")
	case name == "github" || name == "hosted" || name == "":
		p.find(s.place, FillIn, "oidc.issuer", "this provider does not speak OpenID Connect as Sallyport needs it; put one that does, and that pushes SCIM, in its place")
	default:
		p.find(s.place, Carried, "oidc.issuer", "OpenID Connect is the one protocol here")
	}
}

// issuer takes over the provider's URL. Auth0's tokens have a slash at the end of it.
func (p *pomerium) issuer(s setting) {
	text := known(s)
	if p.text("idp_provider") == "auth0" && text != "" && !strings.HasSuffix(text, "/") {
		text += "/"
	}
	p.setIssuer(s.place, text)
}

func (p *pomerium) address(s setting) {
	if p.listen.public = listenAddress(known(s)); p.listen.public == "" {
		p.find(s.place, Changed, "listen.public", "this is no address with a port that Sallyport can listen on; it listens on 0.0.0.0:443")
		return
	}
	p.find(s.place, Carried, "listen.public", "")
}

func (p *pomerium) insecure(s setting) {
	if p.carriedIfOff(s, "tls") {
		return
	}
	p.tls.off, p.byAddress = true, false
	p.find(s.place, Changed, "tls.off", "the proxies that speak TLS in front have to be named in trusted_proxies")
}

func (p *pomerium) redirectAddress(s setting) {
	address := listenAddress(strings.Trim(known(s), `"'`))
	if address == "" {
		p.find(s.place, Dropped, "", "this is no address with a port; write listen.http")
		return
	}
	p.listen.http = address
	p.find(s.place, Carried, "listen.http", "")
}

func (p *pomerium) certificates(s setting) {
	if s.node == nil || s.node.Kind != yaml.SequenceNode || len(s.node.Content) == 0 {
		p.find(s.place, FillIn, "tls", "write tls.cert_file and tls.key_file")
		return
	}
	cert, key := child(s.node.Content[0], "cert"), child(s.node.Content[0], "key")
	if !isScalar(cert) || !isScalar(key) || !filePath(cert.Value) || !filePath(key.Value) {
		p.find(s.place, FillIn, "tls", "write tls.cert_file and tls.key_file")
		return
	}
	p.tls.cert, p.tls.key = cert.Value, key.Value
	if len(s.node.Content) > 1 {
		p.find(s.place, FillIn, "tls", "there is one certificate for all hosts; the file has to have one that is valid for each of them")
		return
	}
	p.find(s.place, Carried, "tls", "")
}

// takePEM takes over what stands in the text in base64.
func (d *draft) takePEM(s setting, name, target string, to *string) {
	content, ok := decoded(known(s))
	if !ok || !strings.Contains(content, "-----BEGIN ") {
		*to = d.secretFile(name)
		d.find(s.place, FillIn, target, "write it in PEM into %s", d.secretFile(name))
		return
	}
	*to = d.keepSecret(name, content)
	d.find(s.place, Changed, target, "it is in a file of its own; write it in PEM into %s, or import with --secrets", *to)
}

func (p *pomerium) autocert(s setting) {
	if p.carriedIfOff(s, "tls") {
		return
	}
	p.tls.acme = true
	p.find(s.place, FillIn, "tls.acme", "tls: {acme: {accept_terms: true, email: …}} obtains certificates, once you agree to the terms of service of the authority")
}

var logLevels = map[string]string{"trace": "debug", "debug": "debug", "info": "info", "warn": "warn", "warning": "warn", "error": "error", "fatal": "error", "panic": "error"}

func (d *draft) takeLogLevel(s setting) {
	level, ok := logLevels[strings.ToLower(known(s))]
	if !ok {
		d.find(s.place, Changed, "log.level", "the level is info")
		return
	}
	d.logLevel = level
	d.find(s.place, Carried, "log.level", "")
}

func (p *pomerium) useProxyProtocol(s setting) {
	if p.carriedIfOff(s, "listen.proxy_protocol") {
		return
	}
	p.listen.proxyProtocol, p.byAddress = true, false
	p.find(s.place, Changed, "listen.proxy_protocol", "PROXY headers are read from trusted_proxies alone")
}

func (p *pomerium) hops(s setting) {
	if known(s) == "0" {
		p.find(s.place, Carried, "trusted_proxies", "")
		return
	}
	p.byAddress = false
	if len(p.trusted) == 0 {
		p.trusted = []string{placeholderProxy}
	}
	p.find(s.place, FillIn, "trusted_proxies", "proxies are believed by their addresses, not by their number; write the addresses")
}

func (p *pomerium) passIdentity(s setting) {
	on, ok := s.on()
	p.passHeaders = on && ok
	p.find(s.place, Changed, "identity_headers", "the headers have Pomerium's names; X-Pomerium-Claim-User has the userName of SCIM, and the assertion Sallyport's issuer and keys")
}

func (p *pomerium) globalResponse(s setting) {
	if s.node == nil {
		p.find(s.place, Dropped, "", "write response_headers into each route")
		return
	}
	p.responseSet = p.headersOf(s.node, s.key, false)
}

func (p *pomerium) clientCertificates(s setting) {
	if s.node != nil && child(s.node, "enforcement") != nil && child(s.node, "enforcement").Value == "policy" && child(s.node, "ca") == nil && child(s.node, "ca_file") == nil {
		p.find(s.place, Dropped, "", "Sallyport asks browsers for no certificates; policies that ask for one let nobody in")
		return
	}
	p.certs = s.key
	p.deny(s.place, "Sallyport asks browsers for no certificates, so nobody gets in by any route; a rule with auth can demand a strong sign-in instead")
}

const (
	oneProcess  = "Sallyport is one process: there are no services that speak to each other"
	inStore     = "sessions and users live in the store (store.bolt, store.postgres)"
	ownKeys     = "Sallyport makes and rotates its own keys; the secret is not printed here"
	noEnvoy     = "there is no Envoy"
	noTracing   = "spans are exported as OTEL_EXPORTER_OTLP_ENDPOINT and its like say"
	noTimeouts  = "limits.stall and listen.grace bound what takes too long"
	metricsOpen = "metrics are at listen.ops, without TLS and without a password: let only your monitoring reach it"
)

// pomeriumDropped has why a setting is not carried over.
var pomeriumDropped = map[string]string{
	"installation_id": "nothing is reported to anybody", "pomerium_debug": "log.level: debug", "proxy_log_level": "log.level is one for all", "access_log_fields": noLogs, "authorize_log_fields": noLogs,
	"shared_secret": ownKeys, "shared_secret_file": oneProcess, "services": oneProcess, "dns_lookup_family": noEnvoy, "timeout_read": noTimeouts, "timeout_write": noTimeouts, "timeout_idle": noTimeouts,
	"policy_file": "import that file too", "authenticate_internal_service_url": oneProcess, "signout_redirect_url": "the page after a sign-out is Sallyport's own", "authenticate_callback_path": "the path is /.sallyport/callback",
	"cookie_name": noCookies, "cookie_secret": ownKeys, "cookie_secret_file": noCookies, "cookie_domain": noCookies, "cookie_http_only": noCookies, "cookie_secure": noCookies, "cookie_same_site": noCookies,
	"idp_request_params": noParameter, "idp_refresh_directory_interval": bySCIM, "idp_refresh_directory_timeout": bySCIM, "idp_service_account": bySCIM + "; the secret is not printed here", "idp_service_account_file": bySCIM, "idp_qps": bySCIM,
	"idp_access_token_allowed_audiences": "write oidc.api_audiences, if programs bring bearer tokens", "bearer_token_format": "write oidc.api_audiences, if programs bring bearer tokens",
	"identity_providers":    "people sign in through one provider; oidc.bearer_issuers are further issuers of bearer tokens",
	"authorize_service_url": oneProcess, "authorize_service_urls": oneProcess, "authorize_internal_service_url": oneProcess, "override_certificate_name": oneProcess,
	"certificate_authority": oneProcess + "; write oidc.ca_file for the provider and upstream_tls.ca_file for upstreams", "certificate_authority_file": oneProcess + "; write oidc.ca_file for the provider and upstream_tls.ca_file for upstreams", "tls_derive": oneProcess,
	"signing_key": "applications verify X-Sallyport-Assertion with the keys at /.sallyport/jwks.json; the key is not printed here", "signing_key_file": "applications verify X-Sallyport-Assertion with the keys at /.sallyport/jwks.json", "signing_key_algorithm": "ES256",
	"jwt_groups_filter": "the assertion has the groups that the route's policy names", "jwt_issuer_format": "the issuer of the assertion is public_url",
	"metrics_basic_auth": metricsOpen, "metrics_certificate": metricsOpen, "metrics_certificate_key": metricsOpen, "metrics_certificate_file": metricsOpen, "metrics_certificate_key_file": metricsOpen, "metrics_client_ca": metricsOpen, "metrics_client_ca_file": metricsOpen,
	"tracing_sample_rate": noTracing, "tracing_provider": noTracing, "tracing_otlp_endpoint": noTracing, "tracing_otlp_protocol": noTracing, "tracing_datadog_address": noTracing, "tracing_jaeger_collector_endpoint": noTracing, "tracing_jaeger_agent_endpoint": noTracing, "tracing_zipkin_endpoint": noTracing,
	"otel_traces_exporter": noTracing, "otel_exporter_otlp_endpoint": noTracing, "otel_exporter_otlp_traces_endpoint": noTracing, "otel_exporter_otlp_protocol": noTracing, "otel_exporter_otlp_headers": noTracing, "otel_traces_sampler_arg": noTracing, "otel_resource_attributes": noTracing, "otel_log_level": noTracing,
	"grpc_address": oneProcess, "grpc_insecure": oneProcess, "grpc_client_timeout": oneProcess, "grpc_client_dns_roundrobin": oneProcess,
	"databroker_service_url": inStore, "databroker_service_urls": inStore, "databroker_internal_service_url": inStore, "databroker_storage_type": inStore, "databroker_storage_connection_string": inStore + "; it is not printed here", "databroker_storage_connection_string_file": inStore,
	"databroker_storage_cert_file": inStore, "databroker_storage_key_file": inStore, "databroker_storage_ca_file": inStore, "databroker_storage_tls_skip_verify": inStore, "databroker_cluster_leader_id": inStore, "databroker_cluster_node_id": inStore, "databroker_cluster_nodes": inStore, "databroker_raft_bind_address": inStore,
	"google_cloud_serverless_authentication_service_account": "no token is sent to upstreams", "skip_xff_append": "X-Forwarded-For is always written", "autocert_ca": "tls.acme.directory_url", "autocert_email": "tls.acme.email", "autocert_use_staging": "tls.acme.directory_url",
	"autocert_eab_key_id": "tls.acme.eab.key_id", "autocert_eab_mac_key": "tls.acme.eab.key_file; the key is not printed here", "autocert_must_staple": "certificates do not ask for stapling", "autocert_dir": inStore, "autocert_trusted_ca": "tls.acme.ca_file", "autocert_trusted_ca_file": "tls.acme.ca_file",
	"envoy_admin_access_log_path": noEnvoy, "envoy_admin_profile_path": noEnvoy, "envoy_admin_address": noEnvoy, "envoy_bind_config_source_address": noEnvoy, "envoy_bind_config_freebind": noEnvoy, "circuit_breaker_thresholds": "limits.live_requests bounds what is under way",
	"programmatic_redirect_domain_whitelist": "programs bring bearer tokens; nothing is redirected to their addresses", "codec_type": "HTTP/1.1 and HTTP/2 are always spoken", "runtime_flags": noEnvoy, "branding_options": noPages,
	"primary_color": noPages, "secondary_color": noPages, "darkmode_primary_color": noPages, "darkmode_secondary_color": noPages, "logo_url": noPages, "favicon_url": noPages, "error_message_first_paragraph": "write contact, which pages name",
	"debug_address": noEnvoy, "ssh_address": "Sallyport forwards HTTP alone", "ssh_hostname": "Sallyport forwards HTTP alone", "ssh_host_keys": "Sallyport forwards HTTP alone", "ssh_host_key_files": "Sallyport forwards HTTP alone", "ssh_user_ca_key": "Sallyport forwards HTTP alone", "ssh_user_ca_key_file": "Sallyport forwards HTTP alone",
	"health_check_addr": "/healthz and /readyz are on listen.ops", "health_check_systemd_disabled": "/healthz and /readyz are on listen.ops", "mcp_allowed_client_id_domains": "Sallyport is no authorization server", "dns_query_timeout": noEnvoy, "dns_query_tries": noEnvoy, "dns_udp_max_queries": noEnvoy, "dns_use_tcp": noEnvoy, "dns_failure_refresh_rate": noEnvoy, "dns_refresh_rate": noEnvoy,
	"administrators": "Sallyport has administrators in console.admins, by groups",
}
