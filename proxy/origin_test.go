package proxy

import (
	"bufio"
	"io"
	"net/http"
	"strings"
	"testing"
)

const (
	siblingOrigin = "https://wiki.example.com"
	friendOrigin  = "https://friend.example.net"
)

// openSocket sends the handshake of a WebSocket to host and returns the connection, the response and its body.
func (w *world) openSocket(host string, headers ...string) (io.ReadWriteCloser, *http.Response, string) {
	w.t.Helper()
	text := "GET /socket HTTP/1.1\r\nHost: " + host + "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
	for i := 0; i < len(headers); i += 2 {
		text += headers[i] + ": " + headers[i+1] + "\r\n"
	}
	conn := w.sendRaw(text + "\r\n")
	in := bufio.NewReader(conn)
	res, err := http.ReadResponse(in, nil)
	w.must(err)
	if res.StatusCode == http.StatusSwitchingProtocols {
		return conn, res, ""
	}
	body, err := io.ReadAll(res.Body)
	w.must(err)
	return conn, res, string(body)
}

// TestOrigin_WebSocket checks that a session opens WebSockets for pages of the route's own origin and of allowed_origins
// alone.
func TestOrigin_WebSocket(t *testing.T) {
	echo := echoWebSocketUpstream(t, "")
	w := newWorld(t, func(s *Settings) {
		s.Routes[0].Upstream, s.Routes[0].AllowedOrigins = Upstreams{echo}, []string{friendOrigin, "capacitor://localhost"}
		s.Routes[1].Upstream, s.Routes[1].AllowedOrigins = Upstreams{echo}, []string{friendOrigin}
	})
	_, alice := w.signIn("alice", appHost)
	_, onOpen := w.signIn("alice", openHost)
	for name, c := range map[string]struct {
		origins []string
		allowed bool
	}{
		"no_origin":          {nil, true},
		"own_origin":         {[]string{"https://" + appHost}, true},
		"allowed_origin":     {[]string{friendOrigin}, true},
		"allowed_scheme":     {[]string{"capacitor://localhost"}, true},
		"another_host":       {[]string{siblingOrigin}, false},
		"login_host":         {[]string{"https://" + loginHost}, false},
		"parent_domain":      {[]string{"https://example.com"}, false},
		"name_that_begins":   {[]string{"https://" + appHost + ".evil.example"}, false},
		"name_that_ends":     {[]string{"https://evil-" + appHost}, false},
		"without_tls":        {[]string{"http://" + appHost}, false},
		"another_port":       {[]string{"https://" + appHost + ":8443"}, false},
		"default_port":       {[]string{"https://" + appHost + ":443"}, false},
		"another_case":       {[]string{"HTTPS://" + appHost}, false},
		"foreign_site":       {[]string{"https://evil.example"}, false},
		"null":               {[]string{"null"}, false},
		"empty":              {[]string{""}, false},
		"two_in_one":         {[]string{"https://" + appHost + " https://evil.example"}, false},
		"two":                {[]string{"https://" + appHost, "https://evil.example"}, false},
		"twice_its_own":      {[]string{"https://" + appHost, "https://" + appHost}, false},
		"with_path":          {[]string{"https://" + appHost + "/"}, false},
		"allowed_with_upper": {[]string{strings.ToUpper(friendOrigin)}, false},
	} {
		t.Run(name, func(t *testing.T) {
			headers := []string{"Cookie", alice}
			for _, origin := range c.origins {
				headers = append(headers, "Origin", origin)
			}
			conn, res, body := w.openSocket(appHost, headers...)
			defer conn.Close()
			switch {
			case c.allowed && res.StatusCode != http.StatusSwitchingProtocols:
				t.Errorf("%d %s", res.StatusCode, body)
			case !c.allowed && (res.StatusCode != http.StatusForbidden || !strings.Contains(body, `"reason":"cross_origin"`)):
				t.Errorf("%d %s", res.StatusCode, body)
			}
		})
	}
	t.Run("anyone_route_lends_no_identity", func(t *testing.T) {
		for origin, want := range map[string]int{siblingOrigin: 403, "null": 403, "https://" + openHost: 101, friendOrigin: 101} {
			conn, res, _ := w.openSocket(openHost, "Cookie", onOpen, "Origin", origin)
			if res.StatusCode != want {
				t.Errorf("%s: %d", origin, res.StatusCode)
			}
			conn.Close()
		}
	})
	t.Run("without_session_no_origin_counts", func(t *testing.T) {
		conn, res, _ := w.openSocket(openHost, "Origin", siblingOrigin)
		if conn.Close(); res.StatusCode != http.StatusSwitchingProtocols {
			t.Errorf("anonymous: %d", res.StatusCode)
		}
		conn, res, _ = w.openSocket(appHost, "Origin", siblingOrigin, "Authorization", "Bearer "+w.token("alice", nil), "Cookie", alice)
		if conn.Close(); res.StatusCode != http.StatusSwitchingProtocols {
			t.Errorf("a bearer token: %d", res.StatusCode)
		}
	})
	t.Run("reload_cuts_socket_of_removed_origin", func(t *testing.T) {
		conn, res, _ := w.openSocket(appHost, "Cookie", alice, "Origin", friendOrigin)
		if res.StatusCode != http.StatusSwitchingProtocols {
			t.Fatal(res.Status)
		}
		s := w.settings
		s.Routes = append([]Route(nil), s.Routes...)
		s.Routes[0].AllowedOrigins = nil
		w.must(w.proxy.Load(s))
		if _, err := io.Copy(io.Discard, conn); err != nil && strings.Contains(err.Error(), "timeout") {
			t.Error("still open")
		}
		w.must(w.proxy.Load(w.settings))
	})
}

