package main

import (
	"fmt"
	"strings"
	"testing"
)

func TestParseCalls(t *testing.T) {
	var text strings.Builder
	text.WriteString("# started on Sun Nov 29 2026\n\n")
	for i, name := range counted {
		fmt.Fprintf(&text, "%d;;%s;1000;100.00;;\n", 300-10*i, eventOf(name))
	}
	calls, err := parseCalls(text.String(), 100)
	if err != nil || calls[allCalls] != 3 || calls["read"] != 2.9 {
		t.Errorf("%v, %v", calls, err)
	}
	if got := (systemCalls{allCalls: 4, "read": 2, "write": 1.5, "futex": 0.001}).String(); got != "read 2.00, write 1.50" {
		t.Error(got)
	}
	for what, wrong := range map[string]string{
		"nothing":       "",
		"not supported": strings.Replace(text.String(), "300;", "<not supported>;", 1),
		"one missing":   strings.Replace(text.String(), eventOf("read"), "other", 1),
	} {
		if calls, err := parseCalls(wrong, 100); err == nil {
			t.Errorf("%s: %v", what, calls)
		}
	}
}
