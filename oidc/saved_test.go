package oidc_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"sallyport/entratest"
	"sallyport/oidc"
)

// keyStore is a store of keys that outlives providers.
type keyStore struct {
	mu    sync.Mutex
	saved map[string][]byte
	full  bool // nothing can be saved
}

func (s *keyStore) LoadKeys(_ context.Context, issuer string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.saved[issuer], nil
}

func (s *keyStore) SaveKeys(_ context.Context, issuer string, data []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.full {
		return errors.New("the store is full")
	}
	s.saved[issuer] = data
	return nil
}

// change replaces what is saved.
func (s *keyStore) change(f func(issuer string, data []byte) (string, []byte)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := map[string][]byte{}
	for issuer, data := range s.saved {
		issuer, data = f(issuer, data)
		next[issuer] = data
	}
	s.saved = next
}

// restart ends the provider with stop, and starts another with the same store, which has a minute to reach the issuer.
func (l *offline) restart(stop func(), store *keyStore) (stopNext func()) {
	l.t.Helper()
	stop()
	l.newProvider(foundText)
	l.Through(l)
	l.KeepKeys(store)
	stopNext = l.start()
	advance(time.Minute)
	return stopNext
}

// begun starts a provider with a new store, and ends it once it has the keys.
func (l *offline) begun() (store *keyStore, stop func()) {
	store = &keyStore{saved: map[string][]byte{}}
	l.KeepKeys(store)
	stop = l.start()
	advance(time.Second)
	return store, stop
}

// TestKeepKeys_SurvivesRestartWithoutProvider: bearer tokens are accepted after a restart while the provider is down. What
// needs the provider is "could not tell", and a day after the fetch the keys no longer count.
func TestKeepKeys_SurvivesRestartWithoutProvider(t *testing.T) {
	inFakeTime(t, func(t *testing.T, l *offline) {
		store, stop := l.begun()
		l.set(true, false)
		advance(20 * time.Hour)
		l.restart(stop, store)
		id, got := l.bearer(l.accessToken())
		if got != "" || id.Subject == "" {
			t.Fatalf("after a restart gives %q", got)
		}
		if err := l.Check(&id, ""); err != nil {
			t.Errorf("the key gives %v", err)
		}
		if l.Cached(l.accessToken()) != nil {
			t.Error("a token that was not verified is cached")
		}
		if _, got := l.bearer(entratest.Garbage("new", entratest.Claims{})); got != unknown {
			t.Errorf("a key that may be new gives %q", got)
		}
		if _, err := l.signInHere(); reasonOf(err) != unknown {
			t.Errorf("a login gives %v", err)
		}
		advance(4 * time.Hour)
		if _, got := l.bearer(l.accessToken()); got != unknown || reasonOf(l.Check(&id, "")) != unknown {
			t.Errorf("a day after the fetch gives %q", got)
		}
	})
}

// TestKeepKeys_WithdrawnKeyStaysWithdrawn, whether the provider told that before the restart or after it.
func TestKeepKeys_WithdrawnKeyStaysWithdrawn(t *testing.T) {
	t.Run("before", func(t *testing.T) {
		inFakeTime(t, func(t *testing.T, l *offline) {
			store, stop := l.begun()
			token := l.accessToken()
			l.entra.Rotate()
			l.entra.Withdraw()
			advance(10 * time.Minute)
			l.set(true, false)
			l.restart(stop, store)
			if _, got := l.bearer(token); got != unknown {
				t.Errorf("its token gives %q", got)
			}
			if _, got := l.bearer(l.accessToken()); got != "" {
				t.Errorf("a token of the other key gives %q", got)
			}
		})
	})
	t.Run("meanwhile", func(t *testing.T) {
		inFakeTime(t, func(t *testing.T, l *offline) {
			store, stop := l.begun()
			token := l.accessToken()
			l.entra.Rotate()
			l.entra.Withdraw()
			l.restart(stop, store)
			if _, got := l.bearer(token); got != oidc.KeyUnknown {
				t.Errorf("its token gives %q", got)
			}
		})
	})
	t.Run("after", func(t *testing.T) {
		inFakeTime(t, func(t *testing.T, l *offline) {
			store, stop := l.begun()
			token := l.accessToken()
			l.set(true, false)
			l.restart(stop, store)
			id, got := l.bearer(token)
			if got != "" {
				t.Fatal(got)
			}
			changed := l.Changed()
			l.entra.Rotate()
			l.entra.Withdraw()
			l.set(false, false)
			advance(2 * time.Minute)
			select {
			case <-changed:
			default:
				t.Error("the withdrawal is not told")
			}
			if got := reasonOf(l.Check(&id, "")); got != oidc.KeyUnknown {
				t.Errorf("the key gives %q", got)
			}
			if _, got := l.bearer(token); got != oidc.KeyUnknown {
				t.Errorf("its token gives %q", got)
			}
		})
	})
}

