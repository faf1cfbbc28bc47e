package postgres_test

import (
	"context"
	"os"
	"testing"
	"time"

	"sallyport/store"
	"sallyport/store/postgres"
	"sallyport/store/postgres/postgrestest"
)

// TestUpdate_IsRefusedByAnotherDatabase puts a database with another history behind the URL of a replica whose lease still
// runs. A change there has the number of one that memory has applied already: nobody must be told that it is made, or that
// it is enforced.
func TestUpdate_IsRefusedByAnotherDatabase(t *testing.T) {
	t.Parallel()
	postgrestest.SkipIfShort(t)
	server := postgrestest.Start(t)
	first, second := server.Database(), server.Database()
	other := open(t, second)
	put(t, other, "k", "of the other")
	file := urlFile(t, first)
	a, err := postgres.Open(t.Context(), postgres.Options{URLFile: file, Init: true, Replica: "a", Lease: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = a.Run(ctx) }()
	t.Cleanup(func() { stop(); <-ended; _ = a.Close() })
	for range 10 {
		put(t, a, "k", "of the first")
	}
	if err := os.WriteFile(file, []byte(second), 0o600); err != nil {
		t.Fatal(err)
	}
	exec(t, second, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'sallyport' AND datname <> current_database()")
	revision, err := a.Update(t.Context(), func(w store.Writer) error { return w.Put([]byte("left"), []byte("ada")) })
	if err == nil {
		t.Errorf("a change is made in another database, as revision %d", revision)
	}
	if value, err := get(other, "left"); err == nil {
		t.Errorf("the other database has the change: %q", value)
	}
	waiting, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	if e, err := a.Enforced(waiting, 0); err == nil {
		t.Errorf("by another database, everything is enforced: %+v", e)
	}
}
