package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sallyport/config"
)

const rulesText = `public_url: https://login.example.com
policies:
  - name: sre
    rules:
      - allow: {groups: [{id: a, name: SRE}]}
routes:
  - {name: grafana, host: grafana.example.com, upstream: "http://127.0.0.1:1", policy: [sre]}
tests:
  - {as: ada, groups: [SRE], get: grafana.example.com/, want: allow}
`

// demandFaults demands that err is Faults, in which every line of want occurs.
func demandFaults(t *testing.T, err error, want ...string) {
	t.Helper()
	var faults config.Faults
	if !errors.As(err, &faults) || len(faults) != len(want) {
		t.Fatalf("%v, want %q", err, want)
	}
	for i, text := range want {
		if !strings.Contains(faults[i].String(), text) {
			t.Errorf("%s, want %s", faults[i], text)
		}
	}
}

func TestParseRules_NeedsRulesAlone(t *testing.T) {
	rules, err := config.ParseRules("x.yaml", []byte(rulesText))
	if err != nil || len(rules.Settings.Policies) != 1 || len(rules.Settings.Routes) != 1 || len(rules.Tests) != 1 {
		t.Fatalf("%+v, %v", rules, err)
	}
	if got := rules.Fault("policies[0].rules[0].allow.groups[0]", "is odd").String(); got != "x.yaml:5:26: policies[0].rules[0].allow.groups[0]: is odd" {
		t.Error(got)
	}
	_, err = config.ParseRules("x.yaml", []byte(rulesText+"forward_auth: {secret_file: /none}\nlisten: {public: nowhere}\n"))
	if err != nil {
		t.Errorf("a fault that is not about rules: %v", err)
	}
	_, err = config.ParseRules("x.yaml", []byte(strings.Replace(rulesText, "want: allow", "want: let in", 1)+"trusted_proxies: [all]\n"))
	demandFaults(t, err, `x.yaml:9:63: tests[0].want: "let in" is not a decision`, "x.yaml:10:")
	_, err = config.ParseRules("x.yaml", []byte("a: [b"))
	demandFaults(t, err, "is not YAML")
}

func TestReadRules_ReturnsTextAndFaults(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.yaml")
	if _, _, err := config.ReadRules(path); err == nil || !strings.Contains(err.Error(), "there is no configuration file") {
		t.Error(err)
	}
	if err := os.WriteFile(path, []byte(rulesText), 0o600); err != nil {
		t.Fatal(err)
	}
	if text, rules, err := config.ReadRules(path); err != nil || string(text) != rulesText || len(rules.Tests) != 1 {
		t.Errorf("%q, %+v, %v", text, rules, err)
	}
}

func TestParseTests_HasNoOtherKey(t *testing.T) {
	cases, err := config.ParseTests("t.yaml", []byte("tests:\n  - {as: ada, get: x/, want: allow}\n  - {as: anonymous, put: x/, want: deny}\n"))
	if err != nil || len(cases) != 2 || cases[1].Put != "x/" {
		t.Errorf("%+v, %v", cases, err)
	}
	_, err = config.ParseTests("t.yaml", []byte("tests: [{as: ada}]\npolicies: []\n"))
	demandFaults(t, err, "t.yaml:1:9: tests[0]: has 0 requests", "t.yaml:1:9: tests[0].want", "t.yaml:2:1: policies: is not a key here")
	_, err = config.ParseTests("t.yaml", nil)
	demandFaults(t, err, "the file is empty")
}

func TestValidateWithoutFiles_SaysNothingOfFiles(t *testing.T) {
	path := writeExample(t)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	sound := strings.ReplaceAll(string(text), "TENANT-ID", "6f2c8c1e-0000-0000-0000-000000000000")
	for name, c := range map[string]struct {
		text string
		want []string
	}{
		"sound":       {sound, nil},
		"no_secret":   {strings.Replace(sound, "client_secret_file: secrets/oidc", "client_secret_file: secrets/none", 1), nil},
		"placeholder": {string(text), []string{"TENANT-ID is left in"}},
		"unknown_key": {sound + "\npublik_url: x\n", []string{"publik_url: is not a key here"}},
	} {
		t.Run(name, func(t *testing.T) {
			elsewhere := filepath.Join(t.TempDir(), "sallyport.yaml")
			if err := os.WriteFile(elsewhere, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			file, err := config.ValidateWithoutFiles(elsewhere)
			if c.want == nil && (err != nil || len(file.Routes) == 0) {
				t.Errorf("%v", err)
			}
			if c.want != nil {
				demandFaults(t, err, c.want...)
			}
		})
	}
	if _, err := config.ValidateWithoutFiles(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a file that is not there is sound")
	}
}

// TestParseChange_ReplacesParts: what is pasted replaces the same parts of the configuration in force, and its mistakes are
// where they stand in the paste.
func TestParseChange_ReplacesParts(t *testing.T) {
	changed := "policies:\n  - name: sre\n    rules:\n      - allow: {groups: [{id: b, name: Ops}]}\n"
	rules, err := config.ParseChange("", []byte(changed), []byte(rulesText))
	if err != nil || len(rules.Settings.Routes) != 1 || len(rules.Tests) != 1 || rules.Settings.Policies[0].Rules[0].Allow.Groups[0].ID != "b" {
		t.Fatalf("%+v, %v", rules, err)
	}
	if line, col := rules.Place("policies[0].rules[0].allow"); line != 4 || col != 16 {
		t.Errorf("the rule is at %d:%d", line, col)
	}
	if line, col := rules.Place("routes[0].policy"); line != 0 || col != 0 {
		t.Errorf("a route that was not pasted is at %d:%d", line, col)
	}
	whole := strings.Replace(rulesText, "id: a", "id: c", 1)
	if rules, err = config.ParseChange("", []byte(whole), []byte(rulesText)); err != nil || rules.Settings.Policies[0].Rules[0].Allow.Groups[0].ID != "c" {
		t.Errorf("the whole file: %+v, %v", rules, err)
	}
	_, err = config.ParseChange("", []byte(strings.Replace(changed, "allow:", "alow:", 1)), []byte(rulesText))
	demandFaults(t, err, ":4:9: policies[0].rules[0].alow: is not a key here; write allow", ":4:9: policies[0].rules[0]: must have")
	_, err = config.ParseChange("", []byte(strings.Replace(changed, "name: sre", "name: ops", 1)), []byte(rulesText))
	demandFaults(t, err, ":0:0: routes[0].policy")
	for text, want := range map[string]string{"polices: []\nroutes: []": "1:1: polices: is not a key here; write policies", rulesText + "polices: []": "10:1: polices: is not a key here", "": "the file is empty", "x": "must have keys of its own", "- a": "must have keys of its own", "a: [": "is not YAML", "listen: {public: \"1\"}": "policies: is missing"} {
		if _, err = config.ParseChange("", []byte(text), []byte(rulesText)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}
