package bolt_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"sallyport/store"
	"sallyport/store/bolt"
)

// TestOpen_RefusesUnfinishedCopy: whichever way a store is opened but to copy into it, one with the mark is refused, whatever
// the mark says.
func TestOpen_RefusesUnfinishedCopy(t *testing.T) {
	for name, text := range map[string]string{"sound": `{"from":"bolt:/a","to":"bolt:/b"}`, "damaged": "{", "empty": ""} {
		path := filepath.Join(t.TempDir(), "store.db")
		st, err := bolt.Open(path, bolt.Options{Init: true, Into: true})
		if err != nil {
			t.Fatal(err)
		}
		mark := func(w store.Writer) error { return w.Put([]byte(store.UnfinishedKey), []byte(text)) }
		if _, err := st.Update(t.Context(), mark); err != nil {
			t.Fatal(err)
		}
		closeStore(t, st)
		for _, options := range []bolt.Options{{}, {Init: true}, {Copy: true}, {Inspect: true}, {Behind: true}, {Reserve: 1 << 20}} {
			if st, err := bolt.Open(path, options); !errors.Is(err, store.ErrUnfinished) {
				t.Errorf("%s: with %+v, opening gives %v, %v", name, options, st, err)
			}
		}
		st, err = bolt.Open(path, bolt.Options{Into: true})
		if err != nil {
			t.Fatal(err)
		}
		unmark := func(w store.Writer) error { return w.Delete([]byte(store.UnfinishedKey)) }
		if _, err := st.Update(t.Context(), unmark); err != nil {
			t.Fatal(err)
		}
		closeStore(t, st)
		if st, err = bolt.Open(path, bolt.Options{}); err != nil {
			t.Fatal(err)
		}
		closeStore(t, st)
	}
}

// TestCheckAcknowledged_FindsLoss: a store that was opened to be read says whether it lacks something, and writes nothing.
func TestCheckAcknowledged_FindsLoss(t *testing.T) {
	path := fileWithRecords(t, 10)
	check := func() error {
		t.Helper()
		st, err := bolt.Open(path, bolt.Options{Inspect: true})
		if err != nil {
			t.Fatal(err)
		}
		defer closeStore(t, st)
		return st.CheckAcknowledged()
	}
	if err := check(); err != nil {
		t.Errorf("a sound store: %v", err)
	}
	older := readFile(t, path)
	st := open(t, path)
	if _, err := st.Update(t.Context(), func(w store.Writer) error { return w.Put([]byte("later"), nil) }); err != nil {
		t.Fatal(err)
	}
	closeStore(t, st)
	acknowledged := readFile(t, path+".revision")
	if err := os.WriteFile(path, older, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := check(); !errors.Is(err, store.ErrBehind) {
		t.Errorf("an older store: %v", err)
	}
	overwrite(t, path+".revision", 0, make([]byte, len(acknowledged)))
	if err := check(); !errors.Is(err, store.ErrBehind) {
		t.Errorf("without a valid slot: %v", err)
	}
	if err := os.Remove(path + ".revision"); err != nil {
		t.Fatal(err)
	}
	if err := check(); err != nil {
		t.Errorf("a store without the file: %v", err)
	}
	if _, err := os.Stat(path + ".revision"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the check made the file: %v", err)
	}
	overwrite(t, path, newestMeta(t, path)+16, []byte("damage"))
	if err := check(); !errors.Is(err, store.ErrBehind) {
		t.Errorf("without the newest meta page and the file: %v", err)
	}
}
