package manage

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestActions_EachIsTriedInABrowser demands that each action of the console, and each that people carry out on their own pages,
// is in a table of browser/console-actions.test.mjs, and that the tables have no others.
func TestActions_EachIsTriedInABrowser(t *testing.T) {
	want := found(t, "*.go", `h\.post\("([^"]+)"`)
	if len(want) < 20 {
		t.Fatalf("the actions of the console are not found in the source: %q", want)
	}
	want = append(want, "/.sallyport/request", "/.sallyport/ask")
	for path, words := range map[string][]string{
		"/.sallyport/requests/{id} ": found(t, "../request.go", `\tcase "(\w+)":`),
		"/.sallyport/sessions ":      found(t, "../sessions.go", `\tcase "(\w+)":`),
		"/.sallyport/pins ":          found(t, "../portal.go", `do != "(\w+)"`),
	} {
		for _, word := range words {
			want = append(want, path+word)
		}
	}
	if forms := found(t, "../*.go", `= (h\.formOf\()`); len(forms) != 5 {
		t.Errorf("package console reads forms of people in %d places; this test knows 5: of requests, of asking for access (2), of sessions and of the portal", len(forms))
	}
	got := found(t, "../../browser/console-actions.test.mjs", `is: 'POST ([^']+)'`)
	for _, action := range want {
		if !slices.Contains(got, action) {
			t.Errorf("no table of browser/console-actions.test.mjs has POST %s", action)
		}
	}
	for _, action := range got {
		if !slices.Contains(want, action) {
			t.Errorf("browser/console-actions.test.mjs has POST %s, which is no action", action)
		}
	}
}

// found returns what the group of a pattern matches in files, tests in Go left out.
func found(t *testing.T, files, pattern string) (texts []string) {
	t.Helper()
	names, err := filepath.Glob(files)
	if err != nil || len(names) == 0 {
		t.Fatalf("no files %s: %v", files, err)
	}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		source, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range regexp.MustCompile(pattern).FindAllSubmatch(source, -1) {
			texts = append(texts, string(match[1]))
		}
	}
	return texts
}
