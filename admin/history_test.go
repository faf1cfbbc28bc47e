package admin_test

import (
	"bytes"
	"net/http"
	"testing"
	"time"

	"sallyport/directory"
	"sallyport/store"
)

// TestHistory_NamesWhoMadeTheChange: the token that pushed, or the operator, also of changes that an operator decides
// about and the identity provider asked for.
func TestHistory_NamesWhoMadeTheChange(t *testing.T) {
	w := newWorld(t)
	demand := func(change string, by directory.Cause) {
		t.Helper()
		want := by.Kind + "\x00" + by.Name + "\x00" + by.ID
		if got := w.lastCause(); got != want {
			t.Errorf("%s was made by %q, want %q", change, got, want)
		}
	}
	user := w.createUser("bob@example.com")
	tokens, err := w.provisioning.Tokens(t.Context())
	must(t, err)
	token, operator := directory.Cause{Kind: "token", Name: "test", ID: tokens[0].ID}, directory.Cause{Kind: "operator", Name: "ada"}
	demand("a created user", token)
	group := w.push("POST", "/Groups", `{"displayName":"SRE","externalId":"g-1","members":[{"value":"`+user+`"}]}`, http.StatusCreated)
	demand("a created group", token)
	past, err := w.directory.At(t.Context(), time.Now())
	must(t, err)
	members, err := w.directory.Memberships(t.Context(), past, group)
	must(t, err)
	if len(members) != 1 || members[0].ID != user || members[0].By != token || members[0].Revision != past.Revision {
		t.Errorf("the members are %+v", members)
	}
	_, err = w.Suspend(t.Context(), ada, user, "stolen laptop")
	must(t, err)
	demand("a suspension", operator)
	w.push("PATCH", "/Groups/"+group, `{"Operations":[{"op":"remove","path":"members","value":[{"value":"`+user+`"}]}]}`, http.StatusNoContent)
	demand("a removed member", token)
	must(t, w.Unsuspend(t.Context(), ada, user))
	demand("the end of a suspension", operator)
	held := w.holdDeactivation()
	demand("a created user whose deactivation is held", token)
	_, err = w.Release(t.Context(), ada, []string{held})
	must(t, err)
	demand("a released deactivation", operator)
	_, err = w.RemoveUser(t.Context(), ada, user)
	must(t, err)
	demand("a removed user", operator)
	must(t, w.RemoveGroup(t.Context(), ada, group))
	demand("a removed group", operator)
	w.push("DELETE", "/Users/"+w.push("POST", "/Users", `{"userName":"eve","active":false}`, http.StatusCreated), "", http.StatusNoContent)
	demand("a deleted user", token)
}

// lastCause returns kind, name and id of the cause in the newest record of the history.
func (w *world) lastCause() string {
	w.t.Helper()
	var record []byte
	must(w.t, w.store.View(w.t.Context(), func(r store.Reader) error {
		for e, err := range r.Scan([]byte("history/"), nil) {
			if err != nil {
				return err
			}
			if string(e.Key) != "history/head" {
				record = bytes.Clone(e.Value)
			}
		}
		return nil
	}))
	var texts [][]byte
	rest := record[9:]
	for range 3 {
		texts = append(texts, rest[1:1+rest[0]])
		rest = rest[1+rest[0]:]
	}
	return string(bytes.Join(texts, []byte{0}))
}
