package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sallyport/config"
	"sallyport/store"
	"sallyport/store/handover"
)

// sharedStore is a store in a file, which another process can take over.
type sharedStore struct {
	*handover.Store
	file fileStore
}

// fileStore is the engine of a [sharedStore].
type fileStore interface {
	engine
	Release() error
	Retake() error
}

func newSharedStore(file fileStore) *sharedStore {
	return &sharedStore{handover.New(file), file}
}

// Run implements engine.
func (s *sharedStore) Run(ctx context.Context) error { return s.file.Run(ctx) }

// Err implements engine.
func (s *sharedStore) Err() error { return s.file.Err() }

// Continue implements engine.
func (s *sharedStore) Continue(after store.Revision) { s.file.Continue(after) }

// Collectors implements engine.
func (s *sharedStore) Collectors() []prometheus.Collector { return s.file.Collectors() }

// shared returns the store if it is in a file.
func (c *components) shared() *sharedStore {
	s, _ := c.store.(*sharedStore)
	return s
}

// custody is what another process has of the components, or is about to have.
type custody struct {
	pushing  chan struct{} // has a value while a change is copied to the record, and while that must not be
	handed   chan struct{} // closed once another process does everything that one process does for all
	released struct{ store, record bool }
}

func newCustody() custody {
	return custody{pushing: make(chan struct{}, 1), handed: make(chan struct{})}
}

// isHanded reports whether another process does everything that one process does for all.
func (c *custody) isHanded() bool {
	select {
	case <-c.handed:
		return true
	default:
		return false
	}
}

// unlessHanded runs f until another process does the same.
func (c *custody) unlessHanded(ctx context.Context, f func(context.Context) error) error {
	own, stop := context.WithCancel(ctx)
	defer stop()
	done := make(chan struct{})
	defer close(done)
	go func() {
		select {
		case <-c.handed:
			stop()
		case <-done:
		}
	}()
	err := f(own)
	if c.isHanded() {
		<-ctx.Done()
		return ctx.Err()
	}
	return err
}

// releaseStore lets another process open the store. Reads and changes wait. It returns the newest revision; 0 for a database,
// which both processes use.
func (c *components) releaseStore(ctx context.Context) (revision store.Revision, err error) {
	s := c.shared()
	if s == nil {
		return 0, nil
	}
	ctx, cancel := context.WithTimeout(ctx, holdTime)
	defer cancel()
	if err := s.Hold(ctx); err != nil {
		return 0, fmt.Errorf("%w; if a backup is being made, try again when it has ended", err)
	}
	err = s.file.View(ctx, func(r store.Reader) error { revision = r.Revision(); return nil })
	if err == nil {
		err = s.file.Release()
	}
	if err != nil {
		s.Use(s.file)
		return 0, fmt.Errorf("releasing the store: %w", err)
	}
	c.custody.released.store = true
	return revision, nil
}

// releaseRecord lets another process continue the record. Events wait.
func (c *components) releaseRecord(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, holdTime)
	defer cancel()
	select {
	case c.custody.pushing <- struct{}{}:
	case <-ctx.Done():
		return errors.New("a change of the directory cannot be copied to the audit record")
	}
	if err := c.record.Release(); err != nil {
		<-c.custody.pushing
		return fmt.Errorf("releasing the audit record: %w", err)
	}
	c.custody.released.record = true
	c.unlockRecord()
	return nil
}

// How long, and how often, a process tries to take back what the new process has released or lost.
const (
	retakeTime  = 10 * time.Second
	retakeEvery = 100 * time.Millisecond
)

// retake takes back what was released, from a process that has ended.
func (c *components) retake(file *config.File) error {
	if c.custody.released.store {
		s := c.shared()
		if err := untilDone(s.file.Retake); err != nil {
			return fmt.Errorf("the store cannot be opened again: %w", err)
		}
		s.Use(s.file)
		c.custody.released.store = false
	}
	if c.custody.released.record {
		err := untilDone(func() (err error) { c.unlockRecord, err = lockRecord(file); return err })
		if err != nil {
			return err
		}
		c.record.Retake()
		c.custody.released.record = false
		<-c.custody.pushing
	}
	return nil
}

// untilDone tries until do succeeds: a command may have the file open for a moment.
func untilDone(do func() error) (err error) {
	for deadline := time.Now().Add(retakeTime); ; time.Sleep(retakeEvery) {
		if err = do(); err == nil || time.Now().After(deadline) {
			return err
		}
	}
}

// succeeded has this process use the store and the record through the one that has taken over.
func (c *components) succeeded(remote *handover.Remote, record net.Conn) {
	close(c.custody.handed)
	if s := c.shared(); s != nil {
		s.Use(remote)
		_ = s.file.Close() // nothing but its feed was open
	} else {
		remote.Leave()
	}
	c.record.Relay(newEventRelay(record).write)
	c.custody.released.record = false
	c.unlockRecord = func() {}
	<-c.custody.pushing
}

// leave says that this process decides nothing any more, if another one has taken over.
func (c *components) leave() {
	if s := c.shared(); s != nil && c.custody.isHanded() {
		s.Leave()
	}
}
