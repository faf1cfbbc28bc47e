package flow_test

import (
	"bytes"
	"encoding/json"
	"net/url"
	"os/exec"
	"strings"
	"testing"

	"sallyport/proxy/internal/flow"
	"sallyport/proxy/internal/flow/flowtest"
)

const (
	loginOrigin = "https://login.example.com"
	appOrigin   = "https://app.example.com"
)

// hosts is our two hosts, with a port or at the default port of https. No application accepts unusual paths.
type hosts struct{ port string }

func (h hosts) HostOf(origin string) (host string, ok bool) {
	for _, ours := range []string{loginOrigin, appOrigin} {
		if origin == ours+h.port {
			return strings.TrimPrefix(ours, "https://"), true
		}
	}
	return "", false
}

func (hosts) Accepts(_, _ string) bool { return false }

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

func ours(origin string) bool { return origin == loginOrigin || origin == appOrigin }

func TestReturnTo_LeadsToOurHostsOnly(t *testing.T) {
	t.Run("accepts_our_hosts", func(t *testing.T) {
		for text, want := range goodReturns {
			if target, ok := flow.Parse(text, loginOrigin, hosts{}); !ok || target.String() != want {
				t.Errorf("%q leads to %q (%v), want %q", text, target, ok, want)
			}
		}
	})
	t.Run("path_stays_on_host", func(t *testing.T) {
		if target, ok := flow.Parse("/x", appOrigin, hosts{}); !ok || target.String() != appOrigin+"/x" {
			t.Errorf("leads to %q (%v)", target, ok)
		}
	})
	t.Run("every_host_has_port_of_public_url", func(t *testing.T) {
		for text, want := range map[string]bool{"https://app.example.com:8443/x": true, "https://login.example.com:8443": true, "https://app.example.com/x": false,
			"https://app.example.com:8444/x": false, "https://app.example.com:84430/x": false, "https://app.example.com:8443@evil.example/": false, "https://app.example.com:08443/": false} {
			if target, ok := flow.Parse(text, "https://login.example.com:8443", hosts{":8443"}); ok != want || ok && !strings.HasPrefix(target.String(), text) {
				t.Errorf("%q leads to %q (%v)", text, target, ok)
			}
		}
	})
	t.Run("anything_else_is_root", func(t *testing.T) {
		for _, text := range flowtest.BadReturns() {
			if target, ok := flow.Parse(text, loginOrigin, hosts{}); ok || target.Path != "/" || !ours(target.Origin) {
				t.Errorf("%q leads to %q (%v)", text, target, ok)
			}
		}
	})
	t.Run("browser_stays_on_our_origins", func(t *testing.T) {
		var locations []string
		for _, text := range flowtest.BadReturns() {
			target, _ := flow.Parse(text, loginOrigin, hosts{})
			locations = append(locations, target.String())
		}
		for text := range goodReturns {
			target, _ := flow.Parse(text, loginOrigin, hosts{})
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
		for _, origin := range browserOrigins(t, flowtest.BadReturns(), loginOrigin+"/.sallyport/callback") {
			if !ours(origin) {
				away++
			}
		}
		if away < 100 {
			t.Errorf("only %d of %d values lead a browser away, so the list proves too little", away, len(flowtest.BadReturns()))
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

// lenient accepts every path of every host.
type lenient struct{ hosts }

func (lenient) Accepts(_, _ string) bool { return true }

// TestReturnTo_AcceptsWhatApplicationsAccept checks that an unusual path leads where an application accepts it, and to no
// other origin.
func TestReturnTo_AcceptsWhatApplicationsAccept(t *testing.T) {
	var locations []string
	for _, path := range []string{"/a%2Fb/c", "/a//b", "/%5Cb", "/%2Fx", "//evil.example", "/..//evil.example", "/%2F%2Fevil.example"} {
		if _, ok := flow.Parse(appOrigin+path, loginOrigin, hosts{}); ok && path != "/a%2Fb/c" {
			t.Errorf("%q leads to a host that does not accept it", path)
		}
		target, ok := flow.Parse(appOrigin+path, loginOrigin, lenient{})
		if !ok || target.String() != appOrigin+path {
			t.Errorf("%q leads to %q (%v)", path, target, ok)
		}
		locations = append(locations, target.String())
	}
	for i, origin := range browserOrigins(t, locations, loginOrigin+"/.sallyport/callback") {
		if origin != appOrigin {
			t.Errorf("%q leads a browser to %s", locations[i], origin)
		}
	}
}

// FuzzReturnTo checks that every return_to leads to a host of ours.
func FuzzReturnTo(f *testing.F) {
	for text := range goodReturns {
		f.Add(text)
	}
	for _, text := range flowtest.BadReturns() {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		target, ok := flow.Parse(text, loginOrigin, hosts{})
		u, err := url.Parse(target.String())
		if err != nil {
			t.Fatalf("%q leads to %q, which is not a URL: %v", text, target, err)
		}
		if !ours(u.Scheme+"://"+u.Host) || u.User != nil {
			t.Errorf("%q leads to %q", text, target)
		}
		if !ok && target.Path != "/" {
			t.Errorf("%q is rejected and leads to %q", text, target)
		}
		if strings.ContainsAny(target.String(), "\\\t\r\n\x00 ") || strings.HasPrefix(target.Path, "//") {
			t.Errorf("%q leads to %q", text, target)
		}
	})
}
