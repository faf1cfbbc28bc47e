package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"sallyport/entratest"
)

// These tests run the snippets of docs/forward-auth.md unchanged in the real nginx, HAProxy and Caddy. FRONT_NGINX,
// FRONT_HAPROXY and FRONT_CADDY name the programs; ./test.sh fronts installs them and sets the variables.

const (
	openHost    = "open.test" // a host that Sallyport serves without authentication and the front proxies do not serve
	proxySecret = "7c1f0a5e7c1f0a5e7c1f0a5e7c1f0a5e7c1f0a5e"
	forged      = "forged-by-the-client"
	outside     = "127.0.0.2" // address of clients
)

// authProxy is a program that can be the front proxy.
type authProxy struct {
	env   string // variable that names the program
	block string // language of its snippet in docs/forward-auth.md
	run   func(f *proxied, binary, snippet string) *exec.Cmd
}

var (
	nginxProxy   = authProxy{"FRONT_NGINX", "nginx", (*proxied).nginx}
	haproxyProxy = authProxy{"FRONT_HAPROXY", "haproxy", (*proxied).haproxy}
	caddyProxy   = authProxy{"FRONT_CADDY", "caddyfile", (*proxied).caddy}
	balancers    = map[string]authProxy{
		"nginx":   {"FRONT_NGINX", "nginx balancer", (*proxied).nginx},
		"haproxy": {"FRONT_HAPROXY", "haproxy balancer", (*proxied).haproxy},
	}
)

func (k authProxy) binary(t *testing.T) string {
	t.Helper()
	if os.Getenv("FRONTS") == "" {
		t.Skip("./test.sh fronts runs this")
	}
	path := os.Getenv(k.env)
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%s does not name the program: %v", k.env, err)
	}
	return path
}

// proxied is a stage whose application is behind a front proxy.
type proxied struct {
	*stage
	app  *httptest.Server // responds with the request it received
	addr string           // of the front proxy
}

func newProxied(t *testing.T, kind authProxy) *proxied {
	t.Helper()
	binary := kind.binary(t)
	f := &proxied{stage: &stage{world: newWorld(t)}, app: httptest.NewServer(mirror())}
	t.Cleanup(f.app.Close)
	f.trustProxy()
	f.server = f.start("--init")
	f.push = f.pusher(f.server)
	f.push.base = "http://" + f.server.addrs["scim"] + "/scim/v2"
	f.alice, f.person = f.addUser("alice")
	f.stage.group = f.push.form("Members", f.world.group)
	f.push.member("Add", f.stage.group, f.alice)
	f.addr = freeAddr(t)
	f.launch(kind, binary)
	f.entra.SignIn(f.person.OID)
	f.browser = f.from(outside)
	f.browser.signIn()
	return f
}

// addUser adds a person to the tenant and pushes them.
func (f *proxied) addUser(name string) (id string, p entratest.Person) {
	p = f.entra.Add(entratest.Person{UPN: name + "@example.com", Name: name})
	return f.push.hire(name, p.OID), p
}

// trustProxy changes the configuration as docs/forward-auth.md describes.
func (f *proxied) trustProxy() {
	f.t.Helper()
	file := filepath.Join(f.dir, "sallyport.yaml")
	text, err := os.ReadFile(file)
	if err != nil {
		f.t.Fatal(err)
	}
	writeFile(f.t, f.dir, "secrets/front", []byte(proxySecret+"\n"))
	changed := strings.NewReplacer(
		"tls: {cert_file: tls.crt, key_file: tls.key}", "tls: {off: true}\ntrusted_proxies: [127.0.0.1]\nforward_auth: {secret_file: secrets/front}",
		f.upstream.URL, f.app.URL,
		"name: Members}]}\n", "name: Members}]}\n      - deny: {paths: [/secret/**]}\n      - deny: {methods: [DELETE]}\n  - name: all\n    rules: [{allow: {anyone: true}}]\n",
		"routes:\n", "routes:\n  - {name: public, host: "+appHost+", path: /public, upstream: \""+f.app.URL+"\", policy: [all]}\n  - {name: open, host: "+openHost+", upstream: \""+f.app.URL+"\", policy: [all]}\n",
	).Replace(string(text))
	writeFile(f.t, f.dir, "sallyport.yaml", []byte(changed))
	cert, key := f.ca.issue(f.t, loginHost, appHost)
	writeFile(f.t, f.dir, "front/site.crt", cert)
	writeFile(f.t, f.dir, "front/site.key", key)
	writeFile(f.t, f.dir, "front/site.pem", append(cert, key...))
}

