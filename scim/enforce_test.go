package scim_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"sallyport/audit"
	"sallyport/enforce"
	"sallyport/scim"
	"sallyport/store"
)

// replicas are others that use the store, which make of changes what a test says.
type replicas struct {
	store.Store
	store.Leaser

	mu      sync.Mutex // guards the fields below
	asked   int
	unknown bool
	events  []audit.Event
}

func (r *replicas) Enforced(context.Context, store.Revision) (store.Enforcement, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked++
	if r.unknown {
		return store.Enforcement{Applied: []string{"replica-1"}, Waiting: []string{"replica-2"}}, context.DeadlineExceeded
	}
	return store.Enforcement{Applied: []string{"replica-1", "replica-2"}}, nil
}

func (r *replicas) record(e audit.Event) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
	return nil
}

// since returns how often the replicas were asked since the last call, and about what was recorded, in any order.
func (r *replicas) since() (asked int, recorded []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.events {
		recorded = append(recorded, fmt.Sprintf("%s %s %s%s", e.Reason, e.Detail["action"], e.UserName, e.Group))
	}
	slices.Sort(recorded)
	asked, r.asked, r.events = r.asked, 0, nil
	return asked, recorded
}

func (r *replicas) set(unknown bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.unknown = unknown
}

func newReplicas(t *testing.T, settings scim.Settings) (*replicas, *client, *tenant) {
	t.Helper()
	r := &replicas{}
	enforcer := enforce.New(r, 0, r.record, slog.New(slog.DiscardHandler))
	base, token, d, _ := serveEnforced(t, settings, nil, enforcer)
	return r, &client{t, base, token}, d
}

// TestEnforce_WaitsForWhateverConfirms: each request whose response says that a change is made, or that a resource is gone,
// waits for the replicas once, and its changes are recorded. The others do not wait.
func TestEnforce_WaitsForWhateverConfirms(t *testing.T) {
	r, c, _ := newReplicas(t, scim.Defaults())
	_, user := c.do("POST", "/Users", `{"userName":"ada"}`)
	_, group := c.do("POST", "/Groups", `{"displayName":"Sales"}`)
	created := slices.Sorted(slices.Values([]string{"everywhere create " + group["id"].(string), "everywhere create ada"}))
	if asked, recorded := r.since(); asked != 2 || !slices.Equal(recorded, created) {
		t.Errorf("creations: asked %d times, recorded %q", asked, recorded)
	}
	ada, sales := "/Users/"+user["id"].(string), "/Groups/"+group["id"].(string)
	inactive := `{"Operations":[{"op":"replace","path":"active","value":false}]}`
	for _, s := range []struct {
		name, method, path, body string
		status, asked            int
		recorded                 []string
	}{
		{"PATCH", "PATCH", ada, inactive, 200, 1, []string{"everywhere patch ada"}},
		{"the same PATCH", "PATCH", ada, inactive, 200, 1, nil},
		{"PUT", "PUT", ada, `{"userName":"eve"}`, 200, 1, []string{"everywhere replace eve"}},
		{"a PATCH that cannot be read", "PATCH", ada, `{`, 400, 0, nil},
		{"GET", "GET", ada, "", 200, 0, nil},
		{"search", "POST", "/Users/.search", `{"schemas":["urn:ietf:params:scim:api:messages:2.0:SearchRequest"]}`, 200, 0, nil},
		{"a name that is taken", "POST", "/Users", `{"userName":"EVE"}`, 409, 0, nil},
		{"member", "PATCH", sales, `{"Operations":[{"op":"add","path":"members","value":[{"value":"` + user["id"].(string) + `"}]}]}`, 204, 1, []string{"everywhere patch " + group["id"].(string)}},
		{"a user who never was", "PATCH", "/Users/0123456789abcdef0123456789abcdef", inactive, 404, 1, nil},
		{"no endpoint", "PUT", "/Nothing", "{}", 404, 0, nil},
		{"bulk", "POST", "/Bulk", `{"schemas":["urn:ietf:params:scim:api:messages:2.0:BulkRequest"],"Operations":[
			{"method":"PATCH","path":"` + ada + `","data":{"Operations":[{"op":"replace","path":"active","value":true}]}},
			{"method":"PATCH","path":"` + ada + `","data":{"Operations":[{"op":"replace","path":"active","value":true}]}},
			{"method":"POST","path":"/Users","bulkId":"b","data":{"userName":"eve"}},
			{"method":"POST","path":"/Users","bulkId":"c","data":{"userName":"bob"}}]}`, 200, 1, []string{"everywhere create bob", "everywhere patch eve"}},
		{"a bulk request that changes nothing", "POST", "/Bulk", `{"schemas":["urn:ietf:params:scim:api:messages:2.0:BulkRequest"],"Operations":[
			{"method":"PATCH","path":"` + ada + `","data":{"Operations":[{"op":"replace","path":"active","value":true}]}}]}`, 200, 1, nil},
		{"DELETE of a group", "DELETE", sales, "", 204, 1, []string{"everywhere delete " + group["id"].(string)}},
		{"DELETE", "DELETE", ada, "", 204, 1, []string{"everywhere delete eve"}},
		{"the same DELETE", "DELETE", ada, "", 404, 1, nil},
	} {
		resp, body := c.do(s.method, s.path, s.body)
		asked, recorded := r.since()
		if resp.StatusCode != s.status || asked != s.asked || !slices.Equal(recorded, s.recorded) {
			t.Errorf("%s: status %d, asked %d times, recorded %q: %v", s.name, resp.StatusCode, asked, recorded, body)
		}
	}
	c.token = "wrong"
	if resp, _ := c.do("DELETE", ada, ""); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("without a valid token: status %d", resp.StatusCode)
	}
	if asked, _ := r.since(); asked != 0 {
		t.Error("a request without a valid token has replicas asked")
	}
}

