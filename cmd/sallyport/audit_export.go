package main

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"sallyport/audit"
	"sallyport/audit/ocsf"
)

func auditExportCommand() *cobra.Command {
	var filter recordFilter
	format := choice{"jsonl", []string{"jsonl", "json", "csv", "ocsf"}}
	c := &cobra.Command{
		Use:   "export [FILE...]",
		Short: "Print the events of a time, a user, a route or a kind, for others to keep",
		Long: "Print the events of the record, or of the files named, that the flags select. The chain is checked on the way: exits\n" +
			"with 2 if a file is not sound, after what is sound. In jsonl, each line is as it is in the record; in\n" +
			"ocsf, it is an event of the Open Cybersecurity Schema Framework " + ocsf.Version + ", one a line.",
		Example: "  sallyport audit export --since 30d --user ada@example.com -o csv\n" +
			"  sallyport audit export --kind cut audit.jsonl.1",
		Annotations: exits(exitDenied, "a file of the record is not sound"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := filter.prepare(cmd); err != nil {
				return err
			}
			record, err := findRecord(cmd, args)
			if err != nil {
				return err
			}
			defer record.Close()
			noteAlone(cmd, record)
			out := bufio.NewWriter(cmd.OutOrStdout())
			err = exportRecord(record, &filter, newLineWriter(out, format.value, isTerminal(cmd.OutOrStdout())))
			return errors.Join(err, out.Flush())
		},
	}
	filter.addFlags(c)
	c.Flags().Var(&filter.until, "until", "only events until then")
	_ = c.RegisterFlagCompletionFunc("until", cobra.NoFileCompletions)
	format.addFlag(c)
	return c
}

// findRecord opens the files that a command is about, or those of this installation.
func findRecord(cmd *cobra.Command, args []string) (*audit.Record, error) {
	if len(args) > 0 {
		return audit.OpenFiles(args)
	}
	path, err := findInstallation(configPath(cmd)).auditFile()
	if err != nil {
		return nil, err
	}
	return audit.OpenRecord(path)
}

// exportRecord writes the lines of a record that filter selects.
func exportRecord(record *audit.Record, filter *recordFilter, to lineWriter) error {
	if err := to.begin(); err != nil {
		return err
	}
	_, err := record.ReadLines(filter.since.at, func(l audit.Line, text []byte) error {
		if !filter.matches(&l.Event) {
			return nil
		}
		return to.line(&l, text)
	})
	if unsound := (*audit.FileError)(nil); errors.As(err, &unsound) {
		err = fmt.Errorf("%w: %s is not sound after %d sound lines, and the export ends there: %w", errDenied, unsound.Path, unsound.Lines, unsound.Err)
	}
	return errors.Join(err, to.end())
}

// lineWriter writes lines of the record in a format.
type lineWriter interface {
	begin() error
	line(l *audit.Line, text []byte) error
	end() error
}

// newLineWriter returns the writer for a format. For a terminal, characters that could drive it are escaped.
func newLineWriter(out io.Writer, format string, terminal bool) lineWriter {
	switch format {
	case "json":
		return &jsonLines{out: out, array: true, escape: terminal}
	case "csv":
		return &csvLines{out: csv.NewWriter(out), terminal: terminal}
	case "ocsf":
		return &ocsfLines{jsonLines{out: out, escape: terminal}}
	}
	return &jsonLines{out: out, escape: terminal}
}

// jsonLines writes lines as they are in the record, as the elements of an array if wanted.
type jsonLines struct {
	out           io.Writer
	array, escape bool
	lines         int
}

func (j *jsonLines) begin() error {
	if !j.array {
		return nil
	}
	_, err := io.WriteString(j.out, "[")
	return err
}

func (j *jsonLines) line(_ *audit.Line, text []byte) error {
	before, after := "", "\n"
	if j.array {
		if before, after = "\n", ""; j.lines > 0 {
			before = ",\n"
		}
	}
	j.lines++
	if j.escape {
		text = escapeJSON(text)
	}
	_, err := fmt.Fprintf(j.out, "%s%s%s", before, text, after)
	return err
}