// mirror returns an application that responds with "hello" and the request it received.
func mirror() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "hello %s %s\n", r.Method, r.RequestURI)
		_ = r.Header.Write(w)
	})
	mux.HandleFunc("/socket", echo)
	return mux
}

// snippet returns a block of docs/forward-auth.md with the names and addresses of this test.
func (f *proxied) snippet(block string) string {
	f.t.Helper()
	page, err := os.ReadFile("../../docs/forward-auth.md")
	if err != nil {
		f.t.Fatal(err)
	}
	found := regexp.MustCompile("(?ms)^```"+block+"\n(.*?)^```$").FindAllSubmatch(page, -1)
	if len(found) != 1 {
		f.t.Fatalf("docs/forward-auth.md has %d blocks of %s", len(found), block)
	}
	_, port, _ := net.SplitHostPort(f.addr)
	site := filepath.Join(f.dir, "front", "site")
	return strings.NewReplacer("login.example.com", loginHost, "app.example.com", appHost, "THE-SECRET", proxySecret,
		"127.0.0.1:8443", f.server.addrs["public"], "127.0.0.1:3000", f.app.Listener.Addr().String(),
		"listen 443", "listen 127.0.0.1:"+port, "bind :443", "bind 127.0.0.1:"+port,
		"site.crt", site+".crt", "site.key", site+".key", "site.pem", site+".pem",
		"lua-load sallyport.lua", "lua-load "+filepath.Join(f.dir, "front", "sallyport.lua")).Replace(string(found[0][1]))
}

func (f *proxied) write(name, text string) string {
	f.t.Helper()
	writeFile(f.t, f.dir, "front/"+name, []byte(text))
	return filepath.Join(f.dir, "front", name)
}

func (f *proxied) nginx(binary, snippet string) *exec.Cmd {
	dir := filepath.Join(f.dir, "front")
	around := fmt.Sprintf("daemon off; master_process off; pid %[1]s/pid; error_log stderr; events {}\nhttp { access_log off;\n", dir)
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		around += fmt.Sprintf("%s_temp_path %s/%s;\n", kind, dir, kind)
	}
	return exec.Command(binary, "-e", "stderr", "-p", dir, "-c", f.write("nginx.conf", around+snippet+"}\n"))
}

func (f *proxied) haproxy(binary, snippet string) *exec.Cmd {
	f.write("sallyport.lua", f.snippet("lua"))
	return exec.Command(binary, "-db", "-f", f.write("haproxy.cfg", snippet))
}

func (f *proxied) caddy(binary, snippet string) *exec.Cmd {
	_, port, _ := net.SplitHostPort(f.addr)
	around := "{\n\tadmin off\n\tauto_https disable_redirects\n\thttps_port " + port + "\n\tdefault_bind 127.0.0.1\n}\n"
	cmd := exec.Command(binary, "run", "--adapter", "caddyfile", "--config", f.write("Caddyfile", around+snippet))
	cmd.Env = append(os.Environ(), "XDG_DATA_HOME="+f.dir, "XDG_CONFIG_HOME="+f.dir)
	return cmd
}

