package manage_test

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"sallyport/access"
	"sallyport/admin"
	"sallyport/audit"
	"sallyport/config"
	"sallyport/proxy"
)

// ruleText is the configuration in force, as a person would write it.
const ruleText = `public_url: https://login.example.com
policies:
  - name: sre
    rules:
      - allow: {groups: [{id: g-sre, name: SRE}]}
      - deny: {methods: [DELETE]}
  - {name: payroll, rules: [{allow: {groups: [{id: g-payroll, name: Payroll}]}}]}
routes:
  - {name: wiki, host: wiki.example.com, upstream: "http://127.0.0.1:1", policy: [sre], owner: owner@example.com}
  - {name: payroll, host: payroll.example.com, upstream: "http://127.0.0.1:1", policy: [payroll]}
tests:
  - {as: ada@example.com, get: wiki.example.com/, want: allow}
  - {as: carol@example.com, get: wiki.example.com/, want: deny}
`

// parse reads a changed configuration as a server does.
func (e *env) parse(text string) (admin.Rules, error) {
	parsed, err := config.ParseChange("", []byte(text), []byte(ruleText))
	if faults := (config.Faults)(nil); errors.As(err, &faults) {
		var list admin.Faults
		for _, f := range faults {
			list = append(list, admin.Fault{Line: f.Line, Col: f.Col, Path: f.Path, Problem: f.Problem})
		}
		return admin.Rules{}, list
	}
	if err != nil {
		return admin.Rules{}, err
	}
	compiled, err := proxy.CompileRules(parsed.Settings)
	if err != nil {
		return admin.Rules{}, err
	}
	return admin.Rules{Policies: compiled.Policies(), Routes: compiled.Routes(), Target: compiled.Target, Tests: parsed.Tests, Place: parsed.Place}, nil
}

// decisions reads the record of the test.
func (e *env) decisions(_ context.Context, q admin.RecordQuery, add func(access.Recorded) error) (read admin.RecordRead, err error) {
	record, err := audit.OpenRecord(e.recordPath)
	if err != nil {
		return read, err
	}
	defer record.Close()
	read.Begins, err = record.Read(q.Since, func(event audit.Event) error {
		if event.Kind != audit.KindDecision {
			return nil
		}
		return add(access.Recorded{Time: event.Time, User: event.User, Name: event.UserName, Route: event.Route, Method: event.Method, Host: event.Host, Path: event.Path,
			Allow: event.Decision == "allow", Rule: event.Rule, Reason: event.Reason})
	})
	return read, err
}

// configuration returns what a test has set, beside what every configuration has.
func (e *env) configuration(context.Context) (admin.Configuration, error) {
	c := e.config
	if c.SHA256 == "" {
		c.SHA256, c.OnDisk.SHA256 = "aa11", "aa11"
	}
	c.Path, c.Since, c.Text = "/etc/sallyport.yaml", time.Date(2026, 11, 1, 9, 0, 0, 0, time.UTC), "public_url: https://login.example.com\n"
	return c, nil
}

// decide records decisions about requests of a person to the wiki.
func (e *env) decide(userName, method, decision, rule string, n int) {
	e.t.Helper()
	u := e.user(userName)
	for range n {
		event := audit.Event{Time: time.Now().UTC(), Kind: audit.KindDecision, Decision: decision, User: u.ID, UserName: u.UserName, Route: "wiki", Method: method, Host: "wiki.example.com", Path: "/",
			Address: address, Rule: rule, Reason: map[string]string{"allow": "rule_allow", "deny": "no_rule"}[decision], Request: "0123456789abcdef0123456789abcdef"}
		if err := e.record.Write(event); err != nil {
			e.t.Fatal(err)
		}
	}
}

// unmarshal reads a page as JSON.
func unmarshal[V any](res *response) (v V) {
	if err := json.Unmarshal(res.Body.Bytes(), &v); err != nil {
		panic(err)
	}
	return v
}
