package importer

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// The two tests that need no question.
const (
	never  = "false"
	always = "true"
)

// test is one thing that a program asks about a request, in the language of conditions. The program's test holds wherever sure
// holds, and maybe holds wherever the program's test holds. Where they differ, the test cannot be expressed exactly: rules that
// let people in use sure, and those that keep people out use maybe.
type test struct {
	sure, maybe string

	group    *group   // instead of sure, where a rule can name it
	emails   []string // the address is one of these
	domains  []string // the address is in one of these domains
	networks []string // the client is in one of these; sure and maybe do not say it
	anyone   bool     // holds for callers who are not signed in
}

type group struct{ id, name string }

// impossible is a test of which nothing is known.
var impossible = test{sure: never, maybe: always}

// negated returns the opposite of a test.
func (t test) negated() test { return test{sure: not(t.maybe), maybe: not(t.sure)} }

func not(condition string) string {
	switch condition {
	case never:
		return always
	case always:
		return never
	case oddPath:
		return plainPath
	case plainPath:
		return oddPath
	}
	return "!(" + condition + ")"
}

// all returns the conjunction of conditions.
func all(conditions ...string) string { return joinConditions(conditions, " && ", always, never) }

// oneOf returns the disjunction of conditions.
func oneOf(conditions ...string) string { return joinConditions(conditions, " || ", never, always) }

func joinConditions(conditions []string, operator, neutral, decisive string) string {
	var parts []string
	for _, c := range conditions {
		switch {
		case c == decisive:
			return decisive
		case c == neutral || slices.Contains(parts, c):
		default:
			parts = append(parts, c)
		}
	}
	if len(parts) == 0 {
		return neutral
	}
	if len(parts) == 1 {
		return parts[0]
	}
	for i, p := range parts {
		if mixes(p, strings.TrimSpace(operator)) {
			parts[i] = "(" + p + ")"
		}
	}
	return strings.Join(parts, operator)
}

// mixes reports whether a condition has another operator than one outside of parentheses and texts.
func mixes(condition, operator string) bool {
	depth, inText := 0, false
	for i := 0; i < len(condition); i++ {
		switch c := condition[i]; {
		case inText && c == '\\':
			i++
		case c == '"':
			inText = !inText
		case inText:
		case c == '(' || c == '[':
			depth++
		case c == ')' || c == ']':
			depth--
		case depth == 0 && (c == '&' || c == '|') && c != operator[0]:
			return true
		}
	}
	return false
}

// quoted returns text as a literal of a condition; ok is false if it cannot be one.
func quoted(text string) (literal string, ok bool) {
	if !writable(text) || len(text) > 1000 {
		return "", false
	}
	return strconv.Quote(text), true
}

// signedIn holds for every user of the directory.
const signedIn = `user.id != ""`

// ofAddress returns the condition that the user's e-mail address, called e.value, meets a condition: the only address, or the
// primary one of several. A user without such an address meets it nowhere, not even where it is negated.
func ofAddress(condition string) string {
	return "user.attributes.emails.exists(e, " + condition + " && (size(user.attributes.emails) == 1 || e.primary == true))"
}

func exactly(condition string) test { return test{sure: condition, maybe: condition} }

var emailForm = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^[A-Za-z0-9.!#$%&'*+/=?^_{|}~-]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*$`)
})

// emailIs is the test that a user has one of some addresses.
func emailIs(addresses ...string) test {
	literals := make([]string, len(addresses))
	for i, a := range addresses {
		literal, ok := quoted(a)
		if !ok {
			return impossible
		}
		literals[i] = literal
	}
	condition := ofAddress("e.value == " + literals[0])
	if len(literals) > 1 {
		condition = ofAddress("e.value in [" + strings.Join(literals, ", ") + "]")
	}
	t := exactly(condition)
	t.emails = addresses
	return t
}

