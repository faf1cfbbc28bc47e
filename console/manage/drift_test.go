package manage_test

import (
	"strings"
	"testing"
	"time"

	"sallyport/audit"
	"sallyport/directory"
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
