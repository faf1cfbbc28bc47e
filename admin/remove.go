package admin

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"sallyport/audit"
	"sallyport/directory"
	"sallyport/session"
)

// User returns the user with this name, which is one as in [Admin.Suspend].
func (a *Admin) User(ctx context.Context, _ Actor, name string) (User, error) {
	u, err := a.findUser(ctx, name)
	if err != nil {
		return User{}, err
	}
	out := User{ID: u.ID, UserName: u.UserName, ExternalID: u.ExternalID, Name: u.DisplayName, Email: u.Email, Active: u.Active}
	err = a.directory.View(ctx, func(tx *directory.Tx) error {
		s, err := tx.Suspension(u.ID)
		if errors.Is(err, directory.ErrNotFound) {
			return nil
		}
		out.Suspended = s.Reason
		return err
	})
	return out, err
}

// ErrOwnRemoval means that an administrator wanted to remove an account of their own.
var ErrOwnRemoval = errors.New("nobody removes their own account; another administrator or an operator does")

// RemoveUser deletes a user whom the identity provider forgot to delete, and ends their sessions. It returns how many
// there were. A user whom the identity provider still pushes comes back as a new user. user is a name as in
// [Admin.Suspend]. It is [ErrOwnRemoval] if that is an account of who acts: it would come back without what reviews revoked.
func (a *Admin) RemoveUser(ctx context.Context, actor Actor, user string) (ended int, err error) {
	u, err := a.findUser(ctx, user)
	if err != nil {
		return 0, err
	}
	person := &u
	if known, ok := a.directory.ByID(u.ID); ok {
		person = known
	}
	if a.isSelf(actor, person) {
		return 0, ErrOwnRemoval
	}
	e := audit.Event{Kind: audit.KindSCIM, User: u.ID, UserName: u.UserName, Reason: "removed"}
	err = a.perform(ctx, actor, action{event: e}, func(ctx context.Context) error {
		if err := a.provisioning.RemoveUser(ctx, actor, u.ID); err != nil {
			return fmt.Errorf("removing %s: %w", u.UserName, err)
		}
		var err error
		if ended, err = a.sessions.EndUser(ctx, u.ID, session.ReasonUser); err != nil {
			return fmt.Errorf("%s is removed, but their sessions are still stored: %w", u.UserName, err)
		}
		return nil
	})
	return ended, err
}

// Group returns the group with this displayName, externalId or id.
func (a *Admin) Group(ctx context.Context, _ Actor, name string) (Group, error) {
	g, err := a.findGroup(ctx, name)
	return Group{g.ID, g.DisplayName, g.ExternalID, g.Members}, err
}

// RemoveGroup deletes a group that the identity provider forgot to delete, with every membership. It is [ErrGroupNamed] if
// a rule names the group. group is a name as in [Admin.Group].
func (a *Admin) RemoveGroup(ctx context.Context, actor Actor, group string) error {
	g, err := a.findGroup(ctx, group)
	if err != nil {
		return err
	}
	if err := a.checkUnnamed(g); err != nil {
		return err
	}
	e := audit.Event{Kind: audit.KindSCIM, Group: g.ID, Reason: "removed", Detail: map[string]string{"display_name": g.DisplayName}}
	return a.perform(ctx, actor, action{event: e}, func(ctx context.Context) error {
		if err := a.provisioning.RemoveGroup(ctx, actor, g.ID); err != nil {
			return fmt.Errorf("removing the group %s: %w", g.DisplayName, err)
		}
		return nil
	})
}

// findGroup returns the group with this id, or else the one with this displayName or externalId. A name that finds none, or
// several groups, is an error.
func (a *Admin) findGroup(ctx context.Context, name string) (directory.Group, error) {
	var found []directory.Group
	err := a.directory.View(ctx, func(tx *directory.Tx) error {
		found = nil
		if g, err := tx.Group(name); !errors.Is(err, directory.ErrNotFound) { // whatever others are called
			found = append(found, g)
			return err
		}
		for _, find := range []func(string) (directory.Group, error){tx.GroupByName, tx.GroupByExternalID} {
			g, err := find(name)
			switch {
			case errors.Is(err, directory.ErrNotFound):
			case err != nil:
				return err
			case !slices.ContainsFunc(found, func(other directory.Group) bool { return other.ID == g.ID }):
				found = append(found, g)
			}
		}
		return nil
	})
	if err != nil {
		return directory.Group{}, err
	}
	return single(found, func(g directory.Group) string { return g.ID },
		fmt.Sprintf("no group has the displayName, externalId or id %q; `sallyport groups list` shows those there are", name),
		fmt.Sprintf("%q names %d groups; name one by its id", name, len(found)))
}
