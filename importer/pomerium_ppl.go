package importer

import (
	"regexp"
	"strings"

	"go.yaml.in/yaml/v4"
)

// readPolicy reads a policy in Pomerium's language: actions, logical operators in them, criteria in those. What a list of
// operators in one action says counts each for itself, as Pomerium has it.
func (p *pomerium) readPolicy(src *pomeriumRoute, n *yaml.Node, path string) {
	if isScalar(n) { // the policy as a text
		documents, err := readYAML(n.Value)
		if err != nil || len(documents) != 1 {
			src.closed = true
			p.deny(placeOf(n, path), "this policy cannot be read")
			return
		}
		line, col := n.Line, n.Column
		n = documents[0]
		at(n, line, col)
	}
	if n.Kind == yaml.SequenceNode {
		for _, one := range n.Content {
			if one.Kind == yaml.MappingNode {
				p.readPolicy(src, one, path)
				continue
			}
			src.closed = true
			p.deny(placeOf(one, path), "this is no rule with allow or deny")
		}
		return
	}
	for _, action := range pairs(n) {
		where := placeOf(action.key, path+"."+action.key.Value)
		if name := action.key.Value; name != "allow" && name != "deny" || action.value.Kind != yaml.MappingNode {
			src.closed = true
			p.deny(where, "this is neither allow nor deny, with and, or, not or nor in it")
			continue
		}
		for _, operator := range pairs(action.value) {
			p.readOperator(src, action.key.Value == "deny", operator, path+"."+action.key.Value+"."+operator.key.Value)
		}
	}
}

func (p *pomerium) readOperator(src *pomeriumRoute, deny bool, operator pair, path string) {
	name := operator.key.Value
	where := placeOf(operator.key, path)
	if operator.value.Kind != yaml.SequenceNode || name != "and" && name != "or" && name != "not" && name != "nor" {
		p.deny(where, "this is no list of criteria below and, or, not or nor")
		src.closed = src.closed || deny
		return
	}
	var tests []test
	for _, one := range operator.value.Content {
		t := p.readCriterion(src, one, path, deny, name)
		if name == "not" || name == "nor" {
			t = t.negated()
		}
		tests = append(tests, t)
	}
	together := name == "and" || name == "not"
	switch {
	case len(tests) == 0:
	case deny && together:
		src.denies = append(src.denies, denying(tests...))
	case deny:
		for _, t := range tests {
			src.denies = append(src.denies, denying(t))
		}
	case together:
		p.allow(src, tests...)
	default:
		for _, t := range tests {
			p.allow(src, t)
		}
	}
}

func (p *pomerium) allow(src *pomeriumRoute, tests ...test) {
	if r, ok := allowing(tests...); ok {
		src.allows = append(src.allows, r)
	}
}

// withoutValue are criteria that say what they say by their name.
var withoutValue = map[string]test{
	"accept":                     {sure: always, maybe: always, anyone: true},
	"authenticated_user":         exactly(signedIn),
	"reject":                     impossible,
	"pomerium_routes":            exactly(never), // Sallyport's own paths are below /.sallyport/
	"invalid_client_certificate": exactly(never), // where certificates are asked for, nobody gets in
}

// unheard has why a criterion cannot be asked here.
var unheard = map[string]string{
	"client_certificate": "Sallyport asks browsers for no certificates", "device": "Sallyport knows no devices; a rule with auth can demand a strong sign-in",
	"date": "write until beside the rule", "day_of_week": "write hours into the rule", "time_of_day": "write hours into the rule", "record": "the directory has what SCIM pushes; write attributes into the rule",
	"claims": "claims of tokens decide nothing; have SCIM push the attribute, and write attributes into the rule", "mcp_tool": "Sallyport reads no bodies", "ssh_username": "Sallyport forwards HTTP alone",
	"ssh_publickey": "Sallyport forwards HTTP alone", "ssh_username_matches_email": "Sallyport forwards HTTP alone", "ssh_username_matches_claim": "Sallyport forwards HTTP alone",
}

func (p *pomerium) readCriterion(src *pomeriumRoute, n *yaml.Node, path string, deny bool, operator string) test {
	all := pairs(n)
	if len(all) != 1 {
		p.deny(placeOf(n, path), "a criterion has one name")
		return impossible
	}
	name, sub, _ := strings.Cut(all[0].key.Value, "/")
	where := placeOf(all[0].key, path+"."+name)
	value := all[0].value
	t, known := withoutValue[name]
	switch {
	case name == "cors_preflight" && !deny && operator == "or":
		src.passPreflight = true
		p.find(where, Changed, "routes[].cors_preflight", "preflight requests pass without cookies and without a body")
		return impossible
	case known && sub == "" && (value.Value == "true" || isNull(value) || value.Value == "" || name == "pomerium_routes"):
		p.find(where, Carried, "policies", "")
		return t
	case name == "claim" && sub != "":
		p.deny(where, "%s", unheard["claims"])
		return impossible
	case unheard[name] != "":
		p.deny(where, "%s", unheard[name])
		return impossible
	}
	t, ok := p.compared(name, value)
	switch {
	case !ok && name == "source_ip" && !p.byAddress:
		p.deny(where, "with other proxies in front, the address of a client is known only once trusted_proxies names them; then write networks into the rule")
		return impossible
	case !ok && sub == "" && compared[name]:
		p.deny(where, "this way to compare cannot be written here")
		return impossible
	case !ok:
		p.find(where, Unknown, "", "a criterion that is not known holds for nobody where it lets people in, and for everybody where it keeps them out")
		return impossible
	case t.group != nil && t.group.id == "":
		p.find(where, FillIn, "policies", "groups are named by the object ID that SCIM pushes as externalId. Until then nobody gets in by it, and where it keeps people out nobody gets in at all")
	case t.sure == never && t.networks == nil:
		p.deny(where, "this value cannot be written here")
	default:
		p.find(where, Carried, "policies", "users, addresses and groups are those that SCIM pushes, not those of tokens")
	}
	return t
}

