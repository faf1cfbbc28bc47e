package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"sallyport/config"
	"sallyport/oidc"
)

// settingsInForce are what a reload can change, as far as it can be seen.
type settingsInForce struct {
	hosts, sinks, basis, scim, certificate, publicURL string
	provider, workloads                               any
	connections                                       float64
	debug                                             bool
}

// inProcess runs a server within the test. Commands reach it by the result's second part.
func (w *world) inProcess() (*server, *running) {
	w.t.Helper()
	path := filepath.Join(w.dir, "sallyport.yaml")
	file, err := config.Load(path)
	if err != nil {
		w.t.Fatal(err)
	}
	log := new(lockedText)
	s, err := openServer(w.t.Context(), path, file, true, newSuccession("", nil), newLogger(log, file.Log))
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := s.Run(ctx, nil); err != nil {
			w.t.Errorf("the server: %v", err)
		}
	})
	w.t.Cleanup(func() { stop(); serving.Wait() })
	for deadline := time.Now().Add(20 * time.Second); s.proxy.Provider().LogoutURL(oidc.LogoutRequest{}) == ""; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			w.t.Fatal("the identity provider is not found")
		}
	}
	r := &running{t: w.t, dir: w.dir, addrs: map[string]string{}}
	for _, m := range regexp.MustCompile(`"server":"(\w+)","addr":"([^"]+)"`).FindAllStringSubmatch(log.String(), -1) {
		r.addrs[m[1]] = m[2]
	}
	return s, r
}

func (s *server) settings(t *testing.T) settingsInForce {
	t.Helper()
	in := settingsInForce{hosts: fmt.Sprint(s.proxy.Hosts()), basis: s.proxy.Provider().Basis(), scim: fmt.Sprintf("%+v", s.scim.Load().Settings()),
		certificate: fmt.Sprint(s.certs().InUse()), publicURL: s.reloader.PublicURL(), provider: s.proxy.Provider(), workloads: s.workloads.now(),
		debug: s.log.Enabled(t.Context(), slog.LevelDebug)}
	for _, k := range s.components.sinks.Status() {
		in.sinks += k.Name + " "
	}
	in.connections = testutil.ToFloat64(s.connections.public.Collectors()[2])
	return in
}

