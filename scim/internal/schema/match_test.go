package schema

import (
	"errors"
	"iter"
	"strings"
	"testing"
)

const subjectDocument = `{"id":"ID1","userName":"Ann@Example.com","title":"Clerk","active":true,"externalId":"Ext",
	"name":{"givenName":"Ann","familyName":"Lee"},
	"emails":[{"type":"work","value":"ann@work.example","primary":true},{"type":"home","value":"ann@home.example"}],
	"meta":{"created":"2026-01-02T03:04:05Z"},
	"$E":{"department":"D1","manager":{"value":"M1"}},
	"$X":{"floor":3,"rate":1.5,"contractor":false,"since":"2026-01-02T03:04:05Z","blob":"AQID","key":"K","page":"https://x/Y","sites":["a","b"]}}`

func TestFilter_Matches(t *testing.T) {
	document := mustDecode(t, subjectDocument)
	for text, want := range map[string]bool{
		// Texts, in any case unless the attribute is case-exact.
		`userName eq "ANN@example.COM"`: true, `userName eq "ann"`: false,
		`userName ne "ANN@example.COM"`: false, `userName ne "ann"`: true,
		`userName co "N@EX"`: true, `userName co "zz"`: false,
		`userName sw "ann@"`: true, `userName sw "nn"`: false,
		`userName ew ".COM"`: true, `userName ew ".co"`: false,
		`title gt "CLERJ"`: true, `title gt "clerk"`: false, `title gt "clerl"`: false,
		`title ge "clerk"`: true, `title ge "clerl"`: false, `title ge "clerj"`: true,
		`title lt "clerl"`: true, `title lt "clerk"`: false, `title lt "clerj"`: false,
		`title le "clerk"`: true, `title le "clerj"`: false, `title le "clerl"`: true,
		`externalId eq "Ext"`: true, `externalId eq "ext"`: false, `externalId co "E"`: true, `externalId co "e"`: false,
		`externalId sw "e"`: false, `externalId ew "T"`: false, `id eq "ID1"`: true,

		// Presence, and null, which an unassigned value equals.
		`title pr`: true, `nickName pr`: false, `name pr`: true, `emails pr`: true, `addresses pr`: false, `name.middleName pr`: false,
		`title eq null`: false, `title ne null`: true, `nickName eq null`: true, `nickName ne null`: false,
		`name eq null`: false, `name ne null`: true, `emails eq null`: false, `emails ne null`: true, `addresses eq null`: true, `addresses ne null`: false,
		`nickName eq "x"`: false, `nickName ne "x"`: true, `nickName co ""`: false, `nickName gt "a"`: false, `nickName lt "a"`: false,
		`addresses.country ne "x"`: true, `addresses.country eq "x"`: false,
		`$E pr`: true, `$E eq null`: false, `$E ne null`: true,

		// Booleans, numbers, times, binaries and references.
		`active eq true`: true, `active eq false`: false, `active ne true`: false, `active ne false`: true, `active pr`: true,
		`$X:contractor eq false`: true, `$X:contractor pr`: true, `$X:contractor eq true`: false,
		`$X:floor eq 3`: true, `$X:floor eq 3.0`: true, `$X:floor eq 4`: false, `$X:floor ne 3`: false, `$X:floor ne 4`: true,
		`$X:floor gt 2`: true, `$X:floor gt 3`: false, `$X:floor ge 3`: true, `$X:floor ge 4`: false,
		`$X:floor lt 10`: true, `$X:floor lt 3`: false, `$X:floor le 3`: true, `$X:floor le 2`: false,
		`$X:rate eq 1.50`: true, `$X:rate lt 1.51`: true, `$X:rate gt 1.49`: true,
		`$X:since eq "2026-01-02T04:04:05+01:00"`: true, `$X:since ne "2026-01-02T04:04:05+01:00"`: false, `$X:since eq "2026-01-02T03:04:05"`: true,
		`$X:since gt "2026-01-02T04:04:04+01:00"`: true, `$X:since gt "2026-01-02T04:04:05+01:00"`: false,
		`$X:since ge "2026-01-02T04:04:05+01:00"`: true, `$X:since le "2026-01-02T04:04:05+01:00"`: true, `$X:since lt "2026-01-02T03:04:05.001Z"`: true,
		`$X:since sw "2026-01-02t"`: true, `$X:since co "2027"`: false, `$X:since ew "05Z"`: true,
		`meta.created gt "2020-01-01T00:00:00Z"`: true, `meta.created lt "2020-01-01T00:00:00Z"`: false,
		`$X:blob eq "AQID"`: true, `$X:blob eq "aqid"`: false, `$X:blob ne "x"`: true, `$X:blob co "QI"`: true,
		`$X:page eq "https://x/Y"`: true, `$X:page eq "https://x/y"`: false, `$X:key eq "k"`: false, `$X:key eq "K"`: true,

		// Of many values, one that matches suffices.
		`emails eq "ANN@home.example"`: true, `emails eq "x"`: false, `emails co "home"`: true, `emails ne "ann@home.example"`: true,
		`emails.type eq "home"`: true, `emails.type eq "other"`: false, `emails.primary eq true`: true, `emails.display pr`: false,
		`$X:sites eq "B"`: true, `$X:sites eq "c"`: false, `$X:sites pr`: true, `$X:sites eq null`: false,
		`$E:manager eq "M1"`: true, `$E:manager.value eq "m1"`: false, `$E:department eq "d1"`: true, `manager pr`: true,
		`name.givenName eq "ann"`: true, `name.familyName eq "ann"`: false,

		// Value filters are about one element.
		`emails[type eq "work" and value co "work"]`: true, `emails[type eq "work" and value co "home"]`: false,
		`emails.type eq "work" and emails.value co "home"`: true,
		`emails[type eq "other" or value co "home"]`:       true, `emails[type eq "other" or value co "zz"]`: false,
		`emails[not (type eq "work")]`: true, `emails[not (type pr)]`: false, `emails[primary eq true]`: true, `emails[display eq null]`: true,
		`emails[type eq "work"].value eq "ann@home.example"`: false, `emails[type eq "home"].value eq "ann@home.example"`: true,
		`addresses[type eq "work"]`: false, `addresses[not (type eq "work")]`: false,

		// Logic.
		`title pr and active eq true`: true, `title pr and active eq false`: false, `nickName pr and active eq true`: false,
		`title pr or active eq false`: true, `nickName pr or active eq true`: true, `nickName pr or active eq false`: false,
		`not (title pr)`: false, `not (nickName pr)`: true, `not (title pr) or active pr`: true, `not (title pr and nickName pr)`: true,
		`nickName pr and title pr or active pr`: true, `nickName pr and (title pr or active pr)`: false,
	} {
		f, err := ParseFilter(testTypes.User, nil, expand(text), nil)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got, err := f.Matches(&Subject{Document: document}); err != nil || got != want {
			t.Errorf("%s matches: %t, %v", text, got, err)
		}
	}
}

