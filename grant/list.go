package grant

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"
)

// Request returns the request with an id, or [ErrNone].
func (g *Grants) Request(id string) (Request, error) {
	if g == nil {
		return Request{}, ErrNone
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if r := g.memory.requests[id]; r != nil {
		return *r, nil
	}
	return Request{}, ErrNone
}

// FindRequest is Request of what any replica has stored: one that another replica stored a moment ago is found.
func (g *Grants) FindRequest(ctx context.Context, id string) (Request, error) {
	request, err := g.Request(id)
	if err == nil || g == nil {
		return request, err
	}
	if err := g.mirror.CatchUp(ctx); err != nil {
		return Request{}, err
	}
	return g.Request(id)
}

// FindGrant is Grant of what any replica has stored.
func (g *Grants) FindGrant(ctx context.Context, id string) (Grant, error) {
	granted, err := g.Grant(id)
	if err == nil || g == nil {
		return granted, err
	}
	if err := g.mirror.CatchUp(ctx); err != nil {
		return Grant{}, err
	}
	return g.Grant(id)
}

// Undecided returns the requests that wait for a decision, the newest first.
func (g *Grants) Undecided(now time.Time) (list []Request) {
	if g == nil {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, r := range g.memory.undecided {
		if r.OpenAt(now) {
			list = append(list, *r)
		}
	}
	slices.SortFunc(list, newestFirst)
	return list
}

// MadeBy returns every stored request of a user, the newest first.
func (g *Grants) MadeBy(user string) (list []Request) {
	if g == nil {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, r := range g.memory.made[user] {
		list = append(list, *r)
	}
	slices.SortFunc(list, newestFirst)
	return list
}

// Requests returns every stored request, the newest first.
func (g *Grants) Requests() (list []Request) {
	if g == nil {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, r := range g.memory.requests {
		list = append(list, *r)
	}
	slices.SortFunc(list, newestFirst)
	return list
}

func newestFirst(a, b Request) int {
	return cmp.Or(b.Made.Compare(a.Made), strings.Compare(a.ID, b.ID))
}

// All returns the grants of a user, or with "" of all users, that are open at a time, and with ended every other that is
// stored: the newest first.
func (g *Grants) All(user string, now time.Time, ended bool) (list []Grant) {
	if g == nil {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for of, grants := range g.memory.grants {
		if user != "" && of != user {
			continue
		}
		for _, granted := range grants {
			if ended || granted.OpenAt(now) {
				list = append(list, *granted)
			}
		}
	}
	slices.SortFunc(list, func(a, b Grant) int {
		return cmp.Or(b.Began.Compare(a.Began), strings.Compare(a.ID, b.ID))
	})
	return list
}

// Grant returns the grant with an id, or [ErrNone].
func (g *Grants) Grant(id string) (Grant, error) {
	if g == nil {
		return Grant{}, ErrNone
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, grants := range g.memory.grants {
		if granted := grants[id]; granted != nil {
			return *granted, nil
		}
	}
	return Grant{}, ErrNone
}

// Open returns how many grants and requests are open at a time. A grant whose person left or was suspended counts until
// it is swept.
func (g *Grants) Open(now time.Time) (grants, requests int) {
	if g == nil {
		return 0, 0
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.memory.open(now)
}

func (m *memory) open(now time.Time) (grants, requests int) {
	for granted := range m.unended() {
		if granted.OpenAt(now) {
			grants++
		}
	}
	for _, r := range m.undecided {
		if r.OpenAt(now) {
			requests++
		}
	}
	return grants, requests
}
