package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"sallyport/backup"
	"sallyport/store"
	"sallyport/store/postgres/postgrestest"
)

// TestPostgres_WalkThroughOfMoveIsTrue follows docs/operations.md from a file to PostgreSQL and back, and serves after each
// step: who was signed in is, tokens are valid, and the audit record goes on.
func TestPostgres_WalkThroughOfMoveIsTrue(t *testing.T) {
	t.Parallel()
	database := postgrestest.Start(t)
	text, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "### Move to PostgreSQL, and back\n")
	section, _, _ = strings.Cut(section, "\n### ")
	w := newWorld(t)
	w.databaseAt(database, "secrets/postgres")
	s := w.start("--init")
	stage := w.settle(s)
	served := 0
	check := func() {
		s = w.start()
		s.awaitReady(t)
		browser := w.newBrowserWith(s, stage.browser)
		if resp := browser.get("https://"+appHost+"/", ""); resp.StatusCode != http.StatusOK {
			t.Errorf("who was signed in gets %d", resp.StatusCode)
		}
		served++
		w.pusher(s).hire(fmt.Sprintf("bob%d", served), fmt.Sprintf("oid of bob %d", served))
	}
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	for _, block := range regexp.MustCompile("(?s)```(sh|yaml)\n(.*?)```").FindAllStringSubmatch(section, -1) {
		if block[1] == "yaml" {
			file, err := os.ReadFile(filepath.Join(w.dir, "sallyport.yaml"))
			if err != nil {
				t.Fatal(err)
			}
			w.rewrite(regexp.MustCompile(`store: .*\n`).FindString(string(file)), block[2])
			continue
		}
		for line := range strings.Lines(block[2]) {
			switch line = strings.TrimSpace(line); line {
			case "systemctl stop sallyport":
				s.shutDown()
			case "systemctl start sallyport":
				check()
			default:
				cmd := exec.Command("sh", "-c", line)
				cmd.Dir, cmd.Env = w.dir, append(os.Environ(), "PATH="+filepath.Dir(path)+":"+os.Getenv("PATH"))
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Fatalf("%s: %v\n%s", line, err, out)
				}
			}
		}
	}
	if served != 2 {
		t.Errorf("the walk-through starts the server %d times", served)
	}
	s.shutDown()
	w.here("audit", "verify")
	w.here("store", "check")
}

// TestPostgres_CopiesBetweenEngines copies from and to each engine; and again, which finds the finished copy.
func TestPostgres_CopiesBetweenEngines(t *testing.T) {
	t.Parallel()
	database := postgrestest.Start(t)
	w := newWorld(t)
	first := "bolt:" + w.settledStore()
	chain := []string{first, w.databaseAt(database, "a"), w.databaseAt(database, "b"), "bolt:" + filepath.Join(w.dir, "back.db")}
	for i, to := range chain[1:] {
		from := chain[i]
		before, _ := contentAt(t, from)
		out := w.here("store", "copy", "--from", from, "--to", to)
		if !strings.Contains(out, "from "+from+" to "+to) || !strings.Contains(out, "write `store: {"+strings.Split(to, ":")[0]+": {") {
			t.Errorf("the command says %s", out)
		}
		demandCopyAt(t, from, to)
		if after, _ := contentAt(t, from); after != before {
			t.Error("the source was changed")
		}
		var done storeCopied
		decode(t, w.here("store", "copy", "--from", from, "--to", to, "-o", "json"), &done)
		if !done.Resumed {
			t.Errorf("a finished copy gives %+v", done)
		}
	}
}

