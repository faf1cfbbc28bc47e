package admin

import (
	"sallyport/access"
	"sallyport/audit"
	"sallyport/directory"
	"sallyport/grant"
)

// reviewerCheck returns a function that says why the actor may not decide about a row of a
// review; nil if the actor may. Operators may decide about every row, and the server about
// none.
func (a *Admin) reviewerCheck(actor Actor, review *grant.Review) func(*grant.Row) error {
	if actor.Kind == audit.ActorOperator {
		return func(*grant.Row) error { return nil }
	}
	owner := a.people.owner(review.Owner, 0)
	acting, ok := a.userOf(actor)
	return func(row *grant.Row) error {
		if !ok || actor.Kind != audit.ActorUser {
			return ErrNotReviewer
		}
		if access.SamePerson(acting, &directory.User{ID: row.User.ID, UserName: row.User.UserName, ExternalID: row.User.ExternalID}) {
			return ErrOwnRow
		}
		if reviewer := a.reviewer(review.Reviewer, owner, row.User.ID); reviewer == nil || reviewer.ID != acting.ID {
			return ErrNotReviewer
		}
		return nil
	}
}

// reviewer returns who decides about the access of a user, by the directory as it is now:
// the manager or the owner, and the other of the two if the first is missing or the user
// themselves. It returns nil if only operators do.
func (a *Admin) reviewer(kind grant.ReviewerKind, owner *directory.User, user string) *directory.User {
	u, ok := a.directory.ByID(user)
	if !ok || kind == grant.ReviewerOperator {
		return nil
	}
	manager, _ := a.directory.ByID(u.Manager())
	candidates := []*directory.User{owner, manager}
	if kind == grant.ReviewerManager {
		candidates = []*directory.User{manager, owner}
	}
	for _, c := range candidates {
		if c != nil && c.Barred() == "" && !access.SamePerson(c, u) {
			return c
		}
	}
	return nil
}

// reviewerName returns the userName of who decides about the access of a user, or "".
func (a *Admin) reviewerName(review *grant.Review, owner *directory.User, user string) string {
	if reviewer := a.reviewer(review.Reviewer, owner, user); reviewer != nil {
		return reviewer.UserName
	}
	return ""
}
