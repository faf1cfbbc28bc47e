package proxy

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestRewrite_ReplacesLeadingSegments(t *testing.T) {
	for _, c := range []struct{ path, strip, add, target, want string }{
		{"/app", "/app", "", "/app/x?q=1", "GET /x?q=1"},
		{"/app", "/app", "", "/app", "GET /"},
		{"/app", "/app", "", "/app/", "GET /"},
		{"/app", "/app", "/v2/api/", "/app/x", "GET /v2/api/x"},
		{"/app", "/app", "/v2", "/app", "GET /v2"},
		{"/a/b", "/a", "", "/a/b/c", "GET /b/c"},
		{"/", "", "/under", "/x%20y", "GET /under/x%20y"},
		{"/app", "/app", "", "/app/.sallyport/me", "400"},
	} {
		w := newWorld(t, func(s *Settings) {
			s.Routes[1].Path, s.Routes[1].Rewrite = c.path, &Rewrite{Strip: c.strip, Add: c.add}
		})
		res, _ := w.get(w.client(true), "https://"+openHost+c.target)
		if got := res.Header.Get("X-Saw"); got != c.want && res.Status[:3] != c.want {
			t.Errorf("%+v: %s %s", c, res.Status, got)
		}
	}
}

func TestHeaderEdits_ChangeBothDirections(t *testing.T) {
	w := newWorld(t, func(s *Settings) {
		s.Routes[1].RequestHeaders = HeaderEdits{Remove: []string{"accept-language"}, Set: []HeaderSet{{Name: "X-Env", Value: "prod"}}}
		s.Routes[1].ResponseHeaders = HeaderEdits{Remove: []string{"Server"}, Set: []HeaderSet{{Name: "X-Frame-Options", Value: "DENY"}}}
	})
	w.setUpstream(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Server", "secret/1.0")
		mirror(rw, r)
	})
	res, body := w.get(w.client(true), "https://"+openHost+"/", "Accept-Language", "de", "X-Env", "test")
	if strings.Contains(body, "Accept-Language") || !strings.Contains(body, "X-Env: prod") || strings.Contains(body, "test") {
		t.Errorf("the upstream sees\n%s", body)
	}
	if res.Header.Get("Server") != "" || res.Header.Get("X-Frame-Options") != "DENY" {
		t.Errorf("the client sees %v", res.Header)
	}
}

// TestHeaderEdits_RemovedUserAgentIsNotReplaced checks that net/http does not send a User-Agent of its own for one that
// the settings remove, nor for one that the client did not send.
func TestHeaderEdits_RemovedUserAgentIsNotReplaced(t *testing.T) {
	for name, edits := range map[string]HeaderEdits{"removed": {Remove: []string{"user-agent"}}, "absent": {}} {
		w := newWorld(t, func(s *Settings) { s.Routes[1].RequestHeaders = edits })
		for _, method := range []string{"GET", "DELETE"} { // sent over our transport and over net/http's
			r, err := http.NewRequestWithContext(w.ctx, method, "https://"+openHost+"/", nil)
			w.must(err)
			if r.Header.Set("User-Agent", "Mozilla/5.0"); name == "absent" {
				r.Header.Set("User-Agent", "")
			}
			res, err := w.client(true).Do(r)
			w.must(err)
			body, err := io.ReadAll(res.Body)
			w.must(err)
			if res.StatusCode != 200 || strings.Contains(string(body), "User-Agent") {
				t.Errorf("%s, %s: %d, the upstream sees\n%s", name, method, res.StatusCode, body)
			}
		}
	}
}

func TestUpstreamHost_SetsHostHeader(t *testing.T) {
	for written, want := range map[string]string{"": openHost, "public": openHost, "upstream": "", "grafana.internal": "grafana.internal"} {
		w := newWorld(t, func(s *Settings) { s.Routes[1].UpstreamHost = written })
		if want == "" {
			want = w.upstream.Listener.Addr().String()
		}
		res, _ := w.get(w.client(true), "https://"+openHost+"/")
		if got := res.Header.Get("X-Saw-Host"); got != want {
			t.Errorf("%q: %s", written, got)
		}
	}
}

