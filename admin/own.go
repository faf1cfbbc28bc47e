package admin

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"sallyport/access"
	"sallyport/audit"
	"sallyport/directory"
	"sallyport/scim"
)

// ErrOwnHold means that an administrator wanted to keep their own account.
var ErrOwnHold = errors.New("nobody rejects their own deactivation; leave it out, another administrator or an operator decides about it")

// isSelf reports whether a person is the one who acts, whatever their role: an administrator of the console may do what
// operators may, and decides about nobody whom [access.SamePerson] takes for themselves.
func (a *Admin) isSelf(actor Actor, person *directory.User) bool {
	if actor.Kind != audit.ActorUser {
		return false
	}
	acting, ok := a.directory.ByID(actor.ID)
	if !ok {
		acting = &directory.User{ID: actor.ID, UserName: actor.Name}
	}
	return access.SamePerson(acting, person)
}

// othersHeld returns the ids of the held deactivations that a decision is about, none of which is that of who decides. Users
// are named as for [Admin.Reject].
func (a *Admin) othersHeld(ctx context.Context, actor Actor, users []string) (ids []string, err error) {
	holds, err := a.provisioning.Holds(ctx)
	if err != nil {
		return nil, err
	}
	chosen, err := scim.ChooseHolds(holds, users)
	if err != nil {
		return nil, err
	}
	for _, h := range chosen {
		held, ok := a.directory.ByID(h.ID)
		if !ok {
			held = &directory.User{ID: h.ID, UserName: h.UserName}
		}
		if a.isSelf(actor, held) {
			return nil, fmt.Errorf("%s: %w", strings.TrimSpace(h.UserName), ErrOwnHold)
		}
		ids = append(ids, h.ID)
	}
	return ids, nil
}
