package bolt_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	bbolt "go.etcd.io/bbolt"

	"sallyport/disk/disktest"
	"sallyport/store"
	"sallyport/store/bolt"
	"sallyport/store/storetest"
)

func TestMain(m *testing.M) {
	if path := os.Getenv("STORE_TO_WRITE"); path != "" {
		writeForever(path)
	}
	os.Exit(disktest.Main(m))
}

func open(t testing.TB, path string) *bolt.Store {
	t.Helper()
	s, err := bolt.Open(path, bolt.Options{Init: true})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestStore_Conforms(t *testing.T) {
	storetest.Run(t, func(t *testing.T) store.Store { return open(t, filepath.Join(t.TempDir(), "store.db")) })
}

func put(s *bolt.Store, key, value string) error {
	_, err := s.Update(context.Background(), func(w store.Writer) error { return w.Put([]byte(key), []byte(value)) })
	return err
}

// fileWithRecords returns the path of a closed store with n records.
func fileWithRecords(t testing.TB, n int) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "store.db")
	s := open(t, path)
	_, err := s.Update(context.Background(), func(w store.Writer) error {
		for i := range n {
			if err := w.Put(fmt.Appendf(nil, "key-%06d", i), fmt.Appendf(nil, "the value of record number %d", i)); err != nil {
				return err
			}
		}
		return nil
	})
	if err := errors.Join(err, s.Close()); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestOpen_RejectsMissingOrEmptyFile(t *testing.T) {
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty.db")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{empty, filepath.Join(dir, "missing.db")} {
		_, err := bolt.Open(path, bolt.Options{})
		if !errors.Is(err, store.ErrMissing) || !strings.Contains(err.Error(), "--init") || !strings.Contains(err.Error(), path) {
			t.Errorf("%s gives %v", path, err)
		}
		s, err := bolt.Open(path, bolt.Options{Init: true})
		if err != nil {
			t.Fatal(err)
		}
		_ = s.Close()
	}
}

func TestOpen_NamesProcessThatHasLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	s := open(t, path)
	defer s.Close()
	_, err := bolt.Open(path, bolt.Options{Timeout: 10 * time.Millisecond})
	if !errors.Is(err, store.ErrLocked) || !strings.Contains(err.Error(), fmt.Sprintf("process %d", os.Getpid())) {
		t.Errorf("opening the file again gives %v", err)
	}
}

// readAll opens a store and reads every record. It returns how many are damaged.
func readAll(path string) (damaged int, err error) {
	s, err := bolt.Open(path, bolt.Options{})
	if err != nil {
		return 0, err
	}
	err = s.View(context.Background(), func(r store.Reader) error {
		for _, err := range r.Scan(nil, nil) {
			if errors.Is(err, store.ErrDamaged) {
				damaged++
			} else if err != nil {
				return err
			}
		}
		return nil
	})
	return damaged, errors.Join(err, s.Close())
}

func TestRecord_FlippedBitIsDetected(t *testing.T) {
	path := fileWithRecords(t, 200)
	intact, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for n := range 60 {
		record := fmt.Appendf(nil, "the value of record number %d", n)
		data := bytes.Clone(intact)
		for offset := 0; ; offset++ { // in every copy of the page that the file has
			i := bytes.Index(data[offset:], record)
			if i < 0 {
				break
			}
			offset += i
			data[offset+n%len(record)] ^= 1 << (n % 8)
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if damaged, err := readAll(path); damaged == 0 && err == nil {
			t.Errorf("a flipped bit in record %d is not detected", n)
		}
	}
}

func TestOpen_NeverPanicsOnDamage(t *testing.T) {
	intact, err := os.ReadFile(fileWithRecords(t, 2000))
	if err != nil {
		t.Fatal(err)
	}
	const used = 512 << 10 // the rest of the file is not written yet
	dir := t.TempDir()
	files := 0
	openDamaged := func(name string, data []byte, size int) {
		files++ // each has a file of its own, since Open may keep the lock when it fails
		path := filepath.Join(dir, fmt.Sprint(files))
		if err := errors.Join(os.WriteFile(path, data, 0o600), os.Truncate(path, int64(size))); err != nil {
			t.Fatal(err)
		}
		s, err := bolt.Open(path, bolt.Options{})
		if err != nil {
			if !strings.Contains(err.Error(), path) {
				t.Errorf("%s: the error does not name the file: %v", name, err)
			}
			return
		}
		_ = s.View(context.Background(), func(r store.Reader) error { // a panic ends the test
			for range r.Scan(nil, nil) {
			}
			return nil
		})
		_ = s.Check(context.Background())
		_ = s.Close()
	}
	for _, n := range []int{1, 100, 4095, 4096, 8191, 8192, 12288, 16384, used / 2} {
		openDamaged(fmt.Sprintf("cut to %d bytes", n), intact[:n], n)
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 60 {
		data := bytes.Clone(intact[:used])
		page := random.IntN(used / 4096)
		for i := page * 4096; i < (page+1)*4096; i++ {
			data[i] = byte(random.Uint32())
		}
		openDamaged(fmt.Sprintf("page %d random", page), data, len(intact))
		clear(data[page*4096 : (page+1)*4096])
		openDamaged(fmt.Sprintf("page %d zero", page), data, len(intact))
	}
}

func TestOpen_RejectsNewerFormat(t *testing.T) {
	path := fileWithRecords(t, 1)
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		return tx.Bucket([]byte("meta")).Put([]byte("format"), []byte{0, 0, 0, 0, 0, 0, 0, 99})
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := bolt.Open(path, bolt.Options{Init: true}); err == nil || !strings.Contains(err.Error(), "format is 99") {
		t.Errorf("opening gives %v", err)
	}
}

// TestUpdate_RejectsWritesAfterFullDisk: once a write has failed, every write is rejected and reads continue. When
// the file is opened again, it has every acknowledged write.
func TestUpdate_RejectsWritesAfterFullDisk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	s := open(t, path)
	if err := put(s, "a", "1"); err != nil {
		t.Fatal(err)
	}
	release := fillDisk(t)
	if err := put(s, "b", strings.Repeat("x", 1<<20)); err == nil {
		t.Fatal("a write to a full disk succeeds")
	}
	release()
	if err := put(s, "c", "3"); !errors.Is(err, store.ErrPoisoned) {
		t.Errorf("the next write gives %v", err)
	}
	err := s.View(context.Background(), func(r store.Reader) error { _, err := r.Get([]byte("a")); return err })
	if err != nil {
		t.Errorf("a read after the failed write gives %v", err)
	}
	_ = s.Close()
	s = open(t, path)
	defer s.Close()
	err = s.View(context.Background(), func(r store.Reader) error {
		if _, err := r.Get([]byte("b")); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("the write that failed is there: %v", err)
		}
		_, err := r.Get([]byte("a"))
		return err
	})
	if err := errors.Join(err, put(s, "d", "4")); err != nil {
		t.Errorf("after reopening: %v", err)
	}
}

