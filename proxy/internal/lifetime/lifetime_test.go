package lifetime

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestContext_Ends checks that a context ends when it is canceled or its parent ends, and with it whatever waits for it:
// channels, functions and contexts that were made from it, before the end or after.
func TestContext_Ends(t *testing.T) {
	parents := map[string]func(context.Context) (context.Context, context.CancelFunc){
		"canceled": context.WithCancel,
		"deadline": func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, time.Second)
		},
		"none": func(ctx context.Context) (context.Context, context.CancelFunc) { return ctx, nil },
		"itself": func(ctx context.Context) (context.Context, context.CancelFunc) {
			c := New(ctx)
			return c, c.Cancel
		},
	}
	for name, derive := range parents {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				parent, end := derive(context.Background())
				c := New(parent)
				defer c.Cancel()
				want := context.Canceled
				switch name {
				case "none":
					end = c.Cancel
				case "deadline":
					cancel := end
					defer cancel()
					end, want = func() { time.Sleep(time.Second) }, context.DeadlineExceeded
				}
				var calls atomic.Int64
				child, stop := context.WithCancel(c)
				defer stop()
				added, removed, late := End{Call: func() { calls.Add(1) }}, End{Call: func() { calls.Add(100) }}, End{Call: func() { calls.Add(10) }}
				c.Add(&added)
				c.Add(&removed)
				if stop := context.AfterFunc(c, func() { calls.Add(100) }); !stop() || !c.Remove(&removed) || c.Remove(&removed) {
					t.Error("not removed")
				}
				c.Watch()
				if c.Err() != nil || child.Err() != nil {
					t.Fatal("ended before the end")
				}
				done := c.Done()
				end()
				synctest.Wait()
				c.Add(&late)
				synctest.Wait()
				<-done
				<-c.Done()
				if !errors.Is(c.Err(), want) || !errors.Is(child.Err(), want) || calls.Load() != 11 {
					t.Errorf("%v, %v, %d", c.Err(), child.Err(), calls.Load())
				}
				if c.Remove(&added) || c.Remove(&late) {
					t.Error("removed after it was called")
				}
			})
		})
	}
}

// TestContext_RemovesAny checks that functions can be removed in any order, and that those which remain are called.
func TestContext_RemovesAny(t *testing.T) {
	for left := range 1 << 3 {
		synctest.Test(t, func(t *testing.T) {
			c := New(t.Context())
			called := 0
			var ends [3]End
			calls := make(chan int, len(ends))
			for i := range ends {
				ends[i].Call = func() { calls <- 1 << i }
				c.Add(&ends[i])
			}
			for _, i := range []int{1, 0, 2} {
				if left&(1<<i) == 0 && !c.Remove(&ends[i]) {
					t.Error("not removed")
				}
			}
			c.Cancel()
			synctest.Wait()
			close(calls)
			for i := range calls {
				called |= i
			}
			if called != left {
				t.Errorf("called %b, want %b", called, left)
			}
		})
	}
}

// TestContext_KnowsParent checks that the end of the parent is known at once, and that values and the deadline are the
// parent's.
func TestContext_KnowsParent(t *testing.T) {
	type key struct{}
	parent, cancel := context.WithTimeout(context.WithValue(t.Context(), key{}, "x"), time.Hour)
	defer cancel()
	c := New(parent)
	defer c.Cancel()
	want, _ := parent.Deadline()
	if at, ok := c.Deadline(); !ok || !at.Equal(want) || c.Value(key{}) != "x" {
		t.Error("no deadline, or no value")
	}
	e := End{Call: func() { t.Error("called") }}
	c.Add(&e)
	if cancel(); c.Remove(&e) != true || c.Err() == nil {
		t.Error("the parent has ended, and the context has not")
	}
	watched, called := New(parent), make(chan bool)
	watched.Add(&End{Call: func() { close(called) }})
	watched.Watch()
	<-called
	zero := new(Context)
	if _, ok := zero.Deadline(); ok || zero.Err() != nil || zero.Value(key{}) != nil {
		t.Error("the zero value has what nobody gave it")
	}
	zero.Cancel()
	if <-zero.Done(); !errors.Is(zero.Err(), context.Canceled) {
		t.Error("the zero value does not end")
	}
}