var compared = map[string]bool{"email": true, "emails": true, "domain": true, "domains": true, "user": true, "users": true, "groups": true, "group": true, "http_path": true, "http_method": true, "source_ip": true}

// compared returns the test of a criterion that compares something; ok is false if it is none that is known.
func (p *pomerium) compared(name string, value *yaml.Node) (t test, ok bool) {
	switch name {
	case "email", "emails":
		return compareText(value, "e.value", func(c string) test { return exactly(ofAddress(c)) })
	case "domain", "domains":
		return compareDomain(value)
	case "user", "users":
		return compareText(value, "user.externalId", exactly)
	case "http_path":
		return compareText(value, "request.path", ofPath)
	case "http_method":
		return compareText(value, "request.method", exactly)
	case "groups", "group":
		return compareGroups(value)
	case "source_ip":
		addresses, isList := texts(value)
		networks, valid := networksOf(addresses)
		if !isList || !valid || !p.byAddress {
			return test{}, false
		}
		t := impossible
		t.networks = networks
		return t, true
	}
	return test{}, false
}

// operands yields each way to compare of a matcher with its values; what is no mapping is compared by itself.
func operands(value *yaml.Node, itself string) (all []pair) {
	if value.Kind != yaml.MappingNode {
		return []pair{{&yaml.Node{Value: itself}, value}}
	}
	return pairs(value)
}

// compareText returns the test that something compares as a matcher for texts says.
func compareText(value *yaml.Node, operand string, as func(condition string) test) (test, bool) {
	var conditions, addresses []string
	for _, one := range operands(value, "is") {
		values, ok := texts(one.value)
		if !ok || len(values) == 0 || one.key.Value != "in" && len(values) != 1 || isNull(one.value) {
			return test{}, false
		}
		var literals []string
		for _, v := range values {
			literal, ok := quoted(v)
			if !ok {
				return impossible, true
			}
			literals = append(literals, literal)
		}
		c, ok := comparison(operand, one.key.Value, literals)
		if !ok {
			return test{}, false
		}
		if operand == "e.value" && (one.key.Value == "is" || one.key.Value == "in") {
			addresses = values
		}
		conditions = append(conditions, c)
	}
	if len(conditions) == 0 {
		return test{}, false
	}
	t := as(all(conditions...))
	if len(conditions) == 1 && addresses != nil {
		return emailIs(addresses...), true
	}
	return t, true
}

func comparison(operand, operator string, literals []string) (condition string, ok bool) {
	switch operator {
	case "is":
		return operand + " == " + literals[0], true
	case "not":
		return operand + " != " + literals[0], true
	case "in":
		return operand + " in [" + strings.Join(literals, ", ") + "]", true
	}
	function, ok := map[string]string{"starts_with": "startsWith", "ends_with": "endsWith", "contains": "contains"}[operator]
	return operand + "." + function + "(" + literals[0] + ")", ok
}

// compareDomain returns the test of the part of an address after its only @.
func compareDomain(value *yaml.Node) (test, bool) {
	var conditions, domains []string
	for _, one := range operands(value, "is") {
		values, ok := texts(one.value)
		if !ok || len(values) == 0 || one.key.Value != "in" && len(values) != 1 || isNull(one.value) {
			return test{}, false
		}
		var patterns []string
		for _, v := range values {
			if !writable(v) || strings.Contains(v, "@") || v == "" {
				return impossible, true
			}
			patterns = append(patterns, regexp.QuoteMeta(v))
		}
		pattern := "(" + strings.Join(patterns, "|") + ")"
		form, ok := map[string]string{"is": pattern, "in": pattern, "not": pattern, "starts_with": pattern + "[^@]*", "ends_with": "[^@]*" + pattern, "contains": "[^@]*" + pattern + "[^@]*"}[one.key.Value]
		if !ok {
			return test{}, false
		}
		literal, ok := quoted("^[^@]+@" + form + "$")
		if !ok {
			return impossible, true
		}
		c := "e.value.matches(" + literal + ")"
		if one.key.Value == "not" {
			c = `e.value.matches("^[^@]+@[^@]*$") && !` + c
		}
		if one.key.Value == "is" || one.key.Value == "in" {
			domains = values
		}
		conditions = append(conditions, c)
	}
	if len(conditions) == 0 {
		return test{}, false
	}
	if len(conditions) == 1 && domains != nil && domainIs(false, domains...).sure != never && !strings.HasPrefix(domains[0], ".") {
		return domainIs(false, domains...), true
	}
	return exactly(ofAddress(all(conditions...))), true
}

// compareGroups returns the test that a user is, or is not, in a group.
func compareGroups(value *yaml.Node) (test, bool) {
	all := operands(value, "has")
	if len(all) != 1 || !isScalar(all[0].value) {
		return test{}, false
	}
	t := memberOf(all[0].value.Value)
	switch all[0].key.Value {
	case "has":
		return t, true
	case "exclude":
		return t.negated(), true
	case "is": // in this group and in no other
		return test{sure: never, maybe: t.maybe}, true
	}
	return test{}, false
}
