package directory

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"time"

	"sallyport/store"
)

// maxCurrentWait is how long memory is waited for that does not have yet what the store has.
const maxCurrentWait = time.Second

// CurrentUsers returns every user as memory has them, in no order: at one revision, which is not before the one that the store
// has when it is called. It returns an error if memory does not get there within a second.
//
// The record of a user who is Damaged cannot be read, and so the user may not be as the store has them.
func (d *Directory) CurrentUsers(ctx context.Context) ([]*User, error) {
	idx, err := d.current(ctx)
	if err != nil {
		return nil, err
	}
	idx.changing.RLock()
	defer idx.changing.RUnlock()
	return idx.snapshot(), nil
}

// CurrentGroups is [Directory.CurrentUsers] for groups, which have no documents in memory. It returns an error if the record
// of one is damaged.
func (d *Directory) CurrentGroups(ctx context.Context) ([]*Group, error) {
	idx, err := d.current(ctx)
	if err != nil {
		return nil, err
	}
	idx.changing.RLock()
	groups := d.allGroups()
	idx.changing.RUnlock()
	if i := slices.IndexFunc(groups, func(g *Group) bool { return g.damaged }); i >= 0 {
		return nil, fmt.Errorf("the group %s: %w", groups[i].ID, store.ErrDamaged)
	}
	return groups, nil
}

// current returns the index of users once it has what the store has now.
func (d *Directory) current(ctx context.Context) (*userIndex, error) {
	ctx, cancel := context.WithTimeout(ctx, maxCurrentWait)
	defer cancel()
	var newest store.Revision
	err := d.store.View(ctx, func(r store.Reader) error { newest = r.Revision(); return nil })
	if err != nil {
		return nil, err
	}
	if err := d.mirror.Wait(ctx, newest); err != nil {
		return nil, stale(err)
	}
	return d.index.Load().users, nil
}

// MemberOf yields the groups that the user is a direct member of, without their documents, in the order of GroupIDs. They are
// shared: do not change them.
func (u *User) MemberOf() iter.Seq[*Group] { return slices.Values(u.groups) }
