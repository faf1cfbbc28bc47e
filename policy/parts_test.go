package policy_test

import (
	"net/netip"
	"testing"
	"time"

	"sallyport/policy"
)

const enterprise = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"

// at returns a request at a time, written as in RFC 3339.
func at(t *testing.T, text string) *policy.Request {
	t.Helper()
	when, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	req := newRequest("GET", "/", sre)
	req.Time = when
	return req
}

func from(address string) *policy.Request {
	req := newRequest("GET", "/", sre)
	if address != "" {
		req.Address = netip.MustParseAddr(address)
	}
	return req
}

func described(attributes map[string]any) *policy.Request {
	req := newRequest("GET", "/", sre)
	req.Attributes = document(attributes)
	return req
}

// grace is an organization in which Grace manages the user 1, who manages Dan.
type grace struct{}

func (grace) Manager(id string) (userName, externalID string, ok bool) {
	return "grace@example.com", "oid-grace", id == "1"
}

func (grace) Manages(id, name string) bool { return id == "1" && name == "dan@example.com" }

func TestParts_Decide(t *testing.T) {
	managed := newRequest("GET", "/", sre)
	managed.Organization = grace{}
	allow := func(parts string) string { return `[{allow: {` + parts + `}}]` }
	deny := func(parts string) string {
		return `[{allow: {groups: [{id: ` + sre + `}], methods: [any]}}, {deny: {` + parts + `}}]`
	}
	inSRE := `groups: [{id: ` + sre + `}], `
	finance := map[string]any{enterprise: map[string]any{"department": "Finance", "manager": map[string]any{"value": "17"}}, "userType": "Employee",
		"emails": []any{map[string]any{"value": "a@example.com", "type": "work"}, map[string]any{"value": "b@example.com"}},
		"name":   map[string]any{"familyName": "Lovelace"}, "urn:example:badge:1.0": map[string]any{"number": 17.0, "gold": true, "doors": []any{"a", "b"}}}
	for _, c := range []struct {
		name    string
		rules   string
		request *policy.Request
		want    bool
	}{
		{"any_method", allow(inSRE + `methods: [any]`), newRequest("PROPFIND", "/", sre), true},
		{"any_method_denied", deny(`methods: [any]`), newRequest("PROPFIND", "/", sre), false},

		{"all_groups_both", allow(`all_groups: [{id: ` + sre + `}, {id: ` + admins + `}]`), newRequest("GET", "/", sre, admins), true},
		{"all_groups_one", allow(`all_groups: [{id: ` + sre + `}, {id: ` + admins + `}]`), newRequest("GET", "/", sre), false},
		{"all_groups_none", allow(`all_groups: [{id: ` + sre + `}, {id: ` + admins + `}]`), newRequest("GET", "/"), false},
		{"all_groups_by_name", allow(`all_groups: [{id: ` + sre + `}, {name: name of ` + admins + `}]`), newRequest("GET", "/", sre, admins), true},
		{"all_groups_denied_one", deny(`all_groups: [{id: ` + sre + `}, {id: ` + admins + `}]`), newRequest("GET", "/", sre), true},
		{"all_groups_denied_both", deny(`all_groups: [{id: ` + sre + `}, {id: ` + admins + `}]`), newRequest("GET", "/", sre, admins), false},

		{"not_users_named", allow(inSRE + `not_users: [alice@example.com]`), newRequest("GET", "/", sre), false},
		{"not_users_by_external_id", allow(inSRE + `not_users: [oid-alice]`), newRequest("GET", "/", sre), false},
		{"not_users_another", allow(inSRE + `not_users: [bob@example.com]`), newRequest("GET", "/", sre), true},
		{"not_users_denied_named", deny(`not_users: [alice@example.com]`), newRequest("GET", "/", sre), true},
		{"not_users_denied_another", deny(`not_users: [bob@example.com]`), newRequest("GET", "/", sre), false},
		{"not_users_denied_anonymous", `[{allow: {anyone: true}}, {deny: {not_users: [alice@example.com]}}]`, &policy.Request{Anonymous: true, Method: "GET", Path: "/"}, false},

		{"networks_within", allow(inSRE + `networks: [192.0.2.0/24, 10.0.0.0/8]`), from("10.1.2.3"), true},
		{"networks_outside", allow(inSRE + `networks: [192.0.2.0/24]`), from("192.0.3.1"), false},
		{"networks_one_address", allow(inSRE + `networks: [192.0.2.1]`), from("192.0.2.1"), true},
		{"networks_next_address", allow(inSRE + `networks: [192.0.2.1]`), from("192.0.2.2"), false},
		{"networks_mapped_address", allow(inSRE + `networks: [10.0.0.0/8]`), from("::ffff:10.0.0.1"), true},
		{"networks_ipv6", allow(inSRE + `networks: ['2001:db8::/32']`), from("2001:db8::1"), true},
		{"networks_ipv6_with_zone", deny(`networks: ['fe80::/10']`), from("fe80::1%eth0"), false},
		{"networks_address_unknown", allow(inSRE + `networks: [0.0.0.0/0, '::/0']`), from(""), false},
		{"networks_denied", deny(`networks: [10.0.0.0/8]`), from("10.0.0.1"), false},

		{"reports_to", allow(`reports_to: [bob@example.com, grace@example.com]`), managed, true},
		{"reports_to_by_external_id", allow(`reports_to: [oid-grace]`), managed, true},
		{"reports_to_another", allow(`reports_to: [bob@example.com]`), managed, false},
		{"reports_to_nobody_known", allow(`reports_to: [grace@example.com]`), newRequest("GET", "/"), false},
		{"reports_to_denied", deny(`reports_to: [grace@example.com]`), managed, false},
		{"reports_to_without_manager", allow(`reports_to: [grace@example.com]`), &policy.Request{UserID: "2", Method: "GET", Path: "/", Organization: grace{}}, false},
		{"manager_of", allow(`manager_of: [bob@example.com, dan@example.com]`), managed, true},
		{"manager_of_another", allow(`manager_of: [bob@example.com]`), managed, false},
		{"manager_of_anonymous", `[{allow: {anyone: true}}, {deny: {manager_of: [dan@example.com]}}]`, &policy.Request{Anonymous: true, Method: "GET", Path: "/", Organization: grace{}}, true},

		{"attributes_department", allow(`attributes: {department: [Sales, Finance]}`), described(finance), true},
		{"attributes_another_value", allow(`attributes: {department: [Sales]}`), described(finance), false},
		{"attributes_case", allow(`attributes: {department: [finance]}`), described(finance), true},
		{"attributes_with_urn", allow(`attributes: {'` + enterprise + `:department': [Finance]}`), described(finance), true},
		{"attributes_all_must_match", allow(`attributes: {department: [Finance], userType: [Intern]}`), described(finance), false},
		{"attributes_two_match", allow(`attributes: {department: [Finance], userType: [Employee]}`), described(finance), true},
		{"attributes_sub_attribute", allow(`attributes: {name.familyName: [Lovelace]}`), described(finance), true},
		{"attributes_second_of_several", allow(`attributes: {emails: [b@example.com]}`), described(finance), true},
		{"attributes_sub_attribute_of_several", allow(`attributes: {emails.type: [work]}`), described(finance), true},
		{"attributes_value_of_complex", allow(`attributes: {manager: ['17']}`), described(finance), true},
		{"attributes_number", allow(`attributes: {'urn:example:badge:1.0:number': ['17']}`), described(finance), true},
		{"attributes_boolean", allow(`attributes: {'urn:example:badge:1.0:gold': ['true']}`), described(finance), true},
		{"attributes_list", allow(`attributes: {'urn:example:badge:1.0:doors': [b]}`), described(finance), true},
		{"attributes_extension_itself", allow(`attributes: {'urn:example:badge:1.0:missing': [b]}`), described(finance), false},
		{"attributes_text_has_no_parts", allow(`attributes: {'urn:example:badge:1.0:gold.x': ['true']}`), described(finance), false},
		{"attributes_core_is_not_the_extension", allow(`attributes: {department: [Finance]}`), described(map[string]any{"department": "Finance"}), false},
		{"attributes_none", allow(`attributes: {department: [Finance]}`), &policy.Request{UserName: "a", Method: "GET", Path: "/"}, false},
		{"attributes_denied", deny(`attributes: {userType: [employee]}`), described(finance), false},
		{"attributes_denied_absent", deny(`attributes: {userType: [employee]}`), described(map[string]any{}), true},

		{"hours_within", allow(inSRE + `hours: {days: [mon-fri], from: '08:00', to: '18:00'}`), at(t, "2026-11-23T08:00:00Z"), true},
		{"hours_before", allow(inSRE + `hours: {days: [mon-fri], from: '08:00', to: '18:00'}`), at(t, "2026-11-23T07:59:59Z"), false},
		{"hours_after", allow(inSRE + `hours: {days: [mon-fri], from: '08:00', to: '18:00'}`), at(t, "2026-11-23T18:00:00Z"), false},
		{"hours_sunday", allow(inSRE + `hours: {days: [mon-fri], from: '08:00', to: '18:00'}`), at(t, "2026-11-22T12:00:00Z"), false},
		{"hours_in_zone", allow(inSRE + `hours: {from: '08:00', to: '18:00', zone: America/New_York}`), at(t, "2026-11-23T12:30:00Z"), false},
		{"hours_in_zone_later", allow(inSRE + `hours: {from: '08:00', to: '18:00', zone: America/New_York}`), at(t, "2026-11-23T13:00:00Z"), true},
		{"hours_over_midnight", allow(inSRE + `hours: {days: [fri], from: '22:00', to: '06:00'}`), at(t, "2026-11-28T05:59:00Z"), true},
		{"hours_over_midnight_ended", allow(inSRE + `hours: {days: [fri], from: '22:00', to: '06:00'}`), at(t, "2026-11-28T06:00:00Z"), false},
		{"hours_over_midnight_of_another_day", allow(inSRE + `hours: {days: [fri], from: '22:00', to: '06:00'}`), at(t, "2026-11-28T23:00:00Z"), false},
		{"hours_range_over_the_weekend", allow(inSRE + `hours: {days: [sat-mon]}`), at(t, "2026-11-22T00:00:00Z"), true},
		{"hours_whole_day_ends", allow(inSRE + `hours: {days: [sun]}`), at(t, "2026-11-23T00:00:00Z"), false},
		{"hours_denied", deny(`hours: {days: [sat, sun]}`), at(t, "2026-11-22T00:00:00Z"), false},
		{"hours_after_the_clock_changed", allow(inSRE + `hours: {from: '08:00', to: '18:00', zone: Europe/Berlin}`), at(t, "2026-03-29T06:00:00Z"), true},

		{"until_before", `[{allow: {` + inSRE + `}, until: 2026-11-23}]`, at(t, "2026-11-23T23:59:59Z"), true},
		{"until_day_is_over", `[{allow: {` + inSRE + `}, until: 2026-11-23}]`, at(t, "2026-11-24T00:00:00Z"), false},
		{"until_time", `[{allow: {` + inSRE + `}, until: 2026-11-23T13:00:00+01:00}]`, at(t, "2026-11-23T12:00:00Z"), false},
		{"until_denied_ended", `[{allow: {` + inSRE + `}}, {deny: {}, until: 2026-11-22}]`, at(t, "2026-11-23T00:00:00Z"), true},
		{"until_denied", `[{allow: {` + inSRE + `}}, {deny: {}, until: 2026-11-23}]`, at(t, "2026-11-23T00:00:00Z"), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := compile(t, c.rules).Decide(c.request); got.Allow != c.want {
				t.Errorf("%s: %+v, want allow: %t", c.rules, got, c.want)
			}
		})
	}
}

