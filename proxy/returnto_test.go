package proxy

import (
	"bytes"
	"encoding/json"
	"net/url"
	"os/exec"
	"strings"
	"testing"
)

const (
	loginOrigin = "https://login.example.com"
	appOrigin   = "https://app.example.com"
)

// testRouting has two hosts, at the default port of https.
var testRouting = &routing{public: &url.URL{Scheme: "https", Host: "login.example.com"}, host: "login.example.com",
	hosts: map[string][]*route{"app.example.com": {{name: "app"}}}}

// goodReturns maps each return_to that is accepted to the URL to which it leads on the login host.
var goodReturns = map[string]string{
	"/":                      loginOrigin + "/",
	"/d/abc/board":           loginOrigin + "/d/abc/board",
	"/d?orgId=1&from=now-6h": loginOrigin + "/d?orgId=1&from=now-6h",
	"/a%20b/c%C3%A9":         loginOrigin + "/a%20b/c%C3%A9",
	"/search?q=https://evil.example/&x=//evil.example": loginOrigin + "/search?q=https://evil.example/&x=//evil.example",
	"/app/#/discover?_g=(a:b)":                         loginOrigin + "/app/#/discover?_g=(a:b)",
	"/group%2Fproject/-/tree":                          loginOrigin + "/group%2Fproject/-/tree",
	"/.well-known/x":                                   loginOrigin + "/.well-known/x",
	"/user@example.com:80/":                            loginOrigin + "/user@example.com:80/",
	"/x?y=%0d%0aSet-Cookie:a=b":                        loginOrigin + "/x?y=%0d%0aSet-Cookie:a=b",
	appOrigin:                                          appOrigin + "/",
	appOrigin + "/":                                    appOrigin + "/",
	appOrigin + "/a/b?c=d":                             appOrigin + "/a/b?c=d",
	loginOrigin + "/x":                                 loginOrigin + "/x",
}

