package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"sallyport/entratest"
)

// The hosts of a company that browser/company made, and its administrator.
const (
	companyDomain = ".castle.localhost"
	companyLogin  = "login" + companyDomain
	streamHost    = "wiki" + companyDomain // open to all of the company; its upstream speaks HTTP/2
	loadHost      = "tickets" + companyDomain
	administrator = "ada"
	consoleRoot   = "https://" + companyLogin + "/.sallyport/console"
)

// site is a running server with a made-up company, and a browser in which its administrator is signed in.
type site struct {
	*instance
	*setup
	client *http.Client
	dir    string
	file   string
	paths  []string     // of pages, once they have been found
	pace   *time.Ticker // of requests for the console, which has a limit of 50 a second
}

// newSite builds sallyport, starts an upstream and a provider, and writes a configuration into the company's folder.
func newSite(ctx context.Context, dir string) (s *site, err error) {
	s = &site{setup: &setup{}, dir: dir, file: filepath.Join(dir, "bench.yaml"), pace: time.NewTicker(25 * time.Millisecond)}
	if s.setup.dir, err = os.MkdirTemp("", "sallyport-bench-"); err != nil {
		return s, err
	}
	s.instance = &instance{dir: dir, binary: filepath.Join(s.setup.dir, "sallyport"), secure: true}
	if err := writeCertificate(s.setup.dir); err != nil {
		return s, err
	}
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", s.binary, "sallyport/cmd/sallyport").CombinedOutput(); err != nil {
		return s, fmt.Errorf("building: %w: %s", err, out)
	}
	upstream, err := s.child(ctx, "streams")
	if err != nil {
		return s, err
	}
	s.upstream = upstream.address
	return s, s.configureCompany()
}

// configureCompany starts the provider, and writes the company's configuration with its words filled in.
func (s *site) configureCompany() error {
	template, err := os.ReadFile(filepath.Join(s.dir, "sallyport.template.yaml"))
	if err != nil {
		return err
	}
	secret, err := os.ReadFile(filepath.Join(s.dir, "secrets", "oidc"))
	if err != nil {
		return err
	}
	var tenant *entratest.Tenant
	s.issuer = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { tenant.ServeHTTP(w, r) }))
	tenant = entratest.New(s.issuer.URL, entratest.App{ClientID: "5a111900-0000-4000-8000-000000000001", Secret: strings.TrimSpace(string(secret)),
		RedirectURIs: []string{"https://" + companyLogin + "/.sallyport/callback"}})
	tenant.SignIn(tenant.Add(entratest.Person{OID: administrator, UPN: administrator + "@castle.example", Name: administrator}).OID)
	s.entra = tenant
	text := strings.NewReplacer("http://"+companyLogin+":PORT", "https://"+companyLogin, `"PUBLIC"`, "127.0.0.1:0", `"SCIM"`, "127.0.0.1:0", `"OPS"`, "127.0.0.1:0",
		"{off: true}", fmt.Sprintf("{cert_file: %[1]s/tls.crt, key_file: %[1]s/tls.key}", s.setup.dir), "limits: {connections: 1000}", "limits: {connections: 4000}",
		`"ISSUER"`, tenant.Issuer(), "client_id: CLIENT", "client_id: "+tenant.ClientID(), "user_claim: sub", "user_claim: oid, api_audiences: ["+audience+"]").Replace(string(template))
	text = regexp.MustCompile(`(host: `+regexp.QuoteMeta(streamHost)+`, upstream: )"UPSTREAM"`).ReplaceAllString(text, `${1}"h2c://`+s.upstream+`"`)
	return os.WriteFile(s.file, []byte(strings.ReplaceAll(text, `"UPSTREAM"`, "http://"+s.upstream)), 0o600)
}

// start starts the server, and returns how long it took until its listeners were open, and until it was ready.
func (s *site) start(ctx context.Context) (listening, ready time.Duration, err error) {
	cmd := exec.CommandContext(ctx, s.binary, "serve", "-c", s.file)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	log, err := cmd.StderrPipe()
	if err != nil {
		return 0, 0, err
	}
	begun := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, 0, err
	}
	s.running = append(s.running, cmd)
	s.pid = cmd.Process.Pid
	if err := s.await(log); err != nil {
		return 0, 0, err
	}
	listening = time.Since(begun)
	for {
		resp, err := http.Get("http://" + s.addrs["ops"] + "/readyz")
		if err != nil {
			return 0, 0, err
		}
		_ = resp.Body.Close()
		if resp.StatusCode == http.StatusOK {
			return listening, time.Since(begun), nil
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// awaitFigures waits until the record is counted, and returns how long that took and the most memory that the process had of
// its own meanwhile, in MiB.
func (s *site) awaitFigures(ctx context.Context) (took time.Duration, most float64, err error) {
	begun := time.Now()
	for asked := time.Now(); ; {
		most = max(most, memoryOf(s.pid).own)
		if time.Since(asked) > time.Second {
			asked = time.Now()
			out, err := exec.CommandContext(ctx, s.binary, "stats", "requests", "--since", "1h", "-o", "json", "-c", s.file).Output()
			if err != nil {
				return 0, 0, fmt.Errorf("asking for figures: %w", err)
			}
			var figures struct{ Counting bool }
			if err := json.Unmarshal(out, &figures); err != nil || !figures.Counting {
				return time.Since(begun), most, err
			}
		}
		select {
		case <-ctx.Done():
			return 0, 0, ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// signInto signs the administrator in to the console.
func (s *site) signInto(ctx context.Context) error {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return err
	}
	s.client = &http.Client{Jar: jar, Transport: s.transport()}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, consoleRoot+"/", nil)
	if err != nil {
		return err
	}
	r.Header.Set("Sec-Fetch-Mode", "navigate")
	r.Header.Set("Accept", "text/html")
	resp, err := s.client.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK || !strings.HasPrefix(resp.Request.URL.String(), consoleRoot) {
		return fmt.Errorf("signing in to the console ended at %s with %s", resp.Request.URL, resp.Status)
	}
	return nil
}

// transport returns a transport that reaches all hosts of the company at the server.
func (s *site) transport() *http.Transport {
	t := insecure().Transport.(*http.Transport) //nolint:errcheck,forcetypeassert // insecure returns one
	t.ForceAttemptHTTP2 = true
	t.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		host, _, err := net.SplitHostPort(address)
		if err == nil && strings.HasSuffix(host, companyDomain) {
			address = s.addrs["public"]
		}
		return new(net.Dialer).DialContext(ctx, network, address)
	}
	return t
}

// page asks for a page of the console, or another path below it.
func (s *site) page(ctx context.Context, below string) (body []byte, err error) {
	got, err := s.get(ctx, below)
	if err == nil && got.status != http.StatusOK {
		err = errors.New(http.StatusText(got.status))
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", below, err)
	}
	return got.body, nil
}
