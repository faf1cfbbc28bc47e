package proxy

import (
	"bufio"
	"fmt"
	"net/http"
	"net/textproto"
	"slices"
	"strings"
	"testing"

	"sallyport/proxy/internal/header"
	"sallyport/proxy/internal/identity"
)

// separators are the characters besides letters and digits that the name of a header may contain (RFC 9110 §5.6.2).
const separators = "-!#$%&'*+.^_`|~"

// spoofed are headers that upstreams trust. Each must reach the upstream with our value or not at all.
var spoofed = []string{"X-Forwarded-User", "X-Forwarded-Email", "X-Forwarded-Preferred-Username", "X-Forwarded-Groups", "X-Sallyport-Assertion",
	"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Port", "X-Forwarded-Prefix", "X-Forwarded-Uri", "X-Forwarded-Anything",
	"X-Real-IP", "Forwarded", "X-Original-URL", "X-Rewrite-URL", "X-HTTP-Method-Override", "Proxy",
	"X-Host", "X-HTTP-Host-Override", "X-Original-Host", "X-HTTP-Path-Override", "X-Envoy-Original-Path", "X-Script-Name", "X-Method", "X-Url-Scheme",
	"X-Envoy-Original-Host", "X-Envoy-Retry-On", "X-Host-Override", "X-Original-Path", "X-Request-URI", "X-Path-Info", "Script-Name", "X-Scheme",
	"X-ProxyContextPath", "X-HTTP-Method", "X-Rewrite-Path", "X-Override-URL", "X-Waws-Unencoded-URL", "Front-End-Https", "X-Client-IP", "True-Client-IP"}

// spellings returns the variants of a name that some application reads as that name.
func spellings(name string) (list []string) {
	for _, s := range separators {
		variant := strings.ReplaceAll(name, "-", string(s))
		list = append(list, variant, strings.ToUpper(variant), strings.ToLower(variant))
		if first, rest, found := strings.Cut(name, "-"); found {
			list = append(list, first+string(s)+rest, strings.ReplaceAll(name[:len(name)-1], "-", string(s))+name[len(name)-1:])
		}
	}
	return list
}

const forged = "forged-by-the-client"

// TestIdentityHeaders_CannotBeForged sends every spelling of every header in spoofed, as alice and anonymously, over HTTP/1.1
// and HTTP/2 and with the handshake of a WebSocket, and checks that no value of the client reaches the upstream.
func TestIdentityHeaders_CannotBeForged(t *testing.T) {
	w := newWorld(t, nil)
	_, alice := w.signIn("alice", appHost)
	all := http.Header{}
	for _, name := range spoofed {
		for _, spelling := range spellings(name) {
			all[spelling] = []string{forged}
		}
	}
	bothProtocols(t, w, func(t *testing.T, c *http.Client) {
		for caller, host := range map[string]string{"signed_in": appHost, "anonymous": openHost} {
			t.Run(caller, func(t *testing.T) {
				for _, batch := range batches(all, 100) {
					pairs := append(batch, "Cookie", alice)
					res, seen := w.get(c, "https://"+host+"/", pairs...)
					if res.StatusCode != 200 || strings.Contains(seen, forged) {
						t.Fatalf("%d\n%s", res.StatusCode, seen)
					}
					checkIdentity(t, seen, host == appHost)
				}
			})
		}
	})
	t.Run("websocket", func(t *testing.T) {
		var seen http.Header
		w.setUpstream(func(rw http.ResponseWriter, r *http.Request) { seen = r.Header; echo(rw, r) })
		for caller, host := range map[string]string{"signed in": appHost, "anonymous": openHost} {
			for _, batch := range batches(all, 100) {
				conn := dial(w, w.client(false), "https://"+host+"/", append(batch, "Cookie", alice))
				var text strings.Builder
				_ = seen.Write(&text)
				if strings.Contains(text.String(), forged) {
					t.Fatalf("%s:\n%s", caller, text.String())
				}
				checkIdentity(t, text.String(), host == appHost)
				conn.CloseNow()
			}
		}
	})
}

// batches returns the headers in batches of size, each in pairs of name and value.
func batches(h http.Header, size int) (list [][]string) {
	var names []string
	for name := range h {
		names = append(names, name)
	}
	slices.Sort(names)
	for chunk := range slices.Chunk(names, size) {
		var pairs []string
		for _, name := range chunk {
			pairs = append(pairs, name, h[name][0])
		}
		list = append(list, pairs)
	}
	return list
}

// checkIdentity checks that the headers that an upstream saw identify alice, or an anonymous caller, each once.
func checkIdentity(t *testing.T, seen string, alice bool) {
	t.Helper()
	h, err := textproto.NewReader(bufio.NewReader(strings.NewReader(seen + "\r\n"))).ReadMIMEHeader()
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][]string{"X-Forwarded-For": {"127.0.0.1"}, "X-Forwarded-Proto": {"https"}, "X-Forwarded-Host": {openHost}}
	if alice {
		want["X-Forwarded-Host"] = []string{appHost}
		want["X-Forwarded-User"], want["X-Forwarded-Email"] = []string{"alice@example.com"}, []string{"alice@example.com"}
		want["X-Forwarded-Preferred-Username"], want["X-Forwarded-Groups"] = []string{"alice@example.com"}, []string{staff}
	}
	for _, name := range spoofed {
		name = http.CanonicalHeaderKey(name)
		if name == "X-Sallyport-Assertion" {
			if len(h[name]) != map[bool]int{true: 1}[alice] {
				t.Errorf("%s: %q", name, h[name])
			}
		} else if !slices.Equal(h[name], want[name]) {
			t.Errorf("%s: %q, want %q", name, h[name], want[name])
		}
	}
}

