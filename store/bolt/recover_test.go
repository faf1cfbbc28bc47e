package bolt_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"sallyport/disk/disktest"
	"sallyport/store"
	"sallyport/store/bolt"
)

// run runs s until the test ends, and then closes it.
func run(t *testing.T, s *bolt.Store) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = s.Run(ctx) }()
	t.Cleanup(func() { stop(); <-ended; _ = s.Close() })
}

// get returns the value at key, or its error.
func get(s *bolt.Store, key string) (value string, err error) {
	err = s.View(context.Background(), func(r store.Reader) error {
		v, err := r.Get([]byte(key))
		value = string(v)
		return err
	})
	return value, err
}

// watched returns the keys that s sent after revision 0 so far.
func watched(s *bolt.Store, last store.Revision) (keys []string) {
	for change, err := range s.Watch(context.Background(), 0) {
		if err != nil {
			return append(keys, err.Error())
		}
		for _, w := range change.Writes {
			keys = append(keys, string(w.Key))
		}
		if change.Revision == last {
			return keys
		}
	}
	return keys
}

// TestRun_RecoversFromFailedCommit: the change whose commit failed is there afterwards
// and was sent to those who watch, or it is not there; the changes after it are refused.
func TestRun_RecoversFromFailedCommit(t *testing.T) {
	for name, c := range map[string]struct {
		fail   func(*testing.T, *bolt.Store) (release func())
		stored bool
	}{
		"file_cannot_grow":     {func(t *testing.T, _ *bolt.Store) func() { return disktest.LimitFileSize(t, 12<<20) }, false},
		"before_it_is_written": {func(_ *testing.T, s *bolt.Store) func() { return s.FailCommit(false) }, false},
		"after_it_is_written":  {func(_ *testing.T, s *bolt.Store) func() { return s.FailCommit(true) }, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "store.db")
				var log bytes.Buffer
				s, err := bolt.Open(path, bolt.Options{Init: true, Log: slog.New(slog.NewTextHandler(&log, nil))})
				if err != nil {
					t.Fatal(err)
				}
				run(t, s)
				if err := errors.Join(put(s, "a", "1"), s.Err()); err != nil {
					t.Fatal(err)
				}
				release := c.fail(t, s)
				if err := put(s, "b", strings.Repeat("x", 16<<20)); !errors.Is(err, store.ErrUncertain) {
					t.Errorf("the change whose commit fails gives %v", err)
				}
				if err := put(s, "c", "3"); !errors.Is(err, store.ErrPoisoned) || errors.Is(err, store.ErrUncertain) {
					t.Errorf("the next change gives %v", err)
				}
				if err := s.Err(); !errors.Is(err, store.ErrPoisoned) {
					t.Errorf("the store says %v", err)
				}
				if _, err := get(s, "b"); c.stored && !errors.Is(err, store.ErrUncertain) || !c.stored && !errors.Is(err, store.ErrNotFound) {
					t.Errorf("a read of the change whose outcome is unknown gives %v", err)
				}
				if _, err := get(s, "a"); !c.stored && err != nil {
					t.Errorf("reads do not go on: %v", err)
				}
				release()
				time.Sleep(2 * time.Second)
				synctest.Wait()
				if err := s.Err(); err != nil {
					t.Fatalf("the store has not recovered: %v", err)
				}
				if _, err := get(s, "b"); (err == nil) != c.stored {
					t.Errorf("afterwards the change gives %v", err)
				}
				if err := put(s, "d", "4"); err != nil {
					t.Fatal(err)
				}
				want, last := "[a d]", store.Revision(2)
				if c.stored {
					want, last = "[a b d]", 3
				}
				if got := fmt.Sprint(watched(s, last)); got != want {
					t.Errorf("%s were sent, want %s", got, want)
				}
				if got := testutil.ToFloat64(s.Results("failed")); got != 2 {
					t.Errorf("%v refusals are counted, want 2", got)
				}
				if err := s.Check(context.Background()); err != nil {
					t.Error(err)
				}
				if got := strings.Count(log.String(), "level=ERROR"); got != 1 {
					t.Errorf("%d errors are logged, want 1:\n%s", got, log.String())
				}
			})
		})
	}
}

