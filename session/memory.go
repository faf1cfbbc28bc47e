package session

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"sallyport/store"
	"sallyport/store/follow"
)

// memory is what Read and Live answer from: every session record, and what each
// token opens.
type memory struct {
	sessions map[string]*entry // by id
	tokens   map[digest]grant
}

func newMemory() memory {
	return memory{sessions: map[string]*entry{}, tokens: map[digest]grant{}}
}

// recordsFirst is the order in which keys are read: a token points at a session.
var recordsFirst = []string{prefixOf, prefixGrant}

// load reads the whole store and replaces memory. A session keeps the later of
// the two times of use.
func (s *Sessions) load(ctx context.Context) (revision store.Revision, err error) {
	loaded := newMemory()
	err = s.store.View(ctx, func(r store.Reader) error {
		revision = r.Revision()
		for _, prefix := range recordsFirst {
			if err := loaded.read(r, prefix); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, e := range loaded.sessions {
		s.clock.atLeast(e.record.Load().Used)
		if old := s.memory.sessions[id]; old != nil {
			e.touch(old.used.Load())
		}
	}
	s.memory = loaded
	return revision, nil
}

// read reads every record under prefix. A damaged one opens nothing.
func (m *memory) read(r store.Reader, prefix string) error {
	for e, err := range r.Scan([]byte(prefix), nil) {
		if errors.Is(err, store.ErrDamaged) {
			continue
		}
		if err != nil {
			return err
		}
		m.apply(store.Write{Key: e.Key, Value: e.Value})
	}
	return nil
}

// apply brings one change of the store into memory and reports whether a session
// may have ended by it.
func (s *Sessions) apply(change store.Change) (ended bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, prefix := range recordsFirst {
		for _, w := range change.Writes {
			if strings.HasPrefix(string(w.Key), prefix) {
				ended = s.memory.apply(w) || ended
			}
		}
	}
	return ended
}

// apply brings one write into memory and reports whether a session may have
// ended by it.
func (m *memory) apply(w store.Write) (ended bool) {
	key := string(w.Key)
	switch {
	case strings.HasPrefix(key, prefixOf) && w.Deleted:
		return m.remove(idInKey(key))
	case strings.HasPrefix(key, prefixOf):
		return m.applyRecord(key, w.Value)
	case strings.HasPrefix(key, prefixGrant):
		m.applyGrant(w)
	}
	return false
}

// idInKey returns the session's id in the key of its record.
func idInKey(key string) string {
	_, id, _ := strings.Cut(strings.TrimPrefix(key, prefixOf), "/")
	return id
}

// applyRecord stores a session's record; one that cannot be read, or that stands
// at another session's key, is no session.
func (m *memory) applyRecord(key string, value []byte) (ended bool) {
	r := new(record)
	if json.Unmarshal(value, r) != nil || key != string(recordKey(r.User, r.ID)) {
		return m.remove(idInKey(key))
	}
	e := m.sessions[r.ID]
	if e == nil {
		e = new(entry)
		m.sessions[r.ID] = e
	}
	e.touch(r.Used.UnixNano())
	e.record.Store(r)
	return r.Reason != ""
}

func (m *memory) remove(id string) (ended bool) {
	e := m.sessions[id]
	if e == nil {
		return false
	}
	for _, d := range e.tokens {
		delete(m.tokens, d)
	}
	delete(m.sessions, id)
	return true
}

func (m *memory) applyGrant(w store.Write) {
	id, d, ok := parseTokenKey(prefixGrant, w.Key)
	if !ok {
		return
	}
	if old, ok := m.tokens[d]; ok {
		old.entry.tokens = slices.DeleteFunc(old.entry.tokens, func(other digest) bool { return other == d })
		delete(m.tokens, d)
	}
	var g grantRecord
	e := m.sessions[id]
	if e == nil || w.Deleted || json.Unmarshal(w.Value, &g) != nil {
		return
	}
	e.tokens = append(e.tokens, d)
	m.tokens[d] = grant{entry: e, host: g.Host}
}

// touch makes used the entry's last use, unless a later one is known.
func (e *entry) touch(used int64) {
	for {
		last := e.used.Load()
		if used <= last || e.used.CompareAndSwap(last, used) {
			return
		}
	}
}

// entry returns the entry of the session with id, or nil.
func (s *Sessions) entry(id string) *entry {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.memory.sessions[id]
}

// update commits what fn writes and returns once memory has it.
func (s *Sessions) update(ctx context.Context, fn func(store.Writer) error) error {
	revision, err := s.store.Update(ctx, fn)
	if err != nil {
		return err
	}
	if err := s.mirror.Wait(ctx, revision); errors.Is(err, follow.ErrEnded) {
		return ErrStopped
	} else if err != nil {
		return err
	}
	return nil
}
