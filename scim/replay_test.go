package scim_test

import (
	"context"
	"log/slog"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"sallyport/directory"
	"sallyport/scim"
	"sallyport/store/bolt"
)

// serve is a live SCIM server on a real store, and a token for it.
func serve(t testing.TB) (base, token string, d *directory.Directory) {
	t.Helper()
	base, token, d, _ = serveWith(t, scim.Defaults())
	return base, token, d
}

func serveWith(t testing.TB, settings scim.Settings) (base, token string, d *directory.Directory, server *scim.Server) {
	t.Helper()
	return serveFor(t, settings, nil)
}

// serveFor is serveWith that also takes tokens of workloads.
func serveFor(t testing.TB, settings scim.Settings, workloads scim.Workloads) (base, token string, d *directory.Directory, server *scim.Server) {
	t.Helper()
	st, err := bolt.Open(filepath.Join(t.TempDir(), "store.db"), bolt.Options{Init: true})
	if err != nil {
		t.Fatal(err)
	}
	d, err = directory.Open(context.Background(), st, "externalId")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = d.Run(ctx) }()
	_, token, err = scim.Mint(ctx, d, "test", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	server = scim.New(d, slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelError})), settings, workloads)
	listening := httptest.NewServer(server)
	running, stop := context.WithCancel(ctx)
	logged := make(chan struct{})
	go func() { defer close(logged); _ = server.Run(running) }()
	t.Cleanup(func() {
		listening.Close()
		stop()
		<-logged
		cancel()
		<-done
		_ = st.Close()
	})
	return listening.URL + "/scim/v2", token, d, server
}
