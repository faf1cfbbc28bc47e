package identity

import (
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"sallyport/policy"
	"sallyport/proxy/internal/header"
)

// TestSettings_On checks that a route's keys win over its preset, and that over the names of all routes.
func TestSettings_On(t *testing.T) {
	global := Settings{Email: new("x-mail"), GroupNames: new(true)}.On(Default())
	for _, c := range []struct {
		name  string
		route Settings
		want  Headers
	}{
		{"inherits", Settings{}, Headers{User: "X-Forwarded-User", Login: "X-Forwarded-Preferred-Username", Email: "X-Mail", Groups: "X-Forwarded-Groups", Assertion: "X-Sallyport-Assertion", GroupNames: true}},
		{"preset", Settings{Preset: "grafana"}, Headers{User: "X-Webauth-User", Login: "X-Forwarded-Preferred-Username", Email: "X-Webauth-Email", Name: "X-Webauth-Name", Groups: "X-Webauth-Groups", Assertion: "X-Sallyport-Assertion", GroupNames: true}},
		{"key_beside_preset", Settings{Preset: "gitea", Email: new("X-Post"), Assertion: new(""), Domain: new("Example.com"), GroupNames: new(false)}, Headers{Domain: "example.com", User: "X-Forwarded-User", Login: "X-Webauth-User", Email: "X-Post", Name: "X-Webauth-Fullname", Groups: "X-Forwarded-Groups"}},
		{"switched_off", Settings{User: new(""), Login: new(""), Email: new(""), Groups: new(""), Assertion: new("")}, Headers{GroupNames: true}},
		{"name_takes_the_header_of_login", Settings{Name: new("X_Forwarded-preferred-username")}, Headers{User: "X-Forwarded-User", Email: "X-Mail", Name: "X_forwarded-Preferred-Username", Groups: "X-Forwarded-Groups", Assertion: "X-Sallyport-Assertion", GroupNames: true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := c.route.On(global); got != c.want {
				t.Errorf("%+v\nwant %+v", got, c.want)
			}
		})
	}
}

func TestSettings_Check(t *testing.T) {
	for _, c := range []struct {
		name     string
		settings Settings
		want     []string
	}{
		{"unknown_preset", Settings{Preset: "Grafana"}, []string{`preset: "Grafana" is no preset; write authelia, gitea, grafana,`}},
		{"underscore", Settings{User: new("X_User")}, []string{`user: "X_User" cannot be the name`}},
		{"framing", Settings{User: new("Content-Length")}, []string{"user: Content-Length has a meaning of its own"}},
		{"inherited_name", Settings{Email: new("x-forwarded-user")}, []string{"email: x-forwarded-user carries user already"}},
		{"header_of_login", Settings{Name: new("X-Forwarded-Preferred-Username")}, nil},
		{"header_of_login_twice", Settings{Login: new("X-A"), Name: new("X-A")}, []string{"name: X-A carries login already"}},
		{"in_the_preset", Settings{Preset: "authelia", Login: new("Remote-User")}, []string{"login: Remote-User carries user already"}},
		{"domain_with_at", Settings{Domain: new("@example.com")}, []string{`login_domain: "@example.com" is no domain`}},
		{"no_domain", Settings{Domain: new("")}, nil},
		{"off", Settings{User: new(""), Email: new("")}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			c.settings.Check(c.settings.On(Default()), func(key, problem string) { got = append(got, key+": "+problem) })
			if !slices.EqualFunc(got, c.want, strings.HasPrefix) {
				t.Errorf("%q\nwant %q", got, c.want)
			}
		})
	}
	for preset := range presets {
		s := Settings{Preset: preset}
		s.Check(s.On(Default()), func(key, problem string) { t.Errorf("preset %s: %s: %s", preset, key, problem) })
		for key, name := range presets[preset].All() {
			if name != http.CanonicalHeaderKey(name) {
				t.Errorf("preset %s: %s: %s is not canonical", preset, key, name)
			}
			if name != "" && !header.ValidName(name) || header.Reserved(name) {
				t.Errorf("preset %s: %s: %s cannot be used", preset, key, name)
			}
		}
	}
}

