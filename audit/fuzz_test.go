package audit_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sallyport/audit"
)

// FuzzVerify: what hashes the bytes of lines and what decodes them find the same number of sound lines, and nothing is read
// differently from how it was written.
func FuzzVerify(f *testing.F) {
	path := filepath.Join(f.TempDir(), "audit.jsonl")
	l, err := audit.Open(path)
	if err != nil {
		f.Fatal(err)
	}
	for _, user := range []string{"ada", `"b\o\b"`, "clé\u2028o"} {
		if err := l.Write(audit.Event{Kind: audit.KindLogin, User: user, Detail: map[string]string{`,"prev":"`: `,"hash":"`}}); err != nil {
			f.Fatal(err)
		}
	}
	l.SignCheckpoints(newKeeper(f).checkpoints())
	if err := l.Checkpoint(); err != nil {
		f.Fatal(err)
	}
	_ = l.Close()
	whole, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	lines := strings.SplitAfter(string(whole), "\n")
	f.Add(whole)
	f.Add([]byte(lines[0] + lines[2]))
	f.Add([]byte(lines[0] + lines[1][:len(lines[1])-1]))
	f.Add([]byte(strings.Replace(lines[0], `"seq":1`, `"seq":01`, 1)))
	f.Add([]byte(strings.Replace(lines[0], `"}`, `","user":"eve"}`, 1)))
	f.Add([]byte("\n" + lines[0]))
	f.Add([]byte(lines[3]))
	f.Fuzz(func(t *testing.T, text []byte) {
		n, err := audit.Verify(bytes.NewReader(text))
		m, failed := audit.Read(bytes.NewReader(text), func(audit.Event) error { return nil })
		if n != m || (err == nil) != (failed == nil) {
			t.Fatalf("Verify finds %d lines, %v; Read finds %d, %v", n, err, m, failed)
		}
		for i, line := range bytes.SplitAfter(text, []byte("\n")) {
			if i < n && !json.Valid(line) {
				t.Fatalf("line %d is no JSON", i+1)
			}
		}
	})
}

// TestVerify_AcrossSegments: lines of all lengths, in a record that is longer than what is checked at once.
func TestVerify_AcrossSegments(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	l, err := audit.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	const lines = 400
	for i := range lines {
		if err := l.Write(audit.Event{Kind: audit.KindDecision, Path: strings.Repeat("x", i*i%65_521)}); err != nil {
			t.Fatal(err)
		}
	}
	_ = l.Close()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := audit.Verify(bytes.NewReader(text)); n != lines || err != nil {
		t.Fatalf("%d lines, %v", n, err)
	}
	all := bytes.SplitAfter(text, []byte("\n"))
	for i := 0; i < lines; i += 7 {
		changed := bytes.Clone(text)
		at := len(bytes.Join(all[:i], nil)) + len(all[i])/2
		changed[at] ^= 1
		if n, err := audit.Verify(bytes.NewReader(changed)); n != i || err == nil || !strings.Contains(err.Error(), "line ") {
			t.Fatalf("with line %d changed: %d lines, %v", i+1, n, err)
		}
		if n, err := audit.Verify(bytes.NewReader(bytes.Join(append(append([][]byte{}, all[:i]...), all[i+1:]...), nil))); err == nil && i < lines-1 || n != i {
			t.Fatalf("with line %d removed: %d lines, %v", i+1, n, err)
		}
	}
}
