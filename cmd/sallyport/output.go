package main

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v4"
)

// table is what the listing verbs print: rows under headings, and the same
// facts as values for the machine-readable forms.
type table struct {
	heads  []string
	rows   [][]string
	values any
}

func addOutputFlag(cmd *cobra.Command) {
	cmd.Flags().StringP("output", "o", "table", "`FORM` of the output: table, json, yaml or csv")
}

// show prints t in the form that -o asks for.
func show(cmd *cobra.Command, t table) error {
	form, _ := cmd.Flags().GetString("output")
	out := cmd.OutOrStdout()
	switch form {
	case "table":
		return writeTable(out, t)
	case "json":
		return writeJSON(out, t.values)
	case "yaml":
		return writeYAML(out, t.values)
	case "csv":
		w := csv.NewWriter(out)
		if err := w.WriteAll(append([][]string{t.heads}, t.rows...)); err != nil {
			return err
		}
		return w.Error()
	}
	return fmt.Errorf("--output %q is not known; write table, json, yaml or csv", form)
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

// printable replaces control characters, so that a name pushed to us cannot
// move the cursor of whoever lists it.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || (r >= 0x7f && r < 0xa0) {
			return '\uFFFD'
		}
		return r
	}, s)
}

func writeJSON(out io.Writer, v any) error {
	e := json.NewEncoder(out)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// writeYAML goes by way of JSON, so that both forms have the same keys.
func writeYAML(out io.Writer, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	var plain any
	if err := json.Unmarshal(data, &plain); err != nil {
		return err
	}
	data, err = yaml.Marshal(plain)
	if err != nil {
		return err
	}
	_, err = out.Write(data)
	return err
}
