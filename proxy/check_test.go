package proxy

import (
	"bufio"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"sallyport/audit"
	"sallyport/proxy/internal/header"
	"sallyport/proxy/internal/identity"
	"sallyport/proxy/internal/metric"
	"sallyport/proxy/internal/response"
)

const checkURL = "https://" + loginHost + checkPath

// forwardedHeaders returns the headers with which a front proxy describes a request, in pairs of name and value.
func forwardedHeaders(method, target string) []string {
	host, uri, _ := strings.Cut(strings.TrimPrefix(target, "https://"), "/")
	return []string{hdrForwardedMethod, method, hdrForwardedProto, "https", hdrForwardedHost, host, hdrForwardedURI, "/" + uri, "X-Forwarded-For", "192.0.2.7"}
}

// without returns headers, in pairs of name and value, without those of a name.
func without(pairs []string, name string) (rest []string) {
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i] != name {
			rest = append(rest, pairs[i], pairs[i+1])
		}
	}
	return rest
}

// checkAllowed checks that the response to a check allows the request and has every identity header exactly once.
func checkAllowed(t *testing.T, res *http.Response, want identity.Headers) {
	t.Helper()
	if res.StatusCode != http.StatusOK {
		t.Errorf("status %d", res.StatusCode)
		return
	}
	names := identity.Default()
	for name, want := range map[string]string{names.User: want.User, names.Email: want.Email, names.Login: want.Login, names.Groups: want.Groups} {
		if got := res.Header[name]; !slices.Equal(got, []string{want}) {
			t.Errorf("%s: %q, want one of %q", name, got, want)
		}
	}
	if got := res.Header[names.Assertion]; len(got) != 1 || strings.HasPrefix(got[0], "ey") != (want.Assertion != "") {
		t.Errorf("assertion: %q", got)
	}
	if len(res.Header["Set-Cookie"]) > 0 || res.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("%v", res.Header)
	}
}

var aliceHeaders = identity.Headers{User: "alice@example.com", Email: "alice@example.com", Login: "alice@example.com", Groups: staff}

