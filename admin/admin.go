// Package admin does what operators and administrators do to a running Sallyport: suspend users, end sessions, create
// and revoke provisioning tokens, decide about held deactivations, reload the configuration, copy the store.
//
// Every method names its [Actor]. Whatever changes something goes through perform, which records the action before it
// is done: if the record cannot be written, nothing is done. The control socket's API stands on this package.
package admin

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"
	"time"

	"sallyport/audit"
	"sallyport/audit/rollup"
	"sallyport/directory"
	"sallyport/enforce"
	"sallyport/grant"
	"sallyport/oidc/claimed"
	"sallyport/peers"
	"sallyport/scim"
	"sallyport/session"
)

// Actor is who acts, and from where.
type Actor = audit.Actor

// Operator returns the actor for a user of the system that Sallyport runs on.
func Operator(name, address string) Actor {
	return Actor{Kind: audit.ActorOperator, Name: name, Address: address}
}

// Person returns the actor for a user who is signed in.
func Person(u *directory.User, address string) Actor {
	return Actor{Kind: audit.ActorUser, Name: u.UserName, Address: address, ID: u.ID}
}

// System returns the actor for what the server does by itself. cause says why it does it.
func System(cause string) Actor { return Actor{Kind: audit.ActorSystem, Name: cause} }

// ErrNoServer means that an action needs a running server, and none runs.
var ErrNoServer = errors.New("no server is running")

// ErrNoActor means that an action was asked for in nobody's name.
var ErrNoActor = errors.New("nobody is named as the one who acts")

// ErrAuditor means that somebody who may look wanted to act.
var ErrAuditor = errors.New("auditors of the console may look at everything, and change nothing")

// ErrNotRecorded means that an event could not be written to the audit record. Unless the error says otherwise, nothing
// was done.
var ErrNotRecorded = errors.New("the audit record cannot be written")

// ErrUnconfirmed means that an action is done, and that it could not be found out in time whether every replica decides by it.
var ErrUnconfirmed = enforce.ErrUnknown

// Backuper is a store that can write a consistent copy of itself.
type Backuper interface {
	Backup(ctx context.Context, w io.Writer) error
}

// Parts are what an [Admin] acts on.
type Parts struct {
	Directory    *directory.Directory
	Sessions     *session.Sessions
	Provisioning *scim.Provisioning
	Audit        *audit.Log
	Store        Backuper
	Version      string                      // of this program; recorded with every reload
	Reload       func(context.Context) error // nil if no server runs

	Upgrade func(context.Context) (pid int, err error) // nil if no server runs

	Grants    *grant.Grants
	Rules     func() Rules                 // in force
	PublicURL func() string                // where the pages of Sallyport are, in force
	Notify    func(event string, data any) // called after a request was made or decided, and after a grant ended early; nil: nobody is told

	BreakGlass *grant.BreakGlass // nil if no server runs
	Enforcer   *enforce.Enforcer // nil if only this process uses the store
	Live       LiveRequests
	Log        *slog.Logger // nil: nothing is logged

	Leads func(context.Context) (bool, error) // whether this replica does what only one of them shall do; nil: it does

	Parse         func(text string) (Rules, error) // a changed configuration, or the parts of one that replace those in force
	Decisions     Decisions                        // in the record
	Configuration ConfigurationSource              // nil if no server runs

	Record RecordSource   // of this process
	Peers  *peers.Peers   // ask every replica; nil if no server runs
	Rollup *rollup.Rollup // figures; nil if no server runs

	Replica func() ReplicaFacts // what this process says of itself; nil if no server runs
	Doctor  func() Diagnosis    // what the doctor found last; nil if no server runs

	TokenGroups *claimed.Memory // what tokens said of groups; nil if no server runs
}

// Admin acts for operators and administrators. Its methods may be called concurrently.
type Admin struct {
	directory    *directory.Directory
	sessions     *session.Sessions
	provisioning *scim.Provisioning
	audit        *audit.Log
	store        Backuper
	version      string
	reload       func(context.Context) error // nil if no server runs
	upgrade      func(context.Context) (pid int, err error)

	grants     *grant.Grants
	rules      func() Rules
	publicURL  func() string
	notify     func(event string, data any)
	breakGlass *grant.BreakGlass // nil if no server runs
	enforcer   *enforce.Enforcer
	live       LiveRequests
	tails      tails
	watches    watches
	leads      func(context.Context) (bool, error)
	log        *slog.Logger
	people     people
	clearing   clearing
	questions
	shared
	records
}

// shared is what is asked from every replica, and what is only of this one; without a server all are nil.
type shared struct {
	peers   *peers.Peers
	rollup  *rollup.Rollup
	replica func() ReplicaFacts
	doctor  func() Diagnosis
	pushes  pushTimes
	tokens  *claimed.Memory

	recentFigures  recent[rollup.Query, Figures]
	recentReplicas recent[struct{}, Replicas]
}

// RecordSource is the audit record of this process. Its functions are nil where there is none.
type RecordSource struct {
	Open    func() (*audit.Record, error)
	Verify  func(context.Context) (audit.Checked, error)                                               // in the background; takes long
	Receipt func(ctx context.Context, actor Actor, user string, at time.Time) (ReceiptDocument, error) // the zero time: the last one
}

// records is the record of this process, and what is known of it.
type records struct {
	source RecordSource

	exports  exports
	receipts receipts
	chain    chain
}

// questions are about rules, the record and the configuration, and what is remembered of their answers.
type questions struct {
	parse         func(text string) (Rules, error)
	decisions     Decisions
	configuration ConfigurationSource

	explaining   explaining
	explanations recent[pastDecision, explainedAt]

	computing sync.Mutex // see facts
	reaches   reaches
	checks    checks
	trials    trials
	unused    unused
	reloads   reloads
}

// New returns an Admin that acts on p.
func New(p Parts) *Admin {
	if p.Log == nil {
		p.Log = slog.New(slog.DiscardHandler)
	}
	if p.Leads == nil {
		p.Leads = func(context.Context) (bool, error) { return true, nil }
	}
	a := &Admin{leads: p.Leads, directory: p.Directory, sessions: p.Sessions, provisioning: p.Provisioning, audit: p.Audit,
		store: p.Store, version: p.Version, reload: p.Reload, upgrade: p.Upgrade, grants: p.Grants, rules: p.Rules, publicURL: p.PublicURL, notify: p.Notify,
		breakGlass: p.BreakGlass, enforcer: p.Enforcer, live: p.Live, log: p.Log, people: people{directory: p.Directory},
		questions: questions{explanations: recent[pastDecision, explainedAt]{underWay: true}, parse: p.Parse, decisions: p.Decisions, configuration: p.Configuration},
		shared:    shared{peers: p.Peers, rollup: p.Rollup, replica: p.Replica, doctor: p.Doctor, tokens: p.TokenGroups}}
	a.records = records{source: p.Record, exports: newExports()}
	a.handleFigures()
	a.handleRecord()
	a.handleRequests()
	a.handleQuestions()
	a.handleTokenDrift()
	return a
}
