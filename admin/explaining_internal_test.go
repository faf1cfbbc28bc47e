package admin

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestExplaining_IsBounded: of many decisions that are to be explained at once, four are, and the others are told so.
func TestExplaining_IsBounded(t *testing.T) {
	var e explaining
	var ends []func()
	for range maxExplaining {
		end, err := e.begin()
		if err != nil {
			t.Fatal(err)
		}
		ends = append(ends, end)
	}
	for range 36 {
		if _, err := e.begin(); !errors.Is(err, errExplaining) {
			t.Fatalf("one more: %v", err)
		}
	}
	ends[0]()
	if _, err := e.begin(); err != nil {
		t.Errorf("after one has ended: %v", err)
	}
}

// TestRecent_SharesWhatIsUnderWay: what depends on more than the key is asked again once it was found out.
func TestRecent_SharesWhatIsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := recent[int, int]{underWay: true}
		asked := 0
		ask := func(context.Context) (int, error) {
			asked++
			time.Sleep(3 * recentAge)
			return asked, nil
		}
		var all sync.WaitGroup
		for i := range 40 {
			all.Go(func() {
				time.Sleep(time.Duration(i) * recentAge / 20)
				if n, err := r.get(t.Context(), 7, ask); n != 1 || err != nil {
					t.Errorf("%d %v", n, err)
				}
			})
		}
		all.Wait()
		if n, err := r.get(t.Context(), 7, ask); n != 2 || err != nil {
			t.Errorf("after it was found out: %d %v", n, err)
		}
	})
}

// TestRecent_IsAskedOnce: those who ask the same share one result, even while it is being found out; a fault of whoever asks keeps
// nobody waiting.
func TestRecent_IsAskedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r recent[int, int]
		asked := 0
		ask := func(context.Context) (int, error) {
			asked++
			time.Sleep(time.Second)
			return asked, nil
		}
		var all sync.WaitGroup
		for range 40 {
			all.Go(func() {
				if n, err := r.get(t.Context(), 7, ask); n != 1 || err != nil {
					t.Errorf("%d %v", n, err)
				}
			})
		}
		all.Wait()
		if asked != 1 {
			t.Errorf("it was asked %d times", asked)
		}
		time.Sleep(recentAge)
		go func() {
			defer func() { _ = recover() }()
			_, _ = r.get(t.Context(), 7, func(context.Context) (int, error) { time.Sleep(time.Second); panic("a fault") })
		}()
		synctest.Wait()
		if _, err := r.get(t.Context(), 7, ask); !errors.Is(err, errNotAsked) {
			t.Errorf("after a fault of the one who asked: %v", err)
		}
	})
}
