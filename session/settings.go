package session

import (
	"cmp"
	"time"
)

// Settings are the session settings of the configuration file.
type Settings struct {
	Lifetime    time.Duration `yaml:"lifetime" doc:"how long a session lasts at most, whatever its use, such as 12h"`
	Idle        time.Duration `yaml:"idle" doc:"how long a session lasts without use, such as 1h: requests, and what an open connection carries but for pings"`
	MaxSessions int           `yaml:"max_sessions" doc:"how many live sessions one user may have; beyond it the oldest end"`
}

// Defaults returns the settings that apply if the file has none: 12 hours, 1 hour idle, 50 sessions a user.
func Defaults() Settings {
	return Settings{Lifetime: 12 * time.Hour, Idle: time.Hour, MaxSessions: 50}
}

func (s Settings) withDefaults() Settings {
	d := Defaults()
	if s.Lifetime <= 0 {
		s.Lifetime = d.Lifetime
	}
	if s.Idle <= 0 {
		s.Idle = d.Idle
	}
	if s.MaxSessions <= 0 {
		s.MaxSessions = d.MaxSessions
	}
	return s
}

// Check reports every fault of s with its path.
func (s Settings) Check(fault func(path, problem string)) {
	const maxLifetime = 30 * 24 * time.Hour
	if s.Lifetime < time.Minute || s.Lifetime > maxLifetime {
		fault("lifetime", "a session lasts between 1m and 720h; write for example 12h")
	}
	if s.Idle < time.Minute || s.Idle > maxLifetime {
		fault("idle", "a session may be idle between 1m and 720h; write for example 1h")
	}
	if s.Idle > s.Lifetime && s.Lifetime >= time.Minute {
		fault("idle", "longer than lifetime, so it would never apply; write a duration no longer than lifetime")
	}
	if s.MaxSessions < 1 || s.MaxSessions > 1000 {
		fault("max_sessions", "a user may have between 1 and 1000 sessions; write for example 50")
	}
}

// inForce is what sessions are judged by. It is replaced, never altered.
type inForce struct {
	Settings
	basis string // of the sign-ins that count; "": all do
	first string // the basis of sessions that have none, since an earlier version of Sallyport began them
}

// Configure puts settings in force, for sessions that began before too: a session ends when the lifetime is over that is in force
// now, or at its Expires if that comes first. More sessions of a user than are allowed now end when the user signs in again.
//
// basis is what sign-ins stand on now, such as who vouches for users; see [Session.Basis]. A session of another basis counts
// as ended at once, and ends for good within seconds, unless it began by a break-glass code. Before the first Configure with
// a basis, all sessions count.
//
// Whoever decides about requests must decide again about those that are live.
func (s *Sessions) Configure(settings Settings, basis string) {
	next := &inForce{Settings: settings.withDefaults(), basis: basis, first: basis}
	if old := s.inForce.Load(); old != nil && old.first != "" {
		next.first = old.first
	}
	s.inForce.Store(next)
}

// accepts reports whether the sign-in that began a session counts.
func (f *inForce) accepts(r *record) bool {
	return f.basis == "" || r.IsBreakGlass() || cmp.Or(r.Basis, f.first) == f.basis
}

// expires returns the end of a session's lifetime.
func (f *inForce) expires(r *record) time.Time {
	if at := r.Began.Add(f.Lifetime); at.Before(r.Expires) {
		return at
	}
	return r.Expires
}

// shown returns the session of a record with the end of its lifetime.
func (f *inForce) shown(r *record) *Session {
	at := f.expires(r)
	if at.Equal(r.Expires) {
		return &r.Session
	}
	shown := r.Session
	shown.Expires = at
	return &shown
}
