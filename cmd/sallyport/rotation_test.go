package main

import (
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// TestRecord_RotatesAndIsKilled kills the server (SIGKILL) again and again while it closes files of the record. The record
// is sound, and every response that was given is in it.
func TestRecord_RotatesAndIsKilled(t *testing.T) {
	w := newWorld(t)
	w.rewrite("store: {", "audit: {rotate: {size: 64KiB}}\nstore: {")
	s := w.start("--init")
	b := w.settle(s).browser
	closed := func() []string {
		files, err := filepath.Glob(filepath.Join(w.dir, "data", "audit-*.jsonl"))
		if err != nil {
			t.Fatal(err)
		}
		return files
	}
	allowed := 0
	for round := range 4 {
		var mu sync.Mutex
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				for { // until the server is killed
					resp, err := b.client.Get("https://" + appHost + "/")
					if err != nil {
						return
					}
					_ = resp.Body.Close()
					mu.Lock()
					if resp.StatusCode == http.StatusOK {
						allowed++
					}
					mu.Unlock()
				}
			})
		}
		await := len(closed()) + 1
		awaitStatus(t, await+round%2, func() int { return min(len(closed()), await+round%2) })
		s.kill()
		all.Wait()
		s = w.start()
		b = w.newBrowserWith(s, b)
	}
	out := s.verb("audit", "verify")
	if !strings.Contains(out, "audit-00000000000000000001-") || !strings.Contains(out, "signed up to line") {
		t.Error(out)
	}
	record := s.verb("audit", "export", "--kind", "decision")
	if n := strings.Count(record, `"decision":"allow"`); n < allowed {
		t.Errorf("%d of %d allowed requests are recorded", n, allowed)
	}
	first := regexp.MustCompile(`"request":"([0-9a-f]+)"`).FindStringSubmatch(record)
	if out := s.verb("explain", "--request", first[1]); !strings.Contains(out, "rule_allow") {
		t.Error(out)
	}
	if err := os.Remove(closed()[1]); err != nil {
		t.Fatal(err)
	}
	w.refused(exitDenied, []string{"audit", "verify"}, "are missing, and the file audit-")
}
