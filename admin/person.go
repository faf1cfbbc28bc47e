package admin

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sallyport/policy"
	"slices"
	"strings"
	"time"

	"sallyport/access"
	"sallyport/directory"
)

// UserFacts is all that is known of a user, but for the history.
type UserFacts struct {
	User
	Stale          bool            `json:"stale,omitempty"`
	SuspendedSince time.Time       `json:"suspendedSince,omitzero"`
	Created        time.Time       `json:"created"`
	Modified       time.Time       `json:"modified"`
	Deactivated    time.Time       `json:"deactivated,omitzero"` // or suspended: sessions and tokens from before are not valid
	Manager        *User           `json:"manager,omitempty"`
	Roles          []string        `json:"roles,omitempty"`
	Groups         []UserGroup     `json:"groups"`
	Sessions       []Session       `json:"sessions"`
	Grants         []Grant         `json:"grants"` // those that have ended too
	Routes         []access.Reach  `json:"routes"` // that the user reaches, and by which rules
	Document       json.RawMessage `json:"scim"`   // as it was pushed
}

// UserGroup is a group that a user is a direct member of.
type UserGroup struct {
	Group
	Revoked bool `json:"revoked,omitempty"` // a review revoked the membership, which counts for nothing
}

// UserFacts returns what is known of a user. name is one as in [Admin.Suspend].
func (a *Admin) UserFacts(ctx context.Context, actor Actor, name string) (UserFacts, error) {
	id, err := a.userID(ctx, actor, name)
	if err != nil {
		return UserFacts{}, err
	}
	u, ok := a.directory.ByID(id)
	if !ok {
		return UserFacts{}, fmt.Errorf("%s was removed just now", name)
	}
	now := time.Now().UTC()
	f := UserFacts{User: shownUser(u), Stale: isStale(u, now), Created: u.Created, Modified: u.Modified, Deactivated: u.DeactivatedAt, Roles: u.Roles,
		Groups: a.groupsOf(u), Grants: []Grant{}, Routes: []access.Reach{}, Document: u.Document}
	if u.Suspended != nil {
		f.SuspendedSince = u.Suspended.Since
	}
	if manager, ok := a.directory.ByID(u.Manager()); ok {
		shown := shownUser(manager)
		f.Manager = &shown
	}
	if a.rules != nil && u.Barred() == "" {
		f.Routes = append(f.Routes, access.What(a.rules().Routes, u, access.Scope{Time: now, Organization: a.directory, Grants: a.grants.Of})...)
	}
	if f.Sessions, err = a.SessionsOf(ctx, actor, u.ID); err != nil {
		return f, err
	}
	grants, err := a.Grants(ctx, actor, true)
	for _, g := range grants {
		if g.Person.ID == u.ID {
			f.Grants = append(f.Grants, g)
		}
	}
	return f, err
}

// userID returns the id of the user with a name. A user of memory is found by id even if their record is damaged.
func (a *Admin) userID(ctx context.Context, actor Actor, name string) (string, error) {
	if u, ok := a.directory.ByID(name); ok {
		return u.ID, nil
	}
	return a.FindUser(ctx, actor, name)
}

func (a *Admin) groupsOf(u *directory.User) []UserGroup {
	groups, held := []UserGroup{}, a.grants.Of(u.ID, u.Epoch)
	for i, g := range u.Groups() {
		groups = append(groups, UserGroup{Group{g.ID, g.DisplayName, g.ExternalID, g.Members}, access.Revoked(held, u, i)})
	}
	slices.SortFunc(groups, func(a, b UserGroup) int { return compareNames(a.Name, a.ID, b.Name, b.ID) })
	return groups
}

// SessionsOf returns the valid sessions of the user with an id, the newest first.
func (a *Admin) SessionsOf(ctx context.Context, actor Actor, user string) ([]Session, error) {
	sessions, err := a.Sessions(ctx, actor)
	sessions = slices.DeleteFunc(sessions, func(s Session) bool { return s.User != user })
	slices.SortFunc(sessions, func(a, b Session) int { return b.Began.Compare(a.Began) })
	return sessions, err
}

// Question asks about one request of a user, of an application, or of nobody who is signed in.
type Question struct {
	User    string   // a name as in [Admin.Suspend]; "" for an application or nobody
	App     string   // client ID
	Roles   []string // that the token gives the application
	Method  string
	URL     string // or the name of a route, which asks about its first path
	Address string // of the client; "" if unknown

	Login *access.SignIn // of the user; nil: just now
}

// QuestionError means that nothing was asked that could be decided.
type QuestionError struct {
	Person bool // nobody, or more than one person, has the name; otherwise no route would receive the request
	Err    error
}

func (e *QuestionError) Error() string { return e.Err.Error() }

// Unwrap returns what is wrong.
func (e *QuestionError) Unwrap() error { return e.Err }

// Explain decides a request as the proxy does now, by the rules in force, and says why. It returns a *[QuestionError] if
// there is nothing to decide.
func (a *Admin) Explain(ctx context.Context, actor Actor, q Question) (access.Explanation, error) {
	if err := a.directory.Fresh(); err != nil {
		return access.Explanation{}, fmt.Errorf("every request is denied for directory_stale: %w", err)
	}
	target, err := a.target(q)
	if err != nil {
		return access.Explanation{}, &QuestionError{false, err}
	}
	in := access.Circumstances{Time: time.Now().UTC(), Address: q.Address, Organization: a.directory, Grants: a.grants.Of, Groups: a.directory.Groups()}
	q.Login.Set(&in)
	caller := access.Caller{App: q.App, Roles: q.Roles}
	if q.User != "" {
		id, err := a.userID(ctx, actor, q.User)
		if err != nil {
			return access.Explanation{}, &QuestionError{true, err}
		}
		u, ok := a.directory.ByID(id)
		if !ok {
			return access.Explanation{}, &QuestionError{true, fmt.Errorf("%s was removed just now", q.User)}
		}
		caller.User = u
	}
	e := access.Explain(target, caller, in)
	e.Hints = append(e.Hints, a.RevocationHints(e)...)
	return e, nil
}

// target returns the request that a question is about.
func (a *Admin) target(q Question) (access.Target, error) {
	if a.rules == nil || a.rules().Target == nil {
		return access.Target{}, ErrNoServer
	}
	rules, url := a.rules(), q.URL
	for _, route := range rules.Routes {
		if route.Name == url {
			url = "https://" + route.Host + route.Path
		}
	}
	return rules.Target(cmp.Or(q.Method, http.MethodGet), url)
}

// RevocationHints says which rows of reviews revoked memberships of a caller who is denied for that.
func (a *Admin) RevocationHints(e access.Explanation) (hints []string) {
	if e.Reason != string(policy.AccessRevoked) {
		return nil
	}
	for _, r := range a.grants.RevocationsOf(e.Caller.ID) {
		for _, row := range r.Rows {
			hints = append(hints, fmt.Sprintf("`sallyport access review keep %s %d`, which lifts the revocation of %s, by %s on %s", row.Review, row.Row, r.Name, r.By, r.Since.Format(time.DateOnly)))
		}
	}
	return hints
}

// compareNames orders by name, and by id where names are the same.
func compareNames(name, id, otherName, otherID string) int {
	return cmp.Or(strings.Compare(name, otherName), strings.Compare(id, otherID))
}
