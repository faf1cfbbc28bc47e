package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// TestCompletion_KnowsEveryArgument: what the running server has is completed in every command that names it, and nothing
// is completed by the files of the folder unless a file is meant.
func TestCompletion_KnowsEveryArgument(t *testing.T) {
	// arguments that nobody but the operator knows, and the shell must not complete
	free := []string{"NAME", "URL", "TEXT", ""}
	for _, c := range commands(rootCommand()) {
		if !c.Runnable() || c.Name() == "help" {
			continue
		}
		_, usage, _ := strings.Cut(c.Use, " ")
		words := append(strings.FieldsFunc(usage, func(r rune) bool { return r < 'A' || r > 'Z' }), "")
		kind := argumentKind(c, words[:len(words)-1])
		file := slices.Contains([]string{"FILE", "DIR", "OLD", "NEW"}, words[0])
		if file != (c.ValidArgsFunction == nil) {
			t.Errorf("%s: files are completed: %t", c.UseLine(), c.ValidArgsFunction == nil)
		}
		if kind == "" && !file && !slices.Contains(free, words[0]) {
			t.Errorf("%s: it is not known what completes %s; say it in kindOfArgument or kindOfID", c.UseLine(), words[0])
		}
		c.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) {
			_, known := kindOfFlag[f.Name]
			if _, ok := c.GetFlagCompletionFunc(f.Name); (known || f.Name == "output" && f.Shorthand == "o") && !ok {
				t.Errorf("%s: --%s is not completed", c.CommandPath(), f.Name)
			}
		})
	}
}

// TestCompletion_PutsNoCommandIntoTheShell: whoever names a group at the identity provider writes nothing into the line of
// the operator's shell.
func TestCompletion_PutsNoCommandIntoTheShell(t *testing.T) {
	const id = "0b0b9f7e-0000-0000-0000-000000000001"
	for _, name := range []string{"$(reboot)", "`reboot`", "a;reboot", "a b", "a\nreboot", "a\treboot", "--yes", "=ls", "~root", "a'b", `a"b`, "a|b", "a&b", "a>b", "*", "a:b", "", "\x1b[2J", "a\u202eb", "{a,b}", "!!"} {
		got := plainCompletion(name, id, "about")
		if got.Value != id || !strings.Contains(got.About, "about") {
			t.Errorf("%q is completed as %q", name, got)
		}
		if isPlainWord(name) {
			t.Errorf("%q is a plain word", name)
		}
	}
	for _, name := range []string{"ada@example.com", "Zoë", "sre-team_1.2", "a+b@example.com"} {
		if got := plainCompletion(name, id, ""); got.Value != name {
			t.Errorf("%q is completed as %q", name, got)
		}
	}
}