// TestOrigin_UnsafeMethods checks that a page of another origin cannot send a change with a person's session.
func TestOrigin_UnsafeMethods(t *testing.T) {
	w := newWorld(t, func(s *Settings) {
		s.Routes[0].AllowedOrigins = []string{friendOrigin}
		s.Routes = append(s.Routes,
			Route{Name: "shared", Host: appHost, Path: "/shared", Upstream: s.Routes[0].Upstream, UpstreamTLS: s.Routes[0].UpstreamTLS, Policy: []string{"staff"}, Preflight: "pass"},
			Route{Name: "named", Host: appHost, Path: "/named", Upstream: s.Routes[0].Upstream, UpstreamTLS: s.Routes[0].UpstreamTLS, Policy: []string{"staff"}, Preflight: "pass", AllowedOrigins: []string{friendOrigin}},
			Route{Name: "all", Host: appHost, Path: "/all", Upstream: s.Routes[0].Upstream, UpstreamTLS: s.Routes[0].UpstreamTLS, Policy: []string{"staff"}, CrossOrigin: "allow"})
	})
	_, alice := w.signIn("alice", appHost)
	own := "https://" + appHost
	for name, c := range map[string]struct {
		method, path string
		headers      []string
		want         int
	}{
		"same_origin":                      {"POST", "/", []string{"Sec-Fetch-Site", "same-origin", "Origin", own}, 200},
		"by_the_person":                    {"POST", "/", []string{"Sec-Fetch-Site", "none"}, 200},
		"program_with_cookie":              {"POST", "/", nil, 200},
		"old_browser_same_origin":          {"POST", "/", []string{"Origin", own}, 200},
		"same_site":                        {"POST", "/", []string{"Sec-Fetch-Site", "same-site", "Origin", siblingOrigin}, 403},
		"same_site_form":                   {"POST", "/", []string{"Sec-Fetch-Site", "same-site", "Sec-Fetch-Mode", "navigate", "Origin", siblingOrigin}, 403},
		"same_site_without_origin":         {"DELETE", "/", []string{"Sec-Fetch-Site", "same-site"}, 403},
		"same_site_claims_own_origin":      {"PUT", "/", []string{"Sec-Fetch-Site", "same-site", "Origin", own}, 403},
		"cross_site":                       {"POST", "/", []string{"Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"}, 403},
		"cross_site_null":                  {"PATCH", "/", []string{"Sec-Fetch-Site", "cross-site", "Origin", "null"}, 403},
		"unknown_value":                    {"POST", "/", []string{"Sec-Fetch-Site", "cross-origin"}, 403},
		"two_values":                       {"POST", "/", []string{"Sec-Fetch-Site", "same-origin", "Sec-Fetch-Site", "cross-site"}, 403},
		"old_browser_elsewhere":            {"POST", "/", []string{"Origin", siblingOrigin}, 403},
		"old_browser_null":                 {"POST", "/", []string{"Origin", "null"}, 403},
		"allowed_origin":                   {"POST", "/", []string{"Sec-Fetch-Site", "cross-site", "Origin", friendOrigin}, 200},
		"old_browser_allowed_origin":       {"PUT", "/", []string{"Origin", friendOrigin}, 200},
		"safe_get":                         {"GET", "/", []string{"Sec-Fetch-Site", "cross-site"}, 200},
		"safe_head":                        {"HEAD", "/", []string{"Sec-Fetch-Site", "same-site", "Origin", siblingOrigin}, 200},
		"safe_options":                     {"OPTIONS", "/", []string{"Sec-Fetch-Site", "same-site", "Origin", siblingOrigin}, 200},
		"route_for_scripts_same_site":      {"POST", "/shared", []string{"Sec-Fetch-Site", "same-site", "Origin", siblingOrigin}, 200},
		"route_for_scripts_cross_site":     {"POST", "/shared", []string{"Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"}, 403},
		"route_for_scripts_without_fetch":  {"POST", "/shared", []string{"Origin", siblingOrigin}, 403},
		"route_for_named_scripts":          {"POST", "/named", []string{"Sec-Fetch-Site", "same-site", "Origin", siblingOrigin}, 403},
		"route_for_named_scripts_friend":   {"POST", "/named", []string{"Sec-Fetch-Site", "cross-site", "Origin", friendOrigin}, 200},
		"route_that_allows_all":            {"POST", "/all", []string{"Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"}, 200},
		"route_that_allows_all_old_client": {"POST", "/all", []string{"Origin", "null"}, 200},
	} {
		t.Run(name, func(t *testing.T) {
			res, body := w.send(w.client(false), c.method, own+c.path, nil, append(c.headers, "Cookie", alice)...)
			if res.StatusCode != c.want || c.want == 403 && !strings.Contains(body, `"reason":"cross_origin"`) {
				t.Errorf("%d %s", res.StatusCode, body)
			}
		})
	}
	t.Run("bearer_token_is_no_session", func(t *testing.T) {
		res, body := w.send(w.client(true), "POST", own+"/", nil, "Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example", "Authorization", "Bearer "+w.token("alice", nil))
		if res.StatusCode != 200 {
			t.Errorf("%d %s", res.StatusCode, body)
		}
	})
	t.Run("anonymous_stays_anonymous", func(t *testing.T) {
		if res, _ := w.send(w.client(true), "POST", "https://"+openHost+"/", nil, "Sec-Fetch-Site", "cross-site"); res.StatusCode != 200 {
			t.Errorf("%d", res.StatusCode)
		}
	})
	t.Run("socket_on_route_that_allows_all", func(t *testing.T) {
		conn, res, _ := w.openSocket(appHost, "Cookie", alice, "Origin", siblingOrigin)
		if conn.Close(); res.StatusCode != 403 {
			t.Errorf("%d", res.StatusCode)
		}
	})
}

