package proxy

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/textproto"
	"strings"
	"testing"

	"sallyport/directory"
	"sallyport/entratest"
	"sallyport/policy"
	"sallyport/proxy/internal/identity"
)

const (
	appID     = "7a111900-0000-4000-8000-000000000007" // the client ID of an application
	appObject = "8a111900-0000-4000-8000-000000000008" // the id of its object in the tenant
)

// allowApps adds a policy that allows the application appID, with roles, to the route of apiHost.
func allowApps(roles ...string) func(*Settings) {
	return func(s *Settings) {
		s.Policies = append(s.Policies, policy.Named{Name: "apps", Rules: []policy.Rule{{Allow: &policy.Match{Apps: []string{appID}, Roles: roles}}}})
		for i := range s.Routes {
			if s.Routes[i].Host == apiHost {
				s.Routes[i].Policy = append(s.Routes[i].Policy, "apps")
			}
		}
	}
}

// TestApplication_AllowedByRuleThatNamesIt checks that an application that calls for itself is allowed by rules that
// name it, although the directory has no user for it, and that the upstream receives its own name.
func TestApplication_AllowedByRuleThatNamesIt(t *testing.T) {
	const api = "https://" + apiHost + "/v1/x"
	w := newWorld(t, allowApps("Orders.Read"))
	w.addUser("carol")
	w.token("alice", nil) // waits until the provider was discovered
	bearer := func(app string, change func(entratest.Claims)) []string {
		return []string{"Authorization", "Bearer " + w.tenant.AppToken(app, appObject, audience, change)}
	}
	roles := func(names ...string) func(entratest.Claims) {
		return func(c entratest.Claims) { c["roles"] = names }
	}
	for name, c := range map[string]struct {
		headers []string
		want    int
	}{
		"with_role":              {bearer(appID, roles("Other", "Orders.Read")), 200},
		"with_other_role":        {bearer(appID, roles("Other")), 403},
		"without_roles":          {bearer(appID, func(c entratest.Claims) { delete(c, "roles") }), 403},
		"another_application":    {bearer("another", roles("Orders.Read")), 403},
		"ID_in_upper_case":       {bearer(strings.ToUpper(appID), roles("Orders.Read")), 403},
		"expired":                {bearer(appID, func(c entratest.Claims) { c["exp"] = 1 }), 401},
		"user_token_through_app": {[]string{"Authorization", "Bearer " + w.token("carol", func(c entratest.Claims) { c["azp"] = appID; c["roles"] = []string{"Orders.Read"} })}, 403},
	} {
		if resp, body := w.get(w.client(false), api, c.headers...); resp.StatusCode != c.want {
			t.Errorf("%s: %d %s", name, resp.StatusCode, body)
		}
	}

	_, body := w.get(w.client(false), api, bearer(appID, roles("Orders.Read"))...)
	seen, err := textproto.NewReader(bufio.NewReader(strings.NewReader(body + "\r\n"))).ReadMIMEHeader()
	if err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	if got := seen.Get("X-Forwarded-User"); got != "app:"+appID {
		t.Errorf("the upstream sees the user %q", got)
	}
	for _, name := range []string{"X-Forwarded-Email", "X-Forwarded-Groups", "X-Forwarded-Preferred-Username"} {
		if values, ok := seen[name]; ok {
			t.Errorf("the upstream sees %s: %q", name, values)
		}
	}
	claims := payloadOf(t, seen.Get("X-Sallyport-Assertion"))
	if claims["app"] != appID || claims["sub"] != "app:"+appID || claims["email"] != nil {
		t.Errorf("the assertion has the claims %v", claims)
	}

	_, body = w.get(w.client(false), "https://"+apiHost+"/.sallyport/me", bearer(appID, roles("Orders.Read"))...)
	if !strings.Contains(body, `"app":{"id":"`+appID) || strings.Contains(body, `"user"`) {
		t.Errorf("the response of %s: %s", mePath, body)
	}
}

// TestApplication_IsNoUser checks that an application is not taken for a user, even for one who was pushed with the id
// of its object as externalId and whom the rules allow.
func TestApplication_IsNoUser(t *testing.T) {
	w := newWorld(t, nil)
	w.token("alice", nil) // waits until the provider was discovered
	w.update(func(tx *directory.Tx) error {
		u := directory.User{UserName: "app@example.com", ExternalID: appObject, Active: true}
		if err := tx.PutUser(&u); err != nil {
			return err
		}
		g, err := tx.GroupByExternalID(staff)
		if err != nil {
			return err
		}
		_, err = tx.AddMembers(g.ID, []string{u.ID})
		return err
	})
	if resp, body := w.get(w.client(false), "https://"+apiHost+"/v1/x", "Authorization", "Bearer "+w.tenant.AppToken(appID, appObject, audience, nil)); resp.StatusCode != http.StatusForbidden {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
}

func TestUserHeader_CannotNameApplication(t *testing.T) {
	for name, want := range map[string]string{"app:" + appID: "app%3A" + appID, "app": "app", "apparent:x": "apparent:x", "alice": "alice"} {
		if got := identity.UserValue(name); got != want {
			t.Errorf("UserValue(%q): %q, want %q", name, got, want)
		}
	}
}

// payloadOf returns the claims of a JWT. It does not verify the signature.
func payloadOf(t *testing.T, token string) (claims map[string]any) {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("%q is no JWT", token)
	}
	if err := json.Unmarshal(decodeSegment(t, parts[1]), &claims); err != nil {
		t.Fatal(err)
	}
	return claims
}

func decodeSegment(t *testing.T, segment string) []byte {
	t.Helper()
	data, err := base64.RawURLEncoding.DecodeString(segment)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
