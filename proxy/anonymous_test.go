package proxy

import (
	"strings"
	"testing"
	"time"

	"sallyport/directory"
	"sallyport/entratest"
	"sallyport/policy"
)

// publicPath lets anyone reach /public of the application.
func publicPath(s *Settings) {
	s.Policies = append(s.Policies, policy.Named{Name: "public", Rules: []policy.Rule{{Allow: &policy.Match{Anyone: true, Paths: []string{"/public/**"}}}}})
	s.Routes[0].Policy = append(s.Routes[0].Policy, "public")
}

// TestAnyone_NoCredentialIsJudged checks that where the rules let anyone in, credentials that are not valid change nothing,
// and that the upstream is then told of nobody.
func TestAnyone_NoCredentialIsJudged(t *testing.T) {
	w := newWorld(t, publicPath)
	expired := w.token("alice", func(c entratest.Claims) { c["exp"] = time.Now().Add(-time.Minute).Unix() })
	good := w.token("alice", nil)
	w.addUser("carol", staff)
	carol, inactive := w.token("carol", nil), ""
	_, inactive = w.signIn("carol", appHost)
	_, inactiveOpen := w.signIn("carol", openHost)
	w.setActive("carol", false)
	w.addUser("dave", staff)
	dave := w.token("dave", nil)
	w.update(func(tx *directory.Tx) error { return tx.DeleteUser(w.user("dave").ID) })
	foreign := w.tenant.AccessToken(w.person("alice"), "api://another", nil)
	for name, c := range map[string]struct {
		header, value string
		closed        int // where the rules want somebody
	}{
		"an expired token":                 {"Authorization", "Bearer " + expired, 401},
		"a token for another API":          {"Authorization", "Bearer " + foreign, 401},
		"no token at all":                  {"Authorization", "Bearer x", 401},
		"an empty one":                     {"Authorization", "Bearer ", 401},
		"a key that is not known":          {"Authorization", "Bearer " + entratest.Garbage("another", entratest.Claims{}), 401},
		"a token of an inactive user":      {"Authorization", "Bearer " + carol, 403},
		"a token of a user who is gone":    {"Authorization", "Bearer " + dave, 403},
		"a cookie of an inactive user":     {"Cookie", inactive, 403},
		"their cookie of the other host":   {"Cookie", inactiveOpen, 403},
		"a cookie of nobody":               {"Cookie", "__Host-sallyport=x", 401},
		"a cookie and an application's ID": {"Authorization", "Bearer " + w.tenant.AppToken("a", "b", "api://another", nil), 401},
	} {
		for _, url := range []string{"https://" + openHost + "/", "https://" + appHost + "/public/x"} {
			res, seen := w.get(w.client(true), url, c.header, c.value, "Accept", "application/json")
			if res.StatusCode != 200 || strings.Contains(seen, "X-Forwarded-User") || strings.Contains(seen, "X-Sallyport-Assertion") {
				t.Errorf("%s at %s: %d, and the upstream sees\n%s", name, url, res.StatusCode, seen)
			}
		}
		if res, _ := w.get(w.client(true), "https://"+appHost+"/x", c.header, c.value, "Accept", "application/json"); res.StatusCode != c.closed && res.StatusCode != 401 {
			t.Errorf("%s where somebody is wanted: %d, want %d", name, res.StatusCode, c.closed)
		}
	}
	if _, seen := w.get(w.client(true), "https://"+openHost+"/", "Authorization", "Bearer "+good); !strings.Contains(seen, "X-Forwarded-User: alice@example.com") {
		t.Errorf("with a valid token the upstream sees\n%s", seen)
	}
}

// TestAnyone_CountsNoFailures checks that tokens for the application, sent where anyone may come, do not use up what an
// address may get wrong elsewhere.
func TestAnyone_CountsNoFailures(t *testing.T) {
	w := newWorld(t, nil)
	w.token("alice", nil)
	foreign := w.tenant.AccessToken(w.person("alice"), "api://another", nil)
	c := w.client(true)
	for range 150 {
		if res, _ := w.get(c, "https://"+openHost+"/", "Authorization", "Bearer "+foreign); res.StatusCode != 200 {
			t.Fatalf("where anyone may come: %d", res.StatusCode)
		}
	}
	if got := w.askAPI(foreign); got != 401 {
		t.Errorf("the first wrong token elsewhere gives %d", got)
	}
}