// TestApply_IsAllOrNothing reloads files in which almost every section differs, and one part cannot be used: nothing changes.
// Without the fault, everything does.
func TestApply_IsAllOrNothing(t *testing.T) {
	w := newWorld(t)
	s, _ := w.inProcess()
	silent := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(silent.Close)
	path := filepath.Join(w.dir, "sallyport.yaml")
	former := string(readFile(t, path))
	cert, key := w.ca.issue(t, loginHost, appHost, apiHost, "new.test")
	writeFile(t, w.dir, "new.crt", cert)
	writeFile(t, w.dir, "new.key", key)
	writeFile(t, w.dir, "secrets/new", []byte("another secret\n"))
	writeFile(t, w.dir, "secrets/empty", []byte("\n"))
	writeFile(t, w.dir, "secrets/unreadable", nil)
	if err := os.Remove(filepath.Join(w.dir, "secrets/unreadable")); err != nil {
		t.Fatal(err)
	}
	changed := former
	for _, c := range [][2]string{
		{"cert_file: tls.crt, key_file: tls.key", "cert_file: new.crt, key_file: new.key"},
		{"client_secret_file: secrets/oidc", "client_secret_file: secrets/new"},
		{"  ca_file: ca.pem\n", "  ca_file: ca.pem\n  user_claim: sub\n"},
		{"control:", "session: {lifetime: 2h, idle: 10m}\nhistory: off\nlog: {level: debug, format: text}\nlimits: {connections: 77}\n" +
			"scim: {max_deactivations: {count: 7, per: 1m}, oauth: {issuer: '" + w.entra.Issuer() + "', audiences: [a], client_ids: [c], ca_file: ca.pem}}\n" +
			"audit: {rotate: {size: 1MiB}, on_failure: allow, sinks: [{name: copy, file: {path: data/copy.jsonl}}]}\ncontrol:"},
		{"  - name: api\n", "  - {name: new, host: new.test, upstream: 'http://127.0.0.1:1', policy: [members]}\n  - name: api\n"},
	} {
		changed = replaced(c[0], c[1])(changed)
	}
	before := s.settings(t)
	for name, c := range map[string]struct{ old, new, why string }{
		"tests":             {"routes:", "tests: [{as: anonymous, get: new.test/, want: allow}]\nroutes:", "want allow"},
		"certificate":       {"key_file: new.key", "key_file: tls.key", "tls.key"},
		"webhook":           {"routes:", "webhooks: [{url: 'https://localhost/', secret_file: secrets/new}]\nroutes:", "webhooks[0]"},
		"sink":              {"file: {path: data/copy.jsonl}", "https: {url: 'ftp://x/'}", "audit.sinks[0]"},
		"scim.oauth":        {"issuer: '" + w.entra.Issuer() + "'", "issuer: '" + silent.URL + "'", "scim.oauth"},
		"scim.oauth.ca":     {"client_ids: [c], ca_file: ca.pem", "client_ids: [c], ca_file: tls.crt", "certificate"},
		"empty_secret":      {"secrets/new", "secrets/empty", "client_secret_file"},
		"unreadable_secret": {"secrets/new", "secrets/unreadable", "client_secret_file"},
		"issuer":            {"issuer: " + w.entra.Issuer() + "\n", "issuer: " + silent.URL + "\n", silent.URL},
		"bearer_issuer":     {"  user_claim: sub\n", "  bearer_issuers: [{issuer: '" + silent.URL + "', audiences: [a]}]\n", silent.URL},
		"route":             {"upstream: 'http://127.0.0.1:1'", "upstream: 'https://127.0.0.1:1', upstream_tls: {ca_file: secrets/new}", "new"},
		"rules":             {"id: " + w.group, "idd: " + w.group, "idd"},
		"session":           {"lifetime: 2h", "lifetime: 1s", "session.lifetime"},
		"limits":            {"connections: 77", "connections: -1", "limits.connections"},
		"log":               {"level: debug", "level: loud", "log.level"},
		"history":           {"history: off", "history: 1s", "history"},
	} {
		t.Run(name, func(t *testing.T) {
			writeFile(t, w.dir, "sallyport.yaml", []byte(replaced(c.old, c.new)(changed)))
			if err := s.admin.Reload(t.Context(), causeSignal); err == nil || !strings.Contains(err.Error(), c.why) {
				t.Errorf("the error does not name %s: %v", c.why, err)
			}
			if after := s.settings(t); after != before {
				t.Errorf("something has changed:\n%+v\n%+v", before, after)
			}
		})
	}
	writeFile(t, w.dir, "sallyport.yaml", []byte(changed))
	if err := s.admin.Reload(t.Context(), causeSignal); err != nil {
		t.Fatal(err)
	}
	after := s.settings(t)
	if after.hosts == before.hosts || after.basis == before.basis || after.scim == before.scim || after.certificate == before.certificate ||
		after.provider == before.provider || after.workloads == before.workloads || after.connections != 77 || !after.debug || after.sinks != "copy " {
		t.Errorf("something has not changed:\n%+v\n%+v", before, after)
	}
	if keys := s.reloader.NeedRestart(); len(keys) > 0 {
		t.Errorf("%q are said to need a restart", keys)
	}
	writeFile(t, w.dir, "sallyport.yaml", []byte(former))
	if err := s.admin.Reload(t.Context(), causeSignal); err != nil {
		t.Fatal(err)
	}
	if back := s.settings(t); back.hosts != before.hosts || back.basis != before.basis || back.scim != before.scim || back.workloads != nil || back.debug || back.sinks != "" {
		t.Errorf("back again, the settings are\n%+v\nand not\n%+v", back, before)
	}
}

