package audit_test

import (
	"bytes"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"sallyport/audit"
	"sallyport/audit/audittest"
)

var update = flag.Bool("update", false, "write docs/audit.md")

const catalogueMark = "<!-- The rest of this page is made from audit/catalogue_kinds.go by `go test ./audit -run CataloguePage -update`. -->\n"

// TestCataloguePage_IsUpToDate compares docs/audit.md with the catalogue.
func TestCataloguePage_IsUpToDate(t *testing.T) {
	path := filepath.Join("..", "docs", "audit.md")
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	head, _, ok := strings.Cut(string(page), catalogueMark)
	if !ok {
		t.Fatalf("%s lacks the line %s", path, catalogueMark)
	}
	want := head + catalogueMark + cataloguePage()
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
	} else if want != string(page) {
		t.Errorf("%s does not say what the catalogue says; write it with `go test ./audit -run CataloguePage -update`", path)
	}
}

// cataloguePage returns the catalogue in Markdown.
func cataloguePage() string {
	var b strings.Builder
	table := func(head string, terms []audit.Term) {
		fmt.Fprintf(&b, "\n| %s | meaning |\n|---|---|\n", head)
		for _, term := range terms {
			name := "`" + term.Name + "`"
			if term.Name == "" {
				name = "none"
			}
			fmt.Fprintf(&b, "| %s | %s |\n", name, term.Meaning)
		}
	}
	b.WriteString("\n## Fields\n")
	table("field", audit.Fields())
	b.WriteString("\n## Actors\n\n`actor` is an object with a `kind`, and `name`, `address`, `id` and `session` where there are some.\n")
	table("`actor.kind`", audit.Actors())
	b.WriteString("\n## Kinds\n")
	var kinds []audit.Term
	for _, d := range audit.Catalogue() {
		kinds = append(kinds, audit.Term{Name: string(d.Kind), Meaning: d.Meaning})
	}
	table("kind", kinds)
	for _, d := range audit.Catalogue() {
		fmt.Fprintf(&b, "\n### `%s`\n\nAn event of this kind tells: %s.\n", d.Kind, d.Meaning)
		fmt.Fprintf(&b, "Its fields: `%s`.\n", strings.Join(d.Fields, "`, `"))
		table("reason", d.Reasons)
		if len(d.Details) > 0 {
			table("in `detail`", d.Details)
		}
	}
	return b.String()
}

