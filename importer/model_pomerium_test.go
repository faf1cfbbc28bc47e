package importer_test

import (
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"
	"pgregory.net/rapid"

	"sallyport/importer"
)

// criterion is one criterion of a policy, and the model of it.
type criterion struct {
	name    string
	value   any
	session bool // it is about who is signed in
	holds   func(a asked) bool
}

func is(value string) map[string]any { return map[string]any{"is": value} }

var criteria = []criterion{
	{"accept", true, false, func(asked) bool { return true }},
	{"authenticated_user", true, true, func(asked) bool { return true }},
	{"email", is("ada@example.com"), true, func(a asked) bool { return a.email == "ada@example.com" }},
	{"email", map[string]any{"ends_with": "example.org"}, true, func(a asked) bool { return strings.HasSuffix(a.email, "example.org") }},
	{"email", map[string]any{"not": "bob@example.org"}, true, func(a asked) bool { return a.email != "bob@example.org" }},
	{"domain", is("example.com"), true, func(a asked) bool { return domainOf(a.email) == "example.com" }},
	{"domain", map[string]any{"in": []string{"example.com", "example.org"}}, true, func(a asked) bool { return domainOf(a.email) == "example.com" || domainOf(a.email) == "example.org" }},
	{"domain", map[string]any{"ends_with": "example.com"}, true, func(a asked) bool { return strings.HasSuffix(domainOf(a.email), "example.com") }},
	{"groups", map[string]any{"has": groupA}, true, func(a asked) bool { return slices.Contains(a.groups, groupA) }},
	{"groups", map[string]any{"has": "sre"}, true, func(a asked) bool { return slices.Contains(a.groups, "sre") }},
	{"groups", map[string]any{"exclude": groupB}, true, func(a asked) bool { return !slices.Contains(a.groups, groupB) }},
	{"http_path", map[string]any{"starts_with": "/admin"}, false, func(a asked) bool { return strings.HasPrefix(a.path, "/admin") }},
	{"http_method", is("GET"), false, func(a asked) bool { return a.method == "GET" }},
	{"source_ip", "10.0.0.0/8", false, func(a asked) bool { return strings.HasPrefix(a.address.String(), "10.") }},
	{"claim/team", []string{"x"}, true, func(a asked) bool { return a.method == "POST" }}, // as good as any
	{"date", map[string]any{"after": "2020-01-01T00:00:00"}, false, func(asked) bool { return true }},
	{"moon", "full", false, func(a asked) bool { return len(a.path)%2 == 0 }},
}

// operator is a logical operator with criteria below it.
type operator struct {
	name  string
	below []criterion
}

// holds is the model: negations about a session need one too.
func (o operator) holds(a asked) bool {
	one := func(c criterion) bool {
		if c.session && a.anonymous {
			return false
		}
		return c.holds(a) != (o.name == "not" || o.name == "nor")
	}
	if o.name == "and" || o.name == "not" {
		return !slices.ContainsFunc(o.below, func(c criterion) bool { return !one(c) })
	}
	return slices.ContainsFunc(o.below, one)
}

// mayHold is holds for rules that deny, where a negation about a session holds for those without one.
func (o operator) mayHold(a asked) bool {
	one := func(c criterion) bool {
		negated := o.name == "not" || o.name == "nor"
		if c.session && a.anonymous {
			return negated
		}
		return c.holds(a) != negated
	}
	if o.name == "and" || o.name == "not" {
		return !slices.ContainsFunc(o.below, func(c criterion) bool { return !one(c) })
	}
	return slices.ContainsFunc(o.below, one)
}

func (o operator) written() map[string]any {
	var list []any
	for _, c := range o.below {
		list = append(list, map[string]any{c.name: c.value})
	}
	return map[string]any{o.name: list}
}

// origin is a route of Pomerium.
type origin struct {
	host, kind, match string
	redirects         bool
	allow, deny       []operator
}

func (o origin) matches(a asked) bool {
	switch o.kind {
	case "path":
		return a.path == o.match
	case "prefix":
		return strings.HasPrefix(a.path, o.match)
	}
	return strings.HasPrefix(a.path, "/beta/") // of the one regular expression
}

func (o origin) written() map[string]any {
	r := map[string]any{"from": "https://" + o.host, o.kind: o.match}
	if o.redirects {
		r["redirect"] = map[string]any{"path_redirect": "/"}
	} else {
		r["to"] = "http://app:80"
	}
	var rules []any
	for _, one := range o.allow {
		rules = append(rules, map[string]any{"allow": one.written()})
	}
	for _, one := range o.deny {
		rules = append(rules, map[string]any{"deny": one.written()})
	}
	r["policy"] = rules
	return r
}

func drawOperator(t *rapid.T) operator {
	return operator{rapid.SampledFrom([]string{"and", "or", "not", "nor"}).Draw(t, "operator"), rapid.SliceOfN(rapid.SampledFrom(criteria), 1, 3).Draw(t, "criteria")}
}

func drawOrigin(t *rapid.T) origin {
	o := origin{host: rapid.SampledFrom(append([]string{"*.example.com"}, hosts...)).Draw(t, "host"), kind: "prefix", redirects: rapid.IntRange(0, 9).Draw(t, "redirects") == 0}
	switch rapid.IntRange(0, 6).Draw(t, "kind") {
	case 0:
		o.kind, o.match = "path", rapid.SampledFrom([]string{"/healthz", "/admin", "/api"}).Draw(t, "path")
	case 1:
		o.kind, o.match = "regex", "/beta/.*"
	default:
		o.match = rapid.SampledFrom([]string{"/", "/", "/admin", "/admin/", "/api/", "/api"}).Draw(t, "prefix")
	}
	o.allow = []operator{drawOperator(t)}
	if rapid.Bool().Draw(t, "again") {
		o.allow = append(o.allow, drawOperator(t))
	}
	if rapid.IntRange(0, 2).Draw(t, "denies") == 0 {
		o.deny = []operator{drawOperator(t)}
	}
	return o
}

// pomeriumAllows is the model of Pomerium: exact paths come first, then regular expressions, then the longest prefix; of equals
// the first. A wildcard has the hosts that have no routes of their own.
func pomeriumAllows(routes []origin, a asked) bool {
	rank := func(o origin) int { return map[string]int{"path": 1000, "regex": 500, "prefix": len(o.match)}[o.kind] }
	best, host := -1, a.host
	if !slices.ContainsFunc(routes, func(o origin) bool { return o.host == host }) {
		host = "*.example.com"
	}
	for i, o := range routes {
		if o.host == host && o.matches(a) && (best < 0 || rank(o) > rank(routes[best])) {
			best = i
		}
	}
	if best < 0 || routes[best].redirects {
		return false
	}
	return slices.ContainsFunc(routes[best].allow, func(o operator) bool { return o.holds(a) }) && !slices.ContainsFunc(routes[best].deny, func(o operator) bool { return o.mayHold(a) })
}

func TestPomerium_NeverAllowsMore(t *testing.T) {
	var c counted
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		routes := rapid.SliceOfN(rapid.Custom(drawOrigin), 1, 5).Draw(t, "routes")
		var list []any
		for _, r := range routes {
			list = append(list, r.written())
		}
		text, err := yaml.Marshal(map[string]any{"authenticate_service_url": "https://auth.example.com", "routes": list})
		if err != nil {
			t.Fatal(err)
		}
		f := imported(t, dir, importer.Pomerium, string(text))
		for range 20 {
			a := drawAsked(t)
			c.compare(t, string(text), a, allows(t, f, a), pomeriumAllows(routes, a))
		}
	})
	c.check(t)
}
