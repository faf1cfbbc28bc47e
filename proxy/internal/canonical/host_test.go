package canonical

import (
	"net/url"
	"strings"
	"testing"
)

func TestHost(t *testing.T) {
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
		got, err := Host(c.authority)
		if got != c.want || (err != nil) != (c.want == "") {
			t.Errorf("%q: %q, %v; want %q", c.authority, got, err, c.want)
		}
	}
}

func FuzzHost(f *testing.F) {
	f.Add("app.example.com:443")
	f.Add("a@b")
	f.Fuzz(func(t *testing.T, authority string) {
		host, err := Host(authority)
		if err != nil {
			return
		}
		if repeated, err := Host(host); err != nil || repeated != host {
			t.Errorf("Host(%q) is %q, but Host of that is %q, %v", authority, host, repeated, err)
		}
		u, err := url.Parse("https://" + authority + "/")
		if err != nil || u.User != nil || u.Path != "/" || !strings.EqualFold(strings.TrimSuffix(u.Hostname(), "."), strings.Trim(host, "[]")) && !strings.HasPrefix(host, "[") {
			t.Errorf("%q is %q, net/url reads %v, %v", authority, host, u, err)
		}
	})
}

func TestHostName(t *testing.T) {
	for _, c := range []struct{ text, host, fault string }{
		{"App.example.com", "app.example.com", ""},
		{"[::1]", "[::1]", ""},
		{"", "", "no host"},
		{"*.example.com", "", "hosts are exact"},
		{"app.example.com:8443", "", "the port is public_url's for every host; write app.example.com"},
		{"b\u00fccher.example", "", "xn--"},
		{"[::1", "", "no host name"},
	} {
		host, err := HostName(c.text)
		if host != c.host || (err == nil) != (c.fault == "") || err != nil && !strings.Contains(err.Error(), c.fault) {
			t.Errorf("%q: %q, %v", c.text, host, err)
		}
	}
}
