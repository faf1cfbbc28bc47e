package proxy

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// declaredReasons returns the constants of type Reason that the package in dir declares, by name.
func declaredReasons(t *testing.T, dir string) map[string]Reason {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	declared := map[string]Reason{}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok {
				return true
			}
			if typ, ok := spec.Type.(*ast.Ident); !ok || typ.Name != "Reason" {
				return true
			}
			for i, value := range spec.Values {
				text, err := strconv.Unquote(value.(*ast.BasicLit).Value)
				if err != nil {
					t.Fatal(err)
				}
				declared[spec.Names[i].Name] = Reason(text)
			}
			return true
		})
	}
	return declared
}

// TestReason_HasMeaning fails for a reason that is declared without a status, a title or a text, and for a meaning
// without a reason.
func TestReason_HasMeaning(t *testing.T) {
	declared := declaredReasons(t, ".")
	if len(declared) < 25 {
		t.Fatalf("only %d reasons are found in the source", len(declared))
	}
	used := map[Reason]string{}
	for name, reason := range declared {
		if other, ok := used[reason]; ok {
			t.Errorf("%s and %s are both %q", name, other, reason)
		}
		used[reason] = name
		if m, ok := meanings[reason]; !ok || m.status < 400 || m.status > 599 || m.title == "" || m.text == "" {
			t.Errorf("%s (%q) means %+v", name, reason, m)
		}
	}
	for reason := range meanings {
		if used[reason] == "" {
			t.Errorf("%q has a meaning and is not declared", reason)
		}
	}
}

// TestReason_CoversPolicy fails for a reason of package policy, other than RuleAllow, that has no meaning here.
func TestReason_CoversPolicy(t *testing.T) {
	for name, reason := range declaredReasons(t, "../policy") {
		if _, ok := meanings[reason]; !ok && name != "RuleAllow" {
			t.Errorf("policy.%s (%q) has no meaning", name, reason)
		}
	}
}

// TestReason_UnknownIsDenied checks that a reason without a meaning, which only a fault in the code can cause, is a 500.
func TestReason_UnknownIsDenied(t *testing.T) {
	if m := Reason("invented").meaning(); m.status != 500 || m.title == "" || m.text == "" {
		t.Errorf("%+v", m)
	}
}
