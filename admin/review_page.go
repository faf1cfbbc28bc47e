package admin

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"sallyport/access"
	"sallyport/audit"
	"sallyport/grant"
)

// ErrLongRecord means that the record was not read to its end in the time that a page may wait.
var ErrLongRecord = errors.New("the record is too long to be read for last uses while you wait, so no review was started; start it with `sallyport access review start`")

// ReviewFilter says which rows of a review are looked for. Its zero value selects all.
type ReviewFilter struct {
	From     int            // only rows with this number and higher
	Decision grant.Decision // "": any
	Unused   time.Time      // only rows that were not used since; zero: any
	Gone     bool           // only people who may use nothing any more
	Text     string         // in the names of the person, the rule, the groups, the reviewer or the words, whatever the case
}

// ReviewPage is some rows of a review.
type ReviewPage struct {
	ReviewView
	Next int `json:"next,omitempty"` // the filter's From that selects the rows after them; 0 if there are none
}

// lookFor is how long a page of a review may look for rows.
const lookFor = 100 * time.Millisecond

// ReviewPage returns at most n rows of a review that a filter selects. A review has up to 100,000 rows: after a while the
// search ends with what was found, and Next says where it goes on. It is for operators and those who use the console.
func (a *Admin) ReviewPage(ctx context.Context, actor Actor, id string, f ReviewFilter, n int) (found ReviewPage, err error) {
	if isUser(actor) {
		return found, ErrNotReviewer
	}
	f.Text = strings.ToLower(f.Text)
	found.Rows = []ReviewRow{}
	until := time.Now().Add(lookFor)
	review, err := a.grants.ReadReview(ctx, id, f.From, func(row grant.Row) bool {
		if len(found.Rows) == n || row.Number%stepsBetween == 0 && time.Now().After(until) {
			found.Next = row.Number
			return false
		}
		if !f.selects(&row) {
			return true
		}
		shown := a.viewRow(row)
		shown.Own = a.isOwnRow(actor, &row)
		if !f.Gone || !shown.Active {
			found.Rows = append(found.Rows, shown)
		}
		return true
	})
	found.Review, found.Overdue = review, review.Overdue(time.Now())
	return found, err
}

func (f *ReviewFilter) selects(row *grant.Row) bool {
	switch {
	case f.Decision != "" && row.Decision != f.Decision, !f.Unused.IsZero() && row.LastUse.After(f.Unused):
		return false
	case f.Text == "":
		return true
	}
	texts := []string{row.User.UserName, row.User.DisplayName, row.User.Manager, row.Rule, row.Reviewer, row.By, row.Why}
	for _, m := range row.Memberships {
		texts = append(texts, m.Name)
	}
	return slices.ContainsFunc(texts, func(s string) bool { return strings.Contains(strings.ToLower(s), f.Text) })
}

// readFor is how long the record may be read when a review is started from a page.
const readFor = 25 * time.Second

// BeginReview is [Admin.StartReview] of a route by its name, with the last uses of which the record tells.
func (a *Admin) BeginReview(ctx context.Context, actor Actor, route string, due time.Duration, reviewer grant.ReviewerKind) (ReviewView, error) {
	switch {
	case isUser(actor):
		return ReviewView{}, ErrNotReviewer
	case actor.Role == audit.RoleAuditor:
		return ReviewView{}, ErrAuditor
	case due < minDue || due > maxDue:
		return ReviewView{}, ErrDue
	case a.rules == nil:
		return ReviewView{}, errNoRules
	}
	routes := a.rules().Routes
	i := slices.IndexFunc(routes, func(r *access.Route) bool { return r.Name == route })
	if i < 0 {
		return ReviewView{}, ErrNoRoute
	}
	if err := a.checkOpenReviews(route); err != nil {
		return ReviewView{}, err
	}
	reading, stop := context.WithTimeout(ctx, readFor)
	defer stop()
	last := &access.LastUse{Route: route}
	read, err := a.readDecisions(reading, RecordQuery{}, last.Add)
	switch {
	case errors.Is(err, errNoRecord):
		last = nil
	case err != nil:
		return ReviewView{}, err
	case !read.Until.IsZero():
		return ReviewView{}, ErrLongRecord
	default:
		last.Begins = read.Begins
	}
	return a.StartReview(ctx, actor, NewReview{Route: routes[i], Due: due, Reviewer: reviewer, LastUse: last})
}
