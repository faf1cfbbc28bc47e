package session

import "time"

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