// TestIdentityHeaders_SurviveConnection checks that a Connection header cannot remove headers of ours (RFC 9110 §7.6.1).
func TestIdentityHeaders_SurviveConnection(t *testing.T) {
	w := newWorld(t, nil)
	_, alice := w.signIn("alice", appHost)
	c := w.client(false)
	for _, name := range append(slices.Clone(spoofed), "Cookie", "Host", "Authorization", "Connection", "close", "keep-alive") {
		for _, form := range []string{"%s", "close, %s", "%s, close", "keep-alive,%s", " , %s ,, ", "\t%s\t", "%s;q=1", "%[1]s,%[1]s", "upgrade, %s", `"%s"`} {
			for _, spelling := range []string{name, strings.ToLower(name), strings.ReplaceAll(name, "-", "_")} {
				res, seen := w.get(c, "https://"+appHost+"/", "Cookie", alice, "Connection", fmt.Sprintf(form, spelling), "X-Forwarded-User", forged)
				if res.StatusCode != 200 || strings.Contains(seen, forged) {
					t.Fatalf("Connection: %s %s: %d\n%s", form, spelling, res.StatusCode, seen)
				}
				checkIdentity(t, seen, true)
			}
		}
	}
}

func TestAuthorization_ForwardedOnlyWhereAllowed(t *testing.T) {
	w := newWorld(t, func(s *Settings) {
		pass := s.Routes[1]
		pass.Name, pass.Host, pass.PassAuthorization, pass.Accept = "pass", "pass.example.com", true, []string{"session"}
		s.Routes = append(s.Routes, pass)
	})
	for host, want := range map[string]bool{openHost: false, "pass.example.com": true} {
		_, seen := w.get(w.client(true), "https://"+host+"/", "Authorization", "Basic YTpi", "Proxy-Authorization", "Basic YTpi")
		if strings.Contains(seen, "\nAuthorization: Basic YTpi") != want && strings.HasPrefix(seen, "Authorization: Basic YTpi") != want || strings.Contains(seen, "Proxy-Authorization") {
			t.Errorf("%s:\n%s", host, seen)
		}
	}
	_, seen := w.get(w.client(true), "https://"+apiHost+"/v1/", "Authorization", "Bearer "+w.token("alice", nil))
	if strings.Contains(seen, "Bearer") {
		t.Errorf("the token reached the upstream:\n%s", seen)
	}
}

// TestHeaders_OthersAreForwarded checks that variants of headers that frame or route a request are dropped, and that all
// other headers are forwarded unchanged.
func TestHeaders_OthersAreForwarded(t *testing.T) {
	w := newWorld(t, nil)
	_, seen := w.get(w.client(false), "https://"+openHost+"/", "api_key", "1", "X.Custom", "2", "X-Custom", "3", "Content_Length", "4", "Content.Length", "5",
		"Transfer_Encoding", "chunked", "Accept-Language", "de", "X-Forwarder", "6", "User_Agent", "7", "Proxy", "8", "Sec_WebSocket_Key", "9", "X-Request-Id", "10")
	for _, want := range []string{"Api_key: 1", "X.custom: 2", "X-Custom: 3", "Accept-Language: de", "X-Forwarder: 6", "X-Request-Id: 10"} {
		if !strings.Contains(seen, want+"\r\n") {
			t.Errorf("%s is not forwarded:\n%s", want, seen)
		}
	}
	for _, dropped := range []string{": 4", ": 5", "chunked", ": 7", ": 8", ": 9"} {
		if strings.Contains(seen, dropped+"\r\n") {
			t.Errorf("%q is forwarded:\n%s", dropped, seen)
		}
	}
}

func TestHeaderValue_PercentEncodes(t *testing.T) {
	for text, want := range map[string]string{
		"alice@example.com":     "alice@example.com",
		"Alice Doe":             "Alice Doe",
		"Jörg":                  "J%C3%B6rg",
		"100%":                  "100%25",
		" admin":                "%20admin",
		"admin ":                "admin%20",
		"a\r\nX-Admin: 1":       "a%0D%0AX-Admin: 1",
		"a\x00b\x7f":            "a%00b%7F",
		"=?utf-8?q?admin?=":     "=?utf-8?q?admin?=",
		"\xff":                  "%FF",
		"a,b":                   "a,b",
		"日本":                    "%E6%97%A5%E6%9C%AC",
		"":                      "",
		"urn:x;y=\"z\" (c) <d>": "urn:x;y=\"z\" (c) <d>",
	} {
		if got := header.Value(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	if got := (identity.Headers{}).GroupList([]string{"a,Admins", "b c", staff}); got != "a%2CAdmins,b%20c,"+staff {
		t.Errorf("groups: %q", got)
	}
}

// FuzzHeaderNames checks that no spelling of a managed header is forwarded.
func FuzzHeaderNames(f *testing.F) {
	names := Defaults().managedNames()
	f.Fuzz(func(t *testing.T, name string) {
		h := names.Strip(http.Header{name: {"x"}})
		cgi := strings.Map(func(r rune) rune {
			if 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' {
				return r
			}
			return '_'
		}, strings.ToUpper(name))
		managed := strings.HasPrefix(cgi, "X_FORWARDED_") || cgi == "X_SALLYPORT_ASSERTION"
		if _, ok := h[name]; ok && managed && isASCII(name) {
			t.Errorf("%q is forwarded", name)
		}
	})
}

func isASCII(s string) bool { return strings.IndexFunc(s, func(r rune) bool { return r >= 0x80 }) < 0 }
