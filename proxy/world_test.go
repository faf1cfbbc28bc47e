package proxy

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sallyport/audit"
	"sallyport/console"
	"sallyport/directory"
	"sallyport/entratest"
	"sallyport/oidc"
	"sallyport/policy"
	"sallyport/session"
	"sallyport/store/bolt"
)

// Hosts and groups that every world has.
const (
	loginHost  = "login.example.com"
	appHost    = "app.example.com"   // signed in, of group staff
	openHost   = "open.example.com"  // anyone
	apiHost    = "api.example.com"   // bearer tokens alone
	lenientApp = "files.example.com" // signed in, of group staff; lenient paths
	staff      = "61503835-0000-0000-0000-000000000001"
	admins     = "61503835-0000-0000-0000-000000000002"
	audience   = "api://sallyport"
	patience   = 10 * time.Second // what takes longer counts as never
)

// world is a proxy with real parts, between a real client and a real upstream.
type world struct {
	t         testing.TB
	ctx       context.Context
	proxy     *Proxy
	directory *directory.Directory
	sessions  *session.Sessions
	provider  *oidc.Provider
	tenant    *entratest.Tenant
	record    string // path of the audit record

	stopDirectory context.CancelFunc // ends the directory's Run alone
	settings      Settings
	server        *httptest.Server
	upstream      *httptest.Server
	upstreamCA    string // file; "" where it speaks HTTP

	mu      sync.Mutex // guards handler
	handler http.Handler
}

// newWorld returns a world with the usual users: alice is in the group staff, bob in none. change, which may be nil,
// alters the settings before they are in force.
func newWorld(t testing.TB, change func(*Settings)) *world {
	t.Helper()
	w := &world{t: t, handler: http.HandlerFunc(mirror)}
	w.openUpstream()
	w.settings = usualSettings(w.upstream.URL)
	for i := range w.settings.Routes {
		w.settings.Routes[i].UpstreamTLS.CAFile = w.upstreamCA
	}
	if change != nil {
		change(&w.settings)
	}
	for i, r := range w.settings.Routes {
		if w.upstreamCA != "" && !strings.HasPrefix(r.Upstream[0], "https:") {
			w.settings.Routes[i].UpstreamTLS = UpstreamTLS{}
		}
	}
	w.openParts()
	w.push()
	w.server = httptest.NewUnstartedServer(w.proxy)
	w.server.EnableHTTP2 = true
	w.server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	w.server.StartTLS()
	t.Cleanup(w.server.CloseClientConnections) // streams would keep Close waiting
	return w
}

// openUpstream starts the upstream: over HTTP, for which the proxy has its own transport, or with UPSTREAM=https in the
// environment over TLS, for which it uses that of net/http. The tests must pass with both.
func (w *world) openUpstream() {
	w.upstream = httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { w.behind().ServeHTTP(rw, r) }))
	w.t.Cleanup(w.upstream.Close)
	if os.Getenv("UPSTREAM") != "https" {
		w.upstream.Start()
		return
	}
	w.upstream.StartTLS()
	w.upstreamCA = filepath.Join(w.t.TempDir(), "ca.pem")
	w.must(os.WriteFile(w.upstreamCA, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: w.upstream.Certificate().Raw}), 0o600))
}

func usualSettings(upstream string) Settings {
	s := Defaults()
	s.PublicURL = "https://" + loginHost
	s.Policies = []policy.Named{
		{Name: "staff", Rules: []policy.Rule{
			{Allow: &policy.Match{Groups: []policy.GroupRef{{ID: staff, Name: "Staff"}}}},
			{Deny: &policy.Match{Paths: []string{"/secret/**"}, UnlessGroups: []policy.GroupRef{{ID: admins, Name: "Admins"}}}},
		}},
		{Name: "all", Rules: []policy.Rule{{Allow: &policy.Match{Anyone: true}}}},
	}
	s.Routes = []Route{
		{Name: "app", Host: appHost, Upstream: Upstreams{upstream}, Policy: []string{"staff"}, Owner: "owner@example.com"},
		{Name: "open", Host: openHost, Upstream: Upstreams{upstream}, Policy: []string{"all"}},
		{Name: "api", Host: apiHost, Path: "/v1", Upstream: Upstreams{upstream}, Policy: []string{"staff"}, Accept: []string{"bearer"}},
		{Name: "files", Host: lenientApp, Upstream: Upstreams{upstream}, Policy: []string{"staff"}, PathEncoding: "lenient"},
	}
	return s
}

