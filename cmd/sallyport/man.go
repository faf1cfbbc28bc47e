package main

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func manCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "man DIR",
		Short: "Write the manual pages of every command to a folder",
		Long: "Write the manual pages of every command to the folder DIR, which is made if it is missing. Pages of the same names that are\n" +
			"there are replaced.",
		Example: "  sallyport man /usr/local/share/man/man1",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			pages := manualPages(cmd.Root())
			if err := os.MkdirAll(args[0], 0o755); err != nil { //nolint:gosec // everybody may read manual pages
				return err
			}
			for name, page := range pages {
				if err := os.WriteFile(filepath.Join(args[0], name), page, 0o644); err != nil { //nolint:gosec // the same
					return err
				}
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%d pages are in %s; begin with `man -l %s`\n", len(pages), args[0], filepath.Join(args[0], "sallyport.1"))
			return nil
		},
	}
}

// manualPages returns the manual page of every command, by the name of its file.
func manualPages(root *cobra.Command) map[string][]byte {
	pages := map[string][]byte{}
	var add func(*cobra.Command)
	add = func(c *cobra.Command) {
		pages[manualName(c)+".1"] = manualPage(c)
		for _, sub := range c.Commands() {
			add(sub)
		}
	}
	add(root)
	return pages
}

// manualName returns the name of a command's page: sallyport-users-list.
func manualName(c *cobra.Command) string { return strings.ReplaceAll(c.CommandPath(), " ", "-") }

// manualPage returns the page of a command in the language of roff, with the macros of man(7). It has no date, so that the
// same version always writes the same pages.
func manualPage(c *cobra.Command) []byte {
	c.InitDefaultHelpFlag()
	var p roff
	p.line(".TH", strings.ToUpper(manualName(c)), "1", "", "Sallyport "+version, "Sallyport")
	p.section("NAME")
	p.text(manualName(c) + " - " + c.Short)
	p.section("SYNOPSIS")
	if c.Runnable() {
		p.line(".B", c.UseLine())
	} else {
		p.line(".B", c.CommandPath()+" COMMAND")
	}
	p.section("DESCRIPTION")
	p.text(cmp.Or(c.Long, c.Short+"."))
	if len(c.Commands()) > 0 {
		p.section("COMMANDS")
		for _, sub := range c.Commands() {
			p.term(sub.Name(), sub.Short)
		}
	}
	p.section("OPTIONS")
	c.NonInheritedFlags().VisitAll(p.flag)
	c.InheritedFlags().VisitAll(p.flag)
	p.section("EXIT STATUS")
	for _, s := range exitStatuses(c) {
		p.term(fmt.Sprint(s.code), s.meaning)
	}
	p.examples(c)
	p.section("FILES")
	for _, f := range manualFiles {
		p.term(f[0], f[1])
	}
	p.section("SEE ALSO")
	p.text(strings.Join(manualRelatives(c), ", "))
	return p.out.Bytes()
}

// manualFiles are what the section FILES says.
var manualFiles = [][2]string{
	{"sallyport.yaml", "The configuration file, unless -c names another. `sallyport config example` prints one with every part explained."},
	{"data/sallyport.db", "The store: users, groups, sessions and tokens (store.bolt.path)."},
	{"data/sallyport.db.run", "The addresses of the running server, by which commands find it while the configuration file has a fault."},
	{"data/control.sock", "The control socket of the running server (control.socket)."},
	{"data/audit.jsonl", "The audit record (audit.file)."},
}

// manualRelatives returns the pages of the command above c and of those below it.
func manualRelatives(c *cobra.Command) (names []string) {
	if c.HasParent() {
		names = append(names, manualName(c.Parent())+"(1)")
		for _, sibling := range c.Parent().Commands() {
			if sibling != c && c.Parent().HasParent() {
				names = append(names, manualName(sibling)+"(1)")
			}
		}
	}
	for _, sub := range c.Commands() {
		names = append(names, manualName(sub)+"(1)")
	}
	return names
}

// roff is a page that is being written.
type roff struct{ out bytes.Buffer }

// roffText escapes what roff would take for its own.
var roffText = strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "^", `\(ha`, "~", `\(ti`, "\t", "    ")

// escape returns text in which nothing is a command of roff, in ASCII.
func escape(text string) string {
	var out strings.Builder
	for _, r := range roffText.Replace(text) {
		if r < 0x80 {
			out.WriteRune(r)
		} else {
			fmt.Fprintf(&out, `\[u%04X]`, r)
		}
	}
	return out.String()
}

// line writes a macro with its arguments.
func (p *roff) line(macro string, args ...string) {
	p.out.WriteString(macro)
	for _, arg := range args {
		p.out.WriteString(` "` + strings.ReplaceAll(escape(arg), `"`, `\(dq`) + `"`)
	}
	p.out.WriteByte('\n')
}

func (p *roff) section(name string) { p.out.WriteString(".SH " + name + "\n") }

// text writes paragraphs. Words between backquotes are bold.
func (p *roff) text(s string) {
	for i, paragraph := range strings.Split(s, "\n\n") {
		if i > 0 {
			p.out.WriteString(".PP\n")
		}
		words := strings.Split(escape(paragraph), "`")
		for i := range words {
			if i%2 == 1 {
				words[i] = `\fB` + words[i] + `\fR`
			}
		}
		for line := range strings.SplitSeq(strings.Join(words, ""), "\n") {
			p.plainLine(strings.TrimSpace(line))
		}
	}
}

// plainLine writes a line that is no macro, whatever it begins with.
func (p *roff) plainLine(escaped string) {
	if strings.HasPrefix(escaped, ".") {
		escaped = `\&` + escaped
	}
	p.out.WriteString(escaped + "\n")
}

func (p *roff) term(name, meaning string) {
	p.out.WriteString(".TP\n")
	p.line(".B", name)
	p.text(meaning)
}

func (p *roff) flag(f *pflag.Flag) {
	if f.Hidden {
		return
	}
	value, usage := pflag.UnquoteUsage(f)
	name := strings.TrimSpace("--" + f.Name + " " + value)
	if f.Shorthand != "" {
		name = "-" + f.Shorthand + ", " + name
	}
	if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "[]" && f.DefValue != "0" {
		usage += " (default " + f.DefValue + ")"
	}
	p.term(name, usage)
}

// examples writes the examples of a command, or those of the commands below it.
func (p *roff) examples(c *cobra.Command) {
	p.section("EXAMPLES")
	p.out.WriteString(".nf\n")
	for _, each := range append([]*cobra.Command{c}, c.Commands()...) {
		if each != c && c.Example != "" {
			break
		}
		for line := range strings.SplitSeq(each.Example, "\n") {
			if line = strings.TrimSpace(line); line != "" {
				p.plainLine(escape(line))
			}
		}
	}
	p.out.WriteString(".fi\n")
}
