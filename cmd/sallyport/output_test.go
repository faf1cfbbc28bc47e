package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"sallyport/access"
)

// TestPrintable_KeepsNamesOffTheTerminal: no name that the identity provider pushed moves the cursor or turns text around.
func TestPrintable_KeepsNamesOffTheTerminal(t *testing.T) {
	const name = "a\x1b[2J\u009b1mb\u202ec\rd"
	var out bytes.Buffer
	writeExplanation(&out, access.Explanation{Caller: access.CallerFacts{Kind: "user", UserName: name, Name: name, Manager: name, Groups: []access.GroupName{{Name: name}}, Roles: []string{name}},
		Route: access.RouteFacts{Owner: name}, Hints: []string{name}})
	if err := writeTable(&out, table{heads: []string{"who"}, rows: [][]string{{name}}}); err != nil {
		t.Fatal(err)
	}
	run(context.Background(), []string{"explain", "--request", name, "-c", "no\x1b[2Jthing.yaml"}, nil, &out, &out)
	if strings.ContainsAny(out.String(), "\x1b\u009b\u202e\r") {
		t.Errorf("%q", out.String())
	}
}

// TestPrintTable_CSVHasNoFormulas: no name or reason that somebody wrote is a formula in the spreadsheet of whoever opens the
// output of a verb. Other formats, which programs read, have it as it is.
func TestPrintTable_CSVHasNoFormulas(t *testing.T) {
	for _, text := range []string{"=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\r=x", "\n=x", "＝1", "＋1", "－1", "＠x", "harmless", "a=b", ""} {
		want := text
		if text != "" && text != "harmless" && text != "a=b" {
			want = "'" + text
		}
		cmd := &cobra.Command{}
		addOutputFlag(cmd)
		var out bytes.Buffer
		cmd.SetOut(&out)
		if err := errors.Join(cmd.Flags().Set("output", "csv"), printTable(cmd, table{heads: []string{"why"}, rows: [][]string{{text, "x"}}})); err != nil {
			t.Fatal(err)
		}
		r := csv.NewReader(&out)
		r.FieldsPerRecord = -1
		rows, err := r.ReadAll()
		if err != nil || len(rows) != 2 || rows[1][0] != strings.ReplaceAll(want, "\r\n", "\n") {
			t.Errorf("%q is written as %q, %v", text, rows, err)
		}
	}
}

// TestOutput_EveryCommandThatPrintsFactsHasFormats: a command has -o, or is named here with what it prints.
func TestOutput_EveryCommandThatPrintsFactsHasFormats(t *testing.T) {
	const (
		does     = "says in a line what it did"
		document = "prints a document of one format"
		runs     = "runs until it is stopped"
		yes      = "says all by its exit code"
	)
	without := map[string]string{
		"serve": runs, "demo": runs, "init": does, "reload": does, "upgrade": does, "healthcheck": yes, "man": does, "help": document,
		"completion bash": document, "completion zsh": document, "completion fish": document, "completion powershell": document,
		"config example": document, "config schema": document, "audit schema": document, "audit key": document,
		"access review key": document, "access review export": document, "access review memberships": document,
		"backup": does, "store accept-loss": does, "support-bundle": does, "token revoke": does, "audit receipt verify": yes, "users suspend": does, "users unsuspend": does, "users remove": does, "groups remove": does,
		"sessions end": does, "live end": does, "request deny": does, "grants revoke": does, "breakglass disarm": does, "scim held release": does, "scim held reject": does,
	}
	for _, c := range commands(rootCommand()) {
		name := strings.TrimPrefix(c.CommandPath(), "sallyport ")
		flag := c.Flags().ShorthandLookup("o")
		if !c.Runnable() || flag == nil != (without[name] != "") {
			if c.Runnable() {
				t.Errorf("%s has -o: %t; named as one that %q", name, flag != nil, without[name])
			}
			continue
		}
		if flag != nil && flag.Name != "output" {
			t.Errorf("%s has -o for --%s", name, flag.Name)
		}
	}
}
