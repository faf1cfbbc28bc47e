//go:build unix

package disk_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"sallyport/disk"
)

// TestOwnAs_FollowsOwner: what root makes belongs to the user of the file that it stands beside.
func TestOwnAs_FollowsOwner(t *testing.T) {
	dir := t.TempDir()
	made, like := filepath.Join(dir, "made"), filepath.Join(dir, "like")
	for _, path := range []string{made, like} {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want := os.Geteuid()
	if want == 0 {
		want = 65532
		if err := os.Chown(like, want, want); err != nil {
			t.Fatal(err)
		}
	}
	if err := disk.OwnAs(made, like); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(made)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Sys().(*syscall.Stat_t).Uid; int(got) != want {
		t.Errorf("the owner is %d, want %d", got, want)
	}
}