func (w *world) openParts() {
	t := w.t
	ctx, stop := context.WithCancel(context.Background())
	w.ctx = ctx
	st, err := bolt.Open(filepath.Join(t.TempDir(), "sallyport.db"), bolt.Options{Init: true})
	w.must(err)
	w.directory, err = directory.Open(ctx, st, "externalId")
	w.must(err)
	w.sessions, err = session.Open(ctx, st, session.Defaults())
	w.must(err)
	w.record = filepath.Join(t.TempDir(), "audit.jsonl")
	record, err := audit.Open(w.record)
	w.must(err)
	w.openProvider()
	pages, err := console.New()
	w.must(err)
	w.proxy, err = New(Parts{Directory: w.directory, Sessions: w.sessions, Provider: w.provider, Audit: record, Pages: pages,
		Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
	w.must(err)
	w.must(w.proxy.Load(w.settings))
	var running sync.WaitGroup
	following, stopFollowing := context.WithCancel(ctx)
	w.stopDirectory = stopFollowing
	follow := func(context.Context) error { return w.directory.Run(following) }
	for _, run := range []func(context.Context) error{follow, w.sessions.Run, w.provider.Run, w.proxy.Run} {
		running.Go(func() {
			if err := run(ctx); err != nil && !errors.Is(err, context.Canceled) {
				t.Errorf("a room ended: %v", err)
			}
		})
	}
	t.Cleanup(func() {
		stop()
		running.Wait()
		record.Close()
		st.Close()
	})
}

func (w *world) openProvider() {
	t := w.t
	var tenant *entratest.Tenant
	issuer := httptest.NewTLSServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { tenant.ServeHTTP(rw, r) }))
	t.Cleanup(issuer.Close)
	tenant = entratest.New(issuer.URL, entratest.App{ClientID: "sallyport", Secret: "s3cret", RedirectURIs: []string{"https://" + loginHost + callbackPath}})
	w.tenant = tenant
	dir := t.TempDir()
	secret, ca := filepath.Join(dir, "secret"), filepath.Join(dir, "ca.pem")
	w.must(os.WriteFile(secret, []byte("s3cret\n"), 0o600))
	w.must(os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: issuer.Certificate().Raw}), 0o600))
	s := oidc.Defaults()
	s.Issuer, s.ClientID, s.ClientSecretFile, s.CAFile, s.APIAudiences = tenant.Issuer(), "sallyport", secret, ca, []string{audience}
	public, err := url.Parse(w.settings.PublicURL)
	w.must(err)
	w.provider, err = oidc.New(s, public, slog.New(slog.DiscardHandler))
	w.must(err)
}

// push adds the usual users and groups.
func (w *world) push() {
	w.update(func(tx *directory.Tx) error {
		for id, name := range map[string]string{staff: "Staff", admins: "Admins"} {
			if err := tx.PutGroup(&directory.Group{ExternalID: id, DisplayName: name}); err != nil {
				return err
			}
		}
		return nil
	})
	w.hire("alice", staff)
	w.hire("bob")
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) update(f func(*directory.Tx) error) {
	w.t.Helper()
	w.must(w.directory.Update(w.ctx, f))
}

// userDocument is the SCIM document of a person.
func userDocument(p entratest.Person) []byte {
	return fmt.Appendf(nil, `{"displayName":%q,"emails":[{"type":"work","value":%q}]}`, p.Name, p.Mail)
}

// hire adds an active user to the tenant, the directory and groups.
func (w *world) hire(name string, groups ...string) entratest.Person {
	w.t.Helper()
	p := w.tenant.Add(entratest.Person{UPN: name + "@example.com", Name: strings.ToUpper(name[:1]) + name[1:] + " Doe", Mail: name + "@example.com"})
	w.update(func(tx *directory.Tx) error {
		u := directory.User{ExternalID: p.OID, UserName: p.UPN, Active: true, Document: userDocument(p)}
		if err := tx.PutUser(&u); err != nil {
			return err
		}
		for _, id := range groups {
			g, err := tx.GroupByExternalID(id)
			if err != nil {
				return err
			}
			if _, err := tx.AddMembers(g.ID, []string{u.ID}); err != nil {
				return err
			}
		}
		return nil
	})
	return p
}

func (w *world) person(name string) entratest.Person {
	w.t.Helper()
	for _, p := range w.tenant.People() {
		if p.UPN == name+"@example.com" {
			return p
		}
	}
	w.t.Fatalf("nobody is called %s", name)
	return entratest.Person{}
}

func (w *world) user(name string) *directory.User {
	w.t.Helper()
	u, ok := w.directory.Lookup(w.person(name).OID)
	if !ok {
		w.t.Fatalf("the directory does not know %s", name)
	}
	return u
}

// setActive activates or deactivates a user.
func (w *world) setActive(name string, active bool) {
	w.t.Helper()
	id := w.user(name).ID
	w.update(func(tx *directory.Tx) error {
		u, err := tx.User(id)
		if err != nil {
			return err
		}
		u.Active = active
		return tx.PutUser(&u)
	})
}