func (j *jsonLines) end() error {
	if !j.array {
		return nil
	}
	_, err := io.WriteString(j.out, "\n]\n")
	return err
}

// ocsfLines writes lines as events of OCSF, one a line.
type ocsfLines struct{ jsonLines }

func (o *ocsfLines) line(l *audit.Line, text []byte) error {
	event, err := ocsf.Encode(l, text)
	if err != nil {
		return fmt.Errorf("line %d: %w", l.Seq, err)
	}
	return o.jsonLines.line(l, event)
}

// escapeJSON escapes the characters in JSON that could drive a terminal or change the direction of text. The value stays
// the same, but not the bytes that the line's hash covers.
func escapeJSON(text []byte) []byte {
	odd := func(r rune) bool { return r >= 0x7f && r < 0xa0 || unicode.Is(unicode.Bidi_Control, r) }
	out := make([]byte, 0, len(text))
	for _, r := range string(text) {
		switch {
		case odd(r):
			out = fmt.Appendf(out, `\u%04x`, r)
		case r < ' ': // none is in a line that was written
			out = append(out, ' ')
		default:
			out = append(out, string(r)...)
		}
	}
	return out
}

// csvHeads are the columns of an export.
var csvHeads = []string{"seq", "time", "kind", "decision", "reason", "user", "user_name", "actor_kind", "actor_name", "actor_address", "actor_id", "actor_session",
	"group", "session", "route", "rule", "host", "method", "path", "address", "code", "rev", "request", "detail", "hash", "replica"}

// csvLines writes lines so that a spreadsheet takes no cell for a formula.
type csvLines struct {
	out      *csv.Writer
	terminal bool
}

func (c *csvLines) begin() error { return c.out.Write(csvHeads) }

func (c *csvLines) line(l *audit.Line, _ []byte) error {
	detail := ""
	if len(l.Detail) > 0 {
		text, err := json.Marshal(l.Detail)
		if err != nil {
			return err
		}
		detail = string(text)
	}
	a := l.Actor
	row := []string{strconv.FormatUint(l.Seq, 10), l.Time.UTC().Format(time.RFC3339Nano), string(l.Kind), l.Decision, l.Reason, l.User, l.UserName,
		string(a.Kind), a.Name, a.Address, a.ID, a.Session, l.Group, l.Session, l.Route, l.Rule, l.Host, l.Method, l.Path, l.Address,
		noZero(strconv.Itoa(l.Code)), noZero(strconv.FormatUint(l.Revision, 10)), l.Request, detail, l.Hash, l.Replica}
	for i, cell := range row {
		if c.terminal {
			cell = printable(cell)
		}
		row[i] = plainCell(cell)
	}
	return c.out.Write(row)
}

func (c *csvLines) end() error {
	c.out.Flush()
	return c.out.Error()
}

// noZero returns a number as text, or "" for 0, which is none.
func noZero(number string) string {
	if number == "0" {
		return ""
	}
	return number
}

// isTerminal reports whether out is a terminal, or another device that shows what it gets.
func isTerminal(out io.Writer) bool {
	f, ok := out.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// choice is the value of a flag: one of several words.
type choice struct {
	value  string
	values []string
}

// addFlag adds the flag -o to c.
func (v *choice) addFlag(c *cobra.Command) {
	c.Flags().VarP(v, "output", "o", "`FORMAT` of the output: "+wordList(v.values))
	_ = c.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(v.values, cobra.ShellCompDirectiveNoFileComp))
}

// Type implements the interface of a flag's value.
func (*choice) Type() string { return "string" }

// String implements the interface of a flag's value.
func (v *choice) String() string { return v.value }

// Set implements the interface of a flag's value.
func (v *choice) Set(text string) error {
	if !slices.Contains(v.values, text) {
		return fmt.Errorf("%q is no format; write %s", text, wordList(v.values))
	}
	v.value = text
	return nil
}

// wordList returns words as text: a, b or c.
func wordList(words []string) (list string) {
	for i, word := range words {
		switch {
		case i == 0:
		case i == len(words)-1:
			list += " or "
		default:
			list += ", "
		}
		list += word
	}
	return list
}
