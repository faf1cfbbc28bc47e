// Package session remembers who has signed in, on which browser, until they sign out or we end it.
//
// One session is one login of one browser. The browser holds an opaque 256-bit token for each host it visits; the
// store holds the SHA-256 of each. Read answers from memory; everything else commits first and returns once memory
// has the commit. Memory advances in revision order, in Run and nowhere else: what changes the store while Run is
// not running waits for its context to end.
package session

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"

	"sallyport/store"
	"sallyport/store/follow"
)

// ErrNone means the cookie, ticket or id names no session here: nobody is signed in.
var ErrNone = errors.New("no such session")

// ErrExpired means the session outlived its lifetime or was left idle too long.
var ErrExpired = errors.New("session has expired")

// ErrEnded means the session was ended before its time: by logout, by an operator, by its user's leaving.
var ErrEnded = errors.New("session has ended")

// ErrStopped means Run has ended and memory no longer follows the store; nothing may be decided from it.
var ErrStopped = errors.New("sessions no longer follow the store")

// Reason says why a session ended; the set is closed.
type Reason string

// The reasons a session ends.
const (
	ReasonLogout   Reason = "logout"   // its user signed out
	ReasonExpired  Reason = "expired"  // it reached its lifetime
	ReasonIdle     Reason = "idle"     // nobody used it for a while
	ReasonUser     Reason = "user"     // its user was deactivated, deleted or suspended
	ReasonOperator Reason = "operator" // an operator ended it
	ReasonProvider Reason = "provider" // the identity provider said that it is over
	ReasonReplaced Reason = "replaced" // its user began more sessions than one may have
)

// Reasons lists the closed set.
func Reasons() []Reason {
	return []Reason{ReasonLogout, ReasonExpired, ReasonIdle, ReasonUser, ReasonOperator, ReasonProvider, ReasonReplaced}
}

// Session is one login of one browser. A Session handed out is a copy or shared and never changes.
type Session struct {
	ID              string    `json:"id"`                         // 32 hex digits; names the session, opens nothing
	User            string    `json:"user"`                       // the directory's id of the user
	Epoch           uint64    `json:"epoch"`                      // the user's epoch at login; an older one is dead for ever
	UserName        string    `json:"user_name"`                  // for people who read lists
	Subject         string    `json:"subject"`                    // the provider's sub
	ProviderSession string    `json:"provider_session,omitempty"` // the provider's sid
	Address         string    `json:"address,omitempty"`          // where the browser was at login
	Agent           string    `json:"agent,omitempty"`            // what the browser called itself
	Began           time.Time `json:"began"`
	Authenticated   time.Time `json:"authenticated"`    // when the provider last saw the user prove who they are
	Proven          bool      `json:"proven,omitempty"` // Authenticated is the provider's word (auth_time), not a guess
	Used            time.Time `json:"used"`             // from Read and Live: up to a minute old; from List: exact
	Expires         time.Time `json:"expires"`          // the end of its lifetime, whatever its use
}

// Sessions is the set of all sessions. Its methods may be called concurrently.
type Sessions struct {
	store    store.Store
	settings Settings
	clock    *clock
	sealer   sealer
	counts   *prometheus.CounterVec

	mirror *follow.Mirror // brings every change of the store into memory

	mu     sync.RWMutex // guards memory
	memory memory
}

// entry is one session in memory. Its record is replaced, never altered.
type entry struct {
	record atomic.Pointer[record]
	used   atomic.Int64 // nanoseconds since 1970, raised by Read
	tokens []digest
}

// grant is what one token opens.
type grant struct {
	entry *entry
	host  string
}

// Open reads every session in st into memory and makes the sealing key if there is none.
func Open(ctx context.Context, st store.Store, settings Settings) (*Sessions, error) {
	s := &Sessions{store: st, settings: settings.withDefaults(), clock: newClock(system()), counts: newCounts(),
		memory: newMemory()}
	key, err := sealingKey(ctx, st)
	if err != nil {
		return nil, fmt.Errorf("reading the sealing key of sessions: %w", err)
	}
	s.sealer = sealer{key: key, now: s.clock.now}
	if s.mirror, err = follow.New(ctx, st, s.load, s.apply); err != nil {
		return nil, fmt.Errorf("loading sessions: %w", err)
	}
	return s, nil
}

