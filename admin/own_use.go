package admin

import (
	"context"
	"time"

	"sallyport/audit/rollup"
)

// maxOwnUses is of how many routes the last use is told.
const maxOwnUses = 1000

// OwnUses returns when the actor last used each route, as far as that is known, by the names of the routes: on all replicas,
// or else on this one, which costs nothing.
func (a *Admin) OwnUses(ctx context.Context, actor Actor, onAll bool) (map[string]time.Time, error) {
	u, ok := a.userOf(actor)
	if !ok || a.rollup == nil {
		return nil, nil
	}
	q := rollup.UsesQuery{Users: []string{u.ID}, Limit: maxOwnUses}
	uses := a.rollup.Uses(q)
	if onAll && a.peers != nil {
		parts, _, err := askAll[[]rollup.Use](ctx, a.peers, askUses, q)
		if err != nil {
			return nil, err
		}
		uses = rollup.MergeUses(q.Limit, append(parts, uses)...)
	}
	times := map[string]time.Time{}
	for _, use := range uses {
		if use.Time.After(times[use.Route]) {
			times[use.Route] = use.Time
		}
	}
	return times, nil
}
