package session

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"sallyport/store"
)

// load reads all of the store into fresh memory and swaps it in.
func (s *Sessions) load(ctx context.Context) error {
	m := &Sessions{sessions: map[string]*entry{}, tokens: map[digest]grant{}}
	err := s.store.View(ctx, func(r store.Reader) error {
		m.revision = r.Revision()
		for _, prefix := range []string{prefixOf, prefixGrant} { // sessions before what points at them
			if err := m.read(r, prefix); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, e := range m.sessions {
		s.clock.reach(e.record.Load().Used)
		if old := s.sessions[id]; old != nil {
			raise(e, old.used.Load())
		}
	}
	s.sessions, s.tokens = m.sessions, m.tokens
	s.advance(m.revision, true)
	return nil
}

// read takes every record under prefix into memory. A damaged one opens nothing.
func (s *Sessions) read(r store.Reader, prefix string) error {
	for e, err := range r.Scan([]byte(prefix), nil) {
		if errors.Is(err, store.ErrDamaged) {
			continue
		}
		if err != nil {
			return err
		}
		s.apply(store.Write{Key: e.Key, Value: e.Value})
	}
	return nil
}

// follow brings every change of the store into memory, in order, until ctx ends or the store fails.
func (s *Sessions) follow(ctx context.Context) error {
	for {
		s.mu.RLock()
		after := s.revision
		s.mu.RUnlock()
		err := s.watch(ctx, after)
		if !errors.Is(err, store.ErrCompacted) {
			return err
		}
		if err := s.load(ctx); err != nil {
			return fmt.Errorf("loading sessions anew: %w", err)
		}
	}
}

func (s *Sessions) watch(ctx context.Context, after store.Revision) error {
	for change, err := range s.store.Watch(ctx, after) {
		if err != nil {
			return err
		}
		s.take(change)
	}
	return ctx.Err()
}

// take applies one change, sessions before the tokens that point at them.
func (s *Sessions) take(change store.Change) {
	s.mu.Lock()
	defer s.mu.Unlock()
	over := false
	for _, prefix := range []string{prefixOf, prefixGrant} {
		for _, w := range change.Writes {
			if strings.HasPrefix(string(w.Key), prefix) {
				over = s.apply(w) || over
			}
		}
	}
	s.advance(change.Revision, over)
}

// advance says that memory has everything up to revision, and wakes who waits for it.
func (s *Sessions) advance(revision store.Revision, over bool) {
	s.revision = max(s.revision, revision)
	if s.moved != nil {
		close(s.moved)
	}
	s.moved = make(chan struct{})
	if over {
		s.change()
	}
}

// change closes Changed and opens the next; mu is held.
func (s *Sessions) change() {
	if s.changed != nil {
		close(s.changed)
	}
	s.changed = make(chan struct{})
}

// apply takes one write into memory and says whether a session may have ended by it.
func (s *Sessions) apply(w store.Write) (over bool) {
	key := string(w.Key)
	switch {
	case strings.HasPrefix(key, prefixOf) && w.Deleted:
		_, id, _ := strings.Cut(strings.TrimPrefix(key, prefixOf), "/")
		return s.drop(id)
	case strings.HasPrefix(key, prefixOf):
		return s.keep(key, w.Value)
	case strings.HasPrefix(key, prefixGrant):
		s.applyGrant(w)
	}
	return false
}

// keep takes a record into memory; one that cannot be read is no session.
func (s *Sessions) keep(key string, value []byte) (over bool) {
	r := new(record)
	if json.Unmarshal(value, r) != nil || key != string(recordKey(r.User, r.ID)) {
		_, id, _ := strings.Cut(strings.TrimPrefix(key, prefixOf), "/")
		return s.drop(id)
	}
	e := s.sessions[r.ID]
	if e == nil {
		e = new(entry)
		s.sessions[r.ID] = e
	}
	raise(e, r.Used.UnixNano())
	e.record.Store(r)
	return r.Reason != ""
}

func (s *Sessions) drop(id string) (over bool) {
	e := s.sessions[id]
	if e == nil {
		return false
	}
	for _, d := range e.tokens {
		delete(s.tokens, d)
	}
	delete(s.sessions, id)
	return true
}

func (s *Sessions) applyGrant(w store.Write) {
	id, d, ok := parseTokenKey(prefixGrant, w.Key)
	if !ok {
		return
	}
	if old, had := s.tokens[d]; had {
		old.entry.tokens = slices.DeleteFunc(old.entry.tokens, func(x digest) bool { return x == d })
		delete(s.tokens, d)
	}
	var g grantRecord
	e := s.sessions[id]
	if e == nil || w.Deleted || json.Unmarshal(w.Value, &g) != nil {
		return
	}
	e.tokens = append(e.tokens, d)
	s.tokens[d] = grant{entry: e, host: g.Host}
}

// raise makes e used no earlier than used.
func raise(e *entry, used int64) {
	for {
		had := e.used.Load()
		if used <= had || e.used.CompareAndSwap(had, used) {
			return
		}
	}
}

// update commits fn and returns once memory has the commit.
func (s *Sessions) update(ctx context.Context, fn func(store.Writer) error) error {
	revision, err := s.store.Update(ctx, fn)
	if err != nil {
		return err
	}
	for {
		s.mu.RLock()
		reached, moved, stopped := s.revision >= revision, s.moved, s.stopped
		s.mu.RUnlock()
		switch {
		case reached:
			return nil
		case stopped != nil:
			return stopped
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
