package manage

import (
	"cmp"
	"fmt"
	"net/http"
	"time"

	"sallyport/policy"
)

const (
	// Path is the path of the console on the host of public_url.
	Path = "/.sallyport/console"

	// StaticPath is the path of the files that pages name. They are no secret, so that they need no decision.
	StaticPath = Path + "/static"

	// RouteName is the name of the console in the record and in metrics.
	RouteName = "sallyport-console"

	// MaxBody is the length of the longest body of a request to the console, in bytes.
	MaxBody = 1 << 20
)

// Settings say who may look at the console, and who may act in it.
type Settings struct {
	Admins   Members       `yaml:"admins" doc:"who may look and act"`
	Auditors Members       `yaml:"auditors" doc:"who may look"`
	MaxAge   time.Duration `yaml:"max_age" doc:"how long ago the sign-in of whoever acts may be; 1h when absent"`
	Off      bool          `yaml:"off" doc:"true: there is no console, whoever is named"`
}

// Members are the members of any of some groups.
type Members struct {
	Groups []policy.GroupRef `yaml:"groups" doc:"members of any of these groups"`
}

// DefaultMaxAge is how long ago the sign-in of whoever acts may be, where no time is set.
const DefaultMaxAge = time.Hour

// Check reports every fault of s by its path, except those of groups, which [policy.Compile] reports.
func (s Settings) Check(fault func(path, problem string)) {
	if s.MaxAge != 0 && (s.MaxAge < time.Minute || s.MaxAge > 30*24*time.Hour) {
		fault("max_age", fmt.Sprintf("%s is not between 1m and 720h; write for example 1h", s.MaxAge))
	}
}

// On reports whether anybody may look at the console.
func (s Settings) On() bool {
	return !s.Off && len(s.Admins.Groups)+len(s.Auditors.Groups) > 0
}

// Age returns how long ago the sign-in of whoever acts may be.
func (s Settings) Age() time.Duration { return cmp.Or(s.MaxAge, DefaultMaxAge) }

// Policy returns the rules of the console: auditors may look, and administrators may also act, with a recent sign-in.
func (s Settings) Policy() policy.Named {
	look := []string{http.MethodGet, http.MethodHead}
	named := policy.Named{Name: "console"}
	if groups := s.Admins.Groups; len(groups) > 0 {
		named.Rules = append(named.Rules, policy.Rule{Allow: &policy.Match{Groups: groups, Methods: look}},
			policy.Rule{Allow: &policy.Match{Groups: groups, Methods: []string{http.MethodPost}, Auth: &policy.Login{MaxAge: s.Age()}}})
	}
	if groups := s.Auditors.Groups; len(groups) > 0 {
		named.Rules = append(named.Rules, policy.Rule{Allow: &policy.Match{Groups: groups, Methods: look}})
	}
	return named
}
