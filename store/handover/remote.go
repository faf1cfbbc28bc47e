package handover

import (
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"iter"
	"net"
	"sync/atomic"

	"sallyport/store"
	"sallyport/store/internal/feed"
)

// Remote is a store that another process has taken over. It is the engine of a [Store].
type Remote struct {
	changes net.Conn
	dial    func() (net.Conn, error) // opens the connection of one call
	feed    *feed.Feed
	applied atomic.Uint64
	wake    chan struct{} // receives a value when applied grows
	left    atomic.Bool   // see Leave
}

// NewRemote returns a store that had revision when it was released. The other process sends its changes over changes, and
// serves each connection that dial returns by [Store.ServeCall].
func NewRemote(changes net.Conn, dial func() (net.Conn, error), revision store.Revision) *Remote {
	return &Remote{changes: changes, dial: dial, feed: feed.New(revision), wake: make(chan struct{}, 1)}
}

// Run receives changes, and acknowledges those that memory has applied, until ctx ends or the other process is gone.
func (r *Remote) Run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	defer context.AfterFunc(ctx, func() { _ = r.changes.Close() })()
	go r.sendApplied(ctx)
	decoder := gob.NewDecoder(r.changes)
	for {
		var change store.Change
		if err := decoder.Decode(&change); err != nil {
			if ctx.Err() != nil || r.left.Load() {
				return context.Canceled
			}
			return fmt.Errorf("the process that took the store over sends no more changes: %w", err)
		}
		r.feed.Add([]store.Change{change})
	}
}

// acknowledge says that all memory of this process has revision.
func (r *Remote) acknowledge(revision store.Revision) {
	r.applied.Store(uint64(revision))
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

func (r *Remote) sendApplied(ctx context.Context) {
	encoder, sent := gob.NewEncoder(r.changes), uint64(0)
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.wake:
		}
		applied := r.applied.Load()
		if applied <= sent {
			continue
		}
		if encoder.Encode(store.Revision(applied)) != nil {
			return // Run finds out
		}
		sent = applied
	}
}

// Leave says that this process decides nothing any more: nobody has to wait for it.
func (r *Remote) Leave() {
	r.left.Store(true)
	_ = r.changes.Close()
}

// call opens the connection of a call.
func (r *Remote) call(ctx context.Context, op operation) (l *link, end func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	if r.feed.Closed() {
		return nil, nil, store.ErrClosed
	}
	conn, err := r.dial()
	if err != nil {
		return nil, nil, unreachable(err)
	}
	l = newLink(conn)
	stopped := context.AfterFunc(ctx, func() { _ = conn.Close() })
	end = func() { stopped(); _ = conn.Close() }
	if err := l.send(ask{Op: op}); err != nil {
		end()
		return nil, nil, unreachable(err)
	}
	return l, end, nil
}

func unreachable(err error) error { return fmt.Errorf("%w: %w", store.ErrUnreachable, err) }

// View implements [store.Store].
func (r *Remote) View(ctx context.Context, fn func(store.Reader) error) error {
	_, err := r.run(ctx, opView, func(w *remoteWriter) error { return fn(w) })
	return err
}

// Update implements [store.Store].
func (r *Remote) Update(ctx context.Context, fn func(store.Writer) error) (store.Revision, error) {
	return r.run(ctx, opUpdate, func(w *remoteWriter) error { return fn(w) })
}

// run runs fn as often as the other process asks for it.
func (r *Remote) run(ctx context.Context, op operation, fn func(*remoteWriter) error) (store.Revision, error) {
	l, end, err := r.call(ctx, op)
	if err != nil {
		return 0, err
	}
	defer end()
	ended := false // the function has run, and the change may be stored
	for {
		var got reply
		if err := l.Decode(&got); err != nil {
			return 0, lost(ctx, ended && op == opUpdate, err)
		}
		if !got.Begin {
			return got.Revision, fromWire(got.Err)
		}
		w := &remoteWriter{link: l, revision: got.Revision}
		if err := fn(w); err != nil {
			_ = l.send(ask{Op: opAbort})
			_ = l.Decode(&got) // the other process has undone it
			return 0, errors.Join(err, w.failed)
		}
		if w.failed != nil {
			return 0, unreachable(w.failed)
		}
		if err := l.send(ask{Op: opEnd}); err != nil {
			return 0, lost(ctx, op == opUpdate, err)
		}
		ended = true
	}
}

// lost returns the error of a call whose connection ended. A change may be stored once its function has ended.
func lost(ctx context.Context, uncertain bool, err error) error {
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	if uncertain {
		return fmt.Errorf("%w: %w", store.ErrUncertain, unreachable(err))
	}
	return unreachable(err)
}

// Watch implements [store.Store].
func (r *Remote) Watch(ctx context.Context, after store.Revision) iter.Seq2[store.Change, error] {
	return r.feed.Watch(ctx, after, feed.Wait)
}

// Close implements [store.Store].
func (r *Remote) Close() error {
	r.feed.Close()
	r.Leave()
	return nil
}

// remoteWriter reads and writes the transaction of one call.
type remoteWriter struct {
	link     *link
	revision store.Revision
	failed   error // of the connection
}

func (w *remoteWriter) ask(a ask) (got reply, err error) {
	if w.failed != nil {
		return got, unreachable(w.failed)
	}
	if w.failed = errors.Join(w.link.send(a), w.link.Decode(&got)); w.failed != nil {
		return got, unreachable(w.failed)
	}
	return got, fromWire(got.Err)
}

// Revision implements [store.Reader].
func (w *remoteWriter) Revision() store.Revision { return w.revision }

// Get implements [store.Reader].
func (w *remoteWriter) Get(key []byte) ([]byte, error) {
	got, err := w.ask(ask{Op: opGet, Key: key})
	return got.Value, err
}

// Scan implements [store.Reader].
func (w *remoteWriter) Scan(prefix, from []byte) iter.Seq2[store.Entry, error] {
	return func(yield func(store.Entry, error) bool) {
		for more := true; more; {
			got, err := w.ask(ask{Op: opScan, Key: prefix, Value: from})
			if err != nil {
				yield(store.Entry{}, err)
				return
			}
			for _, e := range got.Entries {
				if !yield(store.Entry{Key: e.Key, Value: e.Value}, fromWire(e.Err)) {
					return
				}
				from = append(append([]byte{}, e.Key...), 0)
			}
			more = got.More
		}
	}
}

// Put implements [store.Writer].
func (w *remoteWriter) Put(key, value []byte) error {
	return w.write(ask{Op: opPut, Key: key, Value: value})
}

// Delete implements [store.Writer].
func (w *remoteWriter) Delete(key []byte) error { return w.write(ask{Op: opDelete, Key: key}) }

// Urgent makes [store.Urgent] work.
func (w *remoteWriter) Urgent() { _ = w.write(ask{Op: opUrgent}) }

// write sends what has no reply: an error comes with the end of the call.
func (w *remoteWriter) write(a ask) error {
	if w.failed == nil {
		w.failed = w.link.Encode(a)
	}
	if w.failed != nil {
		return unreachable(w.failed)
	}
	return nil
}
