package audit_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"sallyport/audit"
	"sallyport/disk/disktest"
)

// TestRun_RecoversFromFailedFsync: the record is on an ext4 whose own disk is full, so that
// writes succeed and fsync does not. Every line that was acknowledged is on the disk once
// the log has recovered: mounting it again shows what the disk has.
//
// A disk that is full below may lose blocks of its own file system, too. The log then refuses to go on, as it has to, and
// another disk is tried.
func TestRun_RecoversFromFailedFsync(t *testing.T) {
	for range 3 {
		if recoversFromFailedFsync(t) {
			return
		}
	}
	t.Error("on three disks in a row, the file no longer ended with the lines that were written")
}

// recoversFromFailedFsync reports whether the log recovered; it did not if the file is another one.
func recoversFromFailedFsync(t *testing.T) bool {
	t.Helper()
	below, dir := smallDisk(t, "48m"), t.TempDir()
	image := filepath.Join(below, "image")
	if err := os.WriteFile(image, make([]byte, 40<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	command := func(args ...string) {
		t.Helper()
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Skipf("making a disk that has less than it says: %v: %s", err, out)
		}
	}
	command("mkfs.ext4", "-q", "-b", "4096", "-E", "lazy_itable_init=0,lazy_journal_init=0,nodiscard", "-J", "size=4", image)
	command("fallocate", "-l", "40M", image) // mkfs makes holes
	command("mount", "-o", "loop", image, dir)
	t.Cleanup(func() { disktest.Unmount(dir) })
	source, err := exec.Command("findmnt", "-n", "-o", "SOURCE", dir).Output()
	if err != nil {
		t.Skipf("finding the disk: %v", err)
	}
	// A loop device takes a write that its file could only store in part for a good one, so each write is of one page.
	queue := filepath.Join("/sys/block", filepath.Base(strings.TrimSpace(string(source))), "queue/max_sectors_kb")
	if err := os.WriteFile(queue, []byte("4"), 0); err != nil {
		t.Skipf("bounding the writes of the disk: %v", err)
	}
	command("fstrim", dir) // only free blocks are not there
	path := filepath.Join(dir, "audit.jsonl")
	l := openReserved(t, path)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan struct{})
	go func() { defer close(ended); _ = l.Run(ctx) }()
	acknowledged := 0
	write := func() error {
		err := l.Write(audit.Event{Kind: audit.KindEnd, Session: fmt.Sprintf("session-%06d", acknowledged), Path: strings.Repeat("x", 20_000)})
		if err == nil {
			acknowledged++
		}
		return err
	}
	release := fill(t, below)
	deadline := time.Now().Add(3 * time.Minute) // of a busy machine
	for write() == nil {                        // until the sync of a second fails
		if time.Now().After(deadline) {
			t.Fatal("no sync fails")
		}
		time.Sleep(time.Millisecond)
	}
	release()
	awaiting, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	for l.Writable(awaiting) != nil {
		if err := l.Err(); strings.Contains(err.Error(), "no longer ends with") {
			t.Log(err)
			stop()
			<-ended
			return false
		} else if time.Now().After(deadline) {
			t.Fatalf("the record has not recovered: %v", err)
		}
		awaiting, cancel = context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
	}
	err = write()
	stop()
	<-ended
	if err := errors.Join(err, l.Close()); err != nil {
		t.Fatal(err)
	}
	for err = syscall.Unmount(dir, 0); err != nil; err = syscall.Unmount(dir, 0) { // other processes look at mounts
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond)
	}
	command("mount", "-o", "loop", image, dir)
	record, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := audit.Verify(bytes.NewReader(record)); err != nil || n != acknowledged+1 {
		t.Errorf("%d lines are there of %d, %v", n, acknowledged+1, err)
	}
	if got := bytes.Count(record, []byte(`"session":"session-`)); got != acknowledged {
		t.Errorf("%d of %d acknowledged lines are there", got, acknowledged)
	}
	return true
}
