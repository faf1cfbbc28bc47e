package importer

import (
	"regexp"
	"slices"
	"strings"
	"sync"
)

// traefik is a configuration of traefik-forward-auth while it is read.
type traefik struct {
	*draft
	settings

	limits
	either bool // an address of whitelist or one in domains is enough
	rules  []*traefikRule
	hosts  []string
	closed bool
}

// traefikRule is one rule of traefik-forward-auth: an expression over the request, and what becomes of requests that match.
type traefikRule struct {
	name       string
	at         place
	action     string
	text       string
	expression expression
	limits
	opaque bool
}

// limits say whose addresses are accepted. What is written and empty accepts nobody's.
type limits struct {
	whitelist, domains       []string
	hasWhitelist, hasDomains bool
}

func (l limits) are(other limits) bool {
	return l.hasWhitelist == other.hasWhitelist && l.hasDomains == other.hasDomains && slices.Equal(l.whitelist, other.whitelist) && slices.Equal(l.domains, other.domains)
}

// maxRules bounds the rules: each is compared with each.
const maxRules = 60

func importTraefik(d *draft, text []byte) error {
	t := &traefik{draft: d}
	t.read(string(text))
	for _, name := range t.names {
		s := t.byName[name]
		if strings.HasPrefix(name, "rule.") {
			t.readRule(s)
			continue
		}
		switch {
		case take(d, t, name, s, traefikKeys, traefikDropped):
		case mayRestrict(name):
			t.closed = true
			d.find(s.place, Unknown, "", "by its name it may say who gets in, so nobody does")
		default:
			d.find(s.place, Unknown, "", "traefik-forward-auth has no such setting that is known here")
		}
	}
	if len(t.names) > 0 {
		t.finish()
	}
	return nil
}

func (t *traefik) read(text string) {
	add := func(s setting) {
		s.name = traefikName(s.name, s.form)
		if s.form == inEnvironment && !t.isKnown(s.name) {
			return // another program's
		}
		t.add(t.draft, s)
	}
	strange := func(at place) { t.find(at, Unknown, "", "this line is no setting") }
	l := lines{ini: true, old: func(key string) bool { return t.isKnown(traefikName(key, inFile)) }}
	documents, err := readYAML(text)
	if err == nil && len(documents) > 0 && len(pairs(documents[0])) > 0 && isDeployment(documents) {
		r := deployment{image: "traefik-forward-auth", text: strings.Split(text, "\n"), add: add}
		r.embedded = func(_, inner string, first, indent int) {
			l.read(inner, first, indent, add, strange)
		}
		for _, document := range documents {
			r.read(document)
		}
		return
	}
	l.read(text, 1, 0, func(s setting) {
		s.name = traefikName(s.name, s.form)
		t.add(t.draft, s)
	}, strange)
}

// isKnown reports whether the program has a setting.
func (*traefik) isKnown(name string) bool {
	_, known := traefikKeys[name]
	_, dropped := traefikDropped[name]
	return known || dropped
}

// traefikName returns the one name of a setting: that of its flag.
func traefikName(name string, form form) string {
	if form != inEnvironment {
		if !strings.HasPrefix(name, "rule.") {
			name = strings.ToLower(name)
		}
		return name
	}
	name = strings.ToLower(name)
	for _, group := range []string{"google", "oidc", "generic_oauth"} {
		if rest, ok := strings.CutPrefix(name, "providers_"+group+"_"); ok {
			return "providers." + strings.ReplaceAll(group, "_", "-") + "." + strings.ReplaceAll(rest, "_", "-")
		}
	}
	return strings.ReplaceAll(name, "_", "-")
}