// TestPostgres_CopyRefuses: what is refused changes nothing.
func TestPostgres_CopyRefuses(t *testing.T) {
	t.Parallel()
	postgrestest.SkipIfShort(t)
	database := postgrestest.Start(t)
	w := newWorld(t)
	file := "bolt:" + w.settledStore()
	full, empty, other := w.databaseAt(database, "full"), w.databaseAt(database, "empty"), w.databaseAt(database, "other")
	w.here("store", "copy", "--from", file, "--to", full)
	changeAt(t, full, func(w store.Writer) error { return w.Delete([]byte("count/users")) })
	alias := filepath.Join(w.dir, "alias")
	url, err := os.ReadFile(strings.TrimPrefix(full, "postgres:"))
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, w.dir, "alias", []byte(strings.Replace(string(url), "127.0.0.1", "localhost", 1)))
	writeFile(t, w.dir, "secret", []byte("postgres://sallyport:hunter2@127.0.0.1:1/x"))
	damaged, newer, mark := w.databaseAt(database, "damaged"), w.databaseAt(database, "newer"), w.databaseAt(database, "mark")
	for _, to := range []string{damaged, newer, mark} {
		w.here("store", "copy", "--from", file, "--to", to)
	}
	sqlAt(t, damaged, "UPDATE sallyport_items SET value = value || 'x' WHERE key = (SELECT key FROM sallyport_items ORDER BY key DESC LIMIT 1)")
	sqlAt(t, newer, "UPDATE sallyport_meta SET format = 99")
	changeAt(t, mark, func(w store.Writer) error { return w.Put([]byte(copyKey), []byte("{}")) })
	used := w.databaseAt(database, "used")
	w.here("store", "copy", "--from", file, "--to", used)
	sqlAt(t, used, "INSERT INTO sallyport_replicas (process, name, renewed, lease, applied) VALUES ('1', 'replica-7', clock_timestamp(), interval '1 hour', 1), ('2', 'gone', clock_timestamp() - interval '1 hour', interval '1 minute', 1)")
	unfinished := w.databaseAt(database, "unfinished")
	half := func(w store.Writer) error { return w.Put([]byte("user/x"), []byte("half")) }
	writeAt(t, unfinished, store.Unfinished{From: "bolt:/elsewhere.db", To: unfinished}, half)
	soft := filepath.Join(w.dir, "soft")
	if err := os.Symlink(strings.TrimPrefix(full, "postgres:"), soft); err != nil {
		t.Fatal(err)
	}
	all := []string{full, empty, other, damaged, newer, mark, used, unfinished}
	var before []string
	for _, at := range all {
		before = append(before, dumpAt(t, at))
	}
	files := w.files()
	for _, c := range []struct{ from, to, says string }{
		{full, full, "same store"},
		{full, "postgres:" + soft, "same store"},
		{full, "postgres:" + alias, "the same database"},
		{"postgres:" + alias, full, "the same database"},
		{file, full, "not empty"},
		{full, file, "not empty"},
		{file, used, "replica-7 may decide for another 59m"},
		{used, empty, "replica-7 may decide for another 59m"},
		{used, empty, "stop the server first"},
		{file, unfinished, "unfinished copy of another store, bolt:/elsewhere.db"},
		{unfinished, empty, "unfinished copy"},
		{damaged, empty, "record is damaged"},
		{newer, empty, "format is 99"},
		{file, newer, "format is 99"},
		{mark, empty, "sallyport restore FILE"},
		{empty, other, "the database has no table"},
		{file, "postgres:" + filepath.Join(w.dir, "secret"), "secret names"},
		{"postgres:" + filepath.Join(w.dir, "secret"), empty, "secret names"},
	} {
		var out, errs bytes.Buffer
		code := w.runHere(&out, &errs, "store", "copy", "--from", c.from, "--to", c.to)
		if code != exitError || out.Len() > 0 || !strings.Contains(errs.String(), c.says) || strings.Contains(errs.String(), "hunter2") {
			t.Errorf("from %s to %s: exit %d, %s%s", c.from, c.to, code, &out, &errs)
		}
	}
	for i, at := range all {
		if dumpAt(t, at) != before[i] {
			t.Errorf("%s was changed", at)
		}
	}
	if !slices.Equal(w.files(), files) {
		t.Error("files were changed or made")
	}
}

