package admin_test

import (
	"net/http"
	"strings"
	"testing"
)

// TestSuspend_OutlivesUser checks that deleting a suspended person and creating them again lifts nothing, that they are
// listed meanwhile, and that Unsuspend ends it before and after.
func TestSuspend_OutlivesUser(t *testing.T) {
	// An inactive user, so that deleting them counts as no deactivation.
	const document = `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"bob@example.com","externalId":"b-1","active":false}`
	w := newWorld(t)
	listed := func() (all []string) {
		users, err := w.Users(t.Context(), ada)
		must(t, err)
		for _, u := range users {
			line := u.UserName + " " + u.Suspended
			if u.Deleted {
				line += " deleted"
			}
			all = append(all, line)
		}
		return all
	}
	want := func(when, want string) {
		t.Helper()
		if got := strings.Join(listed(), ", "); got != want {
			t.Errorf("%s: %q, want %q", when, got, want)
		}
	}
	first := w.push("POST", "/Users", document, http.StatusCreated)
	_, err := w.Suspend(t.Context(), ada, "b-1", "stolen laptop")
	must(t, err)
	w.push("DELETE", "/Users/"+first, "", http.StatusNoContent)
	want("deleted", "bob@example.com stolen laptop deleted")
	second := w.push("POST", "/Users", document, http.StatusCreated)
	want("created again", "bob@example.com stolen laptop")
	must(t, w.Unsuspend(t.Context(), ada, "bob@example.com"))
	want("unsuspended", "bob@example.com ")
	w.push("DELETE", "/Users/"+second, "", http.StatusNoContent)
	want("deleted again", "")

	third := w.push("POST", "/Users", document, http.StatusCreated)
	_, err = w.Suspend(t.Context(), ada, third, "stolen laptop")
	must(t, err)
	w.push("DELETE", "/Users/"+third, "", http.StatusNoContent)
	for _, name := range []string{"nobody", ""} {
		if err := w.Unsuspend(t.Context(), ada, name); err == nil || !strings.Contains(err.Error(), "nobody has") {
			t.Errorf("unsuspending %q gives %v", name, err)
		}
	}
	must(t, w.Unsuspend(t.Context(), ada, "BOB@example.com"))
	want("unsuspended while deleted", "")
	w.push("POST", "/Users", document, http.StatusCreated)
	want("created once more", "bob@example.com ")
}
