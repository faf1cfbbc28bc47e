package postgres

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"sallyport/store"
)

// How often a replica renews its lease, how long one renewal may take, and how often it looks whether the lease has run out.
const (
	renewEvery   = 200 * time.Millisecond
	renewTimeout = 5 * time.Second
	lookEvery    = 50 * time.Millisecond
)

// lease is the right of this replica to decide. A renewal is a write, since a server that is the primary no more still
// answers reads, and then reads the newest revision. Whoever has applied that revision may decide until the lease, counted
// from before the renewal, runs out. Whoever commits a later change finds the renewal in the table, and waits for it.
type lease struct {
	process string // names the row of this process alone: a replica that is replaced has another process for a while
	replica string
	length  time.Duration

	renewals atomic.Pointer[[]renewal] // those that may still matter, the newest first
	said     store.Revision            // what the last renewal said is applied; only renew and who calls it use it

	mu        sync.Mutex // guards the fields below
	followers []*follower
	changed   chan struct{} // closed when the error of a follower may be another
	applied   chan struct{} // has a value when a follower has applied a change
}

// renewal is one renewal of the lease.
type renewal struct {
	start    time.Duration // before it was sent, by a clock that counts the time in which the machine sleeps
	revision store.Revision
}

func newLease(process, replica string, length time.Duration) *lease {
	l := &lease{process: process, replica: replica, length: length, changed: make(chan struct{}), applied: make(chan struct{}, 1)}
	l.renewals.Store(&[]renewal{})
	return l
}

// follower is memory that follows the store. It implements [store.Follower].
type follower struct {
	lease   *lease
	applied atomic.Uint64
	failed  bool // whether Err gave an error when it was looked at last; guarded by the mutex of the lease
}

// Follow implements [store.Leaser].
func (s *Store) Follow() store.Follower {
	f := &follower{lease: s.lease, failed: true} // memory has applied nothing yet
	s.lease.mu.Lock()
	defer s.lease.mu.Unlock()
	s.lease.followers = append(s.lease.followers, f)
	return f
}

// Applied implements [store.Follower].
func (f *follower) Applied(revision store.Revision) {
	f.applied.Store(uint64(revision))
	select {
	case f.lease.applied <- struct{}{}:
	default: // the next renewal has yet to see the last one
	}
}

// Changed implements [store.Follower].
func (f *follower) Changed() <-chan struct{} {
	f.lease.mu.Lock()
	defer f.lease.mu.Unlock()
	return f.lease.changed
}

// Err implements [store.Follower].
func (f *follower) Err() error { return f.lease.err(store.Revision(f.applied.Load()), bootTime()) }

// err returns nil if memory that has the revision applied may be decided from at now.
func (l *lease) err(applied store.Revision, now time.Duration) error {
	renewals := *l.renewals.Load()
	for _, r := range renewals {
		if now >= r.start+l.length {
			break
		}
		if r.revision <= applied {
			return nil
		}
	}
	if len(renewals) == 0 {
		return fmt.Errorf("%w: it has not reached the database yet", store.ErrStale)
	}
	return fmt.Errorf("%w: the database last confirmed that it is current %s ago, and the lease is %s", store.ErrStale, (now - renewals[0].start).Round(time.Second), l.length)
}

// add keeps a renewal, and those before that are needed.
func (l *lease) add(r renewal) {
	remaining := []renewal{r}
	for _, old := range *l.renewals.Load() {
		if r.start < old.start+l.length && old.revision < remaining[len(remaining)-1].revision {
			remaining = append(remaining, old)
		}
	}
	l.renewals.Store(&remaining)
}

// oldest returns the revision that every follower has applied.
func (l *lease) oldest() store.Revision {
	l.mu.Lock()
	defer l.mu.Unlock()
	var oldest store.Revision
	for i, f := range l.followers {
		if applied := store.Revision(f.applied.Load()); i == 0 || applied < oldest {
			oldest = applied
		}
	}
	return oldest
}

// look tells the followers whose error begins or ends.
func (l *lease) look() {
	l.mu.Lock()
	defer l.mu.Unlock()
	now, moved := bootTime(), false
	for _, f := range l.followers {
		if failed := l.err(store.Revision(f.applied.Load()), now) != nil; failed != f.failed {
			f.failed, moved = failed, true
		}
	}
	if moved {
		close(l.changed)
		l.changed = make(chan struct{})
	}
}