// TestCheck_DecidesForwardedRequest checks that a check has the result that the request itself would have.
func TestCheck_DecidesForwardedRequest(t *testing.T) {
	w := newWorld(t, trustLoopback)
	w.setUpstream(func(http.ResponseWriter, *http.Request) { t.Error("a check reached an upstream") })
	_, alice := w.signIn("alice", appHost)
	_, bob := w.signIn("bob", appHost)
	_, files := w.signIn("alice", lenientHost)
	token := "Bearer " + w.token("alice", nil)
	const app, open, api = "https://" + appHost, "https://" + openHost, "https://" + apiHost
	browser := []string{"Accept", chromeAccept, "Sec-Fetch-Mode", "navigate"}
	for _, c := range []struct {
		name     string
		method   string
		target   string
		headers  []string
		code     int
		reason   Reason
		identity identity.Headers
	}{
		{"member", "GET", app + "/", []string{"Cookie", alice}, 200, "", aliceHeaders},
		{"query_is_ignored", "POST", app + "/a,b/c?d=/secret/x&e", []string{"Cookie", alice}, 200, "", aliceHeaders},
		{"member_denied_by_rule", "GET", app + "/secret/x", []string{"Cookie", alice}, 403, ruleDeny, aliceHeaders},
		{"denied_path_percent_encoded", "GET", app + "/%73ecret/x", []string{"Cookie", alice}, 403, ruleDeny, aliceHeaders},
		{"unusual_method", "FROB", app + "/", []string{"Cookie", alice}, 403, noRule, aliceHeaders},
		{"user_outside_group", "GET", app + "/", []string{"Cookie", bob}, 403, noRule, aliceHeaders},
		{"anonymous", "GET", app + "/", nil, 401, notSignedIn, aliceHeaders},
		{"anonymous_where_anyone_may", "GET", open + "/", nil, 200, "", identity.Headers{}},
		{"cookie_of_another_host", "GET", open + "/", []string{"Cookie", alice}, 200, "", identity.Headers{}},
		{"invalid_cookie", "GET", app + "/", []string{"Cookie", "__Host-sallyport=x"}, 401, notSignedIn, aliceHeaders},
		{"bearer_token", "GET", api + "/v1/x", []string{"Authorization", token}, 200, "", aliceHeaders},
		{"cookie_on_route_for_tokens", "GET", api + "/v1/x", []string{"Cookie", alice}, 401, notSignedIn, aliceHeaders},
		{"invalid_token", "GET", api + "/v1/x", []string{"Authorization", "Bearer x.y.z"}, 401, tokenRefused, aliceHeaders},
		{"two_tokens", "GET", api + "/v1/x", []string{"Authorization", token, "Authorization", token}, 401, tokenRefused, aliceHeaders},
		{"path_outside_route", "GET", api + "/v2", []string{"Authorization", token}, 404, noRoute, aliceHeaders},
		{"unknown_host", "GET", "https://nowhere.example.com/", []string{"Cookie", alice}, 404, noRoute, aliceHeaders},
		{"login_host", "GET", "https://" + loginHost + "/", []string{"Cookie", alice}, 404, noRoute, aliceHeaders},
		{"internal_path", "GET", app + "/.sallyport/me", []string{"Cookie", alice}, 404, noRoute, aliceHeaders},
		{"check_of_check", "GET", app + "/.sallyport/check", []string{"Cookie", alice}, 404, noRoute, aliceHeaders},
		{"encoded_slash_on_lenient_route", "GET", "https://" + lenientHost + "/a%2Fb", []string{"Cookie", files}, 200, "", aliceHeaders},
		{"encoded_slash_on_strict_route", "GET", app + "/a%2Fb", []string{"Cookie", alice}, 400, badPath, aliceHeaders},
		{"denied_path_with_encoded_slash", "GET", "https://" + lenientHost + "/secret%2Fb", []string{"Cookie", files}, 403, ruleDeny, aliceHeaders},
	} {
		t.Run(c.name, func(t *testing.T) {
			bothProtocols(t, w, func(t *testing.T, client *http.Client) {
				for form, checkURL := range map[string]string{"at public_url": checkURL, "at the host of the request": c.target[:strings.Index(c.target[8:], "/")+8] + checkPath} {
					if strings.Contains(checkURL, "nowhere") {
						continue
					}
					res, body := w.get(client, checkURL, append(forwardedHeaders(c.method, c.target), c.headers...)...)
					checkResult(t, form, res, body, c.code, c.reason, c.identity)
				}
			})
		})
	}
	t.Run("browser_is_redirected_to_login", func(t *testing.T) {
		res, _ := w.get(w.client(true), checkURL, append(forwardedHeaders("GET", app+"/a?b=c"), browser...)...)
		to, err := url.Parse(res.Header.Get("Location"))
		w.must(err)
		if res.StatusCode != 302 || to.Host != loginHost || to.Query().Get("return_to") != app+"/a?b=c" || res.Header.Get("Set-Cookie") != "" {
			t.Errorf("%d %v", res.StatusCode, res.Header)
		}
	})
	t.Run("login_location_in_401_for_front_proxy_without_redirects", func(t *testing.T) {
		res, _ := w.get(w.client(true), checkURL+noRedirect, append(forwardedHeaders("GET", app+"/a?b=c"), browser...)...)
		if res.StatusCode != 401 || !strings.HasPrefix(res.Header.Get("Location"), "https://"+loginHost+loginPath+"?") ||
			res.Header.Get("Set-Cookie") != "" || res.Header.Get("WWW-Authenticate") == "" {
			t.Errorf("%d %v", res.StatusCode, res.Header)
		}
		for _, query := range []string{"?", "?x=y", "?redirect=true", "?redirect=false&x", "?return_to=/"} { // Caddy appends the query of the request that it asks about
			if res, _ := w.get(w.client(true), checkURL+query, append(forwardedHeaders("GET", app+"/a"), browser...)...); res.StatusCode != 302 {
				t.Errorf("%s: %d", query, res.StatusCode)
			}
		}
		if res, _ := w.get(w.client(true), checkURL+noRedirect, forwardedHeaders("GET", app+"/a")...); res.StatusCode != 401 || res.Header.Get("Location") != "" {
			t.Errorf("a client that is no browser: %d %v", res.StatusCode, res.Header)
		}
	})
	t.Run("form_of_anonymous_browser_is_not_redirected", func(t *testing.T) {
		if res, _ := w.get(w.client(true), checkURL, append(forwardedHeaders("POST", app+"/a"), browser...)...); res.StatusCode != 401 {
			t.Errorf("%d", res.StatusCode)
		}
	})
	t.Run("next_check_sees_deactivation", func(t *testing.T) {
		w.setActive("alice", false)
		if res, body := w.get(w.client(true), checkURL, append(forwardedHeaders("GET", app+"/"), "Cookie", alice)...); res.StatusCode != 403 || !strings.Contains(body, string(inactiveUser)) {
			t.Errorf("%d %s", res.StatusCode, body)
		}
	})
}

