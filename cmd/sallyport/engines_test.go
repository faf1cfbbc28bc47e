package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"sallyport/backup"
	"sallyport/store"
	"sallyport/store/postgres/postgrestest"
)

// databaseAt makes a database, and a file in the folder of the world that has its connection URL. It returns that as a place.
func (w *world) databaseAt(server *postgrestest.Server, name string) (at string) {
	w.t.Helper()
	writeFile(w.t, w.dir, name, []byte(server.Database()+"\n"))
	return "postgres:" + filepath.Join(w.dir, name)
}

// useDatabase has the servers of the world use a new database.
func (w *world) useDatabase(server *postgrestest.Server) (at string) {
	w.t.Helper()
	w.database = server
	at = w.databaseAt(server, "secrets/postgres")
	w.rewrite("store: {bolt: {path: data/sallyport.db}}", "store: {postgres: {url_file: secrets/postgres, lease: 2s}}")
	return at
}

// contentAt is content of a store at a place that no server uses, with the mark of an unfinished copy.
func contentAt(t testing.TB, at string) (sum backup.Summary, revision store.Revision) {
	t.Helper()
	p, err := parsePlace(at)
	if err != nil {
		t.Fatal(err)
	}
	st, err := p.look(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if st == nil {
		return sum, 0
	}
	defer st.Close()
	return contentOf(t, st)
}

// demandCopyAt demands that a store is a copy of another.
func demandCopyAt(t testing.TB, from, to string) {
	t.Helper()
	sum, revision := contentAt(t, from)
	copied, later := contentAt(t, to)
	if copied != sum || later <= revision || sum.Records == 0 {
		t.Fatalf("the copy has %d records (%x) at revision %d, the store %d (%x) at %d", copied.Records, copied.SHA256, later, sum.Records, sum.SHA256, revision)
	}
}

// changeAt changes a store that no server uses.
func changeAt(t testing.TB, at string, fn func(store.Writer) error) {
	t.Helper()
	writeAt(t, at, store.Unfinished{}, fn)
}

// writeAt changes a store, or makes an unfinished copy in a place where nothing is.
func writeAt(t testing.TB, at string, mark store.Unfinished, fn func(store.Writer) error) {
	t.Helper()
	if path, ok := strings.CutPrefix(at, "bolt:"); ok && mark == (store.Unfinished{}) {
		changeStore(t, path, fn)
		return
	}
	p, err := parsePlace(at)
	if err != nil {
		t.Fatal(err)
	}
	st, err := p.write(t.Context(), 0, mark)
	if err != nil {
		t.Fatal(err)
	}
	_, err = st.Update(t.Context(), fn)
	if err := errors.Join(err, st.Close()); err != nil {
		t.Fatal(err)
	}
}

// sqlURL returns the connection URL of the database that a place names.
func sqlURL(t testing.TB, at string) string {
	t.Helper()
	url, err := os.ReadFile(strings.TrimPrefix(at, "postgres:"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(url))
}

// sqlAt runs a statement in the database that a place names, as another program would.
func sqlAt(t testing.TB, at, statement string) (result string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), sqlURL(t, at))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	rows, err := conn.Query(t.Context(), statement)
	if err != nil {
		t.Fatal(err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowToMap)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range all {
		for _, value := range row {
			if text, ok := value.(string); ok {
				result += text
			}
		}
	}
	return result
}

// dumpAt returns all that a database has of a store.
func dumpAt(t testing.TB, at string) (text string) {
	t.Helper()
	if sqlAt(t, at, "SELECT coalesce(to_regclass('sallyport_meta')::text, '')") == "" {
		return ""
	}
	return dumpWithoutReplicas(t, at) + sqlAt(t, at, "SELECT coalesce(string_agg(r::text, E'\n' ORDER BY r::text), '') FROM sallyport_replicas r")
}

// dumpWithoutReplicas returns what a database has of a store but for the leases of replicas.
func dumpWithoutReplicas(t testing.TB, at string) (text string) {
	t.Helper()
	for _, table := range []string{"sallyport_meta", "sallyport_items", "sallyport_changes"} {
		text += sqlAt(t, at, "SELECT coalesce(string_agg(r::text, E'\n' ORDER BY r::text), '') FROM "+table+" r")
	}
	return text
}

// storeAt returns where the store of the world is, as `store copy` names it.
func (w *world) storeAt() string {
	if w.database != nil {
		return "postgres:" + filepath.Join(w.dir, "secrets/postgres")
	}
	return "bolt:" + filepath.Join(w.dir, "data/sallyport.db")
}

// openStore opens the store of a stopped server.
func (w *world) openStore() store.Store {
	w.t.Helper()
	p, err := parsePlace(w.storeAt())
	if err != nil {
		w.t.Fatal(err)
	}
	st, err := p.look(w.t.Context())
	if err != nil || st == nil {
		w.t.Fatal("there is no store", err)
	}
	return st
}

// kill kills a server. With a database, its lease is taken to have run out.
func (w *world) kill(s *running) {
	w.t.Helper()
	s.kill()
	if w.database == nil {
		return
	}
	const others = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()" // they may have a renewal under way
	for sqlAt(w.t, w.storeAt(), "SELECT string_agg(pg_terminate_backend(pid)::text, '') "+others) != "" {
		continue
	}
	sqlAt(w.t, w.storeAt(), "DELETE FROM sallyport_replicas")
}

// copyWorld copies the files of a stopped server to a folder of its own, and its database.
func (w *world) copyWorld(t *testing.T) *world {
	t.Helper()
	other := *w
	other.t, other.dir = t, t.TempDir()
	_ = os.Remove(filepath.Join(w.dir, "data/control.sock")) // a socket cannot be copied
	if err := os.CopyFS(other.dir, os.DirFS(w.dir)); err != nil {
		t.Fatal(err)
	}
	if w.database != nil {
		writeFile(t, other.dir, "secrets/postgres", []byte(w.database.Clone(sqlURL(t, w.storeAt()))))
	}
	return &other
}

// lose removes the "store" or the "record" of a stopped server.
func (w *world) lose(what ...string) {
	w.t.Helper()
	for _, name := range what {
		files := []string{"audit.jsonl"}
		if name == "store" {
			files = []string{"sallyport.db", "sallyport.db.revision"}
		}
		if name == "store" && w.database != nil {
			sqlAt(w.t, w.storeAt(), "DROP TABLE sallyport_meta, sallyport_items, sallyport_changes, sallyport_replicas")
			continue
		}
		for _, file := range files {
			if err := os.Remove(filepath.Join(w.dir, "data", file)); err != nil {
				w.t.Fatal(err)
			}
		}
	}
}

// flipBit flips a bit in the value of the first record below prefix, behind the store's back.
func (w *world) flipBit(prefix string) {
	w.t.Helper()
	if w.database == nil {
		flipBit(w.t, strings.TrimPrefix(w.storeAt(), "bolt:"), prefix)
		return
	}
	sqlAt(w.t, w.storeAt(), fmt.Sprintf(`UPDATE sallyport_items SET value = set_bit(value, 8 * length(value) - 1, 1 - get_bit(value, 8 * length(value) - 1))
		WHERE key = (SELECT key FROM sallyport_items WHERE key >= '%s' ORDER BY key LIMIT 1)`, prefix))
}

// files returns the names and contents of the files of a stopped server, but for those that say that they are being read, and
// the content of its database.
func (w *world) files() (list []string) {
	w.t.Helper()
	paths, err := filepath.Glob(filepath.Join(w.dir, "data", "*"))
	if err != nil {
		w.t.Fatal(err)
	}
	for _, path := range paths {
		if text, err := os.ReadFile(path); err == nil && !strings.HasSuffix(path, ".pid") {
			list = append(list, fmt.Sprintf("%s %x", path, text))
		}
	}
	if w.database != nil {
		list = append(list, dumpAt(w.t, w.storeAt()))
	}
	return list
}
