package schema

import (
	"strings"
	"testing"
)

func TestNew_ExtendsOnlyItsOwnUsers(t *testing.T) {
	extended, plain := New(strings.ToLower, testExtension), New(strings.ToLower)
	if len(extended.User.Extensions) != 2 || len(plain.User.Extensions) != 1 || len(plain.Group.Extensions) != 0 {
		t.Errorf("there are %d, %d and %d extensions", len(extended.User.Extensions), len(plain.User.Extensions), len(plain.Group.Extensions))
	}
	var urns []string
	for _, s := range extended.Schemas() {
		urns = append(urns, s.URN)
	}
	if got := strings.Join(urns, " "); got != UserURN+" "+EnterpriseURN+" "+testURN+" "+GroupURN {
		t.Errorf("the schemas are %s", got)
	}
	if all := extended.All(); len(all) != 2 || all[0] != extended.User || all[1] != extended.Group {
		t.Errorf("the types are %v", all)
	}
}

func TestResourceType_Attribute(t *testing.T) {
	for _, x := range []struct{ urn, name, want, extension string }{
		{"", "USERNAME", "userName", ""},
		{"", "externalid", "externalId", ""},
		{"", "manager", "manager", EnterpriseURN},
		{"", "Badge", "badge", testURN},
		{"", "title", "title", ""}, // the core schema's, not the extension's
		{testURN, "title", "title", testURN},
		{UserURN, "title", "title", ""},
		{strings.ToUpper(UserURN), "meta", "meta", ""},
		{UserURN, "manager", "", ""},
		{strings.ToUpper(EnterpriseURN), "manager", "manager", EnterpriseURN},
		{EnterpriseURN, "userName", "", EnterpriseURN},
		{"urn:other", "userName", "", ""},
		{"", "nothing", "", ""},
	} {
		a, extension := testTypes.User.attribute(x.urn, x.name)
		name := ""
		if a != nil {
			name = a.Name
		}
		if name != x.want || extension != x.extension {
			t.Errorf("%s of %q is %q of %q", x.name, x.urn, name, extension)
		}
	}
	core, _ := testTypes.User.attribute("", "title")
	extended, _ := testTypes.User.attribute(testURN, "title")
	if core.Description == extended.Description {
		t.Error("an attribute of an extension is taken for the core schema's")
	}
}

func TestResourceType_SplitURN(t *testing.T) {
	for path, want := range map[string][2]string{
		"":                                 {"", ""},
		"urn":                              {"", "urn"},
		"urn:":                             {"", "urn:"},
		"userName":                         {"", "userName"},
		UserURN:                            {UserURN, ""},
		UserURN + ":":                      {UserURN, ""},
		UserURN + ":userName":              {UserURN, "userName"},
		UserURN + "userName":               {"", UserURN + "userName"},
		strings.ToUpper(UserURN) + ":Name": {UserURN, "Name"},
		EnterpriseURN + ":manager.value":   {EnterpriseURN, "manager.value"},
		testURN + ":badge":                 {testURN, "badge"},
		"urn:other:badge":                  {"", "urn:other:badge"},
		EnterpriseURN + ".manager.value":   {EnterpriseURN, "manager.value"},
		UserURN + ".":                      {UserURN, ""},
		UserURN[:len(UserURN)-4] + ".User": {"", UserURN[:len(UserURN)-4] + ".User"},
		UserURN[:len(UserURN)-1]:           {"", UserURN[:len(UserURN)-1]},
	} {
		if urn, rest := testTypes.User.splitURN(path); urn != want[0] || rest != want[1] {
			t.Errorf("%q is split into %q and %q", path, urn, rest)
		}
	}
	if urn, _ := testTypes.Group.splitURN(UserURN + ":userName"); urn != "" {
		t.Errorf("a group has the schema %s", urn)
	}
}