// checkResult checks that the response to a check has a status and a reason and, unless it allows the request, no
// identity header.
func checkResult(t *testing.T, form string, res *http.Response, body string, code int, reason Reason, who identity.Headers) {
	t.Helper()
	if code == http.StatusOK {
		checkAllowed(t, res, who)
		return
	}
	if res.StatusCode != code || !strings.Contains(body, `"reason":"`+string(reason)+`"`) {
		t.Errorf("%s: %d %s, want %d %s", form, res.StatusCode, body, code, reason)
	}
	for _, name := range identity.Names() {
		if _, ok := res.Header[name]; ok {
			t.Errorf("%s: a denial has the header %s", form, name)
		}
	}
}

// TestCheck_ByPath sends checks in the form of Envoy's ext_authz over HTTP: the request itself, with checkPath put
// before its path.
func TestCheck_ByPath(t *testing.T) {
	w := newWorld(t, trustLoopback)
	w.setUpstream(func(http.ResponseWriter, *http.Request) { t.Error("a check reached an upstream") })
	_, alice := w.signIn("alice", appHost)
	_, files := w.signIn("alice", lenientHost)
	const app = "https://" + appHost + checkPath
	for _, c := range []struct {
		name    string
		method  string
		url     string
		headers []string
		code    int
		reason  Reason
	}{
		{"member", "GET", app + "/", nil, 200, ""},
		{"form", "POST", app + "/a?redirect=false", nil, 200, ""},
		{"unusual_method", "FROB", app + "/", nil, 403, noRule},
		{"member_denied_by_rule", "GET", app + "/secret/x", nil, 403, ruleDeny},
		{"denied_path_percent_encoded", "GET", app + "/%73ecret/x", nil, 403, ruleDeny},
		{"with_scheme", "GET", app + "/", []string{hdrForwardedProto, "https"}, 200, ""},
		{"invalid_scheme", "GET", app + "/", []string{hdrForwardedProto, "ftp"}, 400, badRequest},
		{"both_forms_uri", "GET", app + "/", []string{hdrForwardedURI, "/"}, 400, badRequest},
		{"both_forms_method", "GET", app + "/", []string{hdrForwardedMethod, "GET"}, 400, badRequest},
		{"both_forms_host", "GET", app + "/", []string{hdrForwardedHost, appHost}, 400, badRequest},
		{"both_forms_in_other_spelling", "GET", app + "/", []string{"X_Forwarded_Uri", "/"}, 400, badRequest},
		{"encoded_slash", "GET", app + "/a%2Fb", nil, 400, badPath},
		{"two_slashes", "GET", app + "//secret/x", nil, 400, badPath},
		{"path_parameter", "GET", app + "/a;b", nil, 400, badPath},
		{"backslash", "GET", app + "/a%5Cb", nil, 400, badPath},
		{"dot_segment", "GET", app + "/../secret/x", nil, 400, badPath},
		{"encoded_dot_segments", "GET", app + "/%2e%2e/%2e%2e/secret/x", nil, 400, badPath},
		{"no_slash_after_check_path", "GET", app + "admin", nil, 404, noRoute},
		{"check_of_check", "GET", app + checkPath, nil, 404, noRoute},
		{"check_path_percent_encoded", "GET", "https://" + appHost + "/.sallyport/%63heck/", nil, 400, badPath},
		{"portal", "GET", checkURL + "/", nil, 404, noRoute},
		// A lenient route must not receive these: the rules would read another path than the one that the front proxy
		// forwards.
		{"lenient_path_on_lenient_route", "GET", "https://" + lenientHost + checkPath + "/secret%2Fx", []string{"Cookie", files}, 400, badPath},
		{"lenient_spelling_of_check_path", "GET", "https://" + lenientHost + "/.sallyport//check/secret/x", []string{"Cookie", files}, 400, badPath},
	} {
		t.Run(c.name, func(t *testing.T) {
			bothProtocols(t, w, func(t *testing.T, client *http.Client) {
				headers := append([]string{"Accept", "application/json"}, c.headers...)
				if !slices.Contains(headers, "Cookie") {
					headers = append(headers, "Cookie", alice)
				}
				res, body := w.send(client, c.method, c.url, nil, headers...)
				checkResult(t, c.name, res, body, c.code, c.reason, aliceHeaders)
			})
		})
	}
	t.Run("browser_is_redirected_to_login", func(t *testing.T) {
		res, _ := w.get(w.client(true), app+"/a"+noRedirect, "Accept", chromeAccept, "Sec-Fetch-Mode", "navigate")
		to, err := url.Parse(res.Header.Get("Location"))
		w.must(err)
		if res.StatusCode != 302 || to.Query().Get("return_to") != "https://"+appHost+"/a"+noRedirect {
			t.Errorf("%d %v", res.StatusCode, res.Header)
		}
	})
}

