package proxy_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"sallyport/console/manage"
	"sallyport/directory"
	"sallyport/policy"
)

const consoleURL = "https://" + loginHost + manage.Path + "/"

// newConsoleEnv returns an env in which members of SRE administer the console, and members of Auditors look at it.
func newConsoleEnv(t *testing.T) *env {
	t.Helper()
	h := newEnv(t)
	h.change(func(tx *directory.Tx) error {
		return tx.PutGroup(&directory.Group{ExternalID: "g-aud", DisplayName: "Auditors"})
	})
	h.settings.Console = manage.Settings{Admins: manage.Members{Groups: []policy.GroupRef{{ID: "g-sre"}}}, Auditors: manage.Members{Groups: []policy.GroupRef{{ID: "g-aud"}}}}
	if err := h.proxy.Load(h.settings); err != nil {
		t.Fatal(err)
	}
	return h
}

func TestConsole_IsForItsGroups(t *testing.T) {
	h := newEnv(t)
	if p := h.browser(h.alice).open(consoleURL); p.StatusCode != http.StatusNotFound || !strings.Contains(p.body, "console.admins.groups") {
		t.Errorf("without groups: %d %s", p.StatusCode, p.body)
	}
	h = newConsoleEnv(t)
	if p := h.browser(h.alice).open(consoleURL); p.StatusCode != http.StatusOK || !strings.Contains(p.body, "administrator") {
		t.Errorf("an administrator: %d %s", p.StatusCode, p.body)
	}
	if p := h.browser(h.bob).open(consoleURL); p.StatusCode != http.StatusForbidden {
		t.Errorf("nobody in particular: %d %s", p.StatusCode, p.body)
	}
	bob, _ := h.directory.Lookup(h.bob.OID)
	for _, g := range h.directory.Groups() {
		if g.ExternalID == "g-aud" {
			h.change(func(tx *directory.Tx) error { _, err := tx.AddMembers(g.ID, []string{bob.ID}); return err })
		}
	}
	auditor := h.browser(h.bob)
	if p := auditor.open(consoleURL); p.StatusCode != http.StatusOK || !strings.Contains(p.body, "auditor") {
		t.Errorf("an auditor: %d %s", p.StatusCode, p.body)
	}
	if p := auditor.submit(consoleURL+"anything", url.Values{"a": {"b"}}.Encode()); p.StatusCode != http.StatusForbidden {
		t.Errorf("an auditor who acts: %d %s", p.StatusCode, p.body)
	}
	if p := auditor.open("https://" + appHost + manage.Path + "/"); p.StatusCode != http.StatusNotFound {
		t.Errorf("on the host of an application: %d %s", p.StatusCode, p.body)
	}
}
