package main

import (
	"bytes"
	"net/http"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"sallyport/store/postgres/postgrestest"
)

// TestPostgres_Restore runs with a database what the tests of backups and restores demand of a file.
func TestPostgres_Restore(t *testing.T) {
	t.Parallel()
	database := postgrestest.Start(t)
	for name, test := range map[string]func(*testing.T, *world){
		"revives_nothing":         restoreRevivesNothing,
		"dry_run_says_all":        restoreDryRunSaysAll,
		"refuses_damage":          restoreRefusesDamage,
		"drops_foreign_records":   restoreDropsForeignRecords,
		"survives_kill":           restoreSurvivesKill,
		"keeps_keys":              restoreKeepsKeys,
		"records_former_changes":  restoreRecordsFormerChanges,
		"refuses_damaged_records": backupRefusesDamagedRecords,
		"ends_bearer_tokens":      restoreEndsBearerTokens,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.useDatabase(database)
			test(t, w)
		})
	}
}

// TestPostgres_RestoreFencesReplicas restores while one replica is stopped as if it were cut off, and then lets it go on: it
// denies until it has what was restored, and so does one that starts later. What was let in before is cut.
func TestPostgres_RestoreFencesReplicas(t *testing.T) {
	t.Parallel()
	postgrestest.SkipIfShort(t)
	f := newFleet(t, 2)
	w, cutOff := f.world, f.replicas[1]
	copied := filepath.Join(w.dir, "copy.backup")
	f.replicas[0].verb("backup", copied)
	there := f.at(cutOff)
	live := there.openAll(t)
	w.refusedHere([]string{"restore", copied}, "stop the server first")
	before := dumpWithoutReplicas(t, w.storeAt())
	cutOff.signal(syscall.SIGSTOP)
	f.replicas[0].kill()
	w.refusedHere([]string{"restore", copied}, "may decide for another", "replica-2")
	if dumpWithoutReplicas(t, w.storeAt()) != before {
		t.Error("a restore that was refused changed the database")
	}
	var out bytes.Buffer
	eventually(t, "the leases run out", func() bool {
		out.Reset()
		return w.runHere(&out, &out, "restore", copied) == exitOK
	})
	later := w.start()
	cutOff.signal(syscall.SIGCONT)
	for _, r := range []*running{cutOff, later} {
		s := f.at(r)
		eventually(t, "the replica has what was restored", func() bool {
			status := s.browser.fetch("/")
			if status == http.StatusOK {
				t.Fatal("a session from before the restore is valid")
			}
			return status == http.StatusUnauthorized
		})
	}
	for _, l := range live {
		<-l.ended
	}
	b := w.newBrowser(cutOff)
	b.signIn()
	w.pusher(later).setActive(f.alice, "False")
	eventually(t, "the replica has what was pushed after the restore", func() bool { return b.fetch("/") == http.StatusForbidden })

	schema := regexp.MustCompile(`the former store is the schema (sallyport_replaced_\w+) of the database; DROP SCHEMA`).FindStringSubmatch(out.String())
	if schema == nil {
		t.Fatalf("nothing says where the former store is: %s", &out)
	}
	later.shutDown()
	cutOff.shutDown()
	w.here("store", "check")
	url := sqlURL(t, w.storeAt()) + "&search_path=" + schema[1]
	writeFile(t, w.dir, "former", []byte(url))
	former := filepath.Join(w.dir, "former.db")
	w.here("store", "copy", "--from", "postgres:"+filepath.Join(w.dir, "former"), "--to", "bolt:"+former)
	w.here("restore", former)
	if got := stateOf(w.people()["alice"]); got != "inactive" {
		t.Errorf("after the former store was restored, alice is %s", got)
	}
	sqlAt(t, w.storeAt(), "DROP SCHEMA "+schema[1]+" CASCADE")
	w.here("store", "check")
}

