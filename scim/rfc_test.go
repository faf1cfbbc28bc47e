package scim_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sallyport/scim"
)

const (
	coreUser   = "urn:ietf:params:scim:schemas:core:2.0:User"
	enterprise = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
)

// step is one request and the response that it must get: the status, then what the body must have ("(absent)": must not
// have).
type step struct {
	request string // "METHOD path body"; {id} is the user's, {gid} the group's
	status  int
	has     map[string]any
}

// demand is a requirement of the RFCs and the requests that show it. Each begins with the user and the group below.
type demand struct {
	about string
	steps []step
}

const theUser = `{"schemas":["` + coreUser + `"],"userName":"Ann@example.com","externalId":"Ext-1","title":"Clerk","active":true,"name":{"givenName":"Ann","familyName":"Lee"},
	"emails":[{"value":"ann@work.example","type":"work","primary":true},{"value":"ann@home.example","type":"home"}],"` + enterprise + `":{"department":"D1"}}`

func errorOf(scimType string) map[string]any {
	want := map[string]any{"schemas": []any{"urn:ietf:params:scim:api:messages:2.0:Error"}}
	if scimType != "" {
		want["scimType"] = scimType
	}
	return want
}

func patch(operations string) string { return `{"Operations":[` + operations + `]}` }

func total(n int) map[string]any { return map[string]any{"totalResults": float64(n)} }

