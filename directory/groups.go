package directory

import (
	"errors"

	"sallyport/store"
)

// Group reads a group by our id.
func (tx *Tx) Group(id string) (Group, error) {
	g := Group{}
	return g, tx.read(groupKeys, id, &g)
}

// GroupByName returns the group with this displayName, ignoring case.
func (tx *Tx) GroupByName(displayName string) (Group, error) {
	return tx.groupBy(groupNames, Fold(displayName))
}

// GroupByExternalID returns the group with exactly this externalId.
func (tx *Tx) GroupByExternalID(external string) (Group, error) {
	return tx.groupBy(groupExts, external)
}

func (tx *Tx) groupBy(prefix, text string) (Group, error) {
	id, err := tx.pointer(prefix, text)
	if err != nil {
		return Group{}, err
	}
	return tx.Group(id)
}

// PutGroup creates the group if its ID is empty, or else replaces it. Its members
// stay the same. PutGroup sets ID, Members, Version, Created and Modified in g, and
// does not write a group that has not changed. It returns a *[ConflictError] if another group has the
// displayName or the externalId.
func (tx *Tx) PutGroup(g *Group) error {
	old := Group{}
	if g.ID != "" {
		var err error
		if old, err = tx.Group(g.ID); err != nil {
			return err
		}
	}
	if err := errors.Join(boundedChange("displayName", old.DisplayName, g.DisplayName), boundedChange("externalId", old.ExternalID, g.ExternalID)); err != nil {
		return err
	}
	g.Members, g.Version, g.Created, g.Modified = old.Members, old.Version, old.Created, old.Modified
	if old.ID != "" {
		if same, err := sameRecord(&old, g); err != nil || same {
			return err
		}
	}
	return tx.writeGroup(&old, g)
}

func (tx *Tx) writeGroup(old, g *Group) error {
	if err := tx.claim("displayName", groupNames, g.DisplayName, old.ID); err != nil {
		return err
	}
	if holder, err := tx.pointer(groupExts, g.ExternalID); g.ExternalID != "" && err == nil && holder != old.ID {
		return &ConflictError{"externalId", g.ExternalID}
	}
	if old.ID == "" {
		g.ID, g.Created = newID(tx.now), tx.now
		if err := tx.addCount("groups", 1); err != nil {
			return err
		}
	}
	g.Version, g.Modified = g.Version+1, tx.now
	return errors.Join(
		tx.move(groupNames, Fold(old.DisplayName), Fold(g.DisplayName), g.ID),
		tx.move(groupExts, old.ExternalID, g.ExternalID, g.ID),
		tx.write(groupKeys, g.ID, g))
}

// DeleteGroup removes the group, the edges of its members and its own memberships.
func (tx *Tx) DeleteGroup(id string) error {
	g, err := tx.Group(id)
	if err != nil {
		return err
	}
	store.Urgent(tx.w)
	if _, _, err := tx.SetMembers(id, nil); err != nil {
		return err
	}
	if err := tx.leaveAll(id); err != nil {
		return err
	}
	return errors.Join(tx.move(groupNames, Fold(g.DisplayName), "", id), tx.move(groupExts, g.ExternalID, "", id),
		tx.addCount("groups", -1), tx.remove(groupKeys, id))
}
