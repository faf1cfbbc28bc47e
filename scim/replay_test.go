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
	server := httptest.NewServer(scim.New(d, slog.New(slog.DiscardHandler), scim.Defaults()))
	t.Cleanup(func() { server.Close(); cancel(); <-done; _ = st.Close() })
	return server.URL + "/scim/v2", token, d
}
