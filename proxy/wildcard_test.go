package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strings"
	"testing"

	"sallyport/access"
	"sallyport/policy"
)

// newWildcardWorld starts a world whose settings have routes for *.example.com, which covers every other host of the
// world and that of public_url, and for *.apps.example.com with a path. Anybody is let in, except to /staff.
func newWildcardWorld(t *testing.T, change func(*Settings)) *world {
	return newWorld(t, func(s *Settings) {
		s.Routes[1].Path = "/only" // of openHost
		previews := Route{Name: "previews", Host: "*.Example.com", Upstream: s.Routes[0].Upstream, UpstreamTLS: s.Routes[0].UpstreamTLS, Policy: []string{"all"}}
		staffOnly, below := previews, previews
		staffOnly.Name, staffOnly.Path, staffOnly.Policy = "staff", "/staff", []string{"staff"}
		below.Name, below.Host, below.Path = "below", "*.apps.example.com", "/app"
		s.Routes = append(s.Routes, previews, staffOnly, below)
		if change != nil {
			change(s)
		}
	})
}

// TestWildcard_CoversOneLabel sends hosts on the wire that a wildcard covers, and hosts that look like it.
func TestWildcard_CoversOneLabel(t *testing.T) {
	w := newWildcardWorld(t, nil)
	send := func(host, path string) (code int, seen string) {
		t.Helper()
		conn := w.sendRaw("GET " + path + " HTTP/1.1\r\nHost: " + host + "\r\nAccept: application/json\r\nConnection: close\r\n\r\n")
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		w.must(err)
		_, _ = io.Copy(io.Discard, res.Body)
		return res.StatusCode, res.Header.Get("X-Saw-Host")
	}
	for _, c := range []struct {
		name, host, path string
		code             int
		seen             string
	}{
		{"label", "pr-7.example.com", "/", 200, "pr-7.example.com"},
		{"digits", "7.example.com", "/", 200, "7.example.com"},
		{"capitals", "PR-7.EXAMPLE.com", "/", 200, "pr-7.example.com"},
		{"trailing_dot", "pr-7.example.com.", "/", 200, "pr-7.example.com"},
		{"port", "pr-7.example.com:8443", "/", 200, "pr-7.example.com"},
		{"localhost", "localhost.example.com", "/", 200, "localhost.example.com"},
		{"63_characters", strings.Repeat("a", 63) + ".example.com", "/", 200, strings.Repeat("a", 63) + ".example.com"},
		{"longer_path", "pr-7.example.com", "/staff/x", 401, ""},
		{"other_wildcard", "x.apps.example.com", "/app/y", 200, "x.apps.example.com"},
		{"path_of_other_wildcard", "x.apps.example.com", "/", 404, ""},
		{"base_of_other_wildcard", "apps.example.com", "/", 200, "apps.example.com"},
		{"literal", "app.example.com", "/", 401, ""},
		{"literal_with_other_path", "open.example.com", "/", 404, ""},
		{"literal_with_its_path", "open.example.com", "/only", 200, "open.example.com"},
		{"literal_in_capitals", "OPEN.example.com.", "/", 404, ""},
		{"public_url", "login.example.com", "/x", 404, ""},
		{"public_url_in_capitals", "LOGIN.example.com.", "/x", 404, ""},
		{"base", "example.com", "/", 404, ""},
		{"two_labels", "a.b.example.com", "/", 404, ""},
		{"empty_label", ".example.com", "/", 400, ""},
		{"empty_label_inside", "a..example.com", "/", 400, ""},
		{"two_trailing_dots", "a.example.com..", "/", 400, ""},
		{"punycode", "xn--bcher-kva.example.com", "/", 404, ""},
		{"punycode_in_capitals", "XN--bcher-kva.example.com", "/", 404, ""},
		{"reserved_label", "ab--c.example.com", "/", 404, ""},
		{"underscore", "a_b.example.com", "/", 404, ""},
		{"underscore_first", "_dmarc.example.com", "/", 404, ""},
		{"dash_first", "-a.example.com", "/", 404, ""},
		{"dash_last", "a-.example.com", "/", 404, ""},
		{"64_characters", strings.Repeat("a", 64) + ".example.com", "/", 400, ""},
		{"asterisk", "*.example.com", "/", 400, ""},
		{"letter_beyond_ascii", "ä.example.com", "/", 400, ""},
		{"fullwidth_dot", "a\uff0eexample.com", "/", 400, ""},
		{"percent", "a%2eexample.com", "/", 400, ""},
		{"address", "127.0.0.1", "/", 404, ""},
		{"address_v6", "[::1]", "/", 404, ""},
		{"address_below", "127.0.0.1.example.com", "/", 404, ""},
		{"user", "a@b.example.com", "/", 400, ""},
		{"other_site", "a.example.com.evil.example", "/", 404, ""},
		{"suffix", "a.badexample.com", "/", 404, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if code, seen := send(c.host, c.path); code != c.code || seen != c.seen {
				t.Errorf("%d, the upstream sees %q", code, seen)
			}
			if code, _ := send(c.host, "/.sallyport/jwks.json"); (code == 200) != (c.code != 404 && c.code != 400 || strings.Contains(c.name, "literal") || strings.Contains(c.name, "public_url") || c.name == "path_of_other_wildcard") {
				t.Errorf("our own path gives %d", code)
			}
		})
	}
	if n := w.metric("sallyport_http_requests_total", "route", "previews"); n != 8 {
		t.Errorf("the route counted %v requests", n)
	}
}

