// Package access answers who may reach what, and why: for one request, for one route,
// for one user, and for the difference that new rules make.
//
// Every answer comes from the policies that the proxy decides by, and from users as the
// directory has them in memory. The package changes nothing and does no I/O.
package access

import (
	"cmp"
	"time"

	"sallyport/directory"
	"sallyport/grant"
	"sallyport/policy"
)

// Route is a route as far as decisions depend on it.
type Route struct {
	Name, Host, Path string
	Owner            string   // whom people may ask
	Policies         []string // names of its policies
	Session, Bearer  bool     // what the route accepts
	Preflights       bool     // lets CORS preflight requests through, which no rule decides
	Policy           *policy.Policy

	// Serves reports whether a host, in small letters and without a port, is that of the route, or one that its wildcard
	// covers. Nil means that Host is the one.
	Serves func(host string) bool

	// Readings returns how servers could read a path, as it stands in a URL: the path itself first. It returns none if
	// the route does not receive requests for the path. Nil means that every server reads paths as they are.
	Readings func(path string) []Reading
}

// Reading is a path as servers could read it, and the rules for paths that are read so.
type Reading struct {
	Path   string
	Policy *policy.Policy
}

// accepts reports whether the route reads what a caller proves to be one with.
func (r *Route) accepts(c Caller) bool {
	switch {
	case c.App != "" || c.Credential == BearerToken:
		return r.Bearer
	case c.Credential == SessionCookie:
		return r.Session
	}
	return true
}

// Target is a request without its caller, and the route that it is for.
type Target struct {
	Route              *Route
	Method, Host, Path string    // Path as rules read it
	Readings           []Reading // of the path; none if every server reads it so

	// Decide decides a request for the target, by every way in which servers could read its path.
	Decide func(*policy.Request) policy.Decision
}

// Caller is who makes a request: a user, an application, or nobody who is known.
type Caller struct {
	User       *directory.User
	App        string   // client ID of an application that calls for itself
	Roles      []string // that the token gives the application
	Credential Credential
}

// Credential is how a user proves who they are. The zero value is any way that the route accepts.
type Credential string

// The credentials of users.
const (
	SessionCookie Credential = "session"
	BearerToken   Credential = "bearer"
)

// SetCaller sets the fields of a request that say who makes it. The user is nil for an
// application and for an anonymous caller.
func SetCaller(req *policy.Request, user *directory.User, app string, roles []string) {
	req.Anonymous = user == nil && app == ""
	if req.App = app; app != "" {
		req.Roles = roles
	}
	if user != nil {
		req.UserID, req.UserName, req.ExternalID = user.ID, user.UserName, user.ExternalID
		req.GroupIDs, req.GroupNames, req.Roles = user.GroupIDs, user.GroupNames, user.Roles
		req.Attributes = user
	}
}

// GrantsOf returns what grants and reviews change for a user of an epoch; nil if nothing.
// [grant.Grants.Of] is one.
type GrantsOf func(user string, epoch uint64) *grant.Holdings

// SetGrants sets the grants of a request's user. The user may be nil, and so may grants.
func SetGrants(req *policy.Request, user *directory.User, grants GrantsOf) {
	if user == nil || grants == nil {
		return
	}
	switch held := grants(user.ID, user.Epoch); {
	case held == nil:
	case held.Revokes():
		req.Grants = holder{held, user}
	default:
		req.Grants = held
	}
}

// holder is what a user of the directory holds. A revocation is about a group as the
// directory knows it, whatever the identity provider calls the group today.
type holder struct {
	*grant.Holdings
	user *directory.User
}

// Revoked implements policy.Grants.
func (h holder) Revoked(group string) bool {
	if h.Holdings.Revoked(group) {
		return true
	}
	for i, id := range h.user.GroupIDs {
		if cmp.Or(id, h.user.GroupNames[i]) == group && h.Holdings.Revoked(h.user.GroupKey(i)) {
			return true
		}
	}
	return false
}

// Revoked reports whether reviews revoked the user's membership that is at i in GroupIDs. Held
// are what grants and reviews change for the user; nil if nothing.
func Revoked(held *grant.Holdings, user *directory.User, i int) bool {
	return held.Revokes() && (held.Revoked(user.GroupKey(i)) || held.Revoked(cmp.Or(user.GroupIDs[i], user.GroupNames[i])))
}

// Circumstances are what a decision depends on beside caller and target.
type Circumstances struct {
	Time     time.Time
	Address  string          // of the client; "" if unknown
	Login    time.Time       // when the caller signed in; zero if unknown
	Strength policy.Strength // how
	Past     bool            // Time is over: an explanation advises nothing that is done now about its users

	Organization policy.Organization // who manages whom; nil if that is not known
	Grants       GrantsOf            // nil if there are none
	Groups       []directory.Group   // that were pushed; nil if an explanation says nothing of the groups that rules want
}
