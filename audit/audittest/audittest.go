// Package audittest checks what tests wrote into the audit record.
package audittest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"sallyport/audit"
)

// maxChecked bounds how many lines of a record are checked.
const maxChecked = 5000

// CheckRecord fails the test if the record at path, or a closed file of it, has a line that the catalogue does not
// describe, or that the schema does not allow. A record that is not there, and lines that a test changed, are no
// concern of this check.
func CheckRecord(t testing.TB, path string) {
	t.Helper()
	ext := filepath.Ext(path)
	files, err := filepath.Glob(strings.TrimSuffix(path, ext) + "*" + ext)
	if err != nil {
		t.Error(err)
	}
	checked := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("reading the audit record: %v", err)
		}
		for line := range bytes.Lines(text) {
			if checked++; checked > maxChecked || t.Failed() {
				return
			}
			if isWhole(line) {
				CheckLine(t, line)
			}
		}
	}
}

// isWhole reports whether a line has its own hash. Tests change lines, too.
func isWhole(line []byte) bool {
	fields, hash, ok := bytes.Cut(line, []byte(`,"hash":"`))
	sum := sha256.Sum256(fields)
	return ok && bytes.HasPrefix(hash, []byte(hex.EncodeToString(sum[:])))
}

// CheckLine fails the test if the catalogue does not describe a line, or the schema does not allow it. A line that is no
// JSON is no concern of this check.
func CheckLine(t testing.TB, line []byte) {
	t.Helper()
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(line))
	if err != nil {
		return
	}
	CheckEvent(t, line)
	s, err := schema()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Validate(value); err != nil {
		t.Errorf("recorded: %.400s: %v", line, err)
	}
}

// CheckEvent fails the test if the catalogue does not describe an event, which is encoded as JSON.
func CheckEvent(t testing.TB, event []byte) {
	t.Helper()
	var e audit.Event
	if err := json.Unmarshal(event, &e); err != nil {
		t.Errorf("recorded: %.400s: %v", event, err)
		return
	}
	if err := e.Check(); err != nil {
		t.Errorf("recorded: %.400s: %v", event, err)
	}
}

// schema returns the compiled schema of a line.
var schema = sync.OnceValues(func() (*jsonschema.Schema, error) {
	text, err := audit.Schema()
	if err != nil {
		return nil, err
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.AssertFormat()
	if err := c.AddResource("line.json", document); err != nil {
		return nil, err
	}
	return c.Compile("line.json")
})