// fillDisk makes writes beyond the first pages of any file fail until release is
// called.
func fillDisk(t *testing.T) (release func()) {
	t.Helper()
	return disktest.LimitFileSize(t, 8192)
}

// writeForever writes numbered records and prints each number once it is acknowledged.
func writeForever(path string) {
	s, err := bolt.Open(path, bolt.Options{Init: true})
	if err != nil {
		panic(err)
	}
	for n := 0; ; n++ {
		if err := put(s, fmt.Sprintf("%09d", n), "x"); err != nil {
			panic(err)
		}
		fmt.Println(n)
	}
}

// TestUpdate_SurvivesKill kills a process that writes, several times. Every
// acknowledged write must be in the store.
func TestUpdate_SurvivesKill(t *testing.T) {
	rounds := 20
	if testing.Short() {
		rounds = 3
	}
	for round := range rounds {
		path := filepath.Join(t.TempDir(), fmt.Sprintf("store-%d.db", round))
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "STORE_TO_WRITE="+path)
		pipe, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		acknowledged := -1
		for acknowledged < 20+round*7 {
			if _, err := fmt.Fscan(pipe, &acknowledged); err != nil {
				t.Fatal(err)
			}
		}
		_ = cmd.Process.Kill()
		for {
			n := 0
			if _, err := fmt.Fscan(pipe, &n); err != nil {
				break
			}
			acknowledged = n
		}
		_ = cmd.Wait()
		s := open(t, path)
		err = s.View(context.Background(), func(r store.Reader) error {
			for n := range acknowledged {
				if _, err := r.Get(fmt.Appendf(nil, "%09d", n)); err != nil {
					return fmt.Errorf("record %d of %d: %w", n, acknowledged, err)
				}
			}
			return nil
		})
		if err := errors.Join(err, s.Check(context.Background()), s.Close()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestBackup_CanBeOpened(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "store.db"))
	defer s.Close()
	if err := put(s, "a", "1"); err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(t.TempDir(), "copy.db")
	f, err := os.Create(copied)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Backup(context.Background(), f), f.Close()); err != nil {
		t.Fatal(err)
	}
	if damaged, err := readAll(copied); damaged != 0 || err != nil {
		t.Errorf("the backup has %d damaged records, %v", damaged, err)
	}
}

// fillFile makes a store at path with n records, by many updates.
func fillFile(b *testing.B, path string, n int) {
	b.Helper()
	const atOnce = 10_000
	s := open(b, path)
	var err error
	for first := 0; first < n && err == nil; first += atOnce {
		_, err = s.Update(b.Context(), func(w store.Writer) error {
			for i := first; i < min(n, first+atOnce); i++ {
				if err := w.Put(fmt.Appendf(nil, "key-%08d", i), fmt.Appendf(nil, "the value of record number %d", i)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := errors.Join(err, s.Close()); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkOpen opens files with few and with many records, and with as many as a large tenant has if LARGE is set.
func BenchmarkOpen(b *testing.B) {
	sizes := []int{100, 100_000}
	if os.Getenv("LARGE") != "" {
		sizes = append(sizes, 2_500_000)
	}
	for _, records := range sizes {
		b.Run(fmt.Sprintf("records=%d", records), func(b *testing.B) {
			path := filepath.Join(b.TempDir(), "store.db")
			fillFile(b, path, records)
			for b.Loop() {
				s := open(b, path)
				b.StopTimer()
				if err := s.Close(); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
		})
	}
}

// BenchmarkUpdate makes revisions of one record from several concurrent writers.
func BenchmarkUpdate(b *testing.B) {
	for _, writers := range []int{1, 8, 64} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			s := open(b, filepath.Join(b.TempDir(), "store.db"))
			defer s.Close()
			b.SetParallelism(max(1, writers/2)) // times GOMAXPROCS
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := put(s, fmt.Sprint(rand.Uint64()), "value"); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}
