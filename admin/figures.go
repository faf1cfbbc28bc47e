package admin

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"sallyport/audit/rollup"
	"sallyport/peers"
)

// The questions to every replica about figures.
const (
	askFigures = "figures"
	askUses    = "uses"
	askRules   = "rules"
	askHeat    = "heat"
)

// Missing is a replica that did not say what it was asked.
type Missing struct {
	Replica string `json:"replica"` // "" if it is not known which there are
	Why     string `json:"why"`
}

// Sources are the replicas that something was put together from, and those that are missing in it. Without several replicas
// both are empty.
type Sources struct {
	Replicas []string  `json:"replicas,omitempty"`
	Missing  []Missing `json:"missing,omitempty"`
}

// FiguresQuery asks for figures over time: between two times, or for some time until now.
type FiguresQuery struct {
	rollup.Query
	Since  time.Duration `json:"since,omitempty"`  // in place of From
	Points int           `json:"points,omitempty"` // at most
}

// Figures are those of all replicas.
type Figures struct {
	rollup.Figures
	Sources
}

// handleFigures has this process reply to questions about its figures.
func (a *Admin) handleFigures() {
	if a.peers == nil || a.rollup == nil || a.replica == nil {
		return
	}
	handle(a.peers, askFigures, func(_ context.Context, q rollup.Query) (any, error) { return a.rollup.Figures(q), nil })
	handle(a.peers, askUses, func(_ context.Context, q rollup.UsesQuery) (any, error) { return a.rollup.Uses(q), nil })
	handle(a.peers, askRules, func(_ context.Context, _ struct{}) (any, error) { return a.rollup.Rules(), nil })
	handle(a.peers, askReplica, func(context.Context, struct{}) (any, error) { return a.replica(), nil })
	handle(a.peers, askHeat, func(_ context.Context, q heatQuery) (any, error) { return a.heat(q) })
}

// handle has f reply to a question in this process.
func handle[Args any](p *peers.Peers, name string, f func(context.Context, Args) (any, error)) {
	p.Handle(name, func(ctx context.Context, text json.RawMessage) (any, error) {
		var args Args
		if err := json.Unmarshal(text, &args); err != nil {
			return nil, err
		}
		return f(ctx, args)
	})
}

// askAll asks every replica, and returns what they said.
func askAll[T any](ctx context.Context, p *peers.Peers, name string, args any) ([]T, Sources, error) {
	if p == nil {
		return nil, Sources{}, ErrNoServer
	}
	values, missing := peers.Values[T](p.Ask(ctx, name, args))
	var from Sources
	for _, m := range missing {
		from.Missing = append(from.Missing, Missing{m.Replica, m.Err})
	}
	for _, replica := range slices.Sorted(maps.Keys(values)) {
		if replica != "" {
			from.Replicas = append(from.Replicas, replica)
		}
	}
	if len(values) == 0 {
		var all []string
		for _, m := range from.Missing {
			all = append(all, strings.TrimSpace(m.Replica+" "+m.Why))
		}
		return nil, from, errors.New(strings.Join(all, "; "))
	}
	return slices.Collect(maps.Values(values)), from, nil
}

// Figures returns what happened over time, on all replicas.
func (a *Admin) Figures(ctx context.Context, _ Actor, q FiguresQuery) (Figures, error) {
	if a.rollup == nil {
		return Figures{}, ErrNoServer
	}
	now := time.Now()
	if q.Since > 0 {
		q.Until, q.From = now, now.Add(-q.Since)
	}
	if q.Points == 0 {
		q.Points = 240
	}
	fit := q.Fit(q.Points, now)
	return a.recentFigures.get(ctx, fit, func(ctx context.Context) (Figures, error) {
		parts, from, err := askAll[rollup.Figures](ctx, a.peers, askFigures, fit)
		if err != nil {
			return Figures{}, err
		}
		return Figures{rollup.Merge(fit, parts...), from}, nil
	})
}

// Uses are last uses of routes on all replicas.
type Uses struct {
	Uses []rollup.Use `json:"uses"`
	Sources
}

// LastUses returns when people last used routes, the newest first.
func (a *Admin) LastUses(ctx context.Context, _ Actor, q rollup.UsesQuery) (Uses, error) {
	if a.rollup == nil {
		return Uses{}, ErrNoServer
	}
	parts, from, err := askAll[[]rollup.Use](ctx, a.peers, askUses, q)
	uses := Uses{rollup.MergeUses(q.Limit, parts...), from}
	for i, use := range uses.Uses {
		if u, ok := a.directory.ByID(use.User); ok {
			uses.Uses[i].Name = u.UserName
		}
	}
	return uses, err
}

// RuleUses are how often rules decided on all replicas.
type RuleUses struct {
	Rules  []rollup.RuleUse `json:"rules"`
	Begins time.Time        `json:"begins"` // of what was counted, by this replica
	Sources
}

// RuleUses returns how often each rule decided that did so at all, by the names of the rules.
func (a *Admin) RuleUses(ctx context.Context, _ Actor) (RuleUses, error) {
	if a.rollup == nil {
		return RuleUses{}, ErrNoServer
	}
	parts, from, err := askAll[[]rollup.RuleUse](ctx, a.peers, askRules, struct{}{})
	return RuleUses{rollup.MergeRules(parts...), a.rollup.Begins(), from}, err
}

// heatQuery asks for the heat map of a route in a time zone.
type heatQuery struct {
	Route string `json:"route"`
	Zone  string `json:"zone"`
}

// Heat is the heat map of a route on all replicas.
type Heat struct {
	Heat rollup.Heat `json:"heat"`
	Sources
}

// Heat returns when a route is used, or all for "", by day of the week and hour in a time zone, such as Europe/Berlin; "" is UTC.
func (a *Admin) Heat(ctx context.Context, _ Actor, route, zone string) (heat Heat, err error) {
	if a.rollup == nil {
		return Heat{}, ErrNoServer
	}
	if _, err := time.LoadLocation(zone); err != nil {
		return Heat{}, err
	}
	parts, from, err := askAll[rollup.Heat](ctx, a.peers, askHeat, heatQuery{route, zone})
	heat.Sources = from
	for _, part := range parts {
		heat.Heat.Add(part)
	}
	return heat, err
}

func (a *Admin) heat(q heatQuery) (rollup.Heat, error) {
	zone, err := time.LoadLocation(q.Zone)
	if err != nil {
		return rollup.Heat{}, err
	}
	return a.rollup.Heat(q.Route, zone), nil
}
