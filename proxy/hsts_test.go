package proxy

import (
	"bufio"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"sallyport/proxy/internal/canonical"
	"sallyport/proxy/internal/hsts"
)

// TestHSTS_OnEveryResponse checks that every response of our hosts has the header, in place of the upstream's, and that
// no other response has it.
func TestHSTS_OnEveryResponse(t *testing.T) {
	const ours, theirs = "max-age=31536000", "max-age=1; includeSubDomains; preload"
	w := newWorld(t, nil)
	w.setUpstream(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/sets" {
			rw.Header()["Strict-Transport-Security"] = []string{theirs, theirs}
		}
		_, _ = io.WriteString(rw, "here")
	})
	for _, h2 := range []bool{false, true} {
		for target, want := range map[string]string{
			"https://open.example.com/":                              ours,
			"https://open.example.com/sets":                          ours,
			"https://open.example.com/a%2Fb":                         ours, // denied
			"https://app.example.com/":                               ours, // not signed in
			"https://app.example.com/.sallyport/me":                  ours,
			"https://app.example.com/.sallyport/nothing":             ours,
			"https://login.example.com/.sallyport/login?return_to=/": ours,
			"https://login.example.com/nowhere":                      ours,
			"https://unknown.example.com/":                           "",
		} {
			res, _ := w.get(w.client(h2), target)
			if got := strings.Join(res.Header["Strict-Transport-Security"], ", "); got != want {
				t.Errorf("%s: %q, want %q", target, got, want)
			}
		}
	}
}

// TestHSTS_OnInformationalAndSwitching checks that informational responses and the 101 of a WebSocket have our header,
// and that informational responses have no hop-by-hop headers.
func TestHSTS_OnInformationalAndSwitching(t *testing.T) {
	const header = "Strict-Transport-Security: max-age=1; includeSubDomains\r\n"
	informational := "HTTP/1.1 103 Early Hints\r\nConnection: X-Hop\r\nX-Hop: x\r\nKeep-Alive: timeout=5\r\nLink: </a.css>\r\n" + header + "\r\n"
	w := newWorld(t, func(s *Settings) {
		s.Routes[1].Upstream = Upstreams{rawUpstream(t, informational+"HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
			"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"+header+"\r\n")}
	})
	in := bufio.NewReader(w.sendRaw(handshake))
	for _, want := range []int{http.StatusEarlyHints, http.StatusSwitchingProtocols} {
		res, err := http.ReadResponse(in, nil)
		w.must(err)
		if got := strings.Join(res.Header["Strict-Transport-Security"], ", "); res.StatusCode != want || got != "max-age=31536000" {
			t.Errorf("%d: %q", res.StatusCode, got)
		}
		if want == http.StatusEarlyHints && (len(res.Header) != 2 || res.Header.Get("Link") == "") {
			t.Errorf("informational: %v", res.Header)
		}
	}
}

// TestHSTS_BehindTrustedProxy checks that a trusted proxy, and no other, decides whether the client used TLS.
func TestHSTS_BehindTrustedProxy(t *testing.T) {
	for _, c := range []struct {
		name    string
		trusted []string
		proto   string
		want    string
	}{
		{"trusted proxy, https", []string{"127.0.0.0/8"}, "https", "max-age=31536000"},
		{"trusted proxy, http", []string{"127.0.0.0/8"}, "http", ""},
		{"untrusted proxy, https", nil, "https", ""},
	} {
		w := newWorld(t, func(s *Settings) { s.TrustedProxies = c.trusted })
		s := httptest.NewServer(w.proxy)
		r, err := http.NewRequest(http.MethodGet, s.URL, nil)
		w.must(err)
		r.Host = openHost
		r.Header.Set("X-Forwarded-Proto", c.proto)
		res, err := s.Client().Do(r)
		w.must(err)
		_ = res.Body.Close()
		s.Close()
		if got := res.Header.Get("Strict-Transport-Security"); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// TestHSTS_Settings checks the header for each setting. Without one, the upstream's header is forwarded.
func TestHSTS_Settings(t *testing.T) {
	for _, c := range []struct {
		hsts         hsts.Settings
		public, want string
	}{
		{hsts.Settings{MaxAge: hsts.Year}, "https://login.example.com", "max-age=31536000"},
		{hsts.Settings{MaxAge: time.Second}, "https://login.example.com", "max-age=1"},
		{hsts.Settings{MaxAge: 2 * hsts.Year, IncludeSubdomains: true, Preload: true}, "https://login.example.com", "max-age=63072000; includeSubDomains; preload"},
		{hsts.Settings{}, "https://login.example.com", ""},
		{hsts.Settings{MaxAge: hsts.Year}, "https://localhost:8443", ""},
		{hsts.Settings{MaxAge: hsts.Year}, "https://login.localhost", ""},
		{hsts.Settings{MaxAge: hsts.Year}, "http://localhost:8080", ""},
		{hsts.Settings{MaxAge: hsts.Year}, "https://192.0.2.1", ""},
		{hsts.Settings{MaxAge: hsts.Year}, "https://[2001:db8::1]", ""},
	} {
		public, err := url.Parse(c.public)
		if err != nil {
			t.Fatal(err)
		}
		host, err := canonical.Host(public.Host)
		if err != nil {
			t.Fatal(err)
		}
		if got := c.hsts.Header(public, host); got != c.want {
			t.Errorf("%+v at %s: %q, want %q", c.hsts, c.public, got, c.want)
		}
	}
	w := newWorld(t, func(s *Settings) { s.HSTS = hsts.Settings{} })
	w.setUpstream(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Strict-Transport-Security", "max-age=5")
	})
	if res, _ := w.get(w.client(true), "https://open.example.com/"); res.Header.Get("Strict-Transport-Security") != "max-age=5" {
		t.Errorf("the upstream's header is not forwarded: %v", res.Header)
	}
}
