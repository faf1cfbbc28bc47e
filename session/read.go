package session

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sallyport/store"
)

// Read returns the session that a cookie's value belongs to on host, or ErrNone, ErrExpired, ErrEnded, or ErrStopped
// (which is doubt, not a denial). It reads memory only and counts as use of the session. host must equal the host of
// the token byte for byte.
func (s *Sessions) Read(cookie, host string) (*Session, error) {
	d, ok := digestOf(cookie)
	if !ok {
		return nil, ErrNone
	}
	s.mu.RLock()
	t, ok := s.memory.tokens[d]
	s.mu.RUnlock()
	switch {
	case s.mirror.Err() != nil:
		return nil, ErrStopped
	case !ok || t.host != host:
		return nil, ErrNone
	}
	r, now := t.entry.record.Load(), s.clock.now()
	if err := s.check(t.entry, r, now); err != nil {
		return nil, err
	}
	if !t.entry.used.note(now.UnixNano()) {
		return nil, ErrExpired // found to be idle since the check
	}
	return s.inForce.Load().shown(r), nil
}

// Find is Read of what any replica has stored: a session that another one began a moment ago is found, while an unknown
// cookie costs a question to the database, which is shared by all that come at the same time.
func (s *Sessions) Find(ctx context.Context, cookie, host string) (*Session, error) {
	found, err := s.Read(cookie, host)
	if !errors.Is(err, ErrNone) || !isToken(cookie) {
		return found, err
	}
	if err := s.CatchUp(ctx); err != nil {
		return nil, err
	}
	return s.Read(cookie, host)
}

// CatchUp returns nil once memory has what any replica has stored before the call.
func (s *Sessions) CatchUp(ctx context.Context) error {
	if err := s.mirror.CatchUp(ctx); err != nil {
		return fmt.Errorf("%w: %w", ErrStopped, err)
	}
	return nil
}

// Live returns a session if it may still be used, or ErrNone, ErrExpired, ErrEnded, or ErrStopped. It reads memory
// only and does not count as use.
func (s *Sessions) Live(id string) (*Session, error) {
	e := s.entry(id)
	switch {
	case s.mirror.Err() != nil:
		return nil, ErrStopped
	case e == nil:
		return nil, ErrNone
	}
	r := e.record.Load()
	if err := s.check(e, r, s.clock.now()); err != nil {
		return nil, err
	}
	return s.inForce.Load().shown(r), nil
}

// check returns nil if the session of e, whose record is r, may be used at now, or ErrExpired or ErrEnded. A session that
// it finds to be idle for too long stays so.
func (s *Sessions) check(e *entry, r *record, now time.Time) error {
	f := s.inForce.Load()
	switch {
	case r.Reason == ReasonExpired || r.Reason == ReasonIdle:
		return ErrExpired
	case r.Reason != "", !f.accepts(r):
		return ErrEnded
	case !now.Before(f.expires(r)), e.used.endIfIdle(now.UnixNano(), s.idle()):
		return ErrExpired
	}
	return nil
}

// checkIn reads a session's record from the store and checks it like Live.
func (s *Sessions) checkIn(r store.Reader, id string) (record, error) {
	e := s.entry(id)
	if e == nil {
		return record{}, ErrNone
	}
	stored, err := readRecord(r, e.record.Load().User, id)
	if err != nil {
		return record{}, err
	}
	return stored, s.check(e, &stored, s.clock.now())
}

// expiry returns why a session that was last used at used, in nanoseconds since 1970, has ended by itself at now, or "".
func (s *Sessions) expiry(r *record, used int64, now time.Time) Reason {
	f := s.inForce.Load()
	switch {
	case !f.accepts(r):
		return ReasonSettings
	case !now.Before(f.expires(r)):
		return ReasonExpired
	case now.UnixNano()-used >= int64(s.idle()):
		return ReasonIdle
	}
	return ""
}

// List returns a copy of every live session, in no order; Used is exact. It leaves out those that ended with their user
// (see [Sessions.EndWithUsers]).
func (s *Sessions) List() []Session { return s.list(func(*record) bool { return true }) }

// ListUser is [Sessions.List] of one user.
func (s *Sessions) ListUser(user string) []Session {
	return s.list(func(r *record) bool { return r.User == user })
}

func (s *Sessions) list(wanted func(*record) bool) []Session {
	now := s.clock.now()
	s.mu.RLock()
	defer s.mu.RUnlock()
	var list []Session
	for _, e := range s.memory.sessions {
		if r := e.record.Load(); wanted(r) && !e.counted.Load() && s.check(e, r, now) == nil {
			live := *s.inForce.Load().shown(r)
			live.Used = time.Unix(0, e.used.get()).UTC()
			list = append(list, live)
		}
	}
	return list
}

// Changed returns a channel that is closed when Live may give another result than before. Take it before asking.
func (s *Sessions) Changed() <-chan struct{} { return s.mirror.Changed() }

// Touched returns the users, by the directory's ids, for whose sessions Live may give another result than when it
// returned since, and what to call it with the next time. It reports false if that is not known: then it may be any user.
// Take the channel of Changed before calling it, and call Live afterwards. A user may be named more than once, and
// without need.
//
// Live may also give another result by the passing of time, which is noticed within [sweepEvery], and after
// [Sessions.Configure].
func (s *Sessions) Touched(since uint64) (users []string, now uint64, known bool) {
	return s.touched.Since(since)
}