// launch runs the front proxy until the test ends, and returns when it listens.
func (f *proxied) launch(kind authProxy, binary string) {
	f.t.Helper()
	cmd := kind.run(f, binary, f.snippet(kind.block))
	output := new(bytes.Buffer)
	cmd.Stdout, cmd.Stderr = output, output
	if err := cmd.Start(); err != nil {
		f.t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	f.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
		if f.t.Failed() {
			f.t.Logf("output of %s:\n%s\noutput of Sallyport:\n%s", kind.block, output, f.server.log())
		}
	})
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		select {
		case <-ended:
			f.t.Fatalf("%s ended:\n%s", kind.block, output)
		default:
		}
		if conn, err := net.Dial("tcp", f.addr); err == nil {
			_ = conn.Close()
			return
		} else if time.Now().After(deadline) {
			f.t.Fatalf("%s does not listen: %v", kind.block, err)
		}
	}
}

// from returns a browser at an address, which reaches every site through the front proxy.
func (f *proxied) from(address string) *browser {
	b := f.newBrowser(f.server)
	b.client.Transport.(*http.Transport).DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if host, _, _ := net.SplitHostPort(addr); strings.HasSuffix(host, ".test") {
			addr = f.addr
		}
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
		return d.DialContext(ctx, network, addr)
	}
	return b
}

