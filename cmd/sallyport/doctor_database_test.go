package main

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sallyport/config"
	"sallyport/store/postgres"
	"sallyport/store/postgres/postgrestest"
)

func TestDoctor_JudgesDatabases(t *testing.T) {
	good := postgres.Findings{Version: "15.7", Encrypted: true, Verified: true, Protocol: "TLSv1.3", Fsync: true, Tables: true, Revision: 9,
		Role:     postgres.Role{Name: "sallyport"},
		Replicas: []postgres.Replica{{Name: "replica-1", Running: true, Lease: 15 * time.Second, Renewed: time.Millisecond}}}
	replica := func(change func(*postgres.Replica)) func(*postgres.Findings) {
		return func(f *postgres.Findings) {
			other := good.Replicas[0]
			other.Name = "replica-2"
			change(&other)
			f.Replicas = []postgres.Replica{good.Replicas[0], other}
		}
	}
	for name, c := range map[string]struct {
		change             func(*postgres.Findings)
		check, state, text string
	}{
		"good":          {func(*postgres.Findings) {}, "database", stateOK, "revision 9"},
		"no_tables":     {func(f *postgres.Findings) { f.Tables = false }, "database", stateFail, "sallyport init"},
		"no_fsync":      {func(f *postgres.Findings) { f.Fsync = false }, "database", stateFail, "fsync = on"},
		"tls":           {func(*postgres.Findings) {}, "database TLS", stateOK, "TLSv1.3"},
		"unverified":    {func(f *postgres.Findings) { f.Verified = false }, "database TLS", stateWarn, "sslmode=verify-full"},
		"clear_text":    {func(f *postgres.Findings) { f.Verified, f.Encrypted = false, false }, "database TLS", stateWarn, "clear text"},
		"local":         {func(f *postgres.Findings) { f.Verified, f.Encrypted, f.Local = false, false, true }, "database TLS", stateOK, "on this machine"},
		"role":          {func(*postgres.Findings) {}, "database role", stateOK, "the rights that a server needs"},
		"lacking":       {func(f *postgres.Findings) { f.Role.Lacking = []string{"INSERT on sallyport_items"} }, "database role", stateFail, "lacks INSERT on sallyport_items"},
		"superuser":     {func(f *postgres.Findings) { f.Role.Excess = []string{"SUPERUSER"} }, "database role", stateWarn, "SUPERUSER"},
		"others":        {func(f *postgres.Findings) { f.Role.Others = []string{"PUBLIC"} }, "database role", stateWarn, "REVOKE"},
		"clock":         {func(f *postgres.Findings) { f.Ahead = -time.Second }, "database clock", stateOK, "1s"},
		"clock_off":     {func(f *postgres.Findings) { f.Ahead = -time.Minute }, "database clock", stateWarn, "NTP"},
		"clock_unknown": {func(f *postgres.Findings) { f.Ahead, f.Within = time.Minute, time.Minute }, "database clock", stateOK, "within 1m0s"},
		"replicas":      {replica(func(*postgres.Replica) {}), "replicas", stateOK, "replica-2 (0 revisions behind"},
		"none":          {func(f *postgres.Findings) { f.Replicas = nil }, "replicas", stateWarn, "no server uses the database"},
		"fenced":        {replica(func(r *postgres.Replica) { r.Running, r.Renewed = false, time.Minute }), "replicas", stateWarn, "not heard of: replica-2"},
		"silent":        {replica(func(r *postgres.Replica) { r.Renewed = 4 * time.Second }), "replicas", stateWarn, "not heard of: replica-2"},
		"behind":        {replica(func(r *postgres.Replica) { r.Behind = 5000 }), "replicas", stateWarn, "far behind: replica-2"},
		"other_lease":   {replica(func(r *postgres.Replica) { r.Lease = time.Minute }), "replicas", stateWarn, "another lease: replica-2"},
	} {
		t.Run(name, func(t *testing.T) {
			found := good
			c.change(&found)
			d := new(doctor)
			d.judgeDatabase(found)
			d.judgeDatabaseTLS(found)
			d.judgeDatabaseRole(found)
			d.judgeDatabaseClock(found)
			d.judgeReplicas(found, &config.Postgres{})
			d.demandResult(t, c.check, c.state, c.text)
		})
	}
}

// TestPostgres_DoctorAndBundle examine real databases: without tables, in use by a superuser, by a role with its rights and with
// less, and one that is away.
func TestPostgres_DoctorAndBundle(t *testing.T) {
	t.Parallel()
	database := postgrestest.Start(t, "password_encryption=scram-sha-256")
	w := newWorld(t)
	at := w.useDatabase(database)
	demand := func(check, state, text string) {
		t.Helper()
		out, _ := (&running{t: t, dir: w.dir}).try("doctor", "-o", "json")
		d := new(doctor)
		decodeJSON(t, out, &d.results)
		d.demandResult(t, check, state, text)
	}
	demand("database", stateFail, "has no tables of a store")
	w.here("init")
	s := w.start()
	demand("database", stateFail, "fsync switched off")
	demand("database role", stateWarn, "SUPERUSER")
	demand("database TLS", stateOK, "on this machine")
	demand("database clock", stateOK, "differs by")
	demand("replicas", stateOK, "0 revisions behind, lease 2s")
	s.shutDown()
	demand("replicas", stateWarn, "no server uses the database")

	sqlAt(t, at, "CREATE ROLE plain LOGIN PASSWORD 'hunter2hunter2'")
	sqlAt(t, at, "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO plain")
	url := sqlURL(t, at)
	writeFile(t, w.dir, "secrets/postgres", []byte(strings.Replace(url, "sallyport@", "plain:hunter2hunter2@", 1)))
	s = w.start()
	demand("database role", stateOK, "plain has the rights that a server needs")
	w.kill(s)
	owner := w.databaseAt(database, "owner")
	writeFile(t, w.dir, "owner", []byte(url))
	sqlAt(t, owner, "REVOKE INSERT ON sallyport_items FROM plain")
	demand("database role", stateFail, "plain lacks")
	demand("database role", stateFail, "INSERT on sallyport_items")
	for _, statement := range []string{"GRANT ALL ON ALL TABLES IN SCHEMA public TO plain", "CREATE ROLE auditor", "GRANT SELECT ON sallyport_items TO auditor", "GRANT SELECT ON sallyport_meta TO PUBLIC"} {
		sqlAt(t, owner, statement)
	}
	demand("database role", stateWarn, "PUBLIC")
	demand("database role", stateWarn, "auditor")

	path := filepath.Join(w.dir, "bundle.tar.gz")
	w.here("support-bundle", path)
	files := readBundle(t, path)
	if !strings.Contains(files["database.json"], `"version": "`) || !strings.Contains(files["doctor.json"], "auditor") {
		t.Errorf("the bundle has %s%s", files["database.json"], files["database.json.error"])
	}
	writeFile(t, w.dir, "secrets/postgres", []byte("postgres://plain:hunter2hunter2@127.0.0.1:1/x?sslmode=disable"))
	demand("database", stateFail, "check that the database runs")
	demand("database role", stateUnknown, "cannot be examined")
	away := filepath.Join(w.dir, "away.tar.gz")
	w.here("support-bundle", away)
	for _, bundle := range []string{path, away} {
		for name, text := range readBundle(t, bundle) {
			if strings.Contains(text, "hunter2") {
				t.Errorf("%s has the password:\n%s", name, text)
			}
		}
	}
}
