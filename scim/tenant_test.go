package scim_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"sallyport/audit/audittest"
	"sallyport/directory"
	"sallyport/enforce"
	"sallyport/scim"
	"sallyport/store"
	"sallyport/store/bolt"
)

// serve returns a live SCIM server on a real store, and a token for it.
func serve(t testing.TB) (base, token string, d *tenant) {
	t.Helper()
	base, token, d, _ = serveWith(t, scim.Defaults())
	return base, token, d
}

func serveWith(t testing.TB, settings scim.Settings) (base, token string, d *tenant, server *scim.Server) {
	t.Helper()
	return serveFor(t, settings, nil)
}

// tenant is the directory and what SCIM keeps beside it, in one store.
type tenant struct {
	*directory.Directory
	*scim.Provisioning
}

func openTenant(t testing.TB, st store.Store) *tenant {
	t.Helper()
	d, err := directory.Open(context.Background(), st, "externalId")
	if err != nil {
		t.Fatal(err)
	}
	p, err := scim.Open(context.Background(), st, d)
	if err != nil {
		t.Fatal(err)
	}
	return &tenant{d, p}
}

// mint stores a new token and returns it with its text.
func (d *tenant) mint(name string, ttl time.Duration) (scim.Token, string, error) {
	t, text, err := scim.NewToken(name, ttl)
	if err != nil {
		return t, "", err
	}
	return t, text, d.AddToken(context.Background(), t)
}

// serveFor is serveWith that also accepts tokens of workloads.
func serveFor(t testing.TB, settings scim.Settings, workloads scim.Workloads) (base, token string, d *tenant, server *scim.Server) {
	t.Helper()
	return serveEnforced(t, settings, workloads, nil)
}

// serveEnforced is serveFor of one of several replicas.
func serveEnforced(t testing.TB, settings scim.Settings, workloads scim.Workloads, enforcer *enforce.Enforcer) (base, token string, d *tenant, server *scim.Server) {
	t.Helper()
	st, err := bolt.Open(filepath.Join(t.TempDir(), "store.db"), bolt.Options{Init: true})
	if err != nil {
		t.Fatal(err)
	}
	d = openTenant(t, st)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = d.Directory.Run(ctx) })
	running.Go(func() { _ = d.Provisioning.Run(ctx) })
	_, token, err = d.mint("test", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	server = scim.New(scim.Parts{Provisioning: d.Provisioning, Settings: settings, Workloads: workloads, Enforcer: enforcer,
		Log: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelError}))})
	listening := httptest.NewServer(server)
	serving, stop := context.WithCancel(ctx)
	logged := make(chan struct{})
	go func() { defer close(logged); _ = server.Run(serving) }()
	t.Cleanup(func() {
		listening.Close()
		stop()
		<-logged
		cancel()
		running.Wait()
		checkRecords(t, d)
		_ = st.Close()
	})
	return listening.URL + "/scim/v2", token, d, server
}

// checkRecords fails the test if a change was recorded in words that the catalogue of events does not have.
func checkRecords(t testing.TB, d *tenant) {
	t.Helper()
	for rec, err := range d.Records(context.Background(), 0) { // nothing waits for more: the directory does not run any more
		if errors.Is(err, directory.ErrStale) {
			return
		}
		if err != nil {
			t.Error(err)
			return
		}
		audittest.CheckEvent(t, rec.Event)
	}
}
