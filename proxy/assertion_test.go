package proxy

import (
	"encoding/json"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"sallyport/directory"
	"sallyport/proxy/internal/assertion"
	"sallyport/session"
	"sallyport/store/bolt"
)

// TestAssertions_KeysAreShared checks that an assertion of one replica can be verified with the keys that another replica
// publishes, and after a restart.
func TestAssertions_KeysAreShared(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	openStore := func() *bolt.Store {
		st, err := bolt.Open(path, bolt.Options{Init: true})
		if err != nil {
			t.Fatal(err)
		}
		return st
	}
	replica := func(st *bolt.Store) *assertions {
		sessions, err := session.Open(t.Context(), st, session.Defaults(), slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		return newAssertions(sessions)
	}
	verify := func(name, signed string, published []byte) {
		t.Helper()
		var set jose.JSONWebKeySet
		if err := json.Unmarshal(published, &set); err != nil {
			t.Fatal(err)
		}
		parsed, err := jwt.ParseSigned(signed, []jose.SignatureAlgorithm{jose.ES256})
		if err != nil {
			t.Fatal(err)
		}
		keys := set.Key(parsed.Headers[0].KeyID)
		if len(keys) != 1 {
			t.Fatalf("%s: %d keys are published under the kid", name, len(keys))
		}
		var got assertion.Claims
		if err := parsed.Claims(keys[0].Key, &got); err != nil || got.Subject != "u1" {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	sign := func(a *assertions) string {
		return a.signer.Sign(assertion.Claims{Issuer: "https://login.example.com", Subject: "u1", Expires: time.Now().Add(time.Minute).Unix()})
	}

	st := openStore()
	a, b := replica(st), replica(st)
	before := sign(a)
	verify("signed by a, verified with the keys of b", before, b.signer.JWKS())
	verify("signed by b, verified with the keys of a", sign(b), a.signer.JWKS())
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	st = openStore()
	defer st.Close()
	restarted := replica(st)
	verify("signed before a restart", before, restarted.signer.JWKS())
	verify("signed after a restart", sign(restarted), a.signer.JWKS())
}

// TestAssertion_SaysWhoIsCalling checks signature, claims and reuse of assertions, and that the groups are those that the
// route's policy names.
func TestAssertion_SaysWhoIsCalling(t *testing.T) {
	w := newWorld(t, nil)
	w.addUser("dana", staff, admins)
	_, cookie := w.signIn("dana", appHost)
	c := w.client(true)
	sent := func() string {
		t.Helper()
		_, seen := w.get(c, "https://"+appHost+"/", "Cookie", cookie)
		for l := range strings.Lines(seen) {
			if rest, ok := strings.CutPrefix(l, "X-Sallyport-Assertion: "); ok {
				return strings.TrimSpace(rest)
			}
		}
		t.Fatalf("no assertion:\n%s", seen)
		return ""
	}
	_, text := w.get(c, "https://"+appHost+"/.sallyport/jwks.json")
	var keys jose.JSONWebKeySet
	w.must(json.Unmarshal([]byte(text), &keys))

	first := sent()
	parsed, err := jwt.ParseSigned(first, []jose.SignatureAlgorithm{jose.ES256})
	w.must(err)
	key := keys.Key(parsed.Headers[0].KeyID)
	if len(key) != 1 || key[0].Use != "sig" || !key[0].Valid() || !key[0].IsPublic() {
		t.Fatalf("keys %+v", keys)
	}
	var std jwt.Claims
	var own assertion.Claims
	w.must(parsed.Claims(key[0], &std, &own))
	u := w.user("dana")
	if std.Issuer != "https://"+loginHost || !slices.Equal(std.Audience, []string{"app"}) || std.Subject != u.ID || own.Email != u.Email ||
		own.UserName != u.UserName || !slices.Equal(own.Groups, []string{staff, admins}) || own.Expires-own.Issued != 60 {
		t.Errorf("%+v %+v", std, own)
	}
	if second := sent(); second != first {
		t.Error("an assertion was not reused although nothing changed")
	}
	w.update(func(tx *directory.Tx) error {
		d, err := tx.User(u.ID)
		if err != nil {
			return err
		}
		d.Document = []byte(`{"displayName":"Dana Doe","emails":[{"value":"dana.new@example.com"}]}`)
		return tx.PutUser(&d)
	})
	parsed, err = jwt.ParseSigned(sent(), []jose.SignatureAlgorithm{jose.ES256})
	w.must(err)
	w.must(parsed.Claims(key[0], &own))
	if own.Email != "dana.new@example.com" {
		t.Errorf("the assertion does not follow the directory: %+v", own)
	}
	t.Run("omits_groups_that_policy_does_not_name", func(t *testing.T) {
		w.update(func(tx *directory.Tx) error {
			g := directory.Group{ExternalID: "another", DisplayName: "Unrelated"}
			if err := tx.PutGroup(&g); err != nil {
				return err
			}
			_, err := tx.AddMembers(g.ID, []string{u.ID})
			return err
		})
		_, seen := w.get(c, "https://"+appHost+"/", "Cookie", cookie)
		if !strings.Contains(seen, "X-Forwarded-Groups: "+staff+","+admins+"\r\n") {
			t.Errorf("%s", seen)
		}
	})
}
