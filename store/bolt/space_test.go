package bolt_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"sallyport/disk/disktest"
	"sallyport/store"
	"sallyport/store/bolt"
)

// end writes a record as an update that takes access away.
func end(s *bolt.Store, key string) error {
	_, err := s.Update(context.Background(), func(w store.Writer) error {
		store.Urgent(w)
		return w.Put([]byte(key), []byte("ended"))
	})
	return err
}

// fill uses up the disk at dir.
func fill(t *testing.T, dir string) (release func()) {
	t.Helper()
	path := filepath.Join(dir, "fill")
	if err := os.WriteFile(path, make([]byte, 1<<26), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("filling the disk gives %v", err)
	}
	return func() {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

// putUntilRefused writes records until one is refused, and returns how many were not.
func putUntilRefused(t *testing.T, s *bolt.Store) (accepted int, err error) {
	t.Helper()
	for ; accepted < 100_000; accepted++ {
		if err := put(s, fmt.Sprintf("ordinary-%06d", accepted), strings.Repeat("x", 2000)); err != nil {
			return accepted, err
		}
	}
	t.Fatal("nothing is refused on a full disk")
	return accepted, nil
}

// TestReserve_IsForUrgentUpdates: on a disk that is filled up, ordinary changes are refused
// before anything is written, and thousands that take access away are stored.
func TestReserve_IsForUrgentUpdates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := smallDisk(t, "8m")
		path := filepath.Join(dir, "store.db")
		s, err := bolt.Open(path, bolt.Options{Init: true, Reserve: 512 << 10})
		if err != nil {
			t.Fatal(err)
		}
		run(t, s)
		if err := put(s, "first", "1"); err != nil {
			t.Fatal(err)
		}
		release := fill(t, dir)
		accepted, err := putUntilRefused(t, s)
		if !errors.Is(err, store.ErrFull) || errors.Is(err, store.ErrPoisoned) || errors.Is(err, store.ErrUncertain) {
			t.Fatalf("an ordinary change on a full disk gives %v", err)
		}
		if err := s.Err(); !errors.Is(err, store.ErrFull) {
			t.Errorf("the store says %v", err)
		}
		for n := range 1000 {
			if err := end(s, fmt.Sprintf("ended-%06d", n)); err != nil {
				t.Fatalf("ending number %d: %v", n, err)
			}
			if n%100 != 0 {
				continue
			}
			if err := put(s, "ordinary", "x"); !errors.Is(err, store.ErrFull) {
				t.Fatalf("after %d ends, an ordinary change gives %v", n, err)
			}
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if err := put(s, "ordinary", "x"); !errors.Is(err, store.ErrFull) {
			t.Errorf("later, an ordinary change gives %v", err)
		}
		if got := testutil.ToFloat64(s.Results("full")); got != 12 {
			t.Errorf("%v refusals are counted, want 12", got)
		}
		release()
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if err := errors.Join(s.Err(), put(s, "ordinary", "x"), s.Check(t.Context())); err != nil {
			t.Errorf("with space again: %v", err)
		}
		for n := range accepted {
			if _, err := get(s, fmt.Sprintf("ordinary-%06d", n)); err != nil {
				t.Error(err)
			}
		}
	})
}

// TestReserve_HoldsAfterRestart: a store is opened on a disk that is full already.
func TestReserve_HoldsAfterRestart(t *testing.T) {
	dir := smallDisk(t, "8m")
	path := filepath.Join(dir, "store.db")
	options := bolt.Options{Init: true, Reserve: 512 << 10}
	s, err := bolt.Open(path, options)
	if err != nil {
		t.Fatal(err)
	}
	if err := put(s, "first", "1"); err != nil {
		t.Fatal(err)
	}
	release := fill(t, dir)
	if _, err := putUntilRefused(t, s); !errors.Is(err, store.ErrFull) {
		t.Fatal(err)
	}
	release()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	release = fill(t, dir)
	if s, err = bolt.Open(path, options); err != nil {
		t.Fatal(err)
	}
	if _, err := putUntilRefused(t, s); !errors.Is(err, store.ErrFull) {
		t.Error(err)
	}
	for n := range 100 {
		if err := end(s, fmt.Sprintf("ended-%06d", n)); err != nil {
			t.Fatalf("ending number %d: %v", n, err)
		}
	}
	release()
	if err := errors.Join(s.Check(t.Context()), s.Close()); err != nil {
		t.Error(err)
	}
}

// TestReserve_GroupCommit: of updates that are committed together, those that take access
// away are stored and the others are refused.
func TestReserve_GroupCommit(t *testing.T) {
	dir := smallDisk(t, "8m")
	s, err := bolt.Open(filepath.Join(dir, "store.db"), bolt.Options{Init: true, Reserve: 512 << 10})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	defer fill(t, dir)()
	if _, err := putUntilRefused(t, s); !errors.Is(err, store.ErrFull) {
		t.Fatal(err)
	}
	var updates sync.WaitGroup
	for n := range 64 {
		updates.Go(func() {
			if n%2 == 0 {
				if err := end(s, fmt.Sprintf("ended-%06d", n)); err != nil {
					t.Errorf("ending number %d: %v", n, err)
				}
			} else if err := put(s, fmt.Sprintf("refused-%06d", n), "x"); !errors.Is(err, store.ErrFull) {
				t.Errorf("ordinary change %d gives %v", n, err)
			}
		})
	}
	updates.Wait()
}

// TestRun_RecoversFromFullDiskWithoutReserve: the file has no blocks ahead, so a full disk
// is found out by the commit.
func TestRun_RecoversFromFullDiskWithoutReserve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := smallDisk(t, "8m")
		s := open(t, filepath.Join(dir, "store.db"))
		run(t, s)
		if err := put(s, "first", "1"); err != nil {
			t.Fatal(err)
		}
		release := fill(t, dir)
		accepted, err := putUntilRefused(t, s)
		if !errors.Is(err, store.ErrUncertain) || !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("a change on a full disk gives %v", err)
		}
		for range 10 {
			time.Sleep(time.Second)
			synctest.Wait()
			if err := end(s, "ended"); !errors.Is(err, store.ErrPoisoned) {
				t.Errorf("while the disk is full, a change gives %v", err)
			}
		}
		release()
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if err := errors.Join(s.Err(), end(s, "ended"), s.Check(t.Context())); err != nil {
			t.Errorf("with space again: %v", err)
		}
		for n := range accepted {
			if _, err := get(s, fmt.Sprintf("ordinary-%06d", n)); err != nil {
				t.Error(err)
			}
		}
	})
}

// TestReserve_GrowsWithStore: on a disk with space, changes of any size are stored.
func TestReserve_GrowsWithStore(t *testing.T) {
	s, err := bolt.Open(filepath.Join(t.TempDir(), "store.db"), bolt.Options{Init: true, Reserve: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for n, size := range []int{1, 1 << 10, 1 << 20, 40 << 20, 1 << 20} {
		if err := put(s, fmt.Sprint(n), strings.Repeat("x", size)); err != nil {
			t.Errorf("a record of %d bytes: %v", size, err)
		}
	}
	if err := s.Check(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestReserve_FileSizeLimit: a limit of the process counts as a full disk.
func TestReserve_FileSizeLimit(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	s, err := bolt.Open(path, bolt.Options{Init: true, Reserve: 512 << 10})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	defer disktest.LimitFileSize(t, uint64(info.Size()))()
	if _, err := putUntilRefused(t, s); !errors.Is(err, store.ErrFull) {
		t.Errorf("an ordinary change gives %v", err)
	}
	if err := end(s, "ended"); err != nil {
		t.Error(err)
	}
}
