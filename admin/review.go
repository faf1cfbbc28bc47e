package admin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"sallyport/access"
	"sallyport/audit"
	"sallyport/directory"
	"sallyport/grant"
	"sallyport/store"
)

// The bounds of reviews.
const (
	minDue         = time.Hour
	maxDue         = 365 * 24 * time.Hour
	maxRows        = 100_000
	maxOpenReviews = 100
	maxDecided     = 1000 // rows that one decision is about
)

// The errors of reviews, beside those of package grant. Each says what to do.
var (
	ErrNotReviewer = errors.New("only the reviewer of a row and operators may decide about it; ask one of them")
	ErrOwnRow      = errors.New("people do not decide about their own access; another reviewer or an operator must")
	ErrReviewer    = errors.New("the reviewer is manager, owner, or none; operators may always decide")
	ErrDue         = errors.New("a review is due in 1h to 365d; write for example 14d")
	ErrRows        = fmt.Errorf("name 1 to %d rows of the review at once", maxDecided)
	ErrDecision    = errors.New("decide keep, revoke or ask")
)

// NewReview says what is to be reviewed.
type NewReview struct {
	Route    *access.Route
	Due      time.Duration
	Reviewer grant.ReviewerKind
	LastUse  *access.LastUse // of the route's rules
}

// ReviewView is a review as those see it who decide. Rows is empty in lists.
type ReviewView struct {
	grant.Review
	Overdue bool        `json:"overdue,omitempty"`
	Rows    []ReviewRow `json:"rows,omitempty"`
}

// ReviewRow is a row, with what holds now.
type ReviewRow struct {
	grant.Row
	Active  bool     `json:"active"`            // the user may still use what the rules allow
	Revoked []string `json:"revoked,omitempty"` // names of its groups of which the membership is revoked now, by whichever row
	Others  bool     `json:"revoked_by_other_rows,omitempty"`
	Own     bool     `json:"-"` // it is about whoever looks at it, who may not decide about it
}

// StartReview starts a review of everybody who reaches a route.
func (a *Admin) StartReview(ctx context.Context, actor Actor, n NewReview) (ReviewView, error) {
	switch {
	case n.Reviewer != grant.ReviewerOperator && n.Reviewer != grant.ReviewerManager && n.Reviewer != grant.ReviewerOwner:
		return ReviewView{}, ErrReviewer
	case n.Due < minDue || n.Due > maxDue:
		return ReviewView{}, ErrDue
	case isUser(actor):
		return ReviewView{}, ErrNotReviewer
	case actor.Role == audit.RoleAuditor:
		return ReviewView{}, ErrAuditor
	}
	if n.LastUse == nil {
		n.LastUse = &access.LastUse{}
	}
	if err := a.directory.Fresh(); err != nil {
		return ReviewView{}, err
	}
	if err := a.checkOpenReviews(n.Route.Name); err != nil {
		return ReviewView{}, err
	}
	now := time.Now().UTC()
	review := grant.Review{Route: n.Route.Name, Owner: n.Route.Owner, Reviewer: n.Reviewer, Started: now, By: actor.Name, Due: now.Add(n.Due).Truncate(time.Second),
		Begins: n.LastUse.Begins, Revision: a.directory.Revision()}
	rules, found := access.ReviewRows(n.Route, a.directory.Users(), a.directory.Groups(), access.Scope{Time: now, Organization: a.directory, Grants: a.grants.Of}, n.LastUse)
	if len(found) > maxRows {
		return ReviewView{}, fmt.Errorf("the review of %s would have %d rows, and a review has at most %d; a route that so many reach is better reviewed by its rules", n.Route.Name, len(found), maxRows)
	}
	for _, r := range rules {
		review.Rules = append(review.Rules, grant.ReviewRule(r))
	}
	owner := a.people.owner(n.Route.Owner, 0)
	rows := make([]grant.Row, len(found))
	for i, r := range found {
		rows[i] = a.newRow(&review, owner, r)
	}
	e := audit.Event{Kind: audit.KindReview, Route: n.Route.Name, Reason: "started", Detail: map[string]string{"due": review.Due.Format(time.RFC3339),
		"rows": strconv.Itoa(len(rows)), "reviewer": string(n.Reviewer)}}
	err := a.perform(ctx, actor, action{event: e, adds: true}, func(ctx context.Context) error { return a.grants.StartReview(ctx, &review, rows) })
	return ReviewView{Review: review}, err
}

func (a *Admin) checkOpenReviews(route string) error {
	open := 0
	for _, r := range a.grants.Reviews() {
		switch {
		case r.State != grant.ReviewOpen:
		case r.Route == route:
			return fmt.Errorf("the review %s of %s is %w", r.ID, route, grant.ErrReviewOpen)
		default:
			open++
		}
	}
	if open >= maxOpenReviews {
		return fmt.Errorf("%d reviews are open; close one first", open)
	}
	return nil
}

