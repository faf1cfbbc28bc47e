package manage_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"sallyport/audit"
	"sallyport/directory"
	"sallyport/oidc/claimed"
	"sallyport/policy"
)

func TestDrift_ShowsWhatWasNotPushed(t *testing.T) {
	e := newEnv(t)
	e.settings.Policies[0].Rules = append(e.settings.Policies[0].Rules, policy.Rule{Allow: &policy.Match{Groups: []policy.GroupRef{{ID: "g-none", Name: "Never <b>pushed</b>"}, {ID: "G-SRE", Name: "SRE"}}}})
	for _, value := range []string{"stranger@example.com", "stranger@example.com", "late@example.com", "ext-late"} {
		err := e.record.Write(audit.Event{Time: time.Now().UTC(), Kind: audit.KindLogin, UserName: value, Decision: "deny", Reason: "unknown_user", Code: 403,
			Detail: map[string]string{"claim": "oid", "value": value, "attribute": "externalId"}})
		if err != nil {
			t.Fatal(err)
		}
	}
	e.change(func(tx *directory.Tx) error {
		return tx.PutUser(&directory.User{ExternalID: "ext-late", UserName: "late@example.com", Active: true, Document: []byte(`{}`)})
	})
	body := e.page(e.otto, "/provisioning/drift").Body.String()
	for _, want := range []string{"Never &lt;b&gt;pushed&lt;/b&gt;", "g-none", "in sre", "stranger@example.com", `<td class="right">2</td>`, "<code>oid</code>"} {
		if !strings.Contains(body, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
	if strings.Contains(body, "ext-late") || strings.Contains(body, "G-SRE") {
		t.Error("the page names what was pushed")
	}
}

// tokensOf is an option of newEnv: tokens named groups.
func tokensOf(note func(*claimed.Memory)) func(*env) {
	return func(e *env) {
		e.parts.TokenGroups = claimed.New()
		note(e.parts.TokenGroups)
	}
}

func TestDrift_ComparesTokensWithWhatWasPushed(t *testing.T) {
	issued := time.Date(2026, 11, 2, 9, 30, 0, 0, time.UTC)
	e := newEnv(t, tokensOf(func(m *claimed.Memory) {
		m.Note(claimed.Claim{User: "ext-ada", At: issued, Stated: true}, []string{"G-SRE"})
		m.Note(claimed.Claim{User: "ext-bob", At: issued, Stated: true}, []string{"payroll", "Only <b>in tokens</b>", "Only <b>in tokens</b>"})
		m.Note(claimed.Claim{User: "stranger", At: issued, Stated: true}, []string{"Only <b>in tokens</b>"})
		m.Note(claimed.Claim{User: "ext-carol", At: issued, Stated: true, Incomplete: true}, nil)
		m.Note(claimed.Claim{User: "ext-otto", At: issued}, nil)
	}))
	body := e.page(e.otto, "/provisioning/drift").Body.String()
	for _, want := range []string{"Compared: 2; differing: 1.", "1 whose tokens say nothing of groups, and 1 who are in too many groups",
		`<code>Only &lt;b&gt;in tokens&lt;/b&gt;</code></td><td class="right">2</td>`,
		`/people/` + e.user("bob@example.com").ID + `">bob@example.com</a></td><td>In the token, not pushed</td>`, `>Payroll</a>`,
		`<td>Pushed, not in the token</td>`, `>SRE</a>`, "2026-11-02T09:30:00Z"} {
		if !strings.Contains(body, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
	for _, other := range []string{"ada", "carol", "stranger"} {
		if strings.Contains(body, ">"+other) {
			t.Errorf("the page names %s", other)
		}
	}
}

// TestDrift_IsBoundedInTokens has tokens that name 1,000 groups that nobody pushed, and a person with many differences.
func TestDrift_IsBoundedInTokens(t *testing.T) {
	e := newEnv(t, tokensOf(func(m *claimed.Memory) {
		for _, name := range []string{"ext-ada", "ext-bob"} {
			m.Note(claimed.Claim{User: name, At: time.Now(), Stated: true}, nil)
		}
		for i := range 500 {
			m.Note(claimed.Claim{User: fmt.Sprint("stranger", i), At: time.Now(), Stated: true}, []string{fmt.Sprintf("%0256d", i), fmt.Sprint("g", i)})
		}
	}))
	e.change(func(tx *directory.Tx) error {
		for i := range 8 {
			g := &directory.Group{ExternalID: fmt.Sprint("g-more", i), DisplayName: fmt.Sprint("More ", i)}
			if err := tx.PutGroup(g); err != nil {
				return err
			}
			if _, err := tx.AddMembers(g.ID, []string{e.user("ada@example.com").ID}); err != nil {
				return err
			}
		}
		return nil
	})
	body := e.page(e.otto, "/provisioning/drift").Body.String()
	if !strings.Contains(body, "There are more such groups") || !strings.Contains(body, "6 more") || strings.Count(body, "<tr>") > 120 || len(body) > 100<<10 {
		t.Errorf("the page has %d rows and %d bytes", strings.Count(body, "<tr>"), len(body))
	}
	if strings.Contains(body, strings.Repeat("0", 200)) {
		t.Error("the page has long names whole")
	}
}
