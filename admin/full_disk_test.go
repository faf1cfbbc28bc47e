package admin_test

import (
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"

	"sallyport/admin"
	"sallyport/audit"
	"sallyport/disk/disktest"
)

// TestAdmin_DoesNothingOnFullDisk makes the audit record larger than the store, and then forbids files to grow beyond
// it: the store can be written, the record cannot.
func TestAdmin_DoesNothingOnFullDisk(t *testing.T) {
	w := newWorld(t)
	for range 1000 {
		must(t, w.log.Write(audit.Event{Kind: audit.KindDecision, Reason: "rule_allow", Path: "/" + strings.Repeat("x", 1000)}))
	}
	release := limitFileSize(t, w.logPath)
	_, err := w.CreateToken(t.Context(), ada, "entra", 0)
	release()
	if !errors.Is(err, admin.ErrNotRecorded) || !errors.Is(err, syscall.EFBIG) {
		t.Errorf("the error is %v", err)
	}
	if n := w.countTokens(); n != 0 {
		t.Errorf("there are %d tokens that are not recorded", n)
	}
	if _, err := w.CreateToken(t.Context(), ada, "entra", 0); !errors.Is(err, admin.ErrNotRecorded) || w.countTokens() != 0 {
		t.Errorf("after the failed write the next action gives %v", err)
	}
}

// limitFileSize makes writes beyond the size of the file at path fail, until the returned function is called.
func limitFileSize(t *testing.T, path string) (release func()) {
	t.Helper()
	info, err := os.Stat(path)
	must(t, err)
	return disktest.LimitFileSize(t, uint64(info.Size()))
}

func TestMain(m *testing.M) { os.Exit(disktest.Main(m)) }
