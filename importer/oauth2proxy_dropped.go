package importer

const (
	noCookies    = "the session's cookie is __Host-sallyport, for each host alone, and nothing of it can be set; sessions live in the store"
	noRedis      = "sessions live in the store of Sallyport, which replicas share (store.postgres)"
	noLogs       = "the audit record has every request and sign-in; log.level and audit set up the rest"
	noPages      = "pages have brand.title, brand.logo, brand.color and contact"
	noTokens     = "tokens of the provider are not sent to applications; they verify X-Sallyport-Assertion, which is signed"
	byDiscovery  = "endpoints and keys come from the issuer's metadata alone"
	noParameter  = "the request to sign in has no such parameter"
	noLegacy     = "Sallyport does without it"
	alwaysStrict = "this is always checked, and cannot be switched off"
	bySCIM       = "users, addresses and groups are those that SCIM pushes, not those of tokens"
	noTLSChoice  = "TLS has the versions and ciphers of Go's defaults, from 1.2 on"
)

// oauth2Dropped has why a setting is not carried over, by its name in the file.
var oauth2Dropped = map[string]string{
	"acr_values": "write it into a rule: allow: {auth: {acr: […]}}, which is enforced and not only asked for", "approval_prompt": noParameter, "prompt": noParameter,
	"login_url_parameters": noParameter, "resource": noParameter, "auth_request_response_mode": noParameter, "code_challenge_method": "PKCE with S256 is always used",
	"allow_query_semicolons": "queries are forwarded byte for byte",
	"auth_logging":           noLogs, "auth_logging_format": noLogs, "errors_to_info_log": noLogs, "exclude_logging_paths": noLogs, "exclude_logging_path": noLogs,
	"logging_compress": noLogs, "logging_filename": noLogs, "logging_local_time": noLogs, "logging_max_age": noLogs, "logging_max_backups": noLogs, "logging_max_size": noLogs,
	"request_logging": noLogs, "request_logging_format": noLogs, "standard_logging": noLogs, "standard_logging_format": noLogs, "silence_ping_logging": noLogs,
	"request_id_header":   "Sallyport gives each request an id of its own, X-Request-Id",
	"show_debug_on_error": "errors are never shown to people in detail; the log has them",
	"backend_logout_url":  "write backchannel logout at the provider: https://HOST/.sallyport/backchannel-logout", "basic_auth_password": "no password is sent to applications; it is not printed here",
	"banner": noPages, "footer": noPages, "custom_templates_dir": noPages, "provider_display_name": noPages, "display_htpasswd_form": "people sign in at the identity provider alone",
	"skip_provider_button": "there is no page with a button: browsers go to the identity provider",
	"config":               "import that file too", "alpha_config": "import that file too", "version": noLegacy, "convert_config_to_alpha": noLegacy, "config_test": "sallyport validate checks a configuration",
	"cookie_csrf_expire": noCookies, "cookie_csrf_per_request": noCookies, "cookie_csrf_per_request_limit": noCookies, "cookie_csrf_samesite": noCookies, "cookie_domains": noCookies + "; one sign-in serves all hosts all the same",
	"cookie_httponly": noCookies, "cookie_name": noCookies, "cookie_path": noCookies, "cookie_samesite": noCookies, "cookie_secret": noCookies + "; the secret is not printed here",
	"cookie_secret_file": noCookies, "cookie_secure": noCookies, "cookie_refresh": "a session ends at once when SCIM says so, and needs no refresh", "session_cookie_minimal": noCookies,
	"session_store_type": noRedis, "redis_cluster_connection_urls": noRedis, "redis_connection_url": noRedis, "redis_insecure_skip_tls_verify": noRedis, "redis_password": noRedis, "redis_username": noRedis,
	"redis_sentinel_username": noRedis, "redis_sentinel_password": noRedis, "redis_sentinel_master_name": noRedis, "redis_sentinel_connection_urls": noRedis, "redis_use_cluster": noRedis,
	"redis_use_sentinel": noRedis, "redis_connection_idle_timeout": noRedis, "redis_ca_path": noRedis,
	"encode_state": noLegacy, "flush_interval": "responses are passed on as they come", "force_json_errors": "programs get problem+json, browsers get pages, by what they accept",
	"gcp_healthchecks": "/healthz and /readyz are on listen.ops", "ping_path": "/healthz is on listen.ops", "ping_user_agent": "/healthz is on listen.ops", "ready_path": "/readyz is on listen.ops",
	"github_token":       "it is not needed, and not printed here",
	"google_admin_email": bySCIM, "google_service_account_json": bySCIM, "google_use_application_default_credentials": bySCIM, "google_target_principal": bySCIM, "google_use_organization_id": bySCIM, "google_admin_api_user_scope": bySCIM,
	"azure_graph_group_field": bySCIM, "adfs_skip_scope": noLegacy, "entra_id_federated_token_auth": "sign-in needs a client secret",
	"htpasswd_file": "people sign in at the identity provider alone; those in the file do not get in", "htpasswd_user_groups": "people sign in at the identity provider alone",
	"jwt_key": "sign-in needs a client secret; the key is not printed here", "jwt_key_file": "sign-in needs a client secret", "pubjwk_url": byDiscovery,
	"login_url": byDiscovery, "redeem_url": byDiscovery, "profile_url": byDiscovery, "validate_url": byDiscovery, "oidc_jwks_url": byDiscovery, "skip_oidc_discovery": byDiscovery,
	"oidc_public_key_files": byDiscovery, "oidc_enabled_signing_algs": "RS256, ES256 and their like are accepted, as the issuer's metadata say",
	"insecure_oidc_allow_unverified_email": bySCIM, "insecure_oidc_skip_issuer_verification": alwaysStrict, "insecure_oidc_skip_nonce": alwaysStrict,
	"oidc_email_claim": bySCIM, "oidc_groups_claim": bySCIM, "oidc_roles_claim": bySCIM, "user_id_claim": "oidc.user_claim must be a claim that never changes, joined with SCIM's externalId", "additional_claims": bySCIM,
	"oidc_audience_claims": alwaysStrict, "oidc_extra_audiences": "write them into oidc.api_audiences if bearer tokens have them", "skip_claims_from_profile_url": bySCIM,
	"pass_access_token": noTokens, "pass_authorization_header": noTokens, "set_authorization_header": noTokens, "set_basic_auth": noTokens,
	"prefer_email_to_user": `X-Forwarded-User has the userName; identity_headers: {user: "", email: X-Forwarded-User} sends the address there`,
	"provider_id":          noLegacy, "proxy_prefix": "its own paths are below /.sallyport/", "real_client_ip_header": "X-Forwarded-For is read, from trusted_proxies alone",
	"relative_redirect_url": "public_url says where people come back to", "whitelist_domains": "after a sign-in people come back to hosts of routes alone",
	"signature_key": "applications verify X-Sallyport-Assertion, which is signed; the key is not printed here", "skip_auth_strip_headers": "identity headers that a client sends are always removed",
	"ssl_insecure_skip_verify": "the provider's certificate is always verified; write oidc.ca_file", "use_system_trust_store": "oidc.ca_file stands in place of the system's certificates",
	"tls_min_version": noTLSChoice, "tls_cipher_suites": noTLSChoice,
	"metrics_secure_address": "metrics are at listen.ops, without TLS", "metrics_tls_cert_file": "metrics are at listen.ops, without TLS", "metrics_tls_key_file": "metrics are at listen.ops, without TLS",
	"bearer_token_login_fallback": "a bearer token that is not valid is rejected", "disable_keep_alives": "connections to upstreams are kept open", "api_response_headers": noLegacy,
}
