package scim_test

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"sallyport/scim"
	"sallyport/store"
	"sallyport/store/bolt"
	"sallyport/store/storetest"
)

// storeWith returns a new store with these records.
func storeWith(t *testing.T, records map[string]string) store.Store {
	t.Helper()
	st, err := bolt.Open(filepath.Join(t.TempDir(), "store.db"), bolt.Options{Init: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	_, err = st.Update(t.Context(), func(w store.Writer) error {
		for key, value := range records {
			if err := w.Put([]byte(key), []byte(value)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// TestOpen_ReadsExistingLayout: the keys and the JSON of existing databases, written here byte by byte, are read as they
// always were.
func TestOpen_ReadsExistingLayout(t *testing.T) {
	const text = "sallyport_scim_" + "0123456789012345678901234567890123456789012" + "abcdef"
	token, user, other := "000102030405060708090a0b0c0d0e0f", "101112131415161718191a1b1c1d1e1f", "202122232425262728292a2b2c2d2e2f"
	number := func(n uint64) string { return string(binary.BigEndian.AppendUint64(nil, n)) }
	raw := func(id string) string { data, _ := hex.DecodeString(id); return string(data) }
	now := time.Now().UTC()
	st := storeWith(t, map[string]string{
		"token/" + raw(token): fmt.Sprintf(`{"id":%q,"name":"entra","digest":%s,"created":"2026-01-02T03:04:05Z","expires":"2126-01-02T03:04:05Z","lastUsed":"2026-02-03T04:05:06Z"}`,
			token, digestOf(text)),
		"held/" + raw(user):                             fmt.Sprintf(`{"id":%q,"userName":"ann@example.com","since":"2026-03-04T05:06:07Z"}`, user),
		"held/" + raw(other):                            fmt.Sprintf(`{"id":%q,"userName":"bob@example.com","since":"2026-03-04T05:06:07Z","rejected":"2026-03-05T05:06:07Z"}`, other),
		"left/" + number(uint64(now.UnixNano())) + user: "",
		"exchange/" + number(0):                         `{"time":"2026-04-05T06:07:08Z","token":"entra","method":"GET","target":"/Users","code":200,"milliseconds":1.5}`,
		"exchange/" + number(1):                         `{"time":"2026-04-05T06:07:09Z","token":"entra","method":"POST","target":"/Users","code":201,"milliseconds":2.5,"quirks":{"op_case":1},"resource":"x","changes":["userName"]}`,
		"count/exchanges":                               "2",
		"secret/cursor":                                 "0123456789abcdef0123456789abcdef",
	})
	d := openTenant(t, st)
	tokens, err := d.Tokens(t.Context())
	if err != nil || len(tokens) != 1 || tokens[0].ID != token || tokens[0].Name != "entra" || tokens[0].Expires.Year() != 2126 || tokens[0].LastUsed.Month() != time.February {
		t.Errorf("tokens are %+v, %v", tokens, err)
	}
	holds, err := d.Holds(t.Context())
	if err != nil || len(holds) != 2 || holds[0].UserName != "ann@example.com" || !holds[0].Pending() || holds[1].Pending() {
		t.Errorf("holds are %+v, %v", holds, err)
	}
	log, err := d.Log(t.Context(), 10)
	if err != nil || len(log) != 2 || log[0].Code != 201 || !slices.Equal(log[0].QuirkNames(), []string{"op_case"}) || log[1].Milliseconds != 1.5 {
		t.Errorf("the log is %+v, %v", log, err)
	}
	secret, err := d.Secret(t.Context(), "cursor")
	if err != nil || string(secret) != "0123456789abcdef0123456789abcdef" {
		t.Errorf("the key of cursors is %q, %v", secret, err)
	}
	if n, err := d.Deactivations(t.Context(), now.Add(-time.Minute)); n != 1 || err != nil {
		t.Errorf("%d deactivations are counted, %v", n, err)
	}
	if n, err := d.Deactivations(t.Context(), now.Add(time.Minute)); n != 0 || err != nil {
		t.Errorf("%d deactivations are counted in the future, %v", n, err)
	}
	running(t, d)
	server := scim.New(scim.Parts{Provisioning: d.Provisioning, Log: slog.New(slog.DiscardHandler)})
	w := httptest.NewRecorder()
	server.ServeHTTP(w, newRequest(text, "GET", "/scim/v2/Users", ""))
	if w.Code != http.StatusOK {
		t.Errorf("the token: status %d", w.Code)
	}
}

// running runs what follows the store until stop is called, or the test ends.
func running(t *testing.T, d *tenant) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	directoryDone, provisioningDone := make(chan struct{}), make(chan struct{})
	go func() { defer close(directoryDone); _ = d.Directory.Run(ctx) }()
	go func() { defer close(provisioningDone); _ = d.Provisioning.Run(ctx) }()
	stop = func() { cancel(); <-directoryDone; <-provisioningDone }
	t.Cleanup(stop)
	return stop
}

// TestServer_RejectsAllWithoutCurrentTokens: once memory no longer follows the store, a token in it may have been
// revoked.
func TestServer_RejectsAllWithoutCurrentTokens(t *testing.T) {
	d := openTenant(t, storeWith(t, nil))
	stop := running(t, d)
	_, text, err := d.mint("test", 0)
	if err != nil {
		t.Fatal(err)
	}
	server := scim.New(scim.Parts{Provisioning: d.Provisioning, Log: slog.New(slog.DiscardHandler)})
	get := func(token string) int {
		w := httptest.NewRecorder()
		server.ServeHTTP(w, newRequest(token, "GET", "/scim/v2/Schemas", ""))
		return w.Code
	}
	if code := get(text); code != http.StatusOK {
		t.Errorf("before, the token: status %d", code)
	}
	stop()
	for name, token := range map[string]string{"valid": text, "invalid": "wrong"} {
		if code := get(token); code != http.StatusServiceUnavailable {
			t.Errorf("afterwards, the %s token: status %d", name, code)
		}
	}
}

// TestOpen_RefusesDamage in a record without which a decision could be wrong; a damaged token lets nobody in.
func TestOpen_RefusesDamage(t *testing.T) {
	for prefix, refused := range map[string]bool{"held/": true, "left/": true, "secret/": true, "token/": false, "exchange/": false} {
		t.Run(prefix, func(t *testing.T) {
			damaged := storetest.ScanYields{Store: storeWith(t, nil), Prefix: prefix, Entry: store.Entry{Key: []byte(prefix + "0123456789abcdef")}, Err: store.ErrDamaged}
			_, err := scim.Open(t.Context(), damaged, nil)
			if got := errors.Is(err, store.ErrDamaged); got != refused {
				t.Errorf("Open gives %v", err)
			}
		})
	}
}

// digestOf returns the SHA-256 of text as JSON.
func digestOf(text string) string {
	data, _ := json.Marshal(sha256.Sum256([]byte(text)))
	return string(data)
}
