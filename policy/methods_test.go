package policy_test

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"sallyport/policy"
)

func TestAllowedMethods(t *testing.T) {
	const readers = `- {allow: {groups: [{id: ` + sre + `}], methods: [GET, HEAD]}}`
	all := []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
	for name, c := range map[string]struct {
		rules, method, path string
		groups, want        []string
	}{
		"named":                      {readers, "DELETE", "/", []string{sre}, []string{"GET", "HEAD"}},
		"stranger":                   {readers, "DELETE", "/", []string{admins}, nil},
		"stranger_with_named_method": {readers, "GET", "/", []string{admins}, nil},
		"other_path":                 {`- {allow: {groups: [{id: ` + sre + `}], methods: [GET], paths: [/a]}}`, "POST", "/b", []string{sre}, nil},
		"usual":                      {`- {allow: {groups: [{id: ` + sre + `}]}}`, "PROPFIND", "/", []string{sre}, all},
		"unusual":                    {`- {allow: {groups: [{id: ` + sre + `}], methods: [PROPFIND, GET]}}`, "DELETE", "/", []string{sre}, []string{"GET", "PROPFIND"}},
		"several_rules":              {readers + "\n" + `- {allow: {groups: [{id: ` + admins + `}], methods: [DELETE]}}`, "POST", "/", []string{sre, admins}, []string{"GET", "HEAD", "DELETE"}},
		"denied_method": {`- {allow: {groups: [{id: ` + sre + `}]}}` + "\n" + `- {deny: {methods: [POST, PUT, PATCH, DELETE], unless_groups: [{id: ` + admins + `}]}}`,
			"DELETE", "/", []string{sre}, []string{"GET", "HEAD", "OPTIONS"}},
		"any_method_elsewhere": {readers + "\n" + `- {allow: {groups: [{id: ` + sre + `}], methods: [any], paths: [/a]}}`, "DELETE", "/", []string{sre}, []string{"GET", "HEAD"}},
		"condition":            {`- {allow: {groups: [{id: ` + sre + `}], when: 'request.method == "GET"'}}`, "POST", "/", []string{sre}, []string{"GET"}},
		"report_mode":          {readers + "\n" + `- {mode: report, allow: {groups: [{id: ` + sre + `}], methods: [PURGE]}}`, "DELETE", "/", []string{sre}, []string{"GET", "HEAD"}},
	} {
		t.Run(name, func(t *testing.T) {
			req := newRequest(c.method, c.path, c.groups...)
			if got := compile(t, c.rules).AllowedMethods(req); !slices.Equal(got, c.want) {
				t.Errorf("%q, want %q", got, c.want)
			}
			if req.Method != c.method {
				t.Errorf("the request has changed: %s", req.Method)
			}
		})
	}
	t.Run("policy_without_rules", func(t *testing.T) {
		if got := (&policy.Policy{}).AllowedMethods(newRequest("GET", "/")); got != nil {
			t.Errorf("%q", got)
		}
	})
}

// TestAllowedMethods_AgreesWithDecide checks that a method is listed exactly if Decide allows the request with it.
func TestAllowedMethods_AgreesWithDecide(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rules, req := someRules(false).Draw(t, "rules"), someRequest(t)
		if len(rules) == 0 {
			return
		}
		p, err := policy.Compile([]policy.Named{{Name: "p", Rules: rules}}, policy.Options{})
		if err != nil {
			t.Fatal(err)
		}
		listed := p.AllowedMethods(req)
		for _, method := range []string{"GET", "HEAD", "POST", "DELETE", "PURGE"} {
			try := *req
			try.Method = method
			if allow := p.Decide(&try).Allow; allow != slices.Contains(listed, method) {
				t.Fatalf("%s: Decide says %v, and AllowedMethods lists %q", method, allow, listed)
			}
		}
	})
}