func (a *Admin) newRow(review *grant.Review, owner *directory.User, r access.ReviewRow) grant.Row {
	u := r.User
	row := grant.Row{User: grant.ReviewUser{ID: u.ID, UserName: u.UserName, ExternalID: u.ExternalID, DisplayName: u.DisplayName},
		Rule: r.Rule, LastUse: r.LastUse.UTC(), Memberships: []grant.Membership{}}
	row.User.Manager, _, _ = a.directory.Manager(u.ID)
	row.Reviewer = a.reviewerName(review, owner, u.ID)
	for _, g := range r.Groups {
		row.Memberships = append(row.Memberships, grant.Membership{Group: g.ID, ObjectID: g.ExternalID, Name: g.DisplayName})
	}
	return row
}

// Reviews returns every review without its rows, the newest first.
func (a *Admin) Reviews(_ context.Context, actor Actor) ([]ReviewView, error) {
	if isUser(actor) {
		return nil, ErrNotReviewer
	}
	list, now := []ReviewView{}, time.Now()
	for _, r := range a.grants.Reviews() {
		list = append(list, ReviewView{Review: r, Overdue: r.Overdue(now)})
	}
	return list, nil
}

// Review returns a review: all rows for operators, and those that they decide about for
// users. Without any, it is [grant.ErrNoReview] for a user.
func (a *Admin) Review(ctx context.Context, actor Actor, id string) (ReviewView, error) {
	review, rows, err := a.grants.Review(ctx, id)
	if err != nil {
		return ReviewView{}, err
	}
	sees := a.maySeeRows(actor, &review)
	v := ReviewView{Review: review, Overdue: review.Overdue(time.Now()), Rows: []ReviewRow{}}
	owner := a.people.owner(review.Owner, 0)
	for _, row := range rows {
		if !sees(&row) {
			continue
		}
		if review.State == grant.ReviewOpen && (row.Decision == grant.DecisionOpen || row.Decision == grant.DecisionAsk) {
			row.Reviewer = a.reviewerName(&review, owner, row.User.ID)
		}
		shown := a.viewRow(row)
		shown.Own = a.isOwnRow(actor, &row)
		v.Rows = append(v.Rows, shown)
	}
	if isUser(actor) && len(v.Rows) == 0 {
		return ReviewView{}, fmt.Errorf("%s: %w", id, grant.ErrNoReview)
	}
	return v, nil
}

func (a *Admin) viewRow(row grant.Row) ReviewRow {
	v := ReviewRow{Row: row}
	u, ok := a.directory.ByID(row.User.ID)
	v.Active = ok && u.Barred() == ""
	for _, r := range a.grants.RevocationsOf(row.User.ID) {
		if i := slices.IndexFunc(row.Memberships, func(m grant.Membership) bool { return m.Group == r.Group }); i >= 0 {
			v.Revoked = append(v.Revoked, row.Memberships[i].Name)
			own := grant.RowRef{Review: row.Review, Row: row.Number}
			v.Others = v.Others || slices.ContainsFunc(r.Rows, func(ref grant.RowRef) bool { return ref != own })
		}
	}
	return v
}

// ReviewDecision is a decision about rows of a review, for a reason.
type ReviewDecision struct {
	Review   string
	Rows     []int
	Decision grant.Decision
	Why      string
}

// DecideRows decides about every row that is named, or about none. To revoke makes the
// row's memberships stop counting in allow rules, everywhere and at once, until the identity
// provider has removed them. To keep a row that was revoked lifts that. The rows are
// returned as they were before.
func (a *Admin) DecideRows(ctx context.Context, actor Actor, d ReviewDecision) (before []ReviewRow, err error) {
	return a.DecideSeenRows(ctx, actor, d, nil)
}

// DecideSeenRows is [Admin.DecideRows] about rows that the actor looked at before: seen has when each had been decided last. If
// one was decided since, the error is [grant.ErrRowChanged]. A row that seen does not have is decided as it is now.
func (a *Admin) DecideSeenRows(ctx context.Context, actor Actor, d ReviewDecision, seen map[int]time.Time) (before []ReviewRow, err error) {
	if err := d.check(); err != nil {
		return nil, err
	}
	review, rows, err := a.grants.Review(ctx, d.Review)
	if err != nil {
		return nil, err
	}
	may := a.reviewerCheck(actor, &review)
	deciding := grant.Deciding{Review: d.Review, Decision: d.Decision, By: actor.Name, Why: d.Why, At: time.Now().UTC()}
	var events []audit.Event
	for _, n := range d.Rows {
		if n < 1 || n > len(rows) || rows[n-1].Number != n {
			return nil, fmt.Errorf("row %d: %w", n, grant.ErrNoRow)
		}
		row := rows[n-1]
		if at, ok := seen[n]; ok && !at.Equal(row.At) {
			return nil, fmt.Errorf("row %d: %w", n, grant.ErrRowChanged)
		}
		if err := cmp.Or(may(&row), d.checkRow(&review, &row)); err != nil {
			return nil, fmt.Errorf("row %d: %w", n, err)
		}
		deciding.Rows, before = append(deciding.Rows, row), append(before, a.viewRow(row))
		events = append(events, d.event(&review, &row))
	}
	decided := func(user string) bool {
		return slices.ContainsFunc(before, func(r ReviewRow) bool { return r.User.ID == user })
	}
	// What was cleared is recorded before a new revocation replaces it. A full store does not keep access from being taken away.
	if err := a.recordCleared(ctx, decided); errors.Is(err, ErrNotRecorded) {
		return nil, fmt.Errorf("nothing was done: %w", err)
	}
	err = a.perform(ctx, actor, action{event: events[0], more: events[1:]}, func(ctx context.Context) error { return a.decideRows(ctx, deciding) })
	return before, err
}

