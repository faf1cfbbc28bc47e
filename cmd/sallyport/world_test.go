package main

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"sallyport/audit/audittest"
	"sallyport/entratest"
	"sallyport/store/postgres/postgrestest"
)

const (
	loginHost = "login.test"
	appHost   = "app.test"
	apiHost   = "api.test"
	audience  = "api://sallyport"
)

// world is the environment of one real sallyport: a certificate authority, an identity provider, an upstream, and a
// folder with a configuration file.
type world struct {
	t        testing.TB
	dir      string
	ca       *authority
	entra    *entratest.Tenant
	provider *httptest.Server // serves entra
	upstream *httptest.Server
	group    string               // object ID of the group that the policy allows
	token    string               // for pushes; empty until the first is created
	database *postgrestest.Server // has the store; nil: the store is a file
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), ca: newAuthority(t), group: "61503835-0000-0000-0000-000000000001", upstream: newUpstream(t)}
	t.Cleanup(func() { audittest.CheckRecord(t, filepath.Join(w.dir, "data", "audit.jsonl")) }) // after every server has stopped
	w.serveEntra()
	cert, key := w.ca.issue(t, loginHost, appHost, apiHost)
	writeFile(t, w.dir, "tls.crt", cert)
	writeFile(t, w.dir, "tls.key", key)
	writeFile(t, w.dir, "ca.pem", w.ca.pem)
	writeFile(t, w.dir, "secrets/oidc", []byte("the client secret\n"))
	w.configure(w.group)
	return w
}

// serveEntra runs the identity provider over TLS.
func (w *world) serveEntra() {
	var tenant *entratest.Tenant
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { tenant.ServeHTTP(rw, r) }))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{w.ca.pair(w.t, "entra.test")}}
	server.StartTLS()
	w.provider = server
	w.t.Cleanup(server.Close)
	tenant = entratest.NewSharingKey(server.URL, entratest.App{ClientID: "5a111900-0000-4000-8000-000000000001", Secret: "the client secret",
		RedirectURIs: []string{"https://" + loginHost + "/.sallyport/callback"}})
	w.entra = tenant
}

// configure writes a configuration that allows the members of group.
func (w *world) configure(group string) {
	w.t.Helper()
	writeFile(w.t, w.dir, "sallyport.yaml", fmt.Appendf(nil, `public_url: https://%s
listen: {public: 127.0.0.1:0, scim: 127.0.0.1:0, ops: 127.0.0.1:0}
tls: {cert_file: tls.crt, key_file: tls.key}
store: {bolt: {path: data/sallyport.db}}
control: {socket: data/control.sock}
oidc:
  issuer: %s
  client_id: %s
  client_secret_file: secrets/oidc
  api_audiences: [%s]
  ca_file: ca.pem
policies:
  - name: members
    rules:
      - allow: {groups: [{id: %s, name: Members}]}
routes:
  - name: app
    host: %s
    upstream: %s
    policy: [members]
    owner: owner@example.com
  - name: api
    host: %s
    upstream: %s
    accept: [bearer]
    policy: [members]
`, loginHost, w.entra.Issuer(), w.entra.ClientID(), audience, group, appHost, w.upstream.URL, apiHost, w.upstream.URL))
}

// start starts a server. With a database, it has a lease when start returns.
func (w *world) start(flags ...string) *running {
	w.t.Helper()
	s := start(w.t, w.dir, flags...)
	if w.database != nil {
		s.awaitReady(w.t)
	}
	return s
}

// pusher returns a client that pushes to s, with one token for all clients of this world.
func (w *world) pusher(s *running) *pusher {
	w.t.Helper()
	if w.token == "" {
		var created struct{ Token string }
		if err := json.Unmarshal([]byte(s.verb("token", "create", "entra", "-o", "json")), &created); err != nil {
			w.t.Fatal(err)
		}
		w.token = created.Token
	}
	client := newClient(w.t, w.ca, map[string]string{loginHost + ":443": s.addrs["scim"]})
	return &pusher{t: w.t, base: "https://" + loginHost + "/scim/v2", token: w.token, client: client}
}

// browser is a person's browser.
type browser struct {
	t      testing.TB
	client *http.Client
	addr   string // of the public listener
	ca     *authority
}

func (w *world) newBrowser(s *running) *browser {
	public := s.addrs["public"]
	hosts := map[string]string{}
	for _, host := range []string{loginHost, appHost, apiHost} {
		hosts[host+":443"] = public
	}
	return &browser{w.t, newClient(w.t, w.ca, hosts), public, w.ca}
}

// navigate opens a page as a browser does, and follows redirects.
func (b *browser) navigate(target string) (status int, body string) {
	b.t.Helper()
	resp, err := b.open(target)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return resp.StatusCode, string(data)
}

// open is navigate without an end of the test.
func (b *browser) open(target string) (*http.Response, error) {
	req, err := http.NewRequest(http.MethodGet, target, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "text/html")
	req.Header.Set("Sec-Fetch-Mode", "navigate")
	req.Header.Set("Sec-Fetch-Dest", "document")
	return b.client.Do(req)
}

// signIn opens the application, and demands that its page is shown.
func (b *browser) signIn() {
	b.t.Helper()
	if status, body := b.navigate("https://" + appHost + "/"); status != http.StatusOK || !strings.HasPrefix(body, "hello ") {
		b.t.Fatalf("signing in ends with %d:\n%s", status, body)
	}
}

// fetch sends a request to the application as a script does, follows no redirect, and returns the status.
func (b *browser) fetch(path string) int {
	b.t.Helper()
	resp := b.get("https://"+appHost+path, "")
	_ = resp.Body.Close()
	return resp.StatusCode
}

// get sends a request as a script does, with a bearer token unless it is empty, and follows no redirect.
func (b *browser) get(target, bearer string) *http.Response {
	b.t.Helper()
	req, err := http.NewRequest(http.MethodGet, target, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	req.Header.Set("Accept", "application/json")
	if bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
	}
	once := *b.client
	once.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, err := once.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	return resp
}

// cookies returns the cookies that the browser sends to host.
func (b *browser) cookies(host string) []*http.Cookie {
	return b.client.Jar.Cookies(&url.URL{Scheme: "https", Host: host, Path: "/"})
}

func mustParseURL(t testing.TB, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// secure returns cookies read from a jar as they must be to be put into another.
func secure(cookies []*http.Cookie) (complete []*http.Cookie) {
	for _, c := range cookies {
		complete = append(complete, &http.Cookie{Name: c.Name, Value: c.Value, Path: "/", Secure: true})
	}
	return complete
}

func runCommand(path string, args ...string) (string, error) {
	out, err := exec.Command(path, args...).CombinedOutput()
	return string(out), err
}