var domainForm = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*$`) })

// domainIs is the test that a user's address is in one of some domains. A domain that begins with a dot stands for those below it.
func domainIs(fold bool, domains ...string) test {
	patterns := make([]string, len(domains))
	for i, d := range domains {
		plain := strings.TrimPrefix(d, ".")
		if !domainForm().MatchString(plain) {
			return impossible
		}
		patterns[i] = regexp.QuoteMeta(plain)
		if plain != d {
			patterns[i] = `[^@]+\.` + patterns[i]
		}
	}
	pattern := patterns[0]
	if len(patterns) > 1 {
		pattern = "(" + strings.Join(patterns, "|") + ")"
	}
	prefix := "^[^@]+@"
	if fold {
		prefix = "(?i)" + prefix
	}
	t := exactly(ofAddress("e.value.matches(" + strconv.Quote(prefix+pattern+"$") + ")"))
	t.domains = domains
	return t
}

var objectID = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$`)
})

// memberOf is the test that a user is in a group. Of a group that is written by another thing than its object ID it is not known
// who is in it, until a person fills the ID in.
func memberOf(name string) test {
	if objectID().MatchString(name) {
		t := exactly(strconv.Quote(name) + " in user.groups")
		t.group = &group{id: name}
		return t
	}
	t := impossible
	if writable(name) && strings.TrimSpace(name) == name && name != "" {
		t.group = &group{name: name}
	}
	return t
}

// oddPath holds for paths that another program may see in another spelling.
const (
	oddPath   = `request.path.contains("%")`
	plainPath = "!" + oddPath
)

// ofPath is a test of the path by a condition. Another program may see a path with a percent sign in another spelling, so nothing
// is known of those.
func ofPath(condition string) test {
	return test{sure: all(condition, plainPath), maybe: oneOf(condition, oddPath)}
}

func pathIs(path string) test {
	if literal, ok := quoted(path); ok {
		return ofPath("request.path == " + literal)
	}
	return impossible
}

func pathBegins(prefix string) test {
	if prefix == "/" || prefix == "" {
		return test{sure: always, maybe: always}
	}
	if literal, ok := quoted(prefix); ok {
		return ofPath("request.path.startsWith(" + literal + ")")
	}
	return impossible
}

// pathMatches is the test that some part of the path matches a regular expression, in the syntax of RE2.
func pathMatches(pattern string) test {
	if _, err := regexp.Compile(pattern); err != nil {
		return impossible
	}
	if literal, ok := quoted(pattern); ok {
		return ofPath("request.path.matches(" + literal + ")")
	}
	return impossible
}

