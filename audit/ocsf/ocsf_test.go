package ocsf_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"sallyport/audit"
	"sallyport/audit/ocsf"
)

// schema returns the schema of OCSF for the classes that are used.
func schema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	text, err := os.ReadFile("testdata/ocsf-" + ocsf.Version + ".json")
	if err != nil {
		t.Fatal(err)
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("ocsf.json", document); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("ocsf.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// encode returns an event as OCSF, in its own text and as values.
func encode(t *testing.T, e audit.Event) (text []byte, fields map[string]any) {
	t.Helper()
	l := &audit.Line{Seq: 812, Event: e, Hash: strings.Repeat("a", 64)}
	line, err := json.Marshal(l)
	if err != nil {
		t.Fatal(err)
	}
	if text, err = ocsf.Encode(l, line); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &fields); err != nil {
		t.Fatal(err)
	}
	if fields["raw_data"] != string(line) {
		t.Errorf("raw_data is %v", fields["raw_data"])
	}
	return text, fields
}

// full returns an event with every field and detail that its kind may have, of a caller of some kind.
func full(d audit.Description, reason string, actor audit.ActorKind) audit.Event {
	e := audit.Event{Time: time.Date(2026, 5, 3, 9, 14, 7, 221e6, time.UTC), Kind: d.Kind, Reason: reason, Detail: map[string]string{}}
	for _, field := range d.Fields {
		switch field {
		case "actor":
			e.Actor = audit.Actor{Kind: actor, Name: "root", Address: "control socket", ID: "7", Session: audit.BreakGlass}
		case "code":
			e.Code = 403
		case "rev":
			e.Revision = 4711
		case "decision":
			e.Decision = "deny"
		}
	}
	for name, to := range map[string]*string{"request": &e.Request, "user": &e.User, "user_name": &e.UserName, "group": &e.Group, "session": &e.Session,
		"route": &e.Route, "host": &e.Host, "method": &e.Method, "path": &e.Path, "address": &e.Address, "rule": &e.Rule} {
		for _, field := range d.Fields {
			if field == name {
				*to = map[string]string{"method": "GET", "path": "/a\u2028b", "address": "2001:db8::7", "host": "grafana.example.com"}[name]
				if *to == "" {
					*to = "x-" + name
				}
			}
		}
	}
	for _, detail := range d.Details {
		e.Detail[strings.ReplaceAll(detail.Name, "#", "1")] = "2026-05-03T09:14:07.221Z"
	}
	return e
}

// TestEncode_EveryKindIsSound: events of every kind and reason of the catalogue, with all fields, with few and with odd
// ones, are valid by the schema.
func TestEncode_EveryKindIsSound(t *testing.T) {
	s := schema(t)
	demand := func(e audit.Event) {
		t.Helper()
		text, _ := encode(t, e)
		value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Validate(value); err != nil {
			t.Errorf("%s %q: %s: %v", e.Kind, e.Reason, text, err)
		}
	}
	actors := []audit.ActorKind{audit.ActorOperator, audit.ActorSystem, audit.ActorUser, audit.ActorToken, audit.ActorProvider}
	for _, d := range audit.Catalogue() {
		for i, reason := range d.Reasons {
			e := full(d, reason.Name, actors[i%len(actors)])
			demand(e)
			e.Actor, e.Detail = audit.Actor{}, nil
			demand(e)
			e = full(d, reason.Name, actors[i%len(actors)])
			e.Group, e.Detail["action"] = "", "armed"
			demand(e)
			demand(audit.Event{Time: e.Time, Kind: d.Kind, Reason: reason.Name})
			demand(audit.Event{Time: e.Time, Kind: d.Kind, Reason: reason.Name, Method: "BREW", Address: "192.0.2.1%x\x00", Host: "_", Code: 99, Actor: audit.Actor{Kind: actors[i%len(actors)]}})
		}
	}
	for _, address := range []string{"192.0.2.7", "::ffff:192.0.2.7", "fe80::1%eth0", "2001:db8::7", "::1", "control socket", "192.0.2.7:80", "@"} {
		demand(audit.Event{Time: time.Now(), Kind: audit.KindDecision, Address: address})
	}
}

// TestEncode_Classes: what happened is of the class and the activity that readers of OCSF look for.
func TestEncode_Classes(t *testing.T) {
	operator := audit.Actor{Kind: audit.ActorOperator, Name: "root"}
	for _, c := range []struct {
		event audit.Event
		want  string // the type, the status, and the severity
	}{
		{audit.Event{Kind: audit.KindLogin, Reason: "signed_in", Decision: "allow", User: "ada"}, "300201 1 1"},
		{audit.Event{Kind: audit.KindLogin, Reason: "inactive_user", Decision: "deny", User: "ada"}, "300201 2 3"},
		{audit.Event{Kind: audit.KindLogout, Reason: "logout", User: "ada"}, "300202 1 1"},
		{audit.Event{Kind: audit.KindEnd, Reason: "operator", User: "ada", Actor: operator}, "300202 1 1"},
		{audit.Event{Kind: audit.KindDecision, Reason: "rule_allow", Decision: "allow", Method: "GET", User: "ada"}, "400203 1 1"},
		{audit.Event{Kind: audit.KindDecision, Reason: "no_rule", Decision: "deny", Method: "PUT", User: "ada"}, "400207 2 3"},
		{audit.Event{Kind: audit.KindDecision, Reason: "no_rule", Decision: "deny", Method: "PATCH", User: "ada"}, "400299 2 3"},
		{audit.Event{Kind: audit.KindCut, Reason: "inactive_user", Method: "GET", User: "ada"}, "400203 2 3"},
		{audit.Event{Kind: audit.KindSuspend, Reason: "suspended", User: "ada", Actor: operator}, "300109 1 1"},
		{audit.Event{Kind: audit.KindSuspend, Reason: "failed", User: "ada", Actor: operator, Detail: map[string]string{"action": "suspended"}}, "300109 2 3"},
		{audit.Event{Kind: audit.KindSuspend, Reason: "unsuspended", User: "ada", Actor: operator}, "300112 1 1"},
		{audit.Event{Kind: audit.KindBreakGlass, Reason: "used", UserName: "ada"}, "300201 1 4"},
		{audit.Event{Kind: audit.KindBreakGlass, Reason: "failed"}, "300201 2 4"},
		{audit.Event{Kind: audit.KindBreakGlass, Reason: "armed", Actor: operator}, "300401 1 4"},
		{audit.Event{Kind: audit.KindSCIM, Reason: "create", User: "ada"}, "300101 1 1"},
		{audit.Event{Kind: audit.KindSCIM, Reason: "patch", User: "ada", Detail: map[string]string{"result": "deactivated"}}, "300105 1 1"},
		{audit.Event{Kind: audit.KindSCIM, Reason: "replace", User: "ada", Detail: map[string]string{"result": "activated"}}, "300102 1 1"},
		{audit.Event{Kind: audit.KindSCIM, Reason: "release", User: "ada"}, "300105 1 1"},
		{audit.Event{Kind: audit.KindSCIM, Reason: "delete", User: "ada"}, "300106 1 1"},
		{audit.Event{Kind: audit.KindSCIM, Reason: "patch", User: "ada"}, "300199 1 1"},
		{audit.Event{Kind: audit.KindSCIM, Reason: "patch", Group: "sre", Detail: map[string]string{"members_added": "2"}}, "300603 1 1"},
		{audit.Event{Kind: audit.KindSCIM, Reason: "patch", Group: "sre", Detail: map[string]string{"members_removed": "2"}}, "300604 1 1"},
		{audit.Event{Kind: audit.KindSCIM, Reason: "replace", Group: "sre", Detail: map[string]string{"members_added": "1", "members_removed": "2"}}, "300699 1 1"},
		{audit.Event{Kind: audit.KindSCIM, Reason: "delete", Group: "sre"}, "300605 1 1"},
		{audit.Event{Kind: audit.KindSCIM, Reason: "held deactivations released", Actor: operator}, "300403 1 1"},
		{audit.Event{Kind: audit.KindToken, Reason: "created", Actor: operator}, "300401 1 1"},
		{audit.Event{Kind: audit.KindToken, Reason: "revoked", Actor: operator}, "300404 1 1"},
		{audit.Event{Kind: audit.KindConfig, Reason: "refused", Actor: operator}, "300403 2 3"},
		{audit.Event{Kind: audit.KindGrant, Reason: "began", User: "ada", Detail: map[string]string{"policy": "sre"}}, "300501 1 1"},
		{audit.Event{Kind: audit.KindGrant, Reason: "dead", User: "ada", Detail: map[string]string{"policy": "sre"}}, "300502 1 1"},
		{audit.Event{Kind: audit.KindAudit, Reason: "rotated"}, "100805 1 1"},
		{audit.Event{Kind: audit.KindAudit, Reason: "sink_lost"}, "100899 2 3"},
		{audit.Event{Kind: audit.KindStart}, "600203 1 1"},
		{audit.Event{Kind: audit.KindStop}, "600204 1 1"},
	} {
		_, fields := encode(t, c.event)
		if got := fmt.Sprint(fields["type_uid"], fields["status_id"], fields["severity_id"]); got != c.want {
			t.Errorf("%s %s is %s, want %s", c.event.Kind, c.event.Reason, got, c.want)
		}
	}
}

// TestEncode_RejectsUnknownKind: what has no class is an error, and no event of another class.
func TestEncode_RejectsUnknownKind(t *testing.T) {
	if _, err := ocsf.Encode(&audit.Line{Event: audit.Event{Kind: "made up"}}, nil); err == nil || !strings.Contains(err.Error(), "made up") {
		t.Errorf("encoding gives %v", err)
	}
}
