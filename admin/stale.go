package admin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// ErrNotStale means that somebody or something that was to be removed as forgotten by the identity provider is not.
var ErrNotStale = errors.New("only what has been inactive or unused for 30 days can be removed in one go")

// ErrChosen means that nothing, or too much, was chosen to be removed in one go.
var ErrChosen = errors.New("choose 1 to 100 of them")

// maxRemoved is how many users or groups are removed at once.
const maxRemoved = 100

// RemoveStaleUsers deletes users by their ids, as [Admin.RemoveUser] does, who are all stale. It returns how many it
// deleted before the first error.
func (a *Admin) RemoveStaleUsers(ctx context.Context, actor Actor, ids []string) (removed int, err error) {
	now := time.Now()
	return a.removeAll(ids, func(id string) bool {
		u, ok := a.directory.ByID(id)
		return ok && isStale(u, now)
	}, func(id string) error {
		_, err := a.RemoveUser(ctx, actor, id)
		return err
	})
}

// RemoveStaleGroups deletes groups by their ids, as [Admin.RemoveGroup] does, that are all stale. It returns how many it
// deleted before the first error.
func (a *Admin) RemoveStaleGroups(ctx context.Context, actor Actor, ids []string) (removed int, err error) {
	now, named := time.Now(), a.namedGroups()
	return a.removeAll(ids, func(id string) bool {
		g, ok := a.directory.GroupByID(id)
		return ok && g.Members == 0 && !named.has(g.ExternalID, g.DisplayName) && now.Sub(g.Modified) > StaleAfter
	}, func(id string) error { return a.RemoveGroup(ctx, actor, id) })
}

// removeAll calls remove for each of ids, each of which is stale.
func (a *Admin) removeAll(ids []string, stale func(id string) bool, remove func(id string) error) (removed int, err error) {
	ids = slices.Compact(slices.Sorted(slices.Values(ids)))
	if len(ids) == 0 || len(ids) > maxRemoved {
		return 0, ErrChosen
	}
	fresh := slices.DeleteFunc(slices.Clone(ids), stale)
	if len(fresh) > 0 {
		return 0, fmt.Errorf("%w: %s", ErrNotStale, strings.Join(fresh, ", "))
	}
	for _, id := range ids {
		if err := remove(id); err != nil {
			return removed, err
		}
		removed++
	}
	return removed, nil
}

// RouteNames returns the names of the routes in force, in the order of the file.
func (a *Admin) RouteNames(context.Context, Actor) (names []string, err error) {
	if a.rules == nil {
		return nil, nil
	}
	for _, r := range a.rules().Routes {
		names = append(names, r.Name)
	}
	return names, nil
}
