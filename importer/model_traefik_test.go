package importer_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"sallyport/importer"
)

// matcher is an expression of a rule of Traefik, and the model of it.
type matcher struct {
	text  string
	holds func(a asked) bool
}

var matchers = []matcher{
	{"Host(`a.example.com`)", func(a asked) bool { return a.host == hosts[0] }},
	{"Host(`b.example.com`, `a.example.com`)", func(asked) bool { return true }},
	{"HostRegexp(`{x:[a-z]}.example.com`)", func(asked) bool { return true }},
	{"PathPrefix(`/admin`)", func(a asked) bool { return strings.HasPrefix(a.path, "/admin") }},
	{"PathPrefix(`/api/`)", func(a asked) bool { return strings.HasPrefix(a.path, "/api/") }},
	{"Path(`/healthz`)", func(a asked) bool { return a.path == "/healthz" }},
	{"Method(`GET`, `POST`)", func(a asked) bool { return a.method != "DELETE" }},
	{"Headers(`X`, `1`)", func(a asked) bool { return len(a.path)%2 == 0 }}, // as good as any
	{"PathPrefix(`/{any:[a-z]+}/x`)", func(a asked) bool { return strings.Count(a.path, "/") > 1 && strings.HasSuffix(a.path, "/x") }},
}

func drawMatcher(t *rapid.T) matcher {
	m := rapid.SampledFrom(matchers).Draw(t, "matcher")
	switch rapid.IntRange(0, 4).Draw(t, "operator") {
	case 0:
		inner := m
		m = matcher{"!" + inner.text, func(a asked) bool { return !inner.holds(a) }}
	case 1, 2:
		left, right := m, rapid.SampledFrom(matchers).Draw(t, "right")
		m = matcher{left.text + " && " + right.text, func(a asked) bool { return left.holds(a) && right.holds(a) }}
	case 3:
		left, right := m, rapid.SampledFrom(matchers).Draw(t, "right")
		m = matcher{"(" + left.text + " || " + right.text + ")", func(a asked) bool { return left.holds(a) || right.holds(a) }}
	}
	return m
}

// forwardRule is a rule of traefik-forward-auth.
type forwardRule struct {
	matcher
	allow              bool
	whitelist, domains []string
}

func (r forwardRule) accepts(a asked, whitelist, domains []string, either bool) bool {
	if len(r.whitelist)+len(r.domains) > 0 {
		whitelist, domains = r.whitelist, r.domains
	}
	switch {
	case r.allow:
		return true
	case a.anonymous:
		return false
	case len(whitelist)+len(domains) == 0:
		return true
	case len(whitelist) > 0 && slices.Contains(whitelist, a.email):
		return true
	case len(whitelist) > 0 && !either:
		return false
	}
	return slices.Contains(domains, domainOf(a.email))
}

func drawForwardRule(t *rapid.T) forwardRule {
	r := forwardRule{matcher: drawMatcher(t), allow: rapid.Bool().Draw(t, "allow")}
	if rapid.Bool().Draw(t, "limited") {
		r.whitelist = rapid.SliceOfN(rapid.SampledFrom(emails[:3]), 0, 2).Draw(t, "whitelist")
		r.domains = rapid.SliceOfN(rapid.SampledFrom([]string{"example.com", "example.org"}), 0, 2).Draw(t, "domains")
	}
	return r
}

func TestTraefikForwardAuth_NeverAllowsMore(t *testing.T) {
	var c counted
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		rules := rapid.SliceOfN(rapid.Custom(drawForwardRule), 1, 4).Draw(t, "rules")
		global := drawForwardRule(t)
		either := rapid.Bool().Draw(t, "either")
		var text strings.Builder
		list := func(key string, values []string) {
			if len(values) > 0 {
				fmt.Fprintf(&text, "%s = %s\n", key, strings.Join(values, ","))
			}
		}
		fmt.Fprintf(&text, "secret = x\nmatch-whitelist-or-domain = %t\n", either)
		list("whitelist", global.whitelist)
		list("domain", global.domains)
		if global.allow {
			text.WriteString("default-action = allow\n")
		}
		for i, r := range rules {
			fmt.Fprintf(&text, "rule.%d.rule = %s\n", i, r.text)
			if r.allow {
				fmt.Fprintf(&text, "rule.%d.action = allow\n", i)
			}
			list(fmt.Sprintf("rule.%d.whitelist", i), r.whitelist)
			list(fmt.Sprintf("rule.%d.domains", i), r.domains)
		}
		f := imported(t, dir, importer.TraefikForwardAuth, text.String())
		for range 20 {
			a := drawAsked(t)
			theirs, matched := true, false
			for _, r := range rules { // it may take any of those that match
				if r.holds(a) {
					matched, theirs = true, theirs && r.accepts(a, global.whitelist, global.domains, either)
				}
			}
			if !matched {
				theirs = global.accepts(a, global.whitelist, global.domains, either)
			}
			c.compare(t, text.String(), a, allows(t, f, a), theirs)
		}
	})
	c.check(t)
}
