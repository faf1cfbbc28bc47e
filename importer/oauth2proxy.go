package importer

import (
	"cmp"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// oauth2proxy is a configuration of oauth2-proxy while it is read.
type oauth2proxy struct {
	*draft
	settings

	host    string // at which the applications are; "" if the text does not say
	people  []test // of which one must hold: who may sign in, by address
	members []test // likewise, by group; empty if groups make no difference
	roles   []string
	closed  bool   // something restricts access that cannot be expressed
	open    []rule // what needs no sign-in
	targets []target
	lost    []lost
	static  bool // an upstream responds by itself, as for a front proxy that asks
}

// target is one upstream.
type target struct {
	route
	exact bool // the path alone, and nothing below it
}

// lost is what went to an upstream that is none here, and must not go to another one.
type lost struct {
	path  string // that requests had or were below; "" if a regular expression chose them
	match test
}

func importOAuth2Proxy(d *draft, text []byte) error {
	o := &oauth2proxy{draft: d}
	if err := o.read(string(text)); err != nil {
		return err
	}
	for _, name := range o.names {
		s := o.byName[name]
		if !take(d, o, name, s, oauth2Keys, oauth2Dropped) {
			o.unknown(s.place, name)
		}
	}
	o.finish()
	return nil
}

// unknown reports a setting that is not known. One that may restrict access closes everything: a newer version may have it.
func (o *oauth2proxy) unknown(at place, name string) {
	if mayRestrict(name) {
		o.closed = true
		o.find(at, Unknown, "", "by its name it may say who gets in, so nobody does")
		return
	}
	o.find(at, Unknown, "", "oauth2-proxy has no such setting that is known here")
}

var restricting = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`(?i)allow|den[yi]|group|role|user|email|mail|domain|restrict|require|whitelist|blacklist|forbid|block|only|tenant|org|team|policy|polic|authoriz|mtls|client_?ca`)
})

// mayRestrict reports whether a setting may say who gets in, by its name.
func mayRestrict(name string) bool { return restricting().MatchString(name) }

// read collects the settings of text, in whichever form it has them.
func (o *oauth2proxy) read(text string) error {
	add := func(s setting) { s.name = oauth2Name(s.name); o.add(o.draft, s) }
	strange := func(at place) { o.find(at, Unknown, "", "this line is no setting") }
	l := lines{envPrefix: "OAUTH2_PROXY_"}
	documents, err := readYAML(text)
	if err == nil && len(documents) > 0 && len(pairs(documents[0])) > 0 {
		if !isDeployment(documents) {
			o.readAlpha(documents[0])
			return nil
		}
		r := deployment{image: "oauth2-proxy", envPrefix: l.envPrefix, text: strings.Split(text, "\n"), add: add,
			values: map[string]string{"clientID": "client_id", "clientSecret": "client_secret", "cookieSecret": "cookie_secret", "cookieName": "cookie_name"}}
		r.embedded = func(_, inner string, first, indent int) { o.readEmbedded(l, inner, first, indent, add, strange) }
		for _, document := range documents {
			r.read(document)
		}
		return nil
	}
	if flagsOrVariables(text, l) {
		l.read(text, 1, 0, add, strange)
		return nil
	}
	return readTOML(text, 1, add)
}

// readEmbedded reads a file that stands in another.
func (o *oauth2proxy) readEmbedded(l lines, text string, first, indent int, add func(setting), strange func(place)) {
	shifted := func(s setting) { s.col += indent; add(s) }
	if documents, err := readYAML(text); err == nil && len(documents) > 0 && len(pairs(documents[0])) > 0 {
		shift(documents[0], first-1, indent)
		o.readAlpha(documents[0])
		return
	}
	if flagsOrVariables(text, l) {
		l.read(text, first, indent, add, strange)
		return
	}
	if err := readTOML(text, first, shifted); err != nil {
		o.find(place{line: first, col: 1}, Unknown, "", "this file in the file is not TOML")
	}
}

var firstSetting = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`(?m)^\s*(?:export\s+)?(?:Environment="?)?OAUTH2_PROXY_[A-Z_]+=|^\s*-{1,2}[a-z][a-z-]+|\s--[a-z][a-z-]+`)
})

// flagsOrVariables reports whether a text has flags or variables of the environment, rather than TOML.
func flagsOrVariables(text string, _ lines) bool {
	for line := range strings.SplitSeq(text, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		if firstSetting().MatchString(line) && !tomlLine().MatchString(line) {
			return true
		}
	}
	return false
}