// ask sends a request for a raw target as a script does, and follows no redirect.
func (b *browser) ask(t testing.TB, method, host, target string, headers ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequest(method, "https://"+host+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	path, query, _ := strings.Cut(target, "?")
	req.URL = &url.URL{Scheme: "https", Host: host, Opaque: path, RawQuery: query}
	if strings.HasPrefix(path, "//") { // net/http would treat it as a host
		req.URL.Opaque, req.URL.Path = "", path
	}
	req.Host = host
	for _, c := range b.cookies(host) {
		req.AddCookie(c)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header[headers[i]] = append(req.Header[headers[i]], headers[i+1])
	}
	plain := b.client.Transport.(*http.Transport).Clone() // HTTP/1.1 sends the names of headers as they are written
	plain.Protocols = new(http.Protocols)
	plain.Protocols.SetHTTP1(true)
	plain.ForceAttemptHTTP2 = false
	plain.TLSClientConfig = &tls.Config{RootCAs: b.ca.pool}
	defer plain.CloseIdleConnections()
	resp, err := plain.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

// reachedApp reports whether a response is the application's.
func reachedApp(body string) bool { return strings.HasPrefix(body, "hello ") }

// TestForwardAuth: what holds for requests that Sallyport forwards holds behind each front proxy too.
func TestForwardAuth(t *testing.T) {
	for _, kind := range []authProxy{nginxProxy, haproxyProxy, caddyProxy} {
		t.Run(kind.block, func(t *testing.T) {
			f := newProxied(t, kind)
			t.Run("identity_headers", f.identityHeaders)
			t.Run("forged_headers", f.forgedHeaders)
			t.Run("rules_apply_to_the_request_itself", f.rulesApplyToRequest)
			t.Run("anonymous", f.anonymous)
			t.Run("not_in_group", f.notInGroup)
			t.Run("checks_are_hidden", f.hidesChecks)
			t.Run("websocket", func(t *testing.T) { f.openSocket(t) })
			t.Run("deactivated", func(t *testing.T) {
				f.push.setActive(f.alice, "False")
				if res, body := f.browser.ask(t, "GET", appHost, "/"); res.StatusCode != http.StatusForbidden || reachedApp(body) {
					t.Errorf("%d %s", res.StatusCode, body)
				}
			})
		})
	}
}

func (f *proxied) identityHeaders(t *testing.T) {
	res, body := f.browser.ask(t, "POST", appHost, "/a,b/%C3%A4?c=d&e=/x")
	if res.StatusCode != http.StatusOK || !strings.HasPrefix(body, "hello POST /a,b/%C3%A4?c=d&e=/x\n") {
		t.Fatalf("%d %s", res.StatusCode, body)
	}
	f.demandIdentity(t, body)
	for _, gone := range []string{"__Host-sallyport=", proxySecret} {
		if strings.Contains(body, gone) {
			t.Errorf("the application sees %s:\n%s", gone, body)
		}
	}
}

// demandIdentity demands that the application received the identity headers of Alice, once.
func (f *proxied) demandIdentity(t *testing.T, body string) {
	t.Helper()
	for _, want := range []string{"X-Forwarded-User: alice@example.com\r\n", "X-Sallyport-Assertion: ey", "X-Forwarded-Groups: " + f.world.group + "\r\n"} {
		if strings.Count(body, want) != 1 {
			t.Errorf("not once %q:\n%s", want, body)
		}
	}
}

func (f *proxied) forgedHeaders(t *testing.T) {
	all := []string{"X-Forwarded-User", "X-Forwarded-Email", "X-Forwarded-Preferred-Username", "X-Forwarded-Groups", "X-Sallyport-Assertion"}
	var each []string
	for _, name := range all {
		each = append(each, name, forged)
	}
	res, body := f.browser.ask(t, "GET", appHost, "/", each...)
	if res.StatusCode != http.StatusOK || strings.Contains(body, forged) {
		t.Errorf("%d %s", res.StatusCode, body)
	}
	f.demandIdentity(t, body)
	if res, body := f.from(outside).ask(t, "GET", appHost, "/public", each...); res.StatusCode != http.StatusOK || !reachedApp(body) || strings.Contains(body, forged) {
		t.Errorf("on an anonymous route: %d %s", res.StatusCode, body)
	}
	for _, name := range all {
		for _, spelling := range []string{strings.ToLower(name), strings.ReplaceAll(name, "-", "_"), strings.ReplaceAll(name, "-", "."), strings.ReplaceAll(name, "-", "~"), strings.Replace(name, "-", "_", 1)} {
			for _, target := range []string{"/", "/public"} {
				if _, body := f.browser.ask(t, "GET", appHost, target, spelling, forged); strings.Contains(body, forged) {
					t.Errorf("%s reaches the application:\n%s", spelling, body)
				}
			}
			if _, body := f.browser.ask(t, "GET", appHost, "/", spelling, forged, "Connection", "close, "+spelling); strings.Contains(body, forged) {
				t.Errorf("%s, declared hop-by-hop, reaches the application:\n%s", spelling, body)
			}
		}
		if _, body := f.browser.ask(t, "GET", appHost, "/", name, forged, name, forged); strings.Contains(body, forged) {
			t.Errorf("%s twice reaches the application:\n%s", name, body)
		}
	}
}

// rulesApplyToRequest demands that no header makes the decision be about another request than the one that is forwarded.
func (f *proxied) rulesApplyToRequest(t *testing.T) {
	claims := [][]string{nil,
		{"X-Forwarded-Uri", "/"}, {"X-Forwarded-Method", "GET"}, {"X-Forwarded-Host", openHost}, {"X-Forwarded-Host", openHost, "X-Forwarded-Uri", "/", "X-Forwarded-Method", "GET"},
		{"X_Forwarded_Uri", "/"}, {"X_Forwarded_Host", openHost}, {"X-Original-Url", "/"}, {"X-Original-Method", "GET"}, {"X-Rewrite-Url", "/"}, {"X-Host", openHost}, {"X_Original_Url", "/"}, {"X-Envoy-Original-Path", "/"},
		{"Connection", "close, X-Forwarded-Uri"}, {"Connection", "close, X-Forwarded-Host"}, {"Forwarded", "host=" + openHost}, {"X-Sallyport-Secret", "x"}}
	anonymous := f.from(outside)
	for _, claim := range claims {
		for _, c := range []struct {
			who            *browser
			method, target string
		}{
			{f.browser, "GET", "/secret/x"}, {f.browser, "GET", "/%73ecret/x"}, {f.browser, "DELETE", "/"}, {f.browser, "FROB", "/"}, {anonymous, "GET", "/"},
			{f.browser, "GET", "/a%2Fb"}, {f.browser, "GET", "/a/..%2fsecret/x"}, {f.browser, "GET", "/a/%2e%2e/secret/x"}, {f.browser, "GET", "//secret/x"}, {f.browser, "GET", "/a;b"}, {f.browser, "GET", "/a%00"}, {f.browser, "GET", "/.sallyport%2Fx"},
		} {
			if res, body := c.who.ask(t, c.method, appHost, c.target, claim...); reachedApp(body) || res.StatusCode < 400 {
				t.Errorf("%s %s with %q: %d %s", c.method, c.target, claim, res.StatusCode, body)
			}
		}
	}
}

func (f *proxied) anonymous(t *testing.T) {
	v := f.from(outside)
	res, body := v.ask(t, "GET", appHost, "/a?b=c&d", "Accept", "text/html", "Sec-Fetch-Mode", "navigate")
	to, err := url.Parse(res.Header.Get("Location"))
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != http.StatusFound || to.Host != loginHost || to.Query().Get("return_to") != "https://"+appHost+"/a?b=c&d" || len(res.Header["Set-Cookie"]) != 0 { // the browser is bound after it signed in
		t.Errorf("%d %v %s", res.StatusCode, res.Header, body)
	}
	if res, body := v.ask(t, "GET", appHost, "/", "Accept", "application/json"); res.StatusCode != http.StatusUnauthorized || reachedApp(body) {
		t.Errorf("a script: %d %s", res.StatusCode, body)
	}
}

func (f *proxied) notInGroup(t *testing.T) {
	_, bob := f.addUser("bob")
	f.entra.SignIn(bob.OID)
	if status, body := f.from(outside).navigate("https://" + appHost + "/"); status != http.StatusForbidden || reachedApp(body) {
		t.Errorf("%d %s", status, body)
	}
}

// hidesChecks demands that a client of the front proxy cannot send checks itself.
func (f *proxied) hidesChecks(t *testing.T) {
	claims := [][]string{nil, {"X-Forwarded-Method", "GET", "X-Forwarded-Proto", "https", "X-Forwarded-Host", appHost, "X-Forwarded-Uri", "/"}, {"X-Forwarded-Method", "GET", "X-Forwarded-Uri", "/"}}
	for _, host := range []string{appHost, loginHost} {
		for _, target := range []string{"/.sallyport/check", "/.sallyport/check?redirect=false", "/.sallyport/check/", "/.sallyport/check/a", "/.sallyport/%63heck", "/.sallyport/%63heck/a",
			"/.sallyport//check", "/.sallyport/./check", "/.sallyport/x/../check", "/.sallyport/x/%2e%2e/check", "/.sallyport/check%2f", "/.sallyport/CHECK", "/%2esallyport/check", "/.sallyport/check;x", "//.sallyport/check"} {
			for _, claim := range claims {
				res, body := f.browser.ask(t, "GET", host, target, claim...)
				if res.StatusCode < 400 || res.StatusCode >= 500 || res.Header.Get("X-Sallyport-Assertion") != "" || res.Header.Get("X-Forwarded-User") != "" {
					t.Errorf("%s%s with %q: %d %v %s", host, target, claim, res.StatusCode, res.Header, body)
				}
			}
		}
	}
}

// TestHTTPBalancer: behind a load balancer that speaks HTTP, the application sees the client's address, and live requests
// are cut.
func TestHTTPBalancer(t *testing.T) {
	for name, kind := range balancers {
		t.Run(name, func(t *testing.T) {
			f := newProxied(t, kind)
			_, body := f.browser.ask(t, "GET", appHost, "/", "X-Forwarded-For", "6.6.6.6", "X-Forwarded-User", forged, "X_Forwarded_User", forged)
			if !strings.Contains(body, "X-Forwarded-For: "+outside+", 127.0.0.1\r\n") || !strings.Contains(body, "X-Forwarded-Proto: https\r\n") ||
				strings.Contains(body, forged) || strings.Contains(body, "6.6.6.6") {
				t.Errorf("%s", body)
			}
			f.demandIdentity(t, body)
			t.Run("checks_are_hidden", f.hidesChecks)
			t.Run("websocket_is_cut", func(t *testing.T) {
				socket := f.openSocket(t)
				f.push.setActive(f.alice, "False")
				select {
				case <-socket.ended:
				case <-time.After(10 * time.Second):
					t.Error("the WebSocket is not cut")
				}
			})
		})
	}
}