// TestDecide_UntilTimeChangesIt: a live request must be decided again when a rule that
// depends on the time begins to deny, or stops to allow.
func TestDecide_UntilTimeChangesIt(t *testing.T) {
	inSRE := `{allow: {groups: [{id: ` + sre + `}]}}`
	for name, c := range map[string]struct{ rules, at, until string }{
		"no_time":           {`[` + inSRE + `]`, "2026-11-23T12:00:00Z", ""},
		"hours_end":         {`[{allow: {groups: [{id: ` + sre + `}], hours: {to: '18:00'}}}]`, "2026-11-23T12:00:00Z", "2026-11-23T18:00:00Z"},
		"rule_ends":         {`[{allow: {groups: [{id: ` + sre + `}]}, until: 2026-11-23}]`, "2026-11-23T12:00:00Z", "2026-11-24T00:00:00Z"},
		"rule_ends_first":   {`[{allow: {groups: [{id: ` + sre + `}], hours: {to: '18:00'}}, until: 2026-11-23T17:00:00Z}]`, "2026-11-23T12:00:00Z", "2026-11-23T17:00:00Z"},
		"deny_begins":       {`[` + inSRE + `, {deny: {hours: {from: '20:00'}}}]`, "2026-11-23T12:00:00Z", "2026-11-23T20:00:00Z"},
		"deny_days_away":    {`[{deny: {hours: {days: [sun]}}}, ` + inSRE + `]`, "2026-11-23T12:00:00Z", "2026-11-29T00:00:00Z"},
		"deny_a_week_away":  {`[{deny: {hours: {days: [mon], to: '08:00'}}}, ` + inSRE + `]`, "2026-11-23T12:00:00Z", "2026-11-30T00:00:00Z"},
		"deny_is_over":      {`[` + inSRE + `, {deny: {}, until: 2026-11-22}]`, "2026-11-23T12:00:00Z", ""},
		"clock_set_forward": {`[{allow: {groups: [{id: ` + sre + `}], hours: {to: '18:00', zone: Europe/Berlin}}}]`, "2026-03-29T00:30:00Z", "2026-03-29T16:00:00Z"},
	} {
		t.Run(name, func(t *testing.T) {
			d := compile(t, c.rules).Decide(at(t, c.at))
			until := ""
			if !d.Until.IsZero() {
				until = d.Until.UTC().Format(time.RFC3339)
			}
			if !d.Allow || until != c.until {
				t.Errorf("%+v, want allowed until %q", d, c.until)
			}
		})
	}
}