func (t *traefik) readRule(s setting) {
	parts := strings.Split(s.name, ".")
	if len(parts) != 3 || parts[1] == "" {
		t.closed = true
		t.find(s.place, Unknown, "", "rules are written rule.NAME.PARAMETER; since this one may say who gets in, nobody does")
		return
	}
	i := slices.IndexFunc(t.rules, func(r *traefikRule) bool { return r.name == parts[1] })
	if i < 0 {
		i = len(t.rules)
		t.rules = append(t.rules, &traefikRule{name: parts[1], at: s.place, action: "auth"})
	}
	r := t.rules[i]
	r.opaque = r.opaque || s.opaque
	switch parts[2] {
	case "action":
		r.action = known(s)
		t.find(s.place, Carried, "policies", "")
	case "rule":
		r.text, r.at = known(s), s.place
	case "whitelist":
		r.whitelist, r.hasWhitelist = s.list(), true
		t.find(s.place, Changed, "policies", addressOfSCIM)
	case "domains":
		r.domains, r.hasDomains = s.list(), true
		t.find(s.place, Changed, "policies", addressOfSCIM)
	case "provider":
		t.find(s.place, Changed, "oidc.issuer", "people sign in through one provider")
	default:
		r.opaque = true
		t.find(s.place, Unknown, "", "rules have no such parameter that is known here; what this rule matches is denied")
	}
}

const addressOfSCIM = "the address is the user's only or primary one in the directory (SCIM), not one of a token; a group is the better rule"

// finish makes policies and routes of what was read.
func (t *traefik) finish() {
	if _, ok := t.get("default-provider"); !ok {
		t.provider.issuer = wellKnown["google"]
		t.find(nowhere, FillIn, "oidc.issuer", "the text names no provider, which is Google for traefik-forward-auth; check it")
	}
	t.forwardAuth, t.tls.off = true, true
	t.headers.names = []headerName{{"user", ""}, {"email", "X-Forwarded-User"}} // traefik-forward-auth sends the address there
	t.trusted = []string{placeholderProxy}
	t.find(nowhere, FillIn, "trusted_proxies", "the addresses of Traefik, which asks at /.sallyport/check; nobody may ask until then")
	t.find(nowhere, FillIn, "forward_auth.secret_file", "openssl rand -hex 32 > %s, and have Traefik send it (docs/forward-auth.md)", t.secretFile("front"))
	if len(t.rules) > maxRules {
		t.closed = true
		t.find(nowhere, FillIn, "policies", "there are more than %d rules, which are not compared with each other; write policies", maxRules)
	}
	for _, r := range t.rules {
		t.parse(r)
	}
	t.findHosts()
	for _, host := range t.hosts {
		t.addRoute(route{host: host, path: "/", upstreams: []string{placeholderUpstream}, policy: []string{t.policyFor(host)},
			comments: []string{"Traefik forwards the requests: nothing is sent to this upstream."}})
	}
}

func (t *traefik) parse(r *traefikRule) {
	e, err := parseExpression(r.text)
	if err != nil || r.opaque || r.action != "auth" && r.action != "allow" {
		r.opaque, r.expression = true, unknownExpression{}
		t.deny(r.at, "this rule cannot be read, so what it may match is denied")
		return
	}
	r.expression = e
	if c := e.test("app.example.com"); c.sure != c.maybe && !strings.Contains(c.maybe, "%") {
		t.deny(r.at, "headers, queries, addresses and patterns in it are not asked here: where they matter, requests are denied")
		return
	}
	t.find(r.at, Carried, "policies", "")
}

// findHosts collects the hosts that rules name. Traefik knows the others.
func (t *traefik) findHosts() {
	for _, r := range t.rules {
		for _, host := range r.expression.hosts() {
			if h, ok := plainHost(host); ok && !slices.Contains(t.hosts, h) {
				t.hosts = append(t.hosts, h)
			}
		}
	}
	t.find(nowhere, FillIn, "routes", "Traefik knows the hosts and upstreams; write one route for each host that it asks about, with the policy that it should have")
	if len(t.hosts) == 0 {
		t.hosts = []string{placeholderHost}
	}
}

// policyFor returns the name of the policy of a host. Where several rules match a request, traefik-forward-auth takes any of them;
// here all of them have to let the request in.
func (t *traefik) policyFor(host string) string {
	if t.closed {
		return t.closedPolicy()
	}
	var rules []rule
	var unmatched []string // that no rule matches
	for i, r := range t.rules {
		match := r.expression.test(host)
		unmatched = append(unmatched, not(match.maybe))
		if r.opaque || match.sure == never {
			continue
		}
		conditions := []string{match.sure}
		for j, other := range t.rules {
			if i != j && (other.opaque || !other.like(r)) {
				conditions = append(conditions, not(other.expression.test(host).maybe))
			}
		}
		rules = append(rules, t.accepting(r.action == "allow", r.limits, all(conditions...))...)
	}
	byDefault := t.text("default-action") == "allow"
	rules = append(rules, t.accepting(byDefault, limits{}, all(unmatched...))...)
	if rules = merged(rules); len(rules) == 0 {
		t.find(nowhere, FillIn, "policies", "nothing lets anybody in at one host; write a policy for its route")
		return t.closedPolicy()
	}
	return t.policyOf(routeName(host), "", rules)
}