func TestMaxBody_RejectsLargerBodies(t *testing.T) {
	w := newWorld(t, func(s *Settings) { s.Routes[1].MaxBody = 10 })
	w.setUpstream(func(rw http.ResponseWriter, r *http.Request) { _, _ = io.Copy(rw, r.Body) })
	for _, h2 := range []bool{false, true} {
		for _, c := range []struct {
			body io.Reader
			code int
		}{
			{strings.NewReader("ten bytes!"), 200},
			{strings.NewReader("ten bytes!!"), 413},
			{io.MultiReader(strings.NewReader("a body of"), strings.NewReader("unknown length")), 413},
		} {
			r, err := http.NewRequestWithContext(w.ctx, "POST", "https://"+openHost+"/", c.body)
			w.must(err)
			res, err := w.client(h2).Do(r)
			w.must(err)
			if res.StatusCode != c.code {
				t.Errorf("HTTP/2 %v, %d bytes: %d", h2, r.ContentLength, res.StatusCode)
			}
		}
	}
	if n := w.metric("sallyport_upstream_errors_total"); n != 0 {
		t.Errorf("%v errors of an upstream are counted", n)
	}
}

// TestPreflight_PassesAnonymously checks that a route that lets CORS preflight requests through forwards them without
// credentials, and still denies other anonymous requests.
func TestPreflight_PassesAnonymously(t *testing.T) {
	send := func(w *world, method string, headers ...string) (*http.Response, string) {
		r, err := http.NewRequestWithContext(w.ctx, method, "https://"+appHost+"/", nil)
		w.must(err)
		for i := 0; i < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
		res, err := w.client(true).Do(r)
		w.must(err)
		body, err := io.ReadAll(res.Body)
		w.must(err)
		return res, string(body)
	}
	preflight := []string{"Origin", "https://elsewhere.example.com", "Access-Control-Request-Method", "PUT", "Authorization", "Bearer x", "Cookie", "a=b", "X-Forwarded-User", "root"}
	w := newWorld(t, func(s *Settings) { s.Routes[0].Preflight = "pass" })
	res, body := send(w, "OPTIONS", preflight...)
	if res.StatusCode != 200 {
		t.Fatalf("%d", res.StatusCode)
	}
	for _, secret := range []string{"Authorization", "Cookie", "X-Forwarded-User", "X-Sallyport-Assertion"} {
		if strings.Contains(body, secret) {
			t.Errorf("the upstream sees %s", secret)
		}
	}
	if res, _ := send(w, "OPTIONS", preflight[2:4]...); res.StatusCode != 401 {
		t.Errorf("without Origin: %d", res.StatusCode)
	}
	if res, _ := send(w, "GET", preflight[:4]...); res.StatusCode != 401 {
		t.Errorf("GET: %d", res.StatusCode)
	}
	if res, _ := send(newWorld(t, nil), "OPTIONS", preflight[:4]...); res.StatusCode != 401 {
		t.Errorf("on a route with default settings: %d", res.StatusCode)
	}
}

func TestHeaderEdits_ReadValuesFromFiles(t *testing.T) {
	file := filepath.Join(t.TempDir(), "key")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("canary one\r\n")
	w := newWorld(t, func(s *Settings) {
		s.Routes[1].RequestHeaders = HeaderEdits{Set: []HeaderSet{{Name: "X-Key", ValueFile: file}}}
	})
	w.setUpstream(mirror)
	sees := func(want string) {
		t.Helper()
		if _, body := w.get(w.client(true), "https://"+openHost+"/", "X-Key", "of the client"); !strings.Contains(body, "X-Key: "+want) || strings.Contains(body, "of the client") {
			t.Errorf("the upstream sees\n%s\nwant %s", body, want)
		}
	}
	sees("canary one")
	write("canary two")
	if err := w.proxy.Load(w.settings); err != nil {
		t.Fatal(err)
	}
	sees("canary two")
	for name, text := range map[string]string{"empty": "\n", "two_lines": "canary\nX-Forwarded-User: ada\n", "not_ascii": "canäry", "long": strings.Repeat("c", 8<<10+1)} {
		write(text)
		var faults []string
		w.settings.CheckFiles(func(path, problem string) { faults = append(faults, path+": "+problem) })
		if len(faults) != 1 || !strings.HasPrefix(faults[0], "routes[1].request_headers.set[0].value_file: "+file+" must hold one line") || strings.Contains(faults[0], "can") {
			t.Errorf("%s: %q", name, faults)
		}
		if err := w.proxy.Load(w.settings); err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: loading gives %v", name, err)
		}
	}
	sees("canary two")
}