// BadReturns returns values of return_to that must be rejected and lead to the root. They are those of CVE-2020-4037,
// CVE-2020-5233, CVE-2020-11053, CVE-2021-21291 (oauth2-proxy), CVE-2026-83589 (OpenShift oauth-proxy), CVE-2021-32786,
// CVE-2021-39191 (mod_auth_openidc), CVE-2021-29651 (Pomerium), CVE-2025-67713, CVE-2026-55500 (Miniflux),
// CVE-2026-28512 (Pocket ID, userinfo), CVE-2022-28923 (Caddy), and Ory's on the boundary of DNS labels.
func BadReturns() []string {
	bad := []string{
		"", " ", "evil.example", "evil.example/", "a", "?x", "#x", ".", "..", "./", "../", "./evil.example", ";//evil.example",
		"//evil.example", "///evil.example", "////evil.example", "//evil.example/%2f..", "//evil.example/%2e%2e",
		`/\evil.example`, `\/evil.example`, `\\evil.example`, `/\/evil.example`, `//\evil.example`, `\evil.example`, `/\\evil.example`, `///\evil.example`,
		"/\t/evil.example", "/\n/evil.example", "/\r/evil.example", "/\t\\evil.example", "\t//evil.example", " //evil.example", "/ /evil.example",
		"/\x00/evil.example", "\x00//evil.example", "/\x0b/evil.example", "/\x0c/evil.example", "/\x1f/evil.example", "/\x7f/evil.example",
		"//evil.example\t", "/%09/evil.example", "/%0a/evil.example", "/%0d/evil.example", "/%00/evil.example", "/%5cevil.example", "/%5Cevil.example",
		"/%2fevil.example", "/%2Fevil.example", "/%2f%2fevil.example", "/%5c%5cevil.example", "/%2f%5cevil.example", "/%5c/evil.example", "/%7f",
		"%2f%2fevil.example", "%2Fevil.example", "%5c%5cevil.example", "/%", "/%zz", "/%2", "/%c0%af%zz",
		"/.//evil.example", "/..//evil.example", "/../evil.example", "/./evil.example", "/a/..//evil.example", "/a//evil.example", "/a/../..//evil.example",
		"/%2e/evil.example", "/%2e%2e//evil.example", "/.%2e/evil.example", "/%2e%2e%2fevil.example", "/a/%2e%2e/%2e%2e//evil.example", "/..", "/.", "/a/..",
		"http:evil.example", "http:/evil.example", "http:///evil.example", "http://evil.example", "https:evil.example", "https:/evil.example", "https:///evil.example",
		"https://evil.example", "https://evil.example/", "HTTPS://evil.example", "hTTps:evil.example", "https:\\evil.example", `https:\\evil.example`, `https:/\evil.example`,
		"h\nttps://evil.example", "https:\n//evil.example", "ht\ttps://evil.example", "https://\tevil.example", "\x01https://evil.example", " https://app.example.com/",
		"javascript:alert(1)", "JaVaScRiPt:alert(1)", "java\nscript:alert(1)", "\x01javascript:alert(1)", "javascript://app.example.com/%0aalert(1)", "javascript:///app.example.com",
		"data:text/html,x", "data://app.example.com/x", "vbscript:x", "blob:https://app.example.com/x", "filesystem:https://app.example.com/x", "file:///etc/passwd", "file://app.example.com/x",
		"ftp://app.example.com/", "ws://app.example.com/", "wss://app.example.com/", "about:blank", "mailto:a@evil.example", "view-source:https://app.example.com/",
		"http://app.example.com/", "http://login.example.com/", "HTTPS://app.example.com/", "https://APP.example.com/", "https://app.example.com:443/", "https://app.example.com:80/", "https://app.example.com:/",
		"https://port.example.com/", "https://port.example.com:8444/", "https://port.example.com:8443@evil.example/", "https://port.example.com:84430/",
		"https://app.example.com.evil.example/", "https://app.example.com./", "https://evil.app.example.com/", "https://evilapp.example.com/", "https://app.example.comevil.example/", "https://app.example.com-evil.example/",
		"https://app.example.com@evil.example/", "https://app.example.com:x@evil.example/", "https://user@app.example.com/", "https://user:pw@app.example.com/", "https://@app.example.com/", "https://:@app.example.com/", "https://evil.example@app.example.com/",
		"https://app.example.com%40evil.example/", "https://app.example.com%2eevil.example/", "https://app.example.com%00.evil.example/", "https://app.example.com%2f.evil.example/", "https://app.example.com%5c.evil.example/", "https://app.example.com%23.evil.example/",
		`https://app.example.com\@evil.example/`, `https://app.example.com\.evil.example/`, `https://app.example.com\evil`, `https://evil.example\@app.example.com/`, `https://evil.example\.app.example.com/`, "https://evil.example#@app.example.com/", "https://evil.example?@app.example.com/", "https://evil.example;@app.example.com/",
		"https://app.example.com?x", "https://app.example.com#x", "https://app.example.com?@evil.example", "https://app.example.com//evil.example", `https://app.example.com/\evil.example`, "https://app.example.com/../x", "https://app.example.com/%2e%2e//x", "https://app.example.com/%0d%0ax", "https://app.example.com/%5cx",
		"https://app.example.com/\r\nSet-Cookie: a=b", "/x\r\nLocation: https://evil.example", "/x\ny", "/é", "/\u2028/evil.example", "/\uff0fevil.example", "\uff0f\uff0fevil.example", "https://app\u3002example.com/", "https://ａpp.example.com/", "https://app.example.com\uff0f.evil.example/", "https://evil.example\u3002app.example.com/", "https://app\u00ad.example.com/",
		"https://xn--app-.example.com/", "https://0x7f000001/", "https://127.0.0.1/", "https://[::1]/", "https://2130706433/", "//[::1]/", "//app.example.com/", "//app.example.com", "///app.example.com/", `/\app.example.com/`, "://app.example.com/", "https//app.example.com/", "https:app.example.com/", "https://app.example.com /", "https:// app.example.com/",
		"<https://app.example.com/>", `"https://app.example.com/"`, `/"onmouseover=x`, "/<script>", "/a b", "/\xff", "/\xc0\xaf", "https://app.example.com/\xff", "[/x]", "(/x)", "null", "undefined", "@evil.example", ":80/", "::", "*",
		"/" + strings.Repeat("a", maxReturnTo), appOrigin + "/" + strings.Repeat("a", maxReturnTo),
	}
	// White space and control characters that browsers strip or ignore, in every place in which they could matter.
	for _, c := range []string{"\t", "\n", "\r", "\x00", "\x08", "\x0b", "\x1c", " ", "\u00a0", "\u2003", "\ufeff", "%09", "%0A", "%0d", "%00", "%5C", `\`} {
		bad = append(bad, c+"/x", "/"+c+"/evil.example", "/"+c+c+"evil.example", c+"//evil.example", "/"+c+`\evil.example`, "https:"+c+"//evil.example", "https://app.example.com"+c+"@evil.example/", "https://app.example.com"+c+".evil.example/")
	}
	return bad
}

func ours(origin string) bool { return origin == loginOrigin || origin == appOrigin }

func TestReturnTo_LeadsToOurHostsOnly(t *testing.T) {
	t.Run("accepts_our_hosts", func(t *testing.T) {
		for text, want := range goodReturns {
			if target, ok := testRouting.resolve(text, loginOrigin); !ok || target.String() != want {
				t.Errorf("%q leads to %q (%v), want %q", text, target, ok, want)
			}
		}
	})
	t.Run("path_stays_on_host", func(t *testing.T) {
		if target, ok := testRouting.resolve("/x", appOrigin); !ok || target.String() != appOrigin+"/x" {
			t.Errorf("leads to %q (%v)", target, ok)
		}
	})
	t.Run("every_host_has_port_of_public_url", func(t *testing.T) {
		ported := &routing{public: &url.URL{Scheme: "https", Host: "login.example.com:8443"}, host: "login.example.com", hosts: testRouting.hosts}
		for text, want := range map[string]bool{"https://app.example.com:8443/x": true, "https://login.example.com:8443": true, "https://app.example.com/x": false,
			"https://app.example.com:8444/x": false, "https://app.example.com:84430/x": false, "https://app.example.com:8443@evil.example/": false, "https://app.example.com:08443/": false} {
			if target, ok := ported.resolve(text, "https://login.example.com:8443"); ok != want || ok && !strings.HasPrefix(target.String(), text) {
				t.Errorf("%q leads to %q (%v)", text, target, ok)
			}
		}
	})
	t.Run("anything_else_is_root", func(t *testing.T) {
		for _, text := range BadReturns() {
			if target, ok := testRouting.resolve(text, loginOrigin); ok || target.path != "/" || !ours(target.origin) {
				t.Errorf("%q leads to %q (%v)", text, target, ok)
			}
		}
	})
	t.Run("browser_stays_on_our_origins", func(t *testing.T) {
		var locations []string
		for _, text := range BadReturns() {
			target, _ := testRouting.resolve(text, loginOrigin)
			locations = append(locations, target.String())
		}
		for text := range goodReturns {
			target, _ := testRouting.resolve(text, loginOrigin)
			locations = append(locations, target.String())
		}
		for i, origin := range browserOrigins(t, locations, loginOrigin+"/.sallyport/callback") {
			if !ours(origin) {
				t.Errorf("%q leads a browser to %s", locations[i], origin)
			}
		}
	})
	t.Run("list_would_lead_browsers_away", func(t *testing.T) {
		away := 0
		for _, origin := range browserOrigins(t, BadReturns(), loginOrigin+"/.sallyport/callback") {
			if !ours(origin) {
				away++
			}
		}
		if away < 100 {
			t.Errorf("only %d of %d values lead a browser away, so the list proves too little", away, len(BadReturns()))
		}
	})
}

// browserOrigins returns the origin to which each text leads from base, by Node's URL, which parses as browsers do.
func browserOrigins(t *testing.T, texts []string, base string) []string {
	t.Helper()
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("no node here to parse URLs as browsers do")
	}
	const script = `
const [base, ...texts] = JSON.parse(require("fs").readFileSync(0));
console.log(JSON.stringify(texts.map(t => { try { return new URL(t, base).origin } catch { return "invalid" } })));`
	in, err := json.Marshal(append([]string{base}, texts...))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), node, "-e", script)
	cmd.Stdin = bytes.NewReader(in)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	if err := json.Unmarshal(out, &got); err != nil || len(got) != len(texts) {
		t.Fatalf("node returned %d of %d: %v", len(got), len(texts), err)
	}
	return got
}

// FuzzReturnTo checks that every return_to leads to a host of ours.
func FuzzReturnTo(f *testing.F) {
	for text := range goodReturns {
		f.Add(text)
	}
	for _, text := range BadReturns() {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		target, ok := testRouting.resolve(text, loginOrigin)
		u, err := url.Parse(target.String())
		if err != nil {
			t.Fatalf("%q leads to %q, which is not a URL: %v", text, target, err)
		}
		if !ours(u.Scheme+"://"+u.Host) || u.User != nil {
			t.Errorf("%q leads to %q", text, target)
		}
		if !ok && target.path != "/" {
			t.Errorf("%q is rejected and leads to %q", text, target)
		}
		if strings.ContainsAny(target.String(), "\\\t\r\n\x00 ") || strings.HasPrefix(target.path, "//") {
			t.Errorf("%q leads to %q", text, target)
		}
	})
}
