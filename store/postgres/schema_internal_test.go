package postgres

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"sallyport/store"
	"sallyport/store/postgres/postgrestest"
)

// later is the layout of a version that is yet to come.
var later = layout{format: format + 2, migrations: map[int]string{
	format:     "ALTER TABLE sallyport_items ADD COLUMN invented integer",
	format + 1: "ALTER TABLE sallyport_meta RENAME COLUMN bytes TO size",
}}

func openURL(t *testing.T, url string) *Store {
	t.Helper()
	path := filepath.Join(t.TempDir(), "url")
	if err := os.WriteFile(path, []byte(url), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := Open(t.Context(), Options{URLFile: path, Init: true, Replica: "test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func put(s *Store, key string) error {
	_, err := s.Update(context.Background(), func(w store.Writer) error { return w.Put([]byte(key), []byte("x")) })
	return err
}

// TestPrepare_Migrates has several processes of a later version begin at once, while one of this version runs: the tables
// are migrated once, and the process of this version neither writes nor decides any more.
func TestPrepare_Migrates(t *testing.T) {
	t.Parallel()
	s := openURL(t, postgrestest.Start(t).Database())
	if err := errors.Join(put(s, "a"), s.renew(t.Context())); err != nil {
		t.Fatal(err)
	}
	renewals := *s.lease.renewals.Load()
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			if err := later.prepare(context.Background(), s.reads, false); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	var found, invented int
	if err := s.reads.QueryRow(t.Context(), "SELECT format, (SELECT count(*) FROM sallyport_items WHERE invented IS NULL) FROM sallyport_meta").Scan(&found, &invented); err != nil || found != later.format || invented != 1 {
		t.Errorf("the format is %d, with %d records: %v", found, invented, err)
	}
	err := s.View(t.Context(), func(store.Reader) error { return nil })
	for doing, err := range map[string]error{"a view": err, "an update": put(s, "b"), "a renewal": s.renew(t.Context())} {
		if err == nil {
			t.Errorf("%s by an older version succeeds", doing)
		}
	}
	if now := *s.lease.renewals.Load(); len(now) != len(renewals) || now[0] != renewals[0] {
		t.Error("an older version goes on deciding")
	}
	if err := current.prepare(t.Context(), s.reads, true); !errors.Is(err, store.ErrNewer) {
		t.Errorf("an older version begins: %v", err)
	}
}

// TestPrepare_UndoesMigrationsThatFail demands that nothing is changed by a migration that does not succeed as a whole.
func TestPrepare_UndoesMigrationsThatFail(t *testing.T) {
	t.Parallel()
	s := openURL(t, postgrestest.Start(t).Database())
	bad := later
	bad.migrations = map[int]string{format: later.migrations[format], format + 1: "ALTER TABLE sallyport_meta DROP COLUMN missing"}
	if err := bad.prepare(t.Context(), s.reads, false); err == nil || !strings.Contains(err.Error(), "from format 2") {
		t.Errorf("a migration that fails gives %v", err)
	}
	gap := later
	gap.migrations = map[int]string{format + 1: later.migrations[format+1]}
	if err := gap.prepare(t.Context(), s.reads, false); !errors.Is(err, store.ErrUnsound) {
		t.Errorf("a format that nothing migrates gives %v", err)
	}
	if err := put(s, "a"); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}
