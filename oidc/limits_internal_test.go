package oidc

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"
)

func TestAccountPrompt_FollowsMetadata(t *testing.T) {
	for want, lists := range map[string][][]string{"select_account": {nil, {}, {"select_account"}, {"none", "select_account"}}, "login": {{"none"}, {"login", "consent"}}} {
		for _, supported := range lists {
			if got := accountPrompt(supported); got != want {
				t.Errorf("for %q: %s, want %s", supported, got, want)
			}
		}
	}
}

func TestIsSecure_AcceptsPlainHTTPOnLoopbackAlone(t *testing.T) {
	for name, endpoints := range map[string]map[string]bool{
		"https://idp.example.com": {"https://idp.example.com/token": true, "http://idp.example.com/token": false, "http://127.0.0.1/token": false, "": false, "https://": false, "/token": false},
		"http://127.0.0.1:8080":   {"https://idp.example.com/token": true, "http://127.0.0.1:8080/token": true, "http://localhost/token": true, "http://idp.localhost/token": true, "http://[::1]/token": true, "http://idp.example.com/token": false, "http://10.0.0.1/token": false},
	} {
		p := &issuer{url: name}
		for endpoint, want := range endpoints {
			if got := p.isSecure(endpoint); got != want {
				t.Errorf("%q of %s: %t, want %t", endpoint, name, got, want)
			}
		}
	}
}

// TestKeys_AreUsedForADay: keys that could not be refreshed are used for keysMaxAge.
func TestKeys_AreUsedForADay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := &keys{fetched: time.Now()}
		time.Sleep(keysMaxAge - time.Nanosecond)
		if k.current().IsZero() || k.tooOld() {
			t.Error("they are too old before that")
		}
		time.Sleep(time.Nanosecond)
		if !k.current().IsZero() || !k.tooOld() {
			t.Error("they are used for longer")
		}
	})
}

func TestKeys_MayBeFetchedAgainAfterAnInterval(t *testing.T) {
	now := time.Now()
	for since, want := range map[time.Duration]bool{minRefreshInterval - 1: false, minRefreshInterval: true} {
		if got := (&keys{tried: now.Add(-since)}).mayFetch(now); got != want {
			t.Errorf("after %s: %t, want %t", since, got, want)
		}
	}
}

// TestKeys_RememberMissingIDs: only so many, and none that is too long.
func TestKeys_RememberMissingIDs(t *testing.T) {
	k := &keys{missing: map[string]bool{}}
	k.rememberMissing(strings.Repeat("a", maxKeyID+1))
	if len(k.missing) != 0 {
		t.Error("an id that is too long is remembered")
	}
	k.rememberMissing(strings.Repeat("a", maxKeyID))
	if len(k.missing) != 1 {
		t.Error("an id that is just short enough is not remembered")
	}
	for i := range 2 * maxMissing {
		k.rememberMissing(fmt.Sprint(i))
	}
	if len(k.missing) != maxMissing {
		t.Errorf("%d ids are remembered, want %d", len(k.missing), maxMissing)
	}
}

func TestReadKeys_BoundsTheirNumber(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	var set jose.JSONWebKeySet
	for i := range maxKeys + 1 {
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: key.Public(), KeyID: fmt.Sprint(i), Use: "sig", Algorithm: "ES256"})
		if i+1 < maxKeys {
			continue
		}
		data, err := json.Marshal(set)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := readKeys(data); (err == nil) != (i+1 == maxKeys) {
			t.Errorf("%d keys: %v", i+1, err)
		}
	}
}

func TestReadSecret_BoundsItsLength(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	for length, ok := range map[int]bool{4096: true, 4097: false} {
		if err := os.WriteFile(path, []byte(strings.Repeat("a", length)), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := readSecret(path); (err == nil) != ok {
			t.Errorf("%d characters: %v", length, err)
		}
	}
}

func TestBearerIssuer_ChecksItsUserClaim(t *testing.T) {
	for claim, want := range map[string]bool{"": false, "oid": false, "email": true} {
		found := false
		s := Defaults()
		s.BearerIssuers = []BearerIssuer{{Issuer: "https://other.example.com", Audiences: []string{"api"}, UserClaim: claim}}
		s.Check(func(path, _ string) { found = found || path == "bearer_issuers[0].user_claim" })
		if found != want {
			t.Errorf("%q is a fault: %t, want %t", claim, found, want)
		}
	}
}

// TestStronger_Check: each claim that is asked for must have one of the values.
func TestStronger_Check(t *testing.T) {
	id := Identity{ACR: "high", AMR: []string{"pwd", "mfa"}, Contexts: []string{"c1"}}
	for name, c := range map[string]struct {
		wanted Stronger
		ok     bool
	}{
		"nothing":          {Stronger{}, true},
		"all":              {Stronger{[]string{"low", "high"}, []string{"mfa"}, []string{"c1", "c2"}}, true},
		"another_acr":      {Stronger{ACR: []string{"low"}}, false},
		"another_amr":      {Stronger{AMR: []string{"hwk"}}, false},
		"another_context":  {Stronger{Contexts: []string{"c2"}}, false},
		"one_of_two_lists": {Stronger{ACR: []string{"high"}, AMR: []string{"hwk"}}, false},
	} {
		if err := c.wanted.check(id); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestClaims_BoundsOfStrength(t *testing.T) {
	many := make([]any, maxStrengthValues+1)
	for i := range many {
		many[i] = fmt.Sprint(i)
	}
	long := strings.Repeat("a", maxStrengthValue+1)
	c := &claims{all: map[string]any{"acr": long[1:], "long": long, "number": 1.0, "many": many, "mixed": []any{"a", 1.0, long, "b"}, "one": "mfa"}}
	if c.short("acr") == "" || c.short("long") != "" || c.short("number") != "" || c.short("none") != "" {
		t.Error("a claim is read wrongly")
	}
	for name, want := range map[string]int{"many": maxStrengthValues, "mixed": 2, "one": 1, "none": 0, "number": 0} {
		if got := c.list(name); len(got) != want {
			t.Errorf("%s has %d values, want %d", name, len(got), want)
		}
	}
}
