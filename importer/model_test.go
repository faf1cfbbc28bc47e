package importer_test

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sallyport/config"
	"sallyport/importer"
	"sallyport/policy"
	"sallyport/proxy"
)

// The properties below generate a configuration of another program and requests. A small model says what the other program does
// with a request, and our policy what we do: whoever we let in, the model lets in too.

// caller is who sends a request, for both sides. What the directory has is what the provider's tokens have.
type caller struct {
	anonymous bool
	email     string   // "" if there is none
	groups    []string // object IDs, and names of groups whose object IDs nobody knows
}

// asked is one request.
type asked struct {
	caller
	host, path, method string
	address            netip.Addr
}

const groupA, groupB = "61503835-0000-4000-8000-00000000000a", "61503835-0000-4000-8000-00000000000b"

var (
	emails  = []string{"ada@example.com", "bob@example.org", "eve@evil.example.net", "x@sub.example.com", ""}
	hosts   = []string{"a.example.com", "b.example.com"}
	paths   = []string{"/", "/admin", "/admin/", "/admin/x", "/administrator", "/api", "/api/v1", "/static/x.js", "/healthz", "/healthz/x", "/beta/1"}
	methods = []string{"GET", "POST", "DELETE"}
)

func drawAsked(t *rapid.T) asked {
	a := asked{
		host: rapid.SampledFrom(hosts).Draw(t, "host"), path: rapid.SampledFrom(paths).Draw(t, "path"), method: rapid.SampledFrom(methods).Draw(t, "method"),
		address: netip.MustParseAddr(rapid.SampledFrom([]string{"10.1.2.3", "203.0.113.9"}).Draw(t, "address")),
	}
	if a.anonymous = rapid.Bool().Draw(t, "anonymous"); !a.anonymous {
		a.email = rapid.SampledFrom(emails).Draw(t, "email")
		a.groups = rapid.SliceOfDistinct(rapid.SampledFrom([]string{groupA, groupB, "sre"}), rapid.ID).Draw(t, "groups")
	}
	return a
}

// document is the SCIM document of a user.
type document map[string]any

func (d document) Attributes() map[string]any { return d }

// request is what our policy decides about.
func (a asked) request() *policy.Request {
	r := &policy.Request{Anonymous: a.anonymous, Method: a.method, Host: a.host, Path: a.path, Address: a.address, Time: time.Unix(1_800_000_000, 0)}
	if a.anonymous {
		return r
	}
	r.UserID, r.UserName, r.ExternalID = "u1", "someone", "ext-1"
	d := document{"userName": "someone"}
	if a.email != "" {
		d["emails"] = []any{map[string]any{"value": a.email, "primary": true}, map[string]any{"value": "ada@example.com", "type": "home"}}
	}
	r.Attributes = d
	for _, g := range a.groups {
		id, name := g, g
		if g == "sre" {
			id = "61503835-0000-4000-8000-0000000000ff"
		}
		r.GroupIDs, r.GroupNames = append(r.GroupIDs, id), append(r.GroupNames, name)
	}
	slices.Sort(r.GroupIDs)
	slices.Sort(r.GroupNames)
	return r
}

