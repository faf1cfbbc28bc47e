package bolt_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	bbolt "go.etcd.io/bbolt"

	"sallyport/store"
	"sallyport/store/bolt"
)

// toFormat1 makes of a file what the versions wrote that had no totals.
func toFormat1(t *testing.T, path string) {
	t.Helper()
	change(t, path, func(_, meta *bbolt.Bucket) error {
		return errors.Join(meta.Delete([]byte("totals")), meta.Put([]byte("format"), binary.BigEndian.AppendUint64(nil, 1)))
	})
	if err := os.Remove(path + ".revision"); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
}

// formatOf returns the format of a file.
func formatOf(t *testing.T, path string) (format uint64) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	err = db.View(func(tx *bbolt.Tx) error {
		format = binary.BigEndian.Uint64(tx.Bucket([]byte("meta")).Get([]byte("format")))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return format
}

// recordsIn returns what is in a store, without changing it.
func recordsIn(t *testing.T, path string) (list []string) {
	t.Helper()
	s, err := bolt.Open(path, bolt.Options{Inspect: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	err = s.View(t.Context(), func(r store.Reader) error {
		list = append(list, fmt.Sprint(r.Revision()))
		for e, err := range r.Scan(nil, nil) {
			list = append(list, fmt.Sprintf("%q %x %v", e.Key, e.Value, err))
		}
		return nil
	})
	if err := errors.Join(err, s.Check(t.Context())); err != nil {
		t.Fatal(err)
	}
	return list
}

func formersOf(t *testing.T, path string) []string {
	t.Helper()
	files, err := filepath.Glob(path + ".format-*")
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// TestOpen_CopiesBeforeUpgrade: a file in an older format is copied before it is brought to the present one; the copies that
// stay are the three newest.
func TestOpen_CopiesBeforeUpgrade(t *testing.T) {
	path := fileWithRecords(t, 100)
	other := path + ".format-notes"
	if err := os.WriteFile(other, []byte("an operator's"), 0o600); err != nil {
		t.Fatal(err)
	}
	var all []string
	for range 5 {
		toFormat1(t, path)
		before := recordsIn(t, path)
		s := open(t, path)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if after := recordsIn(t, path); formatOf(t, path) != 2 || !slices.Equal(after, before) {
			t.Fatalf("after the upgrade, format %d has %d records, and %d were there", formatOf(t, path), len(after), len(before))
		}
		for _, former := range formersOf(t, path) {
			if former == other || slices.Contains(all, former) {
				continue
			}
			all = append(all, former)
			if formatOf(t, former) != 1 || !slices.Equal(recordsIn(t, former), before) {
				t.Errorf("%s is not what was there before", former)
			}
			if info, err := os.Stat(former); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("%s: %v, %v", former, info.Mode(), err)
			}
		}
	}
	want := append(slices.Clone(all[2:]), other)
	if got := formersOf(t, path); len(all) != 5 || !slices.Equal(got, want) {
		t.Errorf("these copies are left: %q, want %q", got, want)
	}
	s := open(t, path)
	if err := s.Close(); err != nil || len(formersOf(t, path)) != 4 {
		t.Errorf("a file in the present format is copied: %q, %v", formersOf(t, path), err)
	}
}

// TestOpen_UpgradesOnlyWithCopy: where no copy can be made, the file stays as it is.
func TestOpen_UpgradesOnlyWithCopy(t *testing.T) {
	path := fileWithRecords(t, 10)
	toFormat1(t, path)
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(path+".upgrading", 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := bolt.Open(path, bolt.Options{}); err == nil || !strings.Contains(err.Error(), "nothing was changed") {
		t.Errorf("opening gives %v", err)
	}
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(after, before) {
		t.Errorf("the file changed, %v", err)
	}
}

// TestOpen_RefusesNewerFormat: a file of a newer version, whatever else is in it, is as it was, and nothing is made beside it.
func TestOpen_RefusesNewerFormat(t *testing.T) {
	for name, damage := range map[string]func(data, meta *bbolt.Bucket) error{
		"next": func(_, meta *bbolt.Bucket) error {
			return meta.Put([]byte("format"), binary.BigEndian.AppendUint64(nil, 3))
		},
		"no_totals": func(_, meta *bbolt.Bucket) error {
			return errors.Join(meta.Delete([]byte("totals")), meta.Put([]byte("format"), binary.BigEndian.AppendUint64(nil, 4)))
		},
		"no_revision": func(_, meta *bbolt.Bucket) error {
			return errors.Join(meta.Delete([]byte("revision")), meta.Put([]byte("format"), binary.BigEndian.AppendUint64(nil, 1<<40)))
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := fileWithRecords(t, 10)
			change(t, path, damage)
			files := func() (list []string) {
				paths, err := filepath.Glob(filepath.Join(filepath.Dir(path), "*"))
				if err != nil {
					t.Fatal(err)
				}
				for _, path := range paths {
					text, err := os.ReadFile(path)
					list = append(list, fmt.Sprintf("%s %x %v", path, text, err))
				}
				return list
			}
			before := files()
			for _, options := range []bolt.Options{{}, {Init: true}, {Copy: true}, {Behind: true}, {Inspect: true}} {
				if _, err := bolt.Open(path, options); !errors.Is(err, store.ErrNewer) {
					t.Errorf("opening with %+v gives %v", options, err)
				}
			}
			if !slices.Equal(files(), before) {
				t.Error("files were changed")
			}
		})
	}
}

// TestOpen_InspectChangesNothing: a file that is opened to be read, in whatever format, stays as it is; others may read it at
// the same time, and nobody may write.
func TestOpen_InspectChangesNothing(t *testing.T) {
	for _, former := range []bool{false, true} {
		path := fileWithRecords(t, 100)
		if former {
			toFormat1(t, path)
		}
		before, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		first, err := bolt.Open(path, bolt.Options{Inspect: true})
		if err != nil {
			t.Fatal(err)
		}
		if n := len(recordsIn(t, path)); n != 101 {
			t.Errorf("a second reader sees %d records", n)
		}
		if err := put(first, "key", "value"); err == nil {
			t.Error("a store that was opened to be read is written")
		}
		if _, err := bolt.Open(path, bolt.Options{Timeout: time.Millisecond}); !errors.Is(err, store.ErrLocked) {
			t.Errorf("opening it to write gives %v", err)
		}
		if err := first.Close(); err != nil {
			t.Fatal(err)
		}
		if after, err := os.ReadFile(path); err != nil || !bytes.Equal(after, before) {
			t.Errorf("the file changed, %v", err)
		}
		writer := open(t, path)
		if _, err := bolt.Open(path, bolt.Options{Inspect: true, Timeout: time.Millisecond}); !errors.Is(err, store.ErrLocked) {
			t.Errorf("reading the file of a server gives %v", err)
		}
		if err := writer.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := bolt.Open(filepath.Join(t.TempDir(), "none"), bolt.Options{Inspect: true, Init: true}); !errors.Is(err, store.ErrMissing) {
		t.Errorf("reading a file that does not exist gives %v", err)
	}
}

// TestUpgrade_SurvivesKill kills upgrades (SIGKILL) at random times. Afterwards the store opens with everything in it, and so
// does each copy. TRIALS says how often, SEED repeats the times.
func TestUpgrade_SurvivesKill(t *testing.T) {
	if path := os.Getenv("UPGRADE_STORE"); path != "" { // the process that is killed
		s, err := bolt.Open(path, bolt.Options{})
		if err != nil {
			t.Fatal(err)
		}
		_ = s.Close()
		return
	}
	trials, seed := 3, rand.Uint64()%1_000_000
	if n, err := strconv.Atoi(os.Getenv("TRIALS")); err == nil {
		trials = n
	}
	if n, err := strconv.ParseUint(os.Getenv("SEED"), 10, 64); err == nil {
		seed = n
	}
	t.Logf("SEED=%d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	path := fileWithRecords(t, 5000)
	toFormat1(t, path)
	sound, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := recordsIn(t, path)
	upgrade := func(path string, limit time.Duration) (took time.Duration, err error) {
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		defer cancel()
		cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestUpgrade_SurvivesKill$")
		cmd.Env = append(os.Environ(), "UPGRADE_STORE="+path)
		begun := time.Now()
		err = cmd.Run()
		return time.Since(begun), err
	}
	longest, err := upgrade(path, time.Minute)
	if err != nil || formatOf(t, path) != 2 {
		t.Fatalf("without a kill, the upgrade ends with %v", err)
	}
	interrupted, former := 0, 0
	for n := range trials {
		path := filepath.Join(t.TempDir(), "store.db")
		if err := os.WriteFile(path, sound, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := upgrade(path, time.Duration(random.Int64N(int64(longest)))); err != nil {
			interrupted++
		}
		if formatOf(t, path) == 1 {
			former++
		} else if len(formersOf(t, path)) == 0 {
			t.Errorf("trial %d: the store was upgraded without a copy", n)
		}
		s := open(t, path)
		if err := errors.Join(s.Check(t.Context()), s.Close()); err != nil {
			t.Fatal(err)
		}
		for _, file := range append(formersOf(t, path), path) {
			if got := recordsIn(t, file); !slices.Equal(got, want) {
				t.Errorf("trial %d: %s has %d records, want %d", n, file, len(got), len(want))
			}
		}
	}
	t.Logf("%d of %d upgrades were killed, %d of them before the new format was there", interrupted, trials, former)
}