// like reports whether two rules do the same with requests.
func (r *traefikRule) like(other *traefikRule) bool {
	return r.action == other.action && (r.action == "allow" || r.are(other.limits))
}

// accepting returns the rules that let in whom a rule of traefik-forward-auth lets in, where a condition holds.
func (t *traefik) accepting(everybody bool, l limits, condition string) (rules []rule) {
	if condition == never {
		return nil
	}
	add := func(tests ...test) {
		if r, ok := allowing(tests...); ok {
			rules = append(rules, r.guarded(condition))
		}
	}
	if everybody {
		add(withoutValue["accept"])
		return rules
	}
	if !l.hasWhitelist && !l.hasDomains {
		l = t.limits
	}
	if !l.hasWhitelist && !l.hasDomains {
		add(exactly(signedIn))
	}
	if len(l.whitelist) > 0 {
		add(emailIs(l.whitelist...))
	}
	if len(l.domains) > 0 && (!l.hasWhitelist || t.either) {
		add(domainIs(false, plainDomains(l.domains)...))
	}
	return rules
}

// plainDomains returns domains as they are compared: with a dot at the beginning none is any.
func plainDomains(domains []string) (plain []string) {
	for _, d := range domains {
		if !strings.HasPrefix(d, ".") {
			plain = append(plain, d)
		}
	}
	if len(plain) == 0 {
		return []string{"-"}
	}
	return plain
}

// traefikKeys has what becomes of each setting that is not left out, by its flag.
var traefikKeys map[string]func(*traefik, setting)

func init() { // as oauth2Keys
	google := func(t *traefik) bool {
		return t.text("default-provider") == "" || t.text("default-provider") == "google"
	}
	oidc := func(t *traefik) bool { return t.text("default-provider") == "oidc" }
	traefikKeys = map[string]func(*traefik, setting){
		"auth-host":        (*traefik).authHost,
		"cookie-domain":    (*traefik).cookieDomain,
		"cookie-domains":   (*traefik).cookieDomain,
		"default-action":   (*traefik).defaultAction,
		"default-provider": (*traefik).defaultProvider,
		"domain":           (*traefik).restrict,
		"whitelist":        (*traefik).restrict,
		"match-whitelist-or-domain": func(t *traefik, s setting) {
			on, ok := s.on()
			t.either = on && ok
			t.find(s.place, Carried, "policies", "")
		},
		"lifetime":                         func(t *traefik, s setting) { d, ok := seconds(known(s)); t.takeLifetime(s, d, ok) },
		"log-level":                        func(t *traefik, s setting) { t.takeLogLevel(s) },
		"port":                             (*traefik).port,
		"providers.google.client-id":       whenProvider(google, func(t *traefik, s setting) { t.takeText(s, "oidc.client_id", &t.provider.clientID) }),
		"client-id":                        whenProvider(google, func(t *traefik, s setting) { t.takeText(s, "oidc.client_id", &t.provider.clientID) }),
		"providers.google.client-secret":   whenProvider(google, func(t *traefik, s setting) { t.takeSecret(s) }),
		"client-secret":                    whenProvider(google, func(t *traefik, s setting) { t.takeSecret(s) }),
		"providers.oidc.issuer-url":        whenProvider(oidc, func(t *traefik, s setting) { t.setIssuer(s.place, known(s)) }),
		"providers.oidc.client-id":         whenProvider(oidc, func(t *traefik, s setting) { t.takeText(s, "oidc.client_id", &t.provider.clientID) }),
		"providers.oidc.client-secret":     whenProvider(oidc, func(t *traefik, s setting) { t.takeSecret(s) }),
		"providers.generic-oauth.scope":    func(t *traefik, s setting) { t.find(s.place, Dropped, "", "%s", notOIDC) },
		"providers.generic-oauth.auth-url": func(t *traefik, s setting) { t.find(s.place, FillIn, "oidc.issuer", "%s", notOIDC) },
	}
}

