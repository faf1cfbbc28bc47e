package main

import (
	"encoding/json"
	"net/http"
	"path/filepath"
	"testing"

	"sallyport/admin"
	"sallyport/entratest"
	"sallyport/grant"
)

// TestGrant_SurvivesAKillButNotARestore: a grant lets its person in after the server was killed, and is dead in a copy of
// the store that is served from later.
func TestGrant_SurvivesAKillButNotARestore(t *testing.T) {
	w := newWorld(t)
	w.makeRequestable()
	s := w.start("--init")
	p := w.pusher(s)
	members := p.form("Members", w.group)
	bob := w.entra.Add(entratest.Person{UPN: "bob@example.com", Name: "bob"})
	p.hire("bob", bob.OID)
	p.member("Add", members, p.hire("lead", "lead"))

	w.entra.SignIn(bob.OID)
	b := w.newBrowser(s)
	if status, page := b.navigate("https://" + appHost + "/"); status != http.StatusForbidden {
		t.Fatalf("without a grant, bob gets %d: %s", status, page)
	}
	if status, page := b.askFor("the disk is full"); status != http.StatusOK {
		t.Fatalf("asking gets %d: %s", status, page)
	}
	var requests []admin.RequestView
	decode(t, s.verb("request", "list", "-o", "json"), &requests)
	s.verb("request", "approve", requests[0].ID, "--for", "2h")
	b.signIn()

	s.kill()
	s = w.start()
	w.newBrowser(s).signIn()
	copied := filepath.Join(w.dir, "copy.db")
	s.verb("backup", copied)
	w.newBrowser(s).signIn()
	s.kill()
	verb(t, w.dir, "restore", copied)
	s = w.start()
	if status, _ := w.newBrowser(s).navigate("https://" + appHost + "/"); status != http.StatusForbidden {
		t.Errorf("after a restore, bob gets %d", status)
	}
	var grants []admin.Grant
	decode(t, s.verb("grants", "list", "--all", "-o", "json"), &grants)
	if len(grants) != 1 || grants[0].State != admin.GrantRevoked || grants[0].EndedBy != "the store is a copy of an earlier one" {
		t.Errorf("after a restore, the grants are %+v", grants)
	}
}

// grantCarol has carol ask for access, approves it, and returns the id of the grant.
func (w *world) grantCarol(s *running, p *pusher) string {
	w.t.Helper()
	carol := w.entra.Add(entratest.Person{UPN: "carol@example.com", Name: "carol"})
	p.hire("carol", carol.OID)
	w.entra.SignIn(carol.OID)
	b := w.newBrowser(s)
	if status, page := b.navigate("https://" + appHost + "/"); status != http.StatusForbidden {
		w.t.Fatalf("without a grant, carol gets %d: %s", status, page)
	}
	if status, page := b.askFor("the disk is full"); status != http.StatusOK {
		w.t.Fatalf("asking gets %d: %s", status, page)
	}
	var requests []admin.RequestView
	decode(w.t, s.verb("request", "list", "-o", "json"), &requests)
	var granted admin.Grant
	decode(w.t, s.verb("request", "approve", requests[0].ID, "-o", "json"), &granted)
	return granted.ID
}

func decode(t testing.TB, text string, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), into); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
}

// TestGrantRow_SaysWhoEndedIt: the list of grants tells who ended one early, and why.
func TestGrantRow_SaysWhoEndedIt(t *testing.T) {
	for want, g := range map[string]grant.Grant{
		"":                             {},
		"lead@example.com: it is over": {EndedBy: "lead@example.com", Why: "it is over"},
		grant.EndedByLeaving:           {EndedBy: grant.EndedByLeaving},
	} {
		row := grantRow(admin.Grant{Grant: g})
		if len(row) != len(grantHeads) || row[len(row)-1] != want {
			t.Errorf("the row of %+v is %q, want %q at its end", g, row, want)
		}
	}
}
