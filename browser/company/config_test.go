package company

import (
	"fmt"
	"strings"
)

// config returns a configuration of the company's policies and routes. The words in capitals are for who starts a server to
// replace: PUBLIC, SCIM and OPS are addresses, PORT that of PUBLIC, UPSTREAM, ISSUER, CLIENT the addresses and the client
// of what is beside it.
func (c *company) config() string {
	var b strings.Builder
	b.WriteString(`public_url: http://login.castle.localhost:PORT
listen: {public: "PUBLIC", scim: "SCIM", ops: "OPS"}
tls: {off: true}
store: {bolt: {path: data/sallyport.db}}
control: {socket: data/control.sock}
audit: {file: data/audit.jsonl}
limits: {connections: 1000}
oidc: {issuer: "ISSUER", client_id: CLIENT, client_secret_file: secrets/oidc, user_claim: sub, user_attribute: externalId}
scim: {max_deactivations: {count: 5, per: 10m}}
`)
	fmt.Fprintf(&b, "console:\n  admins: {groups: [%s]}\n  auditors: {groups: [%s]}\n", c.ref("Administrators"), c.ref("Auditors"))
	b.WriteString("policies:\n")
	for _, a := range applications {
		fmt.Fprintf(&b, "  - name: %s\n    rules:\n", a.name)
		for _, g := range a.allow {
			fmt.Fprintf(&b, "      - allow: {groups: [%s]}\n", c.ref(g))
		}
		switch a.name {
		case "grafana":
			fmt.Fprintf(&b, "      - allow: {groups: [%s]}                 # shadowed by none, used by nobody\n        until: 2027-12-31\n", c.ref("Contractors"))
			fmt.Fprintf(&b, "    requestable: {by: {groups: [%s]}, approvers: {groups: [%s]}, max: 4h}\n", c.ref("All staff"), c.ref("SRE"))
		case "kibana":
			fmt.Fprintf(&b, "      - allow: {groups: [%s], methods: [GET]}\n", c.ref("SRE"))
			fmt.Fprintf(&b, "    requestable: {by: {groups: [%s]}, approvers: {groups: [%s]}, max: 2h}\n", c.ref("Engineering"), c.ref("Administrators"))
		case "orders":
			fmt.Fprintf(&b, "      - deny: {methods: [DELETE], unless_groups: [%s]}\n", c.ref("Administrators"))
		case "payroll":
			fmt.Fprintf(&b, "      - deny: {groups: [%s]}\n", c.ref("Contractors"))
		}
	}
	b.WriteString("routes:\n")
	for _, a := range applications {
		fmt.Fprintf(&b, "  - {name: %s, host: %s.castle.localhost, upstream: \"UPSTREAM\", policy: [%s], owner: %s@castle.example}\n", a.name, a.name, a.name, strings.ToLower(strings.ReplaceAll(a.allow[0], " ", "-")))
	}
	fmt.Fprintf(&b, "tests:\n  - {as: ada@castle.example, get: grafana.castle.localhost/, want: allow}\n  - {as: eve@castle.example, get: payroll.castle.localhost/, want: deny}\n")
	return b.String()
}

// ref returns how a rule names a group.
func (c *company) ref(name string) string {
	return fmt.Sprintf("{id: %s, name: %s}", externalID("group", name), name)
}