// TestKeepKeys_FetchFails: the metadata can be read after a restart, and the keys cannot.
func TestKeepKeys_FetchFails(t *testing.T) {
	inFakeTime(t, func(t *testing.T, l *offline) {
		store, stop := l.begun()
		l.override(published()) // a set without a usable key
		l.restart(stop, store)
		if _, got := l.bearer(l.accessToken()); got != "" {
			t.Errorf("gives %q", got)
		}
	})
}

// TestKeepKeys_RejectsOtherRecords: what is in the store is used only if it is what was saved, for this issuer, and lately.
func TestKeepKeys_RejectsOtherRecords(t *testing.T) {
	replace := func(old, new string) func(string, []byte) (string, []byte) {
		return func(issuer string, data []byte) (string, []byte) {
			return issuer, []byte(strings.Replace(string(data), old, new, 1))
		}
	}
	for name, change := range map[string]func(issuer string, data []byte) (string, []byte){
		"other_issuer": replace(`"issuer":"https://`, `"issuer":"https://other.`),
		"no_issuer":    replace(`"issuer"`, `"other"`),
		"garbage":      func(issuer string, _ []byte) (string, []byte) { return issuer, []byte("garbage") },
		"empty":        func(issuer string, _ []byte) (string, []byte) { return issuer, []byte{} },
		"too_large": func(issuer string, data []byte) (string, []byte) {
			return issuer, append(data, make([]byte, 1<<20)...)
		},
		"future": func(issuer string, data []byte) (string, []byte) {
			return issuer, withFetched(data, time.Now().Add(time.Hour))
		},
		"old": func(issuer string, data []byte) (string, []byte) {
			return issuer, withFetched(data, time.Now().Add(-24*time.Hour))
		},
		"no_time": func(issuer string, data []byte) (string, []byte) { return issuer, withFetched(data, time.Time{}) },
	} {
		t.Run(name, func(t *testing.T) {
			inFakeTime(t, func(t *testing.T, l *offline) {
				store, stop := l.begun()
				store.change(change)
				l.set(true, false)
				l.restart(stop, store)
				if _, got := l.bearer(l.accessToken()); got != unknown {
					t.Errorf("gives %q", got)
				}
			})
		})
	}
}

func withFetched(data []byte, at time.Time) []byte {
	var saved map[string]any
	_ = json.Unmarshal(data, &saved)
	saved["fetched"] = at
	data, _ = json.Marshal(saved)
	return data
}

// TestKeepKeys_IsBounded saves neither certificates nor more than a bounded size, goes on if nothing can be saved, and
// holds nothing secret.
func TestKeepKeys_IsBounded(t *testing.T) {
	inFakeTime(t, func(t *testing.T, l *offline) {
		store, stop := l.begun()
		defer stop()
		for issuer, data := range store.saved {
			if issuer != l.settings.Issuer || len(data) > 4096 || strings.Contains(string(data), "x5c") || strings.Contains(string(data), `"d":`) {
				t.Errorf("of %s, %d bytes are saved: %s", issuer, len(data), data)
			}
		}
		store.full = true
		l.entra.Rotate()
		advance(10 * time.Minute)
		if _, got := l.bearer(l.accessToken()); got != "" {
			t.Errorf("with a full store a new key gives %q", got)
		}
		if !strings.Contains(l.log.String(), "keys of the identity provider not saved") {
			t.Error("that nothing could be saved is not logged")
		}
	})
}

// TestKeepKeys_SeparatesIssuers: each issuer has its own keys in the store.
func TestKeepKeys_SeparatesIssuers(t *testing.T) {
	store := &keyStore{saved: map[string][]byte{}}
	first, second := newFixture(t), newFixture(t)
	first.settings.BearerIssuers = []oidc.BearerIssuer{{Issuer: second.settings.Issuer, Audiences: []string{audience}, UserClaim: "oid", CAFile: second.settings.CAFile}}
	first.newProvider(foundText)
	first.KeepKeys(store)
	stop := first.start()
	for _, h := range []*fixture{first, second} {
		if _, err := first.Bearer(t.Context(), h.accessToken()); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	if len(store.saved) != 2 || bytes.Equal(store.saved[first.settings.Issuer], store.saved[second.settings.Issuer]) {
		t.Errorf("saved: %q", store.saved)
	}
}
