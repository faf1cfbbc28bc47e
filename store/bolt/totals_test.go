package bolt_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	bbolt "go.etcd.io/bbolt"
	"pgregory.net/rapid"

	"sallyport/store"
	"sallyport/store/bolt"
)

// change changes the file at path behind the store's back, in well-formed pages.
func change(t *testing.T, path string, f func(data, meta *bbolt.Bucket) error) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bbolt.Tx) error { return f(tx.Bucket([]byte("data")), tx.Bucket([]byte("meta"))) })
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
}

// record returns value as the store writes it, behind its checksum.
func record(key, value string) []byte {
	sum := crc32.Checksum([]byte(key+value), crc32.MakeTable(crc32.Castagnoli))
	return append(binary.BigEndian.AppendUint32(nil, sum), value...)
}

func TestOpen_RejectsLostRecords(t *testing.T) {
	for name, c := range map[string]struct {
		damage func(data, meta *bbolt.Bucket) error
		want   string
	}{
		"missing": {func(data, _ *bbolt.Bucket) error { return data.Delete([]byte("key-000007")) }, "99 records are there, and the last change left 100"},
		"added":   {func(data, _ *bbolt.Bucket) error { return data.Put([]byte("key-x"), record("key-x", "y")) }, "101 records are there"},
		"under_another_key": {func(data, _ *bbolt.Bucket) error {
			moved := bytes.Clone(data.Get([]byte("key-000007")))
			return errors.Join(data.Delete([]byte("key-000007")), data.Put([]byte("kez-000007"), moved))
		}, "under another key"},
		"older": {func(data, _ *bbolt.Bucket) error {
			return data.Put([]byte("key-000007"), record("key-000007", "as it was"))
		}, "older than the last change"},
		"totals_damaged": {func(_, meta *bbolt.Bucket) error { return meta.Put([]byte("totals"), []byte("x")) }, "totals are damaged"},
		"totals_missing": {func(_, meta *bbolt.Bucket) error { return meta.Delete([]byte("totals")) }, "totals are damaged"},
	} {
		t.Run(name, func(t *testing.T) {
			path := fileWithRecords(t, 100)
			change(t, path, c.damage)
			_, err := bolt.Open(path, bolt.Options{})
			if !errors.Is(err, store.ErrUnsound) || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("opening gives %v", err)
			}
		})
	}
}

// TestOpen_AddsTotalsToOldFormat: format 1 had none.
func TestOpen_AddsTotalsToOldFormat(t *testing.T) {
	path := fileWithRecords(t, 100)
	change(t, path, func(_, meta *bbolt.Bucket) error {
		return errors.Join(meta.Delete([]byte("totals")), meta.Put([]byte("format"), binary.BigEndian.AppendUint64(nil, 1)))
	})
	s := open(t, path)
	if err := errors.Join(put(s, "key-000100", "one more"), s.Close()); err != nil {
		t.Fatal(err)
	}
	change(t, path, func(data, _ *bbolt.Bucket) error { return data.Delete([]byte("key-000100")) })
	if _, err := bolt.Open(path, bolt.Options{}); !errors.Is(err, store.ErrUnsound) {
		t.Errorf("a record lost after the format was raised gives %v", err)
	}
}

// TestOpen_AcceptsWhatUpdatesLeft writes, overwrites and deletes at random, with updates that fail among them.
func TestOpen_AcceptsWhatUpdatesLeft(t *testing.T) {
	dir, file := t.TempDir(), 0
	rapid.Check(t, func(rt *rapid.T) {
		file++
		path := filepath.Join(dir, fmt.Sprint(file))
		s := open(t, path)
		for range rapid.IntRange(1, 8).Draw(rt, "updates") {
			fails := rapid.IntRange(0, 4).Draw(rt, "fails") == 0
			_, err := s.Update(t.Context(), func(w store.Writer) error {
				for range rapid.IntRange(0, 6).Draw(rt, "writes") {
					key := fmt.Appendf(nil, "key-%d", rapid.IntRange(0, 9).Draw(rt, "key"))
					if rapid.Bool().Draw(rt, "delete") {
						if err := w.Delete(key); err != nil {
							return err
						}
					} else if err := w.Put(key, rapid.SliceOf(rapid.Byte()).Draw(rt, "value")); err != nil {
						return err
					}
				}
				if fails {
					return errors.New("on purpose")
				}
				return nil
			})
			if (err != nil) != fails {
				rt.Fatal(err)
			}
		}
		if err := s.Close(); err != nil {
			rt.Fatal(err)
		}
		s, err := bolt.Open(path, bolt.Options{})
		if err != nil {
			rt.Fatal(err)
		}
		if err := errors.Join(s.Check(t.Context()), s.Close()); err != nil {
			rt.Fatal(err)
		}
	})
}

// TestOpen_CountsWhatCursorFinds writes records of random sizes, damaged ones and a bucket among them, and deletes some.
func TestOpen_CountsWhatCursorFinds(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4))
	dir, file := t.TempDir(), 0
	rapid.Check(t, func(rt *rapid.T) {
		file++
		path := filepath.Join(dir, fmt.Sprint(file))
		if err := open(t, path).Close(); err != nil {
			rt.Fatal(err)
		}
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 0))
		writes := rapid.SampledFrom([]int{0, 1, 100, 5000}).Draw(rt, "writes")
		size := rapid.SampledFrom([]int{1, 100, 3000}).Draw(rt, "size")
		change(t, path, func(data, _ *bbolt.Bucket) error {
			for range writes {
				key, value := fmt.Sprint(random.IntN(2*writes)), strings.Repeat("v", random.IntN(size))
				if err := data.Put([]byte(key), record(key, value)); err != nil {
					return err
				}
			}
			return nil
		})
		damaged := rapid.IntRange(0, 3).Draw(rt, "damaged")
		change(t, path, func(data, _ *bbolt.Bucket) error {
			for n := range damaged {
				if err := data.Put(fmt.Appendf(nil, "damaged-%d", n), []byte("damaged")[:random.IntN(8)]); err != nil {
					return err
				}
			}
			for range random.IntN(writes + 1) {
				if err := data.Delete(fmt.Append(nil, random.IntN(2*writes))); err != nil {
					return err
				}
			}
			if rapid.Bool().Draw(rt, "bucket") {
				bucket, err := data.CreateBucket([]byte("data"))
				return errors.Join(err, bucket.Put([]byte("not"), make([]byte, random.IntN(3000)))) // in a page of its own, or not
			}
			return nil
		})
		pages, cursor, err := bolt.Counts(path)
		if err != nil || pages != cursor {
			rt.Fatalf("the check of the pages finds %+v, a cursor finds %+v, %v", pages, cursor, err)
		}
	})
}