// TestOrigin_Check checks that forward-auth asks the same of the origin of a request.
func TestOrigin_Check(t *testing.T) {
	w := newWorld(t, func(s *Settings) {
		trustLoopback(s)
		s.Routes[0].AllowedOrigins = []string{friendOrigin}
	})
	_, alice := w.signIn("alice", appHost)
	socket := []string{"Sec-Websocket-Key", "dGhlIHNhbXBsZSBub25jZQ==", "Sec-Websocket-Version", "13"}
	for name, c := range map[string]struct {
		method  string
		headers []string
		want    int
	}{
		"socket_of_own_origin":     {"GET", append([]string{"Origin", "https://" + appHost}, socket...), 200},
		"socket_without_origin":    {"GET", socket, 200},
		"socket_of_allowed_origin": {"GET", append([]string{"Origin", friendOrigin}, socket...), 200},
		"socket_of_sibling":        {"GET", append([]string{"Origin", siblingOrigin}, socket...), 403},
		"socket_by_upgrade_alone":  {"GET", []string{"Origin", siblingOrigin, "Upgrade", "websocket"}, 403},
		"socket_by_mode_alone":     {"GET", []string{"Origin", siblingOrigin, "Sec-Fetch-Mode", "websocket"}, 403},
		"get_of_sibling":           {"GET", []string{"Origin", siblingOrigin, "Sec-Fetch-Site", "same-site"}, 200},
		"post_of_sibling":          {"POST", []string{"Origin", siblingOrigin, "Sec-Fetch-Site", "same-site"}, 403},
		"post_of_own_origin":       {"POST", []string{"Origin", "https://" + appHost, "Sec-Fetch-Site", "same-origin"}, 200},
		"post_of_allowed_origin":   {"POST", []string{"Origin", friendOrigin, "Sec-Fetch-Site", "cross-site"}, 200},
	} {
		t.Run(name, func(t *testing.T) {
			headers := append(forwardedHeaders(c.method, "https://"+appHost+"/x"), "Cookie", alice)
			res, body := w.get(w.client(false), checkURL, append(headers, c.headers...)...)
			if res.StatusCode != c.want || c.want == 403 && !strings.Contains(body, `"reason":"cross_origin"`) {
				t.Errorf("by headers: %d %s", res.StatusCode, body)
			}
			res, body = w.send(w.client(false), c.method, "https://"+appHost+checkPath+"/x", nil, append(c.headers, "Cookie", alice)...)
			if res.StatusCode != c.want {
				t.Errorf("by path: %d %s", res.StatusCode, body)
			}
		})
	}
}

