package proxy

import (
	"bufio"
	"fmt"
	"net/http"
	"net/textproto"
	"slices"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"sallyport/directory"
	"sallyport/session"
)

// separators are the characters besides letters and digits that the name of a header may contain (RFC 9110 §5.6.2).
const separators = "-!#$%&'*+.^_`|~"

// spoofed are headers whose value must be ours, or absent.
var spoofed = []string{"X-Forwarded-User", "X-Forwarded-Email", "X-Forwarded-Preferred-Username", "X-Forwarded-Groups", "X-Sallyport-Assertion",
	"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Port", "X-Forwarded-Prefix", "X-Forwarded-Uri", "X-Forwarded-Anything",
	"X-Real-IP", "Forwarded", "X-Original-URL", "X-Rewrite-URL", "X-HTTP-Method-Override", "Proxy"}

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

// TestIdentityHeaders_CannotBeForged sends every spelling of every managed header, signed in and anonymous, with and
// without the handshake of a WebSocket, over HTTP/1.1 and HTTP/2.
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
		for who, host := range map[string]string{"signed in": appHost, "anonymous": openHost} {
			t.Run(who, func(t *testing.T) {
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
	t.Run("with an upgrade", func(t *testing.T) {
		var seen http.Header
		w.behindIs(func(rw http.ResponseWriter, r *http.Request) { seen = r.Header; echo(rw, r) })
		for who, host := range map[string]string{"signed in": appHost, "anonymous": openHost} {
			for _, batch := range batches(all, 100) {
				conn := dial(w, w.client(false), "https://"+host+"/", append(batch, "Cookie", alice))
				var text strings.Builder
				_ = seen.Write(&text)
				if strings.Contains(text.String(), forged) {
					t.Fatalf("%s:\n%s", who, text.String())
				}
				checkIdentity(t, text.String(), host == appHost)
				conn.CloseNow()
			}
		}
	})
}

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
		want["X-Forwarded-Preferred-Username"], want["X-Forwarded-Groups"] = []string{"Alice Doe"}, []string{staff}
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

func TestCookies_OursAreNotForwarded(t *testing.T) {
	w := newWorld(t, nil)
	_, alice := w.signIn("alice", appHost)
	binding := "__Host-sallyport-door=" + strings.Repeat("A", 43)
	flow := "__Host-sallyport-flow-12345678=sealed"
	for _, c := range []struct{ sent, want string }{
		{alice, ""},
		{"a=1; " + alice, "a=1"},
		{alice + "; a=1", "a=1"},
		{"a=1; " + alice + "; b=2", "a=1; b=2"},
		{"a=1;" + alice + ";b=2", "a=1;b=2"},
		{`odd="x y, z"; ` + alice + `; =nameless; b=2=3; c`, `odd="x y, z"; =nameless; b=2=3; c`},
		{"a=1; " + alice + "; " + binding + "; b=2; " + flow, "a=1; b=2"},
		{"host-sallyport=mine; " + alice, "host-sallyport=mine"},
		{"a=%20\xe9; " + alice, "a=%20\xe9"},
		{`a="x; ` + alice + `; y"`, `a="x; y"`},
	} {
		res, seen := w.get(w.client(false), "https://"+appHost+"/", "Cookie", c.sent) // HTTP/2 cuts the header up by itself
		line := ""
		for l := range strings.Lines(seen) {
			if rest, found := strings.CutPrefix(l, "Cookie: "); found {
				line = strings.TrimRight(rest, "\r\n")
			}
		}
		if res.StatusCode != 200 || line != c.want {
			t.Errorf("%q: %d, upstream saw %q, want %q", c.sent, res.StatusCode, line, c.want)
		}
	}
	t.Run("whatever their spelling", func(t *testing.T) {
		for _, sent := range []string{"__host-SALLYPORT=x", " __Host-sallyport =x", "__Host-sallyport-door", "=__Host-sallyport=x", "\t__Host-sallyport\t=x", `"__Host-sallyport"=x`} {
			if got := stripOurCookies([]string{"a=1; " + sent, sent, "b=2"}); !slices.Equal(got, []string{"a=1", "b=2"}) {
				t.Errorf("%q: %q", sent, got)
			}
		}
		others := []string{`a="b; c"; $Version=1`, "x=__Host-", "_=_; __=__"}
		if got := stripOurCookies(others); !slices.Equal(got, others) {
			t.Errorf("%q", got)
		}
	})
}

// TestCookies_UpstreamCannotSetOurs checks that an upstream can set its own cookies and none of ours.
func TestCookies_UpstreamCannotSetOurs(t *testing.T) {
	w := newWorld(t, nil)
	w.behindIs(func(rw http.ResponseWriter, r *http.Request) {
		for _, c := range []string{"app=1; Path=/", "__Host-sallyport=evil; Path=/; Secure", "__host-Sallyport-door=evil", " __Host-sallyport =x", "=__Host-sallyport=x", "__Host-sallyport", "b=__Host-sallyport"} {
			rw.Header().Add("Set-Cookie", c)
		}
		rw.Header().Add("Link", "</style.css>; rel=preload")
		rw.WriteHeader(http.StatusEarlyHints)
	})
	res, _ := w.get(w.client(true), "https://"+openHost+"/")
	if got := res.Header["Set-Cookie"]; !slices.Equal(got, []string{"app=1; Path=/", "b=__Host-sallyport"}) {
		t.Errorf("%q", got)
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
			t.Errorf("%s did not pass:\n%s", want, seen)
		}
	}
	for _, gone := range []string{": 4", ": 5", "chunked", ": 7", ": 8", ": 9"} {
		if strings.Contains(seen, gone+"\r\n") {
			t.Errorf("%q passed:\n%s", gone, seen)
		}
	}
}

func TestHeaderValue(t *testing.T) {
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
		if got := headerValue(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	if got := groupList([]string{"a,Admins", "b c", staff}); got != "a%2CAdmins,b%20c,"+staff {
		t.Errorf("groups: %q", got)
	}
}

func TestForwardedFor(t *testing.T) {
	for _, c := range []struct {
		name    string
		trusted []string
		headers []string
		address string
		chain   string
		proto   string
	}{
		{"no proxy is trusted", nil, []string{"X-Forwarded-For", "1.1.1.1", "X-Forwarded-Proto", "http"}, "127.0.0.1", "127.0.0.1", "https"},
		{"another network is trusted", []string{"10.0.0.0/8"}, []string{"X-Forwarded-For", "1.1.1.1", "X-Forwarded-Proto", "http"}, "127.0.0.1", "127.0.0.1", "https"},
		{"a trusted proxy", []string{"127.0.0.0/8"}, []string{"X-Forwarded-For", "1.1.1.1", "X-Forwarded-Proto", "http"}, "1.1.1.1", "1.1.1.1, 127.0.0.1", "http"},
		{"what the client made up is dropped", []string{"127.0.0.1"}, []string{"X-Forwarded-For", "6.6.6.6, 1.1.1.1"}, "1.1.1.1", "1.1.1.1, 127.0.0.1", "https"},
		{"two trusted proxies", []string{"127.0.0.1", "10.0.0.0/8"}, []string{"X-Forwarded-For", "6.6.6.6, 1.1.1.1", "X-Forwarded-For", "10.1.1.1"}, "1.1.1.1", "1.1.1.1, 10.1.1.1, 127.0.0.1", "https"},
		{"IPv4-mapped IPv6", []string{"127.0.0.1", "10.0.0.0/8"}, []string{"X-Forwarded-For", "2.2.2.2, ::ffff:10.1.1.1"}, "2.2.2.2", "2.2.2.2, 10.1.1.1, 127.0.0.1", "https"},
		{"garbage", []string{"127.0.0.1"}, []string{"X-Forwarded-For", "1.1.1.1, unknown"}, "127.0.0.1", "127.0.0.1", "https"},
		{"no headers", []string{"127.0.0.1"}, nil, "127.0.0.1", "127.0.0.1", "https"},
		{"a doubled scheme", []string{"127.0.0.1"}, []string{"X-Forwarded-Proto", "http", "X-Forwarded-Proto", "https"}, "127.0.0.1", "127.0.0.1", "https"},
		{"an odd scheme", []string{"127.0.0.1"}, []string{"X-Forwarded-Proto", "javascript"}, "127.0.0.1", "127.0.0.1", "https"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, func(s *Settings) { s.TrustedProxies = c.trusted })
			_, seen := w.get(w.client(false), "https://"+openHost+"/", c.headers...)
			for name, want := range map[string]string{"X-Forwarded-For": c.chain, "X-Forwarded-Proto": c.proto, "X-Forwarded-Host": openHost} {
				if !strings.Contains(seen, name+": "+want+"\r\n") {
					t.Errorf("%s is not %q:\n%s", name, want, seen)
				}
			}
			if line := w.events("decision"); len(line) != 1 || !strings.Contains(line[0], `"address":"`+c.address+`"`) {
				t.Errorf("recorded %s", line)
			}
		})
	}
}

