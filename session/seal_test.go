package session_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sallyport/session"
	"sallyport/store"
)

func TestSeal(t *testing.T) {
	h := open(t, session.Defaults(), "")
	plain := []byte(`{"state":"s","nonce":"n"}`)
	sealed, err := h.Seal("flow", login, plain, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	t.Run("is opened for its purpose and host", func(t *testing.T) {
		got, err := h.Unseal("flow", login, sealed)
		if err != nil || !bytes.Equal(got, plain) {
			t.Errorf("unsealed %q, %v", got, err)
		}
	})
	for name, attempt := range map[string][3]string{
		"another purpose":                  {"ticket", login, sealed},
		"another host":                     {"flow", app, sealed},
		"purpose and host split elsewhere": {"flowl", login[1:], sealed},
		"an empty text":                    {"flow", login, ""},
		"a part of it":                     {"flow", login, sealed[:20]},
		"a prefix":                         {"flow", login, "AAAA" + sealed},
		"a suffix":                         {"flow", login, sealed + "AAAA"},
		"a very long text":                 {"flow", login, strings.Repeat("A", 1<<20)},
		"a session cookie":                 {"flow", login, h.newToken(h.begin("u1").ID, login)},
		"invalid base64":                   {"flow", login, sealed[:10] + "=" + sealed[11:]},
	} {
		t.Run("is rejected for "+name, func(t *testing.T) {
			if _, err := h.Unseal(attempt[0], attempt[1], attempt[2]); !errors.Is(err, session.ErrSeal) {
				t.Errorf("Unseal: %v", err)
			}
		})
	}
	t.Run("is rejected with any bit flipped", func(t *testing.T) {
		raw, err := base64.RawURLEncoding.DecodeString(sealed)
		if err != nil {
			t.Fatal(err)
		}
		for i := range len(raw) * 8 {
			flipped := bytes.Clone(raw)
			flipped[i/8] ^= 1 << (i % 8)
			if _, err := h.Unseal("flow", login, base64.RawURLEncoding.EncodeToString(flipped)); !errors.Is(err, session.ErrSeal) {
				t.Fatalf("bit %d: %v", i, err)
			}
		}
	})
	t.Run("is rejected by another server", func(t *testing.T) {
		if _, err := open(t, session.Defaults(), "").Unseal("flow", login, sealed); !errors.Is(err, session.ErrSeal) {
			t.Errorf("Unseal: %v", err)
		}
	})
	t.Run("is opened after a restart", func(t *testing.T) {
		if _, err := h.restart(session.Defaults()).Unseal("flow", login, sealed); err != nil {
			t.Error(err)
		}
	})
	t.Run("differs each time", func(t *testing.T) {
		second, err := h.Seal("flow", login, plain, time.Minute)
		if err != nil || second == sealed {
			t.Errorf("the same value twice, or an error: %v", err)
		}
	})
	t.Run("is rejected if too large", func(t *testing.T) {
		if _, err := h.Seal("flow", login, make([]byte, 1<<20), time.Minute); err == nil {
			t.Error("sealed a megabyte")
		}
		const greatest = (32<<10)/4*3 - 4 - 16 - 12 - 8 - 16 // key id, salt, nonce, expiry, tag
		if _, err := h.Seal("flow", login, make([]byte, greatest+1), time.Minute); err == nil {
			t.Error("sealed more than 32 KiB")
		}
		sealed, err := h.Seal("flow", login, make([]byte, greatest), time.Minute)
		if err != nil || len(sealed) != 32<<10 {
			t.Fatalf("sealed %d characters: %v", len(sealed), err)
		}
		if got, err := h.Unseal("flow", login, sealed); err != nil || len(got) != greatest {
			t.Errorf("unsealed %d bytes: %v", len(got), err)
		}
	})
}

func TestSeal_Expires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, session.Defaults(), "")
		sealed, err := h.Seal("flow", login, nil, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute - time.Nanosecond)
		if _, err := h.Unseal("flow", login, sealed); err != nil {
			t.Errorf("before it expires: %v", err)
		}
		time.Sleep(time.Nanosecond)
		if _, err := h.Unseal("flow", login, sealed); !errors.Is(err, session.ErrSeal) {
			t.Errorf("when it expires: %v", err)
		}
		h.stop()
	})
}

// putSealingKey overwrites the sealing key in the store.
func (h *testSessions) putSealingKey(key []byte) {
	h.t.Helper()
	_, err := h.store.Update(context.Background(), func(w store.Writer) error { return w.Put([]byte("session/key"), key) })
	if err != nil {
		h.t.Fatal(err)
	}
}