// TestWildcard_SessionsAreBoundToTheHost checks that the cookie of one host of a wildcard is worth nothing at another.
func TestWildcard_SessionsAreBoundToTheHost(t *testing.T) {
	w := newWildcardWorld(t, nil)
	_, one := w.signIn("alice", "one.example.com")
	c := w.client(true)
	for host, want := range map[string]int{"one.example.com": 200, "two.example.com": 401, "one.apps.example.com": 404} {
		if res, body := w.get(c, "https://"+host+"/staff", "Cookie", one, "Accept", "application/json"); res.StatusCode != want {
			t.Errorf("%s: %d %s", host, res.StatusCode, body)
		}
	}
}

// TestWildcard_AssertionNamesTheHost checks that applications at two hosts of a wildcard, which are one audience, can tell
// whose assertion they have.
func TestWildcard_AssertionNamesTheHost(t *testing.T) {
	w := newWildcardWorld(t, nil)
	for _, host := range []string{"one.example.com", "two.example.com", "one.example.com", appHost} {
		_, alice := w.signIn("alice", host)
		path := map[bool]string{true: "/", false: "/staff"}[host == appHost]
		_, body := w.get(w.client(true), "https://"+host+path, "Cookie", alice)
		_, text, _ := strings.Cut(body, "X-Sallyport-Assertion: ")
		text, _, _ = strings.Cut(text, "\r\n")
		want := any(host)
		if host == appHost {
			want = nil
		}
		if got := payloadOf(t, text)["host"]; got != want {
			t.Errorf("%s: the assertion names the host %v", host, got)
		}
	}
}

// TestWildcard_ChecksAreDecidedAlike checks forward-auth for hosts of a wildcard.
func TestWildcard_ChecksAreDecidedAlike(t *testing.T) {
	w := newWildcardWorld(t, trustLoopback)
	_, one := w.signIn("alice", "one.example.com")
	for target, want := range map[string]int{"https://one.example.com/staff": 200, "https://two.example.com/staff": 401, "https://two.example.com/": 200,
		"https://a.b.example.com/": 404, "https://xn--bcher-kva.example.com/": 404, "https://login.example.com/x": 404} {
		headers := append(forwardedHeaders("GET", target), "Cookie", one, "Accept", "application/json")
		if res, body := w.get(w.client(false), checkURL, headers...); res.StatusCode != want {
			t.Errorf("%s: %d %s", target, res.StatusCode, body)
		}
	}
}