// leave removes a user from a group.
func (w *world) leave(name, group string) {
	w.t.Helper()
	id := w.user(name).ID
	w.update(func(tx *directory.Tx) error {
		g, err := tx.GroupByExternalID(group)
		if err != nil {
			return err
		}
		_, err = tx.RemoveMembers(g.ID, []string{id})
		return err
	})
}

// signIn starts a session of a user and returns it with its Cookie header for host.
func (w *world) signIn(name, host string) (session.Session, string) {
	w.t.Helper()
	u := w.user(name)
	one, err := w.sessions.Begin(w.ctx, session.Session{User: u.ID, Epoch: u.Epoch, UserName: u.UserName, Subject: "subject of " + name, ProviderSession: newID()})
	w.must(err)
	token, err := w.sessions.NewToken(w.ctx, one.ID, host)
	w.must(err)
	return one, session.CookieName + "=" + token
}

// token returns an access token of a user, once the provider can verify it.
func (w *world) token(name string, change func(entratest.Claims)) string {
	w.t.Helper()
	text := w.tenant.AccessToken(w.person(name), audience, nil)
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) { // the provider is discovered in the background
		if _, err := w.provider.Bearer(w.ctx, text); err == nil {
			break
		} else if time.Now().After(deadline) {
			w.t.Fatal(err)
		}
	}
	return w.tenant.AccessToken(w.person(name), audience, change)
}

// behindIs sets the handler of the upstream.
func (w *world) behindIs(h http.HandlerFunc) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.handler = h
}

func (w *world) behind() http.Handler {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.handler
}

// client returns a client that sends HTTP/1.1 or, if h2, HTTP/2 to the proxy, whatever the host in the URL, and follows no
// redirects.
func (w *world) client(h2 bool) *http.Client {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(!h2)
	protocols.SetHTTP2(h2)
	transport := &http.Transport{
		Protocols: protocols,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, w.server.Listener.Addr().String())
		},
		TLSClientConfig:     &tls.Config{RootCAs: w.server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs, ServerName: "example.com"},
		DisableCompression:  true,
		MaxIdleConnsPerHost: 64,
	}
	w.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// get sends a GET with headers, in pairs, and reads the whole response.
func (w *world) get(c *http.Client, url string, headers ...string) (*http.Response, string) {
	w.t.Helper()
	return w.send(c, http.MethodGet, url, nil, headers...)
}

func (w *world) send(c *http.Client, method, url string, body io.Reader, headers ...string) (*http.Response, string) {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.ctx, method, url, body)
	w.must(err)
	for i := 0; i < len(headers); i += 2 {
		r.Header[headers[i]] = append(r.Header[headers[i]], headers[i+1])
	}
	res, err := c.Do(r)
	w.must(err)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	w.must(err)
	return res, string(text)
}

// raw sends bytes over TLS and HTTP/1.1 and returns the connection.
func (w *world) raw(text string) *tls.Conn {
	w.t.Helper()
	conn, err := tls.Dial("tcp", w.server.Listener.Addr().String(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}})
	w.must(err)
	w.t.Cleanup(func() { conn.Close() })
	w.must(conn.SetDeadline(time.Now().Add(patience)))
	_, err = io.WriteString(conn, text)
	w.must(err)
	return conn
}

// mirror responds with the request as the upstream received it: its line, host and headers.
func mirror(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Saw", r.Method+" "+r.RequestURI)
	w.Header().Set("X-Saw-Host", r.Host)
	_ = r.Header.Write(w)
}

// events returns the lines of the audit record of a kind.
func (w *world) events(kind audit.Kind) (list []string) {
	w.t.Helper()
	text, err := os.ReadFile(w.record)
	w.must(err)
	for line := range strings.Lines(string(text)) {
		if strings.Contains(line, `"kind":"`+string(kind)+`"`) {
			list = append(list, line)
		}
	}
	return list
}

// number returns the sum of the values of a metric whose labels include all those given, in pairs.
func (w *world) number(name string, labels ...string) float64 {
	w.t.Helper()
	reg := prometheus.NewRegistry()
	reg.MustRegister(w.proxy.Collectors()...)
	families, err := reg.Gather()
	w.must(err)
	sum := 0.0
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			has := map[string]string{}
			for _, l := range m.GetLabel() {
				has[l.GetName()] = l.GetValue()
			}
			matches := true
			for i := 0; i < len(labels); i += 2 {
				matches = matches && has[labels[i]] == labels[i+1]
			}
			if matches {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	return sum
}

// eventually waits until f returns true.
func (w *world) eventually(what string, f func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(patience); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			w.t.Fatalf("never happened: %s", what)
		}
	}
}

func jsonUnmarshal(text string, v any) error { return json.Unmarshal([]byte(text), v) }
