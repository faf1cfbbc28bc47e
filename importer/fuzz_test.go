package importer_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"sallyport/importer"
)

// FuzzImport: no text makes an importer panic, what is written is always accepted, and every finding has a place in the text.
func FuzzImport(f *testing.F) {
	files, err := filepath.Glob("testdata/*/*.in")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		for i := range importer.Sources() {
			f.Add(i, text)
		}
	}
	f.Fuzz(func(t *testing.T, which int, text []byte) {
		sources := importer.Sources()
		source := sources[uint(which)%uint(len(sources))]
		result, err := importer.Import(source, text, importer.Options{})
		if err != nil {
			if !errors.Is(err, importer.ErrNothing) && len(err.Error()) > 200 {
				t.Errorf("the error is long, as if it quoted the text: %v", err)
			}
			return
		}
		validate(t, result)
		lines := bytes.Count(text, []byte("\n")) + 1
		for _, finding := range result.Findings {
			if finding.Line < 0 || finding.Line > lines || finding.Column < 0 {
				t.Errorf("%d:%d of %d lines: %s", finding.Line, finding.Column, lines, finding.Describe())
			}
		}
	})
}
