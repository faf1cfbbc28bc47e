// Package session remembers who has signed in, in which browser, until they sign out or the session ends.
//
// One session is one login of one browser. The browser holds an opaque 256-bit token for each host; the store holds
// the SHA-256 of each. Read and Live read memory alone. Every other method commits first and returns once memory has
// the commit. Only Run brings commits into memory, in the order of revisions: while Run does not run, a method that
// commits waits until its context ends.
package session

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/singleflight"

	"sallyport/store"
	"sallyport/store/follow"
)

// ErrNone means that the cookie, ticket or id belongs to no session: nobody is signed in.
var ErrNone = errors.New("no such session")

// ErrExpired means that the session reached its lifetime or was idle for too long.
var ErrExpired = errors.New("session has expired")

// ErrEnded means that the session was ended before its time: by logout, by an operator, with its user.
var ErrEnded = errors.New("session has ended")

// ErrStopped means that Run has ended and memory no longer follows the store: nothing may be decided from it.
var ErrStopped = errors.New("sessions no longer follow the store")

// Reason says why a session ended; the set is closed.
type Reason string

// The reasons a session ends.
const (
	ReasonLogout   Reason = "logout"   // its user signed out
	ReasonExpired  Reason = "expired"  // it reached its lifetime
	ReasonIdle     Reason = "idle"     // it was not used for its idle time
	ReasonUser     Reason = "user"     // its user was deactivated, deleted or suspended
	ReasonOperator Reason = "operator" // an operator ended it
	ReasonProvider Reason = "provider" // the identity provider sent a logout token
	ReasonReplaced Reason = "replaced" // its user began more sessions than one user may have
	ReasonSettings Reason = "settings" // the sign-in stood on another basis than the one in force; see [Sessions.Configure]
)

// Reasons returns every reason.
func Reasons() []Reason {
	return []Reason{ReasonLogout, ReasonExpired, ReasonIdle, ReasonUser, ReasonOperator, ReasonProvider, ReasonReplaced, ReasonSettings}
}

// Session is one login of one browser. A Session that this package returns is a copy, or is shared and never changes.
type Session struct {
	ID              string    `json:"id"`                         // 32 hex digits; it names the session and proves nothing
	User            string    `json:"user"`                       // the directory's id of the user
	Epoch           uint64    `json:"epoch"`                      // the user's epoch at login; a session of an older epoch is never valid again
	UserName        string    `json:"user_name"`                  // for lists that people read
	Subject         string    `json:"subject"`                    // the provider's sub
	ProviderSession string    `json:"provider_session,omitempty"` // the provider's sid
	Address         string    `json:"address,omitempty"`          // the client address at login
	Agent           string    `json:"agent,omitempty"`            // the User-Agent at login
	Began           time.Time `json:"began"`
	Authenticated   time.Time `json:"authenticated"`    // when the user last proved to the provider who they are; zero if a code began the session
	Proven          bool      `json:"proven,omitempty"` // whether Authenticated is the provider's auth_time, not our guess
	ACR             string    `json:"acr,omitempty"`    // how the user signed in, by the provider's claims
	AMR             []string  `json:"amr,omitempty"`
	Contexts        []string  `json:"acrs,omitempty"`
	Basis           string    `json:"basis,omitempty"`       // what the sign-in stands on; see [Sessions.Configure]
	BreakGlass      string    `json:"break_glass,omitempty"` // why an operator allowed it without a login; "" for a session that began by one
	Used            time.Time `json:"used"`                  // from Read and Live: up to a minute old; from List: exact
	Expires         time.Time `json:"expires"`               // the end of its lifetime, however much it is used
	IDToken         IDToken   `json:"-"`                     // for Begin alone, which keeps it for [Sessions.IDToken]; a Session that this package returns has none
}

// Sessions is the set of all sessions. Its methods may be called concurrently.
type Sessions struct {
	store   store.Store
	inForce atomic.Pointer[inForce]
	shared  bool // several processes may use the store
	clock   *clock
	log     *slog.Logger
	ended   *prometheus.CounterVec

	endedWithUser func(Session) // nil: nobody is told

	mirror  *follow.Mirror // brings every change of the store into memory
	touched follow.Feed[string]
	logouts singleflight.Group // acts on one logout token once, by jti

	mu     sync.RWMutex // guards memory
	memory memory
}

// Open reads every session in st into memory, and makes the sealing key and the first signing key if there are none.
// It replaces damaged keys. log is told of every damaged record that is found, now or while Run runs.
func Open(ctx context.Context, st store.Store, settings Settings, log *slog.Logger) (*Sessions, error) {
	s := &Sessions{store: st, clock: newClock(systemClock()), log: log,
		ended: newEndedCounter(), memory: newMemory()}
	s.Configure(settings, "")
	_, s.shared = st.(store.Leaser)
	replaced, err := ensureSealingKey(ctx, st)
	if err != nil {
		return nil, fmt.Errorf("reading the sealing key of sessions: %w", err)
	}
	if replaced {
		log.Error("the damaged sealing key of sessions was replaced; logins under way have to begin again")
	}
	if err := s.rotateKeys(ctx, s.commit); err != nil {
		return nil, fmt.Errorf("reading the signing keys: %w", err)
	}
	if s.mirror, err = follow.New(ctx, st, s.load, s.apply); err != nil {
		return nil, fmt.Errorf("loading sessions: %w", err)
	}
	s.mirror.OnUnknown(s.touched.AddUnknown)
	return s, nil
}

// Begin starts a session for n.User and returns it with its ID and times. It ignores ID, Began, Used and Expires in
// n, so that no login ever continues an older session. If the user has more sessions than one user may have, the
// oldest are ended.
func (s *Sessions) Begin(ctx context.Context, n Session) (Session, error) {
	n.BreakGlass = ""
	return s.begin(ctx, n, time.Time{})
}

// begin starts a session that expires after the lifetime of sessions, or at latest unless that is zero.
func (s *Sessions) begin(ctx context.Context, n Session, latest time.Time) (Session, error) {
	if n.User == "" || strings.Contains(n.User, "/") {
		return Session{}, fmt.Errorf("beginning a session: %q is not a user's id", n.User)
	}
	now := s.clock.now()
	n.ID, n.Began, n.Used, n.Expires = newID(), now, now, now.Add(s.inForce.Load().Lifetime)
	if !latest.IsZero() && latest.Before(n.Expires) {
		n.Expires = latest
	}
	if !n.IsBreakGlass() && (n.Authenticated.IsZero() || n.Authenticated.After(now)) {
		n.Authenticated = now
	}
	n.UserName, n.Agent, n.Address = truncate(n.UserName), truncate(n.Agent), truncate(n.Address)
	n.Subject, n.ProviderSession = truncate(n.Subject), truncate(n.ProviderSession)

	idToken := n.IDToken
	n.IDToken = ""
	var replaced []string
	err := s.update(ctx, func(w store.Writer) (err error) {
		if replaced, err = s.limitSessions(w, n.User); err != nil {
			return err
		}
		if err := s.putIDToken(w, n.ID, idToken); err != nil {
			return err
		}
		return putRecord(w, record{Session: n})
	})
	if err != nil {
		return Session{}, fmt.Errorf("beginning a session: %w", err)
	}
	s.count(ReasonReplaced, replaced...)
	return n, nil
}

// truncate returns text as valid UTF-8 of at most 256 bytes. A browser or the provider sent it.
func truncate(text string) string {
	const maxBytes = 256
	text = strings.ToValidUTF8(text, "\uFFFD")
	if len(text) <= maxBytes {
		return text
	}
	end := maxBytes
	for !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end]
}
