package scim_test

import (
	"net/http"
	"strconv"
	"testing"
)

// TestUser_ActiveOnlyIfTrue: whatever a client writes, only true activates a user.
func TestUser_ActiveOnlyIfTrue(t *testing.T) {
	c := newClient(t)
	for value, want := range map[string]any{ // nil: refused
		`true`: true, `"TRUE"`: true, `["True"]`: true, `null`: true, `false`: false, `"fALSE"`: false, `""`: false, `[]`: false, `[null]`: false, `[""]`: false,
		`{"value":""}`: false, `"yes"`: nil, `1`: nil, `"1"`: nil, `" true"`: nil, `{}`: nil, `[true,true]`: nil,
	} {
		resp, made := c.do("POST", "/Users", `{"userName":`+strconv.Quote(value)+`,"active":`+value+`}`)
		if want == nil && resp.StatusCode != http.StatusBadRequest || want != nil && made["active"] != want {
			t.Errorf("a user made with %s: status %d, active %v, want %v", value, resp.StatusCode, made["active"], want)
		}
	}
	for i, body := range []string{ // none of them says that the user is active
		`"` + coreUser + `:active":""`, `"` + coreUser + `:active":[]`, `"` + coreUser + `:ACTIVE":[null]`, `"URN:IETF:params:scim:schemas:core:2.0:User:active":""`,
		`"` + coreUser + `.active":""`, `"` + coreUser + `.active":false`, `"` + coreUser + `.active":"False"`, `"` + coreUser + `":{"active":""}`, `"` + coreUser + `":{"Active":false}`,
		`"active.value":false`, `"active.value":""`,
		`"` + coreUser + `:active":"yes"`, `"active":true,"` + coreUser + `:active":""`, `"active":true,"` + coreUser + `:active":false`, `"active":false,"` + coreUser + `:active":true`,
		`"active":"","` + coreUser + `":{"active":true}`,
	} {
		if _, made := c.do("POST", "/Users", `{"userName":"spelled`+strconv.Itoa(i)+`",`+body+`}`); made["active"] == true {
			t.Errorf("%s makes an active user", body)
		}
	}
	for i, body := range []string{`"` + coreUser + `:active":"True"`, `"` + coreUser + `.active":true`, `"` + coreUser + `":{"active":true}`, `"` + coreUser + `:active":null`} {
		if resp, made := c.do("POST", "/Users", `{"userName":"active`+strconv.Itoa(i)+`",`+body+`}`); made["active"] != true {
			t.Errorf("with %s the user is not active: status %d, %v", body, resp.StatusCode, made)
		}
	}
	_, u := c.do("POST", "/Users", `{"userName":"u","active":false}`)
	path := "/Users/" + u["id"].(string)
	for _, value := range []string{`""`, `null`, `[]`, `[""]`, `[null]`, `"yes"`, `1`, `{}`, `{"value":null}`, `[{"value":""}]`} {
		for _, operation := range []string{`{"op":"replace","path":"active","value":` + value + `}`, `{"op":"Add","value":{"active":` + value + `}}`, `{"op":"remove","path":"active","value":` + value + `}`} {
			c.do("PATCH", path, patch(operation))
			if _, now := c.do("GET", path, ""); now["active"] == true {
				t.Errorf("after %s, active is %v", operation, now["active"])
			}
		}
		c.do("PUT", path, `{"userName":"u","active":`+value+`}`)
		if _, now := c.do("GET", path, ""); now["active"] == true {
			t.Errorf("after a PUT of %s, active is %v", value, now["active"])
		}
	}
	c.do("PATCH", path, patch(`{"op":"replace","path":"active","value":true}`))
	if _, now := c.do("PATCH", path, patch(`{"op":"remove","path":"active"}`)); now["active"] == true {
		t.Errorf("what is not said any more leaves active %v", now["active"])
	}
}
