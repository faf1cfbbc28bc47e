package session

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"sallyport/store"
	"sallyport/store/follow"
)

// memory is what Read and Live read: every session, and the session of each token.
type memory struct {
	sessions map[string]*entry    // by id
	tokens   map[digest]hostToken // nil before there is one
	signing  []*SigningKey        // the oldest first; replaced, never altered
	sealing  []byte               // replaced, never altered
	loaded   []*entry             // in the order of the store, by user, with entries that were removed since; nil after the first change
}

// entry is one session in memory. Its record is replaced, never altered.
type entry struct {
	record atomic.Pointer[record]
	*shared
	tokens []digest
}

// shared is what an entry keeps when everything is read again. Requests and whoever ends sessions hold it.
type shared struct {
	used    lastUse
	counted atomic.Bool // the end of the session is in the metrics
}

// hostToken is a token in memory: the session it belongs to, on one host.
type hostToken struct {
	entry *entry
	host  string
}

func newMemory() memory {
	return memory{sessions: map[string]*entry{}}
}

// followedPrefixes are the prefixes of the keys that memory follows, in the order in which records are applied: sessions
// before the tokens that refer to them.
var followedPrefixes = []string{prefixSession, prefixToken, prefixSigning, keySealing}

// load reads the whole store and replaces memory. If memory has a later use of a session than the store, the session
// keeps the later one.
func (s *Sessions) load(ctx context.Context) (revision store.Revision, err error) {
	loaded := newMemory()
	err = s.store.View(ctx, func(r store.Reader) error {
		revision = r.Revision()
		for _, prefix := range followedPrefixes {
			read := loaded.read
			if prefix == prefixSession {
				read = loaded.readSessions
			}
			damaged, err := read(r, prefix)
			if err != nil {
				return err
			}
			if damaged > 0 {
				s.log.Error("damaged records of sessions are left out", "prefix", prefix, "count", damaged)
			}
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var latest int64 // use, in nanoseconds since 1970
	for id, e := range loaded.sessions {
		latest = max(latest, e.record.Load().Used.UnixNano())
		if old := s.memory.sessions[id]; old != nil {
			old.used.stored(e.used.get())
			e.shared = old.shared
		}
	}
	s.clock.atLeast(time.Unix(0, latest))
	if err := loaded.keepKeys(&s.memory); err != nil {
		return 0, err
	}
	s.memory = loaded
	return revision, nil
}

// keepKeys takes the keys that the store lacks from old memory. It returns an error if old memory lacks them too.
func (m *memory) keepKeys(old *memory) error {
	if len(m.signing) == 0 {
		m.signing = old.signing
	}
	if len(m.sealing) == 0 {
		m.sealing = old.sealing
	}
	if len(m.signing) == 0 || len(m.sealing) == 0 {
		return fmt.Errorf("the signing keys or the sealing key: %w", store.ErrNotFound)
	}
	return nil
}

// read reads every record under prefix. It leaves out damaged records, which give nobody access, and returns how many
// there are.
func (m *memory) read(r store.Reader, prefix string) (damaged int, err error) {
	for e, err := range r.Scan([]byte(prefix), nil) {
		switch {
		case errors.Is(err, store.ErrDamaged):
			damaged++
		case err != nil:
			return 0, err
		default:
			m.apply(store.Write{Key: e.Key, Value: e.Value})
		}
	}
	return damaged, nil
}

// readSessions is read of the sessions. It makes room in memory once it knows how many there are: maps that grow on and on
// take long.
func (m *memory) readSessions(r store.Reader, prefix string) (damaged int, err error) {
	var records []*record
	put := func() {
		if len(m.sessions) == 0 {
			m.sessions = make(map[string]*entry, len(records))
		}
		for _, r := range records {
			e, _ := m.put(r)
			m.loaded = append(m.loaded, e)
		}
		records = nil
	}
	for e, err := range r.Scan([]byte(prefix), nil) {
		switch r := recordIn(e.Key, e.Value); {
		case errors.Is(err, store.ErrDamaged):
			damaged++
		case err != nil:
			return 0, err
		case r == nil:
			put() // what comes before it
			m.remove(idInKey(e.Key))
		default:
			records = append(records, r)
		}
	}
	put()
	return damaged, nil
}

// apply brings one change of the store into memory and reports whether a session may have ended by it.
func (s *Sessions) apply(change store.Change) (ended bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var users []string
	s.memory.loaded = nil
	for _, prefix := range followedPrefixes {
		for _, w := range change.Writes {
			if bytes.HasPrefix(w.Key, []byte(prefix)) {
				users = append(users, s.memory.apply(w)...)
			}
		}
	}
	s.touched.Add(users...)
	return len(users) > 0
}

// apply brings one write into memory and returns the users of whom a session may have ended by it.
func (m *memory) apply(w store.Write) (ended []string) {
	switch {
	case bytes.HasPrefix(w.Key, []byte(prefixSession)) && w.Deleted:
		return m.remove(idInKey(w.Key))
	case bytes.HasPrefix(w.Key, []byte(prefixSession)):
		return m.applyRecord(w.Key, w.Value)
	case bytes.HasPrefix(w.Key, []byte(prefixToken)):
		m.applyToken(w)
	case bytes.HasPrefix(w.Key, []byte(prefixSigning)):
		m.applySigning(w)
	case string(w.Key) == keySealing:
		m.applySealing(w)
	}
	return nil
}

// applyRecord replaces a session's record. A record that cannot be read, or that has the key of another session, removes
// the session.
func (m *memory) applyRecord(key, value []byte) (ended []string) {
	r := recordIn(key, value)
	if r == nil {
		return m.remove(idInKey(key))
	}
	_, ended = m.put(r)
	return ended
}

// recordIn returns the record that is stored as value at key; nil if it cannot be read, or has the key of another session.
func recordIn(key, value []byte) *record {
	if r := new(record); decodeRecord(value, r) == nil && r.isAt(key) {
		return r
	}
	return nil
}

// put replaces a session's record, and returns its entry and the users of whom a session may have ended by it.
func (m *memory) put(r *record) (e *entry, ended []string) {
	if e = m.sessions[r.ID]; e == nil {
		e = &entry{shared: new(shared)}
		m.sessions[r.ID] = e
	} else if old := e.record.Load(); old.User != r.User { // the ids of sessions are random: it is damaged, or made up
		ended = append(ended, old.User, r.User)
	}
	e.used.stored(r.Used.UnixNano())
	e.record.Store(r)
	if r.Reason != "" {
		ended = append(ended, r.User)
	}
	return e, ended
}

// each yields every session; before the first change, those of one user after each other, which is much faster than in the
// order of a map. It may yield some that were removed.
func (m *memory) each() iter.Seq[*entry] {
	if m.loaded != nil {
		return slices.Values(m.loaded)
	}
	return maps.Values(m.sessions)
}

func (m *memory) remove(id string) (ended []string) {
	e := m.sessions[id]
	if e == nil {
		return nil
	}
	for _, d := range e.tokens {
		delete(m.tokens, d)
	}
	delete(m.sessions, id)
	return []string{e.record.Load().User}
}

func (m *memory) applyToken(w store.Write) {
	id, d, ok := parseTokenKey(prefixToken, w.Key)
	if !ok {
		return
	}
	if old, ok := m.tokens[d]; ok {
		old.entry.tokens = slices.DeleteFunc(old.entry.tokens, func(other digest) bool { return other == d })
		delete(m.tokens, d)
	}
	e := m.sessions[string(id)]
	if e == nil || w.Deleted {
		return
	}
	host, err := hostOf(w.Value)
	if err != nil {
		return
	}
	if m.tokens == nil {
		m.tokens = make(map[digest]hostToken, len(m.sessions)) // most sessions have one
	}
	e.tokens = append(e.tokens, d)
	m.tokens[d] = hostToken{entry: e, host: host}
}

// entry returns the entry of the session with id, or nil.
func (s *Sessions) entry(id string) *entry {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.memory.sessions[id]
}

// updateFunc commits what fn writes.
type updateFunc func(ctx context.Context, fn func(store.Writer) error) error

// commit commits what fn writes.
func (s *Sessions) commit(ctx context.Context, fn func(store.Writer) error) error {
	_, err := s.store.Update(ctx, fn)
	return err
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