// TestFilter_MatchesOddDocuments: a document that is not canonical never matches by accident.
func TestFilter_MatchesOddDocuments(t *testing.T) {
	document := mustDecode(t, `{"userName":7,"active":"true","title":"","name":{},"emails":[],"$X":{"floor":"3","rate":true,"since":"never"},"$E":"text"}`)
	for text, want := range map[string]bool{
		`userName eq "7"`: false, `userName ne "8"`: false, `active eq true`: false, `active ne true`: false, `title pr`: false, `title eq ""`: true,
		`name pr`: false, `name eq null`: true, `name ne null`: false, `emails pr`: false, `emails eq null`: true, `emails ne null`: false, `emails ne "x"`: true, `emails[type pr]`: false,
		`$X:floor eq 3`: false, `$X:floor ne 3`: false, `$X:rate eq 1`: false, `$X:since eq "2026-01-02T03:04:05Z"`: false, `$X:since gt "2026-01-02T03:04:05Z"`: true,
		`$E:department eq null`: true, `$E pr`: true,
	} {
		f, err := ParseFilter(testTypes.User, nil, expand(text), nil)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got, err := f.Matches(&Subject{Document: document}); err != nil || got != want {
			t.Errorf("%s matches: %t, %v", text, got, err)
		}
	}
}

// group is a subject whose members are asked for, not in the document.
type group struct {
	ids   []string
	err   error
	calls []string // how the members were asked for
}

func (g *group) subject() *Subject {
	return &Subject{
		Document: map[string]any{"displayName": "Staff"},
		IsMember: func(id string) (bool, error) {
			g.calls = append(g.calls, "one")
			return strings.Contains(strings.Join(g.ids, " "), id), g.err
		},
		Members: g.members(),
	}
}

func (g *group) members() iter.Seq2[map[string]any, error] {
	return func(yield func(map[string]any, error) bool) {
		g.calls = append(g.calls, "all")
		if g.err != nil {
			yield(nil, g.err)
			return
		}
		for _, id := range g.ids {
			g.calls = append(g.calls, id)
			if !yield(map[string]any{"value": id, "type": "User"}, nil) {
				return
			}
		}
	}
}

func TestFilter_MatchesMembers(t *testing.T) {
	for _, x := range []struct {
		text  string
		ids   string
		want  bool
		calls string
	}{
		{`members eq "a"`, "a b", true, "one"},
		{`members eq "c"`, "a b", false, "one"},
		{`members.value eq "a"`, "a b", true, "one"},
		{`members[value eq "b"]`, "a b", true, "one"},
		{`members ne "a"`, "a b", true, "all a b"},
		{`members ne "a"`, "a", false, "all a"},
		{`members.type eq "user"`, "a b", true, "all a"},
		{`members.type eq "Group"`, "a b", false, "all a b"},
		{`members[type eq "User" and value eq "b"]`, "a b", true, "all a b"},
		{`members[value sw "c"]`, "a b", false, "all a b"},
		{`members pr`, "a", true, "all a"},
		{`members pr`, "", false, "all"},
		{`members eq null`, "", true, "all"},
		{`members eq null`, "a", false, "all a"},
		{`members ne null`, "", false, "all"},
		{`members.type eq null`, "", true, "all"},
		{`not (members eq "a")`, "a", false, "one"},
		{`displayName eq "staff" or members eq "a"`, "", true, ""},
		{`displayName eq "x" and members eq "a"`, "", false, ""},
		{`displayName eq "staff" and members eq "a"`, "a", true, "one"},
	} {
		f, err := ParseFilter(testTypes.Group, nil, x.text, nil)
		if err != nil {
			t.Fatal(err)
		}
		g := &group{ids: strings.Fields(x.ids)}
		got, err := f.Matches(g.subject())
		if calls := strings.Join(g.calls, " "); err != nil || got != x.want || calls != x.calls {
			t.Errorf("%s on %q: %t, %v after %q, want %t after %q", x.text, x.ids, got, err, calls, x.want, x.calls)
		}
	}
}