// TestPostgres_RefusesAnOlderDatabase puts a database from before a change in the place of a newer one. The server refuses it,
// until its loss is accepted, or a backup is restored.
func TestPostgres_RefusesAnOlderDatabase(t *testing.T) {
	t.Parallel()
	postgrestest.SkipIfShort(t)
	w := newWorld(t)
	w.useDatabase(postgrestest.Start(t))
	s := w.start("--init")
	stage := w.settle(s)
	copied := filepath.Join(w.dir, "copy.backup")
	s.verb("backup", copied)
	s.shutDown()
	older := w.database.Clone(sqlURL(t, w.storeAt()))
	s = w.start()
	stage.server, stage.push = s, w.pusher(s)
	stage.push.hire("bob", "00000000-0000-4000-8000-00000000000b")
	s.verb("users", "suspend", stage.alice, "--reason", "left")
	s.shutDown()
	writeFile(t, w.dir, "secrets/postgres", []byte(older))
	for _, goOn := range [][]string{{"store", "accept-loss"}, {"restore", copied}} {
		w := w.copyWorld(t)
		w.refusedHere([]string{"serve"}, "is older than the audit record", "sallyport restore FILE", "sallyport store accept-loss")
		w.refusedHere([]string{"users", "list"}, "is older than the audit record")
		var out bytes.Buffer
		if code := w.runHere(&out, &out, "store", "check"); code != exitDenied || !strings.Contains(out.String(), "lacks changes that were acknowledged") {
			t.Errorf("the check exits with %d: %s", code, &out)
		}
		w.here(goOn...)
		w.refusedHere([]string{"store", "accept-loss"}, "nothing was done")
		w.here("store", "check")
		if got, want := stateOf(w.people()["alice"]), map[string]string{"store": "active", "restore": "suspended"}[goOn[0]]; got != want {
			t.Errorf("after %q, alice is %s", goOn, got)
		}
		s = w.start()
		if status := w.newBrowserWith(s, stage.browser).fetch("/"); status == http.StatusOK {
			t.Error("a session is valid after a loss")
		}
		s.shutDown()
		w.here("audit", "verify")
	}
}

// TestPostgres_NewerFormatIsUntouched: no command changes tables in a newer format, nor puts others in their place.
func TestPostgres_NewerFormatIsUntouched(t *testing.T) {
	t.Parallel()
	postgrestest.SkipIfShort(t)
	w := newWorld(t)
	at := w.useDatabase(postgrestest.Start(t))
	copied := w.backedUp()
	sqlAt(t, at, "UPDATE sallyport_meta SET format = 99")
	before := w.files()
	for _, args := range [][]string{{"serve"}, {"serve", "--init"}, {"init"}, {"users", "list"}, {"store", "check"}, {"store", "accept-loss"},
		{"backup", filepath.Join(w.dir, "other.backup")}, {"restore", copied}, {"restore", "--dry-run", copied}} {
		w.refusedHere(args, "its format is 99 and this version reads 1")
		if !slices.Equal(w.files(), before) {
			t.Fatalf("%q changed something", args)
		}
	}
}

// TestPostgres_InitMakesTables: once, and not over what is there.
func TestPostgres_InitMakesTables(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	at := w.useDatabase(postgrestest.Start(t))
	w.refusedHere([]string{"serve"}, "the database has no table", "serve --init")
	w.refusedHere([]string{"store", "check"}, "the database has no table")
	if dumpAt(t, at) != "" {
		t.Error("tables were made without --init")
	}
	if out := w.here("init"); !strings.Contains(out, "created an empty store at the database that") {
		t.Errorf("init says %s", out)
	}
	before := w.files()
	w.refusedHere([]string{"init"}, "already; nothing was done")
	if !slices.Equal(w.files(), before) {
		t.Error("init changed a store")
	}
	w.here("store", "check")
	copied := filepath.Join(w.dir, "copy.backup")
	w.here("backup", copied)
	w.lose("store")
	w.here("restore", copied)
	w.here("store", "check")
}

// TestPostgres_RestoreReadsOtherRecords loses the database: what another replica took away is in its audit record alone.
func TestPostgres_RestoreReadsOtherRecords(t *testing.T) {
	t.Parallel()
	postgrestest.SkipIfShort(t)
	f := newFleet(t, 2)
	w := f.world
	first, second := f.replicas[0], f.replicas[1]
	var old struct{ ID string }
	decode(t, first.verb("token", "create", "old", "-o", "json"), &old)
	copied := filepath.Join(w.dir, "copy.backup")
	first.verb("backup", copied)
	second.verb("token", "revoke", old.ID)
	second.verb("users", "suspend", f.alice, "--reason", "theft")
	second.shutDown()
	first.shutDown()
	w.lose("store")
	var out bytes.Buffer
	if code := w.runHere(&out, &out, "restore", "--dry-run", copied); code != exitOK || !strings.Contains(out.String(), "name each with --record") {
		t.Errorf("without the other record, the dry run says %s", &out)
	}
	other := filepath.Join(second.dir, "data/audit.jsonl")
	w.here("restore", copied, "--record", other)
	if got := stateOf(w.people()["alice"]); got != "suspended" {
		t.Errorf("alice is %s", got)
	}
	if got := w.tokens(); !slices.Equal(got, []string{"entra"}) {
		t.Errorf("the tokens are %q", got)
	}
}
