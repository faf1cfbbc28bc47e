package sink_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sallyport/audit"
	"sallyport/audit/sink"
)

// TestSinks_Prepare changes the sinks of a record that grows: each line is sent to each sink that there was when it was
// written, none of them twice, and what others had to send is not lost.
func TestSinks_Prepare(t *testing.T) {
	r := newRecord(t)
	dir := t.TempDir()
	file := func(name string, kinds ...audit.Kind) sink.Settings {
		return sink.Settings{Name: name, From: "end", Format: "json", Kinds: kinds, File: &sink.File{Path: filepath.Join(dir, name)}}
	}
	users := func(name string) (list []string) {
		text, _ := os.ReadFile(filepath.Join(dir, name))
		for line := range strings.Lines(string(text)) {
			if _, after, ok := strings.Cut(line, `"user":"`); ok {
				user, _, _ := strings.Cut(after, `"`)
				list = append(list, user)
			}
		}
		return list
	}
	awaitUsers := func(name string, want ...string) {
		t.Helper()
		for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
			switch got := users(name); {
			case slices.Equal(got, want):
				return
			case time.Now().After(deadline):
				t.Fatalf("%s has %q, want %q", name, got, want)
			}
		}
	}
	s := r.start(file("kept"), file("moved"), file("removed"))
	put := func(settings ...sink.Settings) {
		t.Helper()
		use, err := s.Prepare(settings)
		must(t, err)
		use()
	}
	r.write(1)
	for _, name := range []string{"kept", "moved", "removed"} {
		awaitUsers(name, "u0")
	}
	moved := file("moved")
	moved.File = &sink.File{Path: filepath.Join(dir, "elsewhere")}
	r.write(1)
	put(file("new"), moved, file("kept"))
	r.write(1)
	awaitUsers("kept", "u0", "u1", "u2")
	awaitUsers("new", "u2")
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline) && len(users("moved"))+len(users("elsewhere")) < 3; {
		time.Sleep(time.Millisecond)
	}
	if all := slices.Concat(users("moved"), users("elsewhere")); !slices.Equal(all, []string{"u0", "u1", "u2"}) {
		t.Errorf("what was sent by the former and by the other settings of a sink: %q", all)
	}
	var names []string
	for _, status := range s.Status() {
		names = append(names, status.Name)
	}
	if !slices.Equal(names, []string{"new", "moved", "kept"}) {
		t.Errorf("the sinks are %q", names)
	}

	broken := sink.Settings{Name: "broken", HTTPS: &sink.HTTPS{Endpoint: sink.Endpoint{URL: "::"}}}
	if _, err := s.Prepare([]sink.Settings{broken}); err == nil || !strings.Contains(err.Error(), "audit.sinks[0]") {
		t.Errorf("a sink without a usable address: %v", err)
	}
	r.write(1)
	awaitUsers("kept", "u0", "u1", "u2", "u3")
	awaitUsers("new", "u2", "u3")

	put(file("removed"), file("kept"))
	awaitUsers("removed", "u0", "u1", "u2", "u3") // it goes on where it was
	put()
	if all := s.Status(); len(all) != 0 {
		t.Errorf("of no sinks, the status is %v", all)
	}
}
