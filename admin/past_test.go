package admin_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"sallyport/admin"
	"sallyport/directory"
)

// TestGroupAt_TellsMembersAndWhoMadeThem: members that are groups too, by the name that the group had.
func TestGroupAt_TellsMembersAndWhoMadeThem(t *testing.T) {
	w := newWorld(t)
	bob, eve := w.createUser("bob@example.com"), w.createUser("eve@example.com")
	inner := w.push("POST", "/Groups", `{"displayName":"Inner"}`, http.StatusCreated)
	group := w.push("POST", "/Groups", `{"displayName":"SRE","externalId":"g-1","members":[{"value":"`+bob+`"},{"value":"`+inner+`"}]}`, http.StatusCreated)
	then := time.Now()
	w.push("PATCH", "/Groups/"+group, `{"Operations":[{"op":"replace","path":"displayName","value":"Site Reliability"},{"op":"replace","path":"members","value":[{"value":"`+eve+`"}]}]}`, http.StatusNoContent)

	for name, want := range map[string]string{"sre": "Inner group, bob@example.com user", "g-1": "Inner group, bob@example.com user", group: "Inner group, bob@example.com user"} {
		g, err := w.GroupAt(t.Context(), ada, name, then)
		must(t, err)
		if got := membersOf(t, g); got != want || g.ID != group || g.Name != "SRE" {
			t.Errorf("%s was %+v with %s, want %s", name, g, got, want)
		}
	}
	g, err := w.GroupAt(t.Context(), ada, "Site Reliability", time.Now())
	must(t, err)
	if got := membersOf(t, g); got != "eve@example.com user" {
		t.Errorf("now the members are %s", got)
	}
	if _, err := w.GroupAt(t.Context(), ada, "Site Reliability", then); err == nil || !strings.Contains(err.Error(), `no group had the displayName, externalId or id "Site Reliability" at`) {
		t.Errorf("by its later name the group gives %v", err)
	}
	if _, err := w.GroupAt(t.Context(), ada, "SRE", then.Add(time.Hour)); !errors.Is(err, directory.ErrNoHistory) {
		t.Errorf("in the future: %v", err)
	}
}

func membersOf(t *testing.T, g admin.PastGroup) string {
	t.Helper()
	var list []string
	for _, m := range g.Members {
		if m.Since == nil || m.By == nil || m.By.Kind != "token" || m.Revision == 0 || m.Revision > g.Revision {
			t.Errorf("the member is %+v", m)
		}
		list = append(list, m.Name+" "+m.Kind)
	}
	return strings.Join(list, ", ")
}

// TestUserAt_FindsByNamesOfThatTime: by each name that a user had, and never by a guess.
func TestUserAt_FindsByNamesOfThatTime(t *testing.T) {
	w := newWorld(t)
	create := func(name, external, mail string) string {
		return w.push("POST", "/Users", `{"userName":"`+name+`","externalId":"`+external+`","active":true,"emails":[{"value":"`+mail+`"}]}`, http.StatusCreated)
	}
	bob, eve := create("bob@example.com", "x-1", "same@example.com"), create("eve@example.com", "x-2", "Same@Example.com")
	_, err := w.Suspend(t.Context(), ada, bob, "stolen laptop")
	must(t, err)
	then := time.Now()
	must(t, w.Unsuspend(t.Context(), ada, bob))
	w.push("PATCH", "/Users/"+bob, `{"Operations":[{"op":"replace","path":"userName","value":"robert@example.com"}]}`, http.StatusOK)

	for name, id := range map[string]string{"BOB@example.com": bob, "x-1": bob, bob: bob, "eve@example.com": eve} {
		u, err := w.UserAt(t.Context(), ada, name, then)
		if err != nil || u.ID != id || (u.Suspended == "stolen laptop") != (id == bob) || u.UserName == "robert@example.com" {
			t.Errorf("%s was %+v, %v", name, u, err)
		}
	}
	for name, why := range map[string]string{"robert@example.com": "nobody had the userName", "same@example.com": "named 2 users at", "X-1": "nobody had", "": "nobody had"} {
		if u, err := w.UserAt(t.Context(), ada, name, then); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%q was %+v, %v, want an error with %q", name, u, err, why)
		}
	}
}