// TestCatalogue_HasEveryKind compares the catalogue with the constants of event.go.
func TestCatalogue_HasEveryKind(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "event.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[audit.Kind]bool{}
	ast.Inspect(file, func(n ast.Node) bool {
		if v, ok := n.(*ast.ValueSpec); ok && strings.HasPrefix(v.Names[0].Name, "Kind") {
			text, err := strconv.Unquote(v.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			kinds[audit.Kind(text)] = true
		}
		return true
	})
	for kind := range kinds {
		if _, ok := audit.Describe(kind); !ok {
			t.Errorf("the catalogue lacks the kind %s", kind)
		}
	}
	if len(kinds) != len(audit.Catalogue()) {
		t.Errorf("there are %d kinds, and %d in the catalogue", len(kinds), len(audit.Catalogue()))
	}
}

// TestCatalogue_IsWellFormed: no name is described twice, and every field that a kind has is described.
func TestCatalogue_IsWellFormed(t *testing.T) {
	unique := func(what string, terms []audit.Term) {
		seen := map[string]bool{}
		for _, term := range terms {
			if seen[term.Name] || term.Meaning == "" || strings.Contains(term.Meaning, "|") {
				t.Errorf("%s: %q is described twice, or not at all, or breaks the table", what, term.Name)
			}
			seen[term.Name] = true
		}
	}
	unique("fields", audit.Fields())
	unique("actors", audit.Actors())
	for _, d := range audit.Catalogue() {
		unique(string(d.Kind)+" reasons", d.Reasons)
		unique(string(d.Kind)+" details", d.Details)
		for _, name := range d.Fields {
			if !slices.ContainsFunc(audit.Fields(), func(f audit.Term) bool { return f.Name == name }) {
				t.Errorf("%s has the field %s, which is not described", d.Kind, name)
			}
		}
		if slices.Contains(d.Fields, "detail") != (len(d.Details) > 0) {
			t.Errorf("%s: the field detail and the keys in it do not agree", d.Kind)
		}
	}
}

// TestCheck_FindsUnknown: an event is not described if any of its words is not.
func TestCheck_FindsUnknown(t *testing.T) {
	known := audit.Event{Kind: audit.KindSCIM, Reason: "patch", Group: "g", Actor: audit.Actor{Kind: audit.ActorToken, Name: "entra"},
		Detail: map[string]string{"member_12": "u"}}
	if err := known.Check(); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(*audit.Event){
		"kind":   func(e *audit.Event) { e.Kind = "party" },
		"reason": func(e *audit.Event) { e.Reason = "patched" },
		"none":   func(e *audit.Event) { e.Reason = "" },
		"detail": func(e *audit.Event) { e.Detail = map[string]string{"colour": "red"} },
		"number": func(e *audit.Event) { e.Detail = map[string]string{"token1": "t"} },
		"field":  func(e *audit.Event) { e.Route = "wiki" },
		"actor":  func(e *audit.Event) { e.Actor.Kind = "ghost" },
	} {
		e := known
		change(&e)
		if e.Check() == nil {
			t.Errorf("%s: %+v is described", name, e)
		}
	}
}

// recorder collects what a check says.
type recorder struct {
	testing.TB
	errors []string
}

func (r *recorder) Helper() {}
func (r *recorder) Errorf(format string, args ...any) {
	r.errors = append(r.errors, fmt.Sprintf(format, args...))
}

// TestSchema_DescribesWrittenLines: a line that a log wrote is valid, and is not once it is something else.
func TestSchema_DescribesWrittenLines(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	l, err := audit.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range []audit.Event{
		{Kind: audit.KindStart, Detail: map[string]string{"version": "1"}},
		{Kind: audit.KindSCIM, Reason: "patch", User: "u", UserName: "a\"\u009b", Revision: 3, Actor: audit.Actor{Kind: audit.ActorToken, Name: "entra", ID: "t"}, Detail: map[string]string{"member_3": "x"}},
		{Kind: audit.KindDecision, Decision: "allow", Reason: "rule_allow", Code: 403},
	} {
		e.Time = time.Now().UTC()
		if err := l.Write(e); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	audittest.CheckRecord(t, path)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string][2]string{
		"kind":           {`"kind":"start"`, `"kind":"party"`},
		"field":          {`"user":"u"`, `"colour":"red"`},
		"field of other": {`"user":"u"`, `"route":"u"`},
		"detail":         {`"member_3"`, `"colour_3"`},
		"actor":          {`"kind":"token"`, `"kind":"ghost"`},
		"decision":       {`"allow"`, `"perhaps"`},
		"reason":         {`"rule_allow"`, `"why_not"`},
		"no reason":      {`"reason":"patch",`, ``},
		"number":         {`"seq":1,`, `"seq":0,`},
		"time":           {`"time":"2`, `"time":"x`},
		"hash":           {`"hash":"`, `"hash":"z`},
		"code":           {`"code":403`, `"code":"403"`},
	} {
		changed := bytes.Replace(text, []byte(change[0]), []byte(change[1]), 1)
		if bytes.Equal(changed, text) {
			t.Fatalf("%s: nothing was changed", name)
		}
		r := &recorder{TB: t}
		for line := range bytes.Lines(changed) {
			audittest.CheckLine(r, line)
		}
		if len(r.errors) == 0 {
			t.Errorf("%s: a line with %s is valid", name, change[1])
		}
	}
}

var quoted = regexp.MustCompile(`"[^"\n]*"`)

// TestCatalogue_HasNoStaleWords: every reason and every key of detail is a word of the code that writes events.
func TestCatalogue_HasNoStaleWords(t *testing.T) {
	words := map[string]bool{`""`: true}
	for _, folder := range []string{".", "../admin", "../scim", "../proxy", "../proxy/internal/detail", "../policy", "../oidc", "../session", "../grant", "../directory", "../enforce", "../cmd/sallyport"} {
		files, err := filepath.Glob(filepath.Join(folder, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") || filepath.Base(file) == "catalogue_kinds.go" {
				continue
			}
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, word := range quoted.FindAllString(string(text), -1) {
				words[word] = true
			}
		}
	}
	for _, d := range audit.Catalogue() {
		for _, term := range slices.Concat(d.Reasons, d.Details) {
			name := strings.TrimSuffix(term.Name, "#")
			if before, last, ok := strings.Cut(name, "held deactivations "); ok && before == "" { // made of two words
				name = last
			}
			if !words[strconv.Quote(name)] {
				t.Errorf("%s has %q, which nothing writes", d.Kind, term.Name)
			}
		}
	}
}

// TestCatalogue_HasEveryWrittenWord looks for the words with which the code fills events, whether or not a test makes it
// write them.
func TestCatalogue_HasEveryWrittenWord(t *testing.T) {
	reasons, details := map[string]bool{}, map[string]bool{}
	for _, d := range audit.Catalogue() {
		for _, r := range d.Reasons {
			reasons[r.Name] = true
		}
		for _, k := range d.Details {
			details[strings.TrimSuffix(k.Name, "#")] = true
		}
	}
	found := 0
	for _, folder := range []string{".", "../admin", "../scim", "../proxy", "../proxy/internal/detail", "../cmd/sallyport"} {
		all, err := parser.ParseDir(token.NewFileSet(), folder, func(f fs.FileInfo) bool { return !strings.HasSuffix(f.Name(), "_test.go") }, 0) //nolint:staticcheck // build tags do not matter
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range all {
			ast.Inspect(p, func(n ast.Node) bool {
				for what, word := range writtenWords(n) {
					found++
					if known := map[string]map[string]bool{"reason": reasons, "detail": details}[what]; !known[word] {
						t.Errorf("%s: the catalogue does not have the %s %q", folder, what, word)
					}
				}
				return true
			})
		}
	}
	if found < 60 {
		t.Errorf("only %d words were found", found)
	}
}

// writtenWords yields the literal reasons and keys of detail that a node gives to events.
func writtenWords(n ast.Node) iter.Seq2[string, string] {
	return func(yield func(what, word string) bool) {
		literal := func(what string, e ast.Expr) {
			if b, ok := e.(*ast.BasicLit); ok && b.Kind == token.STRING {
				if word, err := strconv.Unquote(b.Value); err == nil {
					yield(what, strings.TrimRight(strings.TrimPrefix(word, "held deactivations "), " "))
				}
			}
		}
		switch n := n.(type) {
		case *ast.AssignStmt: // detail["key"] = …
			for _, left := range n.Lhs {
				if i, ok := left.(*ast.IndexExpr); ok && isDetail(i.X) {
					literal("detail", i.Index)
				}
			}
		case *ast.CompositeLit: // audit.Event{Reason: …, Detail: map[string]string{…}}
			if !isEvent(n.Type) {
				return
			}
			for _, element := range n.Elts {
				field, ok := element.(*ast.KeyValueExpr)
				if !ok {
					continue
				}
				switch name := field.Key.(*ast.Ident).Name; name {
				case "Reason":
					literal("reason", field.Value)
				case "Detail":
					if m, ok := field.Value.(*ast.CompositeLit); ok {
						for _, pair := range m.Elts {
							literal("detail", pair.(*ast.KeyValueExpr).Key)
						}
					}
				}
			}
		}
	}
}

func isDetail(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name == "detail"
	case *ast.SelectorExpr:
		return e.Sel.Name == "Detail"
	}
	return false
}

func isEvent(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name == "Event"
	case *ast.SelectorExpr:
		x, ok := e.X.(*ast.Ident)
		return ok && x.Name == "audit" && e.Sel.Name == "Event"
	}
	return false
}
