package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

func TestCanonicalHost(t *testing.T) {
	for _, c := range []struct{ authority, want string }{
		{"app.example.com", "app.example.com"},
		{"APP.Example.COM", "app.example.com"},
		{"app.example.com.", "app.example.com"},
		{"app.example.com:443", "app.example.com"},
		{"app.example.com:8443", "app.example.com"},
		{"App.Example.com.:65535", "app.example.com"},
		{"localhost", "localhost"},
		{"a_b.example.com", "a_b.example.com"},
		{"xn--bcher-kva.example", "xn--bcher-kva.example"},
		{"127.0.0.1:80", "127.0.0.1"},
		{"[::1]", "[::1]"},
		{"[0:0:0:0:0:0:0:1]:443", "[::1]"},
		{"[2001:DB8::A]", "[2001:db8::a]"},
		{"", ""}, {".", ""}, {"..", ""}, {"a..b", ""}, {".a", ""}, {"a..", ""},
		{"app.example.com:", ""}, {"app.example.com:0", ""}, {"app.example.com:65536", ""}, {"app.example.com:-1", ""},
		{"app.example.com:+443", ""}, {"app.example.com:443x", ""}, {"app.example.com:000443", ""}, {"app.example.com: 443", ""},
		{"app.example.com:443:443", ""}, {":443", ""},
		{"app.example.com ", ""}, {" app.example.com", ""}, {"app.example.com\t", ""}, {"app example.com", ""},
		{"app.example.com/", ""}, {"app.example.com/x", ""}, {`app.example.com\x`, ""}, {"app.example.com?x", ""}, {"app.example.com#x", ""},
		{"user@app.example.com", ""}, {"app.example.com@evil.example", ""}, {"app.example.com,evil.example", ""}, {"app.example.com;x", ""},
		{"app%2eexample.com", ""}, {"app\x00.example.com", ""}, {"app.example.com\x00", ""}, {"bücher.example", ""}, {"app。example.com", ""},
		{"ａpp.example.com", ""}, {"app.example.com\xad", ""}, {"::1", ""}, {"[::1", ""}, {"::1]", ""}, {"[::1]x", ""}, {"[::1]:", ""}, {"[fe80::1%eth0]", ""},
		{"[fe80::1%25eth0]", ""}, {"[::ffff:127.0.0.1]", ""}, {"[127.0.0.1]", ""}, {"[app.example.com]", ""}, {"*.example.com", ""}, {"(app)", ""},
		{strings.Repeat("a", 64) + ".example", ""}, {strings.Repeat("a.", 130), ""},
	} {
		got, err := canonicalHost(c.authority)
		if got != c.want || (err != nil) != (c.want == "") {
			t.Errorf("%q: %q, %v; want %q", c.authority, got, err, c.want)
		}
	}
}

func FuzzCanonicalHost(f *testing.F) {
	for _, s := range []string{"app.example.com:443", "[::1]:80", "a@b", "A.", "a:0", "[::ffff:1.2.3.4]"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, authority string) {
		host, err := canonicalHost(authority)
		if err != nil {
			return
		}
		if again, err := canonicalHost(host); err != nil || again != host {
			t.Errorf("%q is %q, and that is %q, %v", authority, host, again, err)
		}
		u, err := url.Parse("https://" + authority + "/")
		if err != nil || u.User != nil || u.Path != "/" || !strings.EqualFold(strings.TrimSuffix(u.Hostname(), "."), strings.Trim(host, "[]")) && !strings.HasPrefix(host, "[") {
			t.Errorf("%q is %q, net/url reads %v, %v", authority, host, u, err)
		}
	})
}

