package audit

import "time"

// Kind is what happened; the set is closed.
type Kind string

// The kinds of events.
const (
	KindLogin      Kind = "login"      // a user signed in, or a login was denied
	KindLogout     Kind = "logout"     // a user signed out
	KindDecision   Kind = "decision"   // a request was allowed or denied
	KindCut        Kind = "cut"        // a request was ended after it had been allowed
	KindEnd        Kind = "end"        // a session was ended before it expired
	KindLive       Kind = "live"       // an operator ended live requests
	KindSuspend    Kind = "suspend"    // an operator suspended a user, or lifted a suspension
	KindBreakGlass Kind = "breakglass" // a break-glass code was armed, disarmed, used or wrong
	KindSCIM       Kind = "scim"       // the identity provider changed the directory
	KindToken      Kind = "token"      // a provisioning token was made or revoked
	KindConfig     Kind = "config"     // the configuration was loaded, or rejected
	KindBackup     Kind = "backup"     // an operator copied the store
	KindStore      Kind = "store"      // an older store was put in the place of the newest
	KindRequest    Kind = "request"    // somebody asked for access, or the request was decided
	KindGrant      Kind = "grant"      // access for a while began or ended
	KindReview     Kind = "review"     // a review of who has access began or ended, or somebody decided in it
	KindEnforced   Kind = "enforced"   // no replica decides without a change any more, or that could not be found out
	KindAudit      Kind = "audit"      // the record itself could not be written for a while
	KindUpgrade    Kind = "upgrade"    // another process took over from the server
	KindStart      Kind = "start"      // the server started
	KindStop       Kind = "stop"       // the server stopped
)

// changesDirectory reports whether events of this kind are committed to the store with a change, and have its revision.
func (k Kind) changesDirectory() bool { return k == KindSCIM || k == KindStore }

// Actor is who acts on Sallyport itself, and from where: an operator, a user, an
// identity provider, or the server by itself.
type Actor struct {
	Kind    ActorKind `json:"kind,omitempty"`
	Name    string    `json:"name,omitempty"`
	Address string    `json:"address,omitempty"`
	ID      string    `json:"id,omitempty"`      // the directory's, of a user; that of a token
	Session string    `json:"session,omitempty"` // of a user: [BreakGlass], or ""
	Role    string    `json:"role,omitempty"`    // of a user in the console: [RoleAdmin] or [RoleAuditor]; or ""
}

// BreakGlass marks what was done in a session that began by a break-glass code.
const BreakGlass = "break-glass"

// The roles of those who use the console.
const (
	RoleAdmin   = "admin"   // may act as operators may
	RoleAuditor = "auditor" // may see what operators see
)

// ActorKind is what an actor is; the set is closed.
type ActorKind string

// The kinds of actors.
const (
	ActorOperator ActorKind = "operator" // a user of the system that Sallyport runs on; Name is that user's
	ActorSystem   ActorKind = "system"   // the server itself; Name is what caused it to act
	ActorUser     ActorKind = "user"     // somebody who is signed in; Name is their userName
	ActorToken    ActorKind = "token"    // an identity provider, by a provisioning token; Name and ID are those of the token
	ActorProvider ActorKind = "provider" // the identity provider that people sign in at; Name is how it told us
)

// Event is one line of the record. It must hold no secret and no query string.
type Event struct {
	Time     time.Time         `json:"time"`
	Kind     Kind              `json:"kind"`
	Replica  string            `json:"replica,omitempty"` // the server that recorded it, of several that use one store
	Actor    Actor             `json:"actor,omitzero"`    // who acted, for actions on Sallyport itself
	Request  string            `json:"request,omitempty"` // the id shown to the caller
	User     string            `json:"user,omitempty"`    // the directory's id
	UserName string            `json:"user_name,omitempty"`
	Group    string            `json:"group,omitempty"`
	Session  string            `json:"session,omitempty"`
	Route    string            `json:"route,omitempty"`
	Host     string            `json:"host,omitempty"`
	Method   string            `json:"method,omitempty"`
	Path     string            `json:"path,omitempty"`
	Address  string            `json:"address,omitempty"` // of the client
	Code     int               `json:"code,omitempty"`
	Decision string            `json:"decision,omitempty"` // allow or deny
	Rule     string            `json:"rule,omitempty"`
	Reason   string            `json:"reason,omitempty"`
	Revision uint64            `json:"rev,omitempty"` // of the directory
	Detail   map[string]string `json:"detail,omitempty"`
}
