package admin

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// unchanged are facts that hold until the returned channel is closed.
func unchanged() (facts, chan struct{}) {
	changed := make(chan struct{})
	return facts{directory: changed, until: time.Now().Add(rulesEnd)}, changed
}

// TestRemembered_DoesNotWait: who asks while a computation takes long gets the former result within 100 ms, and that it is
// former; at most one computation runs, and one that takes long rests before the next.
func TestRemembered_DoesNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r remembered[int]
		computed, busy := 0, time.Duration(0)
		get := func(f facts) (int, Computed, time.Duration) {
			began := time.Now()
			value, state := r.get(t.Context(), f, func(context.Context, facts) (int, error) {
				time.Sleep(busy)
				computed++
				return computed, nil
			})
			return value, state, time.Since(began)
		}
		f, changed := unchanged()
		if value, state, _ := get(f); value != 1 || state.Renewing {
			t.Errorf("at first: %d %+v", value, state)
		}
		if value, _, _ := get(f); value != 1 {
			t.Errorf("computed again although nothing changed: %d", value)
		}
		close(changed)
		busy = 20 * time.Second
		f, changed = unchanged()
		for range 3 {
			if value, state, took := get(f); value != 1 || !state.Renewing || took > soon {
				t.Errorf("while it is computed: %d %+v after %s", value, state, took)
			}
		}
		time.Sleep(busy)
		if value, state, _ := get(f); value != 2 || state.Renewing {
			t.Errorf("after that: %d %+v", value, state)
		}
		close(changed)
		f, _ = unchanged()
		for range 10 { // it rests
			if value, state, _ := get(f); value != 2 || !state.Renewing {
				t.Errorf("resting: %d %+v", value, state)
			}
			time.Sleep(busy)
		}
		get(f)
		time.Sleep(busy)
		if value, _, _ := get(f); value != 3 {
			t.Errorf("after its rest: %d", value)
		}
	})
}

// TestRemembered_RenewsAfterAMinute: rules and grants may have ended, although nothing was pushed. An error is a result too.
func TestRemembered_RenewsAfterAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r remembered[int]
		computed := 0
		get := func() (int, Computed) {
			f, _ := unchanged()
			return r.get(t.Context(), f, func(context.Context, facts) (int, error) { computed++; return computed, errors.New("too long") })
		}
		get()
		if value, state := get(); value != 1 || state.Err != "too long" {
			t.Errorf("%d %+v", value, state)
		}
		time.Sleep(rulesEnd)
		if value, _ := get(); value != 2 {
			t.Errorf("a minute later: %d", value)
		}
	})
}
