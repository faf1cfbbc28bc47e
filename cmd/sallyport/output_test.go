package main

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"sallyport/access"
)

// TestPrintable_KeepsNamesOffTheTerminal: no name that the identity provider pushed moves the cursor or turns text around.
func TestPrintable_KeepsNamesOffTheTerminal(t *testing.T) {
	const name = "a\x1b[2J\u009b1mb\u202ec\rd"
	var out bytes.Buffer
	writeExplanation(&out, access.Explanation{Caller: access.CallerFacts{Kind: "user", UserName: name, Name: name, Manager: name, Groups: []access.GroupName{{Name: name}}, Roles: []string{name}},
		Route: access.RouteFacts{Owner: name}, Hints: []string{name}})
	if err := writeTable(&out, table{heads: []string{"who"}, rows: [][]string{{name}}}); err != nil {
		t.Fatal(err)
	}
	run(context.Background(), []string{"explain", "--request", name, "-c", "no\x1b[2Jthing.yaml"}, nil, &out, &out)
	if strings.ContainsAny(out.String(), "\x1b\u009b\u202e\r") {
		t.Errorf("%q", out.String())
	}
}
