package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sallyport/backup"
	"sallyport/store"
	"sallyport/store/bolt"
)

// content returns the summary of a store's records and its revision, as package backup sees them.
func content(t testing.TB, path string) (sum backup.Summary, revision store.Revision) {
	t.Helper()
	st, err := bolt.Open(path, bolt.Options{Inspect: true})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	return contentOf(t, st)
}

// contentOf is content of an open store.
func contentOf(t testing.TB, st store.Store) (sum backup.Summary, revision store.Revision) {
	t.Helper()
	err := st.View(t.Context(), func(r store.Reader) (err error) {
		revision = r.Revision()
		sum, err = backup.Sum(r.Scan(nil, nil))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return sum, revision
}

// demandCopy demands that a store is a copy of another.
func demandCopy(t testing.TB, from, to string) {
	t.Helper()
	sum, revision := content(t, from)
	copied, later := content(t, to)
	if copied != sum || later <= revision {
		t.Fatalf("the copy has %d records (%x) at revision %d, the store %d (%x) at %d", copied.Records, copied.SHA256, later, sum.Records, sum.SHA256, revision)
	}
	for suffix, want := range map[string]bool{".revision": true, ".pid": false, ".copying": false, ".copying.pid": false} {
		if _, err := os.Stat(to + suffix); (err == nil) != want {
			t.Errorf("%s%s is there: %t", to, suffix, err == nil)
		}
	}
}

// TestStoreCopy_GoesOn serves from a copy: whoever was signed in is, tokens are valid, and the record goes on.
func TestStoreCopy_GoesOn(t *testing.T) {
	w := newWorld(t)
	s := w.start("--init")
	stage := w.settle(s)
	s.shutDown()
	from, to := filepath.Join(w.dir, "data/sallyport.db"), filepath.Join(w.dir, "moved.db")
	before := w.files()
	var done storeCopied
	decode(t, w.here("store", "copy", "--from", "bolt:"+from, "--to", "bolt:"+to, "-o", "json"), &done)
	demandCopy(t, from, to)
	sum, _ := content(t, from)
	if _, revision := content(t, to); done.Records != sum.Records || done.SHA256 != hex.EncodeToString(sum.SHA256[:]) || done.Revision != revision || done.Resumed {
		t.Errorf("the command prints %+v", done)
	}
	if after := w.files(); !slices.Equal(after, before) {
		t.Error("files of the source were changed")
	}
	w.rewrite("data/sallyport.db", "moved.db")
	w.here("store", "check")
	s = w.start()
	browser := w.newBrowserWith(s, stage.browser)
	if resp := browser.get("https://"+appHost+"/", ""); resp.StatusCode != http.StatusOK {
		t.Errorf("who was signed in gets %d", resp.StatusCode)
	}
	w.pusher(s).setActive(stage.alice, "False")
	s.shutDown()
	w.here("audit", "verify")
	w.here("store", "check")
}

// markUnfinished makes an unfinished copy of from at path, with some records.
func markUnfinished(t testing.TB, from, path string) {
	t.Helper()
	st, err := bolt.Open(path, bolt.Options{Init: true, Copy: true, Into: true})
	if err != nil {
		t.Fatal(err)
	}
	err = backup.Begin(t.Context(), st, store.Unfinished{From: "bolt:" + from, To: "bolt:" + path})
	_, failed := st.Update(t.Context(), func(w store.Writer) error { return w.Put([]byte("user/x"), []byte("half")) })
	if err := errors.Join(err, failed, st.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestStoreCopy_UnfinishedIsOpenedForNothing puts an unfinished copy in the place of the store. Everything refuses it, and says
// what to do.
func TestStoreCopy_UnfinishedIsOpenedForNothing(t *testing.T) {
	w := newWorld(t)
	s := w.start("--init")
	w.settle(s)
	copied := filepath.Join(w.dir, "a.backup")
	s.verb("backup", copied)
	s.kill()
	path, moved := filepath.Join(w.dir, "data/sallyport.db"), filepath.Join(w.dir, "moved.db")
	if err := errors.Join(os.Rename(path, moved), os.Remove(path+".revision")); err != nil {
		t.Fatal(err)
	}
	markUnfinished(t, moved, path)
	before := w.files()
	for _, verb := range [][]string{{"serve"}, {"serve", "--init"}, {"store", "check"}, {"store", "accept-loss"}, {"token", "list"}, {"token", "create", "x"},
		{"users", "list"}, {"sessions", "list"}, {"backup", filepath.Join(w.dir, "b.backup")}, {"restore", copied}, {"restore", "--dry-run", copied},
		{"store", "copy", "--from", "bolt:" + path, "--to", "bolt:" + filepath.Join(w.dir, "c.db")}} {
		w.refusedHere(verb, "unfinished copy of bolt:"+moved, "go on with `sallyport store copy --from bolt:"+moved+" --to bolt:"+path+"`")
	}
	var out, errs bytes.Buffer
	if w.runHere(&out, &errs, "audit", "verify"); !strings.Contains(errs.String(), "the store cannot be read") {
		t.Errorf("audit verify uses the unfinished copy: %s%s", &out, &errs)
	}
	if after := w.files(); !slices.Equal(after, before) {
		t.Error("files were changed")
	}
	w.here("store", "copy", "--from", "bolt:"+moved, "--to", "bolt:"+path)
	demandCopy(t, moved, path)
	w.refusedHere([]string{"restore", w.unfinished()}, "unfinished copy")
	w.start()
}

// unfinished returns the path of an unfinished copy.
func (w *world) unfinished() string {
	path := filepath.Join(w.dir, "unfinished.db")
	markUnfinished(w.t, "/nowhere.db", path)
	return path
}

// TestStoreCopy_Refuses: what is refused changes no file, and makes none.
func TestStoreCopy_Refuses(t *testing.T) {
	w := newWorld(t)
	from := w.settledStore()
	data := filepath.Dir(from)
	at := func(name string) string { return filepath.Join(data, name) }
	other := newWorld(t).settledStore()
	for name, text := range map[string]string{"text": "This is not a store.", "of.backup": "sallyport backup 1\n"} {
		writeFile(t, data, name, []byte(text))
	}
	clone := func(name string) {
		text, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		writeFile(t, data, name, text)
	}
	for _, name := range []string{"same.db", "damaged.db", "mark.db", "behind.db", "changed.db"} {
		clone(name)
	}
	flipBit(t, at("damaged.db"), "user/")
	changeStore(t, at("mark.db"), func(w store.Writer) error { return w.Put([]byte(copyKey), []byte("{}")) })
	changeStore(t, at("changed.db"), func(w store.Writer) error { return w.Delete([]byte("count/users")) })
	st, err := bolt.Open(at("ahead.db"), bolt.Options{Init: true})
	if err != nil {
		t.Fatal(err)
	}
	for range 100 {
		if _, err := st.Update(t.Context(), func(w store.Writer) error { return w.Put([]byte("a"), nil) }); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(st.Close(), os.Rename(at("ahead.db.revision"), at("behind.db.revision")), os.Link(from, at("hard.db")), os.Symlink(from, at("soft.db")), os.Symlink(at("none"), at("dangling.db"))); err != nil {
		t.Fatal(err)
	}
	markUnfinished(t, other, at("another.db"))
	locked, err := bolt.Open(at("locked.db"), bolt.Options{Init: true})
	if err != nil {
		t.Fatal(err)
	}
	defer locked.Close()
	before := w.files()
	for _, c := range []struct{ from, to, says string }{
		{"bolt:" + from, "bolt:" + from, "same store"},
		{"bolt:" + from, "bolt:" + at("../data/./sallyport.db"), "same store"},
		{"bolt:" + from, "bolt:" + at("hard.db"), "same store"},
		{"bolt:" + from, "bolt:" + at("soft.db"), "same store"},
		{"bolt:" + at("soft.db"), "bolt:" + from, "same store"},
		{"bolt:" + at("same.db"), "bolt:" + at("same.db.revision"), "same store"},
		{"bolt:" + from, "bolt:" + other, "not empty"},
		{"bolt:" + from, "bolt:" + at("same.db"), "not empty"},
		{"bolt:" + from, "bolt:" + at("changed.db"), "not empty"},
		{"bolt:" + from, "bolt:" + at("text"), "is not a store"},
		{"bolt:" + from, "bolt:" + at("of.backup"), "is a backup, and not a store"},
		{"bolt:" + from, "bolt:" + data, ""},
		{"bolt:" + from, "bolt:" + at("no/such/folder.db"), "there is no folder"},
		{"bolt:" + from, "bolt:" + at("another.db"), "unfinished copy of another store, bolt:" + other},
		{"bolt:" + from, "bolt:" + at("locked.db"), "stop the server first"},
		{"bolt:" + at("locked.db"), "bolt:" + at("new.db"), "stop the server first"},
		{"bolt:" + at("damaged.db"), "bolt:" + at("new.db"), "record is damaged"},
		{"bolt:" + at("behind.db"), "bolt:" + at("new.db"), "lacks changes that were acknowledged"},
		{"bolt:" + at("mark.db"), "bolt:" + at("new.db"), "sallyport restore FILE"},
		{"bolt:" + at("another.db"), "bolt:" + at("new.db"), "unfinished copy"},
		{"bolt:" + at("none.db"), "bolt:" + at("new.db"), "there is no such file"},
		{"bolt:" + at("text"), "bolt:" + at("new.db"), "is not a store"},
		{"bolt:" + from, at("new.db"), "write bolt:PATH or postgres:FILE"},
		{"bolt:" + from, "bolt:", "the path is missing"},
		{"bolt:" + from, "bolt://" + at("new.db"), "without //"},
		{"bolt:" + from, "mysql:" + at("new.db"), "no such engine"},
		{"bolt:" + from, "postgres://sallyport:hunter2@db.example.com/sallyport", "not the URL itself"},
		{"bolt:" + from, "postgres:postgres://sallyport:hunter2@db.example.com/sallyport", "not the URL itself"},
		{"bolt:" + from, "postgres:sallyport:hunter2@db.example.com/sallyport", "not the URL itself"},
		{"bolt:" + from, "postgres:host=db.example.com password=hunter2", "not the URL itself"},
		{"postgresql://sallyport:hunter2@db.example.com/sallyport", "bolt:" + at("new.db"), "not the URL itself"},
		{"bolt:" + from, "postgres:", "the path is missing"},
		{"bolt:" + from, "postgres:" + at("none"), "there is no file " + at("none")},
		{"bolt:" + from, "postgres:" + data, ""},
		{"bolt:" + from, "postgres:" + at("text"), "is not the connection string"},
		{"bolt:" + from, "postgres:" + from, "is not the connection string"},
	} {
		var out, errs bytes.Buffer
		code := w.runHere(&out, &errs, "store", "copy", "--from", c.from, "--to", c.to)
		if code != exitError || out.Len() > 0 || !strings.Contains(errs.String(), c.says) || strings.Contains(errs.String(), "hunter2") {
			t.Errorf("from %s to %s: exit %d, %s%s", c.from, c.to, code, &out, &errs)
		}
	}
	if after := w.files(); !slices.Equal(after, before) {
		t.Error("files were changed or made")
	}
	if made, _ := filepath.Glob(filepath.Join(w.dir, "data", "new*")); len(made) > 0 {
		t.Errorf("%q were made", made)
	}
}

// TestStoreCopy_AcceptsTargets copies to what has no records: an empty file, an empty store at a later revision, and a place
// where a former store left what was acknowledged; and again to a finished copy.
func TestStoreCopy_AcceptsTargets(t *testing.T) {
	w := newWorld(t)
	from := w.settledStore()
	at := func(name string) string { return filepath.Join(w.dir, name) }
	writeFile(t, w.dir, "empty", nil)
	for _, name := range []string{"later.db", "former.db"} {
		st, err := bolt.Open(at(name), bolt.Options{Init: true})
		if err != nil {
			t.Fatal(err)
		}
		st.Continue(1_000_000)
		for _, f := range []func(store.Writer) error{
			func(w store.Writer) error { return w.Put([]byte("a"), nil) },
			func(w store.Writer) error { return w.Delete([]byte("a")) },
		} {
			if _, err := st.Update(t.Context(), f); err != nil {
				t.Fatal(err)
			}
		}
		if err := st.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(at("former.db")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"empty", "later.db", "former.db", "new.db"} {
		w.here("store", "copy", "--from", "bolt:"+from, "--to", "bolt:"+at(name))
		demandCopy(t, from, at(name))
	}
	if _, revision := content(t, at("later.db")); revision <= 1_000_002 {
		t.Errorf("the revision of a store went back to %d", revision)
	}
	var done storeCopied
	decode(t, w.here("store", "copy", "--from", "bolt:"+from, "--to", "bolt:"+at("new.db"), "-o", "json"), &done)
	if !done.Resumed {
		t.Errorf("a finished copy gives %+v", done)
	}
	demandCopy(t, from, at("new.db"))
}

// TestStoreCopy_FormerFormat copies stores of earlier versions, which stay in their format.
func TestStoreCopy_FormerFormat(t *testing.T) {
	for name := range formerStores {
		w := newWorld(t)
		w.placeFormerStore(name)
		from, to := filepath.Join(w.dir, "data/sallyport.db"), filepath.Join(w.dir, "moved.db")
		before := w.files()
		w.here("store", "copy", "--from", "bolt:"+from, "--to", "bolt:"+to)
		demandCopy(t, from, to)
		if after := w.files(); !slices.Equal(after, before) {
			t.Errorf("%s: files of the source were changed", name)
		}
	}
}

// TestStoreCopy_OutOfSpace: a copy for which the disk has too little space can be gone on with.
func TestStoreCopy_OutOfSpace(t *testing.T) {
	w := newWorld(t)
	from := w.settledStore()
	fillStore(t, from, 20_000)
	mountDisk(t, filepath.Join(w.dir, "disk"), "64M")
	to, rest := filepath.Join(w.dir, "disk", "moved.db"), filepath.Join(w.dir, "disk", "rest")
	copying := []string{"store", "copy", "--from", "bolt:" + from, "--to", "bolt:" + to}
	if err := os.WriteFile(rest, make([]byte, 58<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	release := fillDisk(t, filepath.Dir(to))
	w.refusedHere(copying, "no space left on device", "free some space")
	release()
	w.refusedHere(copying, "no space left on device", "free some space", "run the same command again") // in the middle
	if !isUnfinished(to) {
		t.Error("the copy is not marked")
	}
	if err := os.Remove(rest); err != nil {
		t.Fatal(err)
	}
	w.here("store", "copy", "--from", "bolt:"+from, "--to", "bolt:"+to)
	demandCopy(t, from, to)
}

// fillStore adds records to a store.
func fillStore(t testing.TB, path string, count int) {
	t.Helper()
	for first := 0; first < count; first += 5000 {
		changeStore(t, path, func(w store.Writer) error {
			for n := first; n < min(count, first+5000); n++ {
				if err := w.Put(fmt.Appendf(nil, "test/%06d", n), fmt.Appendf(nil, "%0500d", n)); err != nil {
					return err
				}
			}
			return nil
		})
	}
}

// TestStoreCopy_SurvivesKill kills copies (SIGKILL) at random times, some of them twice, and changes the store in between.
// The store stays as it is; there is no copy then, one that is refused, or a whole one; and the next call makes it whole.
// TRIALS says how often, SEED repeats the times.
func TestStoreCopy_SurvivesKill(t *testing.T) {
	trials, seed := number64Of("TRIALS", 3), number64Of("SEED", rand.Uint64()%1_000_000)
	t.Logf("SEED=%d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	w := newWorld(t)
	from := w.settledStore()
	fillStore(t, from, 20_000)
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	verb(t, w.dir, "store", "copy", "--from", "bolt:"+from, "--to", "bolt:"+filepath.Join(w.dir, "first.db"))
	longest := time.Since(begun)
	outcomes := map[string]int{}
	for n := range trials {
		to := filepath.Join(t.TempDir(), "moved.db")
		copying := []string{"store", "copy", "--from", "bolt:" + from, "--to", "bolt:" + to}
		for range 1 + random.IntN(2) {
			before, err := os.ReadFile(from)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(random.Int64N(int64(longest))))
			killed := exec.CommandContext(ctx, path, copying...).Run() != nil
			cancel()
			if after, err := os.ReadFile(from); err != nil || !bytes.Equal(after, before) {
				t.Fatalf("trial %d: the source was changed: %v", n, err)
			}
			outcomes[outcomeOf(t, from, to, killed)]++
			if _, err := os.Stat(to); killed && err == nil && random.IntN(2) == 0 && isUnfinished(to) {
				changeStore(t, from, func(w store.Writer) error {
					return errors.Join(w.Put(fmt.Appendf(nil, "test/%06d", random.IntN(30_000)), []byte("changed")), w.Delete(fmt.Appendf(nil, "test/%06d", random.IntN(20_000))))
				})
			}
		}
		w.here(copying...)
		demandCopy(t, from, to)
	}
	t.Logf("%d trials: %v", trials, outcomes)
}

func isUnfinished(path string) bool {
	st, err := bolt.Open(path, bolt.Options{Inspect: true})
	if err == nil {
		_ = st.Close()
	}
	return errors.Is(err, store.ErrUnfinished)
}

// outcomeOf says what came of a copy that may have been killed.
func outcomeOf(t *testing.T, from, to string, killed bool) string {
	t.Helper()
	if _, err := os.Stat(to); errors.Is(err, os.ErrNotExist) && killed {
		return "not begun"
	}
	if isUnfinished(to) && killed {
		return "unfinished"
	}
	sum, _ := content(t, from)
	if got, _ := content(t, to); got != sum {
		t.Fatalf("the copy has %d records and is not marked; the store has %d", got.Records, sum.Records)
	}
	if killed {
		return "killed when it was whole"
	}
	return "finished"
}

// TestStoreCopy_SaysTheSameInEveryFormat: JSON and YAML have the same keys.
func TestStoreCopy_SaysTheSameInEveryFormat(t *testing.T) {
	w := newWorld(t)
	from := w.settledStore()
	var keys map[string]json.RawMessage
	decode(t, w.here("store", "copy", "--from", "bolt:"+from, "--to", "bolt:"+filepath.Join(w.dir, "a.db"), "-o", "json"), &keys)
	yaml := w.here("store", "copy", "--from", "bolt:"+from, "--to", "bolt:"+filepath.Join(w.dir, "b.db"), "-o", "yaml")
	for key := range keys {
		if !strings.Contains("\n"+yaml, "\n"+key+": ") {
			t.Errorf("YAML has no %s: %s", key, yaml)
		}
	}
	csv := w.here("store", "copy", "--from", "bolt:"+from, "--to", "bolt:"+filepath.Join(w.dir, "c.db"), "-o", "csv")
	if !strings.HasPrefix(csv, "from,to,records,sha256,revision,resumed\n") {
		t.Errorf("CSV is %s", csv)
	}
}