// TestWildcard_OneConnectionForManyHosts sends requests for several hosts over one HTTP/2 connection, as browsers do where a
// certificate covers them (RFC 9113 §9.1.1). Each is decided for its own host.
func TestWildcard_OneConnectionForManyHosts(t *testing.T) {
	w := newWildcardWorld(t, nil)
	c := w.client(true)
	_, one := w.signIn("alice", "one.example.com")
	conns := map[string]bool{}
	for host, want := range map[string]int{"one.example.com": 200, "two.example.com": 401, appHost: 401, "xn--a.example.com": 404} {
		r, err := http.NewRequestWithContext(httptrace.WithClientTrace(w.ctx, &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) { conns[i.Conn.LocalAddr().String()] = true }}),
			http.MethodGet, "https://example.com/staff", nil)
		w.must(err)
		r.Host = host
		r.Header.Set("Cookie", one)
		res, err := c.Do(r)
		w.must(err)
		_ = res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("%s: %d", host, res.StatusCode)
		}
	}
	if len(conns) != 1 {
		t.Errorf("there were %d connections", len(conns))
	}
}

// TestWildcard_PagesOfOtherHosts checks that a page of one host of a wildcard cannot act at another with a session.
func TestWildcard_PagesOfOtherHosts(t *testing.T) {
	w := newWildcardWorld(t, nil)
	_, one := w.signIn("alice", "one.example.com")
	for origin, want := range map[string]int{"https://one.example.com": 200, "https://two.example.com": 403, "https://*.example.com": 403} {
		site := map[bool]string{true: "same-origin", false: "same-site"}[want == 200]
		if res, body := w.send(w.client(true), "POST", "https://one.example.com/staff", strings.NewReader("x"), "Cookie", one, "Origin", origin, "Sec-Fetch-Site", site); res.StatusCode != want {
			t.Errorf("%s: %d %s", origin, res.StatusCode, body)
		}
	}
}

// TestWildcard_UpstreamByLabel checks which upstream is asked for each host, and with which Host.
func TestWildcard_UpstreamByLabel(t *testing.T) {
	w := newWildcardWorld(t, func(s *Settings) {
		u, err := url.Parse(s.Routes[0].Upstream[0])
		if err != nil {
			t.Fatal(err)
		}
		route := &s.Routes[4]
		route.Upstream, route.UpstreamHost = Upstreams{u.Scheme + "://{label}.apps.internal:" + u.Port()}, "upstream"
		route.UpstreamTLS.ServerName = "example.com"
		if !tlsUpstreams {
			route.UpstreamTLS = UpstreamTLS{}
		}
	})
	_, port, _ := strings.Cut(strings.TrimPrefix(w.upstream.URL, w.upstream.URL[:strings.Index(w.upstream.URL, "//")+2]), ":")
	c := w.client(true)
	for _, label := range []string{"one", "two", "one", "127", "localhost"} {
		res, body := w.get(c, "https://"+label+".example.com/")
		if res.StatusCode != 200 || res.Header.Get("X-Saw-Host") != label+".apps.internal:"+port {
			t.Errorf("%s: %d, the upstream sees the host %q\n%s", label, res.StatusCode, res.Header.Get("X-Saw-Host"), body)
		}
	}
	for i, r := range w.proxy.Health() {
		if r.Route == "previews" && (r.Targets != 4 || r.Down != 0) {
			t.Errorf("route %d: %+v", i, r)
		}
	}
}

