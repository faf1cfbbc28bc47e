package proxy

import (
	"bytes"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v4"

	"sallyport/policy"
	"sallyport/proxy/internal/hsts"
)

// faultsOf returns what Check reports, each fault as "path: problem".
func faultsOf(s Settings) (list []string) {
	s.Check(func(path, problem string) { list = append(list, path+": "+problem) })
	return list
}

func TestSettings_AcceptsUsual(t *testing.T) {
	if faults := faultsOf(usualSettings("http://127.0.0.1:3000")); faults != nil {
		t.Error(faults)
	}
}

// TestSettings_Check makes one change to valid settings. Check must report one fault, at the path of the change, whose
// text contains the hint.
func TestSettings_Check(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Settings)
		path   string
		hint   string
	}{
		{"no_public_url", func(s *Settings) { s.PublicURL = "" }, "public_url", "https://login.example.com"},
		{"public_url_without_tls", func(s *Settings) { s.PublicURL = "http://login.example.com" }, "public_url", "https://"},
		{"public_url_with_path", func(s *Settings) { s.PublicURL = "https://login.example.com/x" }, "public_url", "alone"},
		{"public_url_with_user", func(s *Settings) { s.PublicURL = "https://a@login.example.com" }, "public_url", "alone"},
		{"public_url_with_unicode_host", func(s *Settings) { s.PublicURL = "https://lögin.example.com" }, "public_url", "xn--"},
		{"every_ipv4_address_trusted", func(s *Settings) { s.TrustedProxies = []string{"10.0.0.0/8", "0.0.0.0/0"} }, "trusted_proxies[1]", "everyone"},
		{"every_ipv6_address_trusted", func(s *Settings) { s.TrustedProxies = []string{"::/0"} }, "trusted_proxies[0]", "everyone"},
		{"trusted_unspecified_ipv4_address", func(s *Settings) { s.TrustedProxies = []string{"0.0.0.0"} }, "trusted_proxies[0]", "10.0.0.0/8"},
		{"trusted_unspecified_ipv6_address", func(s *Settings) { s.TrustedProxies = []string{"10.0.0.0/8", "::"} }, "trusted_proxies[1]", "10.0.0.0/8"},
		{"trusted_unspecified_mapped_address", func(s *Settings) { s.TrustedProxies = []string{"::ffff:0.0.0.0"} }, "trusted_proxies[0]", "10.0.0.0/8"},
		{"trusted_ipv4_network_from_zero", func(s *Settings) { s.TrustedProxies = []string{"0.0.0.0/8"} }, "trusted_proxies[0]", "0.0.0.0"},
		{"trusted_half_of_ipv4", func(s *Settings) { s.TrustedProxies = []string{"1.2.3.4/1"} }, "trusted_proxies[0]", "0.0.0.0"},
		{"trusted_ipv6_network_from_zero", func(s *Settings) { s.TrustedProxies = []string{"::/96"} }, "trusted_proxies[0]", "::"},
		{"trusted_ipv4_network_as_ipv6", func(s *Settings) { s.TrustedProxies = []string{"::ffff:10.0.0.0/104"} }, "trusted_proxies[0]", "as IPv4"},
		{"trusted_host_name", func(s *Settings) { s.TrustedProxies = []string{"proxy.example.com"} }, "trusted_proxies[0]", "10.0.0.0/8"},
		{"route_where_people_approve", func(s *Settings) {
			s.Policies[1].Requestable, s.Routes[1].Host = &policy.Requestable{}, "LOGIN.example.com"
		}, "routes[1].host", "a host of its own"},
		{"identity_header_with_space", func(s *Settings) { s.IdentityHeaders.User = new("X User") }, "identity_headers.user", "letters, digits and dashes"},
		{"identity_header_content_length", func(s *Settings) { s.IdentityHeaders.Email = new("content-length") }, "identity_headers.email", "meaning of its own"},
		{"identity_header_forwarded_for", func(s *Settings) { s.IdentityHeaders.Email = new("X-Forwarded-For") }, "identity_headers.email", "meaning of its own"},
		{"identity_header_used_twice", func(s *Settings) { s.IdentityHeaders.Groups = new("x-forwarded-user") }, "identity_headers.groups", "carries user already"},
		{"hsts_below_a_second", func(s *Settings) { s.HSTS.MaxAge = time.Millisecond }, "hsts.max_age", "8760h"},
		{"hsts_negative", func(s *Settings) { s.HSTS.MaxAge = -time.Hour }, "hsts.max_age", "8760h"},
		{"hsts_preload_without_subdomains", func(s *Settings) { s.HSTS.Preload = true }, "hsts.preload", "include_subdomains: true"},
		{"hsts_preload_for_a_day", func(s *Settings) {
			s.HSTS = hsts.Settings{MaxAge: 24 * time.Hour, IncludeSubdomains: true, Preload: true}
		}, "hsts.preload", "8760h or more"},
		{"hsts_subdomains_without_max_age", func(s *Settings) { s.HSTS = hsts.Settings{IncludeSubdomains: true} }, "hsts.include_subdomains", "max_age"},
		{"no_routes", func(s *Settings) { s.Routes = nil }, "routes", "at least one"},
		{"no_name", func(s *Settings) { s.Routes[0].Name = "" }, "routes[0].name", "lower-case"},
		{"reserved_name", func(s *Settings) { s.Routes[0].Name = "_none" }, "routes[0].name", "lower-case"},
		{"same_name_twice", func(s *Settings) { s.Routes[1].Name = "app" }, "routes[1].name", `routes[0] is called "app" too`},
		{"same_host_and_path_twice", func(s *Settings) { s.Routes[1].Host = "APP.example.com" }, "routes[1].path", "same host and path"},
		{"no_host", func(s *Settings) { s.Routes[0].Host = "" }, "routes[0].host", "app.example.com"},
		{"host_with_port", func(s *Settings) { s.Routes[0].Host = "a.example:8443" }, "routes[0].host", "public_url's"},
		{"host_pattern", func(s *Settings) { s.Routes[0].Host = "pr-*.example.com" }, "routes[0].host", "one whole label"},
		{"path_with_dot_segment", func(s *Settings) { s.Routes[0].Path = "/a/../b" }, "routes[0].path", "/orders"},
		{"path_pattern", func(s *Settings) { s.Routes[0].Path = "/a/*" }, "routes[0].path", "whole segments"},
		{"internal_path", func(s *Settings) { s.Routes[0].Path = "/.sallyport/x" }, "routes[0].path", "belongs to Sallyport"},
		{"no_upstream", func(s *Settings) { s.Routes[0].Upstream = nil }, "routes[0].upstream", "http://127.0.0.1:3000"},
		{"upstream_not_url", func(s *Settings) { s.Routes[0].Upstream = Upstreams{"127.0.0.1:3000"} }, "routes[0].upstream", "http://127.0.0.1:3000"},
		{"upstream_of_other_scheme", func(s *Settings) { s.Routes[0].Upstream = Upstreams{"http://a", "ftp://a"} }, "routes[0].upstream[1]", "http, https or h2c"},
		{"upstream_with_path", func(s *Settings) { s.Routes[0].Upstream = Upstreams{"http://a/base"} }, "routes[0].upstream", "alone"},
		{"upstream_with_password", func(s *Settings) { s.Routes[0].Upstream = Upstreams{"http://u:s3cret@a"} }, "routes[0].upstream", "alone"},
		{"no_policy", func(s *Settings) { s.Routes[0].Policy = nil }, "routes[0].policy", "nobody would be let in"},
		{"unknown_policy", func(s *Settings) { s.Routes[0].Policy = []string{"staff", "stuff"} }, "routes[0].policy[1]", `no policy "stuff"`},
		{"lenient_paths_for_anyone", func(s *Settings) { s.Routes[3].Policy = []string{"staff", "all"} }, "routes[3].policy[1]", "lets anyone in"},
		{"unknown_accept", func(s *Settings) { s.Routes[0].Accept = []string{"basic"} }, "routes[0].accept[0]", "session or bearer"},
		{"unknown_path_case", func(s *Settings) { s.Routes[0].PathCase = "ignore" }, "routes[0].path_case", "sensitive or insensitive"},
		{"paths_differ_in_case", func(s *Settings) {
			s.Routes[0].PathCase, s.Routes[0].Path, s.Routes[1].Host, s.Routes[1].Path = "insensitive", "/App", appHost, "/app"
		}, "routes[1].path", "same host and path"},
		{"condition_for_capitals_where_case_is_ignored", func(s *Settings) {
			s.Routes[0].PathCase = "insensitive"
			s.Policies[0].Rules = append(s.Policies[0].Rules, policy.Rule{Deny: &policy.Match{When: `request.path.startsWith("/Admin") || "Sales" in user.roles`}})
		}, "policies[0].rules[2].deny.when", `write "/admin"`},
		{"unknown_path_encoding", func(s *Settings) { s.Routes[0].PathEncoding = "loose" }, "routes[0].path_encoding", "strict or lenient"},
		{"upstream_tls_without_https", func(s *Settings) { s.Routes[0].UpstreamTLS.ServerName = "a" }, "routes[0].upstream_tls", "https://"},
		{"certificate_without_key", func(s *Settings) {
			s.Routes[0].Upstream, s.Routes[0].UpstreamTLS.CertFile = Upstreams{"https://a"}, "x"
		}, "routes[0].upstream_tls", "together"},
		{"invalid_upstream_host", func(s *Settings) { s.Routes[0].UpstreamHost = "a b" }, "routes[0].upstream_host", "app.internal"},
		{"health_without_path", func(s *Settings) { s.Routes[0].Health = &Health{} }, "routes[0].health.path", "/healthz"},
		{"health_too_often", func(s *Settings) { s.Routes[0].Health = &Health{Path: "/x", Every: 1} }, "routes[0].health.every", "once a second"},
		{"health_too_seldom", func(s *Settings) { s.Routes[0].Health = &Health{Path: "/x", Every: time.Hour + 1} }, "routes[0].health.every", "once an hour"},
		{"health_timeout_too_long", func(s *Settings) { s.Routes[0].Health = &Health{Path: "/x", Timeout: 30*time.Second + 1} }, "routes[0].health.timeout", "30s at most"},
		{"health_timeout_negative", func(s *Settings) { s.Routes[0].Health = &Health{Path: "/x", Timeout: -1} }, "routes[0].health.timeout", "2s"},
		{"rewrite_strips_other_path", func(s *Settings) { s.Routes[0].Path, s.Routes[0].Rewrite = "/a", &Rewrite{Strip: "/b"} }, "routes[0].rewrite.strip", "/a"},
		{"rewrite_strips_below_root", func(s *Settings) { s.Routes[0].Rewrite = &Rewrite{Strip: "/b"} }, "routes[0].rewrite.strip", "path"},
		{"rewrite_adds_internal_path", func(s *Settings) { s.Routes[0].Rewrite = &Rewrite{Add: "/.sallyport"} }, "routes[0].rewrite.add", "belongs to Sallyport"},
		{"sets_identity_header_in_other_spelling", func(s *Settings) {
			s.Routes[0].RequestHeaders.Set = []HeaderSet{{Name: "x_forwarded-user", Value: "root"}}
		}, "routes[0].request_headers.set[0].name", "letters"},
		{"sets_identity_header", func(s *Settings) {
			s.Routes[0].RequestHeaders.Set = []HeaderSet{{Name: "X-Forwarded-User", Value: "root"}}
		}, "routes[0].request_headers.set[0].name", "only the proxy itself may set or remove"},
		{"sets_path_override", func(s *Settings) {
			s.Routes[0].RequestHeaders.Set = []HeaderSet{{Name: "X-Script-Name", Value: "/app"}, {Name: "X-HTTP-Path-Override", Value: "/x"}}
		}, "routes[0].request_headers.set[1].name", "only the proxy itself may set or remove"},
		{"identity_in_override_header", func(s *Settings) { s.IdentityHeaders.Email = new("X-Http-User") }, "identity_headers.email", "meaning of its own"},
		{"two_values", func(s *Settings) {
			s.Routes[0].ResponseHeaders.Set = []HeaderSet{{Name: "X-Key", Value: "a", ValueFile: "key"}}
		}, "routes[0].response_headers.set[0].value_file", "write one of them"},
		{"removes_forwarded_for", func(s *Settings) { s.Routes[0].RequestHeaders.Remove = []string{"X-Forwarded-For"} }, "routes[0].request_headers.remove[0]", "only the proxy itself may set or remove"},
		{"sets_content_length", func(s *Settings) { s.Routes[0].ResponseHeaders.Set = []HeaderSet{{Name: "Content-Length", Value: "1"}} }, "routes[0].response_headers.set[0].name", "only the proxy itself may set or remove"},
		{"sets_cookie", func(s *Settings) { s.Routes[0].ResponseHeaders.Set = []HeaderSet{{Name: "Set-Cookie", Value: "a=b"}} }, "routes[0].response_headers.set[0].name", "only the proxy itself may set or remove"},
		{"header_value_with_newline", func(s *Settings) { s.Routes[0].ResponseHeaders.Set = []HeaderSet{{Name: "X-A", Value: "a\r\nX-B: b"}} }, "routes[0].response_headers.set[0].value", "ASCII"},
		{"cross_origin_unknown", func(s *Settings) { s.Routes[0].CrossOrigin = "yes" }, "routes[0].cross_origin", "reject or allow"},
		{"allowed_origin_any", func(s *Settings) { s.Routes[0].AllowedOrigins = []string{"*"} }, "routes[0].allowed_origins[0]", "not an origin"},
		{"allowed_origin_null", func(s *Settings) { s.Routes[0].AllowedOrigins = []string{"null"} }, "routes[0].allowed_origins[0]", "not an origin"},
		{"allowed_origin_with_path", func(s *Settings) { s.Routes[0].AllowedOrigins = []string{"https://a.example/"} }, "routes[0].allowed_origins[0]", "not an origin"},
		{"allowed_origin_in_capitals", func(s *Settings) { s.Routes[0].AllowedOrigins = []string{"https://A.example"} }, "routes[0].allowed_origins[0]", "small letters"},
		{"allowed_origin_with_default_port", func(s *Settings) { s.Routes[0].AllowedOrigins = []string{"https://a.example:443"} }, "routes[0].allowed_origins[0]", "default port"},
		{"unknown_cors_preflight", func(s *Settings) { s.Routes[0].Preflight = "yes" }, "routes[0].cors_preflight", "decide or pass"},
		{"negative_max_body", func(s *Settings) { s.Routes[0].MaxBody = -1 }, "routes[0].max_body", "10485760"},
		{"forms_without_sessions", func(s *Settings) { s.Routes[2].KeepForms = true }, "routes[2].keep_forms", "add session to accept"},
		{"negative_timeout", func(s *Settings) { s.Routes[0].Timeout = -1 }, "routes[0].timeout", "60s"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := usualSettings("http://127.0.0.1:3000")
			c.change(&s)
			faults := faultsOf(s)
			if len(faults) != 1 || !strings.HasPrefix(faults[0], c.path+": ") || !strings.Contains(faults[0], c.hint) {
				t.Errorf("%q", faults)
			}
			if strings.Contains(strings.Join(faults, ""), "s3cret") {
				t.Error("the fault contains a password")
			}
		})
	}
}