// TestRun_KeepsTrying: while the disk fails, nothing is accepted, and the log does not
// fill up.
func TestRun_KeepsTrying(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		s, err := bolt.Open(filepath.Join(t.TempDir(), "store.db"), bolt.Options{Init: true, Log: slog.New(slog.NewTextHandler(&log, nil))})
		if err != nil {
			t.Fatal(err)
		}
		run(t, s)
		if err := put(s, "a", "1"); err != nil {
			t.Fatal(err)
		}
		release := disktest.LimitFileSize(t, 12<<20)
		_ = put(s, "b", strings.Repeat("x", 16<<20))
		for range 20 {
			time.Sleep(time.Second)
			synctest.Wait()
			if err := put(s, "c", "3"); !errors.Is(err, store.ErrPoisoned) {
				t.Fatalf("while the disk is full, a change gives %v", err)
			}
			if v, err := get(s, "a"); v != "1" {
				t.Fatalf("reads do not go on: %v", err)
			}
		}
		release()
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if err := put(s, "c", "3"); err != nil {
			t.Errorf("after 20 failed attempts: %v", err)
		}
		if got := testutil.ToFloat64(s.Results("failed")); got != 21 {
			t.Errorf("%v refusals are counted, want 21", got)
		}
		if got := strings.Count(log.String(), "\n"); got > 5 {
			t.Errorf("%d lines are logged:\n%s", got, log.String())
		}
	})
}

// TestRun_DoesNotGoOnWithAnotherFile: only the file with what was acknowledged is accepted.
func TestRun_DoesNotGoOnWithAnotherFile(t *testing.T) {
	for name, replace := range map[string]func(t *testing.T, path string) error{
		"removed": func(_ *testing.T, path string) error { return os.Remove(path) },
		"emptied": func(_ *testing.T, path string) error {
			return errors.Join(os.Rename(path, path+".old"), os.WriteFile(path, nil, 0o600))
		},
		"older": func(_ *testing.T, path string) error { return os.Rename(path+".copy", path) },
		"other": func(t *testing.T, path string) error { return os.Rename(fileWithRecords(t, 3), path) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "store.db")
				s := open(t, path)
				run(t, s)
				if err := put(s, "a", "1"); err != nil {
					t.Fatal(err)
				}
				older, err := os.Create(path + ".copy")
				if err != nil {
					t.Fatal(err)
				}
				if err := errors.Join(s.Backup(context.Background(), older), older.Close(), put(s, "b", "2")); err != nil {
					t.Fatal(err)
				}
				release := s.FailCommit(false)
				_ = put(s, "c", "3")
				release()
				if err := replace(t, path); err != nil {
					t.Fatal(err)
				}
				time.Sleep(3 * time.Second)
				synctest.Wait()
				if err := put(s, "c", "3"); !errors.Is(err, store.ErrPoisoned) || !strings.Contains(err.Error(), path) {
					t.Errorf("the store goes on with another file: %v", err)
				}
				if v, err := get(s, "b"); v != "2" {
					t.Errorf("reads do not go on: %v", err)
				}
			})
		})
	}
}

// decided is a log handler that receives a value once a failed commit is decided about.
type decided struct {
	slog.Handler
	seen chan struct{}
}

func (decided) Enabled(context.Context, slog.Level) bool { return true }

func (d decided) Handle(_ context.Context, r slog.Record) error {
	if strings.HasPrefix(r.Message, "it is known now") {
		d.seen <- struct{}{}
	}
	return nil
}

// TestRun_WaitsForReaders: the pages that a reader still reads are not used again.
func TestRun_WaitsForReaders(t *testing.T) {
	seen := make(chan struct{}, 1)
	s, err := bolt.Open(filepath.Join(t.TempDir(), "store.db"), bolt.Options{Init: true, Log: slog.New(decided{slog.DiscardHandler, seen})})
	if err != nil {
		t.Fatal(err)
	}
	run(t, s)
	if err := put(s, "a", "1"); err != nil {
		t.Fatal(err)
	}
	begun, read, reading := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		reading <- s.View(context.Background(), func(r store.Reader) error {
			close(begun)
			<-read
			v, err := r.Get([]byte("a"))
			if string(v) != "1" {
				return fmt.Errorf("the reader sees %q, %w", v, err)
			}
			return nil
		})
	}()
	<-begun
	release := s.FailCommit(false)
	_ = put(s, "a", "2")
	release()
	<-seen
	if err := put(s, "a", "3"); !errors.Is(err, store.ErrPoisoned) {
		t.Errorf("with a reader of the former file, a change gives %v", err)
	}
	if v, err := get(s, "a"); v != "1" {
		t.Errorf("another reader gets %q, %v", v, err)
	}
	close(read)
	if err := <-reading; err != nil {
		t.Error(err)
	}
	awaitRecovery(t, s)
	if err := put(s, "a", "3"); err != nil {
		t.Error(err)
	}
}

