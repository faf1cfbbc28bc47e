package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"sallyport/audit"
	"sallyport/config"
	"sallyport/store/postgres"
)

// metricNames are the names of all metrics, without their prefix. They are a contract with those who use them.
var metricNames = strings.Fields(`http_requests_total http_request_duration_seconds upstream_request_duration_seconds upstream_errors_total
upstream_targets_down live_requests trace_spans_total live_duration_seconds cuts_total live_ended_total decisions_total logins_total sessions_active breakglass_sessions sessions_ended_total jwt_verifications_total jwks_refreshes_total
scim_requests_total scim_request_duration_seconds scim_operations_total scim_quirks_total scim_last_request_timestamp_seconds
scim_held_deactivations scim_unlogged_total directory_users directory_groups directory_memberships directory_revision offboarding_enforcement_seconds store_transactions_total
store_size_bytes store_faults audit_events_total audit_write_errors_total audit_unrecorded_total config_last_reload_successful config_last_reload_success_timestamp_seconds build_info
tls_certificate_expiry_timestamp_seconds tls_hosts_without_certificate tls_orders_failed_total proxy_protocol_refused_total
connections connections_limit connections_closed_total webhook_deliveries_total webhook_queue audit_sink_sent_lines_total audit_sink_failed_attempts_total audit_sink_lost_lines_total
audit_sink_lag_lines audit_sink_lag_seconds grants_open requests_open reviews_overdue`)

// replicaMetricNames are those that only a store in PostgreSQL has.
var replicaMetricNames = strings.Fields(`replica_info store_lease_seconds store_lag_revisions store_lag_seconds store_replicas store_leads store_connections_total
store_lease_renewals_total store_lease_renewed_timestamp_seconds`)

// described returns the name of every metric that a server can report.
func described(t *testing.T, s *server) (names []string) {
	t.Helper()
	return namesOf(s.registry.Describe)
}

