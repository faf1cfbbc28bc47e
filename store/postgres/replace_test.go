package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"sallyport/store"
	"sallyport/store/postgres"
	"sallyport/store/postgres/postgrestest"
)

// replaceBy replaces the content of a database by that of another store.
func replaceBy(t testing.TB, url string, from *postgres.Store, schema string) (former string, err error) {
	t.Helper()
	h := hold(t, url, postgres.ToReplace)
	defer h.Release()
	err = from.View(t.Context(), func(r store.Reader) error {
		former, err = h.Replace(t.Context(), r, schema)
		return err
	})
	return former, err
}

func TestReplace_KeepsTheFormerStore(t *testing.T) {
	t.Parallel()
	server := postgrestest.Start(t)
	url := server.Database()
	put(t, open(t, url), "a", "former")
	from := open(t, server.Database())
	from.Continue(10)
	for n := range 5000 {
		if n%1000 == 0 {
			put(t, from, fmt.Sprintf("b/%d", n), "new")
		}
	}
	if former, err := replaceBy(t, url, from, "former-1"); err != nil || former != "former-1" {
		t.Fatalf("replacing gives %q, %v", former, err)
	}
	s := open(t, url)
	if _, err := get(s, "a"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("the former record gives %v", err)
	}
	if value, err := get(s, "b/4000"); value != "new" || err != nil {
		t.Errorf("a new record gives %q, %v", value, err)
	}
	if revision := put(t, s, "c", "1"); revision != 16 {
		t.Errorf("the next revision is %d", revision)
	}
	former := open(t, url+"&search_path=former-1")
	if value, err := get(former, "a"); value != "former" || err != nil {
		t.Errorf("the former store has %q, %v", value, err)
	}
	if revision := put(t, former, "c", "1"); revision != 2 {
		t.Errorf("the former store goes on with %d", revision)
	}
	before := dump(t, url)
	if _, err := replaceBy(t, url, from, "former-2"); err == nil || !strings.Contains(err.Error(), "must be greater by 2") {
		t.Errorf("going back gives %v", err)
	}
	put(t, from, "x", "1")
	from.Continue(100)
	put(t, from, "x", "2")
	if _, err := replaceBy(t, url, from, "former-1"); err == nil || !strings.Contains(err.Error(), "already exists") {
		t.Errorf("a schema that exists gives %v", err)
	}
	exec(t, url, "CREATE ROLE plain LOGIN; GRANT ALL ON ALL TABLES IN SCHEMA public TO plain")
	if _, err := replaceBy(t, strings.Replace(url, "sallyport@", "plain@", 1), from, "former-2"); err == nil || !strings.Contains(err.Error(), "GRANT CREATE ON DATABASE") {
		t.Errorf("a role that may not make a schema gives %v", err)
	}
	if dump(t, url) != before {
		t.Error("what failed changed the database")
	}
}

func TestReplace_MakesTables(t *testing.T) {
	t.Parallel()
	server := postgrestest.Start(t)
	url := server.Database()
	from := open(t, server.Database())
	put(t, from, "a", "1")
	put(t, from, "a", "2")
	if former, err := replaceBy(t, url, from, "former"); err != nil || former != "" {
		t.Fatalf("replacing nothing gives %q, %v", former, err)
	}
	if value, err := get(open(t, url), "a"); value != "2" || err != nil {
		t.Errorf("the record is %q, %v", value, err)
	}
}

// TestReplace_FencesWhoWasCutOff: a replica that was cut off while its database was replaced does not decide from what was
// before, nor does it take the changes after for those that come next.
func TestReplace_FencesWhoWasCutOff(t *testing.T) {
	t.Parallel()
	server := postgrestest.Start(t)
	url := server.Database()
	s := open(t, url)
	revision := put(t, s, "a", "former")
	from := open(t, server.Database())
	from.Continue(revision + 1)
	put(t, from, "a", "new")
	if _, err := replaceBy(t, url, from, "former"); err != nil {
		t.Fatal(err)
	}
	put(t, open(t, url), "b", "later")
	f := s.Follow()
	f.Applied(revision)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	go func() { _ = s.Run(ctx) }()
	for _, err := range s.Watch(t.Context(), revision) {
		if !errors.Is(err, store.ErrCompacted) {
			t.Errorf("the watch goes on with %v", err)
		}
		break
	}
	if f.Err() == nil {
		t.Error("the replica decides from what was before")
	}
	var now store.Revision
	if err := s.View(t.Context(), func(r store.Reader) error { now = r.Revision(); return nil }); err != nil || now <= revision+2 {
		t.Fatalf("the revision is %d, %v", now, err)
	}
	f.Applied(now)
	for f.Err() != nil {
		<-f.Changed()
	}
}