func TestSettings_ReportsAllFaults(t *testing.T) {
	faults := faultsOf(Settings{PublicURL: "x", Routes: []Route{{}, {Accept: []string{"a", "b"}}}})
	if len(faults) != 1+4+6 {
		t.Errorf("%d: %s", len(faults), strings.Join(faults, "\n"))
	}
}

func TestSettings_UnmarshalYAML(t *testing.T) {
	const text = `
public_url: https://login.example.com
policies: [{name: sre, rules: [{allow: {groups: [{id: g1, name: SRE}]}}]}]
routes:
  - {name: grafana, host: grafana.example.com, path: /, upstream: "http://127.0.0.1:3000", policy: [sre], owner: o@example.com}
  - {name: orders-api, host: api.example.com, path: /orders, upstream: ["http://a:1", "h2c://b:2"], accept: [bearer], policy: [sre], timeout: 5s}
`
	got := Defaults()
	if err := yaml.Unmarshal([]byte(text), &got); err != nil {
		t.Fatal(err)
	}
	want := Defaults()
	want.PublicURL = "https://login.example.com"
	want.Policies = []policy.Named{{Name: "sre", Rules: []policy.Rule{{Allow: &policy.Match{Groups: []policy.GroupRef{{ID: "g1", Name: "SRE"}}}}}}}
	want.Routes = []Route{
		{Name: "grafana", Host: "grafana.example.com", Path: "/", Upstream: Upstreams{"http://127.0.0.1:3000"}, Policy: []string{"sre"}, Owner: "o@example.com"},
		{Name: "orders-api", Host: "api.example.com", Path: "/orders", Upstream: Upstreams{"http://a:1", "h2c://b:2"}, Accept: []string{"bearer"}, Policy: []string{"sre"}, Timeout: 5e9},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if faults := faultsOf(got); faults != nil {
		t.Error(faults)
	}
}

// TestLoad_IsAllOrNothing checks that Load puts no part of invalid settings in force.
func TestLoad_IsAllOrNothing(t *testing.T) {
	w := newWorld(t, nil)
	before := w.proxy.routing.Load()
	for _, change := range []func(*Settings){
		func(s *Settings) { s.Routes[0].Host = "" },
		func(s *Settings) {
			s.Routes[0].Upstream, s.Routes[0].UpstreamTLS.CAFile = Upstreams{"https://127.0.0.1:1"}, "/does/not/exist"
		},
		func(s *Settings) { s.Policies[0].Rules = nil },
		func(s *Settings) { s.PublicURL = "" },
	} {
		s := usualSettings(w.upstream.URL)
		change(&s)
		if err := w.proxy.Load(s); err == nil || w.proxy.routing.Load() != before {
			t.Errorf("%v", err)
		}
	}
}

// TestLoad_WarnsOfUnknownGroups checks that Load logs each group in the rules that the directory does not have, or has by
// another name, and logs no other group.
func TestLoad_WarnsOfUnknownGroups(t *testing.T) {
	w := newWorld(t, nil)
	var text bytes.Buffer
	w.proxy.log = slog.New(slog.NewTextHandler(&text, nil))
	s := usualSettings(w.upstream.URL)
	s.TrustGroupNames = true
	s.Policies[0].Rules = append(s.Policies[0].Rules,
		policy.Rule{Allow: &policy.Match{Groups: []policy.GroupRef{{ID: "gone", Name: "Gone"}, {ID: staff, Name: "Stuff"}, {Name: "Admins"}, {Name: "Nobody"}}}})
	w.must(w.proxy.Load(s))
	for _, want := range []string{"does not have\" group=gone name=Gone", "by another name than the directory has\" group=" + staff + " name=Stuff has=Staff", "does not have\" group=\"\" name=Nobody"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the log lacks %s:\n%s", want, text.String())
		}
	}
	if n := strings.Count(text.String(), "level=WARN"); n != 3 {
		t.Errorf("%d warnings:\n%s", n, text.String())
	}
}