// TestResourceType_SplitsLongestURN: the URN of one schema may begin with that of another.
func TestResourceType_SplitsLongestURN(t *testing.T) {
	types := New(strings.ToLower, Schema{URN: "urn:a:b"}, Schema{URN: "urn:a:b:c"}, Schema{URN: "urn:a:b.d"})
	for path, want := range map[string][2]string{
		"urn:a:b:c:x": {"urn:a:b:c", "x"},
		"urn:a:b:c.x": {"urn:a:b", "c.x"}, // the attribute c of urn:a:b, as the RFC writes it
		"urn:a:b.d:x": {"urn:a:b.d", "x"},
		"urn:a:b.d.x": {"urn:a:b.d", "x"},
		"urn:a:b.d":   {"urn:a:b.d", ""},
		"urn:a:b.x":   {"urn:a:b", "x"},
		"urn:a:b:x":   {"urn:a:b", "x"},
	} {
		if urn, rest := types.User.splitURN(path); urn != want[0] || rest != want[1] {
			t.Errorf("%q is split into %q and %q", path, urn, rest)
		}
	}
}

func TestMentions(t *testing.T) {
	for body, want := range map[string]bool{
		`{"active":true}`: true, `{"ACTIVE":""}`: true, `{"$U:active":""}`: true, `{"$U.Active":[]}`: true, `{"active.value":"x"}`: true, `{"$U":{"active":""}}`: true,
		`{}`: false, `{"active":null}`: false, `{"$U:active":null}`: false, `{"$U":{"active":null}}`: false, `{"$U":"active"}`: false, `{"$E:active":""}`: false,
		`{"inactive":"","title":"active"}`: false, `{"$E":{"active":""}}`: false,
	} {
		if got := Mentions(testTypes.User, mustDecode(t, body), "active"); got != want {
			t.Errorf("%s: %v", body, got)
		}
	}
}

func TestDiscoveryDocuments(t *testing.T) {
	rt := testTypes.User.Document("https://x/scim/v2")
	if !sameAs(t, rt, `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:ResourceType"],"id":"User","name":"User","endpoint":"/Users","description":"User Account",
		"schema":"$U","meta":{"resourceType":"ResourceType","location":"https://x/scim/v2/ResourceTypes/User"},
		"schemaExtensions":[{"schema":"$E","required":false},{"schema":"$X","required":false}]}`) {
		t.Errorf("the resource type is %s", jsonOf(rt))
	}
	if _, ok := testTypes.Group.Document("")["schemaExtensions"]; ok {
		t.Error("groups have extensions")
	}
	s := Schema{URN: "urn:x", Name: "X", Description: "D", Attributes: []Attribute{
		{Name: "plain", Type: String, Description: "Plain.", Required: true, Unique: true, CaseExact: true},
		{Name: "secret", Type: String, Mutability: WriteOnly},
		{Name: "link", Type: Reference},
		{Name: "user", Type: Reference, ReferenceTypes: []string{"User"}, Mutability: Immutable},
		{Name: "list", Type: Complex, MultiValued: true, Mutability: ReadOnly, SubAttributes: []Attribute{{Name: "type", Type: String, CanonicalValues: []string{"work"}}}},
	}}
	if got := s.Document("https://x"); !sameAs(t, got, `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:Schema"],"id":"urn:x","name":"X","description":"D",
		"meta":{"resourceType":"Schema","location":"https://x/Schemas/urn:x"},"attributes":[
		{"name":"plain","type":"string","multiValued":false,"description":"Plain.","required":true,"caseExact":true,"mutability":"readWrite","returned":"default","uniqueness":"server"},
		{"name":"secret","type":"string","multiValued":false,"description":"secret","required":false,"caseExact":false,"mutability":"writeOnly","returned":"never","uniqueness":"none"},
		{"name":"link","type":"reference","multiValued":false,"description":"link","required":false,"caseExact":false,"mutability":"readWrite","returned":"default","uniqueness":"none","referenceTypes":["uri"]},
		{"name":"user","type":"reference","multiValued":false,"description":"user","required":false,"caseExact":false,"mutability":"immutable","returned":"default","uniqueness":"none","referenceTypes":["User"]},
		{"name":"list","type":"complex","multiValued":true,"description":"list","required":false,"caseExact":false,"mutability":"readOnly","returned":"default","uniqueness":"none","subAttributes":[
			{"name":"type","type":"string","multiValued":false,"description":"type","required":false,"caseExact":false,"mutability":"readWrite","returned":"default","uniqueness":"none","canonicalValues":["work"]}]}]}`) {
		t.Errorf("the schema is %s", jsonOf(got))
	}
}
