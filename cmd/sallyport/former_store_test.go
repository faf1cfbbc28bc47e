package main

import (
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// formerStores are stores as earlier versions left them, each with alice and bob in a group, bob deactivated, carol suspended,
// a session of alice and two tokens. testdata/stores/README.md says which commits made them.
var formerStores = map[string]string{
	"1-totals":  "has no totals (format 1)",
	"2-history": "has totals (format 2), and no history, grants or keys of the record",
	"2-now":     "has a history and a key of the record (format 2)",
}

// placeFormerStore puts a store that an earlier version left in the place of the world's.
func (w *world) placeFormerStore(name string) {
	w.t.Helper()
	f, err := os.Open(filepath.Join("testdata/stores", name+".db.gz"))
	if err != nil {
		w.t.Fatal(err)
	}
	defer f.Close()
	in, err := gzip.NewReader(f)
	if err != nil {
		w.t.Fatal(err)
	}
	text, err := io.ReadAll(in)
	if err := errors.Join(err, in.Close()); err != nil {
		w.t.Fatal(err)
	}
	writeFile(w.t, w.dir, "data/sallyport.db", text)
}

// demandFormerContent demands that the store has what every former store has.
func (w *world) demandFormerContent() {
	w.t.Helper()
	people := w.people()
	for name, want := range map[string]string{"alice": "active", "bob": "inactive", "carol": "suspended"} {
		if got := stateOf(people[name]); got != want {
			w.t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
	if got := w.tokens(); len(people) != 3 || !slices.Equal(got, []string{"entra", "other"}) {
		w.t.Errorf("there are %d users, and the tokens %q", len(people), got)
	}
	if group := strings.Fields(w.here("groups", "show", "Members")); group[len(group)-1] != "2" {
		w.t.Errorf("the group is %q", group)
	}
}

// TestFormerStores_AreOpened serves from the stores that earlier versions left, backs them up, and restores that.
func TestFormerStores_AreOpened(t *testing.T) {
	for name, has := range formerStores {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			t.Log(has)
			other := newWorld(t)
			other.placeFormerStore(name)
			other.here("store", "check") // reads the session too, which has expired and is deleted when a server starts
			w := newWorld(t)
			w.placeFormerStore(name)
			s := w.start()
			w.demandFormerContent()
			copied := filepath.Join(w.dir, "copy.backup")
			w.here("backup", copied)
			s.kill()
			w.here("store", "check")
			w.here("restore", copied)
			w.demandFormerContent()
			w.here("store", "check")
			copies, err := filepath.Glob(filepath.Join(w.dir, "data", "sallyport.db.format-1-*"))
			if err != nil || len(copies) > 1 || (len(copies) == 1) != (name == "1-totals") {
				t.Fatalf("the copies in a former format are %q, %v", copies, err)
			}
			for _, former := range copies { // which is how to go back
				w.here("restore", former)
				w.demandFormerContent()
			}
		})
	}
}
