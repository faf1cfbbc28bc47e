package schema

import "testing"

func TestSelection(t *testing.T) {
	const resource = `{"id":"1","schemas":["$U"],"userName":"a","title":"T","name":{"givenName":"A","familyName":"B"},
		"emails":[{"value":"w","type":"work"},{"value":"h"}],"meta":{"version":"1"},"$E":{"department":"D","manager":{"value":"M","displayName":"Boss"}}}`
	for _, x := range []struct {
		attributes, excluded []string
		want                 string
	}{
		{nil, nil, resource},
		{[]string{""}, []string{" , "}, resource},
		{[]string{"title"}, nil, `{"id":"1","schemas":["$U"],"title":"T"}`},
		{[]string{"TITLE, userName"}, nil, `{"id":"1","schemas":["$U"],"title":"T","userName":"a"}`},
		{[]string{"title", "userName"}, nil, `{"id":"1","schemas":["$U"],"title":"T","userName":"a"}`},
		{[]string{"nickName"}, nil, `{"id":"1","schemas":["$U"]}`},
		{[]string{"foo"}, nil, `{"id":"1","schemas":["$U"]}`},
		{[]string{"name.GivenName"}, nil, `{"id":"1","schemas":["$U"],"name":{"givenName":"A"}}`},
		{[]string{"name.givenName,name.familyName"}, nil, `{"id":"1","schemas":["$U"],"name":{"givenName":"A","familyName":"B"}}`},
		{[]string{"name"}, nil, `{"id":"1","schemas":["$U"],"name":{"givenName":"A","familyName":"B"}}`},
		{[]string{"name.middleName"}, nil, `{"id":"1","schemas":["$U"]}`},
		{[]string{"emails.display"}, nil, `{"id":"1","schemas":["$U"]}`},
		{[]string{"emails.type"}, nil, `{"id":"1","schemas":["$U"],"emails":[{"type":"work"}]}`},
		{[]string{"$U:title"}, nil, `{"id":"1","schemas":["$U"],"title":"T"}`},
		{[]string{"$U:"}, nil, resource},
		{[]string{"$E"}, nil, `{"id":"1","schemas":["$U"],"$E":{"department":"D","manager":{"value":"M","displayName":"Boss"}}}`},
		{[]string{"$E:department"}, nil, `{"id":"1","schemas":["$U"],"$E":{"department":"D"}}`},
		{[]string{"department"}, nil, `{"id":"1","schemas":["$U"],"$E":{"department":"D"}}`},
		{[]string{"$E:manager.value"}, nil, `{"id":"1","schemas":["$U"],"$E":{"manager":{"value":"M"}}}`},
		{nil, []string{"emails,name,meta,$E"}, `{"id":"1","schemas":["$U"],"userName":"a","title":"T"}`},
		{nil, []string{"id,schemas,emails,name,meta,title", "$E"}, `{"id":"1","schemas":["$U"],"userName":"a"}`},
		{nil, []string{"name.givenName", "emails.value", "meta.version", "$E:manager.displayName"},
			`{"id":"1","schemas":["$U"],"userName":"a","title":"T","name":{"familyName":"B"},"emails":[{"type":"work"}],"$E":{"department":"D","manager":{"value":"M"}}}`},
		{nil, []string{"name.givenName,name.familyName"}, `{"id":"1","schemas":["$U"],"userName":"a","title":"T","emails":[{"value":"w","type":"work"},{"value":"h"}],"meta":{"version":"1"},
			"$E":{"department":"D","manager":{"value":"M","displayName":"Boss"}}}`},
	} {
		for i := range x.attributes {
			x.attributes[i] = expand(x.attributes[i])
		}
		for i := range x.excluded {
			x.excluded[i] = expand(x.excluded[i])
		}
		s, err := ParseSelection(testTypes.User, x.attributes, x.excluded)
		if err != nil {
			t.Errorf("%q without %q: %v", x.attributes, x.excluded, err)
			continue
		}
		if got := s.Trim(testTypes.User, mustDecode(t, resource)); !sameAs(t, got, x.want) {
			t.Errorf("%q without %q leaves %s", x.attributes, x.excluded, jsonOf(got))
		}
	}
	_, err := ParseSelection(testTypes.User, []string{"title"}, []string{"name"})
	checkError(t, "both", err, "invalidValue: attributes and excludedAttributes exclude each other.")
}

func TestSelection_Includes(t *testing.T) {
	for _, x := range []struct {
		attributes, excluded []string
		name                 string
		want                 bool
	}{
		{nil, nil, "groups", true},
		{[]string{"groups"}, nil, "groups", true},
		{[]string{"Groups.Display"}, nil, "groups", true},
		{[]string{"title"}, nil, "groups", false},
		{[]string{"$E"}, nil, "groups", false},
		{nil, []string{"groups"}, "groups", false},
		{nil, []string{"groups"}, "GROUPS", false},
		{nil, []string{"groups.display"}, "groups", true},
		{nil, []string{"title"}, "groups", true},
		{nil, []string{"$E"}, "department", true}, // of the core schema, which has none
	} {
		for i := range x.attributes {
			x.attributes[i] = expand(x.attributes[i])
		}
		for i := range x.excluded {
			x.excluded[i] = expand(x.excluded[i])
		}
		s, err := ParseSelection(testTypes.User, x.attributes, x.excluded)
		if got := s.Includes(x.name); err != nil || got != x.want {
			t.Errorf("%q without %q includes %s: %t, %v", x.attributes, x.excluded, x.name, got, err)
		}
	}
}