// TestPostgres_UnfinishedCopyIsOpenedForNothing configures an unfinished copy. Everything refuses it, and says what to do.
func TestPostgres_UnfinishedCopyIsOpenedForNothing(t *testing.T) {
	t.Parallel()
	database := postgrestest.Start(t)
	w := newWorld(t)
	from := "bolt:" + w.settledStore()
	to := w.databaseAt(database, "secrets/postgres")
	writeAt(t, to, store.Unfinished{From: from, To: to}, func(w store.Writer) error { return w.Put([]byte("user/x"), []byte("half")) })
	w.rewrite("store: {bolt: {path: data/sallyport.db}}", "store: {postgres: {url_file: secrets/postgres}}")
	before := dumpAt(t, to)
	for _, verb := range [][]string{{"serve"}, {"serve", "--init"}, {"init"}, {"store", "check"}, {"store", "accept-loss"}, {"token", "list"}, {"token", "create", "x"},
		{"users", "list"}, {"sessions", "list"}, {"backup", filepath.Join(w.dir, "b.backup")},
		{"store", "copy", "--from", to, "--to", "bolt:" + filepath.Join(w.dir, "c.db")}} {
		w.refusedHere(verb, "unfinished copy of "+from, "go on with `sallyport store copy --from "+from+" --to "+to+"`")
	}
	var out, errs bytes.Buffer
	if w.runHere(&out, &errs, "audit", "verify"); !strings.Contains(errs.String(), "the store cannot be read") {
		t.Errorf("audit verify uses the unfinished copy: %s%s", &out, &errs)
	}
	if dumpAt(t, to) != before {
		t.Error("the copy was changed")
	}
	w.here("store", "copy", "--from", from, "--to", to)
	demandCopyAt(t, from, to)
	w.here("store", "check")
}

// TestPostgres_CopySurvivesKill kills copies to and from a database (SIGKILL) at random times, some of them twice, and changes
// the store in between. There is no copy then, one that is refused, or a whole one; and the next call makes it whole.
// TRIALS says how often, SEED repeats the times.
func TestPostgres_CopySurvivesKill(t *testing.T) {
	t.Parallel()
	postgrestest.SkipIfShort(t)
	trials, seed := number64Of("TRIALS", 2), number64Of("SEED", rand.Uint64()%1_000_000)
	t.Logf("SEED=%d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	database := postgrestest.Start(t)
	w := newWorld(t)
	path := w.settledStore()
	fillStore(t, path, 20_000)
	file, table := "bolt:"+path, w.databaseAt(database, "source")
	begun := time.Now()
	verb(t, w.dir, "store", "copy", "--from", file, "--to", table)
	longest := time.Since(begun)
	program, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	outcomes := map[string]int{}
	for n := range trials {
		from, to := file, w.databaseAt(database, "target")
		switch n % 3 {
		case 1:
			from = table
		case 2:
			from, to = table, "bolt:"+filepath.Join(t.TempDir(), "moved.db")
		}
		copying := []string{"store", "copy", "--from", from, "--to", to}
		for range 1 + random.IntN(2) {
			before, _ := contentAt(t, from)
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(random.Int64N(int64(longest))))
			killed := exec.CommandContext(ctx, program, copying...).Run() != nil
			cancel()
			if after, _ := contentAt(t, from); after != before {
				t.Fatalf("trial %d: the source was changed", n)
			}
			outcome := outcomeAt(t, to, before, killed)
			outcomes[outcome]++
			if outcome == "unfinished" && random.IntN(2) == 0 {
				changeAt(t, from, func(w store.Writer) error {
					return errors.Join(w.Put([]byte("test/000007"), []byte("changed")), w.Delete([]byte("test/000008")), w.Put([]byte("test/9"), []byte("new")))
				})
			}
		}
		w.here(copying...)
		demandCopyAt(t, from, to)
	}
	t.Logf("%d trials: %v", trials, outcomes)
}

// outcomeAt says what came of a copy that may have been killed.
func outcomeAt(t *testing.T, to string, want backup.Summary, killed bool) string {
	t.Helper()
	p, err := parsePlace(to)
	if err != nil {
		t.Fatal(err)
	}
	st, err := p.look(t.Context())
	switch {
	case err != nil:
		t.Fatal(err)
	case st == nil && killed:
		return "not begun"
	case st == nil:
		t.Fatal("there is no copy")
	}
	marked, err := hasKey(st, store.UnfinishedKey)
	if err := errors.Join(err, st.Close()); err != nil {
		t.Fatal(err)
	}
	if marked && killed {
		if err := p.finish(t.Context()); !errors.Is(err, store.ErrUnfinished) {
			t.Fatalf("an unfinished copy is opened: %v", err)
		}
		return "unfinished"
	}
	if got, _ := contentAt(t, to); got != want {
		t.Fatalf("the copy has %d records and is not marked; the store has %d", got.Records, want.Records)
	}
	if killed {
		return "killed when it was whole"
	}
	return "finished"
}