func TestSealingKey_IsReplacedIfDamaged(t *testing.T) {
	for name, spoil := range map[string]func(*testSessions){
		"wrong length": func(h *testSessions) { h.putSealingKey([]byte("short")); h.stop() },
		"checksum":     func(h *testSessions) { h.stop(); damage(h.t, h.path, "session/key") },
	} {
		t.Run(name, func(t *testing.T) {
			h := open(t, session.Defaults(), "")
			before, err := h.Seal("flow", login, nil, time.Minute)
			if err != nil {
				t.Fatal(err)
			}
			spoil(h)
			h = open(t, session.Defaults(), h.path)
			if _, err := h.Unseal("flow", login, before); !errors.Is(err, session.ErrSeal) {
				t.Errorf("Unseal of a value that the damaged key sealed: %v", err)
			}
			after, err := h.Seal("flow", login, nil, time.Minute)
			if err != nil {
				t.Fatal(err)
			}
			h.stop()
			if log := h.log.String(); !strings.Contains(log, "damaged sealing key") {
				t.Errorf("the log is %q", log)
			}
			h = open(t, session.Defaults(), h.path)
			if _, err := h.Unseal("flow", login, after); err != nil {
				t.Errorf("Unseal after the next restart: %v", err)
			}
			h.stop()
			if log := h.log.String(); log != "" {
				t.Errorf("the log of a sound store is %q", log)
			}
		})
	}
}

func TestSealingKey_ReplicasFollowReplacement(t *testing.T) {
	withStore(t, func(t *testing.T, ctx context.Context, st store.Store) {
		running := replica(t, ctx, st, session.Defaults())
		old, err := running.Seal("flow", login, nil, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		h := &testSessions{t: t, store: st}
		h.putSealingKey([]byte("short"))
		synctest.Wait()
		if _, err := running.Unseal("flow", login, old); err != nil {
			t.Errorf("Unseal while the stored key is damaged: %v", err)
		}
		restarted := replica(t, ctx, st, session.Defaults()) // replaces the key
		synctest.Wait()
		for name, pair := range map[string][2]*session.Sessions{
			"of the running replica":   {running, restarted},
			"of the restarted replica": {restarted, running},
		} {
			sealed, err := pair[0].Seal("flow", login, nil, time.Minute)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := pair[1].Unseal("flow", login, sealed); err != nil {
				t.Errorf("Unseal of a value %s by the other: %v", name, err)
			}
		}
	})
}

// TestSealingKey_UnreadableStoreIsAnError: the key is replaced only if it is known to be damaged.
func TestSealingKey_UnreadableStoreIsAnError(t *testing.T) {
	withStore(t, func(t *testing.T, ctx context.Context, st store.Store) {
		unreadable := errors.New("the disk does not respond")
		_, err := session.Open(ctx, unreadableStore{st, unreadable}, session.Defaults(), slog.New(slog.DiscardHandler))
		if !errors.Is(err, unreadable) {
			t.Errorf("Open: %v", err)
		}
	})
}

// unreadableStore is a store in which no key can be read.
type unreadableStore struct {
	store.Store
	err error
}

func (u unreadableStore) Update(ctx context.Context, fn func(store.Writer) error) (store.Revision, error) {
	return u.Store.Update(ctx, func(w store.Writer) error { return fn(unreadableWriter{w, u.err}) })
}

type unreadableWriter struct {
	store.Writer
	err error
}

func (u unreadableWriter) Get([]byte) ([]byte, error) { return nil, u.err }

func FuzzUnseal(f *testing.F) {
	h := open(f, session.Defaults(), "")
	sealed, err := h.Seal("flow", login, []byte("plain"), time.Hour)
	if err != nil {
		f.Fatal(err)
	}
	f.Add("flow", login, sealed)
	f.Add("flow", login, "")
	f.Add("flo", "w"+login, sealed)
	f.Fuzz(func(t *testing.T, purpose, host, text string) {
		plain, err := h.Unseal(purpose, host, text)
		switch {
		case err != nil && !errors.Is(err, session.ErrSeal):
			t.Errorf("an error of another kind: %v", err)
		case err == nil && (purpose != "flow" || host != login || string(plain) != "plain"):
			t.Errorf("unsealed %q for %q on %q", plain, purpose, host)
		}
	})
}
