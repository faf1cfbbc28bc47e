package main

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v4"
)

// table is what commands print: rows below headings, and the same as values for the formats that programs read.
type table struct {
	heads  []string
	rows   [][]string
	values any
}

func addOutputFlag(cmd *cobra.Command) {
	format := outputFormat("table")
	cmd.Flags().VarP(&format, "output", "o", "`FORMAT` of the output: table, json, yaml or csv")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(outputFormats, cobra.ShellCompDirectiveNoFileComp))
}

var outputFormats = []string{"table", "json", "yaml", "csv"}

// outputFormat is the value of -o. It is checked before the verb does anything: what is shown once must not be lost.
type outputFormat string

// Set implements the interface of a flag's value.
func (f *outputFormat) Set(text string) error {
	if !slices.Contains(outputFormats, text) {
		return fmt.Errorf("%q is no format; write table, json, yaml or csv", text)
	}
	*f = outputFormat(text)
	return nil
}

// String implements the interface of a flag's value.
func (f *outputFormat) String() string { return string(*f) }

// Type implements the interface of a flag's value.
func (*outputFormat) Type() string { return "string" }

// printTable prints t in the format that -o names.
func printTable(cmd *cobra.Command, t table) error {
	format, _ := cmd.Flags().GetString("output")
	out := cmd.OutOrStdout()
	switch format {
	case "json":
		return writeJSON(out, t.values)
	case "yaml":
		return writeYAML(out, t.values)
	case "csv":
		return writeCSV(out, t)
	}
	return writeTable(out, t)
}

// printFacts prints facts as text for people, and as t, which has one row, in the formats that programs read.
func printFacts(cmd *cobra.Command, text string, t table) error {
	if format, _ := cmd.Flags().GetString("output"); format != "table" {
		return printTable(cmd, t)
	}
	_, err := fmt.Fprintln(cmd.OutOrStdout(), text)
	return err
}

func writeTable(out io.Writer, t table) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, strings.ToUpper(strings.Join(t.heads, "\t")))
	for _, row := range t.rows {
		for i, cell := range row {
			row[i] = printable(cell)
		}
		fmt.Fprintln(w, strings.Join(row, "\t"))
	}
	return w.Flush()
}

// writeCSV writes t so that a spreadsheet takes no cell for a formula, and a terminal none for a command: names were pushed, and
// reasons are what people wrote.
func writeCSV(out io.Writer, t table) error {
	w, shown := csv.NewWriter(out), isTerminal(out)
	if err := w.Write(t.heads); err != nil {
		return err
	}
	for _, row := range t.rows {
		for i, cell := range row {
			if row[i] = plainCell(cell); shown {
				row[i] = printable(row[i])
			}
		}
		if err := w.Write(row); err != nil {
			return err
		}
	}
	w.Flush()
	return w.Error()
}

// plainCell puts an apostrophe before what a spreadsheet would take for a formula.
func plainCell(text string) string {
	if first, _ := utf8.DecodeRuneInString(text); text != "" && strings.ContainsRune("=+-@\t\r\n＝＋－＠", first) {
		return "'" + text
	}
	return text
}

// printable replaces control characters, and those that change the direction of text, so that the name of a user or group
// cannot move the cursor of the operator's terminal or look like another.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || (r >= 0x7f && r < 0xa0) || unicode.Is(unicode.Bidi_Control, r) {
			return '\uFFFD'
		}
		return r
	}, s)
}

// printableLines is printable for a text of several lines.
func printableLines(s string) string {
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		lines[i] = printable(line)
	}
	return strings.Join(lines, "\n")
}

func writeJSON(out io.Writer, v any) error {
	e := json.NewEncoder(out)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// writeYAML converts JSON, so that both formats have the same keys.
func writeYAML(out io.Writer, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	var decoded any
	if err := json.Unmarshal(data, &decoded); err != nil {
		return err
	}
	data, err = yaml.Marshal(decoded)
	if err != nil {
		return err
	}
	_, err = out.Write(data)
	return err
}
