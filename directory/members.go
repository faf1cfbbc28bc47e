package directory

import (
	"encoding/hex"
	"errors"
	"iter"
	"slices"

	"sallyport/store"
)

// isGroup is the value of an edge to a group. The value of an edge to a user is empty.
const isGroup = "g"

// Exists returns what id names: a user, a group or nothing.
func (tx *Tx) Exists(id string) (m Member, ok bool, err error) {
	for _, kind := range []struct {
		prefix string
		group  bool
	}{{userKeys, false}, {groupKeys, true}} {
		key, err := idKey(kind.prefix, id)
		if err != nil {
			return Member{}, false, nil
		}
		_, err = tx.r.Get(key)
		if err == nil {
			return Member{id, kind.group}, true, nil
		}
		if !errors.Is(err, store.ErrNotFound) {
			return Member{}, false, err
		}
	}
	return Member{}, false, nil
}

// Members yields the direct members of a group in the order of their ids,
// beginning with from ("" for all).
func (tx *Tx) Members(group, from string) iter.Seq2[Member, error] {
	return func(yield func(Member, error) bool) {
		prefix, err := idKey(memberKeys, group)
		if err != nil {
			return
		}
		start, _ := idKey(memberKeys, group, from) // nil, for the first, if from is not an id
		for e, err := range tx.r.Scan(prefix, start) {
			id, ok := idIn(e.Key, memberKeys, 1)
			if !ok {
				err = errors.Join(err, store.ErrDamaged)
			}
			if !yield(Member{id, string(e.Value) == isGroup}, err) {
				return
			}
		}
	}
}

// IsMember reports whether member is a direct member of group.
func (tx *Tx) IsMember(group, member string) (bool, error) {
	key, err := idKey(memberKeys, group, member)
	if err != nil {
		return false, nil
	}
	_, err = tx.r.Get(key)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// GroupsOf returns the groups that a user or group is a direct member of.
func (tx *Tx) GroupsOf(member string) ([]Group, error) {
	prefix, err := idKey(memberOfKeys, member)
	if err != nil {
		return nil, nil
	}
	var groups []Group
	for e, err := range tx.r.Scan(prefix, nil) {
		if err != nil {
			return nil, err
		}
		id, _ := idIn(e.Key, memberOfKeys, 1)
		g, err := tx.Group(id)
		if err != nil {
			return nil, err
		}
		groups = append(groups, g)
	}
	return groups, nil
}

// AddMembers makes each id a direct member of group and returns how many were not
// members before. It ignores ids of nothing that exists.
func (tx *Tx) AddMembers(group string, ids []string) (int, error) {
	return tx.changeMembers(group, ids, nil)
}

// RemoveMembers ends the membership of each id in group and returns how many were
// members.
func (tx *Tx) RemoveMembers(group string, ids []string) (int, error) {
	return tx.changeMembers(group, nil, ids)
}

// SetMembers makes ids the only direct members of group.
func (tx *Tx) SetMembers(group string, ids []string) (added, removed int, err error) {
	before, err := tx.memberIDs(group)
	if err != nil {
		return 0, 0, err
	}
	ids = sortedSet(ids)
	join, leave := difference(ids, before), difference(before, ids)
	if _, err := tx.Group(group); err != nil {
		return 0, 0, err
	}
	added, err = tx.link(group, join)
	if err != nil {
		return 0, 0, err
	}
	removed, err = tx.unlink(group, leave)
	if err != nil {
		return 0, 0, err
	}
	return added, removed, tx.recount(group, added, removed)
}

func (tx *Tx) memberIDs(group string) (ids []string, err error) {
	for m, err := range tx.Members(group, "") {
		if err != nil {
			return nil, err
		}
		ids = append(ids, m.ID)
	}
	return ids, nil
}

// difference returns the elements of sorted a that sorted b lacks.
func difference(a, b []string) (only []string) {
	for _, id := range a {
		for len(b) > 0 && b[0] < id {
			b = b[1:]
		}
		if len(b) == 0 || b[0] != id {
			only = append(only, id)
		}
	}
	return only
}

func sortedSet(ids []string) []string { return slices.Compact(slices.Sorted(slices.Values(ids))) }

func (tx *Tx) changeMembers(group string, join, leave []string) (changed int, err error) {
	if _, err := tx.Group(group); err != nil {
		return 0, err
	}
	added, err := tx.link(group, sortedSet(join))
	if err != nil {
		return 0, err
	}
	removed, err := tx.unlink(group, sortedSet(leave))
	if err != nil {
		return 0, err
	}
	return added + removed, tx.recount(group, added, removed)
}

// recount updates the count of members and the version of a group whose members
// changed.
func (tx *Tx) recount(group string, added, removed int) error {
	if added+removed == 0 {
		return nil
	}
	g, err := tx.Group(group)
	if err != nil {
		return err
	}
	g.Members += added - removed
	g.Version++
	g.Modified = tx.now
	return tx.write(groupKeys, group, &g)
}

// link writes the edges of sorted ids and returns how many it wrote. It skips ids of
// members and of nothing that exists. It writes edges in the order of their keys,
// since bbolt takes quadratic time otherwise.
func (tx *Tx) link(group string, ids []string) (int, error) {
	var fresh []Member
	for _, id := range ids {
		m, exists, err := tx.Exists(id)
		if err != nil {
			return 0, err
		}
		already, err := tx.IsMember(group, id)
		if err != nil {
			return 0, err
		}
		if exists && !already && id != group {
			fresh = append(fresh, m)
		}
	}
	return len(fresh), tx.eachEdge(group, fresh, tx.w.Put)
}

// unlink deletes the edges of those sorted ids that are members, and returns how
// many it deleted.
func (tx *Tx) unlink(group string, ids []string) (int, error) {
	var gone []Member
	for _, id := range ids {
		member, err := tx.IsMember(group, id)
		if err != nil {
			return 0, err
		}
		if member {
			gone = append(gone, Member{ID: id})
		}
	}
	if len(gone) > 0 {
		store.Urgent(tx.w)
	}
	tx.leave(group, gone)
	return len(gone), tx.eachEdge(group, gone, func(key, _ []byte) error { return tx.w.Delete(key) })
}

// eachEdge calls do with the key and value of each member's edge, then of each
// mirrored edge.
func (tx *Tx) eachEdge(group string, members []Member, do func(key, value []byte) error) error {
	for _, mirror := range []bool{false, true} {
		for _, m := range members {
			prefix, a, b := memberKeys, group, m.ID
			if mirror {
				prefix, a, b = memberOfKeys, m.ID, group
			}
			value := ""
			if m.IsGroup {
				value = isGroup
			}
			key, err := idKey(prefix, a, b)
			if err != nil {
				return err
			}
			if err := do(key, []byte(value)); err != nil {
				return err
			}
		}
	}
	return nil
}

// leaveAll removes a member from every group.
func (tx *Tx) leaveAll(member string) error {
	groups, err := tx.GroupsOf(member)
	if err != nil {
		return err
	}
	for _, g := range groups {
		if _, err := tx.RemoveMembers(g.ID, []string{member}); err != nil {
			return err
		}
	}
	return nil
}

// edgeOf returns the member and group in the key of a mirrored edge.
func edgeOf(key []byte) (member, group string, ok bool) {
	rest := key[len(memberOfKeys):]
	if len(rest) != 2*idSize {
		return "", "", false
	}
	return hex.EncodeToString(rest[:idSize]), hex.EncodeToString(rest[idSize:]), true
}
