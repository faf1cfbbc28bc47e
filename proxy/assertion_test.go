package proxy

import (
	"encoding/json"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"sallyport/session"
	"sallyport/store/bolt"
)

// TestAssertions_AreVerifiedByEveryReplica signs with the keys of one replica and verifies with what another
// publishes, also after a restart.
func TestAssertions_AreVerifiedByEveryReplica(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	openStore := func() *bolt.Store {
		st, err := bolt.Open(path, bolt.Options{Init: true})
		if err != nil {
			t.Fatal(err)
		}
		return st
	}
	replica := func(st *bolt.Store) *assertions {
		sessions, err := session.Open(t.Context(), st, session.Defaults())
		if err != nil {
			t.Fatal(err)
		}
		return newAssertions(sessions)
	}
	verify := func(name, assertion string, published []byte) {
		t.Helper()
		var set jose.JSONWebKeySet
		if err := json.Unmarshal(published, &set); err != nil {
			t.Fatal(err)
		}
		parsed, err := jwt.ParseSigned(assertion, []jose.SignatureAlgorithm{jose.ES256})
		if err != nil {
			t.Fatal(err)
		}
		keys := set.Key(parsed.Headers[0].KeyID)
		if len(keys) != 1 {
			t.Fatalf("%s: %d keys are published under the kid", name, len(keys))
		}
		var got claims
		if err := parsed.Claims(keys[0].Key, &got); err != nil || got.Subject != "u1" {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	sign := func(a *assertions) string {
		return a.current().sign(claims{Issuer: "https://login.example.com", Subject: "u1", Expires: time.Now().Add(time.Minute).Unix()})
	}

	st := openStore()
	a, b := replica(st), replica(st)
	before := sign(a)
	verify("signed by one, verified with the other", before, b.jwks())
	verify("signed by the other, verified with the one", sign(b), a.jwks())
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	st = openStore()
	defer st.Close()
	again := replica(st)
	verify("signed before a restart", before, again.jwks())
	verify("signed after a restart", sign(again), a.jwks())
}
