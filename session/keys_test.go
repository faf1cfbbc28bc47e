package session_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	bbolt "go.etcd.io/bbolt"

	"sallyport/session"
	"sallyport/store"
)

// signingKey returns the key that s signs with now.
func signingKey(s *session.Sessions) *session.SigningKey {
	current, _ := s.SigningKeys()
	return current
}

func isPublished(s *session.Sessions, key *session.SigningKey) bool {
	_, published := s.SigningKeys()
	return slices.ContainsFunc(published, func(k *session.SigningKey) bool { return k.Private.Equal(key.Private) })
}

func TestSigningKeys_SurviveRestart(t *testing.T) {
	h := open(t, session.Defaults(), "")
	before := signingKey(h.Sessions)
	if h = h.restart(session.Defaults()); !signingKey(h.Sessions).Private.Equal(before.Private) {
		t.Error("a restart made another key")
	}
}

func TestSigningKeys_AreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, session.Defaults(), "")
		other := replica(t, t.Context(), h.store, session.Defaults())
		for range 200 { // both rotate keys, up to a minute apart
			for _, pair := range [][2]*session.Sessions{{h.Sessions, other}, {other, h.Sessions}} {
				if !isPublished(pair[1], signingKey(pair[0])) {
					t.Fatal("a replica signs with a key that the other does not publish")
				}
			}
			time.Sleep(20 * time.Minute)
		}
		synctest.Wait()
		h.stop()
	})
}

func TestSigningKeys_Rotate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, session.Defaults(), "")
		first := signingKey(h.Sessions)
		step := func(after time.Duration, wantCurrent *session.SigningKey, wantPublished int) {
			t.Helper()
			time.Sleep(time.Until(first.Made.Add(after)))
			synctest.Wait()
			current, published := h.SigningKeys()
			if wantCurrent != nil && current != wantCurrent {
				t.Errorf("after %s another key signs", after)
			}
			if len(published) != wantPublished || !slices.Contains(published, current) {
				t.Errorf("after %s %d keys are published, want %d", after, len(published), wantPublished)
			}
		}
		step(12*time.Hour, first, 1)
		step(24*time.Hour-time.Second, first, 1)
		step(24*time.Hour+time.Minute, first, 2) // the next key is published but does not sign yet
		_, published := h.SigningKeys()
		second := published[1]
		change := second.Made.Add(time.Hour).Sub(first.Made) // when the second key begins to sign
		step(change-time.Second, first, 2)
		step(change, second, 2) // assertions of the first key can still be verified
		step(change+time.Hour-time.Second, second, 2)
		step(change+time.Hour, second, 1)
		step(change+time.Hour+time.Minute, second, 1)
		if n := h.countKeys("signing/"); n != 1 {
			t.Errorf("%d keys are stored, want 1", n)
		}
		step(6*24*time.Hour+12*time.Hour, nil, 1)
		if n := h.countKeys("signing/"); n != 1 {
			t.Errorf("%d keys are stored after 6 days, want 1", n)
		}
		h.stop()
	})
}

func TestSigningKeys_SignForAnHourAfterLongDowntime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, session.Defaults(), "")
		first := signingKey(h.Sessions)
		h.stop()
		time.Sleep(30 * 24 * time.Hour)
		h = open(t, session.Defaults(), h.path)
		if _, published := h.SigningKeys(); !signingKey(h.Sessions).Private.Equal(first.Private) || len(published) != 2 {
			t.Errorf("%d keys are published", len(published))
		}
		time.Sleep(time.Hour)
		if signingKey(h.Sessions).Private.Equal(first.Private) {
			t.Error("the old key still signs")
		}
		h.stop()
	})
}

// damage changes the first record under prefix, but not its checksum.
func damage(t testing.TB, path, prefix string) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		data := tx.Bucket([]byte("data"))
		key, value := data.Cursor().Seek([]byte(prefix))
		if !bytes.HasPrefix(key, []byte(prefix)) {
			t.Fatalf("no key begins with %s", prefix)
		}
		damaged := bytes.Clone(value)
		damaged[len(damaged)-1] ^= 1
		return data.Put(bytes.Clone(key), damaged)
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestSigningKeys_DamagedAreReplaced(t *testing.T) {
	t.Run("checksum", func(t *testing.T) {
		h := open(t, session.Defaults(), "")
		before := signingKey(h.Sessions)
		h.stop()
		damage(t, h.path, "signing/")
		h = open(t, session.Defaults(), h.path)
		if signingKey(h.Sessions).Private.Equal(before.Private) || h.countKeys("signing/") != 1 {
			t.Error("the damaged key is still there")
		}
		h.stop()
		if log := h.log.String(); !strings.Contains(log, "damaged signing keys") || !strings.Contains(log, "count=1") {
			t.Errorf("the log is %q", log)
		}
	})
	for name, value := range map[string]string{
		"no JSON":     `{`,
		"no key":      `{"made":"2026-01-01T00:00:00Z"}`,
		"no PKCS #8":  `{"made":"2026-01-01T00:00:00Z","pkcs8":"AAAA"}`,
		"another key": `{"made":"2026-01-01T00:00:00Z","pkcs8":"MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g"}`, // Ed25519
	} {
		t.Run(name, func(t *testing.T) {
			h := open(t, session.Defaults(), "")
			good := signingKey(h.Sessions)
			_, err := h.store.Update(t.Context(), func(w store.Writer) error {
				return errors.Join(w.Put([]byte("signing/00"), []byte(value)), w.Put([]byte("signing/01"), []byte(value)))
			})
			if err != nil {
				t.Fatal(err)
			}
			h.begin("u1") // when it returns, memory has every earlier change
			if current, published := h.SigningKeys(); current != good || len(published) != 1 {
				t.Errorf("%d keys are published beside damaged ones", len(published))
			}
			h = h.restart(session.Defaults())
			if !signingKey(h.Sessions).Private.Equal(good.Private) || h.countKeys("signing/") != 1 {
				t.Error("a damaged record is still there, or the good key is not")
			}
		})
	}
}

func TestSigningKeys_LastStaysInMemory(t *testing.T) {
	h := open(t, session.Defaults(), "")
	before := signingKey(h.Sessions)
	if _, err := h.store.Update(t.Context(), session.Clear); err != nil {
		t.Fatal(err)
	}
	h.begin("u1") // when it returns, memory has every earlier change
	if signingKey(h.Sessions) != before {
		t.Error("the key changed")
	}
	if h = h.restart(session.Defaults()); signingKey(h.Sessions).Private.Equal(before.Private) {
		t.Error("a key from before Clear still signs")
	}
}

func TestSigningKey_IsNotPrinted(t *testing.T) {
	h := open(t, session.Defaults(), "")
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		if text := fmt.Sprintf(format, signingKey(h.Sessions)); text != "[secret]" {
			t.Errorf("%s prints %s", format, text)
		}
	}
}