// TestEnforce_UnknownIsTriedAgain: a push of which it is not known whether it is enforced everywhere gets 503, and the
// same push, which changes nothing any more, is answered and recorded once that is known.
func TestEnforce_UnknownIsTriedAgain(t *testing.T) {
	r, c, d := newReplicas(t, scim.Defaults())
	_, user := c.do("POST", "/Users", `{"userName":"ada"}`)
	r.since()
	r.set(true)
	again := func(status int) {
		t.Helper()
		resp, body := c.do("DELETE", "/Users/"+user["id"].(string), "")
		if resp.StatusCode != status {
			t.Errorf("status %d: %v", resp.StatusCode, body)
		}
		if status == http.StatusServiceUnavailable && (resp.Header.Get("Retry-After") == "" || !strings.Contains(fmt.Sprint(body["detail"]), "The change is stored") || !strings.Contains(fmt.Sprint(body["detail"]), "Send the request again.")) {
			t.Errorf("Retry-After %q: %v", resp.Header.Get("Retry-After"), body)
		}
	}
	again(http.StatusServiceUnavailable)
	if _, recorded := r.since(); !slices.Equal(recorded, []string{"unknown delete ada"}) {
		t.Errorf("recorded %q", recorded)
	}
	if _, ok := d.ByID(user["id"].(string)); ok {
		t.Error("the change was not made")
	}
	again(http.StatusServiceUnavailable)
	r.set(false)
	again(http.StatusNotFound)
	if asked, recorded := r.since(); asked != 2 || !slices.Equal(recorded, []string{"everywhere  "}) {
		t.Errorf("asked %d times, recorded %q", asked, recorded)
	}
}

func TestEnforce_LocalDoesNotWait(t *testing.T) {
	settings := scim.Defaults()
	settings.Enforce = scim.EnforceLocal
	r, c, _ := newReplicas(t, settings)
	r.set(true)
	if resp, body := c.do("POST", "/Users", `{"userName":"ada"}`); resp.StatusCode != http.StatusCreated {
		t.Errorf("status %d: %v", resp.StatusCode, body)
	}
	if asked, recorded := r.since(); asked+len(recorded) != 0 {
		t.Errorf("asked %d times, recorded %q", asked, recorded)
	}
}

func TestSettings_EnforceIsAllOrLocal(t *testing.T) {
	for _, value := range []scim.Enforcement{"ALL", "some", "all "} {
		settings, faults := scim.Defaults(), 0
		settings.Enforce = value
		settings.Check(func(path, _ string) {
			if path == "enforce" {
				faults++
			}
		})
		if faults != 1 {
			t.Errorf("%q has %d faults", value, faults)
		}
	}
}
