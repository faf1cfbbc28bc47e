package scim_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// TestBulk: RFC 7644 §3.7, one row a request; want is the status of each operation.
func TestBulk(t *testing.T) {
	for _, b := range []struct {
		name, operations, more, want string
	}{
		{"one after the other", `{"method":"POST","path":"/Users","bulkId":"a","data":{"userName":"a"}},
			{"method":"PATCH","path":"/Users/bulkId:a","data":{"Operations":[{"op":"add","path":"title","value":"t"}]}},
			{"method":"PUT","path":"/Users/bulkId:a","data":{"userName":"b"}},{"method":"DELETE","path":"/Users/bulkId:a"}`, "", "201 200 200 204"},
		{"a reference forwards", `{"method":"POST","path":"/Groups","bulkId":"g","data":{"displayName":"g","members":[{"value":"bulkId:a"}]}},
			{"method":"POST","path":"/Users","bulkId":"a","data":{"userName":"a"}}`, "", "201 201"},
		{"a circle of groups", `{"method":"POST","path":"/Groups","bulkId":"g","data":{"displayName":"g","members":[{"value":"bulkId:h"}]}},
			{"method":"POST","path":"/Groups","bulkId":"h","data":{"displayName":"h","members":[{"value":"bulkId:g"}]}}`, "", "201 201"},
		{"one's own manager", `{"method":"POST","path":"/Users","bulkId":"a","data":{"userName":"a",
			"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User":{"manager":{"value":"bulkId:a"}}}}`, "", "201"},
		{"nothing of that name", `{"method":"POST","path":"/Groups","bulkId":"g","data":{"displayName":"g","members":[{"value":"bulkId:nobody"}]}}`, "", "409"},
		{"what was refused", `{"method":"POST","path":"/Groups","bulkId":"g","data":{"displayName":"g","members":[{"value":"bulkId:a"}]}},
			{"method":"POST","path":"/Users","bulkId":"a","data":{"title":"no name"}}`, "", "409 400"},
		{"a circle through a path", `{"method":"PATCH","path":"/Groups/bulkId:g","data":{"Operations":[{"op":"add","path":"members","value":[{"value":"bulkId:a"}]}]}},
			{"method":"POST","path":"/Groups","bulkId":"g","data":{"displayName":"g","members":[{"value":"bulkId:a"}]}},{"method":"POST","path":"/Users","bulkId":"a","data":{"userName":"a"}}`, "", "204 201 201"},
		{"twice the same", `{"method":"POST","path":"/Users","bulkId":"a","data":{"userName":"a"}},{"method":"POST","path":"/Users","bulkId":"b","data":{"userName":"A"}}`, "", "201 409"},
		{"failing on the first", `{"method":"POST","path":"/Users","bulkId":"a","data":{}},{"method":"POST","path":"/Users","bulkId":"b","data":{"userName":"b"}}`, `,"failOnErrors":1`, "400"},
		{"failing on the second", `{"method":"POST","path":"/Users","bulkId":"a","data":{}},{"method":"POST","path":"/Users","bulkId":"b","data":{"userName":"b"}},
			{"method":"DELETE","path":"/Users/x"},{"method":"DELETE","path":"/Users/y"}`, `,"failOnErrors":2`, "400 201 404"},
		{"no bulkId", `{"method":"POST","path":"/Users","data":{"userName":"a"}}`, "", "400"},
		{"no data", `{"method":"POST","path":"/Users","bulkId":"a"}`, "", "400"},
		{"a strange path", `{"method":"DELETE","path":"/Users/a/b"},{"method":"DELETE","path":"/Users"},{"method":"POST","path":"/Me","bulkId":"m","data":{}},{"method":"GET","path":"/Users"}`, "", "400 400 400 400"},
		{"lower case", `{"method":"post","path":"Users","bulkId":"a","data":{"userName":"a"}}`, "", "201"},
		{"another version", `{"method":"POST","path":"/Users","bulkId":"a","data":{"userName":"a"}},{"method":"DELETE","path":"/Users/bulkId:a","version":"W/\"7\""}`, "", "201 412"},
	} {
		t.Run(b.name, func(t *testing.T) {
			c := newClient(t)
			resp, result := c.do("POST", "/Bulk", `{"schemas":["urn:ietf:params:scim:api:messages:2.0:BulkRequest"],"Operations":[`+b.operations+`]`+b.more+`}`)
			if resp.StatusCode != http.StatusOK {
				t.Fatal(result)
			}
			var got []string
			for _, one := range result["Operations"].([]any) {
				o := one.(map[string]any)
				got = append(got, o["status"].(string))
				created := o["method"] == "POST" && o["status"] == "201"
				if created && (o["location"] == nil || o["version"] == nil || o["bulkId"] == nil) {
					t.Errorf("the result of a creation is %v", o)
				}
				if o["location"] == nil && o["method"] == "DELETE" && o["status"] != "400" {
					t.Errorf("the result of a deletion is %v", o)
				}
				if o["status"].(string) >= "400" && o["response"].(map[string]any)["detail"] == "" {
					t.Errorf("the result of a rejected operation is %v", o)
				}
			}
			if strings.Join(got, " ") != b.want {
				t.Errorf("the results are %v, want %s:\n%v", got, b.want, result)
			}
		})
	}
}