// TestCheck_ByTraefikAndEnvoy sends checks with the headers of front proxies that the tests cannot run.
func TestCheck_ByTraefikAndEnvoy(t *testing.T) {
	w := newWorld(t, withSecret(t))
	_, alice := w.signIn("alice", appHost)
	browser := []string{"Cookie", alice, "Accept", chromeAccept, "Accept-Encoding", "gzip, br", "Sec-Fetch-Mode", "navigate", "Upgrade-Insecure-Requests", "1", "User-Agent", "Mozilla/5.0", header.Secret, testSecret}
	for name, c := range map[string]struct {
		method, url string
		headers     []string
	}{
		"Traefik": {"GET", checkURL, append(forwardedHeaders("POST", "https://"+appHost+"/a?b=c"), "X-Forwarded-Port", "443", "X-Forwarded-Server", "traefik-0", "X-Real-Ip", "192.0.2.7")},
		"Envoy": {"POST", "https://" + appHost + checkPath + "/a?b=c", []string{"X-Forwarded-For", "192.0.2.7", hdrForwardedProto, "https", "X-Envoy-Internal", "true", "X-Envoy-Expected-Rq-Timeout-Ms", "5000",
			"X-Request-Id", "5b1e", "X-Forwarded-Client-Cert", "Hash=0", "Content-Length", "0"}},
	} {
		t.Run(name, func(t *testing.T) {
			bothProtocols(t, w, func(t *testing.T, client *http.Client) {
				res, _ := w.send(client, c.method, c.url, nil, append(c.headers, browser...)...)
				want := aliceHeaders
				want.Assertion = "any"
				checkAllowed(t, res, want)
			})
			lines := w.events(audit.KindDecision)
			if last := lines[len(lines)-1]; !strings.Contains(last, `"path":"/a"`) || !strings.Contains(last, `"method":"POST"`) || !strings.Contains(last, `"address":"192.0.2.7"`) {
				t.Errorf("recorded %s", last)
			}
		})
	}
}

// TestCheck_DoesNotWaitForBody checks that a check with the Content-Length of a body, but without the body, gets its
// response. Some front proxies send such checks.
func TestCheck_DoesNotWaitForBody(t *testing.T) {
	w := newWorld(t, trustLoopback)
	var check strings.Builder
	check.WriteString("GET " + checkPath + " HTTP/1.1\r\nHost: " + loginHost + "\r\nContent-Length: 10\r\n")
	headers := forwardedHeaders("POST", "https://"+openHost+"/")
	for i := 0; i < len(headers); i += 2 {
		check.WriteString(headers[i] + ": " + headers[i+1] + "\r\n")
	}
	res, err := http.ReadResponse(bufio.NewReader(w.sendRaw(check.String()+"\r\n")), nil)
	w.must(err)
	if res.StatusCode != http.StatusOK || !res.Close {
		t.Errorf("status %d, Connection: close is %v", res.StatusCode, res.Close)
	}
}

