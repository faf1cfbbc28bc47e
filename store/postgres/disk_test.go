package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"sallyport/store"
	"sallyport/store/postgres/postgrestest"
)

// smallDisk returns a folder on a disk of its own.
func smallDisk(t testing.TB, size string) string {
	t.Helper()
	if os.Getenv(postgrestest.Variable) == "" {
		t.Skip(postgrestest.Variable + " is not set")
	}
	folder, err := os.MkdirTemp("", "disk-") //nolint:usetesting // the folder of a test is closed to the user of the server
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	if out, err := osexec.Command("mount", "-t", "tmpfs", "-o", "mode=755,size="+size, "none", folder).CombinedOutput(); err != nil {
		t.Skipf("a disk of its own needs root and tmpfs: %s", out)
	}
	t.Cleanup(func() { _ = osexec.Command("umount", "--lazy", folder).Run() })
	return folder
}

// fill fills the disk of a folder, and returns what frees it again.
func fill(t testing.TB, folder string) (free func()) {
	t.Helper()
	path := filepath.Join(folder, "filler")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for block := make([]byte, 64<<10); len(block) > 0; {
		if _, err := f.Write(block); err != nil {
			block = block[:len(block)/2]
		}
	}
	return func() { _ = os.Remove(path) }
}

// TestUpdate_OnAFullDisk fills the disk of the database while it is written to: nothing that was acknowledged is lost, no
// replica decides for longer than its lease, and when there is space again, everything goes on.
func TestUpdate_OnAFullDisk(t *testing.T) {
	t.Parallel()
	postgrestest.SkipIfShort(t)
	disk := smallDisk(t, "250m")
	server := postgrestest.StartIn(t, disk, "max_wal_size=32MB", "min_wal_size=32MB", "wal_recycle=off")
	a, b := startReplica(t, server.Database(), "a"), startReplica(t, server.Database(), "b")
	_ = b
	a.awaitErr(t, nil)
	for range trials(1) {
		fillDisk(t, disk, server, a)
	}
}

func fillDisk(t *testing.T, disk string, server *postgrestest.Server, a *replica) {
	t.Helper()
	var mu sync.Mutex
	stored, failed := map[string]bool{}, map[string]bool{}
	var texts []string
	ctx, stop := context.WithCancel(context.Background())
	var writers sync.WaitGroup
	begun := monotonic()
	for i := range 4 {
		writers.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				key := fmt.Sprintf("%d/%d/%d", begun, i, n)
				_, err := a.Update(context.Background(), func(w store.Writer) error {
					return w.Put([]byte(key), []byte(strings.Repeat("x", 100<<10)))
				})
				mu.Lock()
				switch {
				case err == nil:
					stored[key] = true
				case !errors.Is(err, store.ErrUncertain):
					failed[key], texts = true, append(texts, err.Error())
				}
				mu.Unlock()
				time.Sleep(10 * time.Millisecond) // how often changes come
			}
		})
	}
	demandProgress(&mu, stored)
	free := fill(t, disk)
	for deadline := time.Now().Add(60 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		mu.Lock()
		n := len(failed)
		mu.Unlock()
		if n > 0 || !server.Running() {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the disk does not fill")
		}
	}
	time.Sleep(2 * shortLease) // how long the disk is full
	free()
	if !server.Running() {
		server.Start() // as whatever watches over the server does
	}
	a.awaitErr(t, nil)
	put(t, a.Store, "well", "again")
	stop()
	writers.Wait()
	for key := range stored {
		if _, err := get(a.Store, key); err != nil {
			t.Errorf("%s was acknowledged, and is lost: %v", key, err)
		}
	}
	for key := range failed {
		if _, err := get(a.Store, key); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%s failed, and is there: %v", key, err)
		}
	}
	if len(texts) > 0 {
		t.Logf("%d changes were stored, %d failed, such as: %s", len(stored), len(failed), texts[0])
	}
	for key := range stored { // make space for the next trial
		_, _ = a.Update(context.Background(), func(w store.Writer) error { return w.Delete([]byte(key)) })
	}
	server.SQL("CHECKPOINT")
}
