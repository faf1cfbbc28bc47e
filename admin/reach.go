package admin

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"sallyport/access"
	"sallyport/directory"
)

// ErrNoRoute means that no route has the name.
var ErrNoRoute = errors.New("there is no such route")

// reaches are computed answers to who reaches what.
type reaches struct {
	counts   remembered[[]access.Count]
	pictures rememberedOf[access.Picture] // by the route
	others   rememberedOf[othersWho]      // by the request for access
}

// rememberedOf keeps the results of which somebody asked last, by their keys.
type rememberedOf[V any] struct {
	mu     sync.Mutex // guards the fields below
	list   map[string]*remembered[V]
	recent []string // keys, the newest last
}

// maxRemembered is how many results of a kind are kept.
const maxRemembered = 8

// scope is that of questions about now.
func (a *Admin) scope() access.Scope {
	return access.Scope{Time: time.Now().UTC(), Organization: a.directory, Grants: a.grants.Of}
}

// RouteCount is a route, and how many callers reach it by the rules in force.
type RouteCount struct {
	access.RouteFacts

	Policies []string     `json:"policies"`
	Reach    access.Count `json:"reach"`
}

// RouteCounts returns the routes in the order of the file, and how many callers reach each. The numbers may be older than the
// rules and the directory: see [Computed]. While there are none, all are zero.
func (a *Admin) RouteCounts(ctx context.Context, _ Actor) ([]RouteCount, Computed) {
	now := a.facts()
	counts, state := a.reaches.counts.get(ctx, now, func(ctx context.Context, f facts) ([]access.Count, error) {
		return access.CountReach(ctx, f.rules.Routes, a.directory.Snapshot(), a.scope())
	})
	list := make([]RouteCount, len(now.rules.Routes))
	for i, r := range now.rules.Routes {
		list[i] = RouteCount{RouteFacts: r.Facts(), Policies: r.Policies, Reach: access.Count{Route: r.Name}}
		if j := slices.IndexFunc(counts, func(c access.Count) bool { return c.Route == r.Name }); j >= 0 {
			list[i].Reach = counts[j]
		}
	}
	return list, state
}

// Route returns the route in force with a name.
func (a *Admin) Route(_ context.Context, _ Actor, name string) (*access.Route, error) {
	if a.rules != nil {
		for _, r := range a.rules().Routes {
			if r.Name == name {
				return r, nil
			}
		}
	}
	return nil, ErrNoRoute
}

// RoutePicture returns who reaches a route, by which groups and rules. It may be older than the rules and the directory: see
// [Computed].
func (a *Admin) RoutePicture(ctx context.Context, actor Actor, name string) (access.Picture, Computed, error) {
	if _, err := a.Route(ctx, actor, name); err != nil {
		return access.Picture{}, Computed{}, err
	}
	picture, state := a.reaches.pictures.of(name).get(ctx, a.facts(), func(ctx context.Context, f facts) (access.Picture, error) {
		i := slices.IndexFunc(f.rules.Routes, func(r *access.Route) bool { return r.Name == name })
		if i < 0 {
			return access.Picture{}, ErrNoRoute
		}
		return access.Draw(ctx, f.rules.Routes[i], a.directory.Users(), a.directory.Groups(), a.scope())
	})
	return picture, state, nil
}

// ErrNotReached means that somebody does not reach a route, or is not there.
var ErrNotReached = errors.New("there is no such person, or they do not reach the route")

// PictureOf returns how one person reaches a route now. id is theirs in the directory.
func (a *Admin) PictureOf(ctx context.Context, actor Actor, name, id string) (access.Picture, error) {
	route, err := a.Route(ctx, actor, name)
	if err != nil {
		return access.Picture{}, err
	}
	u, ok := a.directory.ByID(id)
	if !ok {
		return access.Picture{}, ErrNotReached
	}
	p, err := access.Draw(ctx, route, []*directory.User{u}, a.directory.Groups(), a.scope())
	if p.Others = nil; err == nil && len(p.People) == 0 {
		err = ErrNotReached
	}
	return p, err
}

// of returns what remembers the result of a key, and forgets that of which nobody has asked for longest.
func (r *rememberedOf[V]) of(key string) *remembered[V] {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.list == nil {
		r.list = map[string]*remembered[V]{}
	}
	r.recent = append(slices.DeleteFunc(r.recent, func(other string) bool { return other == key }), key)
	if len(r.recent) > maxRemembered {
		delete(r.list, r.recent[0])
		r.recent = r.recent[1:]
	}
	if r.list[key] == nil {
		r.list[key] = new(remembered[V])
	}
	return r.list[key]
}

// Ways returns how users reach a route, in their order. Who does not reach it is left out.
func (a *Admin) Ways(ctx context.Context, actor Actor, route string, users []*directory.User) ([]access.Reach, error) {
	r, err := a.Route(ctx, actor, route)
	if err != nil {
		return nil, err
	}
	var list []access.Reach
	for _, u := range users {
		list = append(list, access.What([]*access.Route{r}, u, a.scope())...)
	}
	return list, nil
}
