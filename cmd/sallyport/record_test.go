package main

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sallyport/disk/disktest"
)

// smallDisk mounts a disk of 256 KiB at path.
func smallDisk(t *testing.T, path string) {
	t.Helper()
	if err := os.MkdirAll(path, 0o700); err != nil {
		t.Fatal(err)
	}
	disktest.Mount(t, path, "256k")
}

// TestRecord_RecoversFromFullDisk fills the disk of the audit record while the server runs: nothing is allowed, the
// server stays, a deactivation is carried out, and all of it ends by itself when there is space again.
func TestRecord_RecoversFromFullDisk(t *testing.T) {
	w := newWorld(t)
	disk := filepath.Join(w.dir, "record")
	smallDisk(t, disk)
	w.rewrite("store: {", "audit: {file: record/audit.jsonl}\nstore: {")
	s := w.start("--init")
	stage := w.settle(s)
	push, user, b := stage.push, stage.alice, stage.browser

	fill := filepath.Join(disk, "fill")
	if err := os.WriteFile(fill, make([]byte, 1<<20), 0o600); err == nil {
		t.Fatal("the disk is not full")
	}
	ready := func() int {
		resp, err := http.Get("http://" + s.addrs["ops"] + "/readyz")
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		return resp.StatusCode
	}
	awaitStatus(t, http.StatusServiceUnavailable, func() int { return b.fetch("/") }) // what is left of the last page is used up
	if status := ready(); status != http.StatusServiceUnavailable {
		t.Errorf("/readyz is %d while nothing can be allowed", status)
	}
	push.setActive(user, "False")
	if status := b.fetch("/"); status == http.StatusOK {
		t.Error("a deactivated user is allowed")
	}

	if err := os.Remove(fill); err != nil {
		t.Fatal(err)
	}
	awaitStatus(t, http.StatusOK, ready)
	if status := b.fetch("/"); status != http.StatusForbidden {
		t.Errorf("after the recovery the deactivated user gets %d", status)
	}
	out := s.verb("audit", "verify")
	if !strings.Contains(out, "is sound") {
		t.Error(out)
	}
	record, err := os.ReadFile(filepath.Join(disk, "audit.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	gap, deactivation := strings.Index(string(record), `"reason":"recovered"`), strings.LastIndex(string(record), `"kind":"scim"`)
	if gap < 0 || deactivation < gap {
		t.Errorf("the record does not tell of the gap (%d) and then of the deactivation (%d):\n%s", gap, deactivation, record)
	}
}
