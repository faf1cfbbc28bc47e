package sallyport

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode"
)

// retiredWords once named things for which HTTP, SCIM, OIDC or Go have a term. CONTRIBUTING.md lists the words to use.
var retiredWords = strings.Fields(`
	admit announce announced announcement announcements announces answer answered answers crowd crowded departure
	departures distrust door doors early enrol farewell front fronts give gives hollow hurried hurry idlers ill insist
	kept lapse lapsed leaves loosest misleads moment moments nobody numbers onward orders over passage poison regroup
	remark respell room rooms somebody spelt standing takes tend twin unlogged unspoken visit visits vouch welcome whoever`)

// retiredPairs are retired names of two words.
var retiredPairs = []string{"held back", "look after", "may leave", "run out", "start over", "take over", "turn away", "turn down"}

// TestIdentifiers_WithoutRetiredWords looks at every declared identifier and every file name of the repository.
func TestIdentifiers_WithoutRetiredWords(t *testing.T) {
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "node_modules" || strings.HasPrefix(d.Name(), ".") && path != "."):
			return filepath.SkipDir
		case !strings.HasSuffix(path, ".go"):
			return nil
		}
		if word := retiredIn(strings.TrimSuffix(d.Name(), ".go")); word != "" {
			t.Errorf("the file name %s uses the retired word %q", path, word)
		}
		files := token.NewFileSet()
		file, err := parser.ParseFile(files, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, id := range declared(file) {
			if word := retiredIn(id.Name); word != "" {
				t.Errorf("%s: %s uses the retired word %q", files.Position(id.Pos()), id.Name, word)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// declared returns the identifiers that file declares.
func declared(file *ast.File) (ids []*ast.Ident) {
	add := func(expressions ...ast.Expr) {
		for _, e := range expressions {
			if id, ok := e.(*ast.Ident); ok {
				ids = append(ids, id)
			}
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			ids = append(ids, n.Name)
		case *ast.TypeSpec:
			ids = append(ids, n.Name)
		case *ast.ValueSpec:
			ids = append(ids, n.Names...)
		case *ast.Field:
			ids = append(ids, n.Names...)
		case *ast.LabeledStmt:
			ids = append(ids, n.Label)
		case *ast.AssignStmt:
			if n.Tok == token.DEFINE {
				add(n.Lhs...)
			}
		case *ast.RangeStmt:
			if n.Tok == token.DEFINE {
				add(n.Key, n.Value)
			}
		}
		return true
	})
	return ids
}

// retiredIn returns the retired word or pair of words in name, or "".
func retiredIn(name string) string {
	words := strings.Fields(strings.ToLower(spaced(name)))
	for i, word := range words {
		if slices.Contains(retiredWords, word) {
			return word
		}
		for _, pair := range retiredPairs {
			if i > 0 && words[i-1]+" "+word == pair {
				return pair
			}
		}
	}
	return ""
}

// spaced puts a space between the camel-case parts of name: "HTTPServer_keptOpen2" becomes "HTTP Server kept Open".
func spaced(name string) string {
	var b strings.Builder
	runes := []rune(name)
	for i, r := range runes {
		begins := i > 0 && unicode.IsUpper(r) && (unicode.IsLower(runes[i-1]) ||
			i+1 < len(runes) && unicode.IsUpper(runes[i-1]) && unicode.IsLower(runes[i+1]))
		switch {
		case !unicode.IsLetter(r):
			r = ' '
		case begins:
			b.WriteByte(' ')
		}
		b.WriteRune(r)
	}
	return b.String()
}

func TestRetiredIn(t *testing.T) {
	for name, want := range map[string]string{
		"serveDoor": "door", "doorPaths": "door", "indoors": "", "HTTPAnswer": "answer", "overdue": "", "handOver": "over",
		"kept_alive": "kept", "turnDown": "turn down", "turn": "", "TestX_LeavesRoom2": "leaves", "frontier": "",
	} {
		if got := retiredIn(name); got != want {
			t.Errorf("retiredIn(%q) = %q, want %q", name, got, want)
		}
	}
}
