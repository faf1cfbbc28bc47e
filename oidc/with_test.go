package oidc_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"

	"sallyport/oidc"
)

// with returns the provider by other settings, which is prepared but does not run.
func (h *fixture) with(alter func(*oidc.Settings)) (*oidc.Provider, error) {
	h.t.Helper()
	s := h.settings
	alter(&s)
	public, _ := url.Parse(login)
	p, err := h.Provider.With(s, public)
	if err != nil {
		return nil, err
	}
	return p, p.Prepare(h.t.Context())
}

func (h *fixture) mustWith(alter func(*oidc.Settings)) *oidc.Provider {
	h.t.Helper()
	p, err := h.with(alter)
	if err != nil {
		h.t.Fatal(err)
	}
	return p
}

// TestWith_UsesNewSecret rotates the client secret: a login that began before ends by the new secret, and nothing is
// discovered or fetched again.
func TestWith_UsesNewSecret(t *testing.T) {
	h := startFixture(t, nil)
	h.entra.AddSecret("the second secret")
	f, q := h.begin()
	discoveries := 0
	h.override(func(_ http.ResponseWriter, r *http.Request) bool {
		if isFor(r, metadataPath) {
			discoveries++
		}
		return false
	})
	_, reason := h.bearer(h.accessToken())
	fetches := h.entra.KeyFetches()
	next := h.mustWith(func(s *oidc.Settings) { s.ClientSecretFile = h.write("secret", []byte("the second secret\n")) })
	h.entra.RemoveSecret(secret)
	if _, err := next.Finish(t.Context(), f, q); err != nil || reason != "" {
		t.Errorf("a login across the change: %v; a token before it: %q", err, reason)
	}
	f, q = h.begin()
	if _, err := h.Finish(t.Context(), f, q); !errors.Is(err, oidc.ErrRejected) {
		t.Errorf("the former secret: %v", err)
	}
	if _, err := next.Bearer(t.Context(), h.accessToken()); err != nil {
		t.Errorf("a token after it: %v", err)
	}
	if discoveries > 0 || h.entra.KeyFetches() != fetches {
		t.Errorf("%d discoveries, %d fetches of keys", discoveries, h.entra.KeyFetches()-fetches)
	}
	if next.Basis() != h.Basis() {
		t.Error("a new secret makes former sign-ins prove nothing")
	}
	if same := h.mustWith(func(*oidc.Settings) {}); same != h.Provider {
		t.Error("without a difference, there is another provider")
	}
}

// TestWith_RefusesWhatIsOfNoUse names files and issuers that are of no use: the provider stays as it is.
func TestWith_RefusesWhatIsOfNoUse(t *testing.T) {
	h := startFixture(t, nil)
	silent := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(silent.Close)
	for name, c := range map[string]struct {
		alter func(*oidc.Settings)
		why   string
	}{
		"empty_secret":      {func(s *oidc.Settings) { s.ClientSecretFile = h.write("secret", []byte("\n")) }, "oidc.client_secret_file"},
		"no_secret":         {func(s *oidc.Settings) { s.ClientSecretFile = "/nowhere" }, "oidc.client_secret_file"},
		"no_authorities":    {func(s *oidc.Settings) { s.CAFile = "/nowhere" }, "oidc.ca_file"},
		"no_issuer":         {func(s *oidc.Settings) { s.Issuer = silent.URL }, silent.URL},
		"other_authorities": {func(s *oidc.Settings) { s.CAFile = "" }, "certificate"},
		"no_bearer_issuer": {func(s *oidc.Settings) {
			s.BearerIssuers = []oidc.BearerIssuer{{Issuer: silent.URL, Audiences: []string{audience}}}
		}, silent.URL},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := h.with(c.alter); err == nil || !strings.Contains(err.Error(), c.why) {
				t.Errorf("the error is %v, and does not name %s", err, c.why)
			}
			if _, err := h.signIn(); err != nil {
				t.Errorf("signing in by the former settings: %v", err)
			}
		})
	}
}

