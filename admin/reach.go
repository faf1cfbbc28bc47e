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
	mu       sync.Mutex // guards the fields below
	pictures map[string]*remembered[access.Picture]
	recent   []string // the routes of pictures, the newest last
}

// maxPictures is how many routes have their picture kept.
const maxPictures = 8

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
	picture, state := a.reaches.picture(name).get(ctx, a.facts(), func(ctx context.Context, f facts) (access.Picture, error) {
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

// picture returns what remembers the picture of a route, and forgets that of which nobody has asked for longest.
func (r *reaches) picture(name string) *remembered[access.Picture] {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.pictures == nil {
		r.pictures = map[string]*remembered[access.Picture]{}
	}
	r.recent = append(slices.DeleteFunc(r.recent, func(other string) bool { return other == name }), name)
	if len(r.recent) > maxPictures {
		delete(r.pictures, r.recent[0])
		r.recent = r.recent[1:]
	}
	if r.pictures[name] == nil {
		r.pictures[name] = new(remembered[access.Picture])
	}
	return r.pictures[name]
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
