package proxy

import (
	"fmt"
	"net/http"
	"net/url"
	"path"
	"strings"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"

	"sallyport/policy"
)

func TestCanonicalPath(t *testing.T) {
	for raw, want := range map[string]string{
		"/":                          "/",
		"/a/b":                       "/a/b",
		"/a/":                        "/a/",
		"/A/b":                       "/A/b",
		"/-._~!$&'()*+,=:@":          "/-._~!$&'()*+,=:@",
		"/%41%62%7A%30":              "/Abz0",
		"/%7Euser":                   "/~user",
		"/%2D%5F":                    "/-_",
		"/a%40b.example":             "/a@b.example",
		"/a%3ab%2c%2b%3d%26%24%21":   "/a:b,+=&$!",
		"/a%20b":                     "/a%20b",
		"/a b":                       "/a%20b",
		`/"<>^` + "`{|}":             "/%22%3C%3E%5E%60%7B%7C%7D",
		"/%22%3c%3e":                 "/%22%3C%3E",
		"/[x]":                       "/%5Bx%5D",
		"/caf\u00e9":                 "/caf%C3%A9",
		"/caf%c3%a9":                 "/caf%C3%A9",
		"/%E2%82%AC":                 "/%E2%82%AC",
		"/...":                       "/...",
		"/.hidden":                   "/.hidden",
		"/a..":                       "/a..",
		"/..a":                       "/..a",
		"/.well-known/x":             "/.well-known/x",
		"/public../admin":            "/public../admin",
		"/api/v4/projects/1/-/raw":   "/api/v4/projects/1/-/raw",
		"/wiki/Caf%C3%A9_(disambig)": "/wiki/Caf%C3%A9_(disambig)",
		"/*":                         "/*",
	} {
		got, lenient, err := canonicalPath(raw)
		if err != nil || lenient || got != want {
			t.Errorf("%q: %q, lenient %v, %v; want %q", raw, got, lenient, err, want)
		}
	}
}

func TestLenientPaths(t *testing.T) {
	for raw, want := range map[string]string{
		"/a%2fb":                                "/a%2Fb",
		"/a%2Fb%5cc":                            "/a%2Fb%5Cc",
		`/a\b`:                                  "/a%5Cb",
		"/a;v=1/b":                              "/a;v=1/b",
		"/a%3bv":                                "/a%3Bv",
		"/a%2Etxt":                              "/a.txt",
		"/100%25":                               "/100%25",
		"/a%2525":                               "/a%2525",
		"/a%23b%3fc":                            "/a%23b%3Fc",
		"/a//b":                                 "/a//b",
		"/a//":                                  "/a//",
		"/group%2Fproject/-/blob/main/a%2Eb":    "/group%2Fproject/-/blob/main/a.b",
		"/%2Esallyport/login":                   "/.sallyport/login",
		"/api/v4/projects/group%2Fproject/jobs": "/api/v4/projects/group%2Fproject/jobs",
	} {
		got, lenient, err := canonicalPath(raw)
		if err != nil || !lenient || got != want {
			t.Errorf("%q: %q, lenient %v, %v; want %q", raw, got, lenient, err, want)
		}
	}
}

