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
	"sallyport/store/postgres"
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

// database returns the store if it is in a database, which both processes of an upgrade use.
func (c *components) database() *postgres.Store {
	s, _ := c.store.(*postgres.Store)
	return s
}

// hello returns what a process that is to take over has to know of the store and the record.
func (c *components) hello(file *config.File) message {
	m := message{Step: stepHello, Store: file.Store.String(), Record: file.Audit.File}
	if db := c.database(); db != nil {
		m.Replica, m.Process, m.Former = c.recorder.name, db.NameSuccessor(), db.Process()
	}
	return m
}

// forgetTime is how long it may take to have the database forget a process.
const forgetTime = 5 * time.Second

// forget has pushes not wait for the lease of a process that has ended, or never began one.
func (c *components) forget(process string) {
	db := c.database()
	if db == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), forgetTime)
	defer cancel()
	if err := db.Forget(ctx, process); err != nil {
		c.log.Warn("pushes may wait until the lease of a process that has ended runs out", "process", process, "err", err)
	}
}

// takeRecord goes on with the record of the process that this one succeeds. Requests wait once that process has released the
// record, so that whatever can be done before is.
func (c *components) takeRecord(ctx context.Context, file *config.File, former *former) (err error) {
	if err := c.followAhead(ctx); err != nil {
		return err
	}
	checkpoints, err := c.checkpoints(ctx)
	if err != nil {
		return err
	}
	if err := former.loaded(); err != nil {
		return err
	}
	if c.unlockRecord, err = lockRecord(file); err != nil {
		c.unlockRecord = func() {}
		return err
	}
	if err := c.openRecord(ctx, file, former); err != nil {
		return err
	}
	c.record.SignCheckpoints(checkpoints)
	if c.database() != nil { // which is that of the former process, whose history the record is of
		return nil
	}
	return c.checkLineage(ctx, file)
}

// following keeps memory equal to the store.
type following struct {
	stop  context.CancelFunc
	ended chan struct{} // closed when it has ended
	err   error         // why; valid then
}

// followAhead keeps memory equal to a database from now on, and returns once the database has confirmed that it is current:
// requests would be refused if that were to begin with serving.
func (c *components) followAhead(ctx context.Context) error {
	db := c.database()
	if db == nil {
		return nil
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	c.ahead = &following{stop: stop, ended: make(chan struct{})}
	go func() { defer close(c.ahead.ended); c.ahead.err = c.follow(running) }()
	ctx, cancel := context.WithTimeout(ctx, loadTime)
	defer cancel()
	return db.AwaitCurrent(ctx)
}

// followOn keeps memory equal to the store until ctx ends; it goes on with what followAhead has begun.
func (c *components) followOn(ctx context.Context) error {
	if c.ahead == nil {
		return c.follow(ctx)
	}
	defer c.ahead.end()
	select {
	case <-c.ahead.ended:
		return c.ahead.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// end ends following, and returns when that has ended.
func (f *following) end() {
	f.stop()
	<-f.ended
}

// custody is what another process has of the components, or is about to have.
type custody struct {
	pushing  chan struct{} // has a value while a change is copied to the record or its end is kept, and while that must not be
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
		return errors.New("a change of the directory cannot be copied to the audit record, or the end of the record not be stored")
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
		c.recorder.reclaim()
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

// succeeded has this process use the record, and a store in a file, through the one that has taken over. remote is nil for a
// database, which this process goes on to use by itself.
func (c *components) succeeded(remote *handover.Remote, record net.Conn) {
	close(c.custody.handed)
	if s := c.shared(); s != nil {
		s.Use(remote)
		_ = s.file.Close() // nothing but its feed was open
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
