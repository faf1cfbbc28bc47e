// Package sallyport holds only tests of the repository as a whole: which package imports which, whether the examples
// load, whether the documents are true.
package sallyport

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"sallyport/access"
	"sallyport/config"
	"sallyport/directory"
	"sallyport/proxy"
)

// tableRow is a row of the table of packages in docs/architecture.md.
var tableRow = regexp.MustCompile("(?m)^\\| `([a-z/]+)` \\|[^|]*\\|([^|]*)\\|$")

// allowedImports returns, for each package named in docs/architecture.md, the packages of this module it may import.
func allowedImports(t *testing.T) map[string][]string {
	t.Helper()
	page, err := os.ReadFile("docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	allowed := map[string][]string{}
	for _, row := range tableRow.FindAllStringSubmatch(string(page), -1) {
		names := []string{}
		for _, name := range regexp.MustCompile("`([a-z/]+)`").FindAllStringSubmatch(row[2], -1) {
			names = append(names, name[1])
		}
		allowed[row[1]] = names
	}
	return allowed
}

type listed struct {
	ImportPath string
	Imports    []string
}

func packages(t *testing.T) (all []listed) {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", "./...").Output()
	if err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(strings.NewReader(string(out)))
	for {
		var p listed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

// TestImports_FollowArchitecture compares the imports of every package with the table in docs/architecture.md.
func TestImports_FollowArchitecture(t *testing.T) {
	allowed := allowedImports(t)
	found := map[string]bool{}
	for _, p := range packages(t) {
		name := strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, "sallyport"), "/")
		found[name] = true
		if name == "cmd/sallyport" || name == "" {
			continue
		}
		may, ok := allowed[name]
		if !ok {
			t.Errorf("docs/architecture.md has no row for package %s", name)
		}
		for _, imported := range p.Imports {
			ours, ok := strings.CutPrefix(imported, "sallyport/")
			if ok && !slices.Contains(may, ours) {
				t.Errorf("%s imports %s, which docs/architecture.md does not allow", name, ours)
			}
			if name != "oidc" && (strings.HasPrefix(imported, "github.com/coreos/go-oidc") || strings.HasPrefix(imported, "golang.org/x/oauth2")) {
				t.Errorf("%s imports %s, which only oidc may import", name, imported)
			}
		}
	}
	for name := range allowed {
		if !found[name] {
			t.Errorf("docs/architecture.md has a row for package %s, which does not exist", name)
		}
	}
}

// namedFiles are the files that the examples name. One content serves for all of them: it is long enough for a secret.
var namedFiles = []string{"tls.crt", "tls.key", "secrets/oidc", "secrets/front"}

// load writes text as a configuration, beside the files that the examples name, and loads it.
func load(t *testing.T, text []byte) error {
	t.Helper()
	dir := t.TempDir()
	write := func(name string, content []byte) {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range namedFiles {
		write(name, []byte(strings.Repeat("x", 64)))
	}
	write("sallyport.yaml", text)
	_, err := config.Load(filepath.Join(dir, "sallyport.yaml"))
	return err
}

func TestConfigExample_Loads(t *testing.T) {
	if err := load(t, config.Example()); err != nil {
		t.Error(err)
	}
}

func TestExamples_Load(t *testing.T) {
	files, err := filepath.Glob("examples/*.yaml")
	if err != nil || len(files) < 6 {
		t.Fatalf("%d examples, %v", len(files), err)
	}
	index, err := os.ReadFile("examples/README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if err := load(t, text); err != nil {
				t.Error(err)
			}
			if !strings.Contains(string(index), "]("+filepath.Base(file)+")") {
				t.Errorf("examples/README.md does not list %s", file)
			}
		})
	}
}

// TestDockerignore_LetsEveryPackageIn compares .dockerignore with the packages that the binary is built from.
func TestDockerignore_LetsEveryPackageIn(t *testing.T) {
	ignore, err := os.ReadFile(".dockerignore")
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("go", "list", "-deps", "./cmd/sallyport").Output()
	if err != nil {
		t.Fatal(err)
	}
	for path := range strings.FieldsSeq(string(out)) {
		name, ok := strings.CutPrefix(path, "sallyport/")
		folder, _, _ := strings.Cut(name, "/")
		if ok && !strings.Contains(string(ignore), "\n!"+folder+"\n") {
			t.Errorf(".dockerignore leaves %s out, which the binary is built from", folder)
		}
	}
}

var directDependency = regexp.MustCompile(`(?m)^\t(\S+) v\S+$`)