var tomlLine = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-z][a-z0-9_-]*\s*=`) })

// oauth2Name returns the one name of a setting, however it is written: that of the file, plural where it can be repeated.
func oauth2Name(name string) string {
	name = strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(name, "OAUTH2_PROXY_")), "-", "_")
	if plural := name + "s"; !isOAuth2Key(name) && isOAuth2Key(plural) {
		return plural
	}
	return name
}

func isOAuth2Key(name string) bool {
	_, known := oauth2Keys[name]
	_, dropped := oauth2Dropped[name]
	return known || dropped
}

// finish makes policies and routes of what was read.
func (o *oauth2proxy) finish() {
	if len(o.settings.names) == 0 && len(o.targets) == 0 {
		return
	}
	if _, ok := o.get("provider"); !ok && o.draft.provider.issuer == "" {
		o.draft.provider.issuer = wellKnown["google"]
		o.find(nowhere, FillIn, "oidc.issuer", "the text names no provider, which is Google for oauth2-proxy; check it")
	}
	o.completeTLSMode()
	policies := []string{o.accessPolicy()}
	if len(o.open) > 0 {
		policies = append(policies, o.policyOf("open", "What oauth2-proxy let through without a sign-in.", o.open))
	}
	if o.host == "" {
		o.host = placeholderHost
		o.find(nowhere, FillIn, "routes", "the text does not say at which host the application is; write it in place of %s", placeholderHost)
	}
	if o.static || len(o.targets) == 0 {
		o.addForwardAuth(policies)
	}
	for _, t := range o.targets {
		t.host, t.policy = o.host, policies
		if t.exact {
			t.policy = append(slices.Clone(policies), o.below(t.path))
		}
		if rules := o.lostBelow(t.path); len(rules) > 0 {
			t.policy = append(slices.Clone(t.policy), o.denyPolicy("elsewhere", "oauth2-proxy sent these paths to upstreams that are none here.", rules...))
		}
		o.addRoute(t.route)
	}
}

// below returns the name of the policy that denies what is not exactly a path.
func (o *oauth2proxy) below(path string) string {
	literal, _ := quoted(path)
	return o.denyPolicy("only-"+strings.Trim(routeName(path), "-"), "oauth2-proxy sent this path alone to the upstream, and nothing below it.", rule{deny: true, when: "request.path != " + literal})
}

// lose remembers the path of an upstream that is none here.
func (o *oauth2proxy) lose(path string) {
	path = cmp.Or(path, "/")
	match := pathIs(path)
	if strings.HasSuffix(path, "/") {
		match = pathBegins(path)
	}
	o.lost = append(o.lost, lost{path, match})
}

// lostBelow returns the rules that keep what was lost from the route of a path.
func (o *oauth2proxy) lostBelow(path string) (rules []rule) {
	for _, l := range o.lost {
		if l.path != "" && (len(l.path) <= len(path) || !strings.HasPrefix(l.path, path)) {
			continue // the route's path is the longer one
		}
		rules = append(rules, denying(l.match))
	}
	return rules
}

// denyPolicy returns the name of a policy that denies and allows nothing, which stands beside another.
func (d *draft) denyPolicy(name, comment string, rules ...rule) string {
	written, taken := fmt.Sprintf("%#v", rules), map[string]bool{}
	for _, p := range d.policies {
		if fmt.Sprintf("%#v", p.rules) == written {
			return p.name
		}
		taken[p.name] = true
	}
	name = unused(name, 63, taken)
	d.policies = append(d.policies, namedPolicy{name, comment, rules})
	return name
}

// addForwardAuth adds what a front proxy needs that asks about each request.
func (o *oauth2proxy) addForwardAuth(policies []string) {
	o.forwardAuth = true
	if len(o.trusted) == 0 {
		o.trusted = []string{placeholderProxy}
		o.find(nowhere, FillIn, "trusted_proxies", "the addresses of the front proxy, which asks at /.sallyport/check; nobody may ask until then")
	}
	o.find(nowhere, FillIn, "forward_auth.secret_file", "openssl rand -hex 32 > %s, and have the front proxy send it (docs/forward-auth.md)", o.secretFile("front"))
	if len(o.targets) == 0 {
		o.find(nowhere, FillIn, "routes", "the front proxy has the upstreams; write one route for each host that it asks about, whose upstream gets nothing")
		o.addRoute(route{name: "app", host: o.host, path: "/", upstreams: []string{placeholderUpstream}, policy: policies,
			comments: []string{"The front proxy forwards the requests: nothing is sent to this upstream."}})
	}
}

// accessPolicy returns the name of the policy for those who may sign in.
func (o *oauth2proxy) accessPolicy() string {
	if len(o.people) == 0 && len(o.settings.names) > 0 && !o.closed {
		o.find(nowhere, FillIn, "policies", "the text does not say who may sign in (email_domains), so nobody may; beside a configuration in YAML, the other file has it")
		o.closed = true
	}
	if o.closed {
		return o.closedPolicy()
	}
	var rules []rule
	for _, who := range o.people {
		rules = append(rules, o.withGroups(who)...)
	}
	for i := range rules {
		if rules[i].groupsToFillIn {
			o.find(nowhere, FillIn, "policies", "the object ID of each group that stands there by its name")
			break
		}
	}
	if rules = merged(rules); len(rules) == 0 {
		return o.closedPolicy()
	}
	return o.policyOf("signed-in", "Who may sign in.", rules)
}

// withGroups returns the rules for those of whom a test holds and who are in one of the groups or have one of the roles.
func (o *oauth2proxy) withGroups(who test) (rules []rule) {
	if len(o.members)+len(o.roles) == 0 {
		if r, ok := allowing(who); ok {
			rules = append(rules, r)
		}
		return rules
	}
	for _, m := range o.members {
		if r, ok := allowing(who, m); ok {
			rules = append(rules, r)
		}
	}
	if who.sure != never && len(o.roles) > 0 {
		r := rule{roles: o.roles}
		if who.sure != always {
			r.when = who.sure
		}
		rules = append(rules, r)
	}
	return rules
}

// completeTLSMode chooses the listener. Without a certificate a proxy in front speaks TLS.
func (o *oauth2proxy) completeTLSMode() {
	http, hasHTTP := o.get("http_address")
	https, hasHTTPS := o.get("https_address")
	withFiles := o.tls.cert != "" && o.tls.key != ""
	address, at := http, hasHTTP
	if withFiles {
		address, at = https, hasHTTPS
	}
	if at {
		if o.listen.public = listenAddress(address.value()); o.listen.public == "" || address.opaque {
			o.listen.public = ""
			o.find(address.place, Changed, "listen.public", "this is no address with a port that Sallyport can listen on; it listens on 0.0.0.0:8443")
		} else {
			o.find(address.place, Carried, "listen.public", "")
		}
	}
	switch {
	case withFiles && hasHTTP:
		o.find(http.place, Dropped, "", "there is one listener for applications, with TLS; listen.http redirects browsers to it")
	case !withFiles && hasHTTPS:
		o.find(https.place, Dropped, "", "there is no certificate in the text; write tls.cert_file and tls.key_file, and listen.public")
	case !withFiles && o.isOn("reverse_proxy", false) || !withFiles && hasHTTP:
		o.tls.off = true
	}
	if o.tls.off && hasHTTP && isLoopback(o.listen.public) && o.isOn("reverse_proxy", false) {
		o.trusted = []string{"127.0.0.1"}
	}
}

// networksOf returns addresses and networks in one spelling; ok is false if one is none of them, or is everybody.
func networksOf(texts []string) (networks []string, ok bool) {
	for _, text := range texts {
		if ip, err := netip.ParseAddr(text); err == nil && ip.Zone() == "" && !ip.Is4In6() {
			networks = append(networks, ip.String())
			continue
		}
		p, err := netip.ParsePrefix(text)
		if err != nil || p.Addr().Is4In6() || p.Bits() == 0 {
			return nil, false
		}
		networks = append(networks, p.Masked().String())
	}
	return networks, len(networks) > 0
}

// takeLifetime takes over how long a session lasts.
func (d *draft) takeLifetime(s setting, lifetime time.Duration, ok bool) {
	switch {
	case !ok || lifetime == 0:
		d.find(s.place, Changed, "session.lifetime", "sessions last 12 hours, since none lasts as long as the browser runs")
	case lifetime < time.Minute:
		d.lifetime = time.Minute
		d.find(s.place, Changed, "session.lifetime", "one minute is the shortest")
	case lifetime > maxLifetime:
		d.lifetime = maxLifetime
		d.find(s.place, Changed, "session.lifetime", "720 hours are the longest; session.idle, 1 hour, ends sessions that are not used")
	default:
		d.lifetime = lifetime
		d.find(s.place, Carried, "session.lifetime", "session.idle, 1 hour or less, ends sessions that are not used")
	}
}
