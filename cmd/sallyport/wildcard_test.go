package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestWildcard_ServedFromFileToReload serves a wildcard host by the real server: the certificate of a file, signing in once
// for several hosts, what verbs say of them, one metric for all, and a reload that takes the wildcard away.
func TestWildcard_ServedFromFileToReload(t *testing.T) {
	w := newWorld(t)
	hosts := []string{"pr-7.apps.test", "pr-8.apps.test", "main.apps.test", "xn--a.apps.test"}
	cert, key := w.ca.issue(t, loginHost, appHost, apiHost, "*.apps.test")
	writeFile(t, w.dir, "tls.crt", cert)
	writeFile(t, w.dir, "tls.key", key)
	app := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { _ = r.Header.Write(rw) }))
	t.Cleanup(app.Close)
	wildcard := fmt.Sprintf(`  - name: previews
    host: "*.apps.test"
    upstream: %s
    policy: [members]
    identity_headers: {preset: grafana, group_names: true}
  - name: main
    host: main.apps.test
    path: /only
    upstream: %s
    policy: [members]
`, app.URL, app.URL)
	w.rewrite("routes:\n", "routes:\n"+wildcard)
	s := w.settle(w.start("--init"))
	at := map[string]string{loginHost + ":443": s.server.addrs["public"]}
	for _, host := range hosts {
		at[host+":443"] = s.server.addrs["public"]
	}
	b := &browser{t, newClient(t, w.ca, at), s.server.addrs["public"], w.ca}
	demand := func(host, path string, want int) (body string) {
		t.Helper()
		status, body := b.navigate("https://" + host + path)
		if status != want {
			t.Errorf("%s%s gives %d:\n%s", host, path, status, body)
		}
		return body
	}
	for _, host := range []string{"pr-7.apps.test", "pr-8.apps.test"} {
		body := demand(host, "/", http.StatusOK)
		for _, header := range []string{"X-Webauth-User: alice@example.com\r\n", "X-Webauth-Groups: Members\r\n"} {
			if strings.Count(body, header) != 1 {
				t.Errorf("the application at %s is not sent %q once:\n%s", host, header, body)
			}
		}
	}
	demand("main.apps.test", "/", http.StatusNotFound)
	demand("main.apps.test", "/only", http.StatusOK)
	demand("xn--a.apps.test", "/", http.StatusNotFound)

	var out bytes.Buffer
	for target, want := range map[string]int{"https://pr-7.apps.test/x": exitOK, "https://a.b.apps.test/x": exitError, "https://main.apps.test/x": exitError} {
		out.Reset()
		if code := w.runHere(&out, &out, "explain", "--user", "alice@example.com", target); code != want || want == exitOK && !strings.Contains(out.String(), "previews (*.apps.test/)") {
			t.Errorf("explain %s exits with %d:\n%s", target, code, out.String())
		}
	}
	if text := w.here("access", "who", "--route", "previews"); !strings.Contains(text, "alice@example.com") {
		t.Errorf("access who says %s", text)
	}
	if text := w.here("access", "routes"); !strings.Contains(text, "*.apps.test/") {
		t.Errorf("access routes says %s", text)
	}
	res, err := http.Get("http://" + s.server.addrs["ops"] + "/metrics")
	w.must(err)
	defer res.Body.Close()
	metrics, err := io.ReadAll(res.Body)
	w.must(err)
	if !strings.Contains(string(metrics), `route="previews"`) || strings.Contains(string(metrics), "pr-7") {
		t.Error("the metrics have no series of the route, or some of a host")
	}

	w.rewrite(wildcard, "")
	w.here("reload")
	demand("pr-7.apps.test", "/", http.StatusNotFound)
}
