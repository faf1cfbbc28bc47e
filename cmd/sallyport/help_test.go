package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// commands returns every command of the tree, the root first.
func commands(c *cobra.Command) []*cobra.Command {
	all := []*cobra.Command{c}
	for _, sub := range c.Commands() {
		all = append(all, commands(sub)...)
	}
	return all
}

// TestHelp_SaysExamplesAndExitStatus: the help of every command has its exit codes, and that of every command that can be
// run has an example, which the command accepts as it stands.
func TestHelp_SaysExamplesAndExitStatus(t *testing.T) {
	for _, c := range commands(rootCommand()) {
		t.Run(strings.ReplaceAll(c.CommandPath(), " ", "_"), func(t *testing.T) {
			var out bytes.Buffer
			if code := run(context.Background(), append(strings.Fields(c.CommandPath())[1:], "--help"), nil, &out, &out); code != exitOK {
				t.Fatalf("the help exits with %d: %s", code, &out)
			}
			if !regexp.MustCompile(`\nExit status:\n  0  \w.*\n  1  \w`).MatchString(out.String()) {
				t.Errorf("the help has no exit codes: %s", &out)
			}
			if !c.Runnable() {
				return
			}
			if !strings.Contains(c.Example, "sallyport "+strings.TrimPrefix(c.CommandPath(), "sallyport ")) {
				t.Errorf("the help has no example; Example is %q", c.Example)
			}
			for line := range strings.SplitSeq(c.Example, "\n") {
				demandAccepted(t, c.CommandPath(), line)
			}
		})
	}
}

// TestHelp_NamesValuesOfFlags: what follows a flag has a name in capitals, which the text explains, and one default at most.
func TestHelp_NamesValuesOfFlags(t *testing.T) {
	for _, c := range commands(rootCommand()) {
		c.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if name, _ := pflag.UnquoteUsage(f); name != strings.ToUpper(name) {
				t.Errorf("%s: what follows --%s is called %q; put a name in capitals and in backquotes into its text", c.CommandPath(), f.Name, name)
			}
		})
		if usages := c.LocalFlags().FlagUsages(); strings.Contains(usages, "(default 0") || regexp.MustCompile(`(?m)\(default.*\(default`).MatchString(usages) {
			t.Errorf("%s: a default of 0 says nothing, and a second one contradicts the first:\n%s", c.CommandPath(), usages)
		}
	}
}

// TestRun_RefusesUnknownCommands: a command, an argument or a flag that there is not is an error that says what to write.
func TestRun_RefusesUnknownCommands(t *testing.T) {
	tests := map[string]struct{ call, says string }{
		"command":            {"storre", "there is no command `sallyport storre`; did you mean store? `sallyport --help` lists what there is"},
		"command of a group": {"audit tial", "there is no command `sallyport audit tial`; did you mean tail? `sallyport audit --help` lists what there is"},
		"nothing similar":    {"store xyzzy file", "there is no command `sallyport store xyzzy`; `sallyport store --help` lists what there is"},
		"its help":           {"store xyzzy --help", "there is no command `sallyport store xyzzy`; `sallyport store --help` lists what there is"},
		"behind a flag":      {"-c x.yaml scim held lsit", "there is no command `sallyport scim held lsit`; did you mean list? `sallyport scim held --help` lists what there is"},
		"too few arguments":  {"backup", "accepts 1 arg(s), received 0; write `sallyport backup FILE [flags]`"},
		"an argument":        {"doctor now", "write `sallyport doctor [flags]`"},
		"flag":               {"audit tail --folow", "unknown flag: --folow; `sallyport audit tail --help` lists the flags"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var out, errs bytes.Buffer
			code := run(context.Background(), strings.Fields(test.call), nil, &out, &errs)
			if code != exitError || out.Len() != 0 || !strings.Contains(errs.String(), test.says) {
				t.Errorf("exit code %d, %q on standard output, and the error %q; want 1, nothing, and %q", code, &out, &errs, test.says)
			}
		})
	}
	for _, group := range []string{"", "audit", "scim held"} {
		if code := run(context.Background(), strings.Fields(group), nil, new(bytes.Buffer), new(bytes.Buffer)); code != exitOK {
			t.Errorf("`sallyport %s` exits with %d; want its help, and 0", group, code)
		}
	}
}

// commandInLine matches a command of ours in a line of the shell, up to what the shell does with its output.
var commandInLine = regexp.MustCompile(`sallyport (?:'[^']*'|"[^"]*"|[^'"|>)#])*`)

// demandAccepted demands that the arguments and flags of an example are those of its command.
func demandAccepted(t *testing.T, path, line string) {
	t.Helper()
	call := strings.TrimSpace(commandInLine.FindString(line))
	if !strings.HasPrefix(line, "  ") || call == "" || !strings.HasPrefix(call+" ", path+" ") {
		t.Errorf("%q is no example of %s; write two spaces and the command", line, path)
		return
	}
	words := shellWords(call)[1:]
	c, rest, err := rootCommand().Find(words)
	if err == nil {
		err = c.ParseFlags(rest)
	}
	if err == nil {
		err = c.ValidateArgs(c.Flags().Args())
	}
	if err == nil {
		err = c.ValidateRequiredFlags()
	}
	if err == nil {
		err = c.ValidateFlagGroups()
	}
	if err != nil || c.CommandPath() != path {
		t.Errorf("%q is not accepted: %v", line, err)
	}
}

// shellWords splits a line at spaces that are not quoted.
func shellWords(line string) (words []string) {
	for _, word := range regexp.MustCompile(`(?:'[^']*'|"[^"]*"|\S)+`).FindAllString(line, -1) {
		words = append(words, strings.NewReplacer(`'`, "", `"`, "").Replace(word))
	}
	return words
}

// TestHelp_SaysWhoExitsWithTwo: a command exits with 2 in some script if, and only if, its help says when.
func TestHelp_SaysWhoExitsWithTwo(t *testing.T) {
	scripts, err := filepath.Glob(filepath.Join("testdata", "script", "*.txtar"))
	if err != nil {
		t.Fatal(err)
	}
	scripted := map[string]bool{}
	for _, name := range scripts {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, call := range regexp.MustCompile(`(?m)^exits 2 sallyport (.*)$`).FindAllStringSubmatch(string(text), -1) {
			if c, _, err := rootCommand().Find(shellWords(call[1])); err == nil {
				scripted[c.CommandPath()] = true
			}
		}
	}
	for _, c := range commands(rootCommand()) {
		if _, says := c.Annotations[exitAnnotation+"2"]; says != scripted[c.CommandPath()] {
			t.Errorf("the help of %s says when it exits with 2: %t; a script has it do so: %t", c.CommandPath(), says, scripted[c.CommandPath()])
		}
	}
}
