package schema

import (
	"fmt"
	"strings"
	"testing"
)

// tree writes a filter with all its parentheses.
func tree(f *Filter) string {
	switch f.Op {
	case "and", "or":
		return "(" + tree(f.Left) + " " + f.Op + " " + tree(f.Right) + ")"
	case "not":
		return "not(" + tree(f.Left) + ")"
	case "[]":
		return pathText(f.Path) + "[" + tree(f.Left) + "]"
	case "pr":
		return pathText(f.Path) + " pr"
	}
	return fmt.Sprintf("%s %s %T:%v", pathText(f.Path), f.Op, f.Value, f.Value)
}

func pathText(p *Path) string {
	out := ""
	switch p.Extension {
	case "":
	case EnterpriseURN:
		out = "$E:"
	default:
		out = "$X:"
	}
	if p.Attribute != nil {
		out += p.Attribute.Name
	}
	if p.Filter != nil {
		out += "[" + tree(p.Filter) + "]"
	}
	if p.Sub != nil {
		out += "." + p.Sub.Name
	}
	return out
}

func TestParseFilter(t *testing.T) {
	for _, x := range []struct{ text, want, quirks string }{
		{`userName eq "x"`, `userName eq string:x`, ""},
		{`  USERNAME  EQ  "x"  `, `userName eq string:x`, ""},
		{`userName eq"x"`, `userName eq string:x`, ""},
		{`userName ne "x"`, `userName ne string:x`, ""},
		{`userName co "x"`, `userName co string:x`, ""},
		{`userName sw "x"`, `userName sw string:x`, ""},
		{`userName ew "x"`, `userName ew string:x`, ""},
		{`userName gt "x"`, `userName gt string:x`, ""},
		{`userName ge "x"`, `userName ge string:x`, ""},
		{`userName lt "x"`, `userName lt string:x`, ""},
		{`userName le "x"`, `userName le string:x`, ""},
		{`userName pr`, `userName pr`, ""},
		{`userName eq null`, `userName eq <nil>:<nil>`, ""},
		{`userName ne null`, `userName ne <nil>:<nil>`, ""},
		{`userName eq "\u0061\"\\"`, `userName eq string:a"\`, ""},
		{`userName eq ""`, `userName eq string:`, ""},

		// Precedence: not binds tighter than and, and tighter than or; both are grouped from the left.
		{`title pr or userName pr and active pr`, `(title pr or (userName pr and active pr))`, ""},
		{`title pr and userName pr or active pr`, `((title pr and userName pr) or active pr)`, ""},
		{`title pr OR userName pr Or active pr`, `((title pr or userName pr) or active pr)`, ""},
		{`title pr AND userName pr And active pr`, `((title pr and userName pr) and active pr)`, ""},
		{`(title pr or userName pr) and active pr`, `((title pr or userName pr) and active pr)`, ""},
		{`not (title pr) and active pr`, `(not(title pr) and active pr)`, ""},
		{`NOT(title pr or active pr)`, `not((title pr or active pr))`, ""},
		{`((title pr))`, `title pr`, ""},

		{`name.givenName eq "x"`, `name.givenName eq string:x`, ""},
		{`emails eq "x"`, `emails eq string:x`, ""},
		{`emails.type eq "x"`, `emails.type eq string:x`, ""},
		{`emails[type eq "work" and not (value co "x")]`, `emails[(type eq string:work and not(value co string:x))]`, ""},
		{`emails[type eq "work"].value eq "x"`, `emails[(type eq string:work and value eq string:x)]`, "typed_compare"},
		{`emails[type eq "work"] and active pr`, `(emails[type eq string:work] and active pr)`, ""},
		{`$U:userName eq "x"`, `userName eq string:x`, ""},
		{`$E:manager.value eq "x"`, `$E:manager.value eq string:x`, ""},
		{`manager eq "x"`, `$E:manager eq string:x`, "bare_extension"},
		{`$X:badge eq "x"`, `$X:badge eq string:x`, ""},
		{`$E pr`, EnterpriseURN + ` pr`, ""},
		{`schemas eq "x"`, `schemas eq string:x`, ""},
		{`meta.created gt "2026-01-02T03:04:05Z"`, `meta.created gt string:2026-01-02T03:04:05Z`, ""},
		{`meta.created sw "2026"`, `meta.created sw string:2026`, ""},

		// A value of another type is converted to the attribute's, if it can be.
		{`active eq true`, `active eq bool:true`, ""},
		{`active ne False`, `active ne bool:false`, "boolean_string"},
		{`active eq "True"`, `active eq bool:true`, "boolean_string"},
		{`$X:floor eq 3`, `$X:floor eq json.Number:3`, ""},
		{`$X:floor ge -3`, `$X:floor ge json.Number:-3`, ""},
		{`$X:floor lt "3"`, `$X:floor lt json.Number:3`, "number_text"},
		{`$X:rate le 1.5e3`, `$X:rate le json.Number:1.5e3`, ""},
		{`userName eq 3`, `userName eq string:3`, "number_string"},
		{`userName eq true`, `userName eq string:true`, "number_string"},
		{`$X:blob eq "AQ=="`, `$X:blob eq string:AQ==`, ""},
		{`$X:blob sw "A"`, `$X:blob sw string:A`, ""},
	} {
		var quirks Quirks
		f, err := ParseFilter(testTypes.User, nil, expand(x.text), &quirks)
		if err != nil {
			t.Errorf("%s: %v", x.text, err)
			continue
		}
		if got := tree(f); got != x.want || quirks.names() != x.quirks {
			t.Errorf("%s is %s with the quirks %q, want %s with %q", x.text, got, quirks.names(), x.want, x.quirks)
		}
	}
}

func TestParseFilter_Rejects(t *testing.T) {
	for text, want := range map[string]string{
		"":                           `An attribute is expected where the filter has "".`,
		"   ":                        `An attribute is expected where the filter has "". (At character 4.)`,
		`userName eq "x" )`:          `The filter goes on where it should end, at ")". (At character 17.)`,
		`userName pr userName pr`:    `The filter goes on where it should end, at "userName". (At character 13.)`,
		`userName pr "`:              `no closing quote. (At character 13.)`,
		`userName eq "x`:             `no closing quote. (At character 13.)`,
		`userName eq "x\`:            `no closing quote. (At character 13.)`,
		`userName eq "x\"`:           `no closing quote. (At character 13.)`,
		`userName eq "\q"`:           `not a JSON string. (At character 13.)`,
		`"userName" eq "x"`:          `An attribute is expected where the filter has "userName". (At character 1.)`,
		`[userName pr]`:              `An attribute is expected where the filter has "[". (At character 1.)`,
		`userName pr and`:            `An attribute is expected where the filter has "". (At character 16.)`,
		`userName pr or )`:           `An attribute is expected where the filter has ")". (At character 16.)`,
		`not userName pr`:            `not must be followed by ( . (At character 5.)`,
		`not "`:                      `not must be followed by (`,
		`not (userName`:              `is no comparison`,
		`(userName pr`:               `A ) is missing. (At character 13.)`,
		`(userName pr]`:              `A ) is missing. (At character 13.)`,
		`(userName pr "`:             `no closing quote`,
		`(foo`:                       `has no attribute "foo". (At character 2.)`,
		`foo pr`:                     `A User has no attribute "foo". (At character 1.)`,
		`name.foo pr`:                `name has no sub-attribute "foo". (At character 1.)`,
		`userName.foo pr`:            `userName has no sub-attribute "foo".`,
		`name. pr`:                   `name has no sub-attribute "".`,
		`urn:other:userName pr`:      `has no attribute "urn:other:userName".`,
		`password eq "x"`:            `Nothing is searched by password. (At character 1.)`,
		`userName`:                   `"" is no comparison; there are eq ne co sw ew gt ge lt le pr. (At character 9.)`,
		`userName is "x"`:            `"is" is no comparison`,
		`userName "`:                 `no closing quote. (At character 10.)`,
		`userName eq`:                `A value is expected where the filter has ""; strings stand in double quotes. (At character 12.)`,
		`userName eq x`:              `A value is expected where the filter has "x"`,
		`userName eq (`:              `A value is expected where the filter has "("`,
		`userName eq Null`:           `A value is expected where the filter has "Null"`,
		`userName gt null`:           `null is compared by eq and ne alone. (At character 13.)`,
		`userName co null`:           `null is compared by eq and ne alone.`,
		`name eq "x"`:                `name is complex; compare one of its sub-attributes, such as name.formatted.`,
		`$E eq "x"`:                  `$E is complex; compare one of its sub-attributes, such as $E.value.`,
		`active gt true`:             `active has no order to compare by.`,
		`active co "true"`:           `active has no order to compare by.`,
		`active eq "yes"`:            `active is true or false, not "yes". (At character 11.)`,
		`active eq 1`:                `active is true or false, not "1".`,
		`$X:blob gt "AQ=="`:          `blob has no order to compare by.`,
		`$X:blob ge "AQ=="`:          `blob has no order to compare by.`,
		`$X:blob lt "AQ=="`:          `blob has no order to compare by.`,
		`$X:blob le "AQ=="`:          `blob has no order to compare by.`,
		`$X:floor co 3`:              `floor is a number; co compares texts.`,
		`$X:floor sw 3`:              `floor is a number; sw compares texts.`,
		`$X:floor ew "3"`:            `floor is a number; ew compares texts.`,
		`$X:rate co 3`:               `rate is a number; co compares texts.`,
		`$X:floor eq "x"`:            `floor is a number, not "x".`,
		`$X:floor eq "0x1"`:          `floor is a number, not "0x1".`, // a number for strconv, not for JSON
		`$X:floor eq true`:           `floor is a number, not "true".`,
		`$X:floor eq 1e999`:          `floor is a number, not "1e999".`,
		`$X:since eq "x"`:            `since is a time such as 2026-01-02T03:04:05Z, not "x".`,
		`$X:since gt "2026"`:         `since is a time`,
		`userName[value eq "x"]`:     `userName has no elements to filter. (At character 9.)`,
		`name[givenName eq "x"]`:     `name has no elements to filter.`,
		`$X:sites[value eq "x"]`:     `sites has no elements to filter.`,
		`emails.type[value eq "x"]`:  `emails has no elements to filter.`,
		`emails[emails[type pr]]`:    `emails has no sub-attribute "emails".`,
		`emails[type[value pr]]`:     `type has no elements to filter.`,
		`emails[foo pr]`:             `emails has no sub-attribute "foo". (At character 8.)`,
		`emails[userName pr]`:        `emails has no sub-attribute "userName".`,
		`emails[$E pr]`:              `emails has no sub-attribute "$E".`,
		`emails[]`:                   `An attribute is expected where the filter has "]".`,
		`emails[type pr`:             `A ] is missing. (At character 15.)`,
		`emails[type pr)`:            `A ] is missing. (At character 15.)`,
		`emails[type pr "`:           `no closing quote`,
		`emails[type pr] "`:          `no closing quote`,
		`emails[type pr].foo pr`:     `emails has no sub-attribute "foo".`,
		`emails[type pr].value is 1`: `"is" is no comparison`,
		`emails[type pr].`:           `emails has no sub-attribute "".`,
		"userName eq \"\xff\"":       `The filter is not UTF-8.`,
		"title eq \"é\" and x pr":    `has no attribute "x". (At character 18.)`, // characters, not bytes
	} {
		f, err := ParseFilter(testTypes.User, nil, expand(text), nil)
		if f != nil {
			t.Errorf("%s is %s", text, tree(f))
		}
		checkError(t, text, err, "invalidFilter: "+expand(want))
	}
}

