package backup_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"sallyport/backup"
	"sallyport/store"
	"sallyport/store/bolt"
)

var mark = store.Unfinished{From: "bolt:/a", To: "bolt:/b"}

// open makes a store with records.
func open(t *testing.T, name string, records map[string]string) *bolt.Store {
	t.Helper()
	st, err := bolt.Open(filepath.Join(t.TempDir(), name), bolt.Options{Init: true, Into: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	put(t, st, records)
	return st
}

func put(t *testing.T, st *bolt.Store, records map[string]string) {
	t.Helper()
	_, err := st.Update(t.Context(), func(w store.Writer) error {
		for key, value := range records {
			if err := w.Put([]byte(key), []byte(value)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// copyTo copies a store into another, whose engine is told where revisions go on.
func copyTo(ctx context.Context, from, to *bolt.Store) (done backup.Copied, err error) {
	err = from.View(ctx, func(r store.Reader) error {
		copying, err := backup.NewCopying(ctx, r, mark)
		if err != nil {
			return err
		}
		to.Continue(r.Revision())
		done, err = copying.Copy(ctx, to)
		return err
	})
	return done, err
}

// demandSame demands that a store has the records of another, and a greater revision.
func demandSame(t *testing.T, from, to *bolt.Store) {
	t.Helper()
	var sums [2]backup.Summary
	var revisions [2]store.Revision
	for n, st := range []*bolt.Store{from, to} {
		err := st.View(t.Context(), func(r store.Reader) (err error) {
			revisions[n] = r.Revision()
			sums[n], err = backup.Sum(r.Scan(nil, nil))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if sums[0] != sums[1] || revisions[1] <= revisions[0] {
		t.Errorf("the copy has %d records at revision %d, want %d beyond %d", sums[1].Records, revisions[1], sums[0].Records, revisions[0])
	}
}

// TestCopy_StaysUnfinishedUnlessConfirmed: whoever copies must still be alone when the copy is whole.
func TestCopy_StaysUnfinishedUnlessConfirmed(t *testing.T) {
	from, to := open(t, "from.db", many("m", 10)), open(t, "to.db", nil)
	lost := errors.New("the lock was lost")
	for _, failure := range []error{lost, nil} {
		err := from.View(t.Context(), func(r store.Reader) error {
			copying, err := backup.NewCopying(t.Context(), r, mark)
			if err != nil {
				return err
			}
			to.Continue(r.Revision())
			copying.Confirm(func(context.Context) error { return failure })
			_, err = copying.Copy(t.Context(), to)
			return err
		})
		if !errors.Is(err, failure) {
			t.Errorf("the copy ends with %v", err)
		}
		err = to.View(t.Context(), store.DemandFinished)
		if errors.Is(err, store.ErrUnfinished) != (failure != nil) {
			t.Errorf("after %v, the copy is %v", failure, err)
		}
	}
	demandSame(t, from, to)
}

// many returns count records: more than one transaction has.
func many(prefix string, count int) map[string]string {
	records := map[string]string{}
	for n := range count {
		records[fmt.Sprintf("%s%06d", prefix, n)] = fmt.Sprint(n)
	}
	return records
}

// TestCopy_MakesUpForAnything copies into an unfinished copy with whatever an earlier call left: nothing, some records, older
// ones, and many that the store does not have any more, before, between and behind its own.
func TestCopy_MakesUpForAnything(t *testing.T) {
	source := many("m", 12_000)
	source["empty"], source["large"] = "", strings.Repeat("x", 9<<20)
	older := many("m", 6_000)
	for key := range older {
		older[key] += " as it was"
	}
	for name, left := range map[string]map[string]string{
		"nothing": {}, "some": many("m", 7_000), "older": older,
		"before": many("a", 11_000), "between": many("m000100x", 11_000), "behind": many("z", 11_000), "around_the_mark": {"copying/": "x", "copying/from\x00": "x"},
	} {
		t.Run(name, func(t *testing.T) {
			from, to := open(t, "from.db", source), open(t, "to.db", nil)
			if err := backup.Begin(t.Context(), to, mark); err != nil {
				t.Fatal(err)
			}
			put(t, to, left)
			done, err := copyTo(t.Context(), from, to)
			if err != nil || done.Records != 12_002 {
				t.Fatalf("%d records were copied: %v", done.Records, err)
			}
			demandSame(t, from, to)
		})
	}
}

// TestCopy_GoesOnAfterCancel ends a copy in the middle: the mark stays, the next call goes on, and the source may be empty by then.
func TestCopy_GoesOnAfterCancel(t *testing.T) {
	from, to := open(t, "from.db", many("m", 12_000)), open(t, "to.db", nil)
	ctx, cancel := context.WithCancel(t.Context())
	stopped := errors.New("stopped")
	err := from.View(ctx, func(r store.Reader) error {
		copying, err := backup.NewCopying(ctx, r, mark)
		if err != nil {
			return err
		}
		cancel()
		if _, err := copying.Copy(ctx, to); !errors.Is(err, context.Canceled) {
			t.Errorf("the copy ends with %v", err)
		}
		return stopped
	})
	if !errors.Is(err, stopped) {
		t.Fatal(err)
	}
	if _, err := copyTo(t.Context(), from, to); err != nil {
		t.Fatal(err)
	}
	demandSame(t, from, to)
	empty, other := open(t, "empty.db", nil), open(t, "other.db", nil)
	if err := backup.Begin(t.Context(), other, mark); err != nil {
		t.Fatal(err)
	}
	put(t, other, many("m", 10))
	if done, err := copyTo(t.Context(), empty, other); err != nil || done.Records != 0 {
		t.Fatalf("%d records were copied: %v", done.Records, err)
	}
}

// TestCopy_RefusesOtherTargets: nothing is written into a store that has records, or that is a copy of something else.
func TestCopy_RefusesOtherTargets(t *testing.T) {
	from := open(t, "from.db", some)
	full, another, damaged := open(t, "full.db", map[string]string{"b": "1"}), open(t, "another.db", nil), open(t, "damaged.db", map[string]string{store.UnfinishedKey: "{"})
	if err := backup.Begin(t.Context(), another, store.Unfinished{From: "bolt:/c"}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		to   *bolt.Store
		want error
	}{{full, backup.ErrNotEmpty}, {another, backup.ErrCopyOfAnother}, {damaged, nil}} {
		var before, after store.Revision
		read := func(revision *store.Revision) {
			_ = c.to.View(t.Context(), func(r store.Reader) error { *revision = r.Revision(); return nil })
		}
		read(&before)
		_, err := copyTo(t.Context(), from, c.to)
		if read(&after); err == nil || c.want != nil && !errors.Is(err, c.want) || after != before {
			t.Errorf("the copy ends with %v, and the target goes from revision %d to %d", err, before, after)
		}
	}
	if _, err := copyTo(t.Context(), another, open(t, "to.db", nil)); !errors.Is(err, store.ErrUnfinished) {
		t.Errorf("an unfinished copy is copied: %v", err)
	}
}

// TestCopy_RefusesOlderRevisions: an engine that was not told where revisions go on does not get a finished copy.
func TestCopy_RefusesOlderRevisions(t *testing.T) {
	from, to := open(t, "from.db", nil), open(t, "to.db", nil)
	from.Continue(1000)
	put(t, from, some)
	err := from.View(t.Context(), func(r store.Reader) error {
		copying, err := backup.NewCopying(t.Context(), r, mark)
		if err != nil {
			return err
		}
		_, err = copying.Copy(t.Context(), to)
		return err
	})
	if err == nil || !strings.Contains(err.Error(), "must be greater") {
		t.Errorf("the copy ends with %v", err)
	}
	if err := to.View(t.Context(), store.DemandFinished); !errors.Is(err, store.ErrUnfinished) {
		t.Errorf("the mark is gone: %v", err)
	}
}
