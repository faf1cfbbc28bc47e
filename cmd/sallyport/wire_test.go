package main

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
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
)

// wire is a running server with an application that is open to the members of the group at /, and to nobody at /admin.
type wire struct {
	*stage
	token   string
	client  *tls.Config // resumes sessions: thousands of whole handshakes take long
	mu      sync.Mutex  // guards reached
	reached []string    // request targets that the application received
}

func newWire(t *testing.T, keys string) *wire {
	t.Helper()
	w := &wire{}
	application := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.reached = append(w.reached, r.Method+" "+r.RequestURI)
	}))
	t.Cleanup(application.Close)
	world := newWorld(t)
	path := filepath.Join(world.dir, "sallyport.yaml")
	text, err := os.ReadFile(path)
	world.must(err)
	world.must(os.WriteFile(path, fmt.Appendf(nil, `%s
  - {name: files, host: files.test, upstream: "%[2]s", policy: [members]%[3]s}
  - {name: files-admin, host: files.test, path: /admin, upstream: "%[2]s", policy: [admins]%[3]s}
trusted_proxies: [127.0.0.1]
`, strings.Replace(string(text), "policies:\n", "policies:\n  - {name: admins, rules: [{allow: {users: [nobody]}}]}\n", 1), application.URL, keys), 0o600))
	w.stage = world.settle(world.start("--init"))
	w.token = w.entra.AccessToken(w.person, audience, nil)
	w.client = &tls.Config{RootCAs: w.ca.pool, ServerName: appHost, CurvePreferences: []tls.CurveID{tls.X25519}, ClientSessionCache: tls.NewLRUClientSessionCache(1)}
	return w
}

