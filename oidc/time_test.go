package oidc_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sallyport/entratest"
	"sallyport/oidc"
)

// offline is a transport that reaches the issuer without a network, for fake time.
type offline struct {
	*fixture
	mu    sync.Mutex
	down  bool           // connections fail
	hangs bool           // responses never come
	asked map[string]int // by endpoint
}

func (l *offline) RoundTrip(r *http.Request) (*http.Response, error) {
	l.mu.Lock()
	for _, endpoint := range []string{metadataPath, keysPath} {
		if isFor(r, endpoint) {
			l.asked[endpoint]++
		}
	}
	down, hangs := l.down, l.hangs
	l.mu.Unlock()
	if hangs {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	if down {
		return nil, errors.New("connection refused")
	}
	record := httptest.NewRecorder()
	l.ServeHTTP(record, r)
	return record.Result(), nil
}

func (l *offline) set(down, hangs bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down, l.hangs = down, hangs
}

func (l *offline) count(endpoint string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.asked[endpoint]
}

// inFakeTime runs a test in a synctest bubble, with a provider that does not run yet.
func inFakeTime(t *testing.T, test func(t *testing.T, l *offline)) {
	synctest.Test(t, func(t *testing.T) {
		h := &fixture{t: t, log: new(safeBuffer)}
		h.setUp("https://login.example.org")
		l := &offline{fixture: h, asked: map[string]int{}}
		h.newProvider(foundText)
		h.Through(l)
		test(t, l)
	})
}

// advance lets time pass and waits until everything that is due has happened.
func advance(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// TestDiscovery_BacksOff, but finds the provider within a minute of its return.
func TestDiscovery_BacksOff(t *testing.T) {
	inFakeTime(t, func(t *testing.T, l *offline) {
		l.set(true, false)
		l.start()
		advance(30 * time.Second)
		soon := l.count(metadataPath)
		advance(time.Hour)
		if n := l.count(metadataPath) - soon; soon < 4 || soon > 12 || n < 60 || n > 121 {
			t.Errorf("asked %d times in half a minute, %d in the hour after", soon, n)
		}
		l.set(false, false)
		advance(time.Minute + time.Second)
		if _, err := l.signInHere(); err != nil {
			t.Errorf("no login a minute after the provider is back: %v", err)
		}
	})
}

// signInHere makes a login without a network.
func (l *offline) signInHere() (oidc.Identity, error) {
	authURL, f, err := l.Begin(context.Background(), 0)
	if err != nil {
		return oidc.Identity{}, err
	}
	record := httptest.NewRecorder()
	l.ServeHTTP(record, httptest.NewRequest(http.MethodGet, authURL, nil))
	back, err := record.Result().Location()
	if err != nil {
		return oidc.Identity{}, err
	}
	return l.Finish(context.Background(), f, back.Query())
}

// TestKeys_FetchesAreBounded: in thirty seconds there are at most two fetches, however
// long the attack lasts. A token whose key was looked up is rejected; whether the
// others are good cannot be told.
func TestKeys_FetchesAreBounded(t *testing.T) {
	inFakeTime(t, func(t *testing.T, l *offline) {
		l.start()
		advance(time.Second)
		before := l.count(keysPath)
		rejected := 0
		for i := range 600 {
			advance(100 * time.Millisecond)
			switch _, got := l.bearer(entratest.Garbage(fmt.Sprint(i), entratest.Claims{})); got {
			case oidc.KeyUnknown:
				rejected++
			case unknown:
			default:
				t.Fatalf("an unknown key gives %q", got)
			}
		}
		if n := l.count(keysPath) - before; n < 2 || n > 4 || rejected != n {
			t.Errorf("%d fetches in a minute, and %d tokens are rejected", n, rejected)
		}
	})
}

// TestKeys_TwoRotations: a key that nobody asked for yet is fetched at once, also
// right after another fetch. Beyond that, a token whose key cannot be looked up now
// is no refusal; it is accepted once the key was fetched.
func TestKeys_TwoRotations(t *testing.T) {
	inFakeTime(t, func(t *testing.T, l *offline) {
		l.start()
		advance(time.Second)
		for i, want := range []oidc.Reason{"", unknown} { // the first fetch was that of the start
			l.entra.Rotate()
			if _, got := l.bearer(l.accessToken()); got != want {
				t.Errorf("after rotation %d gives %q; want %q", i+1, got, want)
			}
			advance(5 * time.Second)
		}
		advance(25 * time.Second)
		if _, got := l.bearer(l.accessToken()); got != "" {
			t.Errorf("half a minute later gives %q", got)
		}
		l.entra.Rotate()
		if _, got := l.bearer(l.accessToken()); got != "" {
			t.Errorf("after another rotation gives %q", got)
		}
	})
}

// TestKeys_MissingIDIsRememberedForAWhile: a key id that was looked up in vain is
// rejected without another fetch, and looked up again after half a minute.
func TestKeys_MissingIDIsRememberedForAWhile(t *testing.T) {
	inFakeTime(t, func(t *testing.T, l *offline) {
		l.start()
		advance(time.Minute)
		before := l.count(keysPath)
		for range 10 {
			advance(time.Second)
			if _, got := l.bearer(entratest.Garbage("missing", entratest.Claims{})); got != oidc.KeyUnknown {
				t.Errorf("gives %q", got)
			}
		}
		if n := l.count(keysPath) - before; n != 1 {
			t.Errorf("%d fetches for one key id", n)
		}
		advance(30 * time.Second)
		if l.bearer(entratest.Garbage("missing", entratest.Claims{})); l.count(keysPath)-before != 2 {
			t.Error("it is not looked up again")
		}
	})
}

// TestKeys_NewKeyIsFetched, unless a fetch began less than thirty seconds ago.
func TestKeys_NewKeyIsFetched(t *testing.T) {
	inFakeTime(t, func(t *testing.T, l *offline) {
		l.start()
		advance(31 * time.Second)
		l.entra.Rotate()
		if _, got := l.bearer(l.accessToken()); got != "" {
			t.Errorf("gives %q", got)
		}
	})
}

// TestKeys_WithdrawnKeyIsRejected after the next refresh (CVE-2025-22149).
func TestKeys_WithdrawnKeyIsRejected(t *testing.T) {
	inFakeTime(t, func(t *testing.T, l *offline) {
		l.start()
		advance(time.Second)
		token := l.accessToken()
		l.entra.Rotate()
		l.entra.Withdraw()
		advance(10 * time.Minute)
		if _, got := l.bearer(token); got != oidc.KeyUnknown {
			t.Errorf("gives %q", got)
		}
	})
}

// TestCheck_FollowsWhatIsPublished: Changed tells when a key is withdrawn, and only
// the tokens of that key are refused then. Keys that are too old prove nothing.
func TestCheck_FollowsWhatIsPublished(t *testing.T) {
	inFakeTime(t, func(t *testing.T, l *offline) {
		l.start()
		advance(time.Second)
		verified := func() oidc.Identity {
			t.Helper()
			id, got := l.bearer(l.accessToken())
			if got != "" {
				t.Fatalf("a good token gives %q", got)
			}
			return id
		}
		check := func(when string, id oidc.Identity, want oidc.Reason) {
			t.Helper()
			if got := reasonOf(l.Check(&id, "")); got != want {
				t.Errorf("%s: %q, want %q", when, got, want)
			}
		}
		changed := func(c <-chan struct{}) bool {
			select {
			case <-c:
				return true
			default:
				return false
			}
		}
		old := verified()
		c := l.Changed()
		l.entra.Rotate()
		advance(10 * time.Minute)
		other := verified()
		check("after a rotation, the old key", old, "")
		if changed(c) {
			t.Error("a new key is told as a change")
		}
		l.entra.Withdraw()
		advance(10 * time.Minute)
		check("the withdrawn key", old, oidc.KeyUnknown)
		check("the other key", other, "")
		if !changed(c) || changed(l.Changed()) {
			t.Error("the withdrawal is not told, or told again")
		}
		check("no token", oidc.Identity{}, oidc.KeyUnknown)
		l.set(true, false)
		advance(25 * time.Hour)
		check("after a day without the provider", other, unknown)
	})
}

// TestIssuedBefore has a row for each token and time of the end of its user.
func TestIssuedBefore(t *testing.T) {
	inFakeTime(t, func(t *testing.T, l *offline) {
		l.start()
		advance(time.Hour + 500*time.Millisecond)
		now := time.Now()
		for _, c := range []struct {
			name string
			iat  time.Duration // before now, which is when the token is first seen
			end  time.Duration // before now
			want bool
		}{
			{"a new one", 0, time.Hour, false},
			{"one of the same second", 0, 400 * time.Millisecond, false},
			{"one that is seen before the end", 0, -time.Second, true},
			{"dated back, seen before the end", 5 * time.Minute, -time.Second, true},
			{"dated back, a new one", 5 * time.Minute, time.Second, false},
			{"dated back, by a clock that is fast", 5*time.Minute - 20*time.Second, time.Second, false},
			{"dated back, from before", 5*time.Minute + 10*time.Second, time.Second, true},
			{"clearly not dated back, from before", time.Minute, time.Second, true},
			{"old", time.Hour, time.Minute, true},
			{"old, after an older end", time.Hour, 2 * time.Hour, false},
		} {
			token := l.entra.AccessToken(l.alice, audience, func(claims entratest.Claims) { claims["iat"] = now.Add(-c.iat).Unix() })
			id, got := l.bearer(token)
			if got != "" || id.IssuedBefore(now.Add(-c.end)) != c.want {
				t.Errorf("%s: %q, not %v", c.name, got, c.want)
			}
			advance(11 * time.Minute) // the keys are fetched again meanwhile
			again, got := l.bearer(token)
			if got != "" || again.IssuedBefore(now.Add(-c.end)) != c.want {
				t.Errorf("%s, seen again: %q, not %v", c.name, got, c.want)
			}
			now = time.Now()
		}
		without, got := l.bearer(l.entra.AccessToken(l.alice, audience, func(claims entratest.Claims) { delete(claims, "iat") }))
		if got != "" || !without.IssuedBefore(time.Time{}.Add(time.Second)) {
			t.Errorf("without iat: %q", got)
		}
	})
}

// TestIssuedBefore_OtherProviders: only Entra is known to date tokens back.
func TestIssuedBefore_OtherProviders(t *testing.T) {
	h := newFixture(t)
	h.override(func(w http.ResponseWriter, r *http.Request) bool {
		r.URL.Path = strings.Replace(r.URL.Path, "/realm/", "/", 1)
		return isFor(r, metadataPath) && h.rewrite(w, r, func(d map[string]any) { d["issuer"] = h.settings.Issuer })
	})
	h.settings.Issuer += "/realm"
	<-h.run()
	token := h.entra.AccessToken(h.alice, audience, func(c entratest.Claims) {
		c["iss"], c["iat"] = h.settings.Issuer, time.Now().Add(-5*time.Minute).Unix()
	})
	id, got := h.bearer(token)
	if got != "" || !id.IssuedBefore(time.Now().Add(-2*time.Second)) {
		t.Errorf("a token of another provider counts as dated back, or gives %q", got)
	}
}

// TestKeys_SurviveOutage: known keys are used for a day. Unknown keys, and all keys
// after that day, are no refusal but another error.
func TestKeys_SurviveOutage(t *testing.T) {
	inFakeTime(t, func(t *testing.T, l *offline) {
		l.start()
		advance(time.Second)
		l.set(true, false)
		advance(23 * time.Hour)
		if _, got := l.bearer(l.accessToken()); got != "" {
			t.Errorf("after 23 hours gives %q", got)
		}
		if _, got := l.bearer(entratest.Garbage("new", entratest.Claims{})); got != unknown {
			t.Errorf("a key that may be new gives %q", got)
		}
		advance(2 * time.Hour)
		if _, got := l.bearer(l.accessToken()); got != unknown {
			t.Errorf("after 25 hours gives %q", got)
		}
		if _, err := l.signInHere(); reasonOf(err) != unknown {
			t.Errorf("a login gives %v", err)
		}
		l.set(false, false)
		advance(time.Minute + time.Second)
		if _, got := l.bearer(l.accessToken()); got != "" {
			t.Errorf("after the outage gives %q", got)
		}
	})
}

// TestKeys_WaitersLeaveAtTheirDeadline: callers wait for a provider that hangs no
// longer than their context, and share one fetch.
func TestKeys_WaitersLeaveAtTheirDeadline(t *testing.T) {
	inFakeTime(t, func(t *testing.T, l *offline) {
		l.start()
		advance(time.Minute)
		l.set(false, true)
		before := l.count(keysPath)
		ctx, stop := context.WithTimeout(context.Background(), time.Second)
		defer stop()
		began := time.Now()
		var all sync.WaitGroup
		for i := range 100 {
			all.Go(func() {
				if _, err := l.Bearer(ctx, entratest.Garbage(fmt.Sprint(i), entratest.Claims{})); reasonOf(err) != unknown {
					t.Errorf("gives %v", err)
				}
			})
		}
		all.Wait()
		if took := time.Since(began); took != time.Second || l.count(keysPath)-before != 1 {
			t.Errorf("waited %v for %d fetches", took, l.count(keysPath)-before)
		}
		advance(10 * time.Second) // the fetch gives up
	})
}

func TestBearer_ExpiresExactly(t *testing.T) {
	inFakeTime(t, func(t *testing.T, l *offline) {
		l.start()
		advance(time.Second)
		token := l.entra.AccessToken(l.alice, audience, func(c entratest.Claims) { c["exp"] = time.Now().Add(time.Minute).Unix() })
		advance(59 * time.Second)
		if _, got := l.bearer(token); got != "" {
			t.Errorf("in its last second gives %q", got)
		}
		advance(time.Second)
		if _, got := l.bearer(token); got != oidc.Expired {
			t.Errorf("after it gives %q", got)
		}
	})
}

// TestBegin_WaitsForFirstDiscovery: a login right after the start succeeds. If the
// provider cannot be reached, it fails once that is known, or after five seconds.
func TestBegin_WaitsForFirstDiscovery(t *testing.T) {
	for name, c := range map[string]struct {
		down, hangs bool
		within      time.Duration
		ok          bool
	}{
		"reachable": {false, false, 0, true},
		"down":      {true, false, 0, false},
		"hangs":     {false, true, 5 * time.Second, false},
	} {
		t.Run(name, func(t *testing.T) {
			inFakeTime(t, func(t *testing.T, l *offline) {
				l.set(c.down, c.hangs)
				begun := time.Now()
				done := make(chan error)
				go func() {
					_, err := l.signInHere()
					done <- err
				}()
				synctest.Wait() // the login begins before Run
				l.start()
				if err := <-done; (err == nil) != c.ok || time.Since(begun) > c.within {
					t.Errorf("after %v: %v", time.Since(begun), err)
				}
			})
		})
	}
}
