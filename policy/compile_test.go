package policy_test

import (
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"sallyport/policy"
)

func TestCompile_RejectsMistakes(t *testing.T) {
	for rules, want := range map[string]string{
		`[{}]`:                        "exactly one of allow and deny",
		`[{allow: {}}]`:               "anyone: true",
		`[{allow: {methods: [GET]}}]`: "names no apps, users, groups, all_groups, roles, reports_to, manager_of or attributes",
		`[{allow: {groups: [{id: x}]}, deny: {methods: [GET]}}]`:         "exactly one of allow and deny",
		`[{allow: {groups: [{}]}}]`:                                      "names no group",
		`[{allow: {groups: [{name: Admins}]}}]`:                          "trust_group_names",
		`[{allow: {anyone: true, groups: [{id: x}]}}]`:                   "is for everybody",
		`[{allow: {anyone: true, when: 'user.id == "1"'}}]`:              "not be signed in",
		`[{allow: {roles: [x], methods: [get]}}]`:                        "methods are compared exactly",
		`[{allow: {roles: [x], paths: [reports]}}]`:                      "does not begin with /",
		`[{allow: {roles: [x], paths: ['/a*']}}]`:                        "one whole segment",
		`[{allow: {roles: [x], paths: [/**/a]}}]`:                        "only at the end",
		`[{allow: {roles: [x], paths: [/a/../b]}}]`:                      "dot segment",
		`[{allow: {roles: [x], when: 'request.nope('}}]`:                 "is not a condition",
		`[{allow: {roles: [x], when: '1 + 1'}}]`:                         "true or false",
		`[{allow: {when: 'user.departement == "x"'}}]`:                   "allow.when: asks at line 1, column 1 of the condition for user.departement, which does not exist; did you mean user.attributes.departement",
		`[{deny: {when: '1 == 1 && user.rolles == []'}}]`:                "asks at line 1, column 11 of the condition for user.rolles, which does not exist; did you mean user.roles?",
		`[{deny: {when: 'request.Method == "GET"'}}]`:                    "did you mean request.method?",
		`[{deny: {when: 'user["role"] == []'}}]`:                         "asks at line 1, column 1 of the condition for user.role, which does not exist; did you mean user.roles?",
		`[{deny: {when: 'request.headers.x == "y"'}}]`:                   "request.headers, which does not exist; there are request.method, request.host, request.path, request.time",
		`[{deny: {when: 'has(user.app)'}}]`:                              "column 5 of the condition for user.app, which is always there; write user.app, without has() or brackets",
		`[{deny: {when: 'users.roles == []'}}]`:                          "undeclared reference to 'users.roles'",
		`[{deny: {when: 'user.attributes.cost-center == "x"'}}]`:         `asks for user.attributes.cost-center, which is read as a subtraction; write user.attributes["cost-center"]`,
		`[{deny: {when: 'user == user'}}]`:                               "column 1 of the condition for user, which does not exist; there are user.id",
		`[{deny: {when: 'usr.id == "1"'}}]`:                              "is not a condition",
		`[{deny: {when: 'request.path > 5'}}]`:                           "is not a condition",
		`[{allow: {roles: [x]}, mode: dry-run}]`:                         "write report",
		`[{allow: {roles: [x], paths: [/a/..]}}]`:                        "dot segment",
		`[{allow: {roles: [x], paths: [/a//b]}}]`:                        "empty or dot segment",
		`[{allow: {roles: [x], paths: ['/a%2f']}}]`:                      "a canonical path cannot have",
		`[{allow: {groups: [{id: ' x'}]}}]`:                              "groups[0].id: begins or ends with a space",
		`[{deny: {unless_groups: [{id: y}, {id: 'x '}]}}]`:               "unless_groups[1].id: begins or ends with a space",
		`[{allow: {users: [u, '']}}]`:                                    "users[1]: is empty",
		`[{allow: {roles: [' x']}}]`:                                     "roles[0]: is empty, or begins or ends with a space",
		`[{allow: {apps: ['']}}]`:                                        "apps[0]: is empty",
		`[{allow: {apps: [a], groups: [{id: x}]}}]`:                      "cannot match together with users, not_users, groups, all_groups, unless_groups, reports_to, manager_of or attributes",
		`[{allow: {apps: [a], users: [u]}}]`:                             "apps: cannot match together",
		`[{allow: {apps: [a], max_auth_age: 1h}}]`:                       "max_auth_age: means nothing for applications",
		`[{allow: {anyone: true, max_auth_age: 1h}}]`:                    "max_auth_age: asks for a login",
		`[{allow: {anyone: true, unless_groups: [{id: x}]}}]`:            "leave out apps, users, not_users, groups, all_groups, unless_groups, roles, reports_to, manager_of and attributes",
		`[{allow: {roles: [x], max_auth_age: 59s}}]`:                     "write at least 1m0s",
		`[{deny: {max_auth_age: 1h}}]`:                                   "deny.max_auth_age: belongs in an allow rule",
		`[{deny: {anyone: true}}]`:                                       "means nothing in a deny rule",
		`[{allow: {roles: [x], methods: [GET, any]}}]`:                   "methods[1]: any stands for every method; write it alone",
		`[{allow: {roles: [x], methods: [ANY, any]}}]`:                   "methods[1]: any stands for every method",
		`[{allow: {networks: [10.0.0.0/8]}}]`:                            "names no apps, users",
		`[{allow: {roles: [x], networks: [10.0.0.1/8]}}]`:                `networks[0]: "10.0.0.1/8" has bits beyond its length; write 10.0.0.0/8`,
		`[{allow: {roles: [x], networks: [office]}}]`:                    `networks[0]: "office" is no network; write one such as 10.0.0.0/8`,
		`[{deny: {networks: ['::ffff:10.0.0.0/104']}}]`:                  "is no network",
		`[{deny: {networks: ['::ffff:10.0.0.1']}}]`:                      "is no network",
		`[{deny: {networks: ['fe80::1%eth0']}}]`:                         "is no network",
		`[{allow: {reports_to: [' x']}}]`:                                "reports_to[0]: is empty, or begins",
		`[{allow: {manager_of: [a, '']}}]`:                               "manager_of[1]: is empty, or begins",
		`[{allow: {apps: [a], manager_of: [b]}}]`:                        "apps: cannot match together",
		`[{allow: {all_groups: [{}]}}]`:                                  "all_groups[0]: names no group",
		`[{allow: {all_groups: [{name: SRE}]}}]`:                         "trust_group_names",
		`[{allow: {not_users: [u]}}]`:                                    "names no apps, users",
		`[{deny: {not_users: [u, '']}}]`:                                 "not_users[1]: is empty",
		`[{allow: {apps: [a], not_users: [u]}}]`:                         "apps: cannot match together",
		`[{allow: {apps: [a], attributes: {title: [x]}}}]`:               "apps: cannot match together",
		`[{allow: {anyone: true, attributes: {title: [x]}}}]`:            "is for everybody",
		`[{allow: {attributes: {departement: [x]}}}]`:                    "attributes.departement: is no SCIM attribute of a user that a rule can compare; did you mean department?",
		`[{allow: {attributes: {badge: [x]}}}]`:                          "attributes.badge: is no SCIM attribute of a user that a rule can compare; write its URN before it",
		`[{allow: {attributes: {active: ['true']}}}]`:                    "is no SCIM attribute of a user that a rule can compare",
		`[{allow: {attributes: {name.nick: [x]}}}]`:                      "is no SCIM attribute of a user that a rule can compare",
		`[{allow: {attributes: {'urn:x:': [x]}}}]`:                       "is not the URN of an extension",
		`[{allow: {attributes: {'urn:x:a.b.c': [x]}}}]`:                  "is not the URN of an extension",
		`[{allow: {attributes: {title: []}}}]`:                           "attributes.title: has no value",
		`[{allow: {attributes: {title: [x, ' y']}}}]`:                    "attributes.title[1]: is empty, or begins or ends with a space",
		`[{allow: {roles: [x], hours: {from: 8}}}]`:                      `hours.from: "8" is no time of day; write it as 08:00`,
		`[{allow: {roles: [x], hours: {from: '8:00'}}}]`:                 `hours.from: "8:00" is no time of day`,
		`[{allow: {roles: [x], hours: {to: '24:01'}}}]`:                  `hours.to: "24:01" is no time of day`,
		`[{allow: {roles: [x], hours: {from: '24:00'}}}]`:                "begins when it ends",
		`[{allow: {roles: [x], hours: {from: '24:00', to: '01:00'}}}]`:   "hours.from: 24:00 is the end of a day; write 00:00",
		`[{allow: {roles: [x], hours: {from: '08:00', to: '08:00'}}}]`:   "hours: begins when it ends",
		`[{allow: {roles: [x], hours: {days: [monday]}}}]`:               `hours.days[0]: "monday" is no day; write one of sun, mon`,
		`[{allow: {roles: [x], hours: {days: [mon-fry]}}}]`:              `hours.days[0]: "mon-fry" is no day`,
		`[{allow: {roles: [x], hours: {zone: Berlin}}}]`:                 `hours.zone: "Berlin" is no time zone; write a name such as Europe/Berlin`,
		`[{allow: {roles: [x], hours: {zone: Local}}}]`:                  "is no time zone",
		`[{allow: {roles: [x], hours: {zone: ../../etc/passwd}}}]`:       "is no time zone",
		`[{allow: {roles: [x]}, until: tomorrow}]`:                       `until: "tomorrow" is no time; write a day such as 2027-01-31`,
		`[{allow: {roles: [x]}, until: 2027-02-30}]`:                     "is no time",
		`[{allow: {roles: [x], auth: {}}}]`:                              "auth: demands nothing; write max_age, acr, amr or context",
		`[{allow: {roles: [x], auth: {max_age: 59s}}}]`:                  "auth.max_age: is 59s; write at least 1m0s",
		`[{allow: {roles: [x], auth: {max_age: 1h}, max_auth_age: 1h}}]`: "auth.max_age: is max_auth_age by another name",
		`[{allow: {roles: [x], auth: {acr: [a, 'b c']}}}]`:               `auth.acr[1]: "b c" must be 1 to 200 printable characters`,
		`[{allow: {roles: [x], auth: {amr: ['']}}}]`:                     "auth.amr[0]",
		`[{allow: {roles: [x], auth: {context: [a,b,c,d,e,f,g,h,i]}}}]`:  "auth.context: has 9 values; write at most 8",
		`[{deny: {auth: {amr: [mfa]}}}]`:                                 "deny.auth: belongs in an allow rule",
		`[{allow: {anyone: true, auth: {amr: [mfa]}}}]`:                  "auth: asks for a login, and anyone for none",
		`[{allow: {apps: [a], auth: {amr: [mfa]}}}]`:                     "auth: means nothing for applications",
		`[{allow: {auth: {amr: [mfa]}}}]`:                                "names no apps, users",
	} {
		var written []policy.Rule
		if err := yaml.Unmarshal([]byte(rules), &written); err != nil {
			t.Fatal(err)
		}
		_, err := policy.Compile([]policy.Named{{Name: "p", Rules: written}}, policy.Options{})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", rules, err, want)
		}
	}
}

