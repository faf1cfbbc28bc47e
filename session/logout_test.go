package session_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sallyport/session"
	"sallyport/store"
)

// TestUseLogout_UntilTokenExpires checks that a logout token is remembered over a restart, and forgotten when it is no
// longer accepted.
func TestUseLogout_UntilTokenExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, session.Defaults(), "")
		defer func() { h.stop() }()
		acted, err := h.UseLogout(t.Context(), "../of/a strange\x00 jti", time.Now().Add(time.Hour), func(context.Context) error { return nil })
		if err != nil || !acted {
			t.Fatal(acted, err)
		}
		errNotNow := errors.New("not now")
		used := func(jti string) bool {
			t.Helper()
			_, err := h.UseLogout(t.Context(), jti, time.Now().Add(time.Hour), func(context.Context) error { return errNotNow })
			if err != nil && !errors.Is(err, errNotNow) {
				t.Error(err)
			}
			return err == nil
		}
		h = h.restart(session.Defaults())
		if !used("../of/a strange\x00 jti") || used("another") || used("") {
			t.Error("a used token is not remembered, or one that was not used is")
		}
		time.Sleep(58 * time.Minute)
		if !used("../of/a strange\x00 jti") {
			t.Error("a token is forgotten before it expires")
		}
		time.Sleep(4 * time.Minute)
		synctest.Wait()
		if used("../of/a strange\x00 jti") {
			t.Error("a token is remembered after it expired")
		}
		if _, err := h.store.Update(t.Context(), session.Clear); err != nil {
			t.Error(err)
		}
		err = h.store.View(t.Context(), func(r store.Reader) error {
			for e := range r.Scan([]byte("session/logout/"), nil) {
				t.Errorf("%q is left", e.Key)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
}

// TestUseLogout_OneActs sends one logout token many times at once: one call acts, and the others wait until it has. If it
// fails, none has acted, and the next may.
func TestUseLogout_OneActs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, session.Defaults(), "")
		defer h.stop()
		failure := errors.New("the store is full")
		for _, outcome := range []error{failure, nil} {
			var calls, acted, failed, ended atomic.Int64
			var all sync.WaitGroup
			for range 20 {
				all.Go(func() {
					ok, err := h.UseLogout(t.Context(), "one", time.Now().Add(time.Hour), func(context.Context) error {
						calls.Add(1)
						time.Sleep(time.Second)
						ended.Add(1)
						return outcome
					})
					if ended.Load() == 0 {
						t.Error("a call returns before any has acted")
					}
					if ok {
						acted.Add(1)
					}
					if errors.Is(err, failure) {
						failed.Add(1)
					} else if err != nil {
						t.Error(err)
					}
				})
			}
			all.Wait()
			if outcome == nil && (calls.Load() != 1 || acted.Load() != 1) || outcome != nil && (acted.Load() != 0 || failed.Load() != 20) {
				t.Errorf("with %v, %d calls of act, %d acted, %d failed", outcome, calls.Load(), acted.Load(), failed.Load())
			}
		}
	})
}

// TestUseLogout_RemembersSoMany uses more logout tokens than are remembered: those that expire first are forgotten.
func TestUseLogout_RemembersSoMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, session.Defaults(), "")
		defer h.stop()
		_, err := h.store.Update(t.Context(), func(w store.Writer) error {
			for n := range 10_000 {
				record := fmt.Appendf(nil, `{"expires":%q}`, time.Now().Add(2*time.Hour+time.Duration(n)*time.Second).UTC().Format(time.RFC3339))
				if err := w.Put(fmt.Appendf(nil, "session/logout/%064x", n), record); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		nothing := func(context.Context) error { return nil }
		for _, want := range []bool{true, false} {
			if acted, err := h.UseLogout(t.Context(), "one more", time.Now().Add(time.Hour), nothing); acted != want || err != nil {
				t.Errorf("acted is %v, %v; want %v", acted, err, want)
			}
		}
		count, first := 0, true
		err = h.store.View(t.Context(), func(r store.Reader) error {
			for e := range r.Scan([]byte("session/logout/"), nil) {
				count++
				first = first && string(e.Key) != fmt.Sprintf("session/logout/%064x", 0)
			}
			return nil
		})
		if err != nil || count != 9001 || !first {
			t.Errorf("%d are remembered, and the one that expires first is gone: %v, %v", count, first, err)
		}
	})
}
