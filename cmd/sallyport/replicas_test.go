package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"sallyport/audit/audittest"
	"sallyport/store/postgres/postgrestest"
)

// fleet is a world whose servers, the replicas, use one real database. Each has a folder of its own.
type fleet struct {
	*stage
	database *postgrestest.Server
	replicas []*running
}

// newFleet starts replicas, and has Alice sign in by the first.
func newFleet(t *testing.T, count int) *fleet {
	t.Helper()
	f := startFleet(t, count)
	f.stage = f.settle(f.replicas[0])
	return f
}

// startFleet starts replicas, whose configuration the functions in configure have changed before.
func startFleet(t testing.TB, count int, configure ...func(*world)) *fleet {
	t.Helper()
	f := &fleet{database: postgrestest.Start(t)}
	w := newWorld(t)
	w.database = f.database
	f.stage = &stage{world: w}
	writeFile(t, w.dir, "secrets/postgres", []byte(f.database.Database()))
	w.rewrite("store: {bolt: {path: data/sallyport.db}}", "store: {postgres: {url_file: secrets/postgres, lease: 2s, replica: replica-1}}")
	folders := []string{w.dir}
	for number := 2; number <= count; number++ {
		folders = append(folders, w.copyFolder(number))
	}
	for _, dir := range folders {
		for _, change := range configure {
			change(&world{t: t, dir: dir, group: w.group, ca: w.ca})
		}
		f.replicas = append(f.replicas, start(t, dir, "--init"))
	}
	for _, r := range f.replicas {
		r.awaitReady(t)
	}
	return f
}

// copyFolder makes the folder of another replica, before any server has started.
func (w *world) copyFolder(number int) (dir string) {
	w.t.Helper()
	dir = w.t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(w.dir)); err != nil {
		w.t.Fatal(err)
	}
	other := world{t: w.t, dir: dir}
	other.rewrite("replica: replica-1", fmt.Sprintf("replica: replica-%d", number))
	w.t.Cleanup(func() { audittest.CheckRecord(w.t, filepath.Join(dir, "data", "audit.jsonl")) })
	return dir
}

// at returns the browser of Alice as if her next requests went to another replica.
func (f *fleet) at(replica *running) *stage {
	other := *f.stage
	b := f.world.newBrowser(replica)
	b.client.Jar = f.browser.client.Jar
	other.server, other.browser = replica, b
	return &other
}

func TestReplicas_ShareSessionsAndCutEverywhere(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 3)
	live := map[*stage][]liveRequest{}
	for _, r := range f.replicas {
		s := f.at(r)
		if status := s.browser.fetch("/"); status != http.StatusOK {
			t.Fatalf("a session of another replica gives %d", status)
		}
		live[s] = s.openAll(t)
	}
	f.push.setActive(f.alice, "False")
	for s, requests := range live {
		s.demandCut(t, requests, http.StatusForbidden)
	}
}