// demands are those of RFC 7643 (§2-§8) and RFC 7644 (§2-§5) that a few
// requests can show; the others have tests of their own.
var demands = []demand{
	{"7643 §2.1: names of attributes have no case", []step{
		{`PATCH /Users/{id} {"operations":[{"OP":"REPLACE","Path":"DISPLAYNAME","Value":"x"}]}`, 200, map[string]any{"displayName": "x"}},
		{`GET /Users?filter=USERNAME+EQ+"ann@example.com"&attributes=USERNAME`, 200, total(1)}}},
	{"7643 §2.2: what is read-only stays as it is", []step{
		{`PUT /Users/{id} {"id":"mine","userName":"Ann@example.com","meta":{"created":"2000-01-01T00:00:00Z"},"groups":[{"value":"{gid}"}]}`, 200, map[string]any{"groups": "(absent)"}},
		{`PATCH /Users/{id} ` + patch(`{"op":"replace","path":"id","value":"x"}`), 400, errorOf("mutability")},
		{`PATCH /Users/{id} ` + patch(`{"op":"replace","path":"groups","value":[]}`), 400, errorOf("mutability")},
		{`PATCH /Users/{id} ` + patch(`{"op":"replace","path":"meta.created","value":"x"}`), 400, errorOf("mutability")},
		{`PATCH /Users/{id} ` + patch(`{"op":"replace","value":{"id":"x","groups":[],"meta.version":"x","`+enterprise+`:manager.displayName":"Boss","title":"t"}}`), 200, map[string]any{"id": "{id}", "title": "t"}},
		{`PATCH /Users/{id} ` + patch(`{"op":"remove","path":"schemas"}`), 400, errorOf("mutability")},
		{`PATCH /Groups/{gid} ` + patch(`{"op":"add","path":"schemas","value":["urn:x"]}`), 400, errorOf("mutability")}}},
	{"7643 §2.3: values have their types", []step{
		{`PATCH /Users/{id} ` + patch(`{"op":"replace","path":"active","value":"maybe"}`), 400, errorOf("invalidValue")},
		{`PATCH /Users/{id} ` + patch(`{"op":"replace","path":"name","value":"Ann"}`), 400, errorOf("invalidValue")},
		{`PATCH /Users/{id} ` + patch(`{"op":"replace","path":"title","value":["a","b"]}`), 400, errorOf("invalidValue")},
		{`GET /Users/{id}`, 200, map[string]any{"active": true, "title": "Clerk"}}}},
	{"7643 §2.4: at most one value is primary, and none is there twice", []step{
		{`PATCH /Users/{id} ` + patch(`{"op":"add","path":"emails","value":[{"value":"new@x","type":"other","primary":true},{"value":"ann@home.example","type":"home"}]}`), 200,
			map[string]any{"emails": []any{map[string]any{"primary": false}, map[string]any{"type": "home"}, map[string]any{"primary": true}}}}}},
	{"7643 §2.4: values of the same type and value are one", []step{
		{`POST /Users {"userName":"twin","emails":[{"type":"work","value":"a@x","primary":true},{"type":"work","value":"a@x","display":"A"},{"type":"home","value":"a@x"}]}`, 201,
			map[string]any{"emails": []any{map[string]any{"type": "work", "primary": true, "display": "A"}, map[string]any{"type": "home"}}}},
		{`PATCH /Users/{id} ` + patch(`{"op":"add","path":"emails","value":[{"type":"work","value":"ann@work.example"}]}`), 200,
			map[string]any{"emails": []any{map[string]any{"type": "work", "primary": true}, map[string]any{"type": "home"}}, "meta": map[string]any{"version": `W/"1"`}}},
		{`PATCH /Users/{id} ` + patch(`{"op":"replace","path":"emails.type","value":"work"},{"op":"replace","path":"emails.value","value":"b@x"}`), 200,
			map[string]any{"emails": []any{map[string]any{"type": "work", "value": "b@x", "primary": true}}}}}},
	{"7643 §2.5: null, an empty list and nothing are the same", []step{
		{`PUT /Users/{id} {"userName":"a","title":null,"emails":[],"name":{}}`, 200, map[string]any{"title": "(absent)", "emails": "(absent)", "name": "(absent)"}},
		{`POST /Users {"userName":"b","` + enterprise + `":""}`, 201, map[string]any{enterprise: "(absent)"}},
		{`PATCH /Users/{id} ` + patch(`{"op":"replace","path":"`+enterprise+`","value":null}`), 200, map[string]any{enterprise: "(absent)"}},
		{`PATCH /Users/{id} ` + patch(`{"op":"add","value":{"`+enterprise+`":null}}`), 200, nil},
		{`PATCH /Users/{id} ` + patch(`{"op":"replace","path":"displayName","value":null}`), 200, map[string]any{"displayName": "(absent)"}}}},
	{"7643 §3: schemas name the schemas of what is there", []step{
		{`GET /Users/{id}`, 200, map[string]any{"schemas": []any{coreUser, enterprise}}},
		{`PATCH /Users/{id} ` + patch(`{"op":"remove","path":"`+enterprise+`:department"}`), 200, map[string]any{"schemas": []any{coreUser}, enterprise: "(absent)"}}}},
	{"7643 §3.1: the id is ours, and externalId is none", []step{
		{`GET /Users/Ext-1`, 404, errorOf("")},
		{`POST /Users {"id":"{id}","userName":"other","externalId":"{id}"}`, 201, nil},
		{`GET /Users/{id}`, 200, map[string]any{"userName": "Ann@example.com"}}}},
	{"7643 §3.3: extensions are named by URN, whatever its case", []step{
		{`PATCH /Users/{id} ` + patch(`{"op":"replace","path":"`+strings.ToUpper(enterprise)+`:DEPARTMENT","value":"D2"}`), 200, map[string]any{enterprise: map[string]any{"department": "D2"}}}}},
	{"7643 §4.1.1: userName is required and unique, whatever its case and width", []step{
		{`POST /Users {"displayName":"nobody"}`, 400, errorOf("invalidValue")},
		{`POST /Users {"userName":"ANN@EXAMPLE.COM"}`, 409, errorOf("uniqueness")},
		{`POST /Users {"userName":"ａnn@example.com"}`, 409, errorOf("uniqueness")},
		{`PATCH /Users/{id} ` + patch(`{"op":"remove","path":"userName"}`), 400, errorOf("mutability")}}},
	{"7643 §4.1.1: a password is taken, and never seen again", []step{
		{`PATCH /Users/{id} ` + patch(`{"op":"replace","path":"password","value":"hunter2"}`), 200, map[string]any{"password": "(absent)"}},
		{`GET /Users?filter=password+eq+"hunter2"`, 400, errorOf("invalidFilter")},
		{`GET /Users/{id}?attributes=password`, 200, map[string]any{"password": "(absent)"}}}},
	{"7643 §4.1.2: groups of a user are computed, and direct", []step{
		{`PATCH /Groups/{gid} ` + patch(`{"op":"add","path":"members","value":[{"value":"{id}"}]}`), 204, nil},
		{`GET /Users/{id}`, 200, map[string]any{"groups": []any{map[string]any{"value": "{gid}", "display": "Staff", "type": "direct"}}}},
		{`GET /Users?filter=groups.display+eq+"staff"`, 200, total(1)}}},
	{"7643 §4.1.2: every attribute of a user is kept as sent", []step{
		{`PATCH /Users/{id} ` + patch(`{"op":"add","value":{"phoneNumbers":[{"value":"tel:+1-201-555-0123","type":"work"}],"ims":[{"value":"x","type":"xmpp"}],
			"photos":[{"value":"https://x/p","type":"photo"}],"addresses":[{"type":"work","country":"US"}],"entitlements":[{"value":"e"}],"roles":[{"value":"r"}],"x509Certificates":[{"value":"MIID"}],
			"locale":"not-a-locale","timezone":"Mars","profileUrl":"no url"}`+`}`), 200, map[string]any{"locale": "not-a-locale", "timezone": "Mars", "profileUrl": "no url",
			"x509Certificates": []any{map[string]any{"value": "MIID"}}, "entitlements": []any{map[string]any{"value": "e"}}, "photos": []any{map[string]any{"type": "photo"}}}}}},
	{"7643 §4.2: a group has a name and members of two types", []step{
		{`POST /Groups {"members":[]}`, 400, errorOf("invalidValue")},
		{`POST /Groups {"displayName":"STAFF"}`, 409, errorOf("uniqueness")},
		{`POST /Groups {"displayName":"Outer","members":[{"value":"{gid}"}]}`, 201, map[string]any{"members": []any{map[string]any{"value": "{gid}", "type": "Group"}}}},
		{`PATCH /Groups/{gid} ` + patch(`{"op":"replace","path":"members.value","value":"x"}`), 400, errorOf("mutability")}}},
	{"7643 §4.3: the manager's name is ours to say", []step{
		{`PATCH /Users/{id} ` + patch(`{"op":"add","path":"`+enterprise+`:manager","value":{"value":"26118915","displayName":"Boss"}}`), 200, map[string]any{enterprise: map[string]any{"manager": map[string]any{"value": "26118915", "displayName": "(absent)"}}}}}},
	{"8259 §8.1: a byte order mark before the JSON is passed over", []step{
		{"POST /Users \ufeff" + `{"userName":"marked"}`, 201, map[string]any{"userName": "marked"}}, {"POST /Users \ufeff", 400, errorOf("invalidSyntax")}}},
	{"7644 §3.3: what is made is told, with where it is", []step{
		{`POST /Users {"userName":"new"}`, 201, map[string]any{"userName": "new", "active": true, "meta": map[string]any{"resourceType": "User"}}},
		{`POST / {"userName":"new"}`, 404, errorOf("")}, {`PUT / {}`, 405, errorOf("")}, {`POST /Nowhere {}`, 404, errorOf("")},
		{`POST /Users {"userName":"ann@example.com"}`, 409, errorOf("uniqueness")}, {`POST /Users {`, 400, errorOf("invalidSyntax")}}},
	{"7644 §3.4.2: a query that finds nothing succeeds", []step{
		{`GET /Users?filter=userName+eq+"nobody"`, 200, map[string]any{"totalResults": 0.0, "Resources": []any{}, "schemas": []any{"urn:ietf:params:scim:api:messages:2.0:ListResponse"}}}}},
	{"7644 §3.4.2.2: what cannot be filtered by is refused, never everything returned", []step{
		{`GET /Users?filter=nonsense+eq+"x"`, 400, errorOf("invalidFilter")}, {`GET /Users?filter=userName+is+"x"`, 400, errorOf("invalidFilter")},
		{`GET /Users?filter=active+gt+true`, 400, errorOf("invalidFilter")}, {`GET /Users?filter=x509Certificates.value+gt+"x"`, 400, errorOf("invalidFilter")},
		{`GET /Users?filter=userName+eq+"a%zz"`, 400, errorOf("")}, {`GET /Users?filter=userName+eq+"a;b"`, 200, total(0)},
		{`GET /Users?filter=userName+eq+"%ff"`, 400, errorOf("invalidFilter")},
		{`GET /Users?filter=active+co+"tr"`, 400, errorOf("invalidFilter")}, {`GET /Users?filter=active+eq+5`, 400, errorOf("invalidFilter")},
		{`GET /Users?filter=meta.created+gt+"yesterday"`, 400, errorOf("invalidFilter")}, {`GET /Users?filter=userName+gt+null`, 400, errorOf("invalidFilter")},
		{`GET /Users?filter=name+eq+"Ann"`, 400, errorOf("invalidFilter")}}},
	{"7644 §3.4.2.2: schemas, whole extensions and complex attributes are filtered by", []step{
		{`GET /Users?filter=schemas+eq+"` + strings.ToUpper(enterprise) + `"`, 200, total(1)}, {`GET /Users?filter=schemas+eq+"urn:other"`, 200, total(0)},
		{`GET /Users?filter=` + enterprise + `+pr`, 200, total(1)}, {`GET /Users?filter=name+eq+null`, 200, total(0)}, {`GET /Users?filter=name+ne+null`, 200, total(1)},
		{`GET /Users?filter=addresses+eq+null`, 200, total(1)}, {`GET /Users?filter=active+eq+True`, 200, total(1)}, {`GET /Users?filter=userName+ne+7`, 200, total(1)},
		{`GET /Users?filter=meta.created+gt+"2020-01-01T00:00:00"`, 200, total(1)}}},
	{"7644 §3.4.2.2: groups are filtered by whatever is said of a member", []step{
		{`PATCH /Groups/{gid} ` + patch(`{"op":"add","path":"members","value":[{"value":"{id}"}]}`), 204, nil},
		{`POST /Groups {"displayName":"Outer","members":[{"value":"{gid}"}]}`, 201, nil}, {`POST /Groups {"displayName":"Empty"}`, 201, nil},
		{`GET /Groups?filter=members.type+eq+"User"`, 200, total(1)}, {`GET /Groups?filter=members[type+eq+"group"]`, 200, total(1)},
		{`GET /Groups?filter=members[value+eq+"{id}"+and+type+eq+"User"]`, 200, total(1)}, {`GET /Groups?filter=members[value+eq+"{id}"+and+type+eq+"Group"]`, 200, total(0)},
		{`GET /Groups?filter=members.value+sw+"{id}"`, 200, total(1)}, {`GET /Groups?filter=members.$ref+ew+"/Users/{id}"`, 200, total(1)},
		{`GET /Groups?filter=members+ne+"{id}"`, 200, total(2)}, {`GET /Groups?filter=members+eq+null`, 200, total(1)}, {`GET /Groups?filter=not+(members+pr)`, 200, total(1)},
		{`PATCH /Groups/{gid} ` + patch(`{"op":"remove","path":"members[type eq \"Group\"]"}`), 204, nil}, {`GET /Groups?filter=members+eq+"{id}"`, 200, total(1)},
		{`PATCH /Groups/{gid} ` + patch(`{"op":"remove","path":"members[type eq \"User\"]"}`), 204, nil}, {`GET /Groups?filter=members+eq+"{id}"`, 200, total(0)}}},
	{"7644 §3.4.2.4: pages", []step{
		{`GET /Users?startIndex=0&count=-3`, 200, map[string]any{"startIndex": 1.0, "itemsPerPage": 0.0, "totalResults": 1.0}},
		{`GET /Users?startIndex=50`, 200, map[string]any{"Resources": []any{}, "totalResults": 1.0}},
		{`GET /Users?count=many`, 400, errorOf("invalidValue")}}},
	{"7644 §3.9: attributes in a response", []step{
		{`GET /Users/{id}?attributes=name.givenName`, 200, map[string]any{"name": map[string]any{"givenName": "Ann", "familyName": "(absent)"}, "userName": "(absent)", "id": "{id}"}},
		{`GET /Users/{id}?excludedAttributes=emails,id,schemas`, 200, map[string]any{"emails": "(absent)", "id": "{id}", "userName": "Ann@example.com"}},
		{`GET /Users/{id}?attributes=title&excludedAttributes=name`, 400, errorOf("invalidValue")},
		{`PATCH /Users/{id}?attributes=title ` + patch(`{"op":"add","path":"title","value":"x"}`), 200, map[string]any{"title": "x", "userName": "(absent)"}},
		{`PUT /Users/{id}?excludedAttributes=meta {"userName":"a"}`, 200, map[string]any{"meta": "(absent)"}},
		{`POST /Users?attributes=userName {"userName":"b"}`, 201, map[string]any{"userName": "b", "meta": "(absent)"}}}},
	{"7644 §3.5.1: a PUT replaces everything, and makes nothing", []step{
		{`PUT /Users/{id} {"userName":"Ann@example.com"}`, 200, map[string]any{"title": "(absent)", "emails": "(absent)", enterprise: "(absent)", "active": true}},
		{`PUT /Users/0123456789abcdef0123456789abcdef {"userName":"new"}`, 404, errorOf("")}}},
	{"7644 §3.5.2: operations are done in order, all or none", []step{
		{`PATCH /Users/{id} ` + patch(`{"op":"replace","path":"title","value":"1"},{"op":"replace","path":"title","value":"2"}`), 200, map[string]any{"title": "2"}},
		{`PATCH /Users/{id} ` + patch(`{"op":"replace","path":"title","value":"3"},{"op":"fly","path":"title"}`), 400, errorOf("invalidSyntax")},
		{`PATCH /Users/{id} {"Operations":[]}`, 400, errorOf("invalidSyntax")},
		{`GET /Users/{id}`, 200, map[string]any{"title": "2"}}}},
	{"7644 §3.5.2: add and replace have a value, and nothing is guessed in its place", []step{
		{`PATCH /Groups/{gid} ` + patch(`{"op":"add","path":"members","value":[{"value":"{id}"}]}`), 204, nil},
		{`PATCH /Groups/{gid} ` + patch(`{"op":"replace","path":"members"}`), 400, errorOf("invalidValue")},
		{`GET /Groups?filter=members+eq+"{id}"`, 200, total(1)},
		{`PATCH /Users/{id} ` + patch(`{"op":"add","path":"title"}`), 400, errorOf("invalidValue")},
		{`PATCH /Users/{id} ` + patch(`{"op":"replace","path":"active"}`), 400, errorOf("invalidValue")},
		{`GET /Users/{id}`, 200, map[string]any{"active": true, "title": "Clerk"}}}},
	{"7644 §3.5.2.1: add", []step{
		{`PATCH /Users/{id} ` + patch(`{"op":"add","value":{"nickName":"A","name":{"middleName":"M"}}}`), 200, map[string]any{"nickName": "A", "name": map[string]any{"givenName": "Ann", "middleName": "M"}}}}},
	{"7644 §3.5.2.2: remove", []step{
		{`PATCH /Users/{id} ` + patch(`{"op":"remove"}`), 400, errorOf("noTarget")},
		{`PATCH /Users/{id} ` + patch(`{"op":"remove","path":"nickName"}`), 200, nil},
		{`PATCH /Users/{id} ` + patch(`{"op":"remove","path":"emails[type eq \"home\"]"}`), 200, map[string]any{"emails": []any{map[string]any{"type": "work"}}}},
		{`PATCH /Users/{id} ` + patch(`{"op":"remove","path":"emails[type eq \"work\"]"}`), 200, map[string]any{"emails": "(absent)"}}}},
	{"7644 §3.5.2.3: replace", []step{
		{`PATCH /Users/{id} ` + patch(`{"op":"replace","path":"emails[type eq \"work\"].value","value":"w@x"}`), 200, map[string]any{"emails": []any{map[string]any{"value": "w@x", "primary": true}, map[string]any{"type": "home"}}}},
		{`PATCH /Users/{id} ` + patch(`{"op":"replace","path":"emails[value co \"nothing\"].display","value":"x"}`), 400, errorOf("noTarget")},
		{`PATCH /Users/{id} ` + patch(`{"op":"replace","path":"emails","value":[{"value":"only@x"}]}`), 200, map[string]any{"emails": []any{map[string]any{"value": "only@x"}}}}}},
	{"7644 §3.6: what is deleted is gone, and its name free", []step{
		{`DELETE /Users/{id}`, 204, nil}, {`GET /Users/{id}`, 404, errorOf("")}, {`DELETE /Users/{id}`, 404, errorOf("")},
		{`PATCH /Users/{id} ` + patch(`{"op":"add","path":"title","value":"x"}`), 404, errorOf("")}, {`GET /Users?filter=externalId+eq+"Ext-1"`, 200, total(0)},
		{`POST /Users {"userName":"ann@example.com"}`, 201, nil}}},
	{"7644 §3.8: media types", []step{
		{`GET /Users.json`, 404, errorOf("")}}},
	{"7644 §3.10: names may begin with their URN", []step{
		{`GET /Users?filter=` + coreUser + `:name.familyName+eq+"lee"+and+` + enterprise + `:department+eq+"d1"`, 200, total(1)},
		{`GET /Users/{id}?attributes=` + coreUser + `:userName,` + enterprise + `:department`, 200, map[string]any{"userName": "Ann@example.com", enterprise: map[string]any{"department": "D1"}, "title": "(absent)"}}}},
	{"7644 §3.11: /Me is nobody", []step{{`GET /Me`, 501, errorOf("")}, {`PATCH /Me {}`, 501, errorOf("")}}},
	{"7644 §3.12: paths and values that are none", []step{
		{`PATCH /Users/{id} ` + patch(`{"op":"add","path":"emails[type eq","value":"x"}`), 400, nil},
		{`PATCH /Users/{id} ` + patch(`{"op":"add","path":"title[a eq \"b\"]","value":"x"}`), 400, errorOf("invalidPath")},
		{`PATCH /Users/{id} ` + patch(`{"op":"add","path":7,"value":"x"}`), 400, errorOf("invalidPath")}}},
	{"7644 §4: discovery is not filtered, and cannot be changed", []step{
		{`GET /Schemas?filter=id+pr`, 403, errorOf("")}, {`GET /ResourceTypes?filter=id+pr`, 403, errorOf("")}, {`GET /ServiceProviderConfig?filter=id+pr`, 403, errorOf("")},
		{`GET /ResourceTypes/User?filter=id+pr`, 403, errorOf("")}, {`GET /Schemas/` + coreUser + `?filter=id+pr`, 403, errorOf("")},
		{`POST /Schemas {}`, 405, errorOf("")}, {`DELETE /ServiceProviderConfig`, 405, errorOf("")}, {`GET /Schemas/urn:nothing`, 404, errorOf("")},
		{`GET /ResourceTypes/Group`, 200, map[string]any{"endpoint": "/Groups"}},
		{`GET /Schemas?startIndex=2&count=1&sortBy=id`, 200, map[string]any{"totalResults": 3.0}}}},
}