func TestParseFilter_Bounds(t *testing.T) {
	filter := func(characters int) string {
		return `title eq "` + strings.Repeat("é", characters-len(`title eq ""`)) + `"`
	}
	if _, err := ParseFilter(testTypes.User, nil, filter(16_384), nil); err != nil {
		t.Errorf("the longest filter: %v", err)
	}
	_, err := ParseFilter(testTypes.User, nil, filter(16_385), nil)
	checkError(t, "a longer filter", err, "invalidFilter: longer than 16384 characters")

	nested := func(depth int) string {
		return strings.Repeat("(", depth-1) + "title pr" + strings.Repeat(")", depth-1)
	}
	if _, err := ParseFilter(testTypes.User, nil, nested(32), nil); err != nil {
		t.Errorf("the deepest filter: %v", err)
	}
	_, err = ParseFilter(testTypes.User, nil, nested(33), nil)
	checkError(t, "a deeper filter", err, "invalidFilter: nested deeper than 32 levels")
	if _, err := ParseFilter(testTypes.User, nil, nested(32)+" and "+nested(32)+" or "+nested(32), nil); err != nil {
		t.Errorf("deep filters side by side: %v", err)
	}
}

func TestParseFilter_OfSeveralTypes(t *testing.T) {
	all := testTypes.All()
	for text, want := range map[string]string{
		`members pr`:                  `members pr`,
		`displayName eq "x"`:          `displayName eq string:x`,
		`members.value eq "x"`:        `members.value eq string:x`,
		`members[value eq "x"]`:       `members[value eq string:x]`,
		`userName pr or members pr`:   `(userName pr or members pr)`,
		`not (members[type eq "x"])`:  `not(members[type eq string:x])`,
		GroupURN + `:displayName pr`:  `displayName pr`,
		GroupURN + `:members.type pr`: `members.type pr`,
	} {
		f, err := ParseFilter(testTypes.User, all, text, nil)
		if err != nil {
			t.Errorf("%s: %v", text, err)
		} else if got := tree(f); got != want {
			t.Errorf("%s is %s, want %s", text, got, want)
		}
		if _, err := ParseFilter(testTypes.User, testTypes.All()[:1], text, nil); strings.Contains(text, "members") && err == nil {
			t.Errorf("%s is a filter of users alone", text)
		}
	}
	f, err := ParseFilter(testTypes.Group, all, `userName eq "X"`, nil)
	if err != nil {
		t.Fatal(err)
	}
	if ok, _ := f.Matches(&Subject{Document: map[string]any{"displayName": "x"}}); ok {
		t.Error("a group has a userName")
	}
	_, err = ParseFilter(testTypes.Group, all, `foo pr`, nil)
	checkError(t, "foo", err, `invalidFilter: A Group has no attribute "foo".`)
	_, err = ParseFilter(testTypes.Group, nil, `userName pr`, nil)
	checkError(t, "userName", err, `invalidFilter: A Group has no attribute "userName".`)
}