// TestOrigin_DenialsAreReadable checks that a script of an allowed origin can read why it was denied, and no other can.
func TestOrigin_DenialsAreReadable(t *testing.T) {
	w := newWorld(t, func(s *Settings) {
		s.Routes[0].AllowedOrigins = []string{friendOrigin}
		s.Routes[2].AllowedOrigins = []string{friendOrigin}
	})
	_, bob := w.signIn("bob", appHost)
	for name, c := range map[string]struct {
		url, origin string
		headers     []string
		code        int
		readable    bool
	}{
		"not_signed_in":       {"https://" + appHost + "/x", friendOrigin, nil, 401, true},
		"invalid_token":       {"https://" + apiHost + "/v1/x", friendOrigin, []string{"Authorization", "Bearer x"}, 401, true},
		"denied":              {"https://" + appHost + "/x", friendOrigin, []string{"Cookie", bob}, 403, true},
		"another_origin":      {"https://" + appHost + "/x", siblingOrigin, nil, 401, false},
		"null":                {"https://" + appHost + "/x", "null", nil, 401, false},
		"route_names_no_one":  {"https://" + lenientHost + "/x", friendOrigin, nil, 401, false},
		"denied_other_origin": {"https://" + appHost + "/x", siblingOrigin, []string{"Cookie", bob}, 403, false},
	} {
		t.Run(name, func(t *testing.T) {
			res, _ := w.get(w.client(true), c.url, append(c.headers, "Origin", c.origin, "Sec-Fetch-Mode", "cors")...)
			h := res.Header
			if res.StatusCode != c.code {
				t.Errorf("%d", res.StatusCode)
			}
			if c.readable && (h.Get("Access-Control-Allow-Origin") != c.origin || h.Get("Access-Control-Allow-Credentials") != "true" || h.Get("Vary") != "Origin" ||
				!strings.Contains(h.Get("Access-Control-Expose-Headers"), "WWW-Authenticate")) {
				t.Errorf("a script cannot read it: %v", h)
			}
			if !c.readable && (h.Get("Access-Control-Allow-Origin") != "" || h.Get("Access-Control-Allow-Credentials") != "") {
				t.Errorf("a script can read it: %v", h)
			}
		})
	}
}