func TestDependencies_HaveReasons(t *testing.T) {
	mod, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	reasons, err := os.ReadFile("docs/dependencies.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range directDependency.FindAllStringSubmatch(string(mod), -1) {
		if !strings.Contains(string(reasons), "`"+m[1]+"`") {
			t.Errorf("docs/dependencies.md gives no reason for %s", m[1])
		}
	}
}

var link = regexp.MustCompile(`\]\(([^)#:]+)(#[^)]*)?\)`)

// TestDocuments_LinkToExistingFiles follows every relative link in the documents.
func TestDocuments_LinkToExistingFiles(t *testing.T) {
	documents, err := filepath.Glob("docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	more, err := filepath.Glob("docs/*/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range append(append(documents, more...), "README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "charts/sallyport/README.md", "examples/README.md") {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Error(err)
			continue
		}
		for _, m := range link.FindAllStringSubmatch(string(text), -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(path), m[1])); err != nil {
				t.Errorf("%s links to %s, which does not exist", path, m[1])
			}
		}
	}
}

// TestAdvisories_NameExistingTests looks for every test that docs/advisories.md names.
func TestAdvisories_NameExistingTests(t *testing.T) {
	page, err := os.ReadFile("docs/advisories.md")
	if err != nil {
		t.Fatal(err)
	}
	var sources strings.Builder
	err = filepath.WalkDir(".", func(path string, d os.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, "_test.go") {
			var text []byte
			text, err = os.ReadFile(path)
			sources.Write(text)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile("`((?:Test|Fuzz)[A-Za-z0-9_]+)[`/]").FindAllStringSubmatch(string(page), -1)
	if len(named) < 40 {
		t.Errorf("only %d tests are named", len(named))
	}
	for _, n := range named {
		if !strings.Contains(sources.String(), "\nfunc "+n[1]+"(") {
			t.Errorf("docs/advisories.md names %s, but there is no such test", n[1])
		}
	}
}

// TestImports_WithoutNetMail: parsing a hostile e-mail address takes long, and no decision needs it.
func TestImports_WithoutNetMail(t *testing.T) {
	for _, p := range packages(t) {
		if slices.Contains(p.Imports, "net/mail") {
			t.Errorf("%s imports net/mail", p.ImportPath)
		}
	}
}

// TestDesignIndex_NamesEveryPage compares docs/design/README.md with the pages: each has a row with its status and
// date, and says both itself.
func TestDesignIndex_NamesEveryPage(t *testing.T) {
	index, err := os.ReadFile("docs/design/README.md")
	if err != nil {
		t.Fatal(err)
	}
	pages, err := filepath.Glob("docs/design/[0-9]*.md")
	if err != nil || len(pages) == 0 {
		t.Fatal(pages, err)
	}
	for _, page := range pages {
		row := regexp.MustCompile(`(?m)^\| \[\d{3}: [^]]+\]\(` + regexp.QuoteMeta(filepath.Base(page)) + `\) \| [^|]+ \| (\d{4}-\d\d-\d\d) \|$`)
		found := row.FindSubmatch(index)
		if found == nil {
			t.Errorf("docs/design/README.md has no row with status and date for %s", page)
			continue
		}
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), "\nStatus: in force since "+string(found[1])) && !strings.Contains(string(text), "\nStatus: superseded") {
			t.Errorf("%s does not tell the status and date of its row", page)
		}
	}
}

// yamlBlock is an example in a document.
var yamlBlock = regexp.MustCompile("(?s)```yaml\n(.*?)```")

// TestPolicyGuide_IsTrue loads every example of docs/policy.md and runs the tests in it.
func TestPolicyGuide_IsTrue(t *testing.T) {
	page, err := os.ReadFile("docs/policy.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := yamlBlock.FindAllStringSubmatch(string(page), -1)
	if len(blocks) < 3 {
		t.Errorf("there are only %d examples", len(blocks))
	}
	for _, block := range blocks {
		rules, err := config.ParseRules("example", []byte("public_url: https://login.example.com\n"+block[1]))
		if err != nil {
			t.Errorf("%v in\n%s", err, block[1])
			continue
		}
		compiled, err := proxy.CompileRules(rules.Settings)
		if err != nil {
			t.Errorf("%v in\n%s", err, block[1])
			continue
		}
		tester := access.Tester{Policies: rules.Settings.Policies, Target: compiled.Target, Now: time.Now(),
			User: func(name string) (*directory.User, error) { return nil, errors.New(name + " is not made up") }}
		results := tester.Run(rules.Tests)
		if len(results) == 0 {
			t.Errorf("no tests in\n%s", block[1])
		}
		for _, r := range access.Failed(results) {
			t.Errorf("%+v", r)
		}
	}
}
