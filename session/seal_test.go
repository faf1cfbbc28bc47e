package session_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sallyport/session"
)

func TestSeal(t *testing.T) {
	h := open(t, session.Defaults(), "")
	plain := []byte(`{"state":"s","nonce":"n"}`)
	sealed, err := h.Seal("flow", login, plain, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	t.Run("opens for its purpose and host", func(t *testing.T) {
		got, err := h.Unseal("flow", login, sealed)
		if err != nil || !bytes.Equal(got, plain) {
			t.Errorf("unsealed %q, %v", got, err)
		}
	})
	for name, try := range map[string][3]string{
		"another purpose":             {"ticket", login, sealed},
		"another host":                {"flow", app, sealed},
		"parts split otherwise":       {"flowl", login[1:], sealed},
		"nothing":                     {"flow", login, ""},
		"a stretch of it":             {"flow", login, sealed[:20]},
		"something before it":         {"flow", login, "AAAA" + sealed},
		"something after it":          {"flow", login, sealed + "AAAA"},
		"something very long":         {"flow", login, strings.Repeat("A", 1<<20)},
		"a cookie of a session":       {"flow", login, h.grant(h.begin("u1").ID, login)},
		"what base64 does not accept": {"flow", login, sealed[:10] + "=" + sealed[11:]},
	} {
		t.Run("stays shut for "+name, func(t *testing.T) {
			if _, err := h.Unseal(try[0], try[1], try[2]); !errors.Is(err, session.ErrSeal) {
				t.Errorf("unsealed: %v", err)
			}
		})
	}
	t.Run("stays shut with any bit flipped", func(t *testing.T) {
		raw, err := base64.RawURLEncoding.DecodeString(sealed)
		if err != nil {
			t.Fatal(err)
		}
		for i := range len(raw) * 8 {
			bent := bytes.Clone(raw)
			bent[i/8] ^= 1 << (i % 8)
			if _, err := h.Unseal("flow", login, base64.RawURLEncoding.EncodeToString(bent)); !errors.Is(err, session.ErrSeal) {
				t.Fatalf("bit %d: %v", i, err)
			}
		}
	})
	t.Run("does not open in another house", func(t *testing.T) {
		if _, err := open(t, session.Defaults(), "").Unseal("flow", login, sealed); !errors.Is(err, session.ErrSeal) {
			t.Errorf("unsealed: %v", err)
		}
	})
	t.Run("opens after a restart", func(t *testing.T) {
		if _, err := h.again(session.Defaults()).Unseal("flow", login, sealed); err != nil {
			t.Error(err)
		}
	})
	t.Run("is never twice the same", func(t *testing.T) {
		again, err := h.Seal("flow", login, plain, time.Minute)
		if err != nil || again == sealed {
			t.Errorf("sealed alike: %v", err)
		}
	})
	t.Run("refuses what no cookie could hold", func(t *testing.T) {
		if _, err := h.Seal("flow", login, make([]byte, 1<<20), time.Minute); err == nil {
			t.Error("sealed a megabyte")
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
			t.Errorf("before its time: %v", err)
		}
		time.Sleep(time.Nanosecond)
		if _, err := h.Unseal("flow", login, sealed); !errors.Is(err, session.ErrSeal) {
			t.Errorf("at its time: %v", err)
		}
		h.stop()
	})
}

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
