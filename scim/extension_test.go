package scim_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"sallyport/scim"
)

const badgeURN = "urn:ietf:params:scim:schemas:extension:contoso:2.0:User"

var badges = scim.Settings{Extensions: []scim.Extension{{URN: badgeURN, Name: "Contoso", Attributes: []scim.Attribute{
	{Name: "badge"}, {Name: "floor", Type: "integer"}, {Name: "contractor", Type: "boolean"},
	{Name: "sites", Multi: true}, {Name: "key", CaseExact: true}, {Name: "since", Type: "dateTime"}, {Name: "blob", Type: "binary"},
}}}}

// TestExtension_Declared: RFC 7643 §3.3, and how Entra ID writes to one: with a URN
// that is not in schemas, and by URN:attribute.
func TestExtension_Declared(t *testing.T) {
	base, token, d, _ := serveWith(t, badges)
	c := &client{t, base, token}
	_, u := c.do("POST", "/Users", `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"u","externalId":"x",
		"URN:ietf:params:scim:schemas:extension:CONTOSO:2.0:user":{"Badge":"B7","floor":"3","contractor":"True","sites":["a","b","a"],"unknown":1,"since":"2026-01-02T05:04:05+02:00","blob":"AQID"}}`)
	path := "/Users/" + u["id"].(string)
	compareJSON(t, "the response", u, map[string]any{"schemas": []any{"urn:ietf:params:scim:schemas:core:2.0:User", badgeURN},
		badgeURN: map[string]any{"badge": "B7", "floor": 3.0, "contractor": true, "since": "2026-01-02T03:04:05Z", "blob": "AQID", "sites": []any{"a", "b"}, "unknown": "(absent)"}})
	_, u = c.do("PATCH", path, `{"Operations":[
		{"op":"Replace","path":"`+badgeURN+`:floor","value":4},
		{"op":"Add","path":"`+badgeURN+`:sites","value":"c"},
		{"op":"replace","value":{"`+badgeURN+`:key":"K","`+badgeURN+`":{"contractor":"False"}}},
		{"op":"Remove","path":"`+badgeURN+`:badge"}]}`)
	compareJSON(t, "after the PATCH", u[badgeURN], map[string]any{"floor": 4.0, "sites": []any{"a", "b", "c"}, "key": "K", "contractor": false, "badge": "(absent)"})
	for filter, want := range map[string]float64{
		badgeURN + ":floor gt 3":                               1,
		badgeURN + `:floor eq "4"`:                             1,
		badgeURN + ":floor lt 4":                               0,
		badgeURN + `:sites eq "B"`:                             1,
		badgeURN + `:key eq "k"`:                               0,
		badgeURN + `:contractor eq "False"`:                    1,
		badgeURN + `:since lt "2026-01-02T03:04:06+00:00"`:     1,
		strings.ToUpper(badgeURN) + ":FLOOR eq 4.0":            1,
		`userName eq "u" and not (` + badgeURN + `:badge pr)`:  1,
		`emails pr or ` + badgeURN + `:sites co "c"`:           1,
		badgeURN + `:since gt "2026-01-02T03:04:05.000+01:00"`: 1,
	} {
		if _, list := c.do("GET", "/Users?filter="+url.QueryEscape(filter), ""); list["totalResults"] != want {
			t.Errorf("%s finds %v, want %v: %v", filter, list["totalResults"], want, list["detail"])
		}
	}
	for _, body := range []string{`{"userName":"v","` + badgeURN + `":{"floor":"three"}}`, `{"userName":"v","` + badgeURN + `":{"floor":3.5}}`, `{"userName":"v","` + badgeURN + `":{"contractor":"perhaps"}}`,
		`{"userName":"v","` + badgeURN + `":{"since":"yesterday"}}`, `{"userName":"v","` + badgeURN + `":{"since":"2026-01-02"}}`, `{"userName":"v","` + badgeURN + `":{"since":5}}`,
		`{"userName":"v","` + badgeURN + `":{"blob":"not base64!"}}`, `{"userName":"v","x509Certificates":[{"value":"no base-64!"}]}`} {
		if resp, result := c.do("POST", "/Users", body); resp.StatusCode != http.StatusBadRequest || result["scimType"] != "invalidValue" {
			t.Errorf("%s is answered by %v", body, result)
		}
	}
	for _, filter := range []string{badgeURN + `:floor co "3"`, badgeURN + `:floor gt "x"`, badgeURN + `:floor eq true`, badgeURN + `:blob gt "AQ"`} {
		if resp, result := c.do("GET", "/Users?filter="+url.QueryEscape(filter), ""); resp.StatusCode != 400 || result["scimType"] != "invalidFilter" {
			t.Errorf("%s finds %v", filter, result)
		}
	}
	user, _ := d.Lookup("x")
	own, _ := user.Attributes()[badgeURN].(map[string]any)
	if own["floor"] != 4.0 {
		t.Errorf("a policy would read %v", user.Attributes())
	}
	_, schema := c.do("GET", "/Schemas/"+badgeURN, "")
	checkAttributes(t, schema["attributes"].([]any))
	_, kind := c.do("GET", "/ResourceTypes/User", "")
	if !strings.Contains(shape(kind), "schemaExtensions") || len(kind["schemaExtensions"].([]any)) != 2 {
		t.Errorf("the resource type is %v", kind)
	}
}

// TestExtension_SettingsAreChecked: a fault is reported with its place in the file.
func TestExtension_SettingsAreChecked(t *testing.T) {
	for want, x := range map[string]scim.Extension{
		"extensions[0].urn":                {URN: "contoso", Attributes: []scim.Attribute{{Name: "a"}}},
		"extensions[0].urn ":               {URN: "urn:ietf:params:scim:schemas:core:2.0:User", Attributes: []scim.Attribute{{Name: "a"}}},
		"extensions[0].urn  ":              {URN: "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:sub", Attributes: []scim.Attribute{{Name: "a"}}},
		"extensions[0].attributes":         {URN: badgeURN},
		"extensions[0].attributes[0].name": {URN: badgeURN, Attributes: []scim.Attribute{{Name: "a.b"}}},
		"extensions[0].attributes[1].name": {URN: badgeURN, Attributes: []scim.Attribute{{Name: "a"}, {Name: "A"}}},
		"extensions[0].attributes[0].type": {URN: badgeURN, Attributes: []scim.Attribute{{Name: "a", Type: "complex"}}},
	} {
		var got []string
		(scim.Settings{Extensions: []scim.Extension{x}}).Check(func(path, problem string) { got = append(got, path) })
		if len(got) != 1 || got[0] != strings.TrimSpace(want) {
			t.Errorf("%+v has faults at %v, want %s", x, got, want)
		}
	}
}
