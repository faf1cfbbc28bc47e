package scim_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"sallyport/scim"
)

// createUsers creates users u0 … un-1, of whom every other is inactive.
func (c *client) createUsers(n int) {
	for i := range n {
		body := fmt.Sprintf(`{"userName":"u%d@example.com","externalId":"X%d","displayName":"User %d","active":%v,"title":"a \"quoted\" title",
			"emails":[{"type":"work","value":"u%d@work.example"},{"type":"home","value":"u%d@home.example"}]}`, i, i, i, i%2 == 0, i, i)
		if resp, result := c.do("POST", "/Users", body); resp.StatusCode != http.StatusCreated {
			c.t.Fatal(result)
		}
	}
}

// TestFilter: RFC 7644 §3.4.2.2, row by row.
func TestFilter(t *testing.T) {
	c := newClient(t)
	c.createUsers(4)
	for filter, want := range map[string]int{ // -1: refused
		`userName eq "u1@example.com"`:                               1,
		`USERNAME EQ "U1@EXAMPLE.COM"`:                               1,
		`userName eq"u1@example.com"`:                                1, // the RFC's own example leaves the space out
		`urn:ietf:params:scim:schemas:core:2.0:User:userName sw "u"`: 4,
		`externalId eq "x1"`:                                         0, // case matters here
		`externalId eq "X1"`:                                         1,
		`active eq true`:                                             2,
		`active eq "False"`:                                          2,
		`active ne true`:                                             2,
		`not (active eq true)`:                                       2,
		`userName co "1" or userName co "2" and active eq true`:      2, // and binds tighter
		`(userName co "1" or userName co "2") and active eq true`:    1,
		`title eq "a \"quoted\" title"`:                              4,
		`nickName pr`:                                                0,
		`not (nickName pr)`:                                          4,
		`nickName eq null`:                                           4,
		`title ne null`:                                              4,
		`emails pr`:                                                  4,
		`emails eq "u1@work.example"`:                                1,
		`emails.type eq "work" and emails.value eq "u1@home.example"`: 1, // across elements
		`emails[type eq "work" and value eq "u1@home.example"]`:       0, // within one
		`emails[type eq "home" and value eq "u1@home.example"]`:       1,
		`emails[type eq "work"].value ew "@work.example"`:             4,
		`emails[not (type eq "work") and value co "u2"]`:              1,
		`displayName gt "User 1"`:                                     2,
		`displayName ge "User 1"`:                                     3,
		`displayName lt "User 1"`:                                     1,
		`meta.created gt "2020-01-01T00:00:00Z"`:                      4,
		`meta.lastModified lt "2020-01-01T00:00:00+05:00"`:            0,
		`meta.resourceType eq "User"`:                                 4,
		`userName eq "u1@example.com" and active eq true`:             0,
		`id eq "nobody"`:           0,
		`foo eq "x"`:               -1,
		`userName`:                 -1,
		`userName eq`:              -1,
		`userName eq x`:            -1,
		`userName like "x"`:        -1,
		`userName eq "x" and`:      -1,
		`(userName eq "x"`:         -1,
		`userName eq "x")`:         -1,
		`not userName eq "x"`:      -1,
		`userName eq "x`:           -1,
		`active gt true`:           -1,
		`active eq "perhaps"`:      -1,
		`emails[type eq "work"`:    -1,
		`userName[type eq "work"]`: -1,
		`emails[userName eq "x"]`:  -1,
		`name.foo eq "x"`:          -1,
		strings.Repeat("(", 20_000) + `userName pr` + strings.Repeat(")", 20_000): -1,
		strings.Repeat("not (", 40) + `userName pr` + strings.Repeat(")", 40):     -1,
	} {
		resp, result := c.do("GET", "/Users?filter="+url.QueryEscape(filter), "")
		if want < 0 {
			if resp.StatusCode != http.StatusBadRequest || result["scimType"] != "invalidFilter" {
				t.Errorf("%.80s: status %d %v, want invalidFilter", filter, resp.StatusCode, result)
			}
		} else if result["totalResults"] != float64(want) {
			t.Errorf("%.80s finds %v, want %d: %v", filter, result["totalResults"], want, result["detail"])
		}
	}
}