// TestApply_WaitsForRestartWithTheJoin changes how users are found: claim and attribute belong together, so neither is in
// force before a restart, but a new client secret is.
func TestApply_WaitsForRestartWithTheJoin(t *testing.T) {
	w := newWorld(t)
	s, _ := w.inProcess()
	before := s.proxy.Provider()
	w.rewrite("  ca_file: ca.pem\n", "  ca_file: ca.pem\n  user_claim: sub\n  user_attribute: userName\n")
	writeFile(t, w.dir, "secrets/oidc", []byte("another secret\n"))
	if err := s.admin.Reload(t.Context(), causeSignal); err != nil {
		t.Fatal(err)
	}
	if keys := s.reloader.NeedRestart(); !slices.Equal(keys, []string{"oidc"}) {
		t.Errorf("%q are said to need a restart", keys)
	}
	if after := s.proxy.Provider(); after.Basis() != before.Basis() || after == before {
		t.Errorf("the basis is %s, and was %s; the provider is the same: %t", after.Basis(), before.Basis(), after == before)
	}
}

// TestApply_MovesTheLogin changes public_url: the identity provider is asked to send browsers to the new host, which serves the
// login, and SCIM with scim.on_public.
func TestApply_MovesTheLogin(t *testing.T) {
	w := newWorld(t)
	w.rewrite("control:", "scim: {on_public: true}\ncontrol:")
	s, r := w.inProcess()
	w.rewrite("public_url: https://"+loginHost, "public_url: https://new."+loginHost)
	if err := s.admin.Reload(t.Context(), causeSignal); err != nil {
		t.Fatal(err)
	}
	if keys := s.reloader.NeedRestart(); len(keys) > 0 {
		t.Errorf("%q are said to need a restart", keys)
	}
	if uri := s.proxy.Provider().RedirectURI(); uri != "https://new."+loginHost+"/.sallyport/callback" {
		t.Errorf("the redirect URI is %s", uri)
	}
	if url := s.reloader.PublicURL(); url != "https://new."+loginHost {
		t.Errorf("the URL in force is %s", url)
	}
	client := newClient(t, w.ca, map[string]string{loginHost + ":443": r.addrs["public"]})
	for host, want := range map[string]int{loginHost: http.StatusNotFound, "new." + loginHost: http.StatusUnauthorized} {
		req, err := http.NewRequest(http.MethodGet, "https://"+loginHost+"/scim/v2/Users", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = host
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("SCIM on %s gets %d, want %d", host, resp.StatusCode, want)
		}
	}
}

// TestApply_UnderLoad reloads two files in turn, in which almost every section differs, while people sign in and use the
// application, applications call, and the identity provider pushes: nothing fails, and what is live goes on.
func TestApply_UnderLoad(t *testing.T) {
	w := newWorld(t)
	w.rewrite("listen: {", "history: 10h\nlisten: {")
	s, r := w.inProcess()
	stage := w.settle(r)
	live := stage.openAll(t)
	w.entra.AddSecret("another secret")
	writeFile(t, w.dir, "secrets/new", []byte("another secret\n"))
	former := string(readFile(t, filepath.Join(w.dir, "sallyport.yaml")))
	other := former
	for _, c := range [][2]string{
		{"client_secret_file: secrets/oidc", "scopes: [openid]\n  client_secret_file: secrets/new"},
		{"history: 10h", "history: off"},
		{"api_audiences: [", "api_audiences: [api://other, "},
		{"control:", "session: {lifetime: 2h, idle: 10m, max_sessions: 1000}\nlog: {level: debug, format: text}\nlimits: {connections: 777}\n" +
			"scim: {on_public: true, max_deactivations: {count: 7, per: 1m}, oauth: {issuer: '" + w.entra.Issuer() + "', audiences: [a], client_ids: [c], ca_file: ca.pem}}\n" +
			"audit: {rotate: {size: 64KiB}, on_failure: allow, sinks: [{name: copy, file: {path: data/copy.jsonl}}]}\ncontrol:"},
		{"  - name: api\n", "  - {name: new, host: new.test, upstream: 'http://127.0.0.1:1', policy: [members]}\n  - name: api\n"},
	} {
		other = replaced(c[0], c[1])(other)
	}
	stop, token := make(chan struct{}), w.entra.AccessToken(stage.person, audience, nil)
	var load sync.WaitGroup
	repeat := func(what string, call func() (int, error)) {
		load.Go(func() { callUntil(t, stop, what, call) })
	}
	session, bearer := w.newBrowserWith(r, stage.browser).client, w.newBrowser(r).client
	repeat("a session", func() (int, error) { return getStatus(session, "https://"+appHost+"/", "") })
	repeat("an access token", func() (int, error) { return getStatus(bearer, "https://"+apiHost+"/", token) })
	repeat("a push", func() (int, error) {
		status, _, err := stage.push.try("GET", "/Users/"+stage.alice, nil)
		return status, err
	})
	repeat("a sign-in", func() (int, error) {
		time.Sleep(50 * time.Millisecond) // an address may start 20 a second
		resp, err := w.newBrowser(r).open("https://" + appHost + "/")
		if err != nil {
			return 0, err
		}
		return resp.StatusCode, resp.Body.Close()
	})
	for n := range 20 {
		writeFile(t, w.dir, "sallyport.yaml", []byte([]string{other, former}[n%2]))
		if err := s.admin.Reload(t.Context(), causeSignal); err != nil {
			t.Error(err)
		}
		if n%3 == 0 {
			stage.push.send("POST", "/Users", map[string]any{"schemas": []string{"urn:ietf:params:scim:schemas:core:2.0:User"}, "userName": fmt.Sprintf("u%d", n)}, http.StatusCreated)
		}
		time.Sleep(20 * time.Millisecond)
	}
	close(stop)
	load.Wait()
	for _, l := range live {
		select {
		case <-l.ended:
			t.Errorf("the %s has ended", l.name)
		default:
		}
	}
	r.verb("audit", "verify")
}