func TestCompile_AcceptsLimits(t *testing.T) {
	for _, rules := range []string{
		`[{allow: {roles: [x], max_auth_age: 1m}}]`,
		`[{allow: {when: 'true'}}]`,
		`[{allow: {anyone: true, when: 'request.path == "/"'}}]`,
		`[{deny: {}}]`,
		`[{allow: {apps: [a], roles: [x]}}]`,
		`[{allow: {groups: [{id: x, name: ' any comment '}]}}]`,
		`[{allow: {anyone: true, networks: [192.0.2.1, '2001:db8::/32'], hours: {days: [mon-fri]}}}]`,
		`[{deny: {attributes: {userType: [Contractor], name.familyName: [x], 'urn:example:ext:badge.number': ['1']}}}]`,
		`[{allow: {attributes: {department: [Finance]}}, until: 2027-01-31T18:00:00+01:00}]`,
		`[{deny: {hours: {days: [sat, sun]}}, until: 2027-01-31}]`,
		`[{allow: {roles: [x], methods: [any], hours: {from: '22:00', to: '06:00', zone: Europe/Berlin}}}]`,
	} {
		compile(t, rules)
	}
}

// TestCompile_RejectsListsWithoutNameOrRules: both faults are reported at once.
func TestCompile_RejectsListsWithoutNameOrRules(t *testing.T) {
	for name, ok := range map[string]bool{"": false, "-a": false, "a b": false, strings.Repeat("a", 64): false, strings.Repeat("a", 63): true} {
		_, err := policy.Compile([]policy.Named{{Name: name}}, policy.Options{})
		if err == nil || strings.Contains(err.Error(), "name: must be 1 to 63") == ok || !strings.Contains(err.Error(), "policies[0].rules: has no rule") {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func FuzzCompile(f *testing.F) {
	f.Add(`[{allow: {groups: [{id: x}], paths: [/a/*], when: 'request.path == "/"'}}]`)
	f.Add(`[{deny: {methods: [GET]}, mode: report}]`)
	f.Add(`[{allow: {when: 'user.attributes.a.b[0] == 1'}}]`)
	f.Fuzz(func(t *testing.T, rules string) {
		var written []policy.Rule
		if yaml.Unmarshal([]byte(rules), &written) != nil {
			return
		}
		p, err := policy.Compile([]policy.Named{{Name: "p", Rules: written}}, policy.Options{})
		if err == nil {
			p.Decide(newRequest("GET", "/a/b", sre))
		}
	})
}
