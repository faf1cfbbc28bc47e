package directory

import (
	"maps"
	"slices"
	"time"

	"sallyport/store"
)

// OnLeave is called with the members of a group whose membership a change has ended. What
// it writes is committed with the change; its error undoes the change.
type OnLeave func(w store.Writer, group string, members []string, now time.Time) error

// TellOfLeavers has fn called in every change that ends memberships. Call it before any
// change.
func (d *Directory) TellOfLeavers(fn OnLeave) { d.onLeave = fn }

// OnDelete is called with a user whom a change deletes. What it writes is committed with the
// change; its error undoes the change.
type OnDelete func(w store.Writer, user string) error

// TellOfDeleted has fn called in every change that deletes users. Call it before any change.
func (d *Directory) TellOfDeleted(fn OnDelete) { d.onDelete = fn }

// tellOfDeleted calls fn for each user whom the change deletes.
func (tx *Tx) tellOfDeleted(fn OnDelete) error {
	if fn == nil {
		return nil
	}
	for _, user := range tx.deleted {
		if err := fn(tx.w, user); err != nil {
			return err
		}
	}
	return nil
}

// tellOfLeavers calls fn for each group that lost members. Whoever was removed and added
// again by one change has not left.
func (tx *Tx) tellOfLeavers(fn OnLeave) error {
	if fn == nil {
		return nil
	}
	for _, group := range slices.Sorted(maps.Keys(tx.leavers)) {
		var left []string
		for _, id := range sortedSet(tx.leavers[group]) {
			member, err := tx.IsMember(group, id)
			if err != nil {
				return err
			}
			if !member {
				left = append(left, id)
			}
		}
		if len(left) == 0 {
			continue
		}
		if err := fn(tx.w, group, left, tx.now); err != nil {
			return err
		}
	}
	return nil
}

// leave notes that a change removes members from a group.
func (tx *Tx) leave(group string, members []Member) {
	if tx.leavers == nil && len(members) > 0 {
		tx.leavers = map[string][]string{}
	}
	for _, m := range members {
		tx.leavers[group] = append(tx.leavers[group], m.ID)
	}
}

// GroupKey returns our id of the group whose externalId and displayName are at i in
// GroupIDs and GroupNames; "" for a user who is not from a directory.
func (u *User) GroupKey(i int) string {
	if i >= len(u.groups) {
		return ""
	}
	return u.groups[i].ID
}
