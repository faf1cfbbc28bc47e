package admin

import (
	"sallyport/access"
	"sallyport/audit"
	"sallyport/directory"
	"sallyport/grant"
)

// reviewerCheck returns a function that says why the actor may not decide about a row of a
// review; nil if the actor may. Operators may decide about every row, administrators of the console about
// every row that is not their own, and the server about none.
func (a *Admin) reviewerCheck(actor Actor, review *grant.Review) func(*grant.Row) error {
	if actor.Kind == audit.ActorOperator {
		return func(*grant.Row) error { return nil }
	}
	owner := a.people.owner(review.Owner, 0)
	acting, ok := a.userOf(actor)
	return func(row *grant.Row) error {
		switch {
		case !ok || actor.Kind != audit.ActorUser:
			return ErrNotReviewer
		case actor.Role == audit.RoleAuditor:
			return ErrAuditor
		case a.isOwnRow(actor, row):
			return ErrOwnRow
		case actor.Role == audit.RoleAdmin:
			return nil
		}
		if reviewer := a.reviewer(review.Reviewer, owner, row.User.ID); reviewer == nil || reviewer.ID != acting.ID {
			return ErrNotReviewer
		}
		return nil
	}
}

// isOwnRow reports whether a row is about the one who acts, as the directory has the row's user or as they were when the
// review was started.
func (a *Admin) isOwnRow(actor Actor, row *grant.Row) bool {
	if now, ok := a.directory.ByID(row.User.ID); ok && a.isSelf(actor, now) {
		return true
	}
	return a.isSelf(actor, &directory.User{ID: row.User.ID, UserName: row.User.UserName, ExternalID: row.User.ExternalID})
}

// maySeeRows returns a function that reports whether the actor may see a row: operators and those who use the console see
// every row, and others those that they decide about.
func (a *Admin) maySeeRows(actor Actor, review *grant.Review) func(*grant.Row) bool {
	if actor.Kind == audit.ActorOperator || actor.Role != "" {
		return func(*grant.Row) bool { return true }
	}
	may := a.reviewerCheck(actor, review)
	return func(row *grant.Row) bool { return may(row) == nil }
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
