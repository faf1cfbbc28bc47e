package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Login is what a rule demands of the caller's login, beyond that there was one. Every
// part that is written must be so; within a part, one element suffices.
type Login struct {
	MaxAge  time.Duration `yaml:"max_age" doc:"no longer ago than this"`
	ACR     []string      `yaml:"acr" doc:"by one of these authentication context class references (claim acr)"`
	AMR     []string      `yaml:"amr" doc:"by one of these methods (claim amr), such as mfa"`
	Context []string      `yaml:"context" doc:"in one of these authentication contexts of Entra (claim acrs), such as c1"`
}

// Strength is how a caller signed in, by the claims of the identity provider.
type Strength struct {
	ACR      string   // acr (OpenID Connect Core 1.0 §2)
	AMR      []string // amr (RFC 8176)
	Contexts []string // acrs, by which Entra names authentication contexts
}

// Enough reports whether a login of strength s is strong enough, whatever its age.
func (l *Login) Enough(s Strength) bool {
	return (len(l.ACR) == 0 || slices.Contains(l.ACR, s.ACR)) && overlap(l.AMR, s.AMR) && overlap(l.Context, s.Contexts)
}

// overlap reports whether one of wanted is in list; an absent part wants nothing.
func overlap(wanted, list []string) bool {
	for _, text := range wanted {
		if slices.Contains(list, text) {
			return true
		}
	}
	return len(wanted) == 0
}

// String writes the demand as "within 15m0s, amr mfa".
func (l *Login) String() string {
	var words []string
	if l.MaxAge > 0 {
		words = append(words, "within "+l.MaxAge.String())
	}
	for _, part := range []struct {
		name   string
		values []string
	}{{"acr", l.ACR}, {"amr", l.AMR}, {"context", l.Context}} {
		if len(part.values) > 0 {
			words = append(words, part.name+" "+strings.Join(part.values, " or "))
		}
	}
	return strings.Join(words, ", ")
}

// login returns what the rule demands of a login; nil if nothing.
func (m *Match) login() *Login {
	if m.Auth == nil && m.MaxAuthAge == 0 {
		return nil
	}
	var l Login
	if m.Auth != nil {
		l = *m.Auth
	}
	l.MaxAge = cmp.Or(l.MaxAge, m.MaxAuthAge)
	return &l
}

// minAuthAge is the shortest max_age: a shorter one would send people from one login
// to the next.
const minAuthAge = time.Minute

// recent counts a login at an unknown time as too old.
func (l *Login) recent(req *Request) bool {
	return l.MaxAge == 0 || req.Time.Before(req.Authenticated.Add(l.MaxAge))
}

// met reports whether the login of a caller is enough; nil demands nothing.
func (l *Login) met(req *Request) bool { return l == nil || l.recent(req) && l.Enough(req.Strength) }

func compileMaxAuthAge(m *Match, _ bool) (matcher, error) {
	return (&Login{MaxAge: m.MaxAuthAge}).recent, nil
}

func maxAuthAgeChange(m *Match) changer { return ageChange(m.MaxAuthAge) }

func ageChange(maxAge time.Duration) changer {
	return func(req *Request) time.Time { return req.Authenticated.Add(maxAge) }
}

func checkMaxAuthAge(m *Match, _ Options, fault faultFunc) { checkAge(m.MaxAuthAge, fault) }

func checkAge(age time.Duration, fault faultFunc) {
	if age < minAuthAge {
		fault("", fmt.Sprintf("is %s; write at least %s, or people sign in without end", age, minAuthAge))
	}
}

func compileAuth(m *Match, _ bool) (matcher, error) {
	return m.login().met, nil
}

func authChange(m *Match) changer {
	if m.Auth.MaxAge == 0 {
		return func(*Request) time.Time { return time.Time{} }
	}
	return ageChange(m.Auth.MaxAge)
}

// Bounds of what is asked of the identity provider, which goes into a URL.
const maxAuthValues, maxAuthValue = 8, 200

// Valid reports whether a rule could demand l.
func (l *Login) Valid() bool {
	valid := true
	l.checkValues(func(string, string) { valid = false })
	return valid
}

func (l *Login) checkValues(fault faultFunc) {
	for key, values := range map[string][]string{".acr": l.ACR, ".amr": l.AMR, ".context": l.Context} {
		if len(values) > maxAuthValues {
			fault(key, fmt.Sprintf("has %d values; write at most %d", len(values), maxAuthValues))
		}
		for i, value := range values {
			if value == "" || len(value) > maxAuthValue || strings.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r > '~' || r == '"' }) {
				fault(key+index(i), fmt.Sprintf("%q must be 1 to %d printable characters without spaces and quotes", value, maxAuthValue))
			}
		}
	}
}

func checkAuth(m *Match, _ Options, fault faultFunc) {
	l := m.Auth
	if l.MaxAge != 0 {
		checkAge(l.MaxAge, below(".max_age", fault))
	} else if len(l.ACR)+len(l.AMR)+len(l.Context) == 0 {
		fault("", "demands nothing; write max_age, acr, amr or context")
	}
	if l.MaxAge != 0 && m.MaxAuthAge != 0 {
		fault(".max_age", "is max_auth_age by another name; write one of them")
	}
	l.checkValues(fault)
}
