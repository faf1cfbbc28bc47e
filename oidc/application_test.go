package oidc_test

import (
	"maps"
	"testing"
	"time"

	"sallyport/entratest"
	"sallyport/oidc"
)

// The claims of Keycloak 26.4's access tokens, as it issued them.
func keycloakTokens() (service, user entratest.Claims) {
	common := entratest.Claims{"exp": time.Now().Add(5 * time.Minute).Unix(), "iat": time.Now().Unix(), "jti": "trrtcc:fb0436cd-da27-297a-58c3-6969a811c34a",
		"aud": []string{audience, "account"}, "typ": "Bearer", "azp": "Robot", "acr": "1", "scope": "profile email", "email_verified": false,
		"realm_access": map[string]any{"roles": []string{"offline_access", "default-roles-x", "uma_authorization"}}}
	service, user = maps.Clone(common), maps.Clone(common)
	maps.Copy(service, entratest.Claims{"sub": "41844348-f2bc-4d82-b67c-e28e4eaf0974", "preferred_username": "service-account-robot",
		"client_id": "Robot", "clientHost": "127.0.0.1", "clientAddress": "127.0.0.1"})
	maps.Copy(user, entratest.Claims{"sub": "d7ca8e4b-873f-4523-a78c-de50bc847adc", "sid": "1ad4946f-67e7-f579-0734-d6a6eef3f52a",
		"name": "A B", "preferred_username": "alice", "email": "a@x.example"})
	return service, user
}

// TestApplications_AreToldFromUsers has a row for each kind of token.
func TestApplications_AreToldFromUsers(t *testing.T) {
	const app = "7a111900-0000-4000-8000-000000000007"
	service, user := keycloakTokens()
	with := func(base entratest.Claims, changes entratest.Claims) entratest.Claims {
		c := maps.Clone(base)
		for name, value := range changes {
			if c[name] = value; value == nil {
				delete(c, name)
			}
		}
		return c
	}
	auth0 := with(user, entratest.Claims{"sub": app + "@clients", "azp": app, "gty": "client-credentials", "sid": nil, "preferred_username": nil})
	okta := with(user, entratest.Claims{"sub": app, "cid": app, "azp": nil, "sid": nil, "preferred_username": nil})
	gty := oidc.Applications{Claim: "gty", Value: "client-credentials"}
	subject := oidc.Applications{ClientClaims: []string{"cid", "client_id"}, Claim: "sub"}
	for _, c := range []struct {
		name   string
		set    oidc.Applications
		claims entratest.Claims
		want   string // the application; "" for a user
	}{
		{"Keycloak's service account", oidc.Applications{}, service, "Robot"},
		{"with azp alone", oidc.Applications{}, with(service, entratest.Claims{"client_id": nil}), "Robot"},
		{"with client_id alone", oidc.Applications{}, with(service, entratest.Claims{"azp": nil}), "Robot"},
		{"with two clients", oidc.Applications{}, with(service, entratest.Claims{"client_id": "another"}), ""},
		{"of another client", oidc.Applications{}, with(service, entratest.Claims{"azp": "another", "client_id": "another"}), ""},
		{"Keycloak's user", oidc.Applications{}, user, ""},
		{"a user who is called like a service account", oidc.Applications{}, with(user, entratest.Claims{"preferred_username": "service-account-robot"}), ""},
		{"a user of RFC 9068", oidc.Applications{}, with(user, entratest.Claims{"client_id": "Robot", "sid": nil}), ""},
		{"Auth0's, configured", gty, auth0, app},
		{"Auth0's user, configured", gty, with(auth0, entratest.Claims{"gty": "password"}), ""},
		{"Keycloak's, where another is configured", gty, service, ""},
		{"Auth0's, not configured", oidc.Applications{}, auth0, ""},
		{"Okta's, configured", subject, okta, app},
		{"Okta's user, configured", subject, with(okta, entratest.Claims{"sub": "alice@example.com"}), ""},
		{"no client", subject, with(okta, entratest.Claims{"sub": nil, "cid": nil}), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := startFixture(t, func(s *oidc.Settings) { s.Applications = c.set })
			claims := with(c.claims, entratest.Claims{"iss": h.entra.Issuer(), "tid": h.entra.ID})
			id, got := h.bearer(h.entra.Sign(claims, nil))
			wantReason := oidc.Reason("")
			if c.want == "" {
				wantReason = oidc.ClaimMissing // user_claim is oid, which these providers' users do not have
			}
			if id.App != c.want || got != wantReason {
				t.Errorf("it is the application %q, %q", id.App, got)
			}
		})
	}
}

// TestApplications_OfBearerIssuer: a bearer issuer has settings of its own.
func TestApplications_OfBearerIssuer(t *testing.T) {
	h := newFixture(t)
	tenant, ca := elsewhere(t, h)
	h.settings.BearerIssuers = []oidc.BearerIssuer{{Issuer: tenant.Issuer(), Audiences: []string{audience}, CAFile: ca,
		Applications: oidc.Applications{ClientClaims: []string{"robot"}, Claim: "kind", Value: "robot"}}}
	<-h.run()
	token := tenant.AppToken("a", "b", audience, func(c entratest.Claims) { c["robot"], c["kind"] = "r2d2", "robot" })
	for h.bearerReason(token) == unknown { // until the other issuer is found
	}
	if id, got := h.bearer(token); id.App != "r2d2" || got != "" {
		t.Errorf("it is %q, %q", id.App, got)
	}
	if _, got := h.bearer(tenant.AppToken("a", "b", audience, nil)); got != oidc.WrongIssuer {
		t.Errorf("an application that is not recognized gives %q", got)
	}
}