// TestAnyone_StreamEndsWithItsIdentity checks that a stream whose upstream was told of a user is cut with the user, even
// where anyone may come: the upstream would go on believing it.
func TestAnyone_StreamEndsWithItsIdentity(t *testing.T) {
	w := newWorld(t, nil)
	w.serveEvents()
	told := openEvents(w, w.client(true), "https://"+openHost, "Authorization", "Bearer "+w.token("alice", nil))
	foreign := w.tenant.AccessToken(w.person("alice"), "api://another", nil)
	anonymous := openEvents(w, w.client(true), "https://"+openHost, "Authorization", "Bearer "+foreign)
	w.setActive("alice", false)
	await(t, "the client sees the end", told.done)
	select {
	case <-anonymous.done:
		t.Errorf("the anonymous stream ended: %v", anonymous.err)
	default:
	}
}

// TestAnyone_DeniesOfPeopleHold checks that a rule that denies a user still denies them where anyone may come.
func TestAnyone_DeniesOfPeopleHold(t *testing.T) {
	w := newWorld(t, func(s *Settings) {
		s.Policies[1].Rules = append(s.Policies[1].Rules, policy.Rule{Deny: &policy.Match{Users: []string{"alice@example.com"}}})
	})
	if res, _ := w.get(w.client(true), "https://"+openHost+"/", "Authorization", "Bearer "+w.token("alice", nil)); res.StatusCode != 403 {
		t.Errorf("%d", res.StatusCode)
	}
}

// TestSession_PassesBesideTheApplicationsToken checks that where a route forwards Authorization, a token for the
// application passes beside a session, which alone is judged.
func TestSession_PassesBesideTheApplicationsToken(t *testing.T) {
	const passHost, sessionHost = "pass.example.com", "session.example.com"
	w := newWorld(t, func(s *Settings) {
		upstream := s.Routes[0].Upstream
		s.Routes = append(s.Routes,
			Route{Name: "pass", Host: passHost, Upstream: upstream, Policy: []string{"staff"}, PassAuthorization: true},
			Route{Name: "session", Host: sessionHost, Upstream: upstream, Policy: []string{"staff"}, PassAuthorization: true, Accept: []string{"session"}})
		for i := range s.Routes {
			s.Routes[i].UpstreamTLS.CAFile = s.Routes[0].UpstreamTLS.CAFile
		}
	})
	w.token("alice", nil)
	w.addUser("carol")
	foreign := "Bearer " + w.tenant.AccessToken(w.person("carol"), "api://the-application", nil)
	for _, host := range []string{passHost, sessionHost} {
		_, alice := w.signIn("alice", host)
		res, seen := w.get(w.client(true), "https://"+host+"/", "Cookie", alice, "Authorization", foreign)
		if res.StatusCode != 200 || !strings.Contains(seen, "X-Forwarded-User: alice@example.com") || !strings.Contains(seen, "Authorization: "+foreign) {
			t.Errorf("%s: %d, and the upstream sees\n%s", host, res.StatusCode, seen)
		}
		_, carol := w.signIn("carol", host)
		if res, _ := w.get(w.client(true), "https://"+host+"/", "Cookie", carol, "Authorization", foreign); res.StatusCode != 403 {
			t.Errorf("%s: a session that may not enter gets %d", host, res.StatusCode)
		}
		for _, cookie := range []string{"a=b", "__Host-sallyport=x"} {
			if res, _ := w.get(w.client(true), "https://"+host+"/", "Cookie", cookie, "Authorization", foreign, "Accept", "application/json"); res.StatusCode != 401 {
				t.Errorf("%s without a session: %d", host, res.StatusCode)
			}
		}
	}
	_, alice := w.signIn("alice", appHost) // does not forward Authorization
	if res, _ := w.get(w.client(true), "https://"+appHost+"/", "Cookie", alice, "Authorization", foreign); res.StatusCode != 401 {
		t.Errorf("where the token would go nowhere: %d", res.StatusCode)
	}
	if res, seen := w.get(w.client(true), "https://"+passHost+"/", "Authorization", "Bearer "+w.token("alice", nil)); res.StatusCode != 200 || !strings.Contains(seen, "X-Forwarded-User: alice@example.com") {
		t.Errorf("a token of ours without a session: %d", res.StatusCode)
	}
}
