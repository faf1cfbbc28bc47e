package main

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"sallyport/store/postgres/postgrestest"
)

// TestReplicas_AreReadyUntilTheLeaseRunsOut demands that a replica whose database is away stays ready for as long as it decides: load
// balancers would stop sending to all replicas at once otherwise, although each of them serves everybody who is signed in.
func TestReplicas_AreReadyUntilTheLeaseRunsOut(t *testing.T) {
	t.Parallel()
	postgrestest.SkipIfShort(t)
	database := postgrestest.Start(t)
	w := newWorld(t)
	writeFile(t, w.dir, "secrets/postgres", []byte(database.Database()))
	w.rewrite("store: {bolt: {path: data/sallyport.db}}", "store: {postgres: {url_file: secrets/postgres, lease: 5s}}")
	r := start(t, w.dir, "--init")
	r.awaitReady(t)
	s := w.settle(r)
	database.Stop()
	for deadline := time.Now().Add(time.Minute); ; {
		status, body := r.readiness(t)
		if status != http.StatusOK {
			t.Fatalf("/readyz is %d %q while the lease runs", status, body)
		}
		if strings.Contains(body, "cannot be reached") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("/readyz does not tell that the database is away: %q", body)
		}
	}
	if status := s.browser.fetch("/"); status != http.StatusOK {
		t.Errorf("a request while the lease runs gives %d", status)
	}
	awaitStatus(t, http.StatusServiceUnavailable, func() int { status, _ := r.readiness(t); return status })
	if status := s.browser.fetch("/"); status != http.StatusServiceUnavailable {
		t.Errorf("a request after the lease gives %d", status)
	}
	database.Start()
	r.awaitReady(t)
	if status := s.browser.fetch("/"); status != http.StatusOK {
		t.Errorf("a request after the database is back gives %d", status)
	}
}