// TestPage: RFC 7644 §3.4.2.4.
func TestPage(t *testing.T) {
	c := newClient(t)
	c.createUsers(7)
	for query, want := range map[string][3]int{ // startIndex, itemsPerPage, totalResults
		"":                                {1, 7, 7},
		"startIndex=1&count=3":            {1, 3, 7},
		"startIndex=6&count=3":            {6, 2, 7},
		"startIndex=8&count=3":            {8, 0, 7},
		"startIndex=0&count=3":            {1, 3, 7},
		"startIndex=-5&count=3":           {1, 3, 7},
		"count=0":                         {1, 0, 7},
		"count=-1":                        {1, 0, 7},
		"count=100000":                    {1, 7, 7},
		"count=99999999999999999999":      {1, 7, 7},
		"filter=active+eq+true&count=2":   {1, 2, 4},
		"startIndex=99999999999999999999": {1<<31 - 1, 0, 7},
	} {
		_, result := c.do("GET", "/Users?"+query, "")
		got := [3]any{result["startIndex"], result["itemsPerPage"], result["totalResults"]}
		if fmt.Sprint(got) != fmt.Sprint([3]float64{float64(want[0]), float64(want[1]), float64(want[2])}) {
			t.Errorf("%q gives %v, want %v", query, got, want)
		}
		if result["Resources"] == nil {
			t.Errorf("%q gives no Resources", query)
		}
	}
	for _, query := range []string{"startIndex=x", "count=1.5", "count=ten"} {
		if resp, result := c.do("GET", "/Users?"+query, ""); resp.StatusCode != 400 || result["scimType"] != "invalidValue" {
			t.Errorf("%q: status %d %v", query, resp.StatusCode, result)
		}
	}
	seen := map[any]bool{}
	for start := 1; start <= 7; start++ {
		_, result := c.do("GET", fmt.Sprintf("/Users?count=1&startIndex=%d", start), "")
		seen[result["Resources"].([]any)[0].(map[string]any)["id"]] = true
	}
	if len(seen) != 7 {
		t.Errorf("seven pages of one show %d users", len(seen))
	}
}

// TestSelection: RFC 7644 §3.9.
func TestSelection(t *testing.T) {
	base, token, _, _ := serveWith(t, scim.Settings{Extensions: []scim.Extension{{URN: badgeURN, Attributes: []scim.Attribute{{Name: "badge"}, {Name: "title"}}}}})
	c := &client{t, base, token}
	_, made := c.do("POST", "/Users", `{"userName":"u@x","title":"t","name":{"givenName":"G","familyName":"F"},"`+badgeURN+`":{"badge":"B","title":"T"},
		"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User":{"department":"D","division":"V","manager":{"value":"m","$ref":"r"}},"emails":[{"value":"e@x","type":"work"}]}`)
	path := "/Users/" + made["id"].(string)
	for query, want := range map[string]string{
		"attributes=emails.display":                   "id schemas",
		"attributes=nickName":                         "id schemas",
		"attributes=active,":                          "active id schemas",
		"attributes=name.given":                       "id schemas",
		"attributes=schemas,id":                       "id schemas",
		"attributes=" + enterprise + ":manager.value": "id schemas " + enterprise + "{manager{value}}",
		"attributes=" + enterprise + ":manager":       "id schemas " + enterprise + "{manager{$ref value}}",
		"attributes=department":                       "id schemas " + enterprise + "{department}",
		"attributes=title":                            "id schemas title",
		"attributes=title," + badgeURN + ":title":     "id schemas title " + badgeURN + "{title}",
		"attributes=" + badgeURN:                      "id schemas " + badgeURN + "{badge title}",
		"attributes=" + enterprise + ":nothing":       "id schemas",
		"excludedAttributes=title,name.givenName,name.familyName,meta,emails.value,emails.type,active":                                        "id schemas " + badgeURN + "{badge title} " + enterprise + "{department division manager{$ref value}} userName",
		"excludedAttributes=title,name,meta,emails,active," + badgeURN + ":title," + enterprise + ":manager.$ref," + enterprise + ":division": "id schemas " + badgeURN + "{badge} " + enterprise + "{department manager{value}} userName",
		"attributes=userName":       "id schemas userName",
		"attributes=USERNAME,title": "id schemas title userName",
		"attributes=name.givenName": "id name{givenName} schemas",
		"attributes=name":           "id name{familyName givenName} schemas",
		"attributes=emails.value":   "emails[{value}] id schemas",
		"attributes=nothing":        "id schemas",
		"excludedAttributes=id,schemas,name,emails,meta,title," + badgeURN + ",urn:ietf:params:scim:schemas:extension:enterprise:2.0:User": "active id schemas userName",
		"attributes=urn:ietf:params:scim:schemas:core:2.0:User:userName":                                                                   "id schemas userName",
		"attributes=urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department":                                                 "id schemas urn:ietf:params:scim:schemas:extension:enterprise:2.0:User{department}",
	} {
		_, result := c.do("GET", path+"?"+query, "")
		if got := strings.TrimSuffix(strings.TrimPrefix(shape(result), "{"), "}"); got != want {
			t.Errorf("%s gives %s, want %s", query, got, want)
		}
	}
	if resp, _ := c.do("GET", path+"?attributes=id&excludedAttributes=name", ""); resp.StatusCode != 400 {
		t.Errorf("attributes with excludedAttributes: status %d", resp.StatusCode)
	}
}