// TestWildcard_Explained checks what explanations and lists say of a wildcard.
func TestWildcard_Explained(t *testing.T) {
	w := newWildcardWorld(t, func(s *Settings) {
		s.Policies = append(s.Policies, policy.Named{Name: "one", Rules: []policy.Rule{{Allow: &policy.Match{Groups: []policy.GroupRef{{ID: staff}}, When: `request.host == "one.example.com"`}}}})
		s.Routes[5].Policy = []string{"one"}
	})
	for target, want := range map[string]bool{"https://one.example.com/staff": true, "two.example.com/staff": false} {
		e, err := w.explained("alice", "GET", target)
		if err != nil || e.Allow != want || e.Route.Name != "staff" || e.Route.Host != "*.example.com" {
			t.Errorf("%s: %+v, %v", target, e, err)
		}
	}
	for _, target := range []string{"https://xn--a.example.com/staff", "https://a.b.example.com/", "https://*.b.example.com/", "https://login.example.com/staff"} {
		if e, err := w.explained("alice", "GET", target); err == nil {
			t.Errorf("%s: %+v", target, e)
		}
	}
	rules := w.proxy.Rules()
	route, _ := rules.Route("staff")
	if len(route.Readings("/staff/x")) != 1 || len(route.Readings("/other")) != 0 {
		t.Errorf("%v, %v", route.Readings("/staff/x"), route.Readings("/other"))
	}
	for host, want := range map[string]bool{"one.example.com": true, "app.example.com": false, "login.example.com": false, "a.b.example.com": false, "*.example.com": true} {
		if route.Serves(host) != want {
			t.Errorf("serves %s: %t", host, !want)
		}
	}
	who := access.Who([]*access.Route{route}, w.directory.Users(), access.Scope{})
	if len(who) != 1 || len(who[0].Allowed) != 1 || len(who[0].Allowed[0].If) != 1 || !strings.Contains(who[0].Allowed[0].If[0].Text, "request.host") {
		t.Errorf("who reaches the route: %+v", who)
	}
}

// TestWildcard_HasNoTile checks that the portal has no link to a wildcard, and that the hosts for which certificates are
// obtained are names.
func TestWildcard_HasNoTile(t *testing.T) {
	w := newWildcardWorld(t, nil)
	_, alice := w.signIn("alice", loginHost)
	res, body := w.get(w.client(true), "https://"+loginHost+"/", "Cookie", alice, "Accept", "text/html")
	if res.StatusCode != 200 || !strings.Contains(body, appHost) || strings.Contains(body, "*.") {
		t.Errorf("%d %s", res.StatusCode, body)
	}
	if hosts := w.proxy.Hosts(); slices.ContainsFunc(hosts, func(h string) bool { return strings.Contains(h, "*") }) || len(hosts) != 5 {
		t.Error(hosts)
	}
}

// TestWildcard_FollowsReload checks that a reload that gives a host routes of its own takes it from the wildcard, with the
// requests that are under way.
func TestWildcard_FollowsReload(t *testing.T) {
	w := newWildcardWorld(t, nil)
	c := w.client(true)
	if res, _ := w.get(c, "https://new.example.com/"); res.StatusCode != 200 {
		t.Fatalf("before: %d", res.StatusCode)
	}
	own := w.settings.Routes[0]
	own.Name, own.Host = "new", "new.example.com"
	after := w.settings
	after.Routes = append(slices.Clone(w.settings.Routes), own)
	w.setUpstream(func(rw http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(rw).Flush()
		<-r.Context().Done()
	})
	stream, err := c.Get("https://new.example.com/stream")
	w.must(err)
	defer stream.Body.Close()
	w.must(w.proxy.Load(after))
	if _, err := io.Copy(io.Discard, stream.Body); err == nil {
		t.Error("a request that the new route does not allow ended as if it were complete")
	}
	w.setUpstream(mirror)
	for host, want := range map[string]int{"new.example.com": 401, "other.example.com": 200} {
		if res, _ := w.get(c, "https://"+host+"/", "Accept", "application/json"); res.StatusCode != want {
			t.Errorf("after: %s gives %d", host, res.StatusCode)
		}
	}
}