// imported is the configuration that an importer has written.
func imported(t *rapid.T, dir string, source importer.Source, text string) *config.File {
	result, err := importer.Import(source, []byte(text), importer.Options{})
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	path := filepath.Join(dir, "sallyport.yaml")
	if err := os.WriteFile(path, result.YAML, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := config.ValidateWithoutFiles(path)
	if err != nil {
		t.Fatalf("%v\n%s\n%s", err, text, result.YAML)
	}
	return f
}

// allows reports whether a configuration lets a request in: by the policies of the route with the longest path, of those for its
// host, or else of those for a wildcard.
func allows(t *rapid.T, f *config.File, a asked) bool {
	host := a.host
	if !slices.ContainsFunc(f.Routes, func(r proxy.Route) bool { return r.Host == host }) {
		host = "*.example.com"
	}
	best, length := -1, -1
	for i, r := range f.Routes {
		path := strings.TrimSuffix(r.Path, "/")
		if r.Host == host && len(path) > length && (a.path == path || strings.HasPrefix(a.path, path+"/")) {
			best, length = i, len(path)
		}
	}
	if best < 0 {
		return false
	}
	var lists []policy.Named
	for _, p := range f.Policies {
		if slices.Contains(f.Routes[best].Policy, p.Name) {
			lists = append(lists, p)
		}
	}
	compiled, err := policy.Compile(lists, policy.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return compiled.Decide(a.request()).Allow
}

// counted counts how often each side let a request in, so that no property holds because nobody gets in.
type counted struct{ ours, theirs int }

func (c *counted) compare(t *rapid.T, text string, a asked, ours, theirs bool) {
	if ours {
		c.ours++
	}
	if theirs {
		c.theirs++
	}
	if ours && !theirs {
		t.Fatalf("%+v is let in, and was not by\n%s", a, text)
	}
}

func (c *counted) check(t *testing.T) {
	t.Helper()
	t.Logf("let in: %d here, %d there", c.ours, c.theirs)
	if c.ours == 0 || c.theirs == 0 {
		t.Error("nobody was let in at all")
	}
}

// domainOf returns what is behind the only @ of an address.
func domainOf(email string) string {
	_, domain, _ := strings.Cut(email, "@")
	return domain
}

func TestOAuth2Proxy_NeverAllowsMore(t *testing.T) {
	var c counted
	dir := t.TempDir()
	patterns := []string{"^/healthz$", "^/static/", "/admin", "GET=^/api", "POST!=^/admin", "DELETE=^/(beta|healthz)"}
	rapid.Check(t, func(t *rapid.T) {
		domains := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"*", "example.com", ".example.com", "example.org", "bad domain"}), 0, 3, rapid.ID).Draw(t, "domains")
		groups := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{groupA, "sre"}), 0, 2, rapid.ID).Draw(t, "allowed")
		open := rapid.SliceOfNDistinct(rapid.SampledFrom(patterns), 0, 2, rapid.ID).Draw(t, "open")
		trusted, org := rapid.Bool().Draw(t, "trusted"), rapid.IntRange(0, 9).Draw(t, "org") == 0
		mounts := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"/", "/admin/", "/api", "/healthz"}), 1, 3, rapid.ID).Draw(t, "mounts")
		var text strings.Builder
		fmt.Fprintf(&text, "provider = \"oidc\"\nredirect_url = \"https://%s/oauth2/callback\"\n", hosts[0])
		list := func(key string, values []string) {
			fmt.Fprintf(&text, "%s = [", key)
			for _, v := range values {
				fmt.Fprintf(&text, "%q, ", v)
			}
			text.WriteString("]\n")
		}
		list("email_domains", domains)
		list("allowed_groups", groups)
		list("skip_auth_routes", open)
		if trusted {
			list("trusted_ips", []string{"10.0.0.0/8"})
		}
		if org {
			text.WriteString("github_org = \"x\"\n")
		}
		var upstreams []string
		for i, m := range mounts {
			upstreams = append(upstreams, fmt.Sprintf("http://127.0.0.1:%d%s", 8000+i, m))
		}
		files := rapid.Bool().Draw(t, "files")
		if files {
			upstreams = append(upstreams, "file:///var/www/#/static/")
		}
		list("upstreams", upstreams)
		f := imported(t, dir, importer.OAuth2Proxy, text.String())
		for range 20 {
			a := drawAsked(t)
			c.compare(t, text.String(), a, allows(t, f, a), !(files && strings.HasPrefix(a.path, "/static/")) && oauth2Allows(a, domains, groups, open, trusted, org, mounts))
		}
	})
	c.check(t)
}

// oauth2Allows is the model of oauth2-proxy.
func oauth2Allows(a asked, domains, groups, open []string, trusted, org bool, mounts []string) bool {
	mounted := slices.ContainsFunc(mounts, func(m string) bool {
		return a.path == m || strings.HasSuffix(m, "/") && strings.HasPrefix(a.path+"/", m)
	})
	switch {
	case a.host != hosts[0] || !mounted:
		return false
	case trusted && strings.HasPrefix(a.address.String(), "10."):
		return true
	case slices.ContainsFunc(open, func(p string) bool { return skips(p, a) }):
		return true
	case a.anonymous || org:
		return false
	}
	byAddress := slices.ContainsFunc(domains, func(d string) bool {
		return d == "*" || a.email != "" && (domainOf(a.email) == d || strings.HasPrefix(d, ".") && strings.HasSuffix(domainOf(a.email), d))
	})
	byGroup := len(groups) == 0 || slices.ContainsFunc(groups, func(g string) bool { return slices.Contains(a.groups, g) })
	return byAddress && byGroup
}

// skips reports whether a request needs no sign-in, for the patterns of the property.
func skips(pattern string, a asked) bool {
	switch pattern {
	case "^/healthz$":
		return a.path == "/healthz"
	case "^/static/":
		return strings.HasPrefix(a.path, "/static/")
	case "/admin":
		return strings.Contains(a.path, "/admin")
	case "GET=^/api":
		return a.method == "GET" && strings.HasPrefix(a.path, "/api")
	case "POST!=^/admin":
		return a.method == "POST" && !strings.HasPrefix(a.path, "/admin")
	}
	return a.method == "DELETE" && (strings.HasPrefix(a.path, "/beta") || strings.HasPrefix(a.path, "/healthz"))
}
