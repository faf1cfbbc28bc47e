package oidc_test

import (
	"path/filepath"
	"strings"
	"testing"

	"sallyport/oidc"
)

func TestSettings_RejectsMistakes(t *testing.T) {
	dir := t.TempDir()
	h := &fixture{t: t}
	good, empty := h.write("secret", []byte(secret)), h.write("empty", nil)
	issuer := func(text string) func(*oidc.Settings) { return func(s *oidc.Settings) { s.Issuer = text } }
	for _, c := range []struct {
		path, want string
		alter      func(*oidc.Settings)
	}{
		{"issuer", "is not the URL", issuer("")},
		{"issuer", "is not the URL", issuer("login.example.com")},
		{"issuer", "is not the URL", issuer("https://login.example.com/?tenant=x")},
		{"issuer", "is not the URL", issuer("https://user:pass@login.example.com/x")},
		{"issuer", "must be https", issuer("http://login.example.com")},
		{"issuer", "your own tenant's ID", issuer("https://login.microsoftonline.com/common/v2.0")},
		{"issuer", "your own tenant's ID", issuer("https://login.microsoftonline.com/Organizations/v2.0")},
		{"issuer", "your own tenant's ID", issuer("https://login.microsoftonline.us/consumers/v2.0")},
		{"issuer", "TENANT-ID/v2.0", issuer("https://login.microsoftonline.com/contoso.onmicrosoft.com/v2.0")},
		{"issuer", "/v2.0", issuer("https://login.microsoftonline.com/TENANT-ID/")},
		{"issuer", "/v2.0", issuer("https://login.microsoftonline.com/TENANT-ID/v2.0/")},
		{"client_id", "is missing", func(s *oidc.Settings) { s.ClientID = "" }},
		{"client_secret_file", "is missing", func(s *oidc.Settings) { s.ClientSecretFile = "" }},
		{"client_secret_file", "cannot be read", func(s *oidc.Settings) { s.ClientSecretFile = filepath.Join(dir, "missing") }},
		{"client_secret_file", "alone, on one line", func(s *oidc.Settings) { s.ClientSecretFile = empty }},
		{"user_claim", "write oid or sub", func(s *oidc.Settings) { s.UserClaim = "email" }},
		{"user_claim", "is empty", func(s *oidc.Settings) { s.UserClaim = "" }},
		{"user_attribute", "cannot be joined by", func(s *oidc.Settings) { s.UserAttribute = "emails" }},
		{"scopes", "lacks openid", func(s *oidc.Settings) { s.Scopes = []string{"profile"} }},
		{"ca_file", "holds no PEM", func(s *oidc.Settings) { s.CAFile = good }},
		{"applications.value", "belongs to a claim", func(s *oidc.Settings) { s.Applications.Value = "x" }},
		{"applications.client_claims[0]", "is empty", func(s *oidc.Settings) { s.Applications.ClientClaims = []string{""} }},
		{"bearer_issuers[0].applications.value", "belongs to a claim", func(s *oidc.Settings) {
			s.BearerIssuers = []oidc.BearerIssuer{{Issuer: "https://other.example.com", Audiences: []string{"x"}, Applications: oidc.Applications{Value: "x"}}}
		}},
		{"api_audiences[1]", "is empty", func(s *oidc.Settings) { s.APIAudiences = []string{"x", " "} }},
	} {
		s := oidc.Defaults()
		s.Issuer, s.ClientID, s.ClientSecretFile = "https://login.microsoftonline.com/TENANT-ID/v2.0", clientID, good
		s.Check(func(path, problem string) { t.Errorf("good settings: %s: %s", path, problem) })
		c.alter(&s)
		var paths, problems []string
		s.Check(func(path, problem string) { paths, problems = append(paths, path), append(problems, problem) })
		if len(paths) != 1 || paths[0] != c.path || !strings.Contains(problems[0], c.want) {
			t.Errorf("%s %s: faults are at %v: %v", c.path, c.want, paths, problems)
		}
	}
}

func TestSettings_ReportsAllFaults(t *testing.T) {
	n := 0
	oidc.Settings{APIAudiences: []string{""}}.Check(func(_, _ string) { n++ })
	if n != 7 {
		t.Errorf("%d faults", n)
	}
}
