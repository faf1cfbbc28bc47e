package directory

import "errors"

// Group reads a group by our id.
func (tx *Tx) Group(id string) (Group, error) {
	g := Group{}
	return g, tx.read(groupKeys, id, &g)
}

// GroupByName finds the group with this displayName, whatever its case.
func (tx *Tx) GroupByName(displayName string) (Group, error) {
	return tx.groupBy(groupNames, Fold(displayName))
}

// GroupByExternalID finds the group with exactly this externalId.
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

// PutGroup creates the group (ID empty) or replaces it; its members stay. It
// sets ID, Members, Version, Created and Modified in g. A group that is as it
// was is not written. The displayName or externalId of another group is
// refused with *ErrTaken.
func (tx *Tx) PutGroup(g *Group) error {
	if err := errors.Join(bounded("displayName", g.DisplayName), bounded("externalId", g.ExternalID)); err != nil {
		return err
	}
	old := Group{}
	if g.ID != "" {
		var err error
		if old, err = tx.Group(g.ID); err != nil {
			return err
		}
	}
	g.Members, g.Version, g.Created, g.Modified = old.Members, old.Version, old.Created, old.Modified
	if old.ID != "" && old.ExternalID == g.ExternalID && old.DisplayName == g.DisplayName && string(old.Document) == string(g.Document) {
		return nil
	}
	return tx.writeGroup(&old, g)
}

func (tx *Tx) writeGroup(old, g *Group) error {
	if err := tx.claim("displayName", groupNames, g.DisplayName, old.ID); err != nil {
		return err
	}
	if holder, err := tx.pointer(groupExts, g.ExternalID); g.ExternalID != "" && err == nil && holder != old.ID {
		return &ErrTaken{"externalId", g.ExternalID}
	}
	if old.ID == "" {
		g.ID, g.Created = newID(), tx.now
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

// DeleteGroup removes the group, its members' edges and its own memberships.
func (tx *Tx) DeleteGroup(id string) error {
	g, err := tx.Group(id)
	if err != nil {
		return err
	}
	if _, _, err := tx.SetMembers(id, nil); err != nil {
		return err
	}
	if err := tx.leaveAll(id); err != nil {
		return err
	}
	return errors.Join(tx.move(groupNames, Fold(g.DisplayName), "", id), tx.move(groupExts, g.ExternalID, "", id),
		tx.addCount("groups", -1), tx.remove(groupKeys, id))
}