func TestRFC(t *testing.T) {
	for _, d := range demands {
		t.Run(d.about, func(t *testing.T) {
			c := newClient(t)
			_, user := c.do("POST", "/Users", theUser)
			_, group := c.do("POST", "/Groups", `{"displayName":"Staff"}`)
			fill := strings.NewReplacer("{id}", user["id"].(string), "{gid}", group["id"].(string))
			for _, x := range d.steps {
				method, rest, _ := strings.Cut(fill.Replace(x.request), " ")
				path, body, _ := strings.Cut(rest, " ")
				path = strings.ReplaceAll(path, `"`, "%22")
				resp, result := c.do(method, path, body)
				if resp.StatusCode != x.status {
					t.Errorf("%s: status %d, want %d: %v", x.request, resp.StatusCode, x.status, result)
					continue
				}
				if x.status >= 400 && (result["status"] != fmt.Sprint(x.status) || result["detail"] == "") {
					t.Errorf("%s is answered by %v", x.request, result)
				}
				compareJSON(t, x.request, result, filled(fill, x.has))
			}
		})
	}
}

// filled returns want with the IDs in it.
func filled(fill *strings.Replacer, want any) any {
	switch want := want.(type) {
	case string:
		return fill.Replace(want)
	case map[string]any:
		out := map[string]any{}
		for name, v := range want {
			out[name] = filled(fill, v)
		}
		return out
	case []any:
		out := make([]any, len(want))
		for i, v := range want {
			out[i] = filled(fill, v)
		}
		return out
	}
	return want
}