func TestSettings_Wildcards(t *testing.T) {
	for _, c := range []struct {
		name, host, upstream string
		path, want           string // of the fault; "" for none
	}{
		{"usual", "*.apps.example.com", "http://127.0.0.1:3000", "", ""},
		{"label", "*.apps.example.com", "http://{label}.apps.internal:8080", "", ""},
		{"label_with_tls", "*.Apps.example.com.", "https://{label}.svc", "", ""},
		{"localhost", "*.localhost", "http://127.0.0.1:3000", "", ""},
		{"alone", "*", "http://a:1", "host", "one whole label"},
		{"everything", "*.com", "http://a:1", "host", "everybody's names"},
		{"two", "*.*.example.com", "http://a:1", "host", "one whole label"},
		{"inside", "a.*.example.com", "http://a:1", "host", "one whole label"},
		{"part_of_a_label", "pr-*.example.com", "http://a:1", "host", "one whole label"},
		{"without_dot", "*example.com", "http://a:1", "host", "one whole label"},
		{"empty_label", "*..example.com", "http://a:1", "host", "no host name"},
		{"address", "*.0.0.1", "http://a:1", "host", "below an address"},
		{"hexadecimal_address", "*.0.0x1", "http://a:1", "host", "below an address"},
		{"address_v6", "*.[::1]", "http://a:1", "host", "below an address"},
		{"port", "*.apps.example.com:8443", "http://a:1", "host", "the port is public_url's"},
		{"nothing_below", "*.", "http://a:1", "host", "no host"},
		{"label_is_the_host", "*.apps.example.com", "http://{label}:8080", "upstream", "first label"},
		{"label_is_the_end", "*.apps.example.com", "http://a.{label}:8080", "upstream", "first label"},
		{"label_before_an_address", "*.apps.example.com", "http://{label}.0.0.1:8080", "upstream", "first label"},
		{"label_before_a_number", "*.apps.example.com", "http://{label}.1", "upstream", "first label"},
		{"label_before_a_hexadecimal_number", "*.apps.example.com", "http://{label}.0X7f", "upstream", "first label"},
		{"label_in_a_label", "*.apps.example.com", "http://x-{label}.internal", "upstream", "first label"},
		{"label_twice", "*.apps.example.com", "http://{label}.{label}.internal", "upstream", "no URL"},
		{"label_as_port", "*.apps.example.com", "http://a.internal:{label}", "upstream", "no URL"},
		{"label_as_user", "*.apps.example.com", "http://{label}@a.internal", "upstream", "alone"},
		{"label_as_path", "*.apps.example.com", "http://a.internal/{label}", "upstream", "alone"},
		{"label_as_scheme", "*.apps.example.com", "{label}://a.internal", "upstream", ""},
		{"label_without_wildcard", "apps.example.com", "http://{label}.internal:8080", "upstream", "none"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := usualSettings("http://127.0.0.1:3000")
			s.Routes[0].Host, s.Routes[0].Upstream = c.host, Upstreams{c.upstream}
			faults := faultsOf(s)
			if c.path == "" {
				if faults != nil {
					t.Error(faults)
				}
				return
			}
			if len(faults) != 1 || !strings.HasPrefix(faults[0], "routes[0]."+c.path+": ") || !strings.Contains(faults[0], c.want) {
				t.Errorf("%q", faults)
			}
		})
	}
	s := usualSettings("http://127.0.0.1:3000")
	s.Routes[0].Host, s.Routes[1].Host = "*.apps.example.com", "*.APPS.example.com."
	if faults := faultsOf(s); len(faults) != 1 || !strings.Contains(faults[0], "the same host and path") {
		t.Errorf("the same wildcard twice: %q", faults)
	}
	s = usualSettings("http://127.0.0.1:3000")
	s.Routes[0].Host, s.Routes[0].Upstream, s.Routes[0].Health = "*.apps.example.com", Upstreams{"http://{label}.internal"}, &Health{Path: "/"}
	if faults := faultsOf(s); len(faults) != 1 || !strings.HasPrefix(faults[0], "routes[0].health: ") {
		t.Errorf("health checks of any label: %q", faults)
	}
}

// TestSettings_WarnsOfOverlaps checks that validate names hosts that a wildcard seems to serve and does not.
func TestSettings_WarnsOfOverlaps(t *testing.T) {
	s := usualSettings("http://127.0.0.1:3000")
	s.Routes[0].Host = "*.example.com" // beside open.example.com, which has all paths, and api.example.com, which has /v1
	var got []string
	s.Warn(func(path, other, problem string) { got = append(got, fmt.Sprintf("%s %s: %s", path, other, problem)) })
	slices.Sort(got)
	if len(got) != 2 || !strings.HasPrefix(got[0], "routes[0].host public_url: *.example.com covers login.example.com") || !strings.HasPrefix(got[1], "routes[2].host routes[0].host: api.example.com has routes of its own") {
		t.Errorf("%q", got)
	}
}