// TestPresets_AreDocumented compares the table of presets in docs/configuration.md with the presets.
func TestPresets_AreDocumented(t *testing.T) {
	text, err := os.ReadFile("../../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "| preset | `user` | `login` | `email` | `name` | `groups` | `assertion` |\n")
	table, _, _ = strings.Cut(table, "\n\n")
	found := map[string]Headers{}
	for _, line := range strings.Split(table, "\n")[1:] {
		cells := strings.Split(line, "|")
		for i := range cells {
			_, name, _ := strings.Cut(cells[i], "`")
			cells[i], _, _ = strings.Cut(name, "`")
		}
		var h Headers
		for i, name := range []*string{&h.User, &h.Login, &h.Email, &h.Name, &h.Groups, &h.Assertion} {
			*name = http.CanonicalHeaderKey(cells[2+i])
		}
		found[cells[1]] = h
	}
	if !maps.Equal(found, presets) {
		t.Errorf("docs/configuration.md has\n%v\nand the code\n%v", found, presets)
	}
}

// TestGroupNames_RejectsWhatCannotBeTold checks that names by which an application could take one group for another are
// found before any request is served.
func TestGroupNames_RejectsWhatCannotBeTold(t *testing.T) {
	many := make([]policy.GroupRef, 300)
	for i := range many {
		many[i] = policy.GroupRef{ID: fmt.Sprint("id", i), Name: fmt.Sprintf("%03d%s", i, strings.Repeat("x", 25))}
	}
	for _, c := range []struct {
		name   string
		groups []policy.GroupRef
		want   string // "" for no fault
	}{
		{"each_its_name", []policy.GroupRef{{ID: "1", Name: "A"}, {ID: "2", Name: "B"}, {ID: "1", Name: "A"}}, ""},
		{"id_alone", []policy.GroupRef{{ID: "1"}}, "without its name"},
		{"two_names_of_one", []policy.GroupRef{{ID: "1", Name: "A"}, {ID: "1", Name: "B"}}, `both "A" and "B"`},
		{"one_name_of_two", []policy.GroupRef{{ID: "1", Name: "A"}, {ID: "2", Name: "A"}}, `two groups "A"`},
		{"differ_by_case", []policy.GroupRef{{ID: "1", Name: "Admins"}, {ID: "2", Name: "ADMINS"}}, `two groups "ADMINS"`},
		{"differ_by_case_beyond_ascii", []policy.GroupRef{{ID: "1", Name: "K"}, {ID: "2", Name: "\u212a"}}, "two groups"},
		{"differ_by_space", []policy.GroupRef{{ID: "1", Name: "A"}, {ID: "2", Name: " A "}}, "two groups"},
		{"name_alone_and_of_an_id", []policy.GroupRef{{Name: "A"}, {ID: "2", Name: "a"}}, "two groups"},
		{"too_long", many, "header of 8700 bytes"},
		{"long_but_once", slices.Concat(many[:200], many[:200]), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			names := GroupNames([]policy.Named{{Rules: []policy.Rule{{Allow: &policy.Match{Groups: c.groups}}}}}, func(problem string) { got = append(got, problem) })
			switch {
			case c.want == "" && (got != nil || names["1"] != "A" && names["id1"] != many[1].Name):
				t.Errorf("%q %q", got, names)
			case c.want != "" && (len(got) != 1 || !strings.Contains(got[0], c.want)):
				t.Errorf("%q, want one with %q", got, c.want)
			}
		})
	}
}

// TestGroupList_NeverSplitsAName checks that no reader of lists finds two groups in one name: at commas, blanks and
// other separators, by quotes or as JSON.
func TestGroupList_NeverSplitsAName(t *testing.T) {
	h := Headers{GroupNames: true}
	for name, want := range map[string]string{
		"SRE":                "SRE",
		"a,Admins":           "a%2CAdmins",
		"Domain Admins":      "Domain%20Admins",
		"a;b|c":              "a%3Bb%7Cc",
		`"Admins"`:           "%22Admins%22",
		`["Admins"]`:         "%5B%22Admins%22%5D",
		"a%2CAdmins":         "a%252CAdmins",
		"Führung":            "F%C3%BChrung",
		"a\r\nX-Evil: 1":     "a%0D%0AX-Evil:%201",
		"cn=a/b:c@d(e)&f+g.": "cn=a/b:c@d(e)&f+g.",
	} {
		if got := h.GroupList([]string{name, "Z"}); got != want+",Z" {
			t.Errorf("%q: %q, want %q", name, got, want+",Z")
		}
	}
}

// TestLogin_IsOneUsers checks that no two names make the same login.
func TestLogin_IsOneUsers(t *testing.T) {
	for name, want := range map[string]string{
		"alice@example.com":       "alice",
		"Alice@EXAMPLE.com":       "Alice",
		"alice@other.example":     "alice@other.example",
		"alice@sub.example.com":   "alice@sub.example.com",
		"alice@example.com.":      "alice@example.com.",
		"alice":                   "",
		"@example.com":            "@example.com",
		"a@b@example.com":         "a@b@example.com",
		"app:x@example.com":       "app%3Ax",
		"Jörg@example.com":        "J%C3%B6rg",
		"alice@example.com ":      "alice@example.com%20",
		"alice%40x@example.com":   "alice%2540x",
		"alice@example.com@other": "alice@example.com@other",
	} {
		h := http.Header{}
		Settings{Domain: new("example.com")}.On(Default()).Set(h, Caller{UserName: name})
		if got := h.Get("X-Forwarded-Preferred-Username"); got != want || h.Get("X-Forwarded-User") != UserValue(name) {
			t.Errorf("%q: %q, want %q; the user is %q", name, got, want, h.Get("X-Forwarded-User"))
		}
	}
	h := http.Header{}
	if (Headers{Login: "X-Login"}).Set(h, Caller{UserName: "alice"}); h.Get("X-Login") != "alice" {
		t.Errorf("without a domain: %q", h)
	}
}

// FuzzGroupList checks that a list of names has one element for each, whichever names there are.
func FuzzGroupList(f *testing.F) {
	f.Add("a,b", "c d")
	f.Fuzz(func(t *testing.T, a, b string) {
		got := Headers{GroupNames: true}.GroupList([]string{a, b})
		if strings.Count(got, ",") != 1 || strings.ContainsAny(got, " \t;|\"'[]{}\\") {
			t.Errorf("%q and %q are %q", a, b, got)
		}
		if first, second, _ := strings.Cut(got, ","); (first == second) != (a == b) {
			t.Errorf("%q and %q are %q", a, b, got)
		}
	})
}