// oddSegments are ways to write a step up or a separator that some server or framework has understood.
var oddSegments = []string{
	"..", ".", "%2e%2e", "%2E%2E", ".%2e", "%2e.", "%2e", "..;", "..;x=y", ".;", "%2e%2e;", "..%3b", "%2e%2e%3b",
	"..%2f", "..%2F", "%2e%2e%2f", "..%5c", "..%5C", `..\`, `%2e%2e\`, "%2f..%2f", "%5c..%5c", `\..\`, "/..",
	"%252e%252e", "%252e%252e%252f", "..%252f", "..%255c", "%25252e%25252e%25252f", "%2525252e%2525252e",
	"%c0%ae%c0%ae", "%c0%2e", "%e0%80%ae", "%f0%80%80%ae", "%c0%af", "%e0%80%af", "%c1%9c", "%c1%1c", "%c0%9v",
	"%uff0e%uff0e", "%u002e", "%u2215", "%2", "%", "%zz", "%2g", "%-1", "% 2e", "%00", "..%00", "..%00/", "a%00.html",
	"%0a", "%0d%0a", "..%0a", "%09", "..%09", "%7f", "%1f", "%c2%80", "%c2%85", "\x01", "\x7f", "\xff", "\xc0\xae", "%ff", "%fe", "%80",
	"%ed%a0%80", "%f4%90%80%80", "%f8%80%80%80%ae", "..%c0%af", "%c0%ae%c0%ae%c0%af",
}

// No way of writing a step up or a separator reaches anything, be the route strict or lenient.
func TestStepsUpHaveNoSpelling(t *testing.T) {
	for _, odd := range oddSegments {
		for _, frame := range []string{"/public/%s/admin", "/public/%s", "/%s/admin", "/%s", "/a/%s/%[1]s/x"} {
			raw := fmt.Sprintf(frame, odd)
			got, lenient, err := canonicalPath(raw)
			if err == nil && !lenient {
				t.Errorf("%q is %q", raw, got)
			}
			if err == nil && climbs(got) {
				t.Errorf("%q is %q on lenient routes", raw, got)
			}
		}
	}
	for _, raw := range []string{"", "a", "*", "admin/secret", "//", "//admin", "//evil.example/x", "/" + strings.Repeat("a", longestPath), "http://x/", "?x"} {
		if got, _, err := canonicalPath(raw); err == nil {
			t.Errorf("%q is %q", raw, got)
		}
	}
}

// climbs says whether some reader could find a step up in a path: decoding it up to four times, taking backslashes
// for slashes, dropping parameters, ending at a NUL.
func climbs(p string) bool {
	for range 5 {
		for _, view := range []string{p, strings.ReplaceAll(p, `\`, "/")} {
			for segment := range strings.SplitSeq(view, "/") {
				bare, _, _ := strings.Cut(segment, ";")
				bare, _, _ = strings.Cut(bare, "\x00")
				if bare == ".." || bare == "." {
					return true
				}
			}
		}
		next, err := url.PathUnescape(p)
		if err != nil || next == p {
			return false
		}
		p = next
	}
	return false
}

// views are how servers in the world read a path; they must agree on a strict one.
var views = map[string]func(string) (string, error){
	"decoded once": url.PathUnescape,
	"decoded twice": func(p string) (string, error) {
		once, err := url.PathUnescape(p)
		if err != nil {
			return "", err
		}
		return url.PathUnescape(once)
	},
	"cleaned after decoding": func(p string) (string, error) {
		once, err := url.PathUnescape(p)
		return keepSlash(once), err
	},
	"cleaned before decoding": func(p string) (string, error) { return url.PathUnescape(keepSlash(p)) },
	"without parameters": func(p string) (string, error) {
		var kept []string
		for segment := range strings.SplitSeq(p, "/") {
			bare, _, _ := strings.Cut(segment, ";")
			kept = append(kept, bare)
		}
		return url.PathUnescape(strings.Join(kept, "/"))
	},
	"backslashes for slashes": func(p string) (string, error) {
		once, err := url.PathUnescape(p)
		return keepSlash(strings.ReplaceAll(once, `\`, "/")), err
	},
	"slashes merged": func(p string) (string, error) {
		for strings.Contains(p, "//") {
			p = strings.ReplaceAll(p, "//", "/")
		}
		return url.PathUnescape(p)
	},
	"up to a NUL": func(p string) (string, error) {
		once, err := url.PathUnescape(p)
		once, _, _ = strings.Cut(once, "\x00")
		return once, err
	},
	"by net/url": func(p string) (string, error) {
		u, err := url.ParseRequestURI(p)
		if err != nil {
			return "", err
		}
		return u.Path, nil
	},
	"as a reference": func(p string) (string, error) {
		base, _ := url.Parse("http://h/")
		u, err := base.Parse(p)
		if err != nil || u.RawQuery != "" || u.Fragment != "" || u.Host != "h" {
			return "", fmt.Errorf("not a path: %v %w", u, err)
		}
		return u.Path, nil
	},
}

func keepSlash(p string) string {
	clean := path.Clean(p)
	if strings.HasSuffix(p, "/") && clean != "/" {
		clean += "/"
	}
	return clean
}

// checkCanonical is what holds of every path that has a canonical form.
func checkCanonical(t interface{ Errorf(string, ...any) }, raw string) {
	got, lenient, err := canonicalPath(raw)
	if err != nil {
		return
	}
	again, still, err := canonicalPath(got)
	if err != nil || again != got || still && !lenient {
		t.Errorf("%q is %q, and that is %q (lenient %v, %v)", raw, got, again, still, err)
	}
	if !strings.HasPrefix(got, "/") || strings.HasPrefix(got, "//") || climbs(got) {
		t.Errorf("%q is %q", raw, got)
	}
	for i := range len(got) {
		if c := got[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(`\"<>^{}|#?[]`+"`", c) >= 0 {
			t.Errorf("%q is %q with a byte %#x", raw, got, c)
		}
	}
	if want, err := url.PathUnescape(raw); err != nil || !lenient && decoded(got) != want {
		t.Errorf("%q means %q, %q means %q (%v)", raw, want, got, decoded(got), err)
	}
	if lenient {
		return
	}
	if back, _, err := canonicalPath(readable(got)); err != nil || back != got || readable(got) != decoded(got) {
		t.Errorf("%q is %q, read as %q, and that is %q (%v)", raw, got, readable(got), back, err)
	}
	for name, view := range views {
		if seen, err := view(got); err != nil || seen != decoded(got) {
			t.Errorf("%q is %q, which is %q %s (%v)", raw, got, seen, name, err)
		}
	}
}

func decoded(p string) string {
	d, err := url.PathUnescape(p)
	if err != nil {
		return "\x00" + err.Error()
	}
	return d
}

func TestEveryReaderReadsTheSamePath(t *testing.T) {
	for _, odd := range oddSegments {
		checkCanonical(t, "/public/"+odd+"/admin")
		checkCanonical(t, "/"+odd)
	}
	pieces := append([]string{"/", "a", "admin", "%41", "%20", "+", "é", "%C3%A9", "~", ":", "@", "(", "?", "#", "[", "|", "\\", ";x=1", "%3B", "//", "%252f"}, oddSegments...)
	rapid.Check(t, func(t *rapid.T) {
		checkCanonical(t, "/"+strings.Join(rapid.SliceOfN(rapid.SampledFrom(pieces), 0, 8).Draw(t, "pieces"), ""))
	})
	rapid.Check(t, func(t *rapid.T) { checkCanonical(t, "/"+rapid.String().Draw(t, "path")) })
	rapid.Check(t, func(t *rapid.T) { checkCanonical(t, "/"+string(rapid.SliceOf(rapid.Byte()).Draw(t, "bytes"))) })
}

func FuzzCanonicalPath(f *testing.F) {
	for _, odd := range oddSegments {
		f.Add("/public/" + odd + "/admin")
	}
	f.Add("/a;b=c/d%2Fe//f")
	f.Fuzz(func(t *testing.T, raw string) { checkCanonical(t, raw) })
}

func TestReadings(t *testing.T) {
	for _, c := range []struct{ path, readable, loosest string }{
		{"/", "/", "/"},
		{"/a/b", "/a/b", "/a/b"},
		{"/caf%C3%A9/a%20b", "/café/a b", "/café/a b"},
		{"/a%2Fb/", "/a%2Fb/", "/a/b/"},
		{"/a%5Cb", `/a\b`, "/a/b"},
		{"/a%252Fb", "/a%2Fb", "/a%2Fb"},
		{"/a;v=1/b", "/a;v=1/b", "/a/b"},
		{"/a%3Bv/b", "/a;v/b", "/a/b"},
		{"/a//b//", "/a//b//", "/a/b/"},
	} {
		if got := readable(c.path); got != c.readable {
			t.Errorf("%s is read %q, want %q", c.path, got, c.readable)
		}
		if got := loosest(c.path); got != c.loosest {
			t.Errorf("%s is read loosely %q, want %q", c.path, got, c.loosest)
		}
	}
}

// A rule about a path holds for every way to write it, and where paths are lenient for every way to read it.
func TestRulesHoldForEverySpelling(t *testing.T) {
	w := newWorld(t, func(s *Settings) {
		s.Policies[0].Rules = append(s.Policies[0].Rules, policy.Rule{Deny: &policy.Match{Paths: []string{"/geheim/für alle/**"}}})
	})
	_, strict := w.signIn("alice", appHost)
	_, loose := w.signIn("alice", lenientApp)
	c := w.client(true)
	for host, cookie := range map[string]string{appHost: strict, lenientApp: loose} {
		for _, path := range []string{"/geheim/f%C3%BCr%20alle/x", "/g%65heim/f%c3%bcr%20alle/x", "/geheim/f\u00fcr%20alle/x", "/secret/x", "/%73ecret/x"} {
			if code, _ := w.try(c, host, path, cookie); code != 403 {
				t.Errorf("%s%s: %d", host, path, code)
			}
		}
	}
	for _, path := range []string{"/secret%2Fx", "/secret%5Cx", "/secret;v=1/x", "/secret//x", "/a%2F..%2Fsecret/x", "/secret%3Bv/x", "/%73ecret%2fx"} {
		if code, _ := w.try(c, lenientApp, path, loose); code != 403 && code != 400 {
			t.Errorf("%s: %d", path, code)
		}
	}
	if code, _ := w.try(c, lenientApp, "/group%2Fproject/-/blob/a%2Eb", loose); code != 200 {
		t.Errorf("a harmless one: %d", code)
	}
}

func TestUnderIsByWholeSegments(t *testing.T) {
	for _, c := range []struct {
		path, root string
		want       bool
	}{
		{"/orders", "/orders", true}, {"/orders/", "/orders", true}, {"/orders/1", "/orders", true}, {"/", "/", true}, {"/x", "/", true},
		{"/ordersx", "/orders", false}, {"/order", "/orders", false}, {"/Orders", "/orders", false}, {"/orders%2F1", "/orders", false}, {"/", "/orders", false},
	} {
		if got := under(c.path, c.root); got != c.want {
			t.Errorf("%s under %s: %v", c.path, c.root, got)
		}
	}
}

// What a rule was asked about is what the upstream gets, byte for byte, and odd paths get nowhere: over real
// connections, strict and lenient, HTTP/1.1 and HTTP/2.
func TestWhatIsDecidedIsForwarded(t *testing.T) {
	w := newWorld(t, nil)
	var reached atomic.Pointer[string]
	w.behindIs(func(_ http.ResponseWriter, r *http.Request) { reached.Store(&r.RequestURI) })
	_, strict := w.signIn("alice", appHost)
	_, loose := w.signIn("alice", lenientApp)
	raws := []string{"/", "/a/b?", "/a?x=1;y=2&z=%zz", "/caf%c3%a9?q=%E9", "/a%20b", "/secret", "/%73ecret/plan", "/secret%2Fplan", "/a%2fb", "/a//b", "/a;b/c", "/a?b=//c/../d", "/x?y?z"}
	for _, odd := range oddSegments {
		raws = append(raws, "/public/"+odd+"/secret/plan", "/secret/"+odd, "/"+odd+"/secret/plan")
	}
	for protocol, h2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2": true} {
		for host, cookie := range map[string]string{appHost: strict, lenientApp: loose} {
			c := w.client(h2)
			for _, raw := range raws {
				reached.Store(nil)
				code, sent := w.try(c, host, raw, cookie)
				if !sent {
					continue // the client's own library would not
				}
				target, query, _ := strings.Cut(raw, "?")
				want, lenient, err := canonicalPath(target)
				if strings.Contains(raw, "?") {
					want += "?" + query
				}
				denied := err == nil && (under(want, "/secret") || under(loosest(want), "/secret"))
				refuse := err != nil || lenient && host == appHost
				got := reached.Load()
				switch {
				case got != nil && (refuse || *got != want || denied):
					t.Errorf("%s %s: %q reached the upstream as %q (%d)", protocol, host, raw, *got, code)
				case got == nil && !refuse && !denied, got == nil && refuse && code != http.StatusBadRequest:
					t.Errorf("%s %s: %q answered %d", protocol, host, raw, code)
				}
			}
		}
	}
}

// try sends a request for exactly raw. Not sent: the client's library refused it.
func (w *world) try(c *http.Client, host, raw, cookie string) (code int, sent bool) {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.ctx, "GET", "https://"+host+"/", nil)
	w.must(err)
	if _, err := url.ParseRequestURI(raw); err != nil && c.Transport.(*http.Transport).Protocols.HTTP2() {
		return 0, false // net/http's server resets such streams, and its client tries again for a minute
	}
	at, query, found := strings.Cut(raw, "?")
	r.URL = &url.URL{Scheme: "https", Host: host, Opaque: at, RawQuery: query, ForceQuery: found}
	r.Header.Set("Cookie", cookie)
	res, err := c.Do(r)
	if err != nil {
		return 0, false
	}
	res.Body.Close()
	return res.StatusCode, true
}