// send writes a request over a connection of its own. It returns the status, 0 if the server closes the connection, and
// what the application received.
func (w *wire) send(t *testing.T, request string) (status int, reached []string) {
	t.Helper()
	conn, err := tls.Dial("tcp", w.server.addrs["public"], w.client)
	w.must(err)
	defer conn.Close()
	w.must(conn.SetDeadline(time.Now().Add(20 * time.Second)))
	_, err = io.WriteString(conn, request)
	w.must(err)
	if resp, err := http.ReadResponse(bufio.NewReader(conn), nil); err == nil {
		status = resp.StatusCode
		_ = resp.Body.Close()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	reached, w.reached = w.reached, nil
	return status, reached
}

// head returns a request without a body, with the credentials of a member of the group.
func (w *wire) head(method, target, host string, headers ...string) string {
	text := method + " " + target + " HTTP/1.1\r\nHost: " + host + "\r\nConnection: close\r\nAuthorization: Bearer " + w.token + "\r\n"
	for _, header := range headers {
		text += header + "\r\n"
	}
	return text + "\r\n"
}

// adminTargets are request targets that some server takes for one below /admin.
var adminTargets = []string{
	"/admin", "/admin/", "/admin/secret", "/%61dmin", "/%61%64%6d%69%6e/secret", "/./admin", "/.//admin", "//admin", "///admin", "/x/../admin", "/x/..;/admin", "/x/..;a=b/admin", "/x/..;/..;/admin",
	"/;/admin", "/;x/admin/secret", "/admin;", "/admin;x=1/secret", "/admin/..;/admin", "/x;/../admin", "/x/;/../admin", "/admin%3b/secret", "/admin%253b/secret", "/%3b/admin", "/;a/;b/;c/admin",
	"/%2e/admin", "/%2e%2e/admin", "/x/%2e%2e/admin", "/x/%2e%2e;/admin", "/x/%2e%2e%3b/admin", "/x/%252e%252e/admin", "/x/%252e%252e%252fadmin", "/x%2f..%2fadmin", "/x/..%2fadmin", "/x/..%5cadmin", `/x/..\admin`, `/\admin`,
	"/%2fadmin", "/%2Fadmin/secret", "/%252fadmin", "/admin%2fsecret", "/admin%252fsecret", "/admin%5csecret", "/admin%255csecret", "/admin%u002fsecret", "/admin%25u002fsecret", "/%u0061dmin", "/%25u0061dmin",
	"/admin%c0%afsecret", "/%c0%afadmin", "/admin%25c0%25afsecret", "/x/%c0%ae%c0%ae/admin", "/%e0%80%afadmin", "/admin%00", "/admin%00/secret", "/admin%0a", "/admin%20%00", "/admin%23", "/admin%23/secret", "/admin%2523", "/admin%3f", "/admin%3fx/secret", "/admin%253fx",
	"/%2561dmin", "/%25%36%31dmin", "/admin%2f%2e%2e%2fadmin", "/%5cadmin", "/%255cadmin", "/%2f%2fadmin", "/%2fx/admin", "/x%2f%2e%2e%2fadmin", "/admin#x", "/#/../admin", "/admin%", "/admin%2", "/admin%zz",
	"http://files.test/admin", "https://files.test/admin/secret", "HTTP://FILES.test/%61dmin", "http://files.test/x/../admin", "http://files.test//admin", "http://files.test/;/admin", "http://files.test/%2fadmin", "http://files.test:8443/admin",
}

// strangeRequests are no requests for a path of the application at all.
func (w *wire) strangeRequests() map[string]string {
	return map[string]string{
		"asterisk":                  w.head("OPTIONS", "*", "files.test"),
		"asterisk with GET":         w.head("GET", "*", "files.test"),
		"CONNECT":                   w.head("CONNECT", "files.test:443", "files.test:443"),
		"CONNECT with a path":       w.head("CONNECT", "/admin", "files.test"),
		"authority as target":       w.head("GET", "files.test/admin", "files.test"),
		"another scheme":            w.head("GET", "ftp://files.test/admin", "files.test"),
		"javascript":                w.head("GET", "javascript:/admin", "files.test"),
		"user in target":            w.head("GET", "http://u:p@files.test/admin", "files.test"),
		"target names another host": w.head("GET", "http://evil.test/", "files.test"),
		"host with user":            w.head("GET", "/", "u@files.test"),
		"host with a path":          w.head("GET", "/", "files.test/admin"),
		"two hosts in one":          w.head("GET", "/", "files.test,evil.test"),
		"two Host headers":          w.head("GET", "/", "files.test", "Host: evil.test"),
		"host with an odd port":     w.head("GET", "/", "files.test:0"),
		"host with two dots":        w.head("GET", "/", "files.test.."),
		"empty host":                w.head("GET", "/", ""),
		"no target":                 w.head("GET", "", "files.test"),
		"blank in target":           w.head("GET", "/x /admin", "files.test"),
		"tab in target":             w.head("GET", "/x\t/admin", "files.test"),
		"NUL in target":             w.head("GET", "/x\x00/admin", "files.test"),
		"obsolete version":          "GET /admin\r\n\r\n",
	}
}

// TestPaths_OnTheWire sends hostile requests to a real server: no spelling of a path of another route reaches the
// application, neither directly nor by way of a front proxy that asks.
func TestPaths_OnTheWire(t *testing.T) {
	for name, keys := range map[string]string{"strict": "", "lenient": ", path_encoding: lenient", "case ignored": ", path_case: insensitive", "lenient, case ignored": ", path_encoding: lenient, path_case: insensitive"} {
		t.Run(name, func(t *testing.T) {
			w := newWire(t, keys)
			if status, reached := w.send(t, w.head("GET", "/x?y", "files.test")); status != 200 || len(reached) != 1 || reached[0] != "GET /x?y" {
				t.Fatalf("a usual request: %d, %q", status, reached)
			}
			targets := adminTargets
			if strings.Contains(keys, "case") {
				for _, target := range []string{"/ADMIN/secret", "/Admin", "/aDm%49n/secret", "/admin%20", "/admin./x", "/%EF%BD%81dmin/x", "/adm%C4%B1n", "/admin%EF%BC%8Fsecret", "/admin::$DATA", "HTTP://files.test/ADMIN"} {
					targets = append(slices.Clip(targets), target)
				}
			}
			for _, target := range targets {
				if status, reached := w.send(t, w.head("GET", target, "files.test")); len(reached) > 0 || status != 400 && status != 403 && status != 404 {
					t.Errorf("%s: %d, reaches the application as %q", target, status, reached)
				}
				if strings.HasPrefix(target, "/") {
					w.demandCheckDenies(t, target)
				}
			}
			for _, host := range []string{"FILES.test", "files.test.", "files.test:8443", "Files.Test.:443"} {
				if status, reached := w.send(t, w.head("GET", "/admin/x", host)); len(reached) > 0 || status != 403 {
					t.Errorf("%s: %d, %q", host, status, reached)
				}
				if status, reached := w.send(t, w.head("GET", "/x", host)); status != 200 || len(reached) != 1 {
					t.Errorf("%s: %d, %q", host, status, reached)
				}
			}
			for name, request := range w.strangeRequests() {
				if status, reached := w.send(t, request); len(reached) > 0 || status >= 200 && status < 400 {
					t.Errorf("%s: %d, reaches the application as %q", name, status, reached)
				}
			}
		})
	}
}

// demandCheckDenies asks, as a front proxy does, whether target is allowed.
func (w *wire) demandCheckDenies(t *testing.T, target string) {
	t.Helper()
	described := func(uri string, more ...string) string {
		return w.head("GET", "/.sallyport/check", loginHost, append([]string{"X-Forwarded-Method: GET", "X-Forwarded-Proto: https", "X-Forwarded-Host: files.test", "X-Forwarded-Uri: " + uri}, more...)...)
	}
	requests := map[string]string{"by headers": described(target), "by path": w.head("GET", "/.sallyport/check"+target, "files.test")}
	for _, override := range []string{"X-Original-URL", "X-Rewrite-URL", "X-Original-Uri", "X-Envoy-Original-Path", "X-HTTP-Path-Override", "X_Forwarded_Uri", "X-Forwarded-Uri"} {
		requests["beside "+override] = described("/x", override+": "+target)
	}
	if regexp.MustCompile(`[^ -~]`).MatchString(target) {
		return
	}
	for name, request := range requests {
		if status, _ := w.send(t, request); status < 400 || status > 499 {
			t.Errorf("check %s of %s: %d", name, target, status)
		}
	}
}
