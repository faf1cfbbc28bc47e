package directory

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"sallyport/store"
)

// arrival is when the request that made a revision reached us.
type arrival struct {
	revision store.Revision
	received time.Time
}

// keptArrivals is how many of the newest arrivals are remembered.
const keptArrivals = 1024

// Run keeps memory equal to the store until ctx ends. When it ends, memory may
// no longer be trusted and Fresh says so.
func (d *Directory) Run(ctx context.Context) error {
	err := d.follow(ctx)
	for errors.Is(err, store.ErrCompacted) {
		if err = d.load(ctx); err == nil {
			d.publish(d.applied, nil, true)
			err = d.follow(ctx)
		}
	}
	d.mu.Lock()
	d.failure = fmt.Errorf("%w: %w", ErrStale, err)
	close(d.moved)
	d.moved = make(chan struct{})
	close(d.changed)
	d.changed = make(chan struct{})
	d.mu.Unlock()
	return err
}

func (d *Directory) follow(ctx context.Context) error {
	for change, err := range d.store.Watch(ctx, d.applied) {
		if err != nil {
			return err
		}
		d.apply(change)
	}
	return ctx.Err()
}

// publish tells those who wait that memory now shows revision; differs, that
// Lookup may answer otherwise than before.
func (d *Directory) publish(revision store.Revision, received []arrival, differs bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.applied = revision
	d.received = append(d.received, received...)
	if extra := len(d.received) - keptArrivals; extra > 0 {
		d.received = slices.Delete(d.received, 0, extra)
	}
	close(d.moved)
	d.moved = make(chan struct{})
	if differs {
		close(d.changed)
		d.changed = make(chan struct{})
	}
}

// ReceivedAfter is when the earliest remembered change after rev reached us.
func (d *Directory) ReceivedAfter(rev uint64) (time.Time, bool) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	for _, a := range d.received {
		if uint64(a.revision) > rev {
			return a.received, true
		}
	}
	return time.Time{}, false
}

// apply puts one change into memory. Users are replaced, never altered.
func (d *Directory) apply(change store.Change) {
	moves := map[string]*membership{} // by user
	regroup := map[string]*Group{}    // groups that read otherwise now, by id
	var received []arrival
	differs := false
	for _, w := range change.Writes {
		key := string(w.Key)
		differs = differs || strings.HasPrefix(key, userKeys) || strings.HasPrefix(key, groupKeys) || strings.HasPrefix(key, memberOfKeys) || strings.HasPrefix(key, suspendedKeys)
		switch {
		case strings.HasPrefix(key, userKeys):
			d.applyUser(w)
		case strings.HasPrefix(key, groupKeys):
			d.applyGroup(w, regroup)
		case strings.HasPrefix(key, memberOfKeys):
			noteMove(w, moves)
		case strings.HasPrefix(key, suspendedKeys):
			d.applySuspension(w)
		case strings.HasPrefix(key, recordKeys) && !w.Deleted:
			if rec, err := decodeRecord(store.Entry{Key: w.Key, Value: w.Value}); err == nil {
				received = append(received, arrival{change.Revision, rec.Received})
			}
		}
	}
	d.applyMoves(moves)
	d.applyRegroup(regroup)
	d.publish(change.Revision, received, differs)
}

func (d *Directory) applyUser(w store.Write) {
	at := d.index.Load()
	id, _ := idIn(w.Key, userKeys, 0)
	old, had := at.users.find(id)
	if w.Deleted {
		at.users.remove(id)
		if had {
			at.keys.remove(d.keyOf(old), id, at.users)
		}
		return
	}
	u := newUser(id, w.Value, nil)
	if had {
		u.Damaged = u.Damaged || old.Damaged // until the store was read again as a whole
		u.groups, u.GroupIDs, u.GroupNames, u.Suspended = old.groups, old.GroupIDs, old.GroupNames, old.Suspended
	}
	if had && d.keyOf(old) != d.keyOf(u) {
		at.keys.remove(d.keyOf(old), id, at.users)
	}
	d.place(at, u)
}

// place puts u in the place of what the user was before.
func (d *Directory) place(at *index, u *User) {
	at.users.put(u)
	at.keys.add(d.keyOf(u), u, at.users)
}

// applyGroup replaces a group; its members are only concerned when what a
// decision reads of it differs.
func (d *Directory) applyGroup(w store.Write, regroup map[string]*Group) {
	id, _ := idIn(w.Key, groupKeys, 0)
	d.mu.Lock()
	defer d.mu.Unlock()
	old := d.groups[id]
	if w.Deleted {
		delete(d.groups, id)
		return
	}
	g := &Group{}
	if err := json.Unmarshal(w.Value, g); err != nil {
		g = &Group{ID: id, damaged: true}
	}
	g.Document = nil
	d.groups[id] = g
	if old != nil && (old.ExternalID != g.ExternalID || old.DisplayName != g.DisplayName || old.damaged != g.damaged) {
		regroup[id] = g
	}
}

// membership is what changes for one user.
type membership struct {
	join, leave []string // groups
}

func noteMove(w store.Write, moves map[string]*membership) {
	user, group, ok := edgeOf(w.Key)
	if !ok {
		return
	}
	m := moves[user]
	if m == nil {
		m = &membership{}
		moves[user] = m
	}
	m.join = slices.DeleteFunc(m.join, func(g string) bool { return g == group })
	m.leave = slices.DeleteFunc(m.leave, func(g string) bool { return g == group })
	if w.Deleted {
		m.leave = append(m.leave, group)
	} else {
		m.join = append(m.join, group)
	}
}

func (d *Directory) applyMoves(moves map[string]*membership) {
	at := d.index.Load()
	for id, m := range moves {
		old, ok := at.users.find(id)
		if !ok {
			continue // a nested group, or a user deleted in the same change
		}
		groups := slices.DeleteFunc(slices.Clone(old.groups), func(g *Group) bool {
			return slices.Contains(m.leave, g.ID) || slices.Contains(m.join, g.ID)
		})
		for _, group := range m.join {
			if g, ok := d.group(group); ok {
				groups = append(groups, g)
			}
		}
		d.place(at, old.with(groups))
	}
}

func (d *Directory) group(id string) (*Group, bool) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	g, ok := d.groups[id]
	return g, ok
}

// with is a copy of u in other groups.
func (u *User) with(groups []*Group) *User {
	next := *u
	sortGroups(groups)
	next.join(groups)
	return &next
}

// applyRegroup points the members of changed groups at what they are now.
func (d *Directory) applyRegroup(regroup map[string]*Group) {
	if len(regroup) == 0 {
		return
	}
	at := d.index.Load()
	var concerned []*User
	for u := range at.users.all {
		if slices.ContainsFunc(u.groups, func(g *Group) bool { return regroup[g.ID] != nil }) {
			concerned = append(concerned, u)
		}
	}
	for _, u := range concerned {
		groups := slices.Clone(u.groups)
		for i, g := range groups {
			if now := regroup[g.ID]; now != nil {
				groups[i] = now
			}
		}
		d.place(at, u.with(groups))
	}
}

func sortGroups(groups []*Group) {
	slices.SortFunc(groups, func(a, b *Group) int {
		return cmp.Or(strings.Compare(a.ExternalID, b.ExternalID), strings.Compare(a.ID, b.ID))
	})
}
