package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"pgregory.net/rapid"

	"sallyport/store"
	"sallyport/store/postgres"
	"sallyport/store/postgres/postgrestest"
	"sallyport/store/storetest"
)

func TestStore_Conforms(t *testing.T) {
	t.Parallel()
	server := postgrestest.Start(t)
	storetest.Run(t, func(t *testing.T) store.Store { return open(t, server.Database()) })
}

// open opens a store in a new database.
func open(t testing.TB, url string) *postgres.Store {
	t.Helper()
	s, err := postgres.Open(context.Background(), postgres.Options{URLFile: urlFile(t, url), Init: true, Replica: "test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// urlFile returns the path of a file that holds url.
func urlFile(t testing.TB, url string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "url")
	if err := os.WriteFile(path, []byte(url+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// put writes one record.
func put(t testing.TB, s *postgres.Store, key, value string) store.Revision {
	t.Helper()
	revision, err := s.Update(context.Background(), func(w store.Writer) error { return w.Put([]byte(key), []byte(value)) })
	if err != nil {
		t.Fatal(err)
	}
	return revision
}

// get returns the value at key.
func get(s *postgres.Store, key string) (value string, err error) {
	err = s.View(context.Background(), func(r store.Reader) error {
		text, err := r.Get([]byte(key))
		value = string(text)
		return err
	})
	return value, err
}

func TestOpen_RejectsWhatIsNoStore(t *testing.T) {
	t.Parallel()
	postgrestest.SkipIfShort(t)
	server := postgrestest.Start(t)
	_, err := postgres.Open(t.Context(), postgres.Options{URLFile: urlFile(t, server.Database()), Replica: "test"})
	if !errors.Is(err, store.ErrMissing) || !strings.Contains(err.Error(), "--init") {
		t.Errorf("a database without tables gives %v", err)
	}
	for name, url := range map[string]string{"empty": "", "not a URL": "postgres://user:hunter2@[", "nobody listens": "postgres://sallyport:hunter2@127.0.0.1:1/x"} {
		_, err := postgres.Open(t.Context(), postgres.Options{URLFile: urlFile(t, url), Init: true, Replica: "test"})
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s gives %v", name, err)
		}
	}
	if _, err := postgres.Open(t.Context(), postgres.Options{URLFile: "missing", Init: true, Replica: "test"}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file gives %v", err)
	}
}

func TestOpen_RejectsNewerFormat(t *testing.T) {
	t.Parallel()
	url := postgrestest.Start(t).Database()
	put(t, open(t, url), "a", "1")
	exec(t, url, "UPDATE sallyport_meta SET format = 99")
	before := dump(t, url)
	_, err := postgres.Open(t.Context(), postgres.Options{URLFile: urlFile(t, url), Init: true, Replica: "test"})
	if err == nil || !strings.Contains(err.Error(), "format is 99") {
		t.Errorf("a newer format gives %v", err)
	}
	if dump(t, url) != before {
		t.Error("the database was changed")
	}
}

// exec runs a statement as another program would.
func exec(t testing.TB, url, statement string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if _, err := conn.Exec(t.Context(), statement); err != nil {
		t.Fatal(err)
	}
}

// dump returns everything in the database.
func dump(t testing.TB, url string) (text string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	for _, table := range []string{"sallyport_meta", "sallyport_items", "sallyport_changes"} {
		var rows string
		if err := conn.QueryRow(t.Context(), "SELECT coalesce(string_agg(r::text, E'\n' ORDER BY r::text), '') FROM "+table+" r").Scan(&rows); err != nil {
			t.Fatal(err)
		}
		text += rows
	}
	return text
}

// TestUpdate_ByManyStores has several stores write to one database: no revision is used twice or left out, and each of
// them sees every change once, in order.
func TestUpdate_ByManyStores(t *testing.T) {
	t.Parallel()
	const stores, writers, each = 3, 4, 25
	url := postgrestest.Start(t).Database()
	var revisions sync.Map
	var all sync.WaitGroup
	opened := make([]*postgres.Store, stores)
	for i := range opened {
		opened[i] = open(t, url)
	}
	for i, s := range opened {
		all.Go(func() {
			next := store.Revision(1)
			for change, err := range s.Watch(t.Context(), 0) {
				if err != nil || change.Revision != next {
					t.Errorf("store %d watches %d, %v in the place of %d", i, change.Revision, err, next)
					return
				}
				if next++; next > stores*writers*each {
					return
				}
			}
		})
		for j := range writers {
			all.Go(func() {
				for n := range each {
					revision := put(t, s, fmt.Sprintf("%d/%d/%d", i, j, n), "x")
					if _, used := revisions.LoadOrStore(revision, true); used {
						t.Errorf("revision %d was given twice", revision)
					}
				}
			})
		}
	}
	all.Wait()
}

// TestUpdate_SurvivesRestarts kills the database again and again while it is written to. An update that was acknowledged
// is there, one that failed is not, and of one whose outcome is unknown either holds.
func TestUpdate_SurvivesRestarts(t *testing.T) {
	t.Parallel()
	postgrestest.SkipIfShort(t)
	server := postgrestest.Start(t)
	s := open(t, server.Database())
	var mu sync.Mutex
	stored, failed := map[string]bool{}, map[string]bool{}
	stop := make(chan struct{})
	var writers sync.WaitGroup
	for i := range 8 {
		writers.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				key := fmt.Sprintf("%d/%d", i, n)
				_, err := s.Update(context.Background(), func(w store.Writer) error { return w.Put([]byte(key), []byte("x")) })
				mu.Lock()
				switch {
				case err == nil:
					stored[key] = true
				case !errors.Is(err, store.ErrUncertain):
					failed[key] = true
				}
				mu.Unlock()
			}
		})
	}
	for range trials(5) {
		demandProgress(&mu, stored)
		server.Kill()
		server.Start()
	}
	close(stop)
	writers.Wait()
	if len(stored) < 5 {
		t.Errorf("only %d updates succeeded", len(stored))
	}
	for key := range stored {
		if _, err := get(s, key); err != nil {
			t.Errorf("%s was acknowledged, and is lost: %v", key, err)
		}
	}
	for key := range failed {
		if _, err := get(s, key); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%s failed, and is there: %v", key, err)
		}
	}
}

