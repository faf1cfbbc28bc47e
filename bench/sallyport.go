package main

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"sallyport/entratest"
)

// The hosts of the configuration that is measured.
const (
	loginHost = "login.test"
	appHost   = "app.test"
	audience  = "api://sallyport"
)

// instance is a running sallyport, over HTTP or over TLS.
type instance struct {
	dir    string
	binary string
	secure bool
	pid    int
	addrs  map[string]string
	entra  *entratest.Tenant
}

// kind is what differs between the instances that are measured. Without any of it, members of a group get in with a session.
type kind struct {
	open    bool // the route is open to all, and requests prove nothing
	bearer  bool // requests have a bearer token
	refused bool // requests have no credential
	big     bool // the store has many users and sessions
	rules   int  // of the route; 0 is one
}

// startSallyport returns a function that starts an instance of the kind, and signs somebody in if its requests have a session.
func startSallyport(k kind) startFunc {
	return func(ctx context.Context, s *setup, r row) (target subject, err error) {
		program := r.program
		if program == "" {
			if program, err = s.build(ctx); err != nil {
				return target, err
			}
		}
		s.startProvider()
		d := &instance{dir: filepath.Join(s.dir, r.key), binary: program, secure: r.transport != plainHTTP1, entra: s.tenant}
		cookie, err := s.startInstance(ctx, d, s.alice, k)
		target = subject{address: d.addrs["public"], pid: d.pid, header: cookie, metrics: "http://" + d.addrs["ops"] + "/metrics"}
		switch {
		case k.bearer:
			target.header = "Authorization: Bearer " + s.tenant.AccessToken(s.alice, audience, nil)
		case k.refused:
			target.header, target.status = "", http.StatusUnauthorized
		}
		return target, err
	}
}

// build builds sallyport, unless that is done, and returns its path.
func (s *setup) build(ctx context.Context) (string, error) {
	if s.program != "" {
		return s.program, nil
	}
	binary := filepath.Join(s.dir, "sallyport")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", binary, "sallyport/cmd/sallyport").CombinedOutput(); err != nil {
		return "", fmt.Errorf("building: %w: %s", err, out)
	}
	s.program = binary
	return binary, nil
}

// startProvider starts the identity provider, with one person, unless it runs.
func (s *setup) startProvider() {
	if s.issuer != nil {
		return
	}
	s.issuer = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.tenant.ServeHTTP(w, r) }))
	s.tenant = entratest.New(s.issuer.URL, entratest.App{ClientID: "5a111900-0000-4000-8000-000000000001", Secret: "secret",
		RedirectURIs: []string{"https://" + loginHost + "/.sallyport/callback"}})
	s.alice = s.tenant.Add(entratest.Person{UPN: "alice@example.com", Name: "Alice"})
	s.tenant.SignIn(s.alice.OID)
}

// startInstance starts sallyport, pushes a person, signs them in and returns the header with their session cookie.
func (s *setup) startInstance(ctx context.Context, d *instance, person entratest.Person, k kind) (cookie string, err error) {
	if err := d.configure(s, k); err != nil {
		return "", err
	}
	if k.big {
		if err := fillStore(ctx, filepath.Join(d.dir, "sallyport.db")); err != nil {
			return "", fmt.Errorf("filling the store: %w", err)
		}
	}
	cmd := command(ctx, d.binary, "serve", "--init", "-c", d.file())
	log, err := cmd.StderrPipe()
	if err != nil {
		return "", err
	}
	if err := cmd.Start(); err != nil {
		return "", err
	}
	s.running = append(s.running, cmd)
	d.pid = cmd.Process.Pid
	if err := d.await(log); err != nil {
		return "", err
	}
	if err := d.push(person); err != nil {
		return "", err
	}
	if k.open {
		return "", nil
	}
	return d.signIn()
}

func (d *instance) file() string { return filepath.Join(d.dir, "sallyport.yaml") }

const members = "61503835-0000-0000-0000-000000000001"