func TestParts_DoNotAllocate(t *testing.T) {
	p := compile(t, `[{allow: {attributes: {department: [Finance], emails: [x, b@example.com]}, networks: [10.0.0.0/8],
		hours: {days: [mon-fri], zone: Europe/Berlin}, not_users: [x], all_groups: [{id: `+sre+`}]}, until: 2030-01-01}]`)
	req := described(map[string]any{enterprise: map[string]any{"department": "Finance"}, "emails": []any{map[string]any{"value": "b@example.com"}}})
	req.Address = netip.MustParseAddr("10.0.0.1")
	if d := p.Decide(req); !d.Allow {
		t.Fatalf("%+v, %+v", d, p.Explain(req))
	}
	if n := testing.AllocsPerRun(1000, func() { p.Decide(req) }); n != 0 {
		t.Errorf("Decide allocates %v times", n)
	}
}

// TestDecide_Login: only a caller who misses nothing else is told what the rule demands
// of the login, and is told of the rule that demands least.
func TestDecide_Login(t *testing.T) {
	signedIn := func(age time.Duration, acr string, amr, contexts []string) *policy.Request {
		req := newRequest("GET", "/", sre)
		req.Authenticated = req.Time.Add(-age)
		req.Strength = policy.Strength{ACR: acr, AMR: amr, Contexts: contexts}
		return req
	}
	inSRE := `groups: [{id: ` + sre + `}], `
	rule := func(auth string) string { return `{allow: {` + inSRE + `auth: {` + auth + `}}}` }
	for _, c := range []struct {
		name, rules string
		req         *policy.Request
		want        string
	}{
		{"amr", `[` + rule(`amr: [mfa, hwk]`) + `]`, signedIn(0, "", []string{"pwd", "mfa"}, nil), "allow p[0]"},
		{"amr_missing", `[` + rule(`amr: [mfa, hwk]`) + `]`, signedIn(0, "", []string{"pwd"}, nil), "login_too_weak p[0] amr mfa or hwk"},
		{"acr", `[` + rule(`acr: [high]`) + `]`, signedIn(0, "high", nil, nil), "allow p[0]"},
		{"acr_missing", `[` + rule(`acr: [high]`) + `]`, signedIn(0, "", nil, nil), "login_too_weak p[0] acr high"},
		{"context", `[` + rule(`context: [c1, c2]`) + `]`, signedIn(0, "", nil, []string{"c2"}), "allow p[0]"},
		{"context_missing", `[` + rule(`context: [c1]`) + `]`, signedIn(0, "c1", []string{"c1"}, []string{"c2"}), "login_too_weak p[0] context c1"},
		{"all_must_be_so", `[` + rule(`max_age: 1h, amr: [mfa], acr: [high]`) + `]`, signedIn(0, "high", nil, nil), "login_too_weak p[0] within 1h0m0s, acr high, amr mfa"},
		{"only_too_old", `[` + rule(`max_age: 1h, amr: [mfa]`) + `]`, signedIn(2*time.Hour, "", []string{"mfa"}, nil), "login_too_old p[0] within 1h0m0s, amr mfa"},
		{"just_recent_enough", `[` + rule(`max_age: 1h`) + `]`, signedIn(time.Hour-time.Second, "", nil, nil), "allow p[0]"},
		{"just_too_old", `[` + rule(`max_age: 1h`) + `]`, signedIn(time.Hour, "", nil, nil), "login_too_old p[0] within 1h0m0s"},
		{"rule_that_demands_no_strength_first", `[` + rule(`amr: [mfa]`) + `, ` + rule(`max_age: 1h`) + `]`, signedIn(2*time.Hour, "", nil, nil), "login_too_old p[1] within 1h0m0s"},
		{"older_login_first", `[` + rule(`max_age: 1h`) + `, ` + rule(`max_age: 2h`) + `]`, signedIn(3*time.Hour, "", nil, nil), "login_too_old p[1] within 2h0m0s"},
		{"first_of_two_alike", `[` + rule(`amr: [a]`) + `, ` + rule(`amr: [b]`) + `]`, signedIn(0, "", nil, nil), "login_too_weak p[0] amr a"},
		{"another_rule_allows", `[` + rule(`amr: [mfa]`) + `, {allow: {` + inSRE + `}}]`, signedIn(0, "", nil, nil), "allow p[1]"},
		{"allowed_before", `[{allow: {` + inSRE + `}}, ` + rule(`amr: [mfa]`) + `]`, signedIn(0, "", nil, nil), "allow p[0]"},
		{"denied", `[` + rule(`amr: [mfa]`) + `, {deny: {}}]`, signedIn(0, "", nil, nil), "rule_deny p[1]"},
		{"not_a_member", `[` + rule(`amr: [mfa]`) + `]`, newRequest("GET", "/"), "no_rule "},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := compile(t, c.rules).Decide(c.req)
			got := string(d.Reason) + " " + d.Rule
			if d.Allow {
				got = "allow " + d.Rule
			}
			if d.Login != nil {
				got += " " + d.Login.String()
			}
			if got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}
