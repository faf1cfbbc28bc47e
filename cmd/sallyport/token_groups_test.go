package main

import (
	"net/http"
	"slices"
	"testing"

	"sallyport/admin"
	"sallyport/entratest"
)

// TestTokenGroups_AreComparedAndDecideNothing has Alice sign in and call with tokens that name groups: what they name besides
// what was pushed is found, and lets her in nowhere.
func TestTokenGroups_AreComparedAndDecideNothing(t *testing.T) {
	w := newWorld(t)
	s, r := w.inProcess()
	stage := w.settle(r)
	drift := func() *admin.TokenDrift {
		t.Helper()
		d, err := s.admin.Drift(t.Context(), admin.System("test"))
		if err != nil || d.Tokens == nil {
			t.Fatalf("drift is %+v, %v", d, err)
		}
		return d.Tokens
	}
	if d := drift(); d.Unstated != 1 || d.Compared != 0 {
		t.Errorf("after a login without the claim: %+v", d)
	}
	w.entra.Alter(func(c entratest.Claims) { c["groups"] = []string{"in-tokens-alone"} })
	w.newBrowser(r).signIn()
	d := drift()
	if !slices.Equal(d.Groups, []admin.TokenGroup{{Name: "in-tokens-alone", Users: 1}}) || d.Differing != 1 || d.People[0].ID != stage.alice || d.People[0].Unnamed.Groups[0].ID != stage.group {
		t.Errorf("after a login with the claim: %+v", d)
	}
	stage.push.member("Remove", stage.group, stage.alice)
	token := w.entra.AccessToken(stage.person, audience, func(c entratest.Claims) { c["groups"] = []string{w.group} })
	resp := stage.browser.get("https://"+apiHost+"/", token)
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusForbidden {
		t.Errorf("a token that names the group gets %d", resp.StatusCode)
	}
	if d = drift(); len(d.Groups) > 0 || d.Differing != 1 || d.People[0].Unpushed.Groups[0].ID != stage.group || d.People[0].Unnamed.Total > 0 {
		t.Errorf("after a call: %+v", d)
	}
}
