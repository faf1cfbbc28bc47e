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
)

const (
	robot     = "7a111900-0000-4000-8000-000000000007" // an application's client ID
	principal = "8a111900-0000-4000-8000-000000000008" // its object in the tenant
)

// allowApps adds a rule for the robot, with roles, to the policy of the API.
func allowApps(roles ...string) func(*Settings) {
	return func(s *Settings) {
		s.Policies = append(s.Policies, policy.Named{Name: "robots", Rules: []policy.Rule{{Allow: &policy.Match{Apps: []string{robot}, Roles: roles}}}})
		for i := range s.Routes {
			if s.Routes[i].Host == apiHost {
				s.Routes[i].Policy = append(s.Routes[i].Policy, "robots")
			}
		}
	}
}

// TestApplication_PassesByRulesThatNameIt: an application that calls for itself is allowed by rules that name it, has no
// user in the directory, and reaches the upstream under its own name.
func TestApplication_PassesByRulesThatNameIt(t *testing.T) {
	const api = "https://" + apiHost + "/v1/x"
	w := newWorld(t, allowApps("Orders.Read"))
	w.hire("nobody here")
	w.token("alice", nil) // the provider is found
	bearer := func(app string, alter func(entratest.Claims)) []string {
		return []string{"Authorization", "Bearer " + w.tenant.AppToken(app, principal, audience, alter)}
	}
	roles := func(names ...string) func(entratest.Claims) {
		return func(c entratest.Claims) { c["roles"] = names }
	}
	for name, c := range map[string]struct {
		headers []string
		want    int
	}{
		"with the role":                     {bearer(robot, roles("Other", "Orders.Read")), 200},
		"without it":                        {bearer(robot, roles("Other")), 403},
		"with none":                         {bearer(robot, func(c entratest.Claims) { delete(c, "roles") }), 403},
		"another application":               {bearer("another", roles("Orders.Read")), 403},
		"an ID in capitals":                 {bearer(strings.ToUpper(robot), roles("Orders.Read")), 403},
		"expired":                           {bearer(robot, func(c entratest.Claims) { c["exp"] = 1 }), 401},
		"a user's token by the application": {[]string{"Authorization", "Bearer " + w.token("nobody here", func(c entratest.Claims) { c["azp"] = robot; c["roles"] = []string{"Orders.Read"} })}, 403},
	} {
		if resp, body := w.get(w.client(false), api, c.headers...); resp.StatusCode != c.want {
			t.Errorf("%s answers %d: %s", name, resp.StatusCode, body)
		}
	}

	_, body := w.get(w.client(false), api, bearer(robot, roles("Orders.Read"))...)
	seen, err := textproto.NewReader(bufio.NewReader(strings.NewReader(body + "\r\n"))).ReadMIMEHeader()
	if err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	if got := seen.Get("X-Forwarded-User"); got != "app:"+robot {
		t.Errorf("the upstream is told of %q", got)
	}
	for _, name := range []string{"X-Forwarded-Email", "X-Forwarded-Groups", "X-Forwarded-Preferred-Username"} {
		if v, has := seen[name]; has {
			t.Errorf("the upstream is told %s %q", name, v)
		}
	}
	claims := payloadOf(t, seen.Get("X-Sallyport-Assertion"))
	if claims["app"] != robot || claims["sub"] != "app:"+robot || claims["email"] != nil {
		t.Errorf("the assertion says %v", claims)
	}

	_, body = w.get(w.client(false), "https://"+apiHost+"/.sallyport/me", bearer(robot, roles("Orders.Read"))...)
	if !strings.Contains(body, `"app":{"id":"`+robot) || strings.Contains(body, `"user"`) {
		t.Errorf("it is told of itself: %s", body)
	}
}

// TestApplication_IsNoUser: not even a user who was pushed with the application's object as externalId, and whom the
// rules allow.
func TestApplication_IsNoUser(t *testing.T) {
	w := newWorld(t, nil)
	w.token("alice", nil)
	w.update(func(tx *directory.Tx) error {
		u := directory.User{UserName: "robot@example.com", ExternalID: principal, Active: true}
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
	if resp, body := w.get(w.client(false), "https://"+apiHost+"/v1/x", "Authorization", "Bearer "+w.tenant.AppToken(robot, principal, audience, nil)); resp.StatusCode != http.StatusForbidden {
		t.Errorf("it gets %d: %s", resp.StatusCode, body)
	}
}

func TestUserHeader_CannotNameAnApplication(t *testing.T) {
	for name, want := range map[string]string{"app:" + robot: "app%3A" + robot, "app": "app", "apparent:x": "apparent:x", "alice": "alice"} {
		if got := userHeader(name); got != want {
			t.Errorf("%s is told as %s", name, got)
		}
	}
}

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
