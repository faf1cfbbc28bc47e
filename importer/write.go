package importer

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"
)

// object is a mapping that is being written.
type object struct{ node *yaml.Node }

func newObject(flow bool) object {
	o := object{&yaml.Node{Kind: yaml.MappingNode}}
	if flow {
		o.node.Style = yaml.FlowStyle
	}
	return o
}

// put adds a key with its value, unless that is nil, and with comments above and beside it.
func (o object) put(key string, value *yaml.Node, comments ...string) {
	if value == nil {
		return
	}
	k := textNode(key)
	if len(comments) > 0 && comments[0] != "" {
		k.HeadComment = commentOf(comments[0])
	}
	if len(comments) > 1 && comments[1] != "" {
		value.LineComment = commentOf(comments[1])
	}
	o.node.Content = append(o.node.Content, k, value)
}

// whole returns the mapping, or nil if it has no key.
func (o object) whole() *yaml.Node {
	if len(o.node.Content) == 0 {
		return nil
	}
	return o.node
}

func commentOf(text string) string {
	return "# " + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n# ")
}

func textNode(text string) *yaml.Node {
	n := &yaml.Node{}
	n.SetString(text)
	return n
}

// optional returns a text, or nil if it is empty.
func optional(text string) *yaml.Node {
	if text == "" {
		return nil
	}
	return textNode(text)
}

// plain returns a scalar that is no text: a number, a duration, true or false.
func plain(text string) *yaml.Node { return &yaml.Node{Kind: yaml.ScalarNode, Value: text} }

func durationNode(d time.Duration) *yaml.Node {
	if d <= 0 {
		return nil
	}
	text := d.String()
	for _, zero := range []string{"m0s", "h0m"} {
		if shorter, ok := strings.CutSuffix(text, zero); ok {
			text = shorter + zero[:1]
		}
	}
	return plain(text)
}

// listNode returns texts in brackets; nil if there are none.
func listNode(texts []string) *yaml.Node {
	if len(texts) == 0 {
		return nil
	}
	n := &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
	for _, t := range texts {
		n.Content = append(n.Content, textNode(t))
	}
	return n
}

func sequence(nodes ...*yaml.Node) *yaml.Node {
	return &yaml.Node{Kind: yaml.SequenceNode, Content: nodes}
}

// write returns the configuration.
func (d *draft) write(source Source) ([]byte, error) {
	o := newObject(false)
	o.put("public_url", textNode(d.publicURL), fmt.Sprintf("Written by `sallyport import %s`. Read what it could not carry over, write what it says is to fill in,\n"+
		"then run `sallyport validate`. Nobody may do here what they could not do before.", source))
	o.put("listen", d.listenNode())
	o.put("tls", d.tlsNode())
	o.put("trusted_proxies", listNode(d.trusted), map[bool]string{true: "Replace this address: it is nobody's."}[slices.Contains(d.trusted, placeholderProxy)])
	if d.forwardAuth {
		f := newObject(true)
		f.put("secret_file", textNode(d.secretFile("front")))
		o.put("forward_auth", f.node, "openssl rand -hex 32 makes this secret, which the front proxy sends (docs/forward-auth.md).")
	}
	o.put("store", nested("bolt", "path", "data/sallyport.db"))
	o.put("control", nested("socket", "data/control.sock"))
	o.put("oidc", d.providerNode())
	if d.lifetime > 0 {
		s := newObject(true)
		s.put("lifetime", durationNode(d.lifetime))
		s.put("idle", durationNode(min(d.lifetime, time.Hour)))
		o.put("session", s.node)
	}
	if d.logLevel != "" {
		o.put("log", nested("level", d.logLevel))
	}
	o.put("identity_headers", d.headers.node())
	o.put("policies", d.policiesNode())
	o.put("routes", d.routesNode())
	return yaml.Dump(o.node, yaml.WithIndent(2), yaml.WithCompactSeqIndent(false), yaml.WithLineWidth(-1))
}

// nested returns mappings in each other, in braces. The last word is the value.
func nested(words ...string) *yaml.Node {
	n := textNode(words[len(words)-1])
	for _, key := range slices.Backward(words[:len(words)-1]) {
		o := newObject(true)
		o.put(key, n)
		n = o.node
	}
	return n
}

func (d *draft) listenNode() *yaml.Node {
	o := newObject(false)
	o.put("public", textNode(d.listen.public))
	o.put("scim", textNode(d.scimAddress()), "", "where the identity provider pushes users and groups")
	o.put("ops", textNode(d.listen.ops))
	o.put("http", optional(d.listen.http))
	if d.listen.proxyProtocol {
		o.put("proxy_protocol", listNode([]string{"public"}))
	}
	return o.node
}

func (d *draft) tlsNode() *yaml.Node {
	o := newObject(true)
	if d.tls.off {
		o.put("off", plain("true"))
		return o.node
	}
	o.put("cert_file", textNode(d.tls.cert))
	o.put("key_file", textNode(d.tls.key))
	return o.node
}

