package proxy

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// newPlain returns a server without TLS that calls ServePlain.
func (w *world) newPlain() *httptest.Server {
	w.t.Helper()
	s := httptest.NewServer(http.HandlerFunc(w.proxy.ServePlain))
	w.t.Cleanup(s.Close)
	return s
}

// sendPlain sends bytes without TLS and reads the response.
func sendPlain(t *testing.T, s *httptest.Server, text string) *http.Response {
	t.Helper()
	conn, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(waitLimit))
	_, _ = io.WriteString(conn, text)
	method, _, _ := strings.Cut(text, " ")
	res, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return res
}

// TestServePlain_RedirectsToHTTPS checks that a request for a host of ours is redirected to the same URL over https or
// denied, and never reaches an upstream.
func TestServePlain_RedirectsToHTTPS(t *testing.T) {
	reached := 0
	w := newWorld(t, func(s *Settings) { s.PublicURL = "https://" + loginHost + ":8443" })
	w.setUpstream(func(http.ResponseWriter, *http.Request) { reached++ })
	s := w.newPlain()
	for _, c := range []struct{ method, target, host, want string }{
		{"GET", "/", appHost, "308 https://app.example.com:8443/"},
		{"GET", "/a/b?c=d&e=%2F", appHost, "308 https://app.example.com:8443/a/b?c=d&e=%2F"},
		{"HEAD", "/", appHost, "308 https://app.example.com:8443/"},
		{"GET", "/%61%c3%a4", appHost, "308 https://app.example.com:8443/a%C3%A4"},
		{"GET", "/", "APP.example.com.:80", "308 https://app.example.com:8443/"},
		{"GET", "/", loginHost, "308 https://login.example.com:8443/"},
		{"GET", "/.sallyport/me", appHost, "308 https://app.example.com:8443/.sallyport/me"},
		{"GET", "http://app.example.com/x", appHost, "308 https://app.example.com:8443/x"},
		{"GET", "/a%2Fb", lenientHost, "308 https://" + lenientHost + ":8443/a%2Fb"},
		{"GET", "/anyone", openHost, "308 https://open.example.com:8443/anyone"},

		{"GET", "/", "evil.example", "404 "},
		{"GET", "/", "app.example.com.evil.example", "404 "},
		{"GET", "/", "app.example.com@evil.example", "400 "},
		{"GET", "/", "evil.example#app.example.com", "400 "},
		{"GET", "http://evil.example/", appHost, "404 "},
		{"GET", "//evil.example/", appHost, "400 "},
		{"GET", "/\\evil.example/", appHost, "400 "},
		{"GET", "/%2F/evil.example", appHost, "400 "},
		{"GET", "/..//evil.example", appHost, "400 "},
		{"GET", "/a%2Fb", appHost, "400 "},
		{"GET", "/a%0d%0aSet-Cookie:x", appHost, "400 "},
		{"GET", "/?a\x01b", appHost, "400 "},
		{"POST", "/", appHost, "405 "},
		{"PUT", "/anyone", openHost, "405 "},
		{"OPTIONS", "/", appHost, "405 "},
		{"CONNECT", "app.example.com:443", appHost, "405 "},
	} {
		res := sendPlain(t, s, c.method+" "+c.target+" HTTP/1.1\r\nHost: "+c.host+"\r\nConnection: close\r\n\r\n")
		if got := res.Status[:4] + res.Header.Get("Location"); got != c.want {
			t.Errorf("%s %s at %s: %s, want %s", c.method, c.target, c.host, got, c.want)
		}
		if len(res.Header["Set-Cookie"]) > 0 || res.Header.Get("Strict-Transport-Security") != "" {
			t.Errorf("%s %s at %s: headers %v", c.method, c.target, c.host, res.Header)
		}
	}
	if reached > 0 {
		t.Errorf("the upstream was reached %d times", reached)
	}
}

// TestServePlain_DoesNotWaitForBody checks that the connection is closed after the response, even if the body of the
// request never arrives.
func TestServePlain_DoesNotWaitForBody(t *testing.T) {
	w := newWorld(t, nil)
	s := w.newPlain()
	for _, head := range []string{"GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\nContent-Length: 10\r\n", "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n"} {
		conn, err := net.Dial("tcp", s.Listener.Addr().String())
		w.must(err)
		_ = conn.SetDeadline(time.Now().Add(waitLimit))
		_, _ = io.WriteString(conn, head+"Host: "+appHost+"\r\n\r\n")
		if resp, err := io.ReadAll(conn); err != nil || !strings.HasPrefix(string(resp), "HTTP/1.1 ") {
			t.Errorf("%q: %q, %v", head, resp, err)
		}
		_ = conn.Close()
	}
}

// TestServePlain_FollowsSettings checks that the host of a new route is redirected as soon as the settings are in force.
func TestServePlain_FollowsSettings(t *testing.T) {
	w := newWorld(t, nil)
	s := w.newPlain()
	const request = "GET /x HTTP/1.1\r\nHost: new.example.com\r\nConnection: close\r\n\r\n"
	if res := sendPlain(t, s, request); res.StatusCode != http.StatusNotFound {
		t.Errorf("an unknown host: %s", res.Status)
	}
	w.settings.Routes = append(w.settings.Routes, Route{Name: "new", Host: "new.example.com", Upstream: Upstreams{w.upstream.URL}, Policy: []string{"staff"}})
	w.must(w.proxy.Load(w.settings))
	if res := sendPlain(t, s, request); res.Header.Get("Location") != "https://new.example.com/x" {
		t.Errorf("a new host: %s %v", res.Status, res.Header)
	}
	if hosts := strings.Join(w.proxy.Hosts(), " "); !strings.Contains(hosts, "login.example.com new.example.com") {
		t.Errorf("the hosts are %s", hosts)
	}
}
