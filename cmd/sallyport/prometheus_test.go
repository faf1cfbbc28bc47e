package main

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// prometheusServer is a real Prometheus that scrapes a server every second.
type prometheusServer struct{ base string }

// startPrometheus starts the program that PROMETHEUS names.
func startPrometheus(t *testing.T, target string) *prometheusServer {
	t.Helper()
	program := os.Getenv("PROMETHEUS")
	if program == "" {
		t.Skip("PROMETHEUS does not name the program; ./test.sh alerts sets it")
	}
	dir, addr := t.TempDir(), freeAddr(t)
	rules, err := filepath.Abs("../../deploy/prometheus/alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, dir, "prometheus.yml", fmt.Appendf(nil, `global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: [%s]
scrape_configs:
  - job_name: sallyport
    static_configs: [{targets: [%s]}]
`, rules, target))
	cmd := exec.Command(program, "--config.file="+dir+"/prometheus.yml", "--storage.tsdb.path="+dir+"/data", "--web.listen-address="+addr, "--log.level=error")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return &prometheusServer{"http://" + addr + "/api/v1/"}
}

// ask sends a request to the API, and returns what Prometheus finds.
func (p *prometheusServer) ask(t *testing.T, path string, into any) error {
	t.Helper()
	resp, err := http.Get(p.base + path)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", resp.Status, body)
	}
	decodeJSON(t, string(body), into)
	return nil
}

// count returns how many series a query results in.
func (p *prometheusServer) count(t *testing.T, expr string) (int, error) {
	t.Helper()
	var found struct{ Data struct{ Result []any } }
	err := p.ask(t, "query?query="+url.QueryEscape(expr), &found)
	return len(found.Data.Result), err
}

// withoutSeries are the metrics that have no series in the test: what they count does not happen there, or its store is a file.
var withoutSeries = []string{"tls_hosts_without_certificate", "tls_orders_failed_total", "jwt_verifications_total", "connections_closed_total",
	"proxy_protocol_refused_total", "scim_quirks_total", "sallyport_store_replicas", "sallyport_store_le", "sallyport_store_lag", "sallyport_store_connections"}

// TestDashboards_InPrometheus runs every query of every dashboard in a real Prometheus that scrapes a real server under way,
// and demands that each panel has data and that no alert is faulty.
func TestDashboards_InPrometheus(t *testing.T) {
	if os.Getenv("PROMETHEUS") == "" {
		t.Skip("PROMETHEUS does not name the program; ./test.sh alerts sets it")
	}
	t.Setenv("GOMEMLIMIT", "1GiB") // of the server
	w := newWorld(t)
	w.rewrite("    policy: [members]\n    owner: owner@example.com\n", fmt.Sprintf("    policy: [members]\n    owner: owner@example.com\n    health: {path: /}\n"+
		"  - name: down\n    host: %s\n    path: /down\n    upstream: http://%s\n    policy: [members]\n", appHost, freeAddr(t)))
	w.rewrite("control: {socket: data/control.sock}\n", "control: {socket: data/control.sock}\naudit: {sinks: [{name: copy, file: {path: data/copy.jsonl}}]}\n")
	s := w.settle(w.start("--init"))
	p := startPrometheus(t, s.server.addrs["ops"])
	s.makeTraffic(t, func() bool {
		n, err := p.count(t, `count_over_time(sallyport_live_requests{route="app"}[1m]) > 3`)
		return err == nil && n > 0
	})
	pending := map[string]string{} // what is to be seen yet, by query
	for _, d := range dashboards(t) {
		for _, q := range queriesOf(d) {
			if !slices.ContainsFunc(withoutSeries, func(name string) bool { return strings.Contains(q.expr, name) }) {
				pending[q.expr] = d.file + ", " + q.panel
			}
		}
	}
	for deadline := time.Now().Add(time.Minute); len(pending) > 0 && time.Now().Before(deadline); time.Sleep(time.Second) {
		s.browser.fetch("/")
		s.browser.fetch("/down")
		s.push.send("GET", "/Users", nil, http.StatusOK)
		for expr := range pending {
			if n, err := p.count(t, expr); err == nil && n > 0 {
				delete(pending, expr)
			}
		}
	}
	for expr, panel := range pending {
		n, err := p.count(t, expr)
		t.Errorf("%s: %d series, %v: %s", panel, n, err, expr)
	}
	for _, d := range dashboards(t) {
		for _, q := range queriesOf(d) {
			if _, err := p.count(t, q.expr); err != nil {
				t.Errorf("%s, %s: %v", d.file, q.panel, err)
			}
		}
	}
	p.demandHealthyRules(t)
}

// makeTraffic lets people in and out, opens streams and, once they are long, cuts them.
func (s *stage) makeTraffic(t *testing.T, long func() bool) {
	t.Helper()
	requests := s.openAll(t)
	for deadline := time.Now().Add(30 * time.Second); !long(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("Prometheus sees no stream")
		}
	}
	s.browser.fetch("/down")
	_ = s.newBrowser(s.server).fetch("/")
	s.push.setActive(s.alice, "False")
	s.demandCut(t, requests, http.StatusForbidden)
	s.push.setActive(s.alice, "True")
	s.browser = s.newBrowser(s.server)
	s.browser.signIn()
}

// demandHealthyRules demands that Prometheus evaluates every rule, and that the alerts that fire are those that the test
// causes.
func (p *prometheusServer) demandHealthyRules(t *testing.T) {
	t.Helper()
	var rules struct {
		Data struct {
			Groups []struct {
				Rules []struct{ Name, Health, LastError, State string }
			}
		}
	}
	if err := p.ask(t, "rules", &rules); err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, g := range rules.Data.Groups {
		for _, r := range g.Rules {
			if n++; r.Health != "ok" || r.State == "firing" && r.Name != "SallyportCertificateExpires" {
				t.Errorf("%s is %s (%s), %s", r.Name, r.Health, strings.TrimSpace(r.LastError), r.State)
			}
		}
	}
	if n != len(alertRules(t)) {
		t.Errorf("Prometheus has %d rules", n)
	}
}
