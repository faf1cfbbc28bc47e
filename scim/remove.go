package scim

import (
	"context"
	"errors"
	"fmt"

	"sallyport/audit"
	"sallyport/directory"
)

// RemoveUser deletes a user with every membership, because actor says so. The record of the change names actor. It
// rejects a suspended user, who would stay suspended without being there.
func (p *Provisioning) RemoveUser(ctx context.Context, actor audit.Actor, id string) error {
	return p.directory.Update(ctx, func(tx *directory.Tx) error {
		u, err := tx.User(id)
		if err != nil {
			return err
		}
		if _, err := tx.Suspension(id); err == nil {
			return fmt.Errorf("%s is suspended, and would no longer be a user but stay suspended, with everybody who is pushed under one of their names; end the suspension first with `sallyport users unsuspend`", u.UserName)
		} else if !errors.Is(err, directory.ErrNotFound) {
			return err
		}
		if err := errors.Join(deleteHold(tx.Writer(), id), tx.DeleteUser(id)); err != nil {
			return err
		}
		return recordRemoval(tx, audit.Event{Actor: actor, User: u.ID, UserName: u.UserName, Detail: leaverDetail(&u, nil)})
	})
}

// RemoveGroup deletes a group with every membership, because actor says so. The record of the change names actor.
func (p *Provisioning) RemoveGroup(ctx context.Context, actor audit.Actor, id string) error {
	return p.directory.Update(ctx, func(tx *directory.Tx) error {
		g, err := tx.Group(id)
		if err != nil {
			return err
		}
		if err := tx.DeleteGroup(id); err != nil {
			return err
		}
		return recordRemoval(tx, audit.Event{Actor: actor, Group: g.ID, Detail: map[string]string{"display_name": g.DisplayName}})
	})
}

// recordRemoval stores the event of a removal in its transaction.
func recordRemoval(tx *directory.Tx, e audit.Event) error {
	tx.By(causeOf(e.Actor))
	e.Reason = "delete"
	return recordDecision(tx, e)
}
