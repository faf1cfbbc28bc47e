package demo

import (
	"bytes"
	"fmt"
	"text/template"
)

const (
	clientID     = "5a111900-0000-4000-8000-000000000001"
	clientSecret = "a secret between two programs on loopback" // good for nothing else
	apiAudience  = "api://sallyport"
	secretFile   = "secrets/oidc"
)

// writeConfig returns the sallyport.yaml of the demo. It names groups by object ID, as every configuration should;
// the names beside them are comments that Sallyport checks.
func writeConfig(p endpoints, ids map[string]string) ([]byte, error) {
	group := func(name string) (string, error) {
		if ids[name] == "" {
			return "", fmt.Errorf("the demo has no group %q", name)
		}
		return fmt.Sprintf("{id: %s, name: %s}", ids[name], name), nil
	}
	t, err := template.New("sallyport.yaml").Funcs(template.FuncMap{"group": group}).Parse(configText)
	if err != nil {
		return nil, err
	}
	var text bytes.Buffer
	err = t.Execute(&text, struct {
		endpoints
		ClientID, SecretFile string
	}{p, clientID, secretFile})
	return text.Bytes(), err
}

const configText = `# What the demo runs. Change it while it runs: within two seconds it is in force,
# and live connections that it no longer allows are cut.
public_url: {{.Public}}
listen: {public: "{{.Listen}}", scim: "{{.SCIM}}", ops: "{{.Ops}}"}
tls: {off: true}                       # loopback only; anywhere else, give it a certificate
store: {bolt: {path: data/sallyport.db}}
control: {socket: data/control.sock}
audit: {file: data/audit.jsonl}
limits: {connections: 1000}            # for one machine; the default is 30,000

oidc:
  issuer: {{.Issuer}}
  client_id: {{.ClientID}}
  client_secret_file: {{.SecretFile}}
  api_audiences: [api://sallyport]
  user_claim: oid                      # who signs in here ...
  user_attribute: externalId           # ... is the user who was pushed with this
session: {lifetime: 12h, idle: 1h}

identity_headers: {name: X-Forwarded-Name}   # the applications show it, beside what they get by default

console:                               # {{.Public}}/.sallyport/console/
  admins: {groups: [{{group "Administrators"}}]}
  auditors: {groups: [{{group "Operations"}}]}

policies:
  - name: operations
    rules:
      - allow: {groups: [{{group "Operations"}}]}
    requestable:                       # whoever is denied may ask, and is let in for a while
      by: {groups: [{{group "All staff"}}]}
      approvers: {groups: [{{group "Operations"}}]}
      max: 1h
  - name: orders
    rules:
      - allow: {groups: [{{group "Operations"}}, {{group "Research"}}]}
      - deny:  {methods: [POST, PUT, PATCH, DELETE], unless_groups: [{{group "Administrators"}}]}
  - name: staff
    rules:
      - allow: {groups: [{{group "All staff"}}]}

routes:
  - name: clock
    host: clock.localhost
    upstream: {{.Dashboard}}
    policy: [operations]
    owner: operations@castle-works.example
  - name: orders
    host: api.localhost
    path: /orders
    upstream: {{.Backend}}
    policy: [orders]
    owner: orders@castle-works.example
  - name: whoami
    host: whoami.localhost
    upstream: {{.Identity}}
    policy: [staff]
    owner: people@castle-works.example
`
