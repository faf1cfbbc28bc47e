package proxy

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sallyport/audit"
)

const testSecret = "3f9b1c6d3f9b1c6d3f9b1c6d3f9b1c6d"

// trustLoopback puts 127.0.0.1 into trusted_proxies.
func trustLoopback(s *Settings) { s.TrustedProxies = []string{"127.0.0.1"} }

// withSecret also requires the secret.
func withSecret(t testing.TB) func(*Settings) {
	file := filepath.Join(t.TempDir(), "front")
	if err := os.WriteFile(file, []byte(testSecret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return func(s *Settings) { trustLoopback(s); s.ForwardAuth.SecretFile = file }
}

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

var aliceIs = IdentityHeaders{User: "alice@example.com", Email: "alice@example.com", Name: "Alice Doe", Groups: staff}

// TestCheck: the result of a check is that of the request itself.
func TestCheck(t *testing.T) {
	w := newWorld(t, trustLoopback)
	w.behindIs(func(http.ResponseWriter, *http.Request) { t.Error("a check reached an upstream") })
	_, alice := w.signIn("alice", appHost)
	_, bob := w.signIn("bob", appHost)
	_, files := w.signIn("alice", lenientApp)
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
		{"of the group", "GET", app + "/", []string{"Cookie", alice}, 200, "", aliceIs},
		{"with a query", "POST", app + "/a,b/c?d=/secret/x&e", []string{"Cookie", alice}, 200, "", aliceIs},
		{"of the group, where a rule denies", "GET", app + "/secret/x", []string{"Cookie", alice}, 403, ruleDeny, aliceIs},
		{"however it is spelt", "GET", app + "/%73ecret/x", []string{"Cookie", alice}, 403, ruleDeny, aliceIs},
		{"by a method nobody named", "FROB", app + "/", []string{"Cookie", alice}, 403, noRule, aliceIs},
		{"not of the group", "GET", app + "/", []string{"Cookie", bob}, 403, noRule, aliceIs},
		{"nobody", "GET", app + "/", nil, 401, notSignedIn, aliceIs},
		{"nobody, where anyone may", "GET", open + "/", nil, 200, "", IdentityHeaders{}},
		{"a cookie of another host", "GET", open + "/", []string{"Cookie", alice}, 200, "", IdentityHeaders{}},
		{"a made-up cookie", "GET", app + "/", []string{"Cookie", "__Host-sallyport=x"}, 401, notSignedIn, aliceIs},
		{"a bearer token", "GET", api + "/v1/x", []string{"Authorization", token}, 200, "", aliceIs},
		{"a cookie where tokens alone are good", "GET", api + "/v1/x", []string{"Cookie", alice}, 401, notSignedIn, aliceIs},
		{"a bad token", "GET", api + "/v1/x", []string{"Authorization", "Bearer x.y.z"}, 401, tokenRefused, aliceIs},
		{"two tokens", "GET", api + "/v1/x", []string{"Authorization", token, "Authorization", token}, 401, tokenRefused, aliceIs},
		{"outside of the route's path", "GET", api + "/v2", []string{"Authorization", token}, 404, noRoute, aliceIs},
		{"an unknown host", "GET", "https://nowhere.example.com/", []string{"Cookie", alice}, 404, noRoute, aliceIs},
		{"the login's own host", "GET", "https://" + loginHost + "/", []string{"Cookie", alice}, 404, noRoute, aliceIs},
		{"an internal path", "GET", app + "/.sallyport/me", []string{"Cookie", alice}, 404, noRoute, aliceIs},
		{"a check", "GET", app + "/.sallyport/check", []string{"Cookie", alice}, 404, noRoute, aliceIs},
		{"a slash in a segment, where that may be", "GET", "https://" + lenientApp + "/a%2Fb", []string{"Cookie", files}, 200, "", aliceIs},
		{"and where it may not", "GET", app + "/a%2Fb", []string{"Cookie", alice}, 400, badPath, aliceIs},
		{"a denied slash in a segment", "GET", "https://" + lenientApp + "/secret%2Fb", []string{"Cookie", files}, 403, ruleDeny, aliceIs},
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
	w.behindIs(func(http.ResponseWriter, *http.Request) { t.Error("a check reached an upstream") })
	_, alice := w.signIn("alice", appHost)
	_, files := w.signIn("alice", lenientApp)
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
		{"lenient, on a route that is", "GET", "https://" + lenientApp + checkPath + "/secret%2Fx", []string{"Cookie", files}, 400, badPath},
		{"lenient before the path", "GET", "https://" + lenientApp + "/.sallyport//check/secret/x", []string{"Cookie", files}, 400, badPath},
	} {
		t.Run(c.says, func(t *testing.T) {
			bothProtocols(t, w, func(t *testing.T, client *http.Client) {
				with := append([]string{"Accept", "application/json"}, c.with...)
				if !slices.Contains(with, "Cookie") {
					with = append(with, "Cookie", alice)
				}
				res, body := w.send(client, c.method, c.url, nil, with...)
				checkDenied(t, c.says, res, body, c.code, c.reason, aliceIs)
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
				told := aliceIs
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

// TestCheck_RejectsInvalidHeaders sends the headers of a front proxy in every invalid way.
func TestCheck_RejectsInvalidHeaders(t *testing.T) {
	w := newWorld(t, trustLoopback)
	w.behindIs(func(http.ResponseWriter, *http.Request) { t.Error("a check reached an upstream") })
	c := w.client(false)
	good := forwardedHeaders("GET", "https://"+openHost+"/a")
	if res, _ := w.get(c, checkURL, good...); res.StatusCode != 200 {
		t.Fatalf("the good one answers %d", res.StatusCode)
	}
	denied := func(says string, with ...string) {
		t.Helper()
		res, body := w.get(c, checkURL, with...)
		if res.StatusCode != 400 && res.StatusCode != 405 {
			t.Errorf("%s: %d %s", says, res.StatusCode, body)
		}
	}
	for _, name := range []string{hdrForwardedMethod, hdrForwardedProto, hdrForwardedHost, hdrForwardedURI} {
		rest := without(good, name)
		value := good[slices.Index(good, name)+1]
		denied(name+" missing", rest...)
		denied(name+" empty", append(rest, name, "")...)
		denied(name+" doubled", append(good, name, value)...)
		denied(name+" listed", append(rest, name, value+", "+value)...)
		denied(name+" not UTF-8", append(rest, name, value+"\xff")...)
		denied(name+" with a control", append(rest, name, value+"\u0085")...)
		for _, spelling := range spellings(name) {
			if !strings.EqualFold(spelling, name) {
				denied(spelling+" beside", append(good, spelling, value)...)
				denied(spelling+" instead", append(rest, spelling, value)...)
			}
		}
	}
	for name, values := range map[string][]string{
		hdrForwardedMethod: {"CONNECT", "GET POST", "G\u00c9T", strings.Repeat("A", 33), "GET,", "(GET)"},
		hdrForwardedProto:  {"HTTPS", "ftp", "https,http", "https:", "wss"},
		hdrForwardedHost:   {"a b", openHost + ",x", openHost + "/", "u@" + openHost, openHost + ":", openHost + ":0", openHost + "..", "[::1", "*", openHost + "#"},
		hdrForwardedURI: {"a", "*", "https://" + openHost + "/a", "//" + openHost + "/a", "/a b", "/a#b", "/a?b#c", "/a?b c", "/a?\xff", "/a?\u0085", "/../a", "/%2e%2e/a", "/a/%2E", "/%", "/%0a", "/%ff",
			"/a%00", "/a\\b", "/a;b", "/a%3Bb", "/a//b", "/a%2Fb", "/" + strings.Repeat("a", 9<<10)},
	} {
		for _, value := range values {
			denied(fmt.Sprintf("%s: %.40q", name, value), append(without(good, name), name, value)...)
		}
	}
	t.Run("in another form of asking", func(t *testing.T) {
		for _, method := range []string{"POST", "PUT", "OPTIONS"} {
			if res, _ := w.send(c, method, checkURL, nil, good...); res.StatusCode != 405 {
				t.Errorf("%s: %d", method, res.StatusCode)
			}
		}
		if res, _ := w.get(c, "https://"+loginHost+"/.sallyport/%63heck", good...); res.StatusCode != 400 {
			t.Errorf("a path spelt otherwise: %d", res.StatusCode)
		}
		if res, _ := w.get(c, "https://"+appHost+checkPath, good...); res.StatusCode != 400 {
			t.Errorf("at another host than it asks about: %d", res.StatusCode)
		}
		if res, _ := w.get(c, "https://nowhere.example.com"+checkPath, good...); res.StatusCode != 404 {
			t.Errorf("at a host that is not ours: %d", res.StatusCode)
		}
	})
}

// TestCheck_RejectsSpoofedHeaders: headers that could make the application believe what the proxy did not decide.
func TestCheck_RejectsSpoofedHeaders(t *testing.T) {
	w := newWorld(t, func(s *Settings) { trustLoopback(s); s.IdentityHeaders.Email, s.IdentityHeaders.Name = "X-Mail", "" })
	c := w.client(false)
	good := forwardedHeaders("GET", "https://"+openHost+"/a")
	code := func(with ...string) int {
		t.Helper()
		res, _ := w.get(c, checkURL, append(slices.Clone(good), with...)...)
		if res.StatusCode == 200 {
			for _, name := range []string{"X-Forwarded-User", "X-Mail", "X-Forwarded-Groups", "X-Sallyport-Assertion"} {
				if got := res.Header[name]; !slices.Equal(got, []string{""}) {
					t.Errorf("%q: %s is %q", with, name, got)
				}
			}
		}
		return res.StatusCode
	}
	for _, name := range []string{"X-Forwarded-User", "X-Mail", "X-Forwarded-Groups", "X-Sallyport-Assertion", "X-Forwarded-Anything", "X-Forwarded-For", "Cookie", "Authorization", "Host", "Content-Length"} {
		for _, spelling := range spellings(name) {
			if !strings.EqualFold(spelling, name) && code(spelling, forged) != 400 {
				t.Errorf("%s passes", spelling)
			}
		}
	}
	for _, name := range []string{"X-Forwarded-User", "X-Mail", "X-Forwarded-Groups", "X-Sallyport-Assertion"} {
		if got := code(name, forged); got != 200 {
			t.Errorf("%s, which the front overwrites: %d", name, got)
		}
		if got := code(name, forged, name, forged); got != 400 {
			t.Errorf("%s twice: %d", name, got)
		}
	}
	for _, name := range append([]string{"X-Forwarded-Email", "X-Forwarded-Preferred-Username"}, overrideHeaders...) {
		if got := code(name, forged); got != 400 {
			t.Errorf("%s, which the front would pass on: %d", name, got)
		}
	}
	if got := code("X-Forwarded-For", "1.1.1.1"); got != 400 {
		t.Errorf("X-Forwarded-For twice: %d", got)
	}
}

// TestCheck_IsForTrustedProxies: others learn nothing, whatever they send.
func TestCheck_IsForTrustedProxies(t *testing.T) {
	for _, c := range []struct {
		peer    string
		trusted []string
		code    int
	}{
		{"192.0.2.1:1", nil, 403},
		{"127.0.0.1:1", nil, 403},
		{"192.0.2.1:1", []string{"10.0.0.0/8"}, 403},
		{"10.1.1.1:1", []string{"10.0.0.0/8"}, 200},
		{"[::ffff:10.1.1.1]:1", []string{"10.0.0.0/8"}, 200},
		{"[::ffff:192.0.2.1]:1", []string{"10.0.0.0/8"}, 403},
		{"[fe80::1%eth0]:1", []string{"fe80::/10"}, 200},
		{"[::1]:1", []string{"10.0.0.0/8"}, 403},
		{"@", []string{"10.0.0.0/8"}, 403},
		{"", []string{"10.0.0.0/8"}, 403},
	} {
		t.Run(fmt.Sprint(c.peer, " by ", c.trusted), func(t *testing.T) {
			w := newWorld(t, func(s *Settings) { s.TrustedProxies = c.trusted })
			_, alice := w.signIn("alice", appHost)
			for _, form := range [][]string{forwardedHeaders("GET", "https://"+appHost+"/"), {"path"}, {"path", hdrForwardedURI, "x"}} {
				r := httptest.NewRequest("GET", "https://"+appHost+checkPath, nil)
				if form[0] == "path" {
					r = httptest.NewRequest("GET", "https://"+appHost+checkPath+"/", nil)
					form = form[1:]
				}
				for i := 0; i < len(form)-1; i += 2 {
					r.Header[form[i]] = []string{form[i+1]}
				}
				r.RemoteAddr = c.peer
				r.Header.Set("Cookie", alice)
				resp := httptest.NewRecorder()
				w.proxy.ServeHTTP(resp, r)
				want := c.code
				if want == 200 && slices.Contains(form, "x") {
					want = 400
				}
				if resp.Code != want || want == 403 && !strings.Contains(resp.Body.String(), string(untrustedProxy)) {
					t.Errorf("%q: %d %s", form, resp.Code, resp.Body)
				}
			}
		})
	}
}

// TestCheck_RequiresSecret: if there is a secret, a check without it is denied, and one with it receives the assertion. If
// there is none, no check receives the assertion: a client that a front proxy proxies to us looks like the front proxy.
func TestCheck_RequiresSecret(t *testing.T) {
	w := newWorld(t, withSecret(t))
	_, alice := w.signIn("alice", appHost)
	c := w.client(false)
	ask := append(forwardedHeaders("GET", "https://"+appHost+"/"), "Cookie", alice)
	told := aliceIs
	told.Assertion = "one"
	res, _ := w.get(c, checkURL, append(ask, secretHeader, testSecret)...)
	checkAllowed(t, res, told)
	res, _ = w.get(c, "https://"+appHost+checkPath+"/", "Cookie", alice, secretHeader, testSecret)
	checkAllowed(t, res, told)
	for says, with := range map[string][]string{
		"none":             nil,
		"a wrong one":      {secretHeader, testSecret + "x"},
		"an empty one":     {secretHeader, ""},
		"two":              {secretHeader, testSecret, secretHeader, testSecret},
		"another spelling": {"X_Sallyport_Secret", testSecret},
	} {
		if res, body := w.get(c, checkURL, append(ask, with...)...); res.StatusCode != 403 || !strings.Contains(body, string(untrustedProxy)) {
			t.Errorf("%s: %d %s", says, res.StatusCode, body)
		}
	}
	t.Run("it reaches no upstream", func(t *testing.T) {
		if _, seen := w.get(c, "https://"+openHost+"/", secretHeader, testSecret); strings.Contains(seen, testSecret) {
			t.Error(seen)
		}
	})
	t.Run("nobody has no assertion", func(t *testing.T) {
		res, _ := w.get(c, checkURL, append(forwardedHeaders("GET", "https://"+openHost+"/"), secretHeader, testSecret)...)
		checkAllowed(t, res, IdentityHeaders{})
	})
	t.Run("without one, nobody is told an assertion", func(t *testing.T) {
		w.settings.ForwardAuth.SecretFile = ""
		w.must(w.proxy.Load(w.settings))
		res, _ := w.get(c, checkURL, append(ask, secretHeader, testSecret)...)
		checkAllowed(t, res, aliceIs)
	})
	t.Run("a file that holds none is a fault", func(t *testing.T) {
		dir := t.TempDir()
		for _, text := range []string{"", "short", strings.Repeat("a", 32) + "\nb", strings.Repeat("a b", 32)} {
			file := filepath.Join(dir, "secret")
			w.must(os.WriteFile(file, []byte(text), 0o600))
			w.settings.ForwardAuth.SecretFile = file
			if err := w.proxy.Load(w.settings); err == nil || !strings.Contains(err.Error(), "openssl rand") || text != "" && strings.Contains(err.Error(), text) {
				t.Errorf("%q: %v", text, err)
			}
		}
		w.settings.ForwardAuth.SecretFile = filepath.Join(dir, "missing")
		if err := w.proxy.Load(w.settings); err == nil {
			t.Error("a missing file is none")
		}
	})
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
	res, err := http.ReadResponse(bufio.NewReader(w.raw(check.String()+"\r\n")), nil)
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
		w.eventually(fmt.Sprint(c), func() bool { return w.number(c.metric, c.labels...) == c.want })
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

// FuzzCheck: whatever a check says, a request is allowed only if the rules allow what other parsers read in it, and the
// response has every identity header.
func FuzzCheck(f *testing.F) {
	for _, seed := range [][6]string{
		{"GET", "https", appHost, "/", checkPath, ""},
		{"GET", "https", appHost, "/secret/x", checkPath, ""},
		{"POST", "http", openHost + ":443", "/a%20b?c=d", checkPath, ""},
		{"GET", "https", "APP.example.com.", "/%73ecret/x", checkPath, "X-Forwarded-User: admin"},
		{"GET", "https", appHost, "/a/../secret/x", checkPath, "X_Forwarded_Uri: /"},
		{"GET", "https", lenientApp, "/a%2F..%2fsecret/x", checkPath, "X-Original-URL: /"},
		{"DELETE", "", "", "", checkPath + "/secret/x", ""},
		{"DELETE", "", "", "", checkPath + "/a;b//c", ""},
		{"GET", "https", apiHost, "/v1", checkPath + "?redirect=false", "Authorization: Bearer x"},
	} {
		for who := range uint8(6) {
			f.Add(seed[0], seed[1], seed[2], seed[3], seed[4], seed[5], who)
		}
	}
	w := newWorld(f, trustLoopback)
	cookies := map[string][]string{"": nil}
	for _, name := range []string{"alice", "bob"} {
		for _, host := range []string{appHost, lenientApp} {
			_, cookie := w.signIn(name, host)
			cookies[name] = append(cookies[name], cookie)
		}
	}
	f.Fuzz(func(t *testing.T, method, proto, host, uri, at, extra string, who uint8) {
		name, peer := []string{"", "alice", "bob"}[who%3], []string{"127.0.0.1:1", "192.0.2.1:1"}[who/3%2]
		r := &http.Request{Method: "GET", ProtoMajor: 1, ProtoMinor: 1, Host: loginHost, RequestURI: at, RemoteAddr: peer, Header: http.Header{}, Body: http.NoBody}
		r.URL = &url.URL{Path: "/"} // nothing reads it
		own, _, _ := strings.Cut(at, "?")
		byPath := strings.HasPrefix(own, checkPath+"/")
		if byPath {
			r.Method, r.Host = method, appHost
			host, uri = appHost, strings.TrimPrefix(at, checkPath)
		} else {
			r.Header[hdrForwardedMethod], r.Header[hdrForwardedProto], r.Header[hdrForwardedHost], r.Header[hdrForwardedURI] = []string{method}, []string{proto}, []string{host}, []string{uri}
		}
		if key, value, found := strings.Cut(extra, ": "); found {
			key = http.CanonicalHeaderKey(key)
			r.Header[key] = append(r.Header[key], value)
		}
		if name != "" {
			at := 0
			if strings.HasPrefix(strings.ToLower(host), "files") {
				at = 1
			}
			r.Header["Cookie"] = append(r.Header["Cookie"], cookies[name][at])
		}
		resp := httptest.NewRecorder()
		func() {
			defer func() {
				if fault := recover(); fault != nil && fault != http.ErrAbortHandler {
					panic(fault)
				}
			}()
			w.proxy.ServeHTTP(resp, r)
		}()
		if resp.Code/100 != 2 || !strings.HasPrefix(own, internalPrefix+"check") {
			return
		}
		for _, header := range Defaults().IdentityHeaders.all() {
			if len(resp.Header()[header]) != 1 {
				t.Errorf("allowed without %s: %v", header, resp.Header())
			}
		}
		switch {
		case !byPath && own != checkPath:
			t.Errorf("a yes at %q", at)
		case peer != "127.0.0.1:1":
			t.Error("a yes to a stranger")
		case !stdlibAllows(method, host, uri, name):
			t.Errorf("a yes to %s of %q %q %q", name, method, host, uri)
		}
	})
}

// stdlibAllows reports whether the usual rules allow what the parsers of the standard library read in a request.
func stdlibAllows(method, host, uri, who string) bool {
	u, err := url.ParseRequestURI(uri)
	if err != nil || u.Host != "" || !strings.HasPrefix(uri, "/") {
		return false
	}
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	usual := slices.Contains([]string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}, method)
	clean := path.Clean(u.Path)
	switch host {
	case openHost:
		return usual
	case appHost, lenientApp:
		return usual && who == "alice" && !strings.HasPrefix(clean, "/secret/") && !strings.HasPrefix(clean, "/.sallyport")
	}
	return false
}
