package look_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"sallyport/store/internal/look"
)

// TestShared_NeverReturnsWhatWasFoundBefore has callers write a value, and demands that each then sees its own or a later one,
// with far fewer looks than calls, one at a time.
func TestShared_NeverReturnsWhatWasFoundBefore(t *testing.T) {
	t.Parallel()
	const callers, calls = 64, 50
	var value, looks, under atomic.Int64
	s := look.New(func() (int64, error) {
		if under.Add(1) > 1 {
			t.Error("two looks at once")
		}
		defer under.Add(-1)
		looks.Add(1)
		return value.Load(), nil
	})
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for range calls {
				written := value.Add(1)
				if found, err := s.Do(t.Context()); err != nil || found < written {
					t.Errorf("a look found %d, %v after %d was written", found, err, written)
				}
			}
		})
	}
	wg.Wait()
	if n := looks.Load(); n > callers*calls {
		t.Errorf("%d looks for %d calls", n, callers*calls)
	}
}

func TestShared_SharesTheNextLook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		looks, release := 0, make(chan struct{})
		s := look.New(func() (int, error) { looks++; <-release; return looks, nil })
		first, others := make(chan int, 1), make(chan int, 64)
		do := func(found chan int) {
			n, _ := s.Do(t.Context())
			found <- n
		}
		go do(first)
		synctest.Wait() // the first look is under way
		for range 64 {
			go do(others)
		}
		synctest.Wait()
		ended, stop := context.WithCancel(t.Context())
		stop()
		if _, err := s.Do(ended); !errors.Is(err, context.Canceled) {
			t.Errorf("a caller whose context has ended gets %v", err)
		}
		close(release)
		if n := <-first; n != 1 {
			t.Errorf("the first caller gets look %d", n)
		}
		for range 64 {
			if n := <-others; n != 2 {
				t.Errorf("a caller gets look %d", n)
			}
		}
		synctest.Wait()
		if looks != 2 {
			t.Errorf("there were %d looks", looks)
		}
	})
}

func TestShared_TellsErrorsToThoseWhoShared(t *testing.T) {
	t.Parallel()
	broken, fail := errors.New("broken"), true
	s := look.New(func() (int, error) {
		if fail {
			return 0, broken
		}
		return 1, nil
	})
	if _, err := s.Do(t.Context()); !errors.Is(err, broken) {
		t.Errorf("the error is %v", err)
	}
	fail = false
	if n, err := s.Do(t.Context()); n != 1 || err != nil {
		t.Errorf("after it: %d, %v", n, err)
	}
}