func (d *draft) providerNode() *yaml.Node {
	p, o := d.provider, newObject(false)
	o.put("issuer", textNode(p.issuer), map[bool]string{true: "Fill in the issuer."}[p.issuer == placeholderIssuer || strings.Contains(p.issuer, placeholderTenant)])
	o.put("client_id", textNode(p.clientID))
	o.put("client_secret_file", textNode(p.secretFile))
	o.put("user_claim", textNode(p.userClaim), "", "must equal what SCIM pushes as externalId")
	o.put("scopes", listNode(p.scopes))
	o.put("api_audiences", listNode(p.audiences))
	o.put("ca_file", optional(p.caFile))
	if len(p.bearer) > 0 {
		list := sequence()
		for _, b := range p.bearer {
			one := newObject(true)
			one.put("issuer", textNode(b.issuer))
			one.put("audiences", listNode([]string{b.audience}))
			list.Content = append(list.Content, one.node)
		}
		o.put("bearer_issuers", list, "Only applications of these issuers are known here, and only rules with apps let them in.")
	}
	return o.node
}

func (h identityHeaders) node() *yaml.Node {
	o := newObject(true)
	o.put("preset", optional(h.preset))
	for _, n := range h.names {
		o.put(n.carries, textNode(n.name))
	}
	return o.whole()
}

func (d *draft) policiesNode() *yaml.Node {
	list := sequence()
	for _, p := range d.policies {
		o := newObject(false)
		o.put("name", textNode(p.name))
		rules := sequence()
		for _, r := range p.rules {
			rules.Content = append(rules.Content, r.node())
		}
		o.put("rules", rules)
		if p.comment != "" {
			o.node.HeadComment = commentOf(p.comment)
		}
		list.Content = append(list.Content, o.node)
	}
	return list
}

func (r rule) node() *yaml.Node {
	m := newObject(r.when == "")
	if r.anyone {
		m.put("anyone", plain("true"))
	}
	m.put("groups", groupsNode(r.groups))
	m.put("all_groups", groupsNode(r.allGroups))
	m.put("roles", listNode(r.roles))
	m.put("methods", listNode(r.methods))
	m.put("paths", listNode(r.paths))
	m.put("networks", listNode(r.networks))
	m.put("when", optional(r.when))
	o := newObject(false)
	o.put(map[bool]string{true: "deny", false: "allow"}[r.deny], m.node)
	comments := []string{r.comment}
	if r.groupsToFillIn {
		comments = append(comments, "Fill in the object ID of each group, which SCIM pushes as its externalId.")
	}
	if text := strings.TrimSpace(strings.Join(comments, "\n")); text != "" {
		o.node.HeadComment = commentOf(text)
	}
	return o.node
}

func groupsNode(groups []group) *yaml.Node {
	if len(groups) == 0 {
		return nil
	}
	n := &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
	for _, g := range groups {
		o := newObject(true)
		o.put("id", textNode(cmp.Or(g.id, "fill-in-the-object-id")))
		o.put("name", optional(g.name))
		n.Content = append(n.Content, o.node)
	}
	return n
}

func (d *draft) routesNode() *yaml.Node {
	list := sequence()
	for _, r := range d.routes {
		o := newObject(false)
		if len(r.comments) > 0 {
			o.node.HeadComment = commentOf(strings.Join(r.comments, "\n"))
		}
		r.write(o)
		list.Content = append(list.Content, o.node)
	}
	return list
}

func (r route) write(o object) {
	o.put("name", textNode(r.name))
	o.put("host", textNode(r.host))
	if r.path != "/" {
		o.put("path", textNode(r.path))
	}
	if len(r.upstreams) == 1 {
		o.put("upstream", textNode(r.upstreams[0]))
	} else {
		o.put("upstream", listNode(r.upstreams))
	}
	t := newObject(true)
	t.put("ca_file", optional(r.ca))
	t.put("cert_file", optional(r.cert))
	t.put("key_file", optional(r.key))
	t.put("server_name", optional(r.serverName))
	o.put("upstream_tls", t.whole())
	o.put("upstream_host", optional(r.upstreamHost))
	o.put("policy", listNode(r.policy))
	o.put("timeout", durationNode(r.timeout))
	if r.strip != "" || r.add != "" {
		w := newObject(true)
		w.put("strip", optional(r.strip))
		w.put("add", optional(r.add))
		o.put("rewrite", w.node)
	}
	if r.passPreflight {
		o.put("cors_preflight", textNode("pass"))
	}
	if r.passAuthorization {
		o.put("pass_authorization", plain("true"))
	}
	o.put("identity_headers", r.headers.node())
	o.put("request_headers", editsNode(r.requestRemove, r.requestSet))
	o.put("response_headers", editsNode(nil, r.responseSet))
	p := newObject(true)
	p.put("title", optional(r.title))
	p.put("description", optional(r.about))
	o.put("portal", p.whole())
	o.put("owner", optional(r.owner))
}

func editsNode(remove []string, set []headerValue) *yaml.Node {
	o := newObject(true)
	o.put("remove", listNode(remove))
	if len(set) > 0 {
		n := &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
		for _, h := range set {
			one := newObject(true)
			one.put("name", textNode(h.name))
			one.put("value", textNode(h.value))
			n.Content = append(n.Content, one.node)
		}
		o.put("set", n)
	}
	return o.whole()
}

// seconds returns a number of seconds as a duration.
func seconds(text string) (time.Duration, bool) {
	n, err := strconv.Atoi(strings.TrimSpace(text))
	if err != nil || n < 0 || n > 1<<31 {
		return 0, false
	}
	return time.Duration(n) * time.Second, true
}