// However the host is spelt, a request is decided by the route of the host that the upstream is told, or refused.
func TestHostsOnTheWire(t *testing.T) {
	w := newWorld(t, nil)
	ask := func(lines string) (code int, host string) {
		t.Helper()
		conn := w.raw(lines + "Accept: application/json\r\nConnection: close\r\n\r\n")
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		w.must(err)
		io.Copy(io.Discard, res.Body)
		return res.StatusCode, res.Header.Get("X-Saw-Host")
	}
	for _, c := range []struct {
		lines string
		code  int
	}{
		{"GET / HTTP/1.1\r\nHost: open.example.com\r\n", 200},
		{"GET / HTTP/1.1\r\nHost: OPEN.example.COM.:9\r\n", 200},
		{"GET https://open.example.com/ HTTP/1.1\r\nHost: app.example.com\r\n", 200}, // RFC 9112 §3.2.2
		{"GET http://open.example.com HTTP/1.1\r\nHost: open.example.com\r\n", 200},
		{"GET http://open.example.com?x HTTP/1.1\r\nHost: open.example.com\r\n", 200},
		{"GET https://app.example.com/ HTTP/1.1\r\nHost: open.example.com\r\n", 401},
		{"GET / HTTP/1.1\r\nHost: app.example.com\r\nX-Forwarded-Host: open.example.com\r\n", 401},
		{"GET / HTTP/1.1\r\nHost: app.example.com\r\nForwarded: host=open.example.com\r\n", 401},
		{"GET / HTTP/1.1\r\nHost: app.example.com\r\nX-Host: open.example.com\r\n", 401},
		{"GET https://user@open.example.com/ HTTP/1.1\r\nHost: open.example.com\r\n", 400},
		{"GET https://open.example.com@app.example.com/ HTTP/1.1\r\nHost: open.example.com\r\n", 400},
		{"GET ftp://open.example.com/ HTTP/1.1\r\nHost: open.example.com\r\n", 400},
		{"GET https:/open.example.com/ HTTP/1.1\r\nHost: open.example.com\r\n", 400},
		{"GET https:open.example.com/ HTTP/1.1\r\nHost: open.example.com\r\n", 400},
		{"GET //open.example.com/ HTTP/1.1\r\nHost: open.example.com\r\n", 400},
		{"GET https://open.example.com/#x HTTP/1.1\r\nHost: open.example.com\r\n", 400},
		{"GET https://open.example.com#x HTTP/1.1\r\nHost: open.example.com\r\n", 400},
		{"GET open.example.com HTTP/1.1\r\nHost: open.example.com\r\n", 400},
		{"GET * HTTP/1.1\r\nHost: open.example.com\r\n", 400},
		{"GET / HTTP/1.1\r\nHost: open.example.com, app.example.com\r\n", 400},
		{"GET / HTTP/1.1\r\nHost: open.example.com/x\r\n", 400},
		{"GET / HTTP/1.1\r\nHost: open.example.com:99999\r\n", 400},
		{"GET / HTTP/1.1\r\nHost: open.example.com\r\nHost: app.example.com\r\n", 400},
		{"GET / HTTP/1.1\r\nHost:\r\n", 400},
		{"GET / HTTP/1.1\r\n", 400},
		{"GET / HTTP/1.1\r\nHost: open.example.com.evil.example\r\n", 404},
		{"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n", 404},
		{"GET / HTTP/1.0\r\n", 400},
		{"GET /?a#b HTTP/1.1\r\nHost: open.example.com\r\n", 400},
		{"CONNECT open.example.com:443 HTTP/1.1\r\nHost: open.example.com\r\n", 405},
		{"CONNECT / HTTP/1.1\r\nHost: open.example.com\r\n", 405},
		{"TRACE / HTTP/1.1\r\nHost: open.example.com\r\n", 401},
		{"get / HTTP/1.1\r\nHost: open.example.com\r\n", 401},
		{"FOO / HTTP/1.1\r\nHost: open.example.com\r\n", 401},
		{strings.Repeat("A", 40) + " / HTTP/1.1\r\nHost: open.example.com\r\n", 405},
	} {
		code, host := ask(c.lines)
		if code != c.code || (host != "") != (c.code == 200) || host != "" && host != "open.example.com" {
			t.Errorf("%q: %d, upstream told %q; want %d", c.lines, code, host, c.code)
		}
	}
}

// Where a request names its host more than once, all must agree (RFC 9113 §8.3.1).
func TestAuthorityAgrees(t *testing.T) {
	for _, c := range []struct {
		host, url, header string
		ok                bool
	}{
		{"a.example", "", "", true}, {"a.example", "a.example", "A.example:443", true},
		{"a.example", "b.example", "", false}, {"a.example", "", "b.example", false}, {"a.example", "", "a.example, b.example", false},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Host, r.URL.Host = c.host, c.url
		if c.header != "" {
			r.Header["Host"] = []string{c.header}
		}
		if host, err := authority(r); (err == nil) != c.ok || c.ok && host != "a.example" {
			t.Errorf("%+v: %q, %v", c, host, err)
		}
	}
}

// Ten hosts and a thousand are looked up alike.
func TestManyHosts(t *testing.T) {
	w := newWorld(t, func(s *Settings) {
		for i := range 1000 {
			r := s.Routes[1]
			r.Name, r.Host = fmt.Sprintf("r%d", i), fmt.Sprintf("R%d.example.com", i)
			s.Routes = append(s.Routes, r)
		}
	})
	for _, host := range []string{"r0.example.com", "R999.EXAMPLE.com", "r500.example.com.:1"} {
		if got, err := canonicalHost(host); err != nil || w.proxy.routing.Load().find(got, "/x") == nil {
			t.Errorf("%s is not found", host)
		}
	}
	if w.proxy.routing.Load().find("r1000.example.com", "/") != nil {
		t.Error("r1000.example.com is found")
	}
}