// TestBulk_ResolvesCycle: both resources refer to each other afterwards, and the version in the result is the last.
func TestBulk_ResolvesCycle(t *testing.T) {
	c := newClient(t)
	_, result := c.do("POST", "/Bulk", `{"Operations":[
		{"method":"POST","path":"/Groups","bulkId":"g","data":{"displayName":"g","members":[{"value":"bulkId:h"},{"value":"bulkId:u"}]}},
		{"method":"POST","path":"/Groups","bulkId":"h","data":{"displayName":"h","members":[{"value":"bulkId:g"}]}},
		{"method":"POST","path":"/Users","bulkId":"u","data":{"userName":"u","urn:ietf:params:scim:schemas:extension:enterprise:2.0:User":{"manager":{"value":"bulkId:u"}}}}]}`)
	ids := map[string]string{}
	for _, one := range result["Operations"].([]any) {
		o := one.(map[string]any)
		location := o["location"].(string)
		_, now := c.do("GET", location[strings.Index(location, "/scim/v2")+len("/scim/v2"):], "")
		ids[o["bulkId"].(string)] = now["id"].(string)
		if now["meta"].(map[string]any)["version"] != o["version"] {
			t.Errorf("the version told is %v, and it is %v", o["version"], now["meta"])
		}
	}
	_, g := c.do("GET", "/Groups/"+ids["g"], "")
	_, h := c.do("GET", "/Groups/"+ids["h"], "")
	_, u := c.do("GET", "/Users/"+ids["u"], "")
	if members(g) != members(map[string]any{"members": []any{map[string]any{"value": ids["h"]}, map[string]any{"value": ids["u"]}}}) ||
		members(h) != members(map[string]any{"members": []any{map[string]any{"value": ids["g"]}}}) {
		t.Errorf("members are %v and %v", g["members"], h["members"])
	}
	compareJSON(t, "the manager", u["urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"], map[string]any{"manager": map[string]any{"value": ids["u"]}})
}

// members returns the IDs of a group's members as one string that does not depend on their order.
func members(group map[string]any) string {
	set := map[string]bool{}
	list, _ := group["members"].([]any)
	for _, m := range list {
		set[m.(map[string]any)["value"].(string)] = true
	}
	return fmt.Sprint(set)
}

// TestBulk_IsBounded: RFC 7644 §3.7.4.
func TestBulk_IsBounded(t *testing.T) {
	c := newClient(t)
	many := strings.Repeat(`{"method":"DELETE","path":"/Users/x"},`, 1000) + `{"method":"DELETE","path":"/Users/x"}`
	for name, b := range map[string]struct {
		body string
		want int
	}{
		"many operations":      {`{"Operations":[` + many + `]}`, http.StatusRequestEntityTooLarge},
		"a large body":         {`{"Operations":[{"method":"POST","path":"/Users","bulkId":"a","data":{"userName":"` + strings.Repeat("x", 4<<20) + `"}}]}`, http.StatusRequestEntityTooLarge},
		"none":                 {`{"Operations":[]}`, http.StatusBadRequest},
		"one bulkId twice":     {`{"Operations":[{"method":"POST","path":"/Users","bulkId":"a","data":{"userName":"a"}},{"method":"POST","path":"/Users","bulkId":"a","data":{"userName":"b"}}]}`, http.StatusBadRequest},
		"failOnErrors as text": {`{"failOnErrors":"x","Operations":[{"method":"DELETE","path":"/Users/x"}]}`, http.StatusBadRequest},
	} {
		resp, result := c.do("POST", "/Bulk", b.body)
		if detail, _ := result["detail"].(string); resp.StatusCode != b.want || detail == "" || b.want == http.StatusRequestEntityTooLarge && !strings.Contains(detail, "maxPayloadSize") {
			t.Errorf("%s: status %d %v", name, resp.StatusCode, result)
		}
	}
	if _, all := c.do("GET", "/Users", ""); all["totalResults"] != 0.0 {
		t.Errorf("refused requests left %v", all)
	}
}
