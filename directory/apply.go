package directory

import (
	"slices"
	"strings"

	"sallyport/store"
)

// inDecisions are the prefixes of keys whose records decisions depend on.
var inDecisions = []string{userKeys, groupKeys, memberOfKeys, suspendedKeys, endedKeys}

// apply brings one change of the store into memory and reports whether Lookup may
// give another result than before. Users are replaced, never altered.
func (d *Directory) apply(change store.Change) (changed bool) {
	idx := d.index.Load()
	idx.users.changing.Lock()
	defer idx.users.changing.Unlock()
	memberships := map[string]*membershipChange{} // by user
	groups := map[string]*Group{}                 // those that changed for decisions, by id
	d.addReceipts(receiptsOf(change))             // whoever sees the change must find its receipt
	d.pending.note(change)
	for _, w := range change.Writes { // ends come first: nobody may find a user of the change without them
		if strings.HasPrefix(string(w.Key), endedKeys) {
			d.applyEnd(w)
		}
	}
	for _, w := range change.Writes {
		key := string(w.Key)
		changed = changed || slices.ContainsFunc(inDecisions, func(prefix string) bool { return strings.HasPrefix(key, prefix) })
		switch {
		case strings.HasPrefix(key, userKeys):
			d.applyUser(w)
		case strings.HasPrefix(key, groupKeys):
			d.applyGroup(w, groups)
		case strings.HasPrefix(key, memberOfKeys):
			collectMembership(w, memberships)
		}
	}
	for _, w := range change.Writes { // after the users: one may have been created suspended
		if strings.HasPrefix(string(w.Key), suspendedKeys) {
			d.applySuspension(w)
		}
	}
	d.applyMemberships(memberships)
	d.applyGroupChanges(change.Revision, groups)
	d.tellTouched() // last: memory has the whole change
	return changed
}

func (d *Directory) applyUser(w store.Write) {
	idx := d.index.Load()
	id, _ := idIn(w.Key, userKeys, 0)
	old, ok := idx.users.find(id)
	if w.Deleted {
		idx.users.remove(id)
		if ok {
			idx.keys.remove(d.keyOf(old), id)
			d.touch(old, nil)
		}
		return
	}
	u := newUser(id, w.Value, nil)
	if ok {
		u.Damaged = u.Damaged || old.Damaged // until the whole store is read again
		u.groups, u.GroupIDs, u.GroupNames, u.Suspended = old.groups, old.GroupIDs, old.GroupNames, old.Suspended
	}
	if ok && d.keyOf(old) != d.keyOf(u) {
		idx.keys.remove(d.keyOf(old), id)
	}
	d.replace(idx, u)
}

// replace replaces the user that has the id of u.
func (d *Directory) replace(idx *index, u *User) {
	old := idx.users.put(u)
	idx.keys.put(d.keyOf(u), u)
	d.touch(old, u)
}

// applyGroup replaces a group. It adds the group to changed if what decisions read
// of it has changed.
func (d *Directory) applyGroup(w store.Write, changed map[string]*Group) {
	id, _ := idIn(w.Key, groupKeys, 0)
	d.mu.Lock()
	defer d.mu.Unlock()
	old := d.groups[id]
	if w.Deleted {
		delete(d.groups, id)
		return
	}
	g := newGroup(id, w.Value, nil)
	d.groups[id] = g
	if old != nil && !sameForDecisions(old, g) {
		changed[id] = g
	}
}

// membershipChange is what changes for one member: the ids of groups.
type membershipChange struct{ added, removed []string }

func collectMembership(w store.Write, changes map[string]*membershipChange) {
	member, group, ok := edgeOf(w.Key)
	if !ok {
		return
	}
	m := changes[member]
	if m == nil {
		m = &membershipChange{}
		changes[member] = m
	}
	isGroup := func(g string) bool { return g == group }
	m.added, m.removed = slices.DeleteFunc(m.added, isGroup), slices.DeleteFunc(m.removed, isGroup)
	if w.Deleted {
		m.removed = append(m.removed, group)
	} else {
		m.added = append(m.added, group)
	}
}

func (d *Directory) applyMemberships(changes map[string]*membershipChange) {
	idx := d.index.Load()
	for id, m := range changes {
		old, ok := idx.users.find(id)
		if !ok {
			continue // the member is a group, or a user that the same change deletes
		}
		groups := slices.DeleteFunc(slices.Clone(old.groups), func(g *Group) bool {
			return slices.Contains(m.removed, g.ID) || slices.Contains(m.added, g.ID)
		})
		for _, group := range m.added {
			if g, ok := d.group(group); ok {
				groups = append(groups, g)
			}
		}
		d.replace(idx, old.withGroups(groups))
	}
}

func (d *Directory) group(id string) (*Group, bool) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	g, ok := d.groups[id]
	return g, ok
}

// applyGroupChanges replaces the members of changed groups by copies that belong to
// the groups as they are now.
func (d *Directory) applyGroupChanges(revision store.Revision, changed map[string]*Group) {
	if len(changed) == 0 {
		return
	}
	d.widenReceipts(revision)
	idx := d.index.Load()
	var members []*User
	for u := range idx.users.all {
		if slices.ContainsFunc(u.groups, func(g *Group) bool { return changed[g.ID] != nil }) {
			members = append(members, u)
		}
	}
	for _, u := range members {
		groups := slices.Clone(u.groups)
		for i, g := range groups {
			if next := changed[g.ID]; next != nil {
				groups[i] = next
			}
		}
		d.replace(idx, u.withGroups(groups))
	}
}