func namesOf(describe func(chan<- *prometheus.Desc)) (names []string) {
	out := make(chan *prometheus.Desc, 1000)
	describe(out)
	close(out)
	for d := range out {
		_, rest, _ := strings.Cut(d.String(), `fqName: "`)
		name, _, _ := strings.Cut(rest, `"`)
		if rest, ok := strings.CutPrefix(name, "sallyport_"); ok {
			names = append(names, rest)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func TestMetrics_HaveContractedNames(t *testing.T) {
	w := newWorld(t)
	file, err := config.Load(w.dir + "/sallyport.yaml")
	if err != nil {
		t.Fatal(err)
	}
	s, err := openServer(t.Context(), w.dir+"/sallyport.yaml", file, true, newSuccession("", nil), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer s.components.close()
	slices.Sort(metricNames)
	if got := described(t, s); !slices.Equal(got, metricNames) {
		t.Errorf("metrics are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(metricNames, "\n"))
	}
	page, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	if got := namesOf(postgres.Describe); !slices.Equal(got, slices.Sorted(slices.Values(append(replicaMetricNames, "store_transactions_total")))) {
		t.Errorf("metrics of a store in PostgreSQL are %v", got)
	}
	for _, name := range slices.Concat(metricNames, replicaMetricNames) {
		if !regexp.MustCompile("`" + name + "[`{]").Match(page) {
			t.Errorf("docs/operations.md does not explain %s", name)
		}
	}
	full := make([]string, len(metricNames))
	for i, name := range metricNames {
		full[i] = "sallyport_" + name
	}
	problems, err := testutil.GatherAndLint(s.registry, full...)
	if err != nil || len(problems) > 0 {
		t.Errorf("lint finds %v, %v", problems, err)
	}
}

// TestMetrics_Formats: /metrics speaks the text format, OpenMetrics, and the format that has native histograms.
func TestMetrics_Formats(t *testing.T) {
	s := &server{registry: prometheus.NewRegistry()}
	for accept, want := range map[string]string{
		"": "text/plain",
		"application/openmetrics-text; version=1.0.0":                                                                    "application/openmetrics-text",
		"application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited, text/plain;q=0.5": "application/vnd.google.protobuf",
	} {
		r, w := httptest.NewRequest(http.MethodGet, "/metrics", nil), httptest.NewRecorder()
		r.Header.Set("Accept", accept)
		s.opsHandler().ServeHTTP(w, r)
		if got := w.Header().Get("Content-Type"); w.Code != http.StatusOK || !strings.HasPrefix(got, want) {
			t.Errorf("%q gets %d with %s", accept, w.Code, got)
		}
	}
}

// scrape returns the text of /metrics.
func scrape(t testing.TB, s *running) string {
	t.Helper()
	resp, err := http.Get("http://" + s.addrs["ops"] + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// await waits until the metrics contain text.
func await(t *testing.T, s *running, text string) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(20 * time.Second); ; {
		got := scrape(t, s)
		if strings.Contains(got, text) {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("the metrics do not contain %q:\n%s", text, got)
		}
	}
}

// TestReload_BySignalAndByContent: on SIGHUP, and when the content of the file changes, an invalid file is rejected and
// counted, and a valid one is put in force.
func TestReload_BySignalAndByContent(t *testing.T) {
	s := newStage(t)
	const ok, bad = "sallyport_config_last_reload_successful 1\n", "sallyport_config_last_reload_successful 0\n"
	hup := func() {
		if err := s.server.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
	}
	await(t, s.server, ok)
	writeFile(t, s.dir, "sallyport.yaml", []byte("publik_url: x\n"))
	hup()
	await(t, s.server, bad)
	if code := s.browser.fetch("/"); code != http.StatusOK {
		t.Errorf("with an invalid file, Alice gets %d", code)
	}
	requests := s.openAll(t)
	s.configure("61503835-0000-0000-0000-000000000002") // without a signal
	for _, l := range requests {
		<-l.ended
	}
	await(t, s.server, ok)
	if code := s.browser.fetch("/"); code != http.StatusForbidden {
		t.Errorf("with the new policy, Alice gets %d", code)
	}
	s.demandReloads(t)
}

// TestReload_OfFailingTests: rules that fail a test in their file do not get in force, and the log, the metrics and the
// doctor say so.
func TestReload_OfFailingTests(t *testing.T) {
	s := newStage(t)
	s.rewrite("ops: 127.0.0.1:0}", "ops: "+freeAddr(t)+"}")
	await(t, s.server, "sallyport_config_last_reload_successful 1\n")
	s.rewrite("routes:\n", "      - deny: {users: [alice@example.com]}\ntests:\n  - {as: alice@example.com, get: "+appHost+"/, want: allow}\nroutes:\n")
	s.server.signal(syscall.SIGHUP)
	await(t, s.server, "sallyport_config_last_reload_successful 0\n")
	if code := s.browser.fetch("/"); code != http.StatusOK {
		t.Errorf("with rules that fail a test, Alice gets %d", code)
	}
	awaitLog(t, s.server, "the former settings stay in force")
	awaitLog(t, s.server, "alice@example.com GET "+appHost+"/: want allow, got deny: rule_deny by members[1]")
	if out, code := s.server.try("doctor", "-o", "csv"); code != exitDenied || !strings.Contains(out, "tests,fail,") {
		t.Errorf("the doctor says (%d):\n%s", code, out)
	}
}

// demandReloads demands that the record tells of reloads that were refused and, at last, of one that was done.
func (s *stage) demandReloads(t *testing.T) {
	t.Helper()
	var reasons []string
	for _, e := range s.record(t) {
		if e.Kind != audit.KindConfig {
			continue
		}
		reasons = append(reasons, e.Reason)
		if e.Actor != causeSignal && e.Actor != causeChange {
			t.Errorf("the actor of %s is %+v", e.Reason, e.Actor)
		}
		if e.Reason == "refused" && !strings.Contains(e.Detail["error"], "publik_url") {
			t.Errorf("the refusal does not name the fault: %v", e.Detail)
		}
	}
	got := strings.Join(reasons, " ")
	if !regexp.MustCompile(`^(attempted refused )+attempted reloaded$`).MatchString(got) {
		t.Errorf("the record tells of reloads that were %s", got)
	}
}

// record returns the audit record of the server.
func (w *world) record(t *testing.T) (events []audit.Event) {
	t.Helper()
	data, err := os.ReadFile(w.dir + "/data/audit.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		var e audit.Event
		decodeJSON(t, line, &e)
		events = append(events, e)
	}
	return events
}

// TestServer_StopsOnSIGTERM: on SIGTERM the server ends without an error, and leaves a sound store and record.
func TestServer_StopsOnSIGTERM(t *testing.T) {
	s := newStage(t)
	if err := s.server.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	err := <-s.server.exited
	s.server.exited <- nil
	if err != nil {
		t.Errorf("the server ends with %v\n%s", err, s.server.log())
	}
	verb(t, s.dir, "store", "check")
	verb(t, s.dir, "audit", "verify")
	if _, err := os.Stat(s.dir + "/data/sallyport.db.pid"); err == nil {
		t.Error("the file that names the holder of the store still exists")
	}
}

// TestServer_LogsNoSecrets: tokens, cookies and secrets are not in logs, metrics or the audit record.
func TestServer_LogsNoSecrets(t *testing.T) {
	s := newStage(t)
	token := s.entra.AccessToken(s.person, audience, nil)
	_ = s.browser.get("https://"+apiHost+"/?access_token="+token, token).Body.Close()
	record, err := os.ReadFile(s.dir + "/data/audit.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	public := s.server.log() + scrape(t, s.server) + string(record)
	secrets := []string{"the client secret", s.push.token, token}
	for _, host := range []string{appHost, loginHost} {
		for _, c := range s.browser.cookies(host) {
			secrets = append(secrets, c.Value)
		}
	}
	for _, secret := range secrets {
		if strings.Contains(public, secret) {
			t.Errorf("%.12s… is not kept secret", secret)
		}
	}
	if len(secrets) < 5 {
		t.Errorf("only %d secrets were looked for", len(secrets))
	}
}

// TestServer_RejectsStoreOlderThanRecord: a backup in place of the store is rejected, and one in the form that earlier versions made until the audit record, which
// contains later changes, is moved elsewhere.
func TestServer_RejectsStoreOlderThanRecord(t *testing.T) {
	s := newStage(t)
	s.server.verb("backup", s.dir+"/copy.db")
	s.push.setActive(s.alice, "False")
	await(t, s.server, `sallyport_audit_events_total{kind="scim"} 4`)
	s.server.kill()
	if err := os.Rename(s.dir+"/copy.db", s.dir+"/data/sallyport.db"); err != nil {
		t.Fatal(err)
	}
	s.refused(exitError, []string{"serve"}, "is a backup, and not a store")
	if err := os.Rename(s.dir+"/data/sallyport.db", s.dir+"/copy.db"); err != nil {
		t.Fatal(err)
	}
	formerCopy(t, s.dir+"/copy.db", s.dir+"/data/sallyport.db") // in the form that earlier versions made
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	out, err := runCommand(path, "serve", "-c", s.dir+"/sallyport.yaml")
	if err == nil || !strings.Contains(out, "is older than the audit record") {
		t.Errorf("the server ends with %v:\n%s", err, out)
	}
	if err := os.Rename(s.dir+"/data/audit.jsonl", s.dir+"/kept.jsonl"); err != nil {
		t.Fatal(err)
	}
	s.server = s.start()
	old := s.browser.cookies(appHost)
	alice := s.newBrowser(s.server)
	alice.client.Jar.SetCookies(mustParseURL(t, "https://"+appHost+"/"), secure(old))
	if code := alice.fetch("/"); code != http.StatusUnauthorized {
		t.Errorf("a session from before the backup gives %d", code)
	}
}

// TestSCIM_HoldsDeactivationsBeyondLimit: deactivations beyond the limit change nothing until an operator releases them.
func TestSCIM_HoldsDeactivationsBeyondLimit(t *testing.T) {
	s := newStage(t)
	var bobs []string
	for i := range 51 {
		bobs = append(bobs, s.push.hire(fmt.Sprintf("bob%d", i), fmt.Sprintf("oid-%d", i)))
	}
	for _, bob := range bobs[:50] {
		s.push.setActive(bob, "False")
	}
	s.push.send("PATCH", "/Users/"+s.alice, patchOf(map[string]any{"op": "Replace", "path": "active", "value": "False"}), http.StatusServiceUnavailable)
	if code := s.browser.fetch("/"); code != http.StatusOK {
		t.Errorf("Alice, whose deactivation is held, gets %d", code)
	}
	if out := s.server.verb("scim", "held", "list", "-o", "csv"); !strings.Contains(out, s.alice+",alice@example.com,") || strings.Count(out, "\n") != 2 {
		t.Errorf("the list of holds is %q", out)
	}
	await(t, s.server, `sallyport_scim_operations_total{operation="patch",resource="User",result="held"} 1`)
	await(t, s.server, "sallyport_scim_held_deactivations 1")
	if out := s.server.verb("scim", "held", "release", "Alice@example.com"); out != "1 released\n" {
		t.Errorf("the release prints %q", out)
	}
	if code := s.browser.fetch("/"); code != http.StatusForbidden {
		t.Errorf("after the release Alice gets %d", code)
	}
	await(t, s.server, "sallyport_scim_held_deactivations 0")
	s.push.setActive(s.alice, "False")
}

// TestProvisioningLog_HasNoValues: the log shows requests and their results, but no value that was sent.
func TestProvisioningLog_HasNoValues(t *testing.T) {
	s := newStage(t)
	s.push.send("POST", "/Users", map[string]any{"userName": "secret-name@example.com"}, http.StatusCreated)
	s.push.send("POST", "/Users", map[string]any{"userName": "Secret-Name@example.com"}, http.StatusConflict)
	s.push.send("GET", "/Users?filter=userName+eq+%22secret-name%40example.com%22", nil, http.StatusOK)
	out := ""
	for deadline := time.Now().Add(20 * time.Second); !strings.Contains(out, "filter=userName eq …") && time.Now().Before(deadline); {
		out = s.server.verb("scim", "log", "-o", "json")
	}
	for _, want := range []string{`"target": "/Users?filter=userName eq …"`, `"problem": "userName … already exists"`, `"code": 409`, `"userName"`} {
		if !strings.Contains(out, want) {
			t.Errorf("the log lacks %s:\n%s", want, out)
		}
	}
	if strings.Contains(strings.ToLower(out), "secret-name") {
		t.Errorf("the log contains values:\n%s", out)
	}
	if out := s.server.verb("scim", "log", "--refused", "-o", "csv"); strings.Count(out, "\n") != 2 {
		t.Errorf("the rejected requests are %q", out)
	}
}

// TestTokenRotate_BothTokensWorkDuringOverlap: the old and the new token both work until the old one is revoked.
func TestTokenRotate_BothTokensWorkDuringOverlap(t *testing.T) {
	s := newStage(t)
	var tokens []struct{ ID, Token string }
	decodeJSON(t, s.server.verb("token", "list", "-o", "json"), &tokens)
	var next struct{ ID, Token string }
	decodeJSON(t, s.server.verb("token", "rotate", tokens[0].ID, "--overlap", "1h", "-o", "json"), &next)
	s.push.send("GET", "/Users", nil, http.StatusOK)
	s.push.token = next.Token
	s.push.send("GET", "/Users", nil, http.StatusOK)
	s.server.verb("token", "revoke", tokens[0].ID)
	s.push.send("GET", "/Users", nil, http.StatusOK)
}

// TestSuspend_OutweighsIdentityProvider: a suspension holds although the identity provider activates the user, and after
// a restart. When it is lifted, the old session stays invalid.
func TestSuspend_OutweighsIdentityProvider(t *testing.T) {
	s := newStage(t)
	if out := s.server.verb("users", "suspend", s.alice, "--reason", "a canary reason"); out != "suspended; 1 sessions ended\n" {
		t.Errorf("it prints %q", out)
	}
	s.push.setActive(s.alice, "True")
	s.push.send("PUT", "/Users/"+s.alice, map[string]any{"userName": "alice@example.com", "externalId": s.person.OID, "active": true}, http.StatusOK)
	s.server.kill()
	s.server = s.start()
	s.push = s.pusher(s.server)
	old := s.browser.cookies(appHost)
	alice := s.newBrowser(s.server)
	if status, body := alice.navigate("https://" + appHost + "/"); status != http.StatusForbidden || !strings.Contains(body, "suspended") || strings.Contains(body, "canary") {
		t.Errorf("signing in gives %d:\n%s", status, body)
	}
	if out := s.server.verb("users", "list", "-o", "csv"); !strings.Contains(out, "true,a canary reason") {
		t.Errorf("the list is %q", out)
	}
	s.server.verb("users", "unsuspend", "alice@example.com")
	alice.client.Jar.SetCookies(mustParseURL(t, "https://"+appHost+"/"), secure(old))
	if code := alice.fetch("/"); code != http.StatusUnauthorized {
		t.Errorf("the old session gives %d", code)
	}
	again := s.newBrowser(s.server)
	again.signIn()
	for _, args := range [][]string{{"users", "suspend", "nobody", "--reason", "x"}, {"users", "suspend", s.alice, "--reason", " "}, {"users", "unsuspend", s.alice}} {
		if _, code := s.server.try(args...); code != exitError {
			t.Errorf("%v exits with %d", args, code)
		}
	}
	if record, err := os.ReadFile(s.dir + "/data/audit.jsonl"); err != nil || !strings.Contains(string(record), "a canary reason") {
		t.Errorf("the reason is not in the record: %v", err)
	}
}

// TestSCIM_ThrottlesInvalidTokens: many invalid tokens get 429, while the identity provider's valid one still works.
func TestSCIM_ThrottlesInvalidTokens(t *testing.T) {
	s := newStage(t)
	stranger := *s.push
	stranger.token = "wrong"
	last := 0
	for range 300 {
		var err error
		if last, _, err = stranger.try("GET", "/Users", nil); err != nil {
			t.Fatal(err)
		}
		if last == http.StatusTooManyRequests {
			break
		}
	}
	if last != http.StatusTooManyRequests {
		t.Errorf("the last invalid token gives %d", last)
	}
	s.push.send("GET", "/Users", nil, http.StatusOK)
}

// TestDoctor_FindsMismatches: doctor reports checks that succeed, and identifiers that do not match.
func TestDoctor_FindsMismatches(t *testing.T) {
	s := newStage(t)
	out, code := s.server.try("doctor", "-o", "csv")
	for _, want := range []string{"discovery,ok", "keys,ok", "clock,ok", "certificate,", "tokens,ok", "users,ok", "groups in rules,"} {
		if !strings.Contains(out, want) {
			t.Errorf("doctor does not report %q (exit %d):\n%s", want, code, out)
		}
	}
	for i := range 9 {
		s.push.hire(fmt.Sprintf("nick%d", i), fmt.Sprintf("nick%d", i))
	}
	out, code = s.server.try("doctor", "-o", "csv")
	if code != exitDenied || !strings.Contains(out, "externalId,fail") {
		t.Errorf("with nicknames for externalId doctor exits with %d and reports\n%s", code, out)
	}
}

func decodeJSON(t *testing.T, text string, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), into); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
}
