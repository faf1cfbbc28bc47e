package proxy_test

import (
	"bytes"
	"encoding/json"
	"net/url"
	"os/exec"
	"strings"
	"testing"

	"sallyport/proxy/internal/flow/flowtest"
)

// TestRedirect_StaysOnOurHosts requests, with every invalid return_to, each path that redirects. Node parses each
// Location as browsers do, and none may lead to another site.
func TestRedirect_StaysOnOurHosts(t *testing.T) {
	h := newEnv(t)
	g := h.browser(h.alice)
	g.open("https://app.example.com/")
	ours := map[string]bool{"https://login.example.com": true, "https://app.example.com": true, "https://wiki.example.com": true, "https://api.example.com": true,
		"https://" + h.issuer.Listener.Addr().String(): true}

	type redirect struct{ request, base, location string }
	var redirects []redirect
	ask := func(method, target string) {
		p := g.ask(method, target, nil, "Accept", navigate, "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Site", "same-origin")
		if location, ok := p.Header["Location"]; ok {
			redirects = append(redirects, redirect{method + " " + target, p.Request.URL.String(), strings.Join(location, " ")})
		}
	}
	for _, bad := range flowtest.BadReturns() {
		q := "?return_to=" + url.QueryEscape(bad)
		ask("GET", "https://login.example.com/.sallyport/login"+q)
		ask("GET", "https://app.example.com/.sallyport/login"+q)
		ask("GET", "https://app.example.com/.sallyport/accept"+q)
		ask("POST", "https://wiki.example.com/.sallyport/logout"+q)
		if g.cookie(loginHost, sessionCookie) == "" {
			t.Fatal("the browser was signed out on the login host")
		}
	}
	for _, path := range []string{"/%2f/evil.example", "//evil.example", "/..//evil.example", "/%5cevil.example", "/.%2e//evil.example", "/@evil.example", "/?//evil.example"} {
		other := h.browser(h.alice)
		p := other.ask("GET", "https://wiki.example.com/team"+path, nil, "Accept", navigate)
		if location := p.Header.Get("Location"); location != "" {
			redirects = append(redirects, redirect{path, p.Request.URL.String(), location})
		}
	}
	if len(redirects) < 2*len(flowtest.BadReturns()) {
		t.Errorf("only %d redirects", len(redirects))
	}
	var pairs [][2]string
	for _, r := range redirects {
		pairs = append(pairs, [2]string{r.location, r.base})
	}
	for i, origin := range browserOriginsFrom(t, pairs) {
		if !ours[origin] {
			t.Errorf("%s leads to %q: %s", redirects[i].request, redirects[i].location, origin)
		}
	}
}

// TestRedirect_InvalidReturnToEndsAtPortal checks that a login with an invalid return_to ends at the portal.
func TestRedirect_InvalidReturnToEndsAtPortal(t *testing.T) {
	h := newEnv(t)
	all := flowtest.BadReturns()
	for i := 0; i < len(all); i += 17 { // a whole login takes long, so only some values are used
		g := h.browser(h.alice)
		p := g.open("https://login.example.com/.sallyport/login?return_to=" + url.QueryEscape(all[i]))
		if p.StatusCode != 200 || p.Request.URL.String() != "https://login.example.com/" {
			t.Errorf("%q: ends at %s with %d", all[i], p.Request.URL, p.StatusCode)
		}
	}
}

// browserOriginsFrom returns the origin to which each pair of a Location and its base leads, by Node's URL.
func browserOriginsFrom(t *testing.T, pairs [][2]string) []string {
	t.Helper()
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("no node here to parse URLs as browsers do")
	}
	in, err := json.Marshal(pairs)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), node, "-e", `
console.log(JSON.stringify(JSON.parse(require("fs").readFileSync(0)).map(([to, base]) => { try { return new URL(to, base).origin } catch { return "invalid" } })))`)
	cmd.Stdin = bytes.NewReader(in)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var redirects []string
	if err := json.Unmarshal(out, &redirects); err != nil || len(redirects) != len(pairs) {
		t.Fatalf("%d of %d: %v", len(redirects), len(pairs), err)
	}
	return redirects
}