func TestAssertion(t *testing.T) {
	w := newWorld(t, nil)
	w.hire("dana", staff, admins)
	_, cookie := w.signIn("dana", appHost)
	c := w.client(true)
	assertion := func() string {
		t.Helper()
		_, seen := w.get(c, "https://"+appHost+"/", "Cookie", cookie)
		for l := range strings.Lines(seen) {
			if rest, found := strings.CutPrefix(l, "X-Sallyport-Assertion: "); found {
				return strings.TrimSpace(rest)
			}
		}
		t.Fatalf("no assertion:\n%s", seen)
		return ""
	}
	_, text := w.get(c, "https://"+appHost+"/.sallyport/jwks.json")
	var keys jose.JSONWebKeySet
	w.must(jsonUnmarshal(text, &keys))

	first := assertion()
	parsed, err := jwt.ParseSigned(first, []jose.SignatureAlgorithm{jose.ES256})
	w.must(err)
	key := keys.Key(parsed.Headers[0].KeyID)
	if len(key) != 1 || key[0].Use != "sig" || !key[0].Valid() || !key[0].IsPublic() {
		t.Fatalf("keys %+v", keys)
	}
	var std jwt.Claims
	var own claims
	w.must(parsed.Claims(key[0], &std, &own))
	u := w.user("dana")
	if std.Issuer != "https://"+loginHost || !slices.Equal(std.Audience, []string{"app"}) || std.Subject != u.ID || own.Email != u.Email ||
		own.UserName != u.UserName || !slices.Equal(own.Groups, []string{staff, admins}) || own.Expires-own.Issued != 60 {
		t.Errorf("%+v %+v", std, own)
	}
	if again := assertion(); again != first {
		t.Error("signed anew for the same facts at once")
	}
	w.update(func(tx *directory.Tx) error {
		d, err := tx.User(u.ID)
		if err != nil {
			return err
		}
		d.Document = []byte(`{"displayName":"Dana Doe","emails":[{"value":"dana.new@example.com"}]}`)
		return tx.PutUser(&d)
	})
	parsed, err = jwt.ParseSigned(assertion(), []jose.SignatureAlgorithm{jose.ES256})
	w.must(err)
	w.must(parsed.Claims(key[0], &own))
	if own.Email != "dana.new@example.com" {
		t.Errorf("an assertion of old facts: %+v", own)
	}
	t.Run("groups that the route does not name stay here", func(t *testing.T) {
		w.update(func(tx *directory.Tx) error {
			g := directory.Group{ExternalID: "another", DisplayName: "Unrelated"}
			if err := tx.PutGroup(&g); err != nil {
				return err
			}
			_, err := tx.AddMembers(g.ID, []string{u.ID})
			return err
		})
		_, seen := w.get(c, "https://"+appHost+"/", "Cookie", cookie)
		if !strings.Contains(seen, "X-Forwarded-Groups: "+staff+","+admins+"\r\n") {
			t.Errorf("%s", seen)
		}
	})
}

// FuzzCookieHeader checks that no cookie of ours is left in any Cookie header, and that all others are.
func FuzzCookieHeader(f *testing.F) {
	f.Fuzz(func(t *testing.T, line string) {
		got := stripOurCookies([]string{line})
		if slices.ContainsFunc(got, mentionsOurCookie) {
			t.Errorf("%q leaves %q", line, got)
		}
		if !mentionsOurCookie(line) && !slices.Equal(got, []string{line}) {
			t.Errorf("%q became %q", line, got)
		}
		r := http.Request{Header: http.Header{"Cookie": got}}
		for _, c := range r.Cookies() {
			if strings.HasPrefix(strings.ToLower(c.Name), strings.ToLower(session.CookieName)) {
				t.Errorf("%q leaves %v", line, c)
			}
		}
	})
}

// FuzzHeaderNames checks that no spelling of a managed header is forwarded.
func FuzzHeaderNames(f *testing.F) {
	names := managedNames(Defaults().IdentityHeaders)
	f.Fuzz(func(t *testing.T, name string) {
		h := names.strip(http.Header{name: {"x"}})
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
