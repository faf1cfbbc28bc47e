package proxy

import (
	"bufio"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestForward_RecordedRequests checks that requests in the form in which the clients of well-known applications send
// them reach the upstream unchanged (testdata/good/README.md).
func TestForward_RecordedRequests(t *testing.T) {
	files, err := filepath.Glob("testdata/good/*.txt")
	if err != nil || len(files) < 15 {
		t.Fatal(files, err)
	}
	w := newWorld(t, nil)
	type seen struct {
		line, body string
		header     http.Header
	}
	saw := make(chan seen, 1)
	w.setUpstream(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		saw <- seen{r.Method + " " + r.RequestURI, string(body), r.Header}
	})
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			data, err := os.ReadFile(file)
			w.must(err)
			head, body, _ := strings.Cut(string(data), "\n\n")
			first, headers, _ := strings.Cut(head, "\n")
			route, line, _ := strings.Cut(first, " ")
			host := map[string]string{"app": appHost, "files": lenientHost}[route]
			_, cookie := w.signIn("alice", host)
			if i := strings.Index(headers, "Cookie: "); i >= 0 {
				headers = headers[:i] + "Cookie: " + cookie + "; " + headers[i+len("Cookie: "):]
			} else {
				headers += "\nCookie: " + cookie
			}
			method, target, _ := strings.Cut(line, " ")
			req, err := http.ReadRequest(bufio.NewReader(strings.NewReader("GET / HTTP/1.1\r\nHost: " + host + "\r\n" + strings.ReplaceAll(strings.TrimSpace(headers), "\n", "\r\n") + "\r\n\r\n")))
			w.must(err)
			out, err := http.NewRequest(method, "https://"+host+"/", strings.NewReader(body))
			w.must(err)
			out.Header = req.Header.Clone()
			out.URL.Opaque = "//" + host + target // as it is written
			resp, err := w.client(false).Do(out)
			w.must(err)
			defer resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				text, _ := io.ReadAll(resp.Body)
				t.Fatalf("status %d: %s", resp.StatusCode, text)
			}
			got := <-saw
			if got.line != line || got.body != body {
				t.Errorf("the upstream sees\n%s\n%q\nwant\n%s\n%q", got.line, got.body, line, body)
			}
			for name, values := range req.Header {
				if name != "Cookie" && strings.Join(got.header[name], "\n") != strings.Join(values, "\n") {
					t.Errorf("the upstream sees %s: %q, want %q", name, got.header[name], values)
				}
			}
			if strings.Contains(got.header.Get("Cookie"), "sallyport") {
				t.Errorf("the upstream sees a cookie of ours: %s", got.header.Get("Cookie"))
			}
		})
	}
}