// awaitRecovery waits until s accepts changes.
func awaitRecovery(t *testing.T, s *bolt.Store) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for s.Err() != nil {
		if time.Now().After(deadline) {
			t.Fatalf("the store has not recovered: %v", s.Err())
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// TestRun_RecoversFromFailedFsync: the file is on an ext4 whose own disk is full, so that
// writes succeed and fsync does not. What the kernel says of the file is then not what its
// disk has, which shows when the ext4 is mounted again.
func TestRun_RecoversFromFailedFsync(t *testing.T) {
	for name, crash := range map[string]bool{"disk_recovers": false, "power_fails": true} {
		t.Run(name, func(t *testing.T) {
			d := newThinDisk(t)
			path := filepath.Join(d.dir, "store.db")
			s := open(t, path)
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			ended := make(chan struct{})
			go func() { defer close(ended); _ = s.Run(ctx) }()
			acknowledged := 0
			write := func() error {
				err := put(s, fmt.Sprintf("key-%06d", acknowledged), strings.Repeat("x", 100<<10))
				if err == nil {
					acknowledged++
				}
				return err
			}
			for range 10 {
				if err := write(); err != nil {
					t.Fatal(err)
				}
			}
			release := d.fill(t)
			var err error
			for range 200 {
				if err = write(); err != nil {
					break
				}
			}
			if !errors.Is(err, store.ErrUncertain) {
				t.Fatalf("a disk that fails gives %v", err)
			}
			if !crash {
				release()
				awaitRecovery(t, s)
				for range 10 {
					if err := write(); err != nil {
						t.Fatal(err)
					}
				}
			}
			stop()
			<-ended
			_ = s.Close()
			d.unmount(t)
			if crash {
				release()
			}
			d.mount(t)
			s = open(t, path)
			defer s.Close()
			if err := s.Check(context.Background()); err != nil {
				t.Error(err)
			}
			for n := range acknowledged {
				if _, err := get(s, fmt.Sprintf("key-%06d", n)); err != nil {
					t.Errorf("record %d of %d: %v", n, acknowledged, err)
				}
			}
			if err := write(); err != nil {
				t.Error(err)
			}
		})
	}
}

// thinDisk is an ext4 that has more space than the disk below it.
type thinDisk struct{ below, image, dir string }

func newThinDisk(t *testing.T) thinDisk {
	t.Helper()
	below := smallDisk(t, "48m")
	d := thinDisk{below, filepath.Join(below, "image"), t.TempDir()}
	if err := os.WriteFile(d.image, make([]byte, 40<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mkfs.ext4", "-q", "-b", "4096", "-E", "lazy_itable_init=0,lazy_journal_init=0,nodiscard", "-J", "size=4", d.image).CombinedOutput(); err != nil {
		t.Skipf("making a thin disk: %v: %s", err, out)
	}
	if out, err := exec.Command("fallocate", "-l", "40M", d.image).CombinedOutput(); err != nil { // mkfs makes holes
		t.Skipf("making a thin disk: %v: %s", err, out)
	}
	d.mount(t)
	t.Cleanup(func() { disktest.Unmount(d.dir) })
	if out, err := exec.Command("fstrim", d.dir).CombinedOutput(); err != nil { // only free blocks are not there
		t.Skipf("making a thin disk: %v: %s", err, out)
	}
	return d
}

func (d thinDisk) mount(t *testing.T) {
	t.Helper()
	if out, err := exec.Command("mount", "-o", "loop", d.image, d.dir).CombinedOutput(); err != nil {
		t.Skipf("mounting a thin disk: %v: %s", err, out)
	}
	source, err := exec.Command("findmnt", "-n", "-o", "SOURCE", d.dir).Output()
	if err != nil {
		t.Skipf("finding the thin disk: %v", err)
	}
	// A loop device takes a write that its file could only store in part for a good one, so each write is of one page.
	queue := filepath.Join("/sys/block", filepath.Base(strings.TrimSpace(string(source))), "queue/max_sectors_kb")
	if err := os.WriteFile(queue, []byte("4"), 0); err != nil {
		t.Skipf("bounding the writes of the thin disk: %v", err)
	}
}

// unmount unmounts the disk, so that what is only in memory is gone.
func (d thinDisk) unmount(t *testing.T) {
	t.Helper()
	if err := syscall.Unmount(d.dir, 0); err != nil {
		t.Fatal(err)
	}
}

// fill uses up the disk below.
func (d thinDisk) fill(t *testing.T) (release func()) {
	t.Helper()
	rest := filepath.Join(d.below, "rest")
	if err := os.WriteFile(rest, make([]byte, 48<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("filling the disk gives %v", err)
	}
	return func() {
		if err := os.Remove(rest); err != nil {
			t.Fatal(err)
		}
	}
}

// smallDisk mounts a file system of size bytes and returns its path.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	disktest.Mount(t, dir, size)
	return dir
}