// TestReload_ReplacesClientSecret writes another client secret into its file, of which the server notices by itself: sign-ins
// go on, also one that began before, and nothing that is live ends. A file that holds no secret changes nothing.
func TestReload_ReplacesClientSecret(t *testing.T) {
	s := newStage(t)
	requests := s.openAll(t)
	writeFile(t, s.dir, "secrets/oidc", []byte("\n"))
	await(t, s.server, "sallyport_config_last_reload_successful 0\n")
	awaitLog(t, s.server, "must hold the secret alone")
	s.newBrowser(s.server).signIn()

	s.entra.AddSecret("the second secret")
	s.entra.SignIn("") // the browser stays at the page to pick an account
	begun := s.newBrowser(s.server)
	status, page := begun.navigate("https://" + appHost + "/")
	writeFile(t, s.dir, "secrets/oidc", []byte("the second secret\n"))
	await(t, s.server, "sallyport_config_last_reload_successful 1\n")
	s.entra.RemoveSecret("the client secret")
	s.entra.SignIn(s.person.OID)
	s.newBrowser(s.server).signIn()
	link := regexp.MustCompile(`(?:href|action)="([^"]*)"`).FindStringSubmatch(page)
	if status != http.StatusOK || link == nil {
		t.Fatalf("the page to pick an account is %d\n%s", status, page)
	}
	begun.signIn()
	for _, l := range requests {
		select {
		case <-l.ended:
			t.Errorf("the %s has ended", l.name)
		default:
		}
	}
	if code := s.browser.fetch("/"); code != http.StatusOK {
		t.Errorf("with the session from before, Alice gets %d", code)
	}
	if log := s.server.log(); strings.Contains(log, "the second secret") || strings.Contains(log, "the client secret") {
		t.Error("a secret is in the log")
	}
}

// TestReload_EndsWhatAnotherProviderLetIn changes the registration of the client: everybody signs in again, and what is live
// by a former sign-in ends.
func TestReload_EndsWhatAnotherProviderLetIn(t *testing.T) {
	s := newStage(t)
	requests := s.openAll(t)
	s.rewrite("client_id: "+s.entra.ClientID(), "client_id: 5a111900-0000-4000-8000-000000000002")
	if out := s.server.verb("reload"); out != "reloaded; all of the file is in force\n" {
		t.Error(out)
	}
	s.demandCut(t, requests, http.StatusUnauthorized)
	s.rewrite("client_id: 5a111900-0000-4000-8000-000000000002", "client_id: "+s.entra.ClientID())
	s.server.verb("reload")
	s.browser.signIn()
	s.server.verb("audit", "verify")
}

