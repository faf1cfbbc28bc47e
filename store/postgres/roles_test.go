package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"sallyport/store"
	"sallyport/store/postgres"
	"sallyport/store/postgres/postgrestest"
)

// documentedRoles returns the statements of docs/postgres.md that make the roles.
func documentedRoles(t testing.TB) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/postgres.md")
	if errors.Is(err, os.ErrNotExist) {
		t.Skip("there is no docs/postgres.md")
	}
	if err != nil {
		t.Fatal(err)
	}
	for block := range strings.SplitSeq(string(text), "```sql\n") {
		if block, _, _ = strings.Cut(block, "```"); strings.HasPrefix(block, "CREATE ROLE") {
			return block
		}
	}
	t.Fatal("docs/postgres.md has no block of SQL that makes roles")
	return ""
}

// TestRoles_AreEnough has the roles that docs/postgres.md makes do what they are for: the owner makes the tables, and the
// server can do all that it does, and no more.
func TestRoles_AreEnough(t *testing.T) {
	t.Parallel()
	server := postgrestest.Start(t)
	server.SQL("CREATE ROLE admin LOGIN SUPERUSER")
	server.Script("admin", "ALTER ROLE sallyport RENAME TO former")
	server.Script("admin", documentedRoles(t))
	owner := fmt.Sprintf("postgres://sallyport_owner@%s/sallyport?sslmode=disable", server.Address())
	user := fmt.Sprintf("postgres://sallyport@%s/sallyport?sslmode=disable", server.Address())
	if !strings.Contains(documentedRoles(t), "CREATE ROLE sallyport ") {
		t.Fatal("docs/postgres.md names the role of the server otherwise")
	}
	if _, err := postgres.Open(t.Context(), postgres.Options{URLFile: urlFile(t, user), Init: true, Replica: "a"}); err == nil || !strings.Contains(err.Error(), "sallyport init") {
		t.Errorf("the role of the server makes tables: %v", err)
	}
	_ = open(t, owner).Close()

	a, b := startReplica(t, user, "a"), startReplica(t, user, "b")
	a.awaitErr(t, nil)
	b.awaitErr(t, nil)
	for n := range 3 {
		e, err := a.Enforced(t.Context(), put(t, a.Store, "k", strings.Repeat("x", n<<20)))
		if err != nil || len(e.Applied) != 2 {
			t.Errorf("with the role of the server: %+v, %v", e, err)
		}
	}
	if _, err := a.Update(t.Context(), func(w store.Writer) error { return w.Delete([]byte("k")) }); err != nil {
		t.Error(err)
	}
	if err := a.Err(); err != nil {
		t.Error(err)
	}
	a.stop()
	b.stop()
	hold(t, user, postgres.ToReplace).Release()
	for _, statement := range []string{
		"CREATE TABLE other (x int)", "DROP TABLE sallyport_items", "ALTER TABLE sallyport_meta ADD COLUMN x int", "TRUNCATE sallyport_items",
		"CREATE TEMPORARY TABLE sallyport_meta (x int)", "CREATE SCHEMA other", "CREATE ROLE other",
		"CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
	} {
		if err := try(t, user, statement); err == nil {
			t.Errorf("the role of the server may %s", statement)
		}
	}
}

// try runs a statement and rolls it back.
func try(t testing.TB, url, statement string) error {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	tx, err := conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(t.Context()) }()
	_, err = tx.Exec(t.Context(), statement)
	var refused *pgconn.PgError
	if err != nil && (!errors.As(err, &refused) || refused.Code != "42501") {
		t.Errorf("%s fails for another reason: %v", statement, err)
	}
	return err
}

// TestOpen_MakesTablesOnce has many processes make the tables at once.
func TestOpen_MakesTablesOnce(t *testing.T) {
	t.Parallel()
	postgrestest.SkipIfShort(t)
	url := postgrestest.Start(t).Database()
	file := urlFile(t, url)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			s, err := postgres.Open(context.Background(), postgres.Options{URLFile: file, Init: true, Replica: "test"})
			if err != nil {
				t.Errorf("process %d gets %v", i, err)
				return
			}
			defer s.Close()
			put(t, s, fmt.Sprint(i), "x")
		})
	}
	all.Wait()
	s := open(t, url)
	for i := range 8 {
		if _, err := get(s, fmt.Sprint(i)); err != nil {
			t.Errorf("the change of process %d: %v", i, err)
		}
	}
}
