package main

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"sallyport/store/postgres/postgrestest"
)

// TestPostgres_OneProcessWritesTheRecord: a database does not keep a second process from the audit record of a server.
func TestPostgres_OneProcessWritesTheRecord(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.useDatabase(postgrestest.Start(t))
	s := w.start("--init")
	refusal := "audit record " + filepath.Join(w.dir, "data/audit.jsonl")
	w.refusedHere([]string{"serve"}, "held by another process", refusal)
	for _, verb := range [][]string{{"store", "check"}, {"store", "accept-loss"}} {
		w.refusedHere(verb, "stop the server first")
	}
	s.verb("token", "list") // by the server
	s.kill()
	w.here("token", "list")
	s = w.start()
	s.shutDown()
	w.here("store", "check")
	w.here("audit", "verify")
	var out, errs bytes.Buffer
	if code := w.runHere(&out, &errs, "store", "accept-loss"); code != exitError || !strings.Contains(errs.String(), "nothing was done") {
		t.Errorf("without a loss, accept-loss says %s%s", &out, &errs)
	}
}