// TestCheck_IsRecorded checks that a decision is recorded with the facts of the request that the check asks about, and
// that the check is counted as a request for an internal path.
func TestCheck_IsRecorded(t *testing.T) {
	w := newWorld(t, trustLoopback)
	started, alice := w.signIn("alice", appHost)
	w.get(w.client(true), checkURL, append(forwardedHeaders("POST", "https://"+appHost+"/a?b"), "Cookie", alice)...)
	w.get(w.client(true), checkURL, forwardedHeaders("GET", "https://"+appHost+"/")...)
	lines := w.events(audit.KindDecision)
	if len(lines) != 1 {
		t.Fatalf("recorded %q", lines)
	}
	for _, want := range []string{`"host":"` + appHost, `"path":"/a"`, `"method":"POST"`, `"address":"192.0.2.7"`, `"detail":{"front":"127.0.0.1"}`, started.ID, `"route":"app"`, `"decision":"allow"`} {
		if !strings.Contains(lines[0], want) {
			t.Errorf("no %s in %s", want, lines[0])
		}
	}
	for _, c := range []struct {
		metric string
		labels []string
		want   float64
	}{
		{"sallyport_http_requests_total", []string{"route", metric.RouteInternal, "code", "200"}, 1},
		{"sallyport_http_requests_total", []string{"route", metric.RouteInternal, "code", "401"}, 1},
		{"sallyport_http_requests_total", []string{"route", "app"}, 0},
		{"sallyport_decisions_total", []string{"route", "app", "decision", "allow"}, 1},
		{"sallyport_decisions_total", []string{"route", "app", "decision", "deny", "reason", string(notSignedIn)}, 1},
		{"sallyport_live_requests", nil, 0},
	} {
		w.eventually(fmt.Sprint(c), func() bool { return w.metric(c.metric, c.labels...) == c.want })
	}
}

// TestCheck_DecidesPreflight checks that no check passes as a CORS preflight request. A preflight request must have no
// body, and a check does not tell whether the request has one.
func TestCheck_DecidesPreflight(t *testing.T) {
	w := newWorld(t, func(s *Settings) { trustLoopback(s); s.Routes[0].Preflight = passPreflight })
	preflight := []string{"Origin", "https://other.example.com", "Access-Control-Request-Method", "DELETE"}
	if res, _ := w.send(w.client(false), "OPTIONS", "https://"+appHost+"/", nil, preflight...); res.StatusCode != 200 {
		t.Fatalf("the request itself: %d", res.StatusCode)
	}
	if res, _ := w.send(w.client(false), "OPTIONS", "https://"+appHost+checkPath+"/", nil, preflight...); res.StatusCode != 401 {
		t.Errorf("by path: %d", res.StatusCode)
	}
	if res, _ := w.get(w.client(false), checkURL, append(forwardedHeaders("OPTIONS", "https://"+appHost+"/"), preflight...)...); res.StatusCode != 401 {
		t.Errorf("by headers: %d", res.StatusCode)
	}
}

// TestCheck_DeniesAfterLateChange checks that a check is denied if its request is cut after the decision and before the
// response.
func TestCheck_DeniesAfterLateChange(t *testing.T) {
	w := newWorld(t, trustLoopback)
	resp := httptest.NewRecorder()
	r := httptest.NewRequest("GET", checkURL, nil)
	rt := w.proxy.routing.Load()
	req := &request{routing: rt, route: rt.routes[0], authClient: &authClient{}}
	rw := response.New(resp, r, time.Minute)
	live := w.proxy.live.enter(req, rw, r)
	defer w.proxy.live.leave(live)
	b := new(batch)
	b.add(live, deny(inactiveUser, ""))
	if denied := w.proxy.writeAllowed(rw, live); denied == nil || denied.reason != inactiveUser || rw.Status() != 0 {
		t.Errorf("%+v, %d", denied, rw.Status())
	}
}