// decideRows stores a decision, and waits until decisions about requests depend on it.
func (a *Admin) decideRows(ctx context.Context, d grant.Deciding) error {
	var revision store.Revision
	err := a.directory.Update(ctx, func(tx *directory.Tx) error {
		revision = store.Revision(tx.Revision())
		return grant.DecideRows(tx.Writer(), d, tx.IsMember)
	})
	if err != nil {
		return err
	}
	return a.grants.Wait(ctx, revision)
}

func (d *ReviewDecision) check() (err error) {
	slices.Sort(d.Rows)
	d.Rows = slices.Compact(d.Rows)
	switch {
	case d.Decision != grant.DecisionKeep && d.Decision != grant.DecisionRevoke && d.Decision != grant.DecisionAsk:
		return ErrDecision
	case len(d.Rows) == 0 || len(d.Rows) > maxDecided:
		return ErrRows
	}
	d.Why, err = text(d.Why, true)
	return err
}

// checkRow returns why the decision cannot be about a row.
func (d *ReviewDecision) checkRow(review *grant.Review, row *grant.Row) error {
	lifts := row.Decision == grant.DecisionRevoke && d.Decision == grant.DecisionKeep
	switch {
	case review.State == grant.ReviewClosed && !lifts:
		return grant.ErrReviewClosed
	case row.Decision == grant.DecisionRevoke && d.Decision == grant.DecisionAsk:
		return grant.ErrRevoked
	case d.Decision == grant.DecisionRevoke && len(row.Memberships) == 0:
		return noMembership(row)
	}
	return nil
}

// noMembership says what to do about a row that cannot be revoked.
func noMembership(row *grant.Row) error {
	todo := "no membership satisfies this rule, so there is none to revoke: change the rule, or deny the person everything with `sallyport users suspend`"
	if strings.HasSuffix(row.Rule, "[grant]") {
		todo = "this is a grant, which ends by itself: end it now with `sallyport grants revoke`"
	}
	return fmt.Errorf("%s reaches the route by %s; %s", row.User.UserName, row.Rule, todo)
}

func (d *ReviewDecision) event(review *grant.Review, row *grant.Row) audit.Event {
	e := audit.Event{Kind: audit.KindReview, User: row.User.ID, UserName: row.User.UserName, Route: review.Route, Rule: row.Rule,
		Reason: map[grant.Decision]string{grant.DecisionKeep: "kept", grant.DecisionRevoke: "revoked", grant.DecisionAsk: "asked"}[d.Decision],
		Detail: map[string]string{"review": review.ID, "row": strconv.Itoa(row.Number), "why": d.Why}}
	if d.Decision == grant.DecisionRevoke || row.Decision == grant.DecisionRevoke {
		e.Detail["groups"] = groupsText(row.Memberships)
	}
	if row.Decision == grant.DecisionRevoke && d.Decision == grant.DecisionKeep {
		e.Detail["lifted"] = row.By
	}
	return e
}

// groupsText names the groups of memberships in at most maxErrorText bytes.
func groupsText(memberships []grant.Membership) string {
	keys := make([]string, len(memberships))
	for i, m := range memberships {
		keys[i] = m.Key()
	}
	return shorten(strings.Join(keys, ", "))
}

// CloseReview ends a review. It does not matter whether every row is decided.
func (a *Admin) CloseReview(ctx context.Context, actor Actor, id string) (ReviewView, error) {
	if isUser(actor) {
		return ReviewView{}, ErrNotReviewer
	}
	review, _, err := a.grants.Review(ctx, id)
	if err != nil {
		return ReviewView{}, err
	}
	if review.State == grant.ReviewClosed {
		return ReviewView{}, fmt.Errorf("%s was closed on %s by %s; nothing was changed", id, review.Closed.Format(time.DateOnly), review.ClosedBy)
	}
	e := audit.Event{Kind: audit.KindReview, Route: review.Route, Reason: "closed", Detail: map[string]string{"review": id, "undecided": strconv.Itoa(review.Counts.Open + review.Counts.Ask)}}
	err = a.perform(ctx, actor, action{event: e, adds: true}, func(ctx context.Context) (err error) {
		review, err = a.grants.CloseReview(ctx, id, actor.Name, time.Now().UTC())
		return err
	})
	return ReviewView{Review: review}, err
}
