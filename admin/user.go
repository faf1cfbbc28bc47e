package admin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"sallyport/audit"
	"sallyport/directory"
	"sallyport/session"
)

// User is a user as operators see them.
type User struct {
	ID         string `json:"id"`
	UserName   string `json:"userName"`
	ExternalID string `json:"externalId"`
	Name       string `json:"displayName"`
	Email      string `json:"email"`
	Active     bool   `json:"active"`
	Suspended  string `json:"suspended,omitempty"` // why; "" if the user is not suspended
	Damaged    bool   `json:"damaged,omitempty"`   // the user's record cannot be read; it denies them everything
	Deleted    bool   `json:"deleted,omitempty"`   // the user is deleted, and will be suspended when created again
}

// Users returns every user, and the deleted ones who are still suspended. Of a damaged record it returns the ID: it must
// not hide the others.
func (a *Admin) Users(ctx context.Context, _ Actor) ([]User, error) {
	users := []User{}
	err := a.directory.View(ctx, func(tx *directory.Tx) error {
		for id, err := range tx.UserIDs("") {
			u, readErr := tx.User(id)
			if err := errors.Join(err, readErr); err != nil {
				if known, ok := a.directory.ByID(id); !ok || !known.Damaged {
					return err
				}
				users = append(users, User{ID: id, Damaged: true})
				continue
			}
			user := User{ID: u.ID, UserName: u.UserName, ExternalID: u.ExternalID, Name: u.DisplayName, Email: u.Email, Active: u.Active}
			if s, err := tx.Suspension(u.ID); err == nil {
				user.Suspended = s.Reason
			} else if known, ok := a.directory.ByID(id); ok && known.Suspended != nil { // the record of the suspension is damaged
				user.Suspended = known.Suspended.Reason
			} else if !errors.Is(err, directory.ErrNotFound) {
				return err
			}
			users = append(users, user)
		}
		for absent, err := range tx.Absent() {
			if err != nil {
				return err
			}
			back := func(u User) bool {
				return u.Suspended != "" && absent.Is(&directory.User{UserName: u.UserName, ExternalID: u.ExternalID})
			}
			if !slices.ContainsFunc(users, back) {
				users = append(users, deletedUser(absent))
			}
		}
		return nil
	})
	return users, err
}

func deletedUser(a directory.Absent) User {
	return User{ID: a.ID, UserName: a.UserName, ExternalID: a.ExternalID, Suspended: a.Reason, Deleted: true}
}

// Group is a group as operators see it.
type Group struct {
	ID         string `json:"id"`
	Name       string `json:"displayName"`
	ExternalID string `json:"externalId"`
	Members    int    `json:"members"`
}

// Groups returns every group.
func (a *Admin) Groups(context.Context, Actor) ([]Group, error) {
	groups := []Group{}
	for _, g := range a.directory.Groups() {
		groups = append(groups, Group{g.ID, g.DisplayName, g.ExternalID, g.Members})
	}
	return groups, nil
}

// Suspend denies a user everything until Unsuspend, whatever the identity provider says: the next request is denied,
// live requests are cut, and no session is valid any more. It returns how many sessions it ended. user is a userName,
// an e-mail address, an externalId or an id.
func (a *Admin) Suspend(ctx context.Context, actor Actor, user, why string) (ended int, err error) {
	if why, err = text(why, true); err != nil {
		return 0, err
	}
	u, err := a.findUser(ctx, user)
	if err != nil {
		return 0, err
	}
	if err := a.checkSuspensionChanges(ctx, u, why); err != nil {
		return 0, err
	}
	e := audit.Event{Kind: audit.KindSuspend, User: u.ID, UserName: u.UserName, Reason: "suspended", Detail: map[string]string{"why": why}}
	err = a.perform(ctx, actor, action{event: e}, func(ctx context.Context) error {
		if err := a.update(ctx, actor, func(tx *directory.Tx) error { return tx.Suspend(u.ID, why) }); err != nil {
			return fmt.Errorf("suspending %s: %w", u.UserName, err)
		}
		var err error
		if ended, err = a.sessions.EndUser(ctx, u.ID, session.ReasonUser); err != nil {
			return fmt.Errorf("%s is suspended, but their sessions are still stored: %w", u.UserName, err)
		}
		return nil
	})
	return ended, err
}

// update changes the directory, and says in its history that actor did.
func (a *Admin) update(ctx context.Context, actor Actor, fn func(*directory.Tx) error) error {
	return a.directory.Update(ctx, func(tx *directory.Tx) error {
		tx.By(directory.Cause{Kind: string(actor.Kind), Name: actor.Name})
		return fn(tx)
	})
}

// checkSuspensionChanges returns an error if suspending a user would change nothing: the user is suspended for the same
// reason, and has no session.
func (a *Admin) checkSuspensionChanges(ctx context.Context, u directory.User, why string) error {
	var current directory.Suspension
	err := a.directory.View(ctx, func(tx *directory.Tx) (err error) {
		current, err = tx.Suspension(u.ID)
		return err
	})
	if err != nil || current.Reason != why { // a suspension that cannot be read is replaced
		return nil
	}
	if slices.ContainsFunc(a.sessions.List(), func(s session.Session) bool { return s.User == u.ID }) {
		return nil
	}
	return fmt.Errorf("%s is suspended already, for this reason; nothing was changed", u.UserName)
}

// ErrOwnSuspension means that an administrator wanted to end the suspension of an account of their own.
var ErrOwnSuspension = errors.New("nobody ends their own suspension; another administrator or an operator does")

