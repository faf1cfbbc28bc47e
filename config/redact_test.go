package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestRedact_HasNoSecret: wherever somebody writes a secret into the file, it is not left, and what helps is.
func TestRedact_HasNoSecret(t *testing.T) {
	dir := t.TempDir()
	const canary = "Canary0SecretValue"
	path := filepath.Join(dir, "sallyport.yaml")
	text := strings.ReplaceAll(`public_url: https://login.example.com
# CANARY in a comment
oidc: {issuer: "https://user:CANARY@idp.example.com/tenant", client_id: CANARY, client_secret: CANARY, client_secret_file: CANARY}
CANARY: {CANARY: 1}
session: {lifetime: 12h, idle: CANARY}
webhooks: [{name: siem, url: "https://hooks.example.com/services/CANARY?token=CANARY", secret_file: secret}]
policies: [{name: sre, rules: [{allow: {users: [CANARY], when: 'request.host == "CANARY"'}}]}]
routes:
  - {name: app, host: app.example.com, upstream: ["http://u:CANARY@10.0.0.1:80/x"], policy: [sre], request_headers: {Authorization: Bearer CANARY, CANARY: x}, owner: CANARY}
audit: &a {file: CANARY, rotate: {size: 100MiB}}
limits: *a
log: {level: "CANARY!"}
`, "CANARY", canary)
	for name, content := range map[string]string{path: text, filepath.Join(dir, "secret"): canary} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := Redact(path)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(got.Text), canary) {
		t.Errorf("a secret is left:\n%s", got.Text)
	}
	for _, want := range []string{"https://login.example.com", "https://idp.example.com/[redacted]", "https://hooks.example.com/[redacted]", "http://10.0.0.1:80/[redacted]", "lifetime: 12h", "host: app.example.com", "name: siem", "size: 100MiB", "[a file, mode 0600]", "[no file that can be seen]"} {
		if !strings.Contains(string(got.Text), want) {
			t.Errorf("%q is not left:\n%s", want, got.Text)
		}
	}
	if len(got.Files) != 1 {
		t.Errorf("the files are %q", got.Files)
	}
	if err := os.WriteFile(path, []byte("a: [\n"+canary), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Redact(path); err == nil || strings.Contains(err.Error(), canary) {
		t.Errorf("what is no YAML gets %v", err)
	}
}

// TestRedact_LimitsTexts: a text is shown only if it has at most 100 characters.
func TestRedact_LimitsTexts(t *testing.T) {
	for name, want := range map[string]bool{strings.Repeat("é", 100): true, strings.Repeat("é", 101): false, "a\tb": false} {
		path := filepath.Join(t.TempDir(), "sallyport.yaml")
		if err := os.WriteFile(path, []byte("webhooks: [{name: \""+name+"\"}]\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := Redact(path)
		if err != nil {
			t.Fatal(err)
		}
		if left := strings.Contains(string(got.Text), name); left != want {
			t.Errorf("whether %q is left: %v", name, left)
		}
	}
}