var methodForm = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Z]{1,20}$`) })

func methodIs(methods ...string) test {
	var tests []string
	for _, m := range methods {
		if !methodForm().MatchString(m) {
			return impossible
		}
		tests = append(tests, "request.method == "+strconv.Quote(m))
	}
	return exactly(oneOf(tests...))
}

// rule is one rule of a policy. All its parts must match.
type rule struct {
	deny              bool
	anyone            bool
	groups, allGroups []group
	roles             []string
	emails, domains   []string // whose condition is in when, if that is all of it
	methods, paths    []string
	networks          []string
	when              string
	comment           string
	groupsToFillIn    bool
}

// allowing returns the rule that lets those in of whom all tests are sure; ok is false if that is nobody.
func allowing(tests ...test) (r rule, ok bool) {
	var conditions []string
	for _, t := range tests {
		switch {
		case t.group != nil:
			r.allGroups = append(r.allGroups, *t.group)
			r.groupsToFillIn = r.groupsToFillIn || t.group.id == ""
		case t.networks != nil && r.networks != nil:
			return rule{}, false
		case t.networks != nil:
			r.networks = t.networks
		case t.anyone:
			r.anyone = true
		case t.sure == never:
			return rule{}, false
		default:
			conditions = append(conditions, t.sure)
		}
	}
	if len(tests) == 1 {
		r.emails, r.domains = tests[0].emails, tests[0].domains
	}
	if len(r.allGroups) == 1 {
		r.groups, r.allGroups = r.allGroups, nil
	}
	if r.when = all(conditions...); r.when == always {
		r.when = ""
	}
	if strings.Contains(r.when, "user.") || len(r.groups)+len(r.allGroups) > 0 {
		r.anyone = false
	}
	return r.forCallers(), r.when != never
}

// forCallers has a rule that names no callers let in those who are signed in.
func (r rule) forCallers() rule {
	named := len(r.groups)+len(r.allGroups)+len(r.roles) > 0 || strings.Contains(r.when, "user.")
	if !r.anyone && !named {
		r.when = all(signedIn, r.orAlways())
	}
	return r
}

func (r rule) orAlways() string {
	if r.when == "" {
		return always
	}
	return r.when
}

// denying returns the rule that keeps those out of whom all tests may hold.
func denying(tests ...test) rule {
	r := rule{deny: true}
	var conditions []string
	for _, t := range tests {
		if t.group != nil && t.group.id != "" && r.groups == nil {
			r.groups = []group{*t.group}
			continue
		}
		conditions = append(conditions, t.maybe)
	}
	switch r.when = all(conditions...); {
	case r.when == never:
		return rule{}
	case r.when == always && r.groups == nil:
		return denyEverybody
	case r.when == always:
		r.when = ""
	}
	return r
}

// denyEverybody is the rule that lets nobody in.
var denyEverybody = rule{deny: true, methods: []string{"any"}}

func (r rule) deniesEverybody() bool { return r.deny && slices.Equal(r.methods, denyEverybody.methods) }

func (r rule) isEmpty() bool {
	return !r.deny && !r.anyone && r.when == "" && len(r.groups)+len(r.allGroups)+len(r.networks)+len(r.roles) == 0
}

// guarded returns the rule for requests that also meet a condition.
func (r rule) guarded(condition string) rule {
	if condition == always || condition == "" {
		return r
	}
	r.emails, r.domains = nil, nil
	r.when = all(r.orAlways(), condition)
	return r
}

// merged returns rules with those put together that differ in groups, addresses or domains alone.
func merged(rules []rule) (out []rule) {
	for _, r := range rules {
		if r.isEmpty() {
			continue
		}
		i := slices.IndexFunc(out, func(o rule) bool { return alike(o, r) })
		if i < 0 {
			out = append(out, r)
			continue
		}
		o := &out[i]
		switch {
		case len(r.groups) > 0:
			for _, g := range r.groups {
				if !slices.Contains(o.groups, g) {
					o.groups = append(slices.Clone(o.groups), g)
				}
			}
			o.groupsToFillIn = o.groupsToFillIn || r.groupsToFillIn
		case len(r.emails) > 0:
			o.emails = union(o.emails, r.emails)
			o.when = emailIs(o.emails...).sure
		case len(r.domains) > 0:
			fold := strings.Contains(o.when, "(?i)")
			o.domains = union(o.domains, r.domains)
			o.when = domainIs(fold, o.domains...).sure
		}
	}
	return out
}

func union(a, b []string) []string {
	out := slices.Clone(a)
	for _, one := range b {
		if !slices.Contains(out, one) {
			out = append(out, one)
		}
	}
	return out
}

// alike reports whether two rules are equal, or become one when their groups, addresses or domains are put together.
func alike(a, b rule) bool {
	kind := func(r rule) int {
		switch {
		case len(r.emails) > 0:
			return 1
		case len(r.domains) > 0:
			return 2
		case len(r.groups) > 0:
			return 3
		}
		return 0
	}
	if kind(a) != kind(b) || a.deny != b.deny || a.anyone != b.anyone || len(a.networks)+len(b.networks)+len(a.allGroups)+len(b.allGroups)+len(a.roles)+len(b.roles) > 0 ||
		!slices.Equal(a.methods, b.methods) || !slices.Equal(a.paths, b.paths) || a.comment != b.comment {
		return false
	}
	if k := kind(a); k == 1 || k == 2 {
		return len(a.groups)+len(b.groups) == 0 && strings.Contains(a.when, "(?i)") == strings.Contains(b.when, "(?i)")
	}
	return a.when == b.when
}
