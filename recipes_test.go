package sallyport

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	yamlRoute = regexp.MustCompile("(?ms)^( *)```yaml\n *- name: .*?^ *```$")
	ranOn     = regexp.MustCompile(`(?m)^Run on \d{4}-\d\d-\d\d by `)
	notRun    = regexp.MustCompile(`(?m)^\*\*(The service itself was not run here|Not run here)\b`)
)

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestRecipes_Load loads every recipe, and compares it with its page: each route on the page is one of the file, and the
// page says when it was run, which a test in browser/recipes must do, or that it was not run.
func TestRecipes_Load(t *testing.T) {
	files, err := filepath.Glob("examples/recipes/*.yaml")
	if err != nil || len(files) < 9 {
		t.Fatalf("%d recipes, %v", len(files), err)
	}
	index, tests := read(t, "docs/recipes/README.md"), read(t, "browser/recipes/recipes.test.mjs")
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		t.Run(name, func(t *testing.T) {
			text, page := read(t, file), read(t, "docs/recipes/"+name+".md")
			if err := load(t, []byte(text)); err != nil {
				t.Error(err)
			}
			if !strings.Contains(index, "]("+name+".md)") {
				t.Errorf("docs/recipes/README.md does not list %s", name)
			}
			for _, block := range yamlRoute.FindAllString(page, -1) {
				for line := range strings.Lines(block) {
					if line = strings.TrimSpace(line); !strings.HasPrefix(line, "```") && !strings.Contains(text, line) {
						t.Errorf("the file has no line %q, which the page has", line)
					}
				}
			}
			if tested := strings.Contains(tests, "recipe('"+name+"',"); tested != ranOn.MatchString(page) || tested == notRun.MatchString(page) {
				t.Errorf("a test runs it: %v; the page must say so, or that it was not run", tested)
			}
		})
	}
}

// TestRecipes_NameTheVersions compares the versions that pages name with those that test.sh installs.
func TestRecipes_NameTheVersions(t *testing.T) {
	versions := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^readonly (\w+)_version=(\S+)$`).FindAllStringSubmatch(read(t, "test.sh"), -1) {
		versions[m[1]] = m[2]
	}
	for page, names := range map[string][]string{
		"quickstart.md":          {"keycloak", "jupyterlab"},
		"recipes/jupyterlab.md":  {"jupyterlab"},
		"recipes/node-red.md":    {"node_red"},
		"recipes/code-server.md": {"code_server"},
		"providers/keycloak.md":  {"keycloak"},
		"providers/README.md":    {"keycloak"},
	} {
		text := read(t, "docs/"+page)
		for _, name := range names {
			if versions[name] == "" || !strings.Contains(text, versions[name]) {
				t.Errorf("docs/%s does not name version %s of %s", page, versions[name], name)
			}
		}
	}
}

// TestProviders_SayWhetherTheyWereRun reads every page of docs/providers.
func TestProviders_SayWhetherTheyWereRun(t *testing.T) {
	pages, err := filepath.Glob("docs/providers/[a-z]*.md")
	if err != nil || len(pages) < 6 {
		t.Fatalf("%d pages, %v", len(pages), err)
	}
	index := read(t, "docs/providers/README.md")
	for _, page := range pages {
		text := read(t, page)
		if !strings.Contains(index, "]("+filepath.Base(page)+")") {
			t.Errorf("docs/providers/README.md does not list %s", page)
		}
		if !strings.Contains(text, "\nRun on ") && (!notRun.MatchString(text) || !strings.Contains(text, "read on 20")) {
			t.Errorf("%s says neither when it was run, nor that it was not run and when its sources were read", page)
		}
		if !strings.Contains(text, "/.sallyport/callback") || !strings.Contains(text, "user_claim: sub") {
			t.Errorf("%s lacks the redirect URI or the claim", page)
		}
	}
}
