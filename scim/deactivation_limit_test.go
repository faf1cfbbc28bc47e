package scim_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"testing"
	"time"

	"sallyport/audit"
	"sallyport/scim"
)

// TestDeactivationLimit_HoldsBeyond: deactivations beyond the limit are held, whichever
// request asks for them; other changes are not, and an operator can release what is held.
func TestDeactivationLimit_HoldsBeyond(t *testing.T) {
	base, token, d, _ := serveWith(t, scim.Settings{MaxDeactivations: scim.DeactivationLimit{Count: 2, Per: time.Hour}})
	c := &client{t, base, token}
	var ids []string
	for i := range 6 {
		_, u := c.do("POST", "/Users", fmt.Sprintf(`{"userName":"u%d"}`, i))
		if u["id"] == nil {
			t.Fatal(u)
		}
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
			t.Errorf("%s: status %d, Retry-After %q", how, resp.StatusCode, resp.Header.Get("Retry-After"))
		}
	}
	for i := range 2 {
		if resp := set(i, false); resp.StatusCode != http.StatusOK {
			t.Fatalf("deactivation %d: status %d", i, resp.StatusCode)
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
	if names := heldNames(t, d); !slices.Equal(names, []string{"u2", "u3", "u4"}) {
		t.Errorf("the holds are %v", names)
	}
	if resp := set(0, true); resp.StatusCode != http.StatusOK {
		t.Errorf("a reactivation: status %d", resp.StatusCode)
	}
	if resp := set(1, false); resp.StatusCode != http.StatusOK {
		t.Errorf("deactivating the deactivated: status %d", resp.StatusCode)
	}
	if resp, _ := c.do("DELETE", "/Users/"+ids[1], ""); resp.StatusCode != http.StatusNoContent {
		t.Errorf("deleting the deactivated: status %d", resp.StatusCode)
	}
	if n, err := d.Release(context.Background(), audit.Actor{}, nil); n != 3 || err != nil {
		t.Errorf("%d are released, %v", n, err)
	}
	for i := 2; i < 5; i++ {
		if _, u := c.do("GET", "/Users/"+ids[i], ""); u["active"] != false {
			t.Errorf("released user %d is %v", i, u)
		}
		if resp := set(i, false); resp.StatusCode != http.StatusOK {
			t.Errorf("the provider's next try: status %d", resp.StatusCode)
		}
	}
	held("the next one", set(5, false))
}

func heldNames(t *testing.T, d *tenant) (names []string) {
	t.Helper()
	held, err := d.Holds(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range held {
		names = append(names, h.UserName)
	}
	slices.Sort(names)
	return names
}

// TestDeactivationLimit_HoldWaitsForOperator: it does not expire, but the
// identity provider may withdraw it, and an operator may reject it.
func TestDeactivationLimit_HoldWaitsForOperator(t *testing.T) {
	base, token, d, _ := serveWith(t, scim.Settings{MaxDeactivations: scim.DeactivationLimit{Count: 1, Per: time.Nanosecond}})
	c := &client{t, base, token}
	_, u := c.do("POST", "/Users", `{"userName":"u"}`)
	path := "/Users/" + u["id"].(string)
	hold := func(h scim.Hold) {
		t.Helper()
		if err := d.PutHold(context.Background(), h); err != nil {
			t.Fatal(err)
		}
	}
	set := func(active bool) int {
		t.Helper()
		resp, _ := c.do("PATCH", path, fmt.Sprintf(`{"Operations":[{"op":"replace","path":"active","value":%v}]}`, active))
		return resp.StatusCode
	}
	h := scim.Hold{ID: u["id"].(string), UserName: "u", Since: time.Now().Add(-48 * time.Hour)}
	hold(h)
	if got := set(false); got != http.StatusServiceUnavailable {
		t.Errorf("two days later it: status %d", got)
	}
	if n, err := d.Reject(context.Background(), []string{"U"}); n != 1 || err != nil {
		t.Fatalf("%d are rejected, %v", n, err)
	}
	if got := set(false); got != http.StatusConflict {
		t.Errorf("a rejected deactivation: status %d", got)
	}
	h.Rejected = time.Now().Add(-25 * time.Hour)
	hold(h)
	if got := set(false); got != http.StatusOK {
		t.Errorf("a day after the rejection it: status %d", got)
	}
	if got := set(true); got != http.StatusOK {
		t.Errorf("a reactivation: status %d", got)
	}
	hold(scim.Hold{ID: h.ID, UserName: "u", Since: time.Now()})
	if got := set(true); got != http.StatusOK || len(heldNames(t, d)) != 0 {
		t.Errorf("taking it back: status %d, held are %v", got, heldNames(t, d))
	}
	if _, err := d.Release(context.Background(), audit.Actor{}, []string{"nobody"}); err == nil {
		t.Error("what is held of nobody is released")
	}
}

// TestDeactivationLimit_IgnoresFailedChanges: a deactivation that failed is not counted.
func TestDeactivationLimit_IgnoresFailedChanges(t *testing.T) {
	base, token, _, _ := serveWith(t, scim.Settings{MaxDeactivations: scim.DeactivationLimit{Count: 1, Per: time.Hour}})
	c := &client{t, base, token}
	_, _ = c.do("POST", "/Users", `{"userName":"taken"}`)
	_, u := c.do("POST", "/Users", `{"userName":"u"}`)
	path := "/Users/" + u["id"].(string)
	for range 3 {
		if resp, _ := c.do("PUT", path, `{"userName":"taken","active":false}`); resp.StatusCode != http.StatusConflict {
			t.Fatalf("a taken name: status %d", resp.StatusCode)
		}
	}
	if resp, _ := c.do("PUT", path, `{"userName":"u","active":false}`); resp.StatusCode != http.StatusOK {
		t.Errorf("the first deactivation: status %d", resp.StatusCode)
	}
}