// shape returns the names in a JSON value, sorted.
func shape(v any) string {
	switch v := v.(type) {
	case map[string]any:
		data, _ := json.Marshal(v) // sorts the names
		var names []string
		d := json.NewDecoder(strings.NewReader(string(data)))
		_, _ = d.Token()
		for d.More() {
			name, _ := d.Token()
			var value any
			_ = d.Decode(&value)
			inner := ""
			if _, plain := value.(string); !plain && name != "schemas" {
				inner = shape(value)
			}
			names = append(names, name.(string)+inner)
		}
		return "{" + strings.Join(names, " ") + "}"
	case []any:
		if len(v) > 0 {
			return "[" + shape(v[0]) + "]"
		}
	}
	return ""
}

// TestVersion: RFC 7644 §3.14.
func TestVersion(t *testing.T) {
	c := newClient(t)
	resp, made := c.do("POST", "/Users", `{"userName":"u@x"}`)
	path := "/Users/" + made["id"].(string)
	first := resp.Header.Get("ETag")
	if first == "" || !strings.HasSuffix(resp.Header.Get("Location"), path) || made["meta"].(map[string]any)["location"] != resp.Header.Get("Location") {
		t.Fatalf("headers are %v", resp.Header)
	}
	with := func(method, name, value, body string) int {
		req, _ := http.NewRequest(method, c.base+path, strings.NewReader(body))
		req.Header.Set("Authorization", "Bearer "+c.token)
		req.Header.Set(name, value)
		resp, _ := c.send(req)
		return resp.StatusCode
	}
	patch := `{"Operations":[{"op":"replace","path":"title","value":"%s"}]}`
	for _, step := range []struct {
		method, header, value, body string
		want                        int
	}{
		{"GET", "If-None-Match", first, "", 304},
		{"PATCH", "If-Match", first, fmt.Sprintf(patch, "one"), 200},
		{"PATCH", "If-Match", first, fmt.Sprintf(patch, "two"), 412},
		{"PUT", "If-Match", first, `{"userName":"u@x"}`, 412},
		{"DELETE", "If-Match", first, "", 412},
		{"GET", "If-None-Match", first, "", 200},
		{"DELETE", "If-Match", "*", "", 204},
	} {
		if got := with(step.method, step.header, step.value, step.body); got != step.want {
			t.Errorf("%s with %s %s: status %d, want %d", step.method, step.header, step.value, got, step.want)
		}
	}
}