// TestWith_DoesNotWaitForTheIssuerOfBoth changes the secret while the issuer cannot be reached since the start.
func TestWith_DoesNotWaitForTheIssuerOfBoth(t *testing.T) {
	h := newFixture(t)
	h.override(func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(http.StatusBadGateway); return true })
	failed := h.newProvider(failedText)
	stop := h.start()
	<-failed
	next := h.mustWith(func(s *oidc.Settings) { s.ClientSecretFile = h.write("secret", []byte(secret+"\n\n")) })
	stop()
	h.override(func(http.ResponseWriter, *http.Request) bool { return false })
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { _ = next.Run(ctx) }()
	for next.LogoutURL(oidc.LogoutRequest{}) == "" && t.Context().Err() == nil {
		_, _, _ = next.Begin(ctx, 0) // which waits for the first attempt
	}
}

// TestWith_ChangesTheBasis: what a sign-in stands on is the issuer, the client and the join. A login that began on another
// basis is refused, and its code is sent nowhere.
func TestWith_ChangesTheBasis(t *testing.T) {
	h := startFixture(t, nil)
	other := newFixture(t)
	for name, alter := range map[string]func(*oidc.Settings){
		"issuer":    func(s *oidc.Settings) { s.Issuer, s.CAFile = other.settings.Issuer, other.settings.CAFile },
		"client":    func(s *oidc.Settings) { s.ClientID = "5a111900-0000-4000-8000-000000000002" },
		"claim":     func(s *oidc.Settings) { s.UserClaim = "sub" },
		"attribute": func(s *oidc.Settings) { s.UserAttribute = "userName" },
	} {
		t.Run(name, func(t *testing.T) {
			f, q := h.begin()
			next := h.mustWith(alter)
			if next.Basis() == h.Basis() {
				t.Error("the basis is the same")
			}
			for _, entra := range []*fixture{h, other} {
				entra.override(func(_ http.ResponseWriter, r *http.Request) bool {
					if isFor(r, tokenPath) {
						t.Error("the code is sent to a token endpoint")
					}
					return false
				})
			}
			if _, err := next.Finish(t.Context(), f, q); reasonOf(err) != oidc.WrongIssuer {
				t.Errorf("a login that began before: %v", err)
			}
			h.override(func(http.ResponseWriter, *http.Request) bool { return false })
			if id, err := h.Finish(t.Context(), f, q); err != nil || id.Basis != h.Basis() {
				t.Errorf("the former provider does not finish what it began: %v, basis %q", err, id.Basis)
			}
		})
	}
	f, q := h.begin()
	f.Basis = "" // as an earlier version kept it
	if _, err := h.Finish(t.Context(), f, q); err != nil {
		t.Errorf("a login that an earlier version began: %v", err)
	}
}