// TestHeaders: RFC 7644 §2, §3.1, §3.4.1, §3.5.2, §3.8, §3.14; RFC 9110 §9.3.2.
func TestHeaders(t *testing.T) {
	c := newClient(t)
	resp, u := c.do("POST", "/Users", theUser)
	meta := u["meta"].(map[string]any)
	if resp.Header.Get("Location") != meta["location"] || resp.Header.Get("ETag") != meta["version"] || resp.Header.Get("Content-Location") != meta["location"] {
		t.Errorf("a creation has the headers %v, and meta is %v", resp.Header, meta)
	}
	path := "/Users/" + u["id"].(string)
	get, _ := c.do("GET", path, "")
	head, _ := c.do("HEAD", path, "")
	if head.StatusCode != 200 || head.Header.Get("ETag") != get.Header.Get("ETag") || get.Header.Get("ETag") == "" || get.Header.Get("Location") == "" {
		t.Errorf("HEAD has %v, GET %v", head.Header, get.Header)
	}
	for name, header := range map[string]http.Header{
		"no Accept, no User-Agent": {"User-Agent": {""}}, "a charset": {"Content-Type": {`Application/SCIM+JSON; Charset=UTF-8`}}, "plain JSON": {"Content-Type": {"application/json"}},
		"no Content-Type": {}, "gzip": {"Accept-Encoding": {"gzip"}}, "an odd Accept": {"Accept": {"application/scim+json, application/json;q=0.9"}},
	} {
		if resp := c.with(http.MethodPatch, path, header, patch(`{"op":"replace","path":"title","value":"`+name+`"}`)); resp.StatusCode != 200 {
			t.Errorf("%s: status %d", name, resp.StatusCode)
		}
	}
	for _, media := range []string{"text/plain", "application/xml", "application/scim+xml", "multipart/form-data; boundary=x", "application/scim+json; charset=\""} {
		if resp := c.with(http.MethodPatch, path, http.Header{"Content-Type": {media}}, "{}"); resp.StatusCode != http.StatusUnsupportedMediaType {
			t.Errorf("%s: status %d", media, resp.StatusCode)
		}
	}
	tag := get.Header.Get("ETag")
	for _, x := range []struct {
		method, name, value string
		want                int
	}{
		{"GET", "If-None-Match", "*", 304}, {"GET", "If-None-Match", `"no", ` + tag, 200}, {"PUT", "If-Match", tag, 412}, {"DELETE", "If-Match", `"nonsense"`, 412},
		{"PUT", "If-Match", "*", 200}, {"GET", "If-Match", `"nonsense"`, 412}, {"PUT", "If-None-Match", "*", 412}, {"DELETE", "If-None-Match", "*", 412},
		{"GET", "Accept", "text/html, application/xml;q=0.9", 406}, {"GET", "Accept", "text/html,*/*;q=0.8", 200}, {"GET", "Accept", "APPLICATION/*", 200},
		{"PUT", "Content-Encoding", "gzip", 415}, {"PUT", "Content-Encoding", "identity", 200},
	} {
		if resp := c.with(x.method, path, http.Header{x.name: {x.value}}, `{"userName":"Ann@example.com"}`); resp.StatusCode != x.want {
			t.Errorf("%s with %s: %s: status %d, want %d", x.method, x.name, x.value, resp.StatusCode, x.want)
		}
	}
	options, _ := c.do("OPTIONS", path, "")
	if options.StatusCode != http.StatusMethodNotAllowed || options.Header.Get("Allow") != "GET, HEAD, PUT, PATCH, DELETE" {
		t.Errorf("OPTIONS: status %d, Allow %q", options.StatusCode, options.Header.Get("Allow"))
	}
}

