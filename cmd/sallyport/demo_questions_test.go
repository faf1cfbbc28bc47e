package main

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// startDemo runs the demo and returns the path of its configuration.
func startDemo(t *testing.T) (config string) {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cmd := exec.Command(path, "demo")
	cmd.Env = append(os.Environ(), "TMPDIR="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Signal(os.Interrupt); _ = cmd.Wait() })
	ready := make(chan struct{})
	go func() {
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if strings.Contains(lines.Text(), "Sallyport is ready") {
				close(ready)
			}
		}
	}()
	select {
	case <-ready:
	case <-time.After(readyTimeout):
		t.Fatal("the demo is not ready")
	}
	found, err := filepath.Glob(filepath.Join(dir, "sallyport-demo-*", "sallyport.yaml"))
	if err != nil || len(found) != 1 {
		t.Fatalf("%q, %v", found, err)
	}
	return found[0]
}

// TestDemo_ExplainsAccess asks, over the demo's company, why somebody is let in or not, who reaches a route, and what
// other rules would change.
func TestDemo_ExplainsAccess(t *testing.T) {
	if !demoPortsAreFree() {
		t.Skip("another demo runs")
	}
	config := startDemo(t)
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	stricter := filepath.Join(filepath.Dir(config), "stricter.yaml")
	tests := "\ntests:\n  - {as: new@castle-works.example, groups: [Research], get: api.localhost/orders, want: allow, by: 'orders[0]'}\n" +
		"  - {as: new@castle-works.example, groups: [Research], post: api.localhost/orders, want: deny, by: 'orders[1]'}\n"
	closed := strings.Replace(string(text), "methods: [POST, PUT, PATCH, DELETE]", "methods: [any]", 1) + tests
	if err := os.WriteFile(stricter, []byte(closed), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		args string
		exit int
		want []string
	}{
		{"why_is_she_let_in", "explain --user ada.lovelace@castle-works.example http://api.localhost/orders/1", 0, []string{"allowed: rule_allow by orders[0]", "route     orders"}},
		{"why_is_she_denied", "explain --user ada.lovelace@castle-works.example --method DELETE http://api.localhost/orders/1", 2, []string{"denied: rule_deny by orders[1]", "unless_groups Administrators"}},
		{"who_reaches_the_orders", "access who --route orders --method DELETE -o csv", 0, []string{"orders[0]"}},
		{"what_does_she_reach", "access what --user ada.lovelace@castle-works.example", 0, []string{"orders[0]; except orders[1] if methods POST, PUT, PATCH, DELETE"}},
		{"what_would_change", "access diff " + stricter, 0, []string{"orders", "lose access"}},
		{"does_it_pass_its_tests", "test -c " + stricter, 2, []string{"FAIL", "deny: rule_deny by orders[1]", "1 of 2 tests fail"}},
		{"is_everything_as_it_seems", "validate --live", 0, []string{"is sound"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			args := strings.Fields(c.args)
			if args[0] != "test" {
				args = append(args, "-c", config)
			}
			cmd := exec.Command(path, args...)
			var out bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &out
			_ = cmd.Run()
			if cmd.ProcessState.ExitCode() != c.exit {
				t.Errorf("exits with %d, want %d", cmd.ProcessState.ExitCode(), c.exit)
			}
			for _, want := range c.want {
				if !strings.Contains(out.String(), want) {
					t.Errorf("no %q in\n%s", want, out.String())
				}
			}
		})
	}
}

// TestDemo_FillsTheConsole waits until the colleagues of the demo have done what the pictures of the console show.
func TestDemo_FillsTheConsole(t *testing.T) {
	if !demoPortsAreFree() {
		t.Skip("another demo runs")
	}
	record := filepath.Join(filepath.Dir(startDemo(t)), "data", "audit.jsonl")
	for _, want := range []string{`"kind":"decision".*"decision":"allow"`, `"kind":"decision".*"decision":"deny"`, `"kind":"cut".*"reason":"inactive_user"`} {
		pattern := regexp.MustCompile(want)
		eventually(t, "a line of the record with "+want, func() bool {
			text, err := os.ReadFile(record)
			return err == nil && pattern.Match(text)
		})
	}
}
