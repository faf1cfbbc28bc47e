package manage

import (
	"encoding/csv"
	"maps"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Table is what a page lists. It is shown as HTML, and written as CSV and JSON.
type Table struct {
	Columns []Column
	Rows    [][]Cell
	Empty   string   // what is said in place of no rows
	Next    string   // the query of the next page; "" if there is none
	Caption string   // for screen readers
	Keys    []string // the ids of the rows, on pages that are kept up to date; nil if they have none
}

// Column is a column of a table.
type Column struct {
	Key   string // in CSV and JSON
	Title string
	Right bool // numbers
	Data  bool // in CSV and JSON alone
}

// Cell is one field. Of Text, Number and Time, one is set.
type Cell struct {
	Text   string
	Data   string // what CSV and JSON have in place of Text, if it is not ""
	Number *float64
	Unit   string // shown behind Number, such as ms
	Shows  string // how pages show Number, if otherwise than [Cell.Shown] says
	Time   time.Time
	Ago    bool   // pages show how long ago Time was
	Raw    string // Text as CSV and JSON have it; "" if they have the same
	Link   string // a path with its query
	Mark   string // the class of what the text is: yes, no, fault or quiet; "" for none
	Code   bool   // the text is one to copy
	Check  *Check // a box to choose the row, in place of text
	Action *Action
	Button *Button // of a form elsewhere on the page, in place of text
}

// Button is a button in a table that sends a form elsewhere on the page, of which it says the id, with one more field.
type Button struct {
	Form, Name, Value string
	Text              string
	Label             string // for screen readers
}

// Check is a box to choose a row. It belongs to a form elsewhere on the page, of which it says the id.
type Check struct {
	Form, Name, Value string
	Label             string // for screen readers
	Off               bool   // the row cannot be chosen
}

// Action is a button in a table, which posts a form.
type Action struct {
	Path   string // that the form is posted to, below the console
	Text   string
	Fields map[string]string
}

// maxShown is how many characters of a name a list shows: nobody reads more, and a page must not grow with them.
const maxShown = 120

// clip returns a text, or the beginning of a long one.
func clip(s string) string {
	n := 0
	for i := range s {
		if n++; n > maxShown {
			return s[:i] + "…"
		}
	}
	return s
}

// named returns a cell with a name of somebody else's making, which may be long.
func named(s string) Cell {
	c := Cell{Text: clip(s)}
	if c.Text != s {
		c.Data = s
	}
	return c
}

// to returns the cell as one that leads to a page of the console. path is below [Path].
func (c Cell) to(path string) Cell {
	c.Link = Path + path
	return c
}

// Text returns a cell of text.
func text(s string) Cell { return Cell{Text: s} }

// link returns a cell that leads to a page of the console. path is below [Path].
func link(s, path string) Cell { return Cell{Text: s, Link: Path + path} }

// who returns a cell that leads to a page about somebody, in a table that has no space for long names in one line.
func who(name, path string) Cell { return Cell{Text: name, Link: Path + path, Mark: "who"} }

// number returns a cell of a number.
func number[N int | int64 | uint64 | float64](n N) Cell { f := float64(n); return Cell{Number: &f} }

// at returns a cell of a time; empty for the zero time.
func at(t time.Time) Cell { return Cell{Time: t} }

// Value returns the cell as JSON has it.
func (c Cell) Value() any {
	switch {
	case c.Number != nil:
		return *c.Number
	case !c.Time.IsZero():
		return c.Time.UTC().Format(time.RFC3339Nano)
	case c.Action != nil, c.Button != nil:
		return nil
	case c.Raw != "":
		return c.Raw
	case c.Check != nil:
		return c.Check.Value
	case c.Data != "":
		return c.Data
	}
	return c.Text
}

// IsTime reports whether the cell is a time, or would be one if there were one.
func (c Cell) IsTime() bool {
	return c.Text == "" && c.Number == nil && c.Action == nil && c.Check == nil && c.Button == nil
}

// Shown returns the number as pages show it: with at most two digits behind the point, and thousands apart.
func (c Cell) Shown() string {
	if c.Shows != "" {
		return c.Shows
	}
	whole, rest, _ := strings.Cut(strconv.FormatFloat(*c.Number, 'f', 2, 64), ".")
	for i := len(whole) - 3; i > 0 && whole[i-1] != '-'; i -= 3 {
		whole = whole[:i] + "\u202f" + whole[i:]
	}
	if rest = strings.TrimRight(rest, "0"); rest != "" {
		return whole + "." + rest
	}
	return whole
}

// String returns the cell as CSV has it.
func (c Cell) String() string {
	switch v := c.Value().(type) {
	case string:
		return v
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	return ""
}

// records returns the rows as JSON objects.
func (t *Table) records() []map[string]any {
	list := make([]map[string]any, len(t.Rows))
	for i, row := range t.Rows {
		list[i] = map[string]any{}
		for j, cell := range row {
			if cell.Action == nil && cell.Button == nil {
				list[i][t.Columns[j].Key] = cell.Value()
			}
		}
	}
	return list
}

// writeCSV writes the rows as CSV (RFC 4180). A field that a spreadsheet would calculate gets an apostrophe before it.
func (t *Table) writeCSV(q *request, name string) error {
	h := q.Header()
	h.Set("Content-Type", "text/csv; charset=utf-8")
	h.Set("Content-Disposition", `attachment; filename="`+name+`.csv"`)
	w := csv.NewWriter(q)
	heads := make([]string, len(t.Columns))
	for i, c := range t.Columns {
		heads[i] = c.Key
	}
	_ = w.Write(heads)
	for _, row := range t.Rows {
		fields := make([]string, len(row))
		for i, cell := range row {
			fields[i] = harmless(cell)
		}
		_ = w.Write(fields)
	}
	w.Flush()
	return nil // whoever reads it has gone away if there was an error
}

// harmless returns a field that no spreadsheet takes for a formula.
func harmless(c Cell) string {
	s := c.String()
	if first, _ := utf8.DecodeRuneInString(s); s != "" && c.Number == nil && strings.ContainsRune("=+-@\t\r\n＝＋－＠", first) {
		return "'" + s
	}
	return s
}

// perPage is how many rows a page has.
const perPage = 100

// pageNumber returns the number of the page that a query asks for by page=N, from 1.
func pageNumber(query url.Values) int {
	n, _ := strconv.Atoi(query.Get("page"))
	return min(max(n, 1), 1_000_000)
}

// queryOfNext returns the query of the page after the one that a query asks for.
func queryOfNext(query url.Values) string {
	next := maps.Clone(query)
	next.Set("page", strconv.Itoa(pageNumber(query)+1))
	next.Del("done")
	return "?" + next.Encode()
}

// paged returns the part of rows that the query asks for by page=N, from 1, and sets the query of the next page.
func paged[R any](t *Table, rows []R, query url.Values) []R {
	n := pageNumber(query)
	from := min((n-1)*perPage, len(rows))
	if from+perPage < len(rows) {
		t.Next = queryOfNext(query)
	}
	return rows[from:min(from+perPage, len(rows))]
}