// TestProblem_HasSCIMBody: RFC 7644 §3.12; every error has a SCIM body.
func TestProblem_HasSCIMBody(t *testing.T) {
	c := newClient(t)
	for _, p := range []struct {
		name, method, path, body, media string
		want                            int
		scimType                        string
	}{
		{"nothing there", "GET", "/Nothing", "", "", 404, ""},
		{"lower case", "GET", "/users", "", "", 404, ""},
		{"a method", "PUT", "/Users", "{}", "", 405, ""},
		{"a search by GET", "GET", "/Users/.search", "", "", 405, ""},
		{"a search deleted", "DELETE", "/Groups/.search", "", "", 405, ""},
		{"a strange method", "BREW", "/Users", "", "", 405, ""},
		{"no JSON", "POST", "/Users", "hello", "", 400, "invalidSyntax"},
		{"half of it", "POST", "/Users", `{"userName":`, "", 400, "invalidSyntax"},
		{"more behind it", "POST", "/Users", `{"userName":"a"} x`, "", 400, "invalidSyntax"},
		{"a list", "POST", "/Users", `[]`, "", 400, "invalidSyntax"},
		{"not UTF-8", "POST", "/Users", "{\"userName\":\"\xff\"}", "", 400, "invalidSyntax"},
		{"a member twice", "POST", "/Users", `{"userName":"a","userName":"b"}`, "", 400, "invalidSyntax"},
		{"twice but for case", "POST", "/Users", `{"active":false,"Active":true,"userName":"a"}`, "", 400, "invalidSyntax"},
		{"too deep", "POST", "/Users", `{"a":` + strings.Repeat("[", 50_000) + strings.Repeat("]", 50_000) + `}`, "", 400, "invalidSyntax"},
		{"another media type", "POST", "/Users", `{}`, "text/plain", 415, ""},
		{"too large", "POST", "/Users", `{"userName":"` + strings.Repeat("x", 4<<20) + `"}`, "", 413, ""},
		{"a name too long", "POST", "/Users", `{"userName":"` + strings.Repeat("x", 5000) + `"}`, "", 400, "invalidValue"},
		{"a name too long once folded", "POST", "/Users", `{"userName":"` + strings.Repeat("\ufdfa", 1300) + `"}`, "", 400, "invalidValue"},
		{"a group's likewise", "POST", "/Groups", `{"displayName":"` + strings.Repeat("\ufdfa", 1300) + `"}`, "", 400, "invalidValue"},
		{"a NUL in a name", "POST", "/Users", `{"userName":"a\u0000b"}`, "", 400, "invalidValue"},
		{"no name", "POST", "/Groups", `{}`, "", 400, "invalidValue"},
		{"nobody to change", "PATCH", "/Users/x", `{"Operations":[{"op":"add","path":"title","value":"t"}]}`, "", 404, ""},
		{"nobody to replace", "PUT", "/Users/00000000000000000000000000000000", `{"userName":"a"}`, "", 404, ""},
		{"many operations", "PATCH", "/Users/x", `{"Operations":[` + strings.Repeat(`{"op":"add","path":"title","value":"t"},`, 1000) + `{"op":"add","path":"title","value":"t"}]}`, "", 400, "tooMany"},
		{"a filtered discovery", "GET", "/Schemas?filter=id+pr", "", "", 403, ""},
		{"me", "GET", "/Me", "", "", 501, ""},
		{"a long s in a name", "PATCH", "/Users/x", "{\"Operation\u017f\":[{\"op\":\"add\",\"path\":\"title\",\"value\":\"t\"}]}", "", 400, "invalidSyntax"},
		{"a blank name", "POST", "/Users", `{"userName":" \t"}`, "", 400, "invalidValue"},
		{"a blank group", "POST", "/Groups", `{"displayName":" "}`, "", 400, "invalidValue"},
	} {
		req, _ := http.NewRequest(p.method, c.base+p.path, strings.NewReader(p.body))
		req.Header.Set("Authorization", "Bearer "+c.token)
		if p.media != "" {
			req.Header.Set("Content-Type", p.media)
		}
		resp, result := c.send(req)
		scimType, _ := result["scimType"].(string)
		if resp.StatusCode != p.want || scimType != p.scimType || result["status"] != fmt.Sprint(p.want) || result["detail"] == "" {
			t.Errorf("%s: status %d %.300v, want %d %s", p.name, resp.StatusCode, result, p.want, p.scimType)
		}
		if p.want == 405 && resp.Header.Get("Allow") == "" {
			t.Errorf("%s: 405 without Allow", p.name)
		}
	}
	if _, result := c.do("GET", "/Users", ""); result["totalResults"] != 0.0 {
		t.Errorf("refused requests left %v users", result["totalResults"])
	}
}