// demandProgress returns when more updates were stored.
func demandProgress(mu *sync.Mutex, stored map[string]bool) {
	count := func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(stored)
	}
	for before := count(); count() < before+20; {
		runtime.Gosched()
	}
}

// trials returns how often a test repeats what it does: TRIALS, or few times.
func trials(few int) int {
	if n, err := strconv.Atoi(os.Getenv("TRIALS")); err == nil {
		return n
	}
	return few
}

// TestWatch_EndsWithAnotherDatabase puts a database in the place of another, as a restored one: whoever watches must not
// take its changes for those that come next.
func TestWatch_EndsWithAnotherDatabase(t *testing.T) {
	t.Parallel()
	server := postgrestest.Start(t)
	for name, change := range map[string]string{
		"earlier":              "UPDATE sallyport_meta SET revision = 1; DELETE FROM sallyport_changes WHERE revision > 1",
		"another of that time": "UPDATE sallyport_meta SET id = 'other'; UPDATE sallyport_changes SET id = 'other' WHERE revision = 2",
		"another and later":    "UPDATE sallyport_meta SET id = 'other', revision = 9; UPDATE sallyport_changes SET id = 'other' WHERE revision = 2",
	} {
		t.Run(name, func(t *testing.T) {
			url := server.Database()
			s := open(t, url)
			put(t, s, "a", "1")
			put(t, s, "b", "1")
			for change := range s.Watch(t.Context(), 0) {
				if change.Revision == 2 {
					break
				}
			}
			exec(t, url, change)
			for _, err := range s.Watch(t.Context(), 2) {
				if !errors.Is(err, store.ErrBehind) {
					t.Errorf("the watch gives %v", err)
				}
				break
			}
		})
	}
}

func TestGet_FindsDamage(t *testing.T) {
	t.Parallel()
	url := postgrestest.Start(t).Database()
	s := open(t, url)
	put(t, s, "a", "1")
	put(t, s, "b", "2")
	exec(t, url, "UPDATE sallyport_items SET value = value || 'x' WHERE key = 'a'")
	if _, err := get(s, "a"); !errors.Is(err, store.ErrDamaged) {
		t.Errorf("a changed record gives %v", err)
	}
	if value, err := get(s, "b"); value != "2" || err != nil {
		t.Errorf("the other record gives %q, %v", value, err)
	}
	other := open(t, url)
	put(t, s, "c", "3")
	exec(t, url, "UPDATE sallyport_changes SET writes = 'x' WHERE revision = 3")
	for _, err := range other.Watch(t.Context(), 2) {
		if errors.Is(err, store.ErrCompacted) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestUpdate_ScansWhatItWrote compares scans within updates with a map.
func TestUpdate_ScansWhatItWrote(t *testing.T) {
	t.Parallel()
	s := open(t, postgrestest.Start(t).Database())
	model := map[string]string{}
	rapid.Check(t, func(t *rapid.T) {
		key := rapid.StringMatching(`[ab/\x00]{0,3}`)
		_, err := s.Update(context.Background(), func(w store.Writer) error {
			for range rapid.IntRange(1, 12).Draw(t, "steps") {
				k, v := key.Draw(t, "key"), rapid.StringN(0, 3, -1).Draw(t, "value")
				switch rapid.SampledFrom([]string{"put", "delete", "scan"}).Draw(t, "step") {
				case "put":
					model[k] = v
					if err := w.Put([]byte(k), []byte(v)); err != nil {
						return err
					}
				case "delete":
					delete(model, k)
					if err := w.Delete([]byte(k)); err != nil {
						return err
					}
				default:
					from := key.Draw(t, "from")
					want := maps.Clone(model)
					maps.DeleteFunc(want, func(have, _ string) bool { return !strings.HasPrefix(have, k) || have < from })
					var keys []string
					for e, err := range w.Scan([]byte(k), []byte(from)) {
						if keys = append(keys, string(e.Key)); err != nil || want[string(e.Key)] != string(e.Value) {
							t.Fatalf("at %q there is %q, %v", e.Key, e.Value, err)
						}
					}
					if !slices.Equal(keys, slices.Sorted(maps.Keys(want))) {
						t.Fatalf("the scan of %q from %q yields %q, want those of %v", k, from, keys, want)
					}
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

func BenchmarkUpdate(b *testing.B) {
	for _, writers := range []int{1, 64} {
		b.Run(fmt.Sprint(writers), func(b *testing.B) {
			s := open(b, postgrestest.Start(b, "fsync=on").Database())
			var n atomic.Int64
			b.ResetTimer()
			b.SetParallelism(max(1, writers/runtime.GOMAXPROCS(0)))
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					put(b, s, fmt.Sprint(n.Add(1)), "some text of a record that is not very long")
				}
			})
		})
	}
}
