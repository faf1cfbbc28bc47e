package admin

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"sallyport/directory"
	"sallyport/scim"
)

// ErrNoPush means that the provisioning log does not have a request.
var ErrNoPush = errors.New("the provisioning log has no request with this number; it has the newest 10,000")

// Push is a request of the identity provider, as the provisioning log has it.
type Push struct {
	scim.LogEntry
	Outcome string `json:"outcome"`        // one of [Outcomes]
	Kind    string `json:"kind,omitempty"` // of the resource: user or group
	Name    string `json:"name,omitempty"` // of the resource, as the directory has it now
}

// Outcomes returns what may become of a push, in one word each.
func Outcomes() (names []string) {
	for _, o := range scim.Outcomes() {
		names = append(names, string(o))
	}
	return names
}

// PushFilter says which pushes are looked for. Its zero value selects all.
type PushFilter struct {
	Before   uint64   // only those with a lower number; 0: all
	Outcomes []string // any of these
	Token    string   // the name of the token
	Method   string
	Quirk    string
	Resource string // its id
	Text     string // in the target, the problem, what changed, the address or the name of the resource, whatever the case
	Since    time.Time
	Until    time.Time
}

// Pushes are some pushes, the newest first.
type Pushes struct {
	Pushes []Push `json:"pushes"`
	Next   uint64 `json:"next,omitempty"` // the filter's Before that selects those after them; 0 if there are none
}

// Pushes returns the newest n pushes that a filter selects.
func (a *Admin) Pushes(ctx context.Context, _ Actor, f PushFilter, n int) (found Pushes, err error) {
	if n < 1 {
		return found, errors.New("the number of entries must be 1 or more")
	}
	found.Pushes = []Push{}
	f.Text = strings.ToLower(f.Text)
	err = a.provisioning.ReadLog(ctx, f.Before, func(e scim.LogEntry) bool {
		if !f.Since.IsZero() && e.Time.Before(f.Since) {
			return false
		}
		p := a.push(e)
		if !f.selects(&p) {
			return true
		}
		if len(found.Pushes) == n {
			found.Next = found.Pushes[n-1].Number
			return false
		}
		found.Pushes = append(found.Pushes, p)
		return true
	})
	return found, err
}

// Push returns a push by its number, or [ErrNoPush].
func (a *Admin) Push(ctx context.Context, _ Actor, number uint64) (Push, error) {
	e, ok, err := a.provisioning.LogEntry(ctx, number)
	if err == nil && !ok {
		err = ErrNoPush
	}
	return a.push(e), err
}

func (a *Admin) push(e scim.LogEntry) Push {
	p := Push{LogEntry: e, Outcome: string(e.Outcome())}
	if e.Resource == "" {
		return p
	}
	if u, ok := a.directory.ByID(e.Resource); ok {
		p.Kind, p.Name = "user", u.DisplayName
		return p
	}
	if p.Name = a.directory.NameOf(directory.Member{ID: e.Resource, IsGroup: true}); p.Name != "" {
		p.Kind = "group"
	}
	return p
}

func (f *PushFilter) selects(p *Push) bool {
	switch {
	case !f.Until.IsZero() && p.Time.After(f.Until),
		len(f.Outcomes) > 0 && !slices.Contains(f.Outcomes, p.Outcome),
		f.Token != "" && p.Token != f.Token,
		f.Method != "" && p.Method != f.Method,
		f.Resource != "" && p.Resource != f.Resource,
		f.Quirk != "" && !slices.Contains(p.QuirkNames(), f.Quirk):
		return false
	}
	return f.Text == "" || slices.ContainsFunc(append([]string{p.Target, p.Problem, p.Name, p.Address, p.Token}, p.Changes...), func(s string) bool {
		return strings.Contains(strings.ToLower(s), f.Text)
	})
}
