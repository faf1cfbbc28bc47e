package oidc_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sallyport/entratest"
	"sallyport/oidc"
)

// line leads to the issuer without a network, so that time can be made up.
type line struct {
	*house
	mu    sync.Mutex
	down  bool           // nobody answers
	hangs bool           // nobody answers, ever
	asked map[string]int // by endpoint
}

func (l *line) RoundTrip(r *http.Request) (*http.Response, error) {
	l.mu.Lock()
	for _, endpoint := range []string{metadataPath, keysPath} {
		if at(r, endpoint) {
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
	l.house.ServeHTTP(record, r)
	return record.Result(), nil
}

func (l *line) set(down, hangs bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down, l.hangs = down, hangs
}

func (l *line) count(endpoint string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.asked[endpoint]
}

// inTime runs a test in made-up time; its provider is made and not yet running.
func inTime(t *testing.T, test func(t *testing.T, l *line)) {
	synctest.Test(t, func(t *testing.T) {
		h := &house{t: t, log: new(safeBuffer)}
		h.found("https://login.example.org")
		l := &line{house: h, asked: map[string]int{}}
		h.make(foundText)
		h.Through(l)
		test(t, l)
	})
}

// later lets time pass and everything happen that is due.
func later(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// TestAProviderThatIsDownIsAskedLessAndLess, and found soon after it is back.
func TestAProviderThatIsDownIsAskedLessAndLess(t *testing.T) {
	inTime(t, func(t *testing.T, l *line) {
		l.set(true, false)
		l.start()
		later(30 * time.Second)
		soon := l.count(metadataPath)
		later(time.Hour)
		if n := l.count(metadataPath) - soon; soon < 4 || soon > 12 || n < 60 || n > 121 {
			t.Errorf("asked %d times in half a minute, %d in the hour after", soon, n)
		}
		l.set(false, false)
		later(time.Minute + time.Second)
		if _, err := l.signInHere(); err != nil {
			t.Errorf("no login a minute after the provider is back: %v", err)
		}
	})
}

// signInHere is a login without a network.
func (l *line) signInHere() (oidc.Identity, error) {
	authURL, f, err := l.Begin(context.Background(), 0)
	if err != nil {
		return oidc.Identity{}, err
	}
	record := httptest.NewRecorder()
	l.house.ServeHTTP(record, httptest.NewRequest(http.MethodGet, authURL, nil))
	back, err := record.Result().Location()
	if err != nil {
		return oidc.Identity{}, err
	}
	return l.Finish(context.Background(), f, back.Query())
}

// TestOneFetchInThirtySeconds, however long the attack lasts.
func TestOneFetchInThirtySeconds(t *testing.T) {
	inTime(t, func(t *testing.T, l *line) {
		l.start()
		later(time.Second)
		before := l.count(keysPath)
		for i := range 600 {
			later(100 * time.Millisecond)
			if _, got := l.bearer(entratest.Garbage(fmt.Sprint(i), entratest.Claims{})); got != oidc.KeyUnknown {
				t.Fatalf("a made-up key gives %q", got)
			}
		}
		if n := l.count(keysPath) - before; n != 2 {
			t.Errorf("%d fetches in a minute", n)
		}
	})
}

// TestANewKeyIsTakenAtOnce, if the provider was not asked a moment ago.
func TestANewKeyIsTakenAtOnce(t *testing.T) {
	inTime(t, func(t *testing.T, l *line) {
		l.start()
		later(31 * time.Second)
		l.entra.Rotate()
		if _, got := l.bearer(l.accessToken()); got != "" {
			t.Errorf("gives %q", got)
		}
	})
}

// TestAWithdrawnKeyDies with the next refresh (CVE-2025-22149).
func TestAWithdrawnKeyDies(t *testing.T) {
	inTime(t, func(t *testing.T, l *line) {
		l.start()
		later(time.Second)
		token := l.accessToken()
		l.entra.Rotate()
		l.entra.Withdraw()
		later(10 * time.Minute)
		if _, got := l.bearer(token); got != oidc.KeyUnknown {
			t.Errorf("gives %q", got)
		}
	})
}

// TestAnOutageIsLivedThrough: for a day known keys are good; what they do not
// tell, and everything after that day, is doubt.
func TestAnOutageIsLivedThrough(t *testing.T) {
	inTime(t, func(t *testing.T, l *line) {
		l.start()
		later(time.Second)
		l.set(true, false)
		later(23 * time.Hour)
		if _, got := l.bearer(l.accessToken()); got != "" {
			t.Errorf("after 23 hours gives %q", got)
		}
		if _, got := l.bearer(entratest.Garbage("new", entratest.Claims{})); got != doubt {
			t.Errorf("a key that may be new gives %q", got)
		}
		later(2 * time.Hour)
		if _, got := l.bearer(l.accessToken()); got != doubt {
			t.Errorf("after 25 hours gives %q", got)
		}
		if _, err := l.signInHere(); verdict(err) != doubt {
			t.Errorf("a login gives %v", err)
		}
		l.set(false, false)
		later(time.Minute + time.Second)
		if _, got := l.bearer(l.accessToken()); got != "" {
			t.Errorf("after the outage gives %q", got)
		}
	})
}

// TestWhoWaitsGoesWhenTheyWant: a provider that hangs holds nobody beyond their
// own time, and is asked once for all who wait.
func TestWhoWaitsGoesWhenTheyWant(t *testing.T) {
	inTime(t, func(t *testing.T, l *line) {
		l.start()
		later(time.Minute)
		l.set(false, true)
		before := l.count(keysPath)
		ctx, stop := context.WithTimeout(context.Background(), time.Second)
		defer stop()
		began := time.Now()
		var all sync.WaitGroup
		for i := range 100 {
			all.Go(func() {
				if _, err := l.Bearer(ctx, entratest.Garbage(fmt.Sprint(i), entratest.Claims{})); verdict(err) != doubt {
					t.Errorf("gives %v", err)
				}
			})
		}
		all.Wait()
		if took := time.Since(began); took != time.Second || l.count(keysPath)-before != 1 {
			t.Errorf("waited %v for %d fetches", took, l.count(keysPath)-before)
		}
		later(10 * time.Second) // the fetch gives up
	})
}

// TestATokenDiesWithItsLastMoment.
func TestATokenDiesWithItsLastMoment(t *testing.T) {
	inTime(t, func(t *testing.T, l *line) {
		l.start()
		later(time.Second)
		token := l.entra.AccessToken(l.alice, audience, func(c entratest.Claims) { c["exp"] = time.Now().Add(time.Minute).Unix() })
		later(59 * time.Second)
		if _, got := l.bearer(token); got != "" {
			t.Errorf("in its last second gives %q", got)
		}
		later(time.Second)
		if _, got := l.bearer(token); got != oidc.Expired {
			t.Errorf("after it gives %q", got)
		}
	})
}

// TestTheFirstTryIsWaitedFor: whoever comes in the moment of a start signs in, and where the provider is not to be had
// they are told so when that is known, or after a few seconds.
func TestTheFirstTryIsWaitedFor(t *testing.T) {
	for says, c := range map[string]struct {
		down, hangs bool
		within      time.Duration
		good        bool
	}{
		"it answers":     {false, false, 0, true},
		"it is down":     {true, false, 0, false},
		"nobody answers": {false, true, 5 * time.Second, false},
	} {
		t.Run(says, func(t *testing.T) {
			inTime(t, func(t *testing.T, l *line) {
				l.set(c.down, c.hangs)
				begun := time.Now()
				done := make(chan error)
				go func() {
					_, err := l.signInHere()
					done <- err
				}()
				synctest.Wait() // they are there first
				l.start()
				if err := <-done; (err == nil) != c.good || time.Since(begun) > c.within {
					t.Errorf("after %v: %v", time.Since(begun), err)
				}
			})
		})
	}
}
