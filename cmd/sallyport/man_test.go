package main

import (
	"bytes"
	"context"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestMan_EveryCommandHasAPage: each page has the sections of a manual page in their order, and what the help says.
func TestMan_EveryCommandHasAPage(t *testing.T) {
	root := rootCommand()
	pages := manualPages(root)
	for _, c := range commands(root) {
		name := manualName(c) + ".1"
		page := string(pages[name])
		rest := page
		for _, section := range []string{"NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXIT STATUS", "EXAMPLES", "FILES", "SEE ALSO"} {
			_, after, ok := strings.Cut(rest, "\n.SH "+section+"\n")
			if !ok || strings.HasPrefix(after, ".SH") || strings.HasPrefix(after, ".nf\n.fi") {
				t.Errorf("%s has no section %s, or nothing in it:\n%s", name, section, page)
				break
			}
			rest = after
		}
		for _, s := range exitStatuses(c) {
			if !strings.Contains(page, escape(s.meaning)) {
				t.Errorf("%s does not say when the command exits with %d", name, s.code)
			}
		}
		for _, flag := range []string{"config", "help"} {
			if !strings.Contains(page, escape("--"+flag)) {
				t.Errorf("%s does not have the flag --%s", name, flag)
			}
		}
	}
	if len(pages) != len(commands(root)) {
		t.Errorf("%d pages for %d commands", len(pages), len(commands(root)))
	}
}

// TestMan_IsSoundRoff has groff read every page, and demands that it warns of nothing.
func TestMan_IsSoundRoff(t *testing.T) {
	groff, err := exec.LookPath("groff")
	if err != nil {
		t.Skip("groff is not installed")
	}
	dir := t.TempDir()
	var out bytes.Buffer
	if code := run(context.Background(), []string{"man", dir}, nil, &out, &out); code != exitOK {
		t.Fatal(out.String())
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.1"))
	if err != nil || len(files) == 0 {
		t.Fatalf("there are %d pages: %v", len(files), err)
	}
	found, err := exec.Command(groff, slices.Concat([]string{"-man", "-Tutf8", "-ww", "-z"}, files)...).CombinedOutput()
	if err != nil || len(found) > 0 {
		t.Errorf("groff says %v: %s", err, found)
	}
	text, err := exec.Command(groff, "-man", "-Tascii", "-P-cbou", filepath.Join(dir, "sallyport-users-suspend.1")).CombinedOutput()
	if err != nil || !strings.Contains(string(text), "--reason") || !strings.Contains(string(text), `--reason "laptop stolen"`) {
		t.Errorf("the page of users suspend is %v: %s", err, text)
	}
}
