package admin_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"sallyport/admin"
	"sallyport/audit"
)

func TestUsers_ShowSuspensions(t *testing.T) {
	w := newWorld(t)
	if users, err := w.Users(t.Context(), ada); err != nil || users == nil || len(users) != 0 {
		t.Errorf("an empty directory has the users %v, %v", users, err)
	}
	bob, _ := w.createUser("bob@example.com"), w.createUser("carol@example.com")
	w.beginSession(bob)
	w.beginSession(bob)
	ended, err := w.Suspend(t.Context(), ada, bob, "laptop stolen")
	if err != nil || ended != 2 {
		t.Errorf("suspending ends %d sessions, %v", ended, err)
	}
	users, err := w.Users(t.Context(), ada)
	must(t, err)
	for _, u := range users {
		want := ""
		if u.ID == bob {
			want = "laptop stolen"
		}
		if u.Suspended != want || !u.Active || !strings.HasSuffix(u.UserName, "@example.com") {
			t.Errorf("%+v is listed", u)
		}
	}
	if len(users) != 2 {
		t.Errorf("%d users are listed", len(users))
	}
}

func TestSuspend_RejectsWhatIsUnclear(t *testing.T) {
	w := newWorld(t)
	bob := w.createUser("bob@example.com")
	for name, c := range map[string]struct{ user, why, want string }{
		"unknown_user": {"nobody", "why", `nobody has the userName, e-mail, externalId or id "nobody"`},
		"no_reason":    {bob, " ", "say why"},
		"long_reason":  {bob, strings.Repeat("x", 501), "say why"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := w.Suspend(t.Context(), ada, c.user, c.why); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("the error is %v", err)
			}
		})
	}
	if err := w.Unsuspend(t.Context(), ada, bob); err == nil || !strings.Contains(err.Error(), "is not suspended") {
		t.Errorf("unsuspending a user who is not suspended gives %v", err)
	}
	if n := len(w.events()); n != 0 {
		t.Errorf("%d events are recorded, although nothing was to be done", n)
	}
}

func TestFindUser_AcceptsEveryName(t *testing.T) {
	w := newWorld(t)
	user := func(name, external, email string) (id string) {
		return w.push("POST", "/Users", fmt.Sprintf(`{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":%q,"externalId":%q,"emails":[{"value":%q,"primary":true}],"active":true}`,
			name, external, email), http.StatusCreated)
	}
	bob, carol := user("bob@example.com", "b-1", "bob@example.com"), user("carol@example.com", "c-1", "shared@example.com")
	dora := user("dora@example.com", "d-1", "shared@example.com")
	for name, want := range map[string]string{"BOB@example.com": bob, "b-1": bob, bob: bob, carol: carol, "d-1": dora, "dora@example.com": dora} {
		if got, err := w.FindUser(t.Context(), ada, name); err != nil || got != want {
			t.Errorf("%s names %s, %v", name, got, err)
		}
	}
	for name, want := range map[string]string{"B-1": "nobody has", "": "nobody has", "*": "nobody has", "shared@example.com": "names 2 users"} {
		if got, err := w.FindUser(t.Context(), ada, name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q names %s, %v", name, got, err)
		}
	}
	_, err := w.FindUser(t.Context(), ada, "shared@example.com")
	if err == nil || !strings.Contains(err.Error(), carol) || !strings.Contains(err.Error(), dora) {
		t.Errorf("the error does not say which: %v", err)
	}
}

func TestSessions_AreListedWhileTheyAreValid(t *testing.T) {
	w := newWorld(t)
	user := w.createUser("bob@example.com")
	id := w.beginSession(user)
	sessions, err := w.Sessions(t.Context(), ada)
	if err != nil || len(sessions) != 1 || sessions[0].ID != id || sessions[0].User != user || sessions[0].Address != "203.0.113.7" {
		t.Errorf("the sessions are %+v, %v", sessions, err)
	}
	if err := w.EndSession(t.Context(), ada, "unknown"); err == nil || !strings.Contains(err.Error(), `no live session has the id "unknown"`) {
		t.Errorf("ending an unknown session gives %v", err)
	}
	w.deactivate(user, http.StatusOK)
	if sessions, err := w.Sessions(t.Context(), ada); err != nil || sessions == nil || len(sessions) != 0 {
		t.Errorf("after the user was deactivated the sessions are %+v, %v", sessions, err)
	}
}

