package oidc_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"sallyport/entratest"
	"sallyport/oidc"
)

// told returns what the provider tells of, from now on.
func (h *fixture) told() *[]oidc.Identity {
	var all []oidc.Identity
	h.TellOfGroups(func(id oidc.Identity) { all = append(all, id) })
	return &all
}

func TestGroups_OfTokens(t *testing.T) {
	h := startFixture(t, nil)
	told := h.told()
	long, many := strings.Repeat("x", 257), slices.Repeat([]string{"g"}, 201)
	for name, c := range map[string]struct {
		claims entratest.Claims
		want   oidc.Groups
	}{
		"none":         {nil, oidc.Groups{}},
		"null":         {entratest.Claims{"groups": nil}, oidc.Groups{}},
		"empty":        {entratest.Claims{"groups": []string{}}, oidc.Groups{Stated: true}},
		"list":         {entratest.Claims{"groups": []string{"a", "b"}}, oidc.Groups{Names: []string{"a", "b"}, Stated: true}},
		"one_text":     {entratest.Claims{"groups": "a"}, oidc.Groups{Names: []string{"a"}, Stated: true}},
		"no_text":      {entratest.Claims{"groups": map[string]any{"a": true}}, oidc.Groups{Stated: true, Incomplete: true}},
		"mixed":        {entratest.Claims{"groups": []any{"a", 1, nil, []string{"b"}, ""}}, oidc.Groups{Names: []string{"a"}, Stated: true, Incomplete: true}},
		"long":         {entratest.Claims{"groups": []string{long, long[1:]}}, oidc.Groups{Names: []string{long[1:]}, Stated: true, Incomplete: true}},
		"many":         {entratest.Claims{"groups": many}, oidc.Groups{Names: many[:200], Stated: true, Incomplete: true}},
		"overage":      {entratest.Claims{"_claim_names": map[string]any{"groups": "src1"}, "_claim_sources": map[string]any{"src1": map[string]any{"endpoint": "https://graph.example.com"}}}, oidc.Groups{Stated: true, Incomplete: true}},
		"other_source": {entratest.Claims{"_claim_names": map[string]any{"roles": "src1"}}, oidc.Groups{}},
		"hasgroups":    {entratest.Claims{"hasgroups": true}, oidc.Groups{Stated: true, Incomplete: true}},
		"no_hasgroups": {entratest.Claims{"hasgroups": false, "_claim_names": "groups"}, oidc.Groups{}},
	} {
		t.Run(name, func(t *testing.T) {
			alter := func(claims entratest.Claims) { maps.Copy(claims, c.claims) }
			*told = nil
			token := h.entra.AccessToken(h.alice, audience, alter)
			first, reason := h.bearer(token)
			again, _ := h.bearer(token)
			h.entra.Alter(alter)
			login, err := h.signIn()
			if reason != "" || err != nil {
				t.Fatal(reason, err)
			}
			if len(*told) < 2 || !equalGroups(login.Groups, c.want) { // more if the keys were fetched again meanwhile
				t.Errorf("it tells of %d identities; that of the login has %+v", len(*told), login.Groups)
			}
			for _, id := range *told {
				if !equalGroups(id.Groups, c.want) {
					t.Errorf("it tells of %+v", id.Groups)
				}
			}
			if !equalGroups(first.Groups, oidc.Groups{}) || !equalGroups(again.Groups, oidc.Groups{}) {
				t.Error("groups are kept for as long as the token")
			}
		})
	}
}

func equalGroups(a, b oidc.Groups) bool {
	return slices.Equal(a.Names, b.Names) && a.Stated == b.Stated && a.Incomplete == b.Incomplete
}

// TestGroups_AreToldOfUsersWhoProvedThemselves tells of nobody for tokens that are rejected and for applications, and goes on
// under other settings.
func TestGroups_AreToldOfUsersWhoProvedThemselves(t *testing.T) {
	h := startFixture(t, nil)
	told := h.told()
	named := func(c entratest.Claims) { c["groups"] = []string{"g"} }
	_, _ = h.bearer(h.entra.AccessToken(h.alice, "api://other", named))
	_, _ = h.bearer("x" + h.entra.AccessToken(h.alice, audience, named))
	f, q := h.begin()
	f.Nonce += "x"
	_, _ = h.Finish(t.Context(), f, q)
	_, reason := h.bearer(h.entra.AppToken("a-client", "a-service-principal", audience, func(c entratest.Claims) { c["idtyp"] = "app"; named(c) }))
	if len(*told) > 0 || reason != "" {
		t.Errorf("it tells of %+v; the token of the application: %q", *told, reason)
	}
	next := h.mustWith(func(s *oidc.Settings) { s.UserClaim = "preferred_username" })
	if _, err := next.Bearer(t.Context(), h.entra.AccessToken(h.alice, audience, named)); err != nil || len(*told) != 1 || (*told)[0].Key != h.alice.UPN {
		t.Errorf("by other settings it tells of %+v: %v", *told, err)
	}
}