// TestAuthentication: RFC 6750, and CVE-2025-4210 and kin (a missing or empty
// bearer token was accepted).
func TestAuthentication(t *testing.T) {
	base, token, d := serve(t)
	expired, expiring, err := d.mint("expiring", time.Nanosecond)
	if err != nil {
		t.Fatal(err)
	}
	revoked, gone, err := d.mint("revoked", 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.RevokeToken(context.Background(), revoked.ID); err != nil {
		t.Fatal(err)
	}
	c := &client{t, base, token}
	for name, headers := range map[string][]string{
		"none": {}, "empty": {""}, "bearer alone": {"Bearer"}, "bearer and space": {"Bearer "}, "basic": {"Basic " + token},
		"bare": {token}, "cut": {"Bearer " + token[:len(token)-1]}, "longer": {"Bearer " + token + "x"}, "another case": {"Bearer " + strings.ToUpper(token)},
		"twice": {"Bearer " + token, "Bearer " + token}, "expired": {"Bearer " + expiring}, "revoked": {"Bearer " + gone}, "an id": {"Bearer " + expired.ID},
		"a tab": {"Bearer\t" + token}, "a comma": {"Bearer " + token + ", Bearer " + token}, "quoted": {`Bearer "` + token + `"`}, "a parameter": {"Bearer token=" + token}, "another scheme": {"Token " + token},
		"two words": {"Bearer x " + token}, "a wrong one first": {"Bearer x", "Bearer " + token}, "a non-breaking space": {"Bearer\u00a0" + token}, "the prefix": {"Bearer sallyport_scim_"},
		"another checksum": {"Bearer " + token[:len(token)-6] + "AAAAAA"}, "an unsigned JWT": {"Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0."}, "null": {"Bearer null"}, "percent signs": {"Bearer " + url.QueryEscape(token+"%00")},
	} {
		req, _ := http.NewRequest("GET", base+"/Users", nil)
		for _, h := range headers {
			req.Header.Add("Authorization", h)
		}
		resp, result := c.send(req)
		challenge := resp.Header.Get("WWW-Authenticate")
		if resp.StatusCode != 401 || !strings.HasPrefix(challenge, "Bearer ") || strings.Contains(challenge, "invalid_token") != brought(headers) || result["status"] != "401" {
			t.Errorf("%s: status %d %v", name, resp.StatusCode, result)
		}
	}
	stranger := &client{t, base, "wrong"}
	if resp, _ := stranger.do("GET", "/Users?access_token="+token, ""); resp.StatusCode != 401 {
		t.Errorf("a token in the URL: status %d", resp.StatusCode)
	}
	if resp, _ := c.do("GET", "/Users", ""); resp.StatusCode != 200 {
		t.Errorf("a good token: status %d", resp.StatusCode)
	}
	tokens, err := d.Tokens(context.Background())
	if err != nil || len(tokens) != 2 {
		t.Fatalf("tokens are %v, %v", tokens, err)
	}
	for _, k := range tokens {
		if k.Name == "test" && k.LastUsed.IsZero() {
			t.Error("the use of a token is not written down")
		}
	}
	for _, name := range []string{"", " ", "a\nb", strings.Repeat("x", 64)} {
		if _, _, err := scim.NewToken(name, 0); err == nil {
			t.Errorf("a token may be called %q", name)
		}
	}
}

// brought reports whether headers have a token, valid or not (RFC 6750 §3.1).
func brought(headers []string) bool {
	return len(headers) == 1 && strings.HasPrefix(headers[0], "Bearer ") && headers[0] != "Bearer "
}

// TestDiscovery: RFC 7644 §4; the server supports what it advertises.
func TestDiscovery(t *testing.T) {
	c := newClient(t)
	_, config := c.do("GET", "/ServiceProviderConfig", "")
	if config["patch"].(map[string]any)["supported"] != true || config["changePassword"].(map[string]any)["supported"] != false {
		t.Errorf("the configuration is %v", config)
	}
	_, schemas := c.do("GET", "/Schemas", "")
	for _, one := range schemas["Resources"].([]any) {
		checkAttributes(t, one.(map[string]any)["attributes"].([]any))
		id := one.(map[string]any)["id"].(string)
		if resp, single := c.do("GET", "/Schemas/"+id, ""); resp.StatusCode != 200 || single["id"] != id {
			t.Errorf("schema %s: status %d", id, resp.StatusCode)
		}
	}
	_, types := c.do("GET", "/ResourceTypes", "")
	for _, one := range types["Resources"].([]any) {
		name := one.(map[string]any)["name"].(string)
		if resp, _ := c.do("GET", "/ResourceTypes/"+name, ""); resp.StatusCode != 200 {
			t.Errorf("type %s: status %d", name, resp.StatusCode)
		}
		if resp, _ := c.do("GET", one.(map[string]any)["endpoint"].(string), ""); resp.StatusCode != 200 {
			t.Errorf("the endpoint of %s: status %d", name, resp.StatusCode)
		}
	}
}

func checkAttributes(t *testing.T, attributes []any) {
	t.Helper()
	for _, one := range attributes {
		a := one.(map[string]any)
		for _, name := range []string{"name", "type", "multiValued", "description", "required", "caseExact", "mutability", "returned", "uniqueness"} {
			if a[name] == nil || a[name] == "" {
				t.Errorf("attribute %v has no %s", a["name"], name)
			}
		}
		if sub, ok := a["subAttributes"].([]any); ok {
			checkAttributes(t, sub)
		}
	}
}

// TestPatch_LosesNoConcurrentChange: many add and remove members of one group at once.
func TestPatch_LosesNoConcurrentChange(t *testing.T) {
	c := newClient(t)
	_, group := c.do("POST", "/Groups", `{"displayName":"g"}`)
	path := "/Groups/" + group["id"].(string)
	var ids []string
	for i := range 40 {
		_, u := c.do("POST", "/Users", fmt.Sprintf(`{"userName":"u%d"}`, i))
		ids = append(ids, u["id"].(string))
	}
	var all sync.WaitGroup
	for i, id := range ids {
		all.Go(func() {
			add := fmt.Sprintf(`{"Operations":[{"op":"Add","path":"members","value":[{"value":%q}]}]}`, id)
			remove := fmt.Sprintf(`{"Operations":[{"op":"Remove","path":"members","value":[{"value":%q}]}]}`, id)
			c.do("PATCH", path, add)
			c.do("PATCH", path, remove)
			if i%2 == 0 {
				c.do("PATCH", path, add)
			}
		})
	}
	all.Wait()
	_, after := c.do("GET", path, "")
	members := map[string]bool{}
	for _, m := range after["members"].([]any) {
		members[m.(map[string]any)["value"].(string)] = true
	}
	for i, id := range ids {
		if members[id] != (i%2 == 0) {
			t.Errorf("member %d is in: %v", i, members[id])
		}
	}
}

// TestSearch: RFC 7644 §3.4.3; a search finds what the query finds.
func TestSearch(t *testing.T) {
	c := newClient(t)
	c.createUsers(5)
	_, byURL := c.do("GET", "/Users?filter=active+eq+true&startIndex=2&count=1&attributes=userName", "")
	resp, byBody := c.do("POST", "/Users/.search", `{"schemas":["urn:ietf:params:scim:api:messages:2.0:SearchRequest"],
		"filter":"active eq true","startIndex":2,"count":1,"attributes":["userName"]}`)
	if resp.StatusCode != http.StatusOK || fmt.Sprint(byURL) != fmt.Sprint(byBody) {
		t.Errorf("the search: status %d\n%v\nand the query\n%v", resp.StatusCode, byBody, byURL)
	}
	if _, all := c.do("POST", "/Groups/.search", `{}`); all["totalResults"] != 0.0 {
		t.Errorf("a search of groups finds %v", all)
	}
	for _, body := range []string{`{"filter":7}`, `{"filter":"nope"}`, `{"count":{}}`, `{"attributes":[1]}`, `[]`} {
		if resp, _ := c.do("POST", "/Users/.search", body); resp.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: status %d", body, resp.StatusCode)
		}
	}
	if resp, _ := c.do("GET", "/Users/.search", ""); resp.StatusCode == http.StatusOK {
		t.Errorf("GET of a search: status %d", resp.StatusCode)
	}
}