func TestSettings_WarnsOfOwnersWhoApprove(t *testing.T) {
	for name, c := range map[string]struct{ first, second, want string }{
		"none":      {"", "", "policies[0].requestable.approvers.owner"},
		"one":       {"owner@example.com", "owner@example.com", ""},
		"different": {"owner@example.com", "other@example.com", "policies[0].requestable.approvers.owner"},
	} {
		t.Run(name, func(t *testing.T) {
			s := usualSettings("http://127.0.0.1:3000")
			s.Policies[0].Requestable = &policy.Requestable{By: policy.Requesters{Anyone: true}, Approvers: policy.Approvers{Owner: true}, Max: time.Hour}
			first := true
			for i, r := range s.Routes {
				if !slices.Contains(r.Policy, s.Policies[0].Name) {
					continue
				}
				if s.Routes[i].Owner = c.second; first {
					s.Routes[i].Owner, first = c.first, false
				}
			}
			var got []string
			s.Warn(func(path, _, _ string) {
				if strings.HasPrefix(path, "policies") {
					got = append(got, path)
				}
			})
			if strings.Join(got, " ") != c.want {
				t.Errorf("the warnings are at %q", got)
			}
		})
	}
}

func TestSettings_WarnsOfRoutesBelowOthers(t *testing.T) {
	const warned = "routes[4] routes[3]"
	for name, c := range map[string]struct {
		change func(outer, inner *Route)
		want   string
	}{
		"other policies":     {func(*Route, *Route) {}, warned},
		"host in capitals":   {func(_, inner *Route) { inner.Host = "FILES.example.com." }, warned},
		"inner case is said": {func(_, inner *Route) { inner.PathCase = "sensitive" }, warned},
		"more policies":      {func(_, inner *Route) { inner.Policy = []string{"staff", "all"} }, warned},
		"outer case is said": {func(outer, _ *Route) { outer.PathCase = "sensitive" }, ""},
		"outer ignores case": {func(outer, _ *Route) { outer.PathCase = "insensitive" }, ""},
		"inner ignores case": {func(_, inner *Route) { inner.PathCase = "insensitive" }, ""},
		"the same policies":  {func(_, inner *Route) { inner.Policy = []string{"staff"} }, ""},
		"in another order, twice": {func(outer, inner *Route) {
			outer.Policy, inner.Policy = []string{"staff", "all"}, []string{"all", "staff", "all"}
		}, ""},
		"another host":        {func(_, inner *Route) { inner.Host = appHost }, "routes[4] routes[0]"},
		"beside each other":   {func(outer, _ *Route) { outer.Path = "/administrator" }, ""},
		"the other way round": {func(outer, inner *Route) { outer.Path, inner.Path = "/admin/x", "/admin" }, "routes[3] routes[4]"},
	} {
		t.Run(name, func(t *testing.T) {
			s := usualSettings("http://127.0.0.1:3000")
			s.Routes[3].PathEncoding = ""
			s.Routes = append(s.Routes, Route{Name: "admin", Host: lenientHost, Path: "/admin", Upstream: s.Routes[3].Upstream, Policy: []string{"all"}})
			c.change(&s.Routes[3], &s.Routes[4])
			if faults := faultsOf(s); len(faults) > 0 {
				t.Fatal(faults)
			}
			var got []string
			s.Warn(func(path, other, problem string) {
				got = append(got, path+" "+other)
				if !strings.Contains(problem, "path_case: insensitive") || !strings.Contains(problem, "path_case: sensitive") || !strings.Contains(problem, "same policies") {
					t.Errorf("it does not say what to do: %s", problem)
				}
			})
			if strings.Join(got, ", ") != c.want {
				t.Errorf("warns of %q, want %q", got, c.want)
			}
		})
	}
}