// Begin starts a session for n.User and returns it with its ID and times. What n says of ID, Began, Used and
// Expires is ignored, so no login ever continues an older session. Beyond the most one user may have, the oldest
// are ended.
func (s *Sessions) Begin(ctx context.Context, n Session) (Session, error) {
	if n.User == "" || strings.Contains(n.User, "/") {
		return Session{}, fmt.Errorf("beginning a session: %q is not a user's id", n.User)
	}
	now := s.clock.now()
	n.ID, n.Began, n.Used, n.Expires = newID(), now, now, now.Add(s.settings.Lifetime)
	if n.Authenticated.IsZero() || n.Authenticated.After(now) {
		n.Authenticated = now
	}
	n.UserName, n.Agent, n.Address = short(n.UserName), short(n.Agent), short(n.Address)
	n.Subject, n.ProviderSession = short(n.Subject), short(n.ProviderSession)

	replaced := 0
	err := s.update(ctx, func(w store.Writer) (err error) {
		if replaced, err = s.makeRoom(w, n.User, now); err != nil {
			return err
		}
		return putRecord(w, record{Session: n})
	})
	if err != nil {
		return Session{}, fmt.Errorf("beginning a session: %w", err)
	}
	s.count(ReasonReplaced, replaced)
	return n, nil
}

// Live answers whether a session still stands, without raising its use: nil error and the session, or ErrNone,
// ErrExpired, ErrEnded, ErrStopped. Memory only.
func (s *Sessions) Live(id string) (*Session, error) {
	e := s.entry(id)
	switch {
	case s.mirror.Err() != nil:
		return nil, ErrStopped
	case e == nil:
		return nil, ErrNone
	}
	r := e.record.Load()
	if err := s.standing(e, r, s.clock.now()); err != nil {
		return nil, err
	}
	return &r.Session, nil
}

// standing says whether the session of e lives at now.
func (s *Sessions) standing(e *entry, r *record, now time.Time) error {
	switch {
	case r.Reason == ReasonExpired || r.Reason == ReasonIdle:
		return ErrExpired
	case r.Reason != "":
		return ErrEnded
	case s.over(r, e.used.Load(), now) != "":
		return ErrExpired
	}
	return nil
}

// over is the reason a session is past its time at now, or "". used is when it was last used, in nanoseconds.
func (s *Sessions) over(r *record, used int64, now time.Time) Reason {
	switch {
	case !now.Before(r.Expires):
		return ReasonExpired
	case now.UnixNano()-used >= int64(s.settings.Idle):
		return ReasonIdle
	}
	return ""
}

// List copies every live session, in no order; Used is exact.
func (s *Sessions) List() []Session {
	now := s.clock.now()
	s.mu.RLock()
	defer s.mu.RUnlock()
	var list []Session
	for _, e := range s.memory.sessions {
		if r := e.record.Load(); s.standing(e, r, now) == nil {
			one := r.Session
			one.Used = time.Unix(0, e.used.Load()).UTC()
			list = append(list, one)
		}
	}
	return list
}

// Changed is closed when Live may answer otherwise than before: take it before asking.
func (s *Sessions) Changed() <-chan struct{} { return s.mirror.Changed() }

// short keeps at most 256 bytes of what a browser or provider sent, as valid UTF-8.
func short(text string) string {
	const most = 256
	if len(text) > most {
		text = text[:most]
		for len(text) > 0 && !utf8.ValidString(text[max(0, len(text)-utf8.UTFMax):]) && len(text) > most-utf8.UTFMax {
			text = text[:len(text)-1]
		}
	}
	return strings.ToValidUTF8(text, "\uFFFD")
}