// TestReload_AppliesSettingsOfSCIM serves SCIM on the public listener from one reload to the next.
func TestReload_AppliesSettingsOfSCIM(t *testing.T) {
	s := newStage(t)
	public := *s.push
	public.client = newClient(t, s.ca, map[string]string{loginHost + ":443": s.server.addrs["public"]})
	demand := func(when string, want bool) {
		t.Helper()
		if status, _, _ := public.try("GET", "/Users", nil); (status == http.StatusOK) != want {
			t.Errorf("%s, the public listener responds with %d", when, status)
		}
		if status, _, err := s.push.try("GET", "/Users", nil); status != http.StatusOK {
			t.Errorf("%s, the SCIM listener responds with %d, %v", when, status, err)
		}
	}
	demand("at first", false)
	s.rewrite("control:", "scim: {on_public: true}\ncontrol:")
	s.server.verb("reload")
	demand("with on_public", true)
	s.rewrite("scim: {on_public: true}\n", "")
	s.server.verb("reload")
	demand("without it again", false)
}

// TestReload_AppliesLog changes format and level of the log while loggers are in use.
func TestReload_AppliesLog(t *testing.T) {
	out := new(lockedText)
	log := newLogger(out, config.Log{Level: "info", Format: "json"})
	derived := log.With("server", "public").WithGroup("request")
	derived.Debug("hidden")
	derived.Info("first", "code", 200)
	log.Handler().(*logHandler).settings.use(config.Log{Level: "debug", Format: "text"})
	derived.Debug("second", "code", 200)
	log.Handler().(*logHandler).settings.use(config.Log{Level: "error", Format: "json"})
	derived.Info("hidden")
	derived.Error("third", "code", 200)
	text := out.String()
	for _, want := range []string{`"msg":"first","server":"public","request":{"code":200}`, `msg=second server=public request.code=200`, `"msg":"third","server":"public"`} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
	if strings.Contains(text, "hidden") {
		t.Errorf("what is below the level is written:\n%s", text)
	}
}

// lockedText is text that several goroutines write.
type lockedText struct {
	mu   sync.Mutex // guards text
	text bytes.Buffer
}

func (l *lockedText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lockedText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// runnerFunc is a function as a runner.
type runnerFunc struct{ run func(context.Context) error }

func (r *runnerFunc) Run(ctx context.Context) error { return r.run(ctx) }

// TestSuccessive_RunsOneAtATime puts runners one after the other, faster than they end: no two run at once, the last one does,
// and each that began has ended.
func TestSuccessive_RunsOneAtATime(t *testing.T) {
	var mu sync.Mutex
	running, most, last := 0, 0, -1
	numbered := func(n int) runner {
		return &runnerFunc{func(ctx context.Context) error {
			mu.Lock()
			running, last = running+1, n
			most = max(most, running)
			mu.Unlock()
			<-ctx.Done()
			time.Sleep(time.Millisecond)
			mu.Lock()
			running--
			mu.Unlock()
			return ctx.Err()
		}}
	}
	ctx, stop := context.WithCancel(t.Context())
	s := newSuccessive(numbered(0))
	ended := make(chan error)
	go func() { ended <- s.Run(ctx) }()
	for n := range 20 {
		s.Put(numbered(n + 1))
		if n%5 == 1 {
			s.Put(nil)
		}
		time.Sleep(time.Duration(n%3) * time.Millisecond)
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		mu.Lock()
		n := last
		mu.Unlock()
		if n == 20 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the last is %d", n)
		}
	}
	stop()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("Run returns %v", err)
	}
	if running != 0 || most != 1 {
		t.Errorf("%d run at the end, and %d ran at once", running, most)
	}
	failed := fmt.Errorf("it fails")
	if err := newSuccessive(&runnerFunc{func(context.Context) error { return failed }}).Run(t.Context()); !errors.Is(err, failed) {
		t.Errorf("Run returns %v", err)
	}
}