func (c *client) with(method, path string, header http.Header, body string) *http.Response {
	c.t.Helper()
	req, err := http.NewRequest(method, c.base+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header = header.Clone()
	req.Header.Set("Authorization", "Bearer "+c.token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	resp.Body.Close()
	return resp
}

// TestPatch_WithoutEffectChangesNothing: RFC 7644 §3.5.2.1.
func TestPatch_WithoutEffectChangesNothing(t *testing.T) {
	c := newClient(t)
	_, u := c.do("POST", "/Users", theUser)
	_, g := c.do("POST", "/Groups", `{"displayName":"Staff","members":[{"value":"`+u["id"].(string)+`"}]}`)
	for _, x := range [][2]string{
		{"/Users/" + u["id"].(string), patch(`{"op":"Replace","path":"title","value":"Clerk"}`)},
		{"/Users/" + u["id"].(string), patch(`{"op":"add","path":"emails","value":[{"value":"ann@work.example","type":"work","primary":true}]}`)},
		{"/Users/" + u["id"].(string), patch(`{"op":"remove","path":"nickName"},{"op":"remove","path":"phoneNumbers[type eq \"fax\"]"}`)},
		{"/Groups/" + g["id"].(string), patch(`{"op":"Add","path":"members","value":[{"value":"` + u["id"].(string) + `"}]}`)},
		{"/Groups/" + g["id"].(string), patch(`{"op":"Remove","path":"members","value":[{"value":"0123456789abcdef0123456789abcdef"}]}`)},
		{"/Groups/" + g["id"].(string), patch(`{"op":"replace","value":{"id":"` + g["id"].(string) + `","displayName":"Staff"}}`)},
	} {
		_, before := c.do("GET", x[0], "")
		c.do("PATCH", x[0], x[1])
		if _, after := c.do("GET", x[0], ""); fmt.Sprint(after) != fmt.Sprint(before) {
			t.Errorf("%s makes of\n%v\n%v", x[1], before, after)
		}
	}
}

// TestDiscovery_AdvertisesWhatHolds: RFC 7643 §5, RFC 9865 §3.
func TestDiscovery_AdvertisesWhatHolds(t *testing.T) {
	c := newClient(t)
	_, config := c.do("GET", "/ServiceProviderConfig", "")
	compareJSON(t, "the configuration", config, map[string]any{
		"patch": map[string]any{"supported": true}, "sort": map[string]any{"supported": true}, "etag": map[string]any{"supported": true}, "changePassword": map[string]any{"supported": false},
		"bulk":       map[string]any{"supported": true, "maxOperations": 1000.0, "maxPayloadSize": float64(4 << 20)},
		"filter":     map[string]any{"supported": true, "maxResults": 1000.0},
		"pagination": map[string]any{"cursor": true, "index": true, "defaultPaginationMethod": "index", "maxPageSize": 1000.0, "defaultPageSize": 100.0, "cursorTimeout": 3600.0},
	})
	c.createUsers(101)
	if _, page := c.do("GET", "/Users", ""); page["itemsPerPage"] != 100.0 || page["nextCursor"] != nil {
		t.Errorf("without a method, a page has %v and the cursor %v", page["itemsPerPage"], page["nextCursor"])
	}
	_, schemas := c.do("GET", "/Schemas", "")
	var urns []string
	for _, one := range schemas["Resources"].([]any) {
		urns = append(urns, one.(map[string]any)["id"].(string))
	}
	if !slices.Equal(urns, []string{coreUser, enterprise, "urn:ietf:params:scim:schemas:core:2.0:Group"}) {
		t.Errorf("schemas are %v", urns)
	}
}

var timePattern = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$`)

// TestMeta_TimesAreUTC: RFC 7643 §2.3.5.
func TestMeta_TimesAreUTC(t *testing.T) {
	c := newClient(t)
	_, u := c.do("POST", "/Users", theUser)
	meta := u["meta"].(map[string]any)
	if !timePattern.MatchString(meta["created"].(string)) || !timePattern.MatchString(meta["lastModified"].(string)) {
		t.Errorf("meta is %v", meta)
	}
}

// TestProtocolVersion: RFC 7644 §3.13.
func TestProtocolVersion(t *testing.T) {
	c := newClient(t)
	root := strings.TrimSuffix(c.base, "/v2")
	for base, want := range map[string]int{root: 200, root + "/v2": 200, root + "/v1": 404, root + "/v3": 404, root + "/v2/": 200, root + "/": 200, root + "//v2": 404, root + "/v2//": 404} {
		if resp, _ := (&client{t, base, c.token}).do("GET", "/Users", ""); resp.StatusCode != want {
			t.Errorf("%s: status %d, want %d", base, resp.StatusCode, want)
		}
	}
	if resp, _ := c.do("GET", "/Users/?aadOptscim062020", ""); resp.StatusCode != 200 {
		t.Errorf("a slash at the end and Entra's flag: status %d", resp.StatusCode)
	}
}

// TestServer_StoresNoSecret: neither a password nor a token is in the store, nor
// in any response (RFC 7643 §9.2).
func TestServer_StoresNoSecret(t *testing.T) {
	base, token, d, _ := serveWith(t, scim.Defaults())
	c := &client{t, base, token}
	_, u := c.do("POST", "/Users", `{"userName":"u","password":"hunter2-canary"}`)
	path := "/Users/" + u["id"].(string)
	c.do("PATCH", path, patch(`{"op":"replace","value":{"password":"hunter2-canary"}}`))
	c.do("PUT", path, `{"userName":"u","password":"hunter2-canary"}`)
	c.do("GET", "/Users?filter="+url.QueryEscape(`password eq "hunter2-canary"`), "")
	_, now := c.do("GET", path, "")
	stored, _ := d.ByID(u["id"].(string))
	for where, text := range map[string]string{"the response": fmt.Sprint(now), "the store": string(stored.Document)} {
		if strings.Contains(text, "canary") {
			t.Errorf("%s tells the password: %s", where, text)
		}
	}
	if bytes.Contains([]byte(fmt.Sprint(now)), []byte(token)) {
		t.Error("the response has the token")
	}
}