func (d *instance) configure(s *setup, k kind) error {
	allow, security := "{groups: [{id: "+members+", name: Members}]}", "off: true"
	if k.open {
		allow = "{anyone: true}"
	}
	if d.secure {
		security = fmt.Sprintf("cert_file: %s/tls.crt, key_file: %s/tls.key", s.dir, s.dir)
	}
	if err := os.Mkdir(d.dir, 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(d.dir, "oidc"), []byte("secret\n"), 0o600); err != nil {
		return err
	}
	return os.WriteFile(d.file(), fmt.Appendf(nil, `public_url: https://%s
listen: {public: 127.0.0.1:0, scim: 127.0.0.1:0, ops: 127.0.0.1:0}
tls: {%s}
trusted_proxies: [127.0.0.0/8]
store: {bolt: {path: sallyport.db}}
control: {socket: control.sock}
oidc: {issuer: %s, client_id: %s, client_secret_file: oidc, api_audiences: [%s]}
policies: [{name: members, rules: [%s{allow: %s}]}]
routes: [{name: app, host: %s, upstream: "http://%s", policy: [members]}]
`, loginHost, security, d.entra.Issuer(), d.entra.ClientID(), audience, otherRules(k.rules-1), allow, appHost, s.upstream), 0o600)
}

// otherRules returns n rules for groups that nobody is in, some of which are for some paths or methods alone.
func otherRules(n int) string {
	var rules strings.Builder
	for i := range n {
		fmt.Fprintf(&rules, "{allow: {groups: [{id: 71503835-0000-0000-0000-%012d}]%s}}, ", i, []string{"", ", paths: [/, /reports/**]", ", methods: [GET, HEAD]"}[i%3])
	}
	return rules.String()
}

// await waits until every listener is open. It keeps reading the log, so that the process never blocks on it.
func (d *instance) await(log io.Reader) error {
	d.addrs = map[string]string{}
	lines := bufio.NewScanner(log)
	last := ""
	for len(d.addrs) < 4 && lines.Scan() {
		var l struct{ Msg, Server, Addr string }
		if last = lines.Text(); json.Unmarshal(lines.Bytes(), &l) == nil && l.Msg == "listening" {
			d.addrs[l.Server] = l.Addr
		}
	}
	if len(d.addrs) < 4 {
		return fmt.Errorf("sallyport did not start: %s", last)
	}
	go func() { _, _ = io.Copy(io.Discard, log) }()
	return nil
}

// push pushes a person and their group, like Entra.
func (d *instance) push(person entratest.Person) error {
	out, err := exec.Command(d.binary, "token", "create", "bench", "-o", "json", "-c", d.file()).Output()
	if err != nil {
		return fmt.Errorf("creating a token: %w", err)
	}
	var created struct{ Token string }
	if err := json.Unmarshal(out, &created); err != nil {
		return err
	}
	scheme := "http"
	if d.secure {
		scheme = "https"
	}
	p := &entratest.Provisioner{BaseURL: scheme + "://" + d.addrs["scim"] + "/scim/v2", Token: created.Token, Client: insecure()}
	user, err := p.CreateUser(person)
	if err != nil {
		return err
	}
	group, err := p.CreateGroup(entratest.Team{OID: members, Name: "Members"})
	if err != nil {
		return err
	}
	return p.AddMembers(group, user)
}

func insecure() *http.Client {
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
}

// signIn signs the person in, with a client that reaches all hosts at the instance.
func (d *instance) signIn() (cookie string, err error) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return "", err
	}
	client := &http.Client{Jar: jar, Transport: d}
	r, err := http.NewRequest(http.MethodGet, "https://"+appHost+"/", nil)
	if err != nil {
		return "", err
	}
	r.Header.Set("Sec-Fetch-Mode", "navigate")
	r.Header.Set("Accept", "text/html")
	resp, err := client.Do(r)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("the login ended with %s", resp.Status)
	}
	for _, c := range jar.Cookies(&url.URL{Scheme: "https", Host: appHost, Path: "/"}) {
		cookie = "Cookie: " + c.Name + "=" + c.Value
	}
	return cookie, nil
}

// RoundTrip sends requests for the configured hosts to the instance.
func (d *instance) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Host == appHost || r.URL.Host == loginHost {
		host := r.URL.Host
		r = r.Clone(r.Context())
		r.Host, r.URL.Host = host, d.addrs["public"]
		if !d.secure {
			r.URL.Scheme = "http"
		}
	}
	return insecure().Transport.RoundTrip(r)
}

// writeCertificate writes a self-signed tls.crt and its tls.key for all hosts.
func writeCertificate(dir string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: appHost}, DNSNames: []string{appHost, loginHost},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	if err := os.WriteFile(filepath.Join(dir, "tls.crt"), cert, 0o600); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "tls.key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), 0o600)
}