func TestFilter_MatchesReturnsErrors(t *testing.T) {
	broken := errors.New("broken")
	for _, text := range []string{
		`members eq "a"`, `members pr`, `not (members pr)`, `members pr and displayName pr`, `displayName pr and members pr`, `displayName eq "x" or members pr`, `members pr or displayName pr`,
	} {
		f, err := ParseFilter(testTypes.Group, nil, text, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Matches((&group{err: broken}).subject()); !errors.Is(err, broken) {
			t.Errorf("%s returns %v", text, err)
		}
	}
	f, _ := ParseFilter(testTypes.Group, nil, `members pr`, nil)
	if ok, err := f.Matches(&Subject{Document: map[string]any{"members": "x"}}); !ok || err != nil {
		t.Errorf("without IsMember, the document is asked: %t, %v", ok, err)
	}
	if ok, err := f.Matches((&group{err: broken}).subject()); ok || err == nil {
		t.Errorf("after an error: %t, %v", ok, err)
	}
}

func TestPath_SortKey(t *testing.T) {
	document := mustDecode(t, subjectDocument)
	for name, want := range map[string]SortKey{
		"userName":        {Assigned: true, Text: "ann@example.com"},
		"externalId":      {Assigned: true, Text: "Ext"},
		"nickName":        {},
		"active":          {Assigned: true, Number: 1},
		"$X:contractor":   {Assigned: true},
		"$X:floor":        {Assigned: true, Number: 3},
		"$X:since":        {Assigned: true, Text: "2026-01-02T03:04:05.000000000Z"},
		"$X:sites":        {Assigned: true, Text: "a"},
		"name.familyName": {Assigned: true, Text: "lee"},
		"emails":          {Assigned: true, Text: "ann@work.example"},
		"emails.type":     {Assigned: true, Text: "work"},
		"emails.display":  {},
		"phoneNumbers":    {},
		"$E:manager":      {Assigned: true, Text: "M1"},
	} {
		path, err := ParseSortBy(testTypes.User, nil, expand(name), nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if got := path.SortKey(&Subject{Document: document}); got != want {
			t.Errorf("the key of %s is %+v", name, got)
		}
	}
	emails, _ := ParseSortBy(testTypes.User, nil, "emails", nil)
	for text, want := range map[string]SortKey{
		`{"emails":[{"value":"B"},{"value":"A","primary":true}]}`:  {Assigned: true, Text: "a"},
		`{"emails":[{"value":"B"},{"value":"A","primary":false}]}`: {Assigned: true, Text: "b"},
		`{"emails":[]}`: {}, `{"emails":[{}]}`: {},
	} {
		if got := emails.SortKey(&Subject{Document: mustDecode(t, text)}); got != want {
			t.Errorf("the key of %s is %+v", text, got)
		}
	}
	floor, _ := ParseSortBy(testTypes.User, nil, testURN+":floor", nil)
	if got := floor.SortKey(&Subject{Document: mustDecode(t, `{"$X":{"floor":1e999}}`)}); got.Assigned {
		t.Errorf("a number that is too large has the key %+v", got)
	}
	since, _ := ParseSortBy(testTypes.User, nil, testURN+":since", nil)
	if got := since.SortKey(&Subject{Document: mustDecode(t, `{"$X":{"since":"Never"}}`)}); got != (SortKey{Assigned: true, Text: "never"}) {
		t.Errorf("a time that is none has the key %+v", got)
	}
	if got := since.SortKey(&Subject{Document: mustDecode(t, `{"$X":{"since":"2026-01-02T03:04:05.5+01:00"}}`)}); got.Text != "2026-01-02T02:04:05.500000000Z" {
		t.Errorf("a time of another zone has the key %+v", got)
	}
	if got := (*Path)(nil).SortKey(&Subject{Document: document}); got != (SortKey{}) {
		t.Errorf("without an attribute the key is %+v", got)
	}
}

func TestSortKey_Compare(t *testing.T) {
	ordered := []SortKey{{Assigned: true}, {Assigned: true, Text: "a"}, {Assigned: true, Text: "b"}, {Assigned: true, Number: 1}, {Assigned: true, Number: 2}, {}}
	for i, a := range ordered {
		for j, b := range ordered {
			got := a.Compare(b)
			if (got < 0) != (i < j) || (got > 0) != (i > j) {
				t.Errorf("%+v and %+v: %d", a, b, got)
			}
		}
	}
}
