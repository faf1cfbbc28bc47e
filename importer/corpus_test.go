package importer_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sallyport/config"
	"sallyport/importer"
)

var update = flag.Bool("update", false, "write the golden files anew")

// canary is in every secret of the corpus.
const canary = "canary"

// corpusFiles returns the files of one program.
func corpusFiles(t *testing.T, source importer.Source) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", string(source), "*.in"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no files of %s: %v", source, err)
	}
	return files
}

// TestCorpus compares what is written for each file of the corpus, and what is said about it, with the golden files beside it.
func TestCorpus(t *testing.T) {
	count := 0
	for _, source := range importer.Sources() {
		for _, file := range corpusFiles(t, source) {
			count++
			t.Run(string(source)+"/"+strings.TrimSuffix(filepath.Base(file), ".in"), func(t *testing.T) {
				text, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				result, err := importer.Import(source, text, importer.Options{})
				if err != nil {
					t.Fatal(err)
				}
				findings := describe(t, result.Findings)
				golden(t, strings.TrimSuffix(file, ".in")+".yaml", result.YAML)
				golden(t, strings.TrimSuffix(file, ".in")+".findings", findings)
				validate(t, result)
				if all := append(bytes.Clone(result.YAML), findings...); bytes.Contains(all, []byte(canary)) {
					t.Error("a secret is printed")
				}
				places(t, text, result.Findings)
			})
		}
	}
	if count < 30 {
		t.Errorf("the corpus has %d files", count)
	}
}

func describe(t *testing.T, findings []importer.Finding) []byte {
	t.Helper()
	var out bytes.Buffer
	for _, f := range findings {
		place, _ := json.Marshal([]int{f.Line, f.Column})
		out.WriteString(string(place) + " " + f.Describe() + "\n")
	}
	return out.Bytes()
}

// places reports findings whose line is not in the text.
func places(t *testing.T, text []byte, findings []importer.Finding) {
	t.Helper()
	lines := strings.Split(string(text), "\n")
	for _, f := range findings {
		switch {
		case f.Line > len(lines):
			t.Errorf("line %d of %d: %s", f.Line, len(lines), f.Describe())
		case f.Line > 0 && (f.Column < 1 || f.Column > len(lines[f.Line-1])+1):
			t.Errorf("column %d in line %d: %s", f.Column, f.Line, f.Describe())
		}
	}
}

func golden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, got, 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(want, got) {
		t.Errorf("%s differs (go test ./importer -run TestCorpus -update writes it anew):\n%s", path, got)
	}
}

// validate reports what `sallyport validate` would find in a result beyond files that are not there.
func validate(t testing.TB, result importer.Result) *config.File {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sallyport.yaml")
	if err := os.WriteFile(path, result.YAML, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := config.ValidateWithoutFiles(path)
	if err != nil {
		t.Errorf("%v\n%s", err, result.YAML)
	}
	return f
}
