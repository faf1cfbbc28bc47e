package scim_test

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"testing"
	"time"

	"sallyport/scim"
)

// TestTheBrake: beyond so many deactivations the next are held, whichever way
// they come; everything else goes on, and an operator lets them through.
func TestTheBrake(t *testing.T) {
	base, token, _, server := serveWith(t, scim.Settings{MaxDeactivations: scim.Brake{Count: 2, Per: time.Hour}})
	c := &client{t, base, token}
	var ids []string
	for i := range 6 {
		_, u := c.do("POST", "/Users", fmt.Sprintf(`{"userName":"u%d"}`, i))
		ids = append(ids, u["id"].(string))
	}
	set := func(i int, active bool) *http.Response {
		resp, _ := c.do("PATCH", "/Users/"+ids[i], fmt.Sprintf(`{"Operations":[{"op":"replace","path":"active","value":%v}]}`, active))
		return resp
	}
	held := func(how string, resp *http.Response) {
		t.Helper()
		wait, err := strconv.Atoi(resp.Header.Get("Retry-After"))
		if resp.StatusCode != http.StatusServiceUnavailable || err != nil || wait < 1 || wait > 3600 {
			t.Errorf("%s answers %d, Retry-After %q", how, resp.StatusCode, resp.Header.Get("Retry-After"))
		}
	}
	for i := range 2 {
		if resp := set(i, false); resp.StatusCode != http.StatusOK {
			t.Fatalf("deactivation %d answers %d", i, resp.StatusCode)
		}
	}
	held("PATCH", set(2, false))
	put, _ := c.do("PUT", "/Users/"+ids[3], `{"userName":"u3","active":false}`)
	held("PUT", put)
	del, _ := c.do("DELETE", "/Users/"+ids[4], "")
	held("DELETE", del)
	for i := 2; i < 5; i++ {
		if _, u := c.do("GET", "/Users/"+ids[i], ""); u["active"] != true {
			t.Errorf("held user %d is %v", i, u)
		}
	}
	if names := server.Held(); !slices.Equal(names, []string{"u2", "u3", "u4"}) {
		t.Errorf("held are %v", names)
	}
	if resp := set(0, true); resp.StatusCode != http.StatusOK {
		t.Errorf("a reactivation answers %d", resp.StatusCode)
	}
	if resp := set(1, false); resp.StatusCode != http.StatusOK {
		t.Errorf("deactivating the deactivated answers %d", resp.StatusCode)
	}
	if resp, _ := c.do("DELETE", "/Users/"+ids[1], ""); resp.StatusCode != http.StatusNoContent {
		t.Errorf("deleting the deactivated answers %d", resp.StatusCode)
	}
	if n := server.Release(); n != 3 {
		t.Errorf("%d are released", n)
	}
	if resp := set(2, false); resp.StatusCode != http.StatusOK {
		t.Errorf("after the release it answers %d", resp.StatusCode)
	}
}

// TestAFailedChangeDoesNotUseTheBrakeUp: what did not come about is not counted.
func TestAFailedChangeDoesNotUseTheBrakeUp(t *testing.T) {
	base, token, _, _ := serveWith(t, scim.Settings{MaxDeactivations: scim.Brake{Count: 1, Per: time.Hour}})
	c := &client{t, base, token}
	_, _ = c.do("POST", "/Users", `{"userName":"taken"}`)
	_, u := c.do("POST", "/Users", `{"userName":"u"}`)
	path := "/Users/" + u["id"].(string)
	for range 3 {
		if resp, _ := c.do("PUT", path, `{"userName":"taken","active":false}`); resp.StatusCode != http.StatusConflict {
			t.Fatalf("a taken name answers %d", resp.StatusCode)
		}
	}
	if resp, _ := c.do("PUT", path, `{"userName":"u","active":false}`); resp.StatusCode != http.StatusOK {
		t.Errorf("the first deactivation answers %d", resp.StatusCode)
	}
}