const notOIDC = "a provider of plain OAuth 2 does not say who signed in; put one that speaks OpenID Connect, and that pushes SCIM, in its place"

// whenProvider returns a function for the settings of a provider that is the one in use.
func whenProvider(used func(*traefik) bool, do func(*traefik, setting)) func(*traefik, setting) {
	return func(t *traefik, s setting) {
		if !used(t) {
			t.find(s.place, Dropped, "", "people sign in through one provider, which is that of default-provider")
			return
		}
		do(t, s)
	}
}

func (t *traefik) authHost(s setting) {
	public, _, ok := origin("https://" + known(s))
	if !ok {
		t.find(s.place, FillIn, "public_url", "this is no host name; write the address at which people sign in")
		return
	}
	t.publicURL = public
	t.find(s.place, Carried, "public_url", "the provider has to know %s/.sallyport/callback in place of the url-path", public)
}

func (t *traefik) cookieDomain(s setting) {
	t.find(s.place, Dropped, "", "%s", noCookies+"; one sign-in serves all hosts all the same")
}

func (t *traefik) defaultAction(s setting) {
	switch {
	case known(s) == "allow":
		t.find(s.place, Carried, "policies", "at the hosts of rules, what no rule matches is open to everybody; other hosts have no route")
	case known(s) == "auth":
		t.find(s.place, Carried, "policies", "")
	default:
		t.closed = true
		t.deny(s.place, "this is neither auth nor allow")
	}
}

func (t *traefik) defaultProvider(s setting) {
	switch name := known(s); name {
	case "google":
		t.provider.issuer = wellKnown[name]
		t.find(s.place, Carried, "oidc.issuer", "")
	case "oidc":
		t.find(s.place, Carried, "oidc.issuer", "")
	default:
		t.find(s.place, FillIn, "oidc.issuer", "%s", notOIDC)
	}
}

var bareWord = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^\S+$`) })

func (t *traefik) restrict(s setting) {
	values := s.list()
	for _, v := range values {
		if s.opaque || !bareWord().MatchString(v) {
			values = nil
			t.deny(s.place, "the text does not have the values themselves")
			break
		}
	}
	if s.name == "domain" {
		t.domains, t.hasDomains = values, true
	} else {
		t.whitelist, t.hasWhitelist = values, true
	}
	switch {
	case len(values) > 0:
		t.find(s.place, Changed, "policies", addressOfSCIM)
	case len(s.list()) == 0 && !s.opaque:
		t.deny(s.place, "it is empty, so that no address is accepted by it")
	}
}

func (t *traefik) port(s setting) {
	if address := listenAddress(":" + known(s)); address != "" {
		t.listen.public = address
		t.find(s.place, Carried, "listen.public", "")
		return
	}
	t.find(s.place, Changed, "listen.public", "Sallyport listens on 0.0.0.0:4181")
}

var traefikDropped = map[string]string{
	"log-format": "write log.format: json or text", "config": "import that file too", "insecure-cookie": "cookies are for https, except on localhost", "cookie-secure": "cookies are for https, except on localhost",
	"cookie-name": noCookies, "csrf-cookie-name": noCookies, "secret": noCookies + "; the secret is not printed here", "cookie-secret": noCookies + "; the secret is not printed here", "couch-secret": "nothing is signed with it; it is not printed here",
	"logout-redirect": "the page after a sign-out is Sallyport's own", "url-path": "its own paths are below /.sallyport/; Traefik has to send them to Sallyport", "prompt": noParameter, "providers.google.prompt": noParameter,
	"providers.oidc.resource": noParameter, "providers.generic-oauth.resource": noParameter, "providers.generic-oauth.token-url": notOIDC, "providers.generic-oauth.user-url": notOIDC,
	"providers.generic-oauth.client-id": notOIDC, "providers.generic-oauth.client-secret": notOIDC + "; the secret is not printed here", "providers.generic-oauth.token-style": notOIDC,
}