// Unsuspend ends the suspension of a user, who must sign in again. user is a name as in [Admin.Suspend], or one of a
// deleted user who is still suspended. It is [ErrOwnSuspension] if that is another account of who acts.
func (a *Admin) Unsuspend(ctx context.Context, actor Actor, user string) error {
	u, err := a.findSuspended(ctx, user)
	if err != nil {
		return err
	}
	if a.isSelf(actor, &u) {
		return ErrOwnSuspension
	}
	e := audit.Event{Kind: audit.KindSuspend, User: u.ID, UserName: u.UserName, Reason: "unsuspended"}
	return a.perform(ctx, actor, action{event: e, adds: true}, func(ctx context.Context) error {
		err := a.update(ctx, actor, func(tx *directory.Tx) error { return tx.Unsuspend(u.ID) })
		if errors.Is(err, directory.ErrNotFound) {
			return notSuspended(u)
		}
		return err
	})
}

// findSuspended returns the suspended user with this name, or else the deleted one.
func (a *Admin) findSuspended(ctx context.Context, name string) (directory.User, error) {
	u, err := a.findUser(ctx, name)
	if err == nil {
		if err = a.checkSuspended(ctx, u); err == nil {
			return u, nil
		}
	}
	var deleted []directory.User
	viewErr := a.directory.View(ctx, func(tx *directory.Tx) error {
		deleted = nil
		for absent, err := range tx.Absent() {
			if err != nil {
				return err
			}
			if absent.ID == name || absent.Is(&directory.User{UserName: name, ExternalID: name}) {
				deleted = append(deleted, directory.User{ID: absent.ID, UserName: absent.UserName, ExternalID: absent.ExternalID})
			}
		}
		return nil
	})
	if viewErr != nil || len(deleted) == 0 {
		return directory.User{}, errors.Join(err, viewErr)
	}
	return single(deleted, func(u directory.User) string { return u.ID }, "",
		fmt.Sprintf("%q names %d deleted users who are suspended; name one by their id", name, len(deleted)))
}

func (a *Admin) checkSuspended(ctx context.Context, u directory.User) error {
	err := a.directory.View(ctx, func(tx *directory.Tx) error {
		_, err := tx.Suspension(u.ID)
		return err
	})
	if errors.Is(err, directory.ErrNotFound) {
		return notSuspended(u)
	}
	return err
}

func notSuspended(u directory.User) error {
	return fmt.Errorf("%s is not suspended; `sallyport users list` shows who is", u.UserName)
}

// FindUser returns the id of the user with this name, in the manner of [Admin.Suspend].
func (a *Admin) FindUser(ctx context.Context, _ Actor, name string) (id string, err error) {
	u, err := a.findUser(ctx, name)
	return u.ID, err
}

// UsersNamed returns every user whom a name may mean, in the manner of [Admin.Suspend]; none if it means nobody.
func (a *Admin) UsersNamed(ctx context.Context, _ Actor, name string) (named []User, err error) {
	err = a.directory.View(ctx, func(tx *directory.Tx) error {
		found, err := usersNamed(tx, name)
		named = make([]User, len(found))
		for i, u := range found {
			named[i] = User{ID: u.ID, UserName: u.UserName, ExternalID: u.ExternalID, Name: u.DisplayName, Email: u.Email, Active: u.Active}
		}
		return err
	})
	return named, err
}

// findUser returns the user with this userName, e-mail address, externalId or id. A name that finds nobody, or several
// users, is an error.
func (a *Admin) findUser(ctx context.Context, name string) (directory.User, error) {
	var found []directory.User
	err := a.directory.View(ctx, func(tx *directory.Tx) (err error) {
		found, err = usersNamed(tx, name)
		return err
	})
	if err != nil {
		return directory.User{}, err
	}
	return single(found, func(u directory.User) string { return u.ID },
		fmt.Sprintf("nobody has the userName, e-mail, externalId or id %q; `sallyport users list` shows who there is", name),
		fmt.Sprintf("%q names %d users; name one by their id", name, len(found)))
}

// single returns the only element of found. The error says none if there is no element, and several with their ids if
// there are more.
func single[T any](found []T, id func(T) string, none, several string) (only T, err error) {
	switch len(found) {
	case 0:
		return only, errors.New(none)
	case 1:
		return found[0], nil
	}
	ids := make([]string, len(found))
	for i, element := range found {
		ids[i] = id(element)
	}
	return only, fmt.Errorf("%s: %s", several, strings.Join(ids, ", "))
}

// usersNamed returns every user whom name may mean, each once: the user with this id, or else all with this userName,
// e-mail address or externalId.
func usersNamed(tx *directory.Tx, name string) (found []directory.User, err error) {
	if u, err := tx.User(name); err == nil {
		return []directory.User{u}, nil
	} else if !errors.Is(err, directory.ErrNotFound) {
		return nil, err
	}
	if u, err := tx.UserByName(name); err == nil {
		found = append(found, u)
	} else if !errors.Is(err, directory.ErrNotFound) {
		return nil, err
	}
	for _, find := range []func(string) ([]directory.User, error){tx.UsersByEmail, tx.UsersByExternalID} {
		users, err := find(name)
		if err != nil {
			return nil, err
		}
		for _, u := range users {
			if !slices.ContainsFunc(found, func(other directory.User) bool { return other.ID == u.ID }) {
				found = append(found, u)
			}
		}
	}
	return found, nil
}
