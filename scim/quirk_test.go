package scim_test

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/tools/txtar"
)

// shown replays a recording and returns the quirks that were counted.
func shown(t *testing.T, file string) (quirks []string) {
	t.Helper()
	archive, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	base, token, _, server := serveWith(t, settingsWithoutLimit)
	c := &client{t, base, token}
	replay(t, c, archive.Files)
	if strings.HasSuffix(file, "entra-validator.txtar") { // no text form tells of a header
		c.with("PATCH", "/Users/x", map[string][]string{"Content-Type": {"application/json"}}, "{}")
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(server.Collectors()...)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "sallyport_scim_quirks_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			quirks = append(quirks, m.GetLabel()[0].GetValue())
		}
	}
	return quirks
}

// TestQuirk_IsDocumentedAndRecorded: each has a row in docs/entra.md, which names
// a recording in which it is counted.
func TestQuirk_IsDocumentedAndRecorded(t *testing.T) {
	source, err := os.ReadFile("internal/schema/quirk.go")
	if err != nil {
		t.Fatal(err)
	}
	guide, err := os.ReadFile("../docs/entra.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\|.*\\| ([a-z-]+) \\|$").FindAllStringSubmatch(string(guide), -1) {
		rows[m[1]] = m[2]
	}
	counted := map[string][]string{}
	for _, file := range slices.Compact(slices.Sorted(maps.Values(rows))) {
		if file != "extensions" {
			counted[file] = shown(t, filepath.Join("testdata/recordings", file+".txtar"))
		}
	}
	for _, m := range regexp.MustCompile(`Quirk = "([a-z_]+)"`).FindAllStringSubmatch(string(source), -1) {
		switch file, documented := rows[m[1]]; {
		case !documented:
			t.Errorf("the quirk %s is not in docs/entra.md", m[1])
		case file != "extensions" && !slices.Contains(counted[file], m[1]):
			t.Errorf("the quirk %s is not counted in %s, which shows %v", m[1], file, counted[file])
		}
		delete(rows, m[1])
	}
	for name := range rows {
		t.Errorf("docs/entra.md tells of a quirk %s, and there is none", name)
	}
}
