package admin

import (
	"context"
	"slices"
	"strings"
	"time"
)

const askReplica = "replica"

// ReplicaFacts are what one process says of itself.
type ReplicaFacts struct {
	Replica string    `json:"replica,omitempty"` // "" if it alone uses its store
	Version string    `json:"version"`
	Started time.Time `json:"started"`
	Live    int       `json:"live"`                // requests
	Stale   string    `json:"stale,omitempty"`     // why it decides nothing; "": it does
	Record  string    `json:"record,omitempty"`    // why the record cannot be written; "": it can
	Store   string    `json:"store_err,omitempty"` // why nothing can be changed

	Upstreams    []Upstream    `json:"upstreams"`
	Certificates []Certificate `json:"certificates"`
}

// Upstream is how the targets of a route are.
type Upstream struct {
	Route   string `json:"route"`
	Targets int    `json:"targets"`
	Down    int    `json:"down"`    // those that fail their health check, or could not be reached a moment ago
	Checked bool   `json:"checked"` // by a health check; others are only known to be down when requests fail
}

// Certificate is one that clients are shown.
type Certificate struct {
	Names   []string  `json:"names"`
	Expires time.Time `json:"expires"`
	Renewed bool      `json:"renewed"` // by itself
}

// Finding is what the doctor found out about one thing.
type Finding struct {
	Check  string `json:"check"`
	State  string `json:"state"` // ok, warn, fail or unknown
	Detail string `json:"detail"`
	Fix    string `json:"fix,omitempty"`
}

// Diagnosis is what the doctor found when it looked last.
type Diagnosis struct {
	Findings []Finding `json:"findings"`
	At       time.Time `json:"at,omitzero"` // zero: it has not looked yet
	Looking  bool      `json:"looking"`     // it is looking now
}

// Diagnosis returns what the doctor found when it looked last at this replica and its surroundings, and has it look again if
// that is some time ago.
func (a *Admin) Diagnosis(context.Context, Actor) (Diagnosis, error) {
	if a.doctor == nil {
		return Diagnosis{}, ErrNoServer
	}
	return a.doctor(), nil
}

// Replicas are what every replica says of itself.
type Replicas struct {
	Replicas []ReplicaFacts `json:"replicas"`
	Missing  []Missing      `json:"missing,omitempty"`
}

// Replicas asks every replica how it is.
func (a *Admin) Replicas(ctx context.Context, _ Actor) (Replicas, error) {
	if a.replica == nil {
		return Replicas{}, ErrNoServer
	}
	return a.recentReplicas.get(ctx, struct{}{}, func(ctx context.Context) (Replicas, error) {
		list, from, err := askAll[ReplicaFacts](ctx, a.peers, askReplica, struct{}{})
		slices.SortFunc(list, func(x, y ReplicaFacts) int { return strings.Compare(x.Replica, y.Replica) })
		return Replicas{list, from.Missing}, err
	})
}

// Pulse is what the first page of the console says in one number each.
type Pulse struct {
	Users    int       `json:"users"` // who are active
	Sessions int       `json:"sessions"`
	Held     int       `json:"held"`
	LastPush time.Time `json:"last_push,omitzero"` // the last request of an identity provider
}

// Pulse counts what memory has.
func (a *Admin) Pulse(ctx context.Context, _ Actor) (p Pulse, err error) {
	p.Users, _ = a.directory.Count()
	p.Sessions = a.sessions.Count()
	if p.Held, err = a.provisioning.Waiting(ctx); err != nil {
		return p, err
	}
	p.LastPush, err = a.pushes.newest(ctx, a.provisioning)
	return p, err
}
