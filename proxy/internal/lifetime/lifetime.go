// Package lifetime is a context for each request that costs less than those of package context: it is a part of what it
// belongs to, and the connection that is to be closed at its end needs no memory of its own either.
package lifetime

import (
	"context"
	"sync"
	"time"
)

// Context is a [context.Context] that ends with its parent, or when it is canceled. The zero value ends when it is
// canceled. A Context must not be copied.
type Context struct {
	parent context.Context // nil: there is none

	mu     sync.Mutex  // guards what follows
	detach func() bool // from the parent; nil before Watch
	err    error       // nil before the end
	done   chan struct{}
	ends   *End // the first of those that are called at the end
}

// End is a function that is called at the end of a Context, on a goroutine of its own. One Context at a time has it.
type End struct {
	Call func()

	pending    bool // a Context has it, and has not ended
	prev, next *End
}

// New returns a Context with a parent. Cancel must be called in the end.
func New(parent context.Context) *Context {
	c := new(Context)
	c.Begin(parent)
	return c
}

// Begin sets the parent of a zero Context. Cancel must be called in the end.
func (c *Context) Begin(parent context.Context) { c.parent = parent }

// Watch has c end as soon as its parent does. Before Watch, c notices that in Err alone. Whoever uses Add calls Watch before
// a long wait, since attaching c to the parent costs more than the rest of it; Done and AfterFunc call it themselves.
func (c *Context) Watch() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.parent != nil && c.detach == nil && c.err == nil {
		c.detach = context.AfterFunc(c.parent, func() { c.end(c.parent.Err()) })
	}
}

// Cancel ends the context, unless it has ended.
func (c *Context) Cancel() { c.end(context.Canceled) }

func (c *Context) end(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	if c.err = err; c.detach != nil {
		c.detach()
	}
	if c.done != nil {
		close(c.done)
	}
	for e := c.ends; e != nil; e = e.next {
		e.pending = false
		go e.Call()
	}
	c.ends = nil
}

// Add has e called at the end of c: now if that was before. Remove must be called before another context gets e.
func (c *Context) Add(e *End) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		go e.Call()
		return
	}
	e.pending, e.prev, e.next = true, nil, c.ends
	if c.ends != nil {
		c.ends.prev = e
	}
	c.ends = e
}

// Remove has e not called any more. It reports false if e was called already.
func (c *Context) Remove(e *End) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !e.pending {
		return false
	}
	if e.pending = false; e.prev != nil {
		e.prev.next = e.next
	} else {
		c.ends = e.next
	}
	if e.next != nil {
		e.next.prev = e.prev
	}
	e.prev, e.next = nil, nil
	return true
}

// AfterFunc is what [context.AfterFunc], and contexts that are made from c, use in place of a goroutine that waits.
func (c *Context) AfterFunc(f func()) (stop func() bool) {
	e := &End{Call: f}
	c.Watch()
	c.Add(e)
	return func() bool { return c.Remove(e) }
}

// Done returns a channel that is closed at the end.
func (c *Context) Done() <-chan struct{} {
	c.Watch()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done == nil {
		if c.done = make(chan struct{}); c.err != nil {
			close(c.done)
		}
	}
	return c.done
}

// Err returns why the context has ended, or nil.
func (c *Context) Err() error {
	if c.parent != nil {
		if err := c.parent.Err(); err != nil {
			c.end(err)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Deadline returns that of the parent.
func (c *Context) Deadline() (time.Time, bool) {
	if c.parent == nil {
		return time.Time{}, false
	}
	return c.parent.Deadline()
}

// Value returns that of the parent.
func (c *Context) Value(key any) any {
	if c.parent == nil {
		return nil
	}
	return c.parent.Value(key)
}