// TestResponse_KeepsIdentityNamesBack checks that no upstream can clear a client's site data, or send headers that a proxy
// in front could take for an identity.
func TestResponse_KeepsIdentityNamesBack(t *testing.T) {
	w := newWorld(t, func(s *Settings) {
		s.IdentityHeaders.Email = new("X-Mail")
		s.Routes[1].ResponseHeaders = HeaderEdits{Set: []HeaderSet{{Name: "X-Auth-User", Value: "by the operator"}}}
	})
	names := []string{"Clear-Site-Data", "X-Auth-User", "X-Auth-Email", "X-Auth-Groups", "X-Auth-Request-User", "X-Auth-Request-Groups", "X-Forwarded-User",
		"X-Forwarded-Email", "X-Forwarded-Groups", "X-Forwarded-Anything", "X-Mail", "X-Sallyport-Assertion", "X-Sallyport-Secret", "X_Auth_User", "X.Forwarded.User",
		"X-Remote-User", "Remote-User", "Remote-Groups", "X-Webauth-User"}
	w.setUpstream(func(rw http.ResponseWriter, r *http.Request) {
		for _, name := range names {
			rw.Header()[name] = []string{"x"}
		}
		rw.WriteHeader(http.StatusEarlyHints)
		rw.Header().Set("X-Auth-Token", "the application's own")
		rw.Header().Set("Trailer", "X-Auth-User, Clear-Site-Data, X-Sum")
		rw.WriteHeader(http.StatusOK)
		_, _ = io.WriteString(rw, "text")
		rw.Header().Set("X-Sum", "1")
	})
	_, alice := w.signIn("alice", appHost)
	for _, h2 := range []bool{false, true} {
		res, _ := w.get(w.client(h2), "https://"+appHost+"/", "Cookie", alice)
		for _, name := range names {
			if res.Header[name] != nil || res.Header.Get(name) != "" || res.Trailer.Get(name) != "" {
				t.Errorf("%s comes through: %q", name, res.Header[name])
			}
		}
		if res.StatusCode != 200 || res.Header.Get("X-Auth-Token") == "" || res.Trailer.Get("X-Sum") != "1" {
			t.Errorf("%d %v %v", res.StatusCode, res.Header, res.Trailer)
		}
	}
	if res, _ := w.get(w.client(true), "https://"+openHost+"/"); res.Header.Get("X-Auth-User") != "by the operator" {
		t.Errorf("the operator's own header: %v", res.Header)
	}
	t.Run("informational", func(t *testing.T) {
		conn := w.sendRaw("GET / HTTP/1.1\r\nHost: " + appHost + "\r\nCookie: " + alice + "\r\nConnection: close\r\n\r\n")
		text, err := io.ReadAll(conn)
		w.must(err)
		head, _, _ := strings.Cut(string(text), "\r\n\r\n")
		if !strings.HasPrefix(head, "HTTP/1.1 103") || strings.Contains(head, "X-Auth-User") || strings.Contains(head, "Clear-Site-Data") {
			t.Errorf("%s", head)
		}
	})
}