func TestParseSortBy(t *testing.T) {
	for name, want := range map[string]string{
		"userName": "userName", "NAME.familyname": "name.familyName", "emails": "emails", "emails.type": "emails.type", "meta.created": "meta.created",
		"$E:department": "$E:department", "$X:floor": "$X:floor", "id": "id",
	} {
		path, err := ParseSortBy(testTypes.User, nil, expand(name), nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if got := pathText(path); got != want {
			t.Errorf("%s is %s", name, got)
		}
	}
	var quirks Quirks
	if path, err := ParseSortBy(testTypes.User, nil, "department", &quirks); err != nil || pathText(path) != "$E:department" || quirks.names() != "bare_extension" {
		t.Errorf("department is %v, %v with the quirks %s", path, err, quirks.names())
	}
	for name, want := range map[string]string{
		"": `has no attribute ""`, "foo": `A User has no attribute "foo".`, "name": `Nothing can be sorted by "name".`, "name.foo": `name has no sub-attribute "foo".`,
		"password": `Nothing can be sorted by "password".`, "addresses": `Nothing can be sorted by "addresses".`,
	} {
		_, err := ParseSortBy(testTypes.User, nil, name, nil)
		checkError(t, name, err, "invalidPath: "+want)
	}
	if _, err := ParseSortBy(testTypes.User, nil, "foo", nil); err == nil || err.Error() != `A User has no attribute "foo".` {
		t.Errorf("the error is %v", err) // a name alone has no place to tell
	}
	for _, name := range []string{"members", "members.value", "members.display"} {
		_, err := ParseSortBy(testTypes.Group, nil, name, nil)
		checkError(t, name, err, `invalidPath: Nothing can be sorted by "`+name+`".`)
	}
	if path, err := ParseSortBy(testTypes.Group, testTypes.All(), "userName", nil); err != nil || pathText(path) != "userName" {
		t.Errorf("of several types, userName is %v, %v", path, err)
	}
}