func TestTokens_ShowTheirTextOnce(t *testing.T) {
	w := newWorld(t)
	created, err := w.CreateToken(t.Context(), ada, "entra", time.Hour)
	must(t, err)
	if !strings.HasPrefix(string(created.Text), "sallyport_scim_") || created.Expires == nil {
		t.Errorf("the token is %+v", created)
	}
	successor, err := w.RotateToken(t.Context(), ada, created.ID, 0, time.Minute)
	must(t, err)
	if successor.Name != "entra" || successor.ID == created.ID || successor.Text == created.Text || successor.Expires != nil {
		t.Errorf("the successor is %+v", successor)
	}
	tokens, err := w.Tokens(t.Context(), ada)
	must(t, err)
	for _, token := range tokens {
		if token.Text != "" {
			t.Error("a token is listed with its text")
		}
		if token.ID == created.ID && (token.Expires == nil || time.Until(*token.Expires) > time.Minute) {
			t.Errorf("after its rotation the old token expires %v", token.Expires)
		}
	}
	for _, err := range []error{
		func() error { _, err := w.RevokeToken(t.Context(), ada, "unknown"); return err }(),
		func() error { _, err := w.RotateToken(t.Context(), ada, "unknown", 0, 0); return err }(),
	} {
		if err == nil || !strings.Contains(err.Error(), `no token has the id or name "unknown"`) {
			t.Errorf("the error is %v", err)
		}
	}
	if _, err := w.CreateToken(t.Context(), ada, "", 0); err == nil || !strings.Contains(err.Error(), "cannot be a token's name") {
		t.Errorf("a token without a name gives %v", err)
	}
	record, err := json.Marshal(w.events())
	must(t, err)
	for _, secret := range []admin.Secret{created.Text, successor.Text} {
		if strings.Contains(string(record), string(secret)) {
			t.Error("the text of a token is in the record")
		}
	}
}

func TestTokens_CanBeNamed(t *testing.T) {
	w := newWorld(t)
	expired, err := w.CreateToken(t.Context(), ada, "entra", time.Nanosecond)
	must(t, err)
	first, err := w.CreateToken(t.Context(), ada, "entra", time.Hour)
	must(t, err)
	successor, err := w.RotateToken(t.Context(), ada, "entra", 0, time.Hour)
	must(t, err)
	if former := w.lastEvents(1)[0].Detail["former"]; former != first.ID {
		t.Errorf("the token %s is rotated, want %s", former, first.ID)
	}
	_, err = w.RevokeToken(t.Context(), ada, "entra")
	if err == nil || !strings.Contains(err.Error(), first.ID) || !strings.Contains(err.Error(), successor.ID) || strings.Contains(err.Error(), expired.ID) {
		t.Errorf("with two valid tokens of that name the error is %v", err)
	}
	if revoked, err := w.RevokeToken(t.Context(), ada, first.ID); err != nil || revoked.ID != first.ID || revoked.Text != "" {
		t.Errorf("revoking by id revokes %+v, %v", revoked, err)
	}
	for _, want := range []string{successor.ID, expired.ID} {
		if revoked, err := w.RevokeToken(t.Context(), ada, "entra"); err != nil || revoked.ID != want || revoked.Expired != (want == expired.ID) {
			t.Errorf("revoking by name revokes %+v, %v, want %s", revoked, err, want)
		}
	}
}

func TestSecret_IsPrintedInJSONOnly(t *testing.T) {
	token := admin.Token{Text: "canary"}
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("", "text", token.Text)
	for _, text := range []string{fmt.Sprint(token), fmt.Sprintf("%+v %#v %s %q", token, token, token.Text, token.Text), log.String()} {
		if strings.Contains(text, "canary") {
			t.Errorf("the secret is in %s", text)
		}
	}
	if data, err := json.Marshal(token); err != nil || !strings.Contains(string(data), `"token":"canary"`) {
		t.Errorf("the secret is not in %s, %v", data, err)
	}
}

func TestStats_CountUsersAndPushes(t *testing.T) {
	w := newWorld(t)
	held := w.holdDeactivation()
	w.push("POST", "/Groups", `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:Group"],"displayName":"Staff","members":[{"value":"`+held+`"}]}`, http.StatusCreated)
	w.push("POST", "/Users", `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"guid","externalId":"61503835-0000-0000-0000-000000000001"}`, http.StatusCreated)
	stats, err := w.Stats(t.Context(), ada)
	if err != nil || stats.Users != 3 || stats.Active != 2 || stats.GUIDs != 1 || stats.Held != 1 || stats.Nested == nil {
		t.Errorf("the stats are %+v, %v", stats, err)
	}
	groups, err := w.Groups(t.Context(), ada)
	if err != nil || len(groups) != 1 || groups[0].Name != "Staff" || groups[0].Members != 1 {
		t.Errorf("the groups are %+v, %v", groups, err)
	}
	if _, err := w.ProvisioningLog(t.Context(), ada, 0, false); err == nil {
		t.Error("no entries can be asked for")
	}
	if _, err := w.ProvisioningLog(t.Context(), ada, 10, false); err != nil {
		t.Error(err)
	}
}

// TestRelease_NamesTheActorOfEachDeactivation reads the records that are committed with the changes themselves.
func TestRelease_NamesTheActorOfEachDeactivation(t *testing.T) {
	w := newWorld(t)
	held := w.holdDeactivation()
	if released, err := w.Release(t.Context(), ada, nil); err != nil || released != 1 {
		t.Fatalf("%d are released, %v", released, err)
	}
	ctx, stop := context.WithTimeout(t.Context(), 10*time.Second)
	defer stop()
	for rec, err := range w.directory.Records(ctx, 0) {
		must(t, err)
		var e audit.Event
		must(t, json.Unmarshal(rec.Event, &e))
		if e.Reason == "release" {
			if e.User != held || e.Actor != ada {
				t.Errorf("the deactivation of %s is recorded as %+v", held, e)
			}
			return
		}
	}
}
