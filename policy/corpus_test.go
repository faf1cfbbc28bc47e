package policy_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/tools/txtar"

	"sallyport/policy"
)

// TestCorpus decides every request in testdata/corpus.
func TestCorpus(t *testing.T) {
	files, err := filepath.Glob("testdata/corpus/*.txt")
	if err != nil || len(files) < 4 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		archive := txtar.Parse(data)
		if len(archive.Files) != 2 {
			t.Fatalf("%s has %d parts, want rules and decisions", file, len(archive.Files))
		}
		p := compile(t, string(archive.Files[0].Data))
		for i, row := range strings.Split(strings.TrimSpace(string(archive.Files[1].Data)), "\n")[1:] {
			cells := strings.Split(row, "|")
			if len(cells) != 4 {
				t.Fatalf("%s: row %d has %d cells", file, i+1, len(cells))
			}
			req := callerOf(t, strings.TrimSpace(cells[0]))
			req.Method, req.Path = strings.TrimSpace(cells[1]), strings.TrimSpace(cells[2])
			if got, want := decisionOf(p.Decide(req)), strings.TrimSpace(cells[3]); got != want {
				t.Errorf("%s: %s\ngives %s", file, row, got)
			}
		}
	}
}

// decisionOf writes a decision as "allow p[0]", or "deny" with the rule or the reason.
func decisionOf(d policy.Decision) string {
	switch {
	case d.Allow:
		return "allow " + d.Rule
	case d.Reason == policy.RuleDeny:
		return "deny " + d.Rule
	}
	return "deny " + string(d.Reason)
}

// callerOf returns a request of a caller that is written as README.md of the corpus says.
func callerOf(t *testing.T, text string) *policy.Request {
	t.Helper()
	req := &policy.Request{Host: "app.example.com", Time: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)}
	var err error
	var login time.Duration
	for word := range strings.FieldsSeq(text) {
		key, value, _ := strings.Cut(word, "=")
		switch key {
		case "anonymous":
			req.Anonymous = true
		case "groups":
			req.GroupIDs = slices.Sorted(slices.Values(strings.Split(value, ",")))
			req.GroupNames = req.GroupIDs
		case "user":
			req.UserName = value
		case "roles":
			req.Roles = strings.Split(value, ",")
		case "app":
			req.App = value
		case "attributes":
			req.Attributes = attributesOf(value)
		case "from":
			req.Address, err = netip.ParseAddr(value)
		case "at":
			req.Time, err = time.Parse(time.RFC3339, value)
		case "login":
			login, err = time.ParseDuration(value)
		default:
			t.Fatalf("%q is no word for a caller", word)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if login > 0 {
		req.Authenticated = req.Time.Add(-login)
	}
	return req
}

// attributesOf returns the document of "department:Finance,userType:Contractor".
func attributesOf(text string) document {
	d, extension := document{}, map[string]any{}
	for pair := range strings.SplitSeq(text, ",") {
		name, value, _ := strings.Cut(pair, ":")
		if name == "department" {
			extension[name] = value
		} else {
			d[name] = value
		}
	}
	d[enterprise] = extension
	return d
}
