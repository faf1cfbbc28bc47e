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
)

const checkURL = "https://" + loginHost + checkPath

// forwardedHeaders returns the headers with which a front proxy describes a request, in pairs.
func forwardedHeaders(method, target string) []string {
	host, uri, _ := strings.Cut(strings.TrimPrefix(target, "https://"), "/")
	return []string{hdrForwardedMethod, method, hdrForwardedProto, "https", hdrForwardedHost, host, hdrForwardedURI, "/" + uri, "X-Forwarded-For", "192.0.2.7"}
}

// without returns pairs without those of a name.
func without(pairs []string, name string) (rest []string) {
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i] != name {
			rest = append(rest, pairs[i], pairs[i+1])
		}
	}
	return rest
}

// checkAllowed checks that a response allows the request, with every identity header once.
func checkAllowed(t *testing.T, res *http.Response, want IdentityHeaders) {
	t.Helper()
	if res.StatusCode != http.StatusOK {
		t.Errorf("answers %d", res.StatusCode)
		return
	}
	names := Defaults().IdentityHeaders
	for name, want := range map[string]string{names.User: want.User, names.Email: want.Email, names.Name: want.Name, names.Groups: want.Groups} {
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

var aliceHeaders = IdentityHeaders{User: "alice@example.com", Email: "alice@example.com", Name: "Alice Doe", Groups: staff}

// TestCheck: the result of a check is that of the request itself.
func TestCheck(t *testing.T) {
	w := newWorld(t, trustLoopback)
	w.setUpstream(func(http.ResponseWriter, *http.Request) { t.Error("a check reached an upstream") })
	_, alice := w.signIn("alice", appHost)
	_, bob := w.signIn("bob", appHost)
	_, files := w.signIn("alice", lenientHost)
	token := "Bearer " + w.token("alice", nil)
	const app, open, api = "https://" + appHost, "https://" + openHost, "https://" + apiHost
	browser := []string{"Accept", chromeAccept, "Sec-Fetch-Mode", "navigate"}
	for _, c := range []struct {
		says   string
		method string
		target string
		with   []string
		code   int
		reason Reason
		who    IdentityHeaders
	}{
		{"of the group", "GET", app + "/", []string{"Cookie", alice}, 200, "", aliceHeaders},
		{"with a query", "POST", app + "/a,b/c?d=/secret/x&e", []string{"Cookie", alice}, 200, "", aliceHeaders},
		{"of the group, where a rule denies", "GET", app + "/secret/x", []string{"Cookie", alice}, 403, ruleDeny, aliceHeaders},
		{"however it is spelt", "GET", app + "/%73ecret/x", []string{"Cookie", alice}, 403, ruleDeny, aliceHeaders},
		{"by a method nobody named", "FROB", app + "/", []string{"Cookie", alice}, 403, noRule, aliceHeaders},
		{"not of the group", "GET", app + "/", []string{"Cookie", bob}, 403, noRule, aliceHeaders},
		{"nobody", "GET", app + "/", nil, 401, notSignedIn, aliceHeaders},
		{"nobody, where anyone may", "GET", open + "/", nil, 200, "", IdentityHeaders{}},
		{"a cookie of another host", "GET", open + "/", []string{"Cookie", alice}, 200, "", IdentityHeaders{}},
		{"a made-up cookie", "GET", app + "/", []string{"Cookie", "__Host-sallyport=x"}, 401, notSignedIn, aliceHeaders},
		{"a bearer token", "GET", api + "/v1/x", []string{"Authorization", token}, 200, "", aliceHeaders},
		{"a cookie where tokens alone are good", "GET", api + "/v1/x", []string{"Cookie", alice}, 401, notSignedIn, aliceHeaders},
		{"a bad token", "GET", api + "/v1/x", []string{"Authorization", "Bearer x.y.z"}, 401, tokenRefused, aliceHeaders},
		{"two tokens", "GET", api + "/v1/x", []string{"Authorization", token, "Authorization", token}, 401, tokenRefused, aliceHeaders},
		{"outside of the route's path", "GET", api + "/v2", []string{"Authorization", token}, 404, noRoute, aliceHeaders},
		{"an unknown host", "GET", "https://nowhere.example.com/", []string{"Cookie", alice}, 404, noRoute, aliceHeaders},
		{"the login's own host", "GET", "https://" + loginHost + "/", []string{"Cookie", alice}, 404, noRoute, aliceHeaders},
		{"an internal path", "GET", app + "/.sallyport/me", []string{"Cookie", alice}, 404, noRoute, aliceHeaders},
		{"a check", "GET", app + "/.sallyport/check", []string{"Cookie", alice}, 404, noRoute, aliceHeaders},
		{"a slash in a segment, where that may be", "GET", "https://" + lenientHost + "/a%2Fb", []string{"Cookie", files}, 200, "", aliceHeaders},
		{"and where it may not", "GET", app + "/a%2Fb", []string{"Cookie", alice}, 400, badPath, aliceHeaders},
		{"a denied slash in a segment", "GET", "https://" + lenientHost + "/secret%2Fb", []string{"Cookie", files}, 403, ruleDeny, aliceHeaders},
	} {
		t.Run(c.says, func(t *testing.T) {
			bothProtocols(t, w, func(t *testing.T, client *http.Client) {
				for form, at := range map[string]string{"at public_url": checkURL, "at its own host": c.target[:strings.Index(c.target[8:], "/")+8] + checkPath} {
					if strings.Contains(at, "nowhere") {
						continue
					}
					res, body := w.get(client, at, append(forwardedHeaders(c.method, c.target), c.with...)...)
					checkDenied(t, form, res, body, c.code, c.reason, c.who)
				}
			})
		})
	}
	t.Run("a browser is sent to sign in", func(t *testing.T) {
		res, _ := w.get(w.client(true), checkURL, append(forwardedHeaders("GET", app+"/a?b=c"), browser...)...)
		to, err := url.Parse(res.Header.Get("Location"))
		w.must(err)
		if res.StatusCode != 302 || to.Host != loginHost || to.Query().Get("return_to") != app+"/a?b=c" || !strings.HasPrefix(res.Header.Get("Set-Cookie"), bindingCookie) {
			t.Errorf("%d %v", res.StatusCode, res.Header)
		}
	})
	t.Run("a browser behind a front that cannot redirect gets the same as a 401", func(t *testing.T) {
		res, _ := w.get(w.client(true), checkURL+noRedirect, append(forwardedHeaders("GET", app+"/a?b=c"), browser...)...)
		if res.StatusCode != 401 || !strings.HasPrefix(res.Header.Get("Location"), "https://"+loginHost+loginPath+"?") ||
			!strings.HasPrefix(res.Header.Get("Set-Cookie"), bindingCookie) || res.Header.Get("WWW-Authenticate") == "" {
			t.Errorf("%d %v", res.StatusCode, res.Header)
		}
		for _, query := range []string{"?", "?x=y", "?redirect=true", "?redirect=false&x", "?return_to=/"} { // Caddy appends the query of the request that it asks about
			if res, _ := w.get(w.client(true), checkURL+query, append(forwardedHeaders("GET", app+"/a"), browser...)...); res.StatusCode != 302 {
				t.Errorf("%s: %d", query, res.StatusCode)
			}
		}
		if res, _ := w.get(w.client(true), checkURL+noRedirect, forwardedHeaders("GET", app+"/a")...); res.StatusCode != 401 || res.Header.Get("Location") != "" {
			t.Errorf("a script: %d %v", res.StatusCode, res.Header)
		}
	})
	t.Run("a form sent by somebody signed out is not navigated away", func(t *testing.T) {
		if res, _ := w.get(w.client(true), checkURL, append(forwardedHeaders("POST", app+"/a"), browser...)...); res.StatusCode != 401 {
			t.Errorf("%d", res.StatusCode)
		}
	})
	t.Run("the next check after a change knows of it", func(t *testing.T) {
		w.setActive("alice", false)
		if res, body := w.get(w.client(true), checkURL, append(forwardedHeaders("GET", app+"/"), "Cookie", alice)...); res.StatusCode != 403 || !strings.Contains(body, string(inactiveUser)) {
			t.Errorf("%d %s", res.StatusCode, body)
		}
	})
}

func checkDenied(t *testing.T, form string, res *http.Response, body string, code int, reason Reason, who IdentityHeaders) {
	t.Helper()
	if code == http.StatusOK {
		checkAllowed(t, res, who)
		return
	}
	if res.StatusCode != code || !strings.Contains(body, `"reason":"`+string(reason)+`"`) {
		t.Errorf("%s: %d %s, want %d %s", form, res.StatusCode, body, code, reason)
	}
	for _, name := range Defaults().IdentityHeaders.all() {
		if _, told := res.Header[name]; told {
			t.Errorf("%s: a refusal tells %s", form, name)
		}
	}
}

// TestCheck_ByPath uses Envoy's ext_authz over HTTP: the check is the request itself, with checkPath before its path.
func TestCheck_ByPath(t *testing.T) {
	w := newWorld(t, trustLoopback)
	w.setUpstream(func(http.ResponseWriter, *http.Request) { t.Error("a check reached an upstream") })
	_, alice := w.signIn("alice", appHost)
	_, files := w.signIn("alice", lenientHost)
	const app = "https://" + appHost + checkPath
	for _, c := range []struct {
		says   string
		method string
		url    string
		with   []string
		code   int
		reason Reason
	}{
		{"of the group", "GET", app + "/", nil, 200, ""},
		{"a form", "POST", app + "/a?redirect=false", nil, 200, ""},
		{"a method nobody named", "FROB", app + "/", nil, 403, noRule},
		{"a rule denies", "GET", app + "/secret/x", nil, 403, ruleDeny},
		{"spelt otherwise", "GET", app + "/%73ecret/x", nil, 403, ruleDeny},
		{"its scheme said", "GET", app + "/", []string{hdrForwardedProto, "https"}, 200, ""},
		{"an odd scheme", "GET", app + "/", []string{hdrForwardedProto, "ftp"}, 400, badRequest},
		{"both forms: path", "GET", app + "/", []string{hdrForwardedURI, "/"}, 400, badRequest},
		{"both forms: method", "GET", app + "/", []string{hdrForwardedMethod, "GET"}, 400, badRequest},
		{"both forms: host", "GET", app + "/", []string{hdrForwardedHost, appHost}, 400, badRequest},
		{"both forms: another spelling", "GET", app + "/", []string{"X_Forwarded_Uri", "/"}, 400, badRequest},
		{"an encoded slash", "GET", app + "/a%2Fb", nil, 400, badPath},
		{"two slashes", "GET", app + "//secret/x", nil, 400, badPath},
		{"a parameter", "GET", app + "/a;b", nil, 400, badPath},
		{"a backslash", "GET", app + "/a%5Cb", nil, 400, badPath},
		{"steps up", "GET", app + "/../secret/x", nil, 400, badPath},
		{"encoded steps up", "GET", app + "/%2e%2e/%2e%2e/secret/x", nil, 400, badPath},
		{"a path without its slash", "GET", app + "admin", nil, 404, noRoute},
		{"a check of a check", "GET", app + checkPath, nil, 404, noRoute},
		{"the check's own path spelt otherwise", "GET", "https://" + appHost + "/.sallyport/%63heck/", nil, 400, badPath},
		{"the login host's own page", "GET", checkURL + "/", nil, 404, noRoute},
		// A lenient route must not receive these: the rules would read another path than the one that the front proxy
		// forwards.
		{"lenient, on a route that is", "GET", "https://" + lenientHost + checkPath + "/secret%2Fx", []string{"Cookie", files}, 400, badPath},
		{"lenient before the path", "GET", "https://" + lenientHost + "/.sallyport//check/secret/x", []string{"Cookie", files}, 400, badPath},
	} {
		t.Run(c.says, func(t *testing.T) {
			bothProtocols(t, w, func(t *testing.T, client *http.Client) {
				with := append([]string{"Accept", "application/json"}, c.with...)
				if !slices.Contains(with, "Cookie") {
					with = append(with, "Cookie", alice)
				}
				res, body := w.send(client, c.method, c.url, nil, with...)
				checkDenied(t, c.says, res, body, c.code, c.reason, aliceHeaders)
			})
		})
	}
	t.Run("a browser is sent to sign in", func(t *testing.T) {
		res, _ := w.get(w.client(true), app+"/a"+noRedirect, "Accept", chromeAccept, "Sec-Fetch-Mode", "navigate")
		to, err := url.Parse(res.Header.Get("Location"))
		w.must(err)
		if res.StatusCode != 302 || to.Query().Get("return_to") != "https://"+appHost+"/a"+noRedirect {
			t.Errorf("%d %v", res.StatusCode, res.Header)
		}
	})
}

// TestCheck_AsProxiesSendIt sends the checks of front proxies that no test of ours can run.
func TestCheck_AsProxiesSendIt(t *testing.T) {
	w := newWorld(t, withSecret(t))
	_, alice := w.signIn("alice", appHost)
	browser := []string{"Cookie", alice, "Accept", chromeAccept, "Accept-Encoding", "gzip, br", "Sec-Fetch-Mode", "navigate", "Upgrade-Insecure-Requests", "1", "User-Agent", "Mozilla/5.0", secretHeader, testSecret}
	for says, c := range map[string]struct {
		method, url string
		with        []string
	}{
		"Traefik": {"GET", checkURL, append(forwardedHeaders("POST", "https://"+appHost+"/a?b=c"), "X-Forwarded-Port", "443", "X-Forwarded-Server", "traefik-0", "X-Real-Ip", "192.0.2.7")},
		"Envoy": {"POST", "https://" + appHost + checkPath + "/a?b=c", []string{"X-Forwarded-For", "192.0.2.7", hdrForwardedProto, "https", "X-Envoy-Internal", "true", "X-Envoy-Expected-Rq-Timeout-Ms", "5000",
			"X-Request-Id", "5b1e", "X-Forwarded-Client-Cert", "Hash=0", "Content-Length", "0"}},
	} {
		t.Run(says, func(t *testing.T) {
			bothProtocols(t, w, func(t *testing.T, client *http.Client) {
				res, _ := w.send(client, c.method, c.url, nil, append(c.with, browser...)...)
				told := aliceHeaders
				told.Assertion = "one"
				checkAllowed(t, res, told)
			})
			lines := w.events(audit.KindDecision)
			if last := lines[len(lines)-1]; !strings.Contains(last, `"path":"/a"`) || !strings.Contains(last, `"method":"POST"`) || !strings.Contains(last, `"address":"192.0.2.7"`) {
				t.Errorf("recorded %s", last)
			}
		})
	}
}

// TestCheck_DoesNotWaitForBody: some front proxies send the length of a body in a check, but not the body.
func TestCheck_DoesNotWaitForBody(t *testing.T) {
	w := newWorld(t, trustLoopback)
	var check strings.Builder
	check.WriteString("GET " + checkPath + " HTTP/1.1\r\nHost: " + loginHost + "\r\nContent-Length: 10\r\n")
	said := forwardedHeaders("POST", "https://"+openHost+"/")
	for i := 0; i < len(said); i += 2 {
		check.WriteString(said[i] + ": " + said[i+1] + "\r\n")
	}
	res, err := http.ReadResponse(bufio.NewReader(w.sendRaw(check.String()+"\r\n")), nil)
	w.must(err)
	if res.StatusCode != http.StatusOK || !res.Close {
		t.Errorf("%d, the last: %v", res.StatusCode, res.Close)
	}
}

// TestCheck_IsRecorded: as the request that it asks about. It is counted as a request for an internal path.
func TestCheck_IsRecorded(t *testing.T) {
	w := newWorld(t, trustLoopback)
	one, alice := w.signIn("alice", appHost)
	w.get(w.client(true), checkURL, append(forwardedHeaders("POST", "https://"+appHost+"/a?b"), "Cookie", alice)...)
	w.get(w.client(true), checkURL, forwardedHeaders("GET", "https://"+appHost+"/")...)
	lines := w.events(audit.KindDecision)
	if len(lines) != 1 {
		t.Fatalf("recorded %q", lines)
	}
	for _, want := range []string{`"host":"` + appHost, `"path":"/a"`, `"method":"POST"`, `"address":"192.0.2.7"`, `"detail":{"front":"127.0.0.1"}`, one.ID, `"route":"app"`, `"decision":"allow"`} {
		if !strings.Contains(lines[0], want) {
			t.Errorf("no %s in %s", want, lines[0])
		}
	}
	for _, c := range []struct {
		metric string
		labels []string
		want   float64
	}{
		{"sallyport_http_requests_total", []string{"route", routeInternal, "code", "200"}, 1},
		{"sallyport_http_requests_total", []string{"route", routeInternal, "code", "401"}, 1},
		{"sallyport_http_requests_total", []string{"route", "app"}, 0},
		{"sallyport_decisions_total", []string{"route", "app", "decision", "allow"}, 1},
		{"sallyport_decisions_total", []string{"route", "app", "decision", "deny", "reason", string(notSignedIn)}, 1},
		{"sallyport_live_requests", nil, 0},
	} {
		w.eventually(fmt.Sprint(c), func() bool { return w.metric(c.metric, c.labels...) == c.want })
	}
}

// TestCheck_DecidesPreflight: a preflight request that a route lets through must have no body, which a check cannot show.
func TestCheck_DecidesPreflight(t *testing.T) {
	w := newWorld(t, func(s *Settings) { trustLoopback(s); s.Routes[0].Preflight = passPreflight })
	asks := []string{"Origin", "https://other.example.com", "Access-Control-Request-Method", "DELETE"}
	if res, _ := w.send(w.client(false), "OPTIONS", "https://"+appHost+"/", nil, asks...); res.StatusCode != 200 {
		t.Fatalf("in person: %d", res.StatusCode)
	}
	if res, _ := w.send(w.client(false), "OPTIONS", "https://"+appHost+checkPath+"/", nil, asks...); res.StatusCode != 401 {
		t.Errorf("by path: %d", res.StatusCode)
	}
	if res, _ := w.get(w.client(false), checkURL, append(forwardedHeaders("OPTIONS", "https://"+appHost+"/"), asks...)...); res.StatusCode != 401 {
		t.Errorf("by headers: %d", res.StatusCode)
	}
}

// TestCheck_DeniesAfterLateChange: a change between decision and response finds the check among the live requests, and the
// front proxy is not told that the request is allowed.
func TestCheck_DeniesAfterLateChange(t *testing.T) {
	w := newWorld(t, trustLoopback)
	resp := httptest.NewRecorder()
	r := httptest.NewRequest("GET", checkURL, nil)
	table := w.proxy.routing.Load()
	req := &request{routing: table, route: table.routes[0], authClient: &authClient{}}
	reply := newResponseWriter(resp, r, time.Minute)
	live := w.proxy.live.enter(req, reply, r)
	defer w.proxy.live.leave(live)
	b := new(batch)
	b.add(live, deny(inactiveUser, ""))
	if denied := w.proxy.writeAllowed(reply, live); denied == nil || denied.reason != inactiveUser || reply.status() != 0 {
		t.Errorf("%+v, %d", denied, reply.status())
	}
}