// TestCheck_FollowsTheSettings: a token that was accepted is judged by the settings in force, with no request to anybody.
func TestCheck_FollowsTheSettings(t *testing.T) {
	further := newFixture(t)
	bearerIssuer := oidc.BearerIssuer{Issuer: further.settings.Issuer, Audiences: []string{audience}, UserClaim: "oid", CAFile: further.settings.CAFile}
	h := startFixture(t, func(s *oidc.Settings) { s.BearerIssuers = []oidc.BearerIssuer{bearerIssuer} })
	type verifiedToken struct {
		text     string
		identity oidc.Identity
	}
	verified := func(token string) verifiedToken {
		t.Helper()
		id, reason := h.bearer(token)
		if reason != "" {
			t.Fatalf("a good token gives %q", reason)
		}
		return verifiedToken{token, id}
	}
	user, app := verified(h.accessToken()), verified(h.entra.AppToken("an-app", "b6a1c0de-0000-4000-8000-000000000009", audience, nil))
	elsewhere := verified(further.accessToken())
	for name, c := range map[string]struct {
		alter                func(*oidc.Settings)
		user, app, elsewhere oidc.Reason
	}{
		"the_same":               {func(*oidc.Settings) {}, "", "", ""},
		"scopes":                 {func(s *oidc.Settings) { s.Scopes = []string{"openid"} }, "", "", ""},
		"more_audiences":         {func(s *oidc.Settings) { s.APIAudiences = []string{"api://other", audience} }, "", "", ""},
		"audience":               {func(s *oidc.Settings) { s.APIAudiences = []string{"api://other"} }, oidc.WrongAudience, oidc.WrongAudience, ""},
		"no_audience":            {func(s *oidc.Settings) { s.APIAudiences = nil }, oidc.WrongAudience, oidc.WrongAudience, ""},
		"claim":                  {func(s *oidc.Settings) { s.UserClaim = "sub" }, oidc.ClaimMissing, "", ""},
		"missing_claim":          {func(s *oidc.Settings) { s.UserClaim = "employee" }, oidc.ClaimMissing, "", ""},
		"applications":           {func(s *oidc.Settings) { s.Applications.Claim = "nothing" }, "", oidc.ClaimMissing, ""},
		"bearer_issuer_removed":  {func(s *oidc.Settings) { s.BearerIssuers = nil }, "", "", oidc.WrongIssuer},
		"bearer_issuer_for_apps": {func(s *oidc.Settings) { s.BearerIssuers[0].UserClaim = "" }, "", "", oidc.WrongIssuer},
		"issuer": {func(s *oidc.Settings) {
			s.Issuer, s.CAFile, s.BearerIssuers = further.settings.Issuer, further.settings.CAFile, nil
		}, oidc.WrongIssuer, oidc.WrongIssuer, ""},
		"authorities": {func(s *oidc.Settings) {
			s.CAFile = h.write("ca.pem", append(readFile(t, h.settings.CAFile), readFile(t, further.settings.CAFile)...))
		}, "", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			next := h.mustWith(func(s *oidc.Settings) {
				s.BearerIssuers = []oidc.BearerIssuer{bearerIssuer}
				c.alter(s)
			})
			for _, id := range []struct {
				name  string
				token verifiedToken
				want  oidc.Reason
			}{{"user", user, c.user}, {"app", app, c.app}, {"elsewhere", elsewhere, c.elsewhere}} {
				for range 2 { // the second time from memory
					if got := reasonOf(next.Check(&id.token.identity, id.token.text)); got != id.want {
						t.Errorf("%s: %q, want %q", id.name, got, id.want)
					}
				}
				if got := reasonOf(h.Check(&id.token.identity, id.token.text)); got != "" {
					t.Errorf("%s, by the former settings: %q", id.name, got)
				}
			}
		})
	}
}

// TestWith_RemembersWhenTokensCame: a token that was verified before its user was deactivated was issued before, whatever
// settings came since.
func TestWith_RemembersWhenTokensCame(t *testing.T) {
	h := startFixture(t, nil)
	token := h.accessToken()
	h.bearer(token) // keys that were fetched for a token do not tell when it came
	first, _ := h.bearer(token)
	for name, alter := range map[string]func(*oidc.Settings){
		"audience": func(s *oidc.Settings) { s.APIAudiences = append(s.APIAudiences, "api://other") },
		"authorities": func(s *oidc.Settings) {
			s.CAFile = h.write("ca.pem", append(readFile(t, h.settings.CAFile), readFile(t, newFixture(t).settings.CAFile)...))
		},
	} {
		second, err := h.mustWith(alter).Bearer(t.Context(), token)
		if err != nil {
			t.Fatal(err)
		}
		if at := oidc.FirstSeen(&first); at.IsZero() || !oidc.FirstSeen(&second).Equal(at) {
			t.Errorf("%s: first seen %s, then %s", name, at, oidc.FirstSeen(&second))
		}
	}
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
