package canonical

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestRequestHost_NamesAgree(t *testing.T) {
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
		if host, err := RequestHost(r); (err == nil) != c.ok || c.ok && host != "a.example" {
			t.Errorf("%+v: %q, %v", c, host, err)
		}
	}
}

func TestRequestHost_RejectsUserInfo(t *testing.T) {
	r := httptest.NewRequest("GET", "http://user@a.example/", nil)
	if host, err := RequestHost(r); err == nil {
		t.Errorf("the host is %q", host)
	}
}

func TestRequestTarget(t *testing.T) {
	for _, c := range []struct {
		target, path, query string
		major               int
		ok                  bool
	}{
		{"/", "/", "", 1, true},
		{"/a/b?c=d?e", "/a/b", "?c=d?e", 1, true},
		{"/a?", "/a", "?", 1, true},
		{"//a", "//a", "", 1, true}, // Path rejects it
		{"http://a.example", "/", "", 1, true},
		{"HTTPS://a.example/b?c", "/b", "?c", 1, true},
		{"http://a.example?c", "/", "?c", 1, true},
		{"http://a.example#c", "", "", 1, false},
		{"http://a.example/b", "", "", 2, false},
		{"ftp://a.example/b", "", "", 1, false},
		{"a.example:443", "", "", 1, false},
		{"*", "", "", 1, false},
		{"", "", "", 1, false},
		{"/a?b#c", "", "", 1, false},
		{"/a?b c", "", "", 1, false},
		{"/a?b\x7f", "", "", 1, false},
	} {
		path, query, err := RequestTarget(&http.Request{RequestURI: c.target, ProtoMajor: c.major})
		if path != c.path || query != c.query || (err == nil) != c.ok {
			t.Errorf("%q: %q, %q, %v", c.target, path, query, err)
		}
	}
}

func TestForwardedTarget(t *testing.T) {
	for _, c := range []struct {
		target, path, query string
		ok                  bool
	}{
		{"/a/b?c=d", "/a/b", "?c=d", true},
		{"/caf\u00e9", "/caf\u00e9", "", true},
		{"/a b", "", "", false},
		{"/a?b c", "", "", false},
		{"/a\tb", "", "", false},
		{"/a\xff", "", "", false},
		{"/a?b\u0085", "", "", false},
		{"/a?b#c", "", "", false},
	} {
		path, query, err := ForwardedTarget(c.target)
		if path != c.path || query != c.query || (err == nil) != c.ok {
			t.Errorf("%q: %q, %q, %v", c.target, path, query, err)
		}
	}
}

func FuzzForwardedTarget(f *testing.F) {
	f.Fuzz(func(t *testing.T, target string) {
		path, query, err := ForwardedTarget(target)
		if err != nil {
			return
		}
		if path+query != target || strings.Contains(path, "?") || query != "" && query[0] != '?' {
			t.Errorf("%q is split into %q and %q", target, path, query)
		}
		if strings.ContainsAny(target, " \t\r\n\x00\x7f") || strings.Contains(query, "#") {
			t.Errorf("%q is accepted", target)
		}
	})
}
