package manage

import (
	"errors"
	"net/http"

	"sallyport/admin"
	"sallyport/grant"
)

// finish ends an action, of which err is the result. It leads to a page that says what was done, by a text of that name, or
// shows why it was not done, with a link back to where the person can mend that. Both pages are below [Path].
func (q *request) finish(err error, to, text, back string) error {
	switch {
	case err == nil:
		return q.done(to, text)
	case errors.Is(err, admin.ErrUnconfirmed): // it is done all the same
		return q.done(to, "unconfirmed")
	case errors.Is(err, admin.ErrNotRecorded):
		return err
	}
	for _, known := range refusals {
		if errors.Is(err, known.err) {
			return q.failed(known.status, q.handler.say("why."+known.text), back)
		}
	}
	return q.handler.render(q, page{Name: "failed", Status: http.StatusUnprocessableEntity, Content: failure{Why: err.Error(), Back: Path + back, Unsure: true}})
}

// failedPartly shows why an action was carried out in part only, with a link back to a page below [Path].
func (q *request) failedPartly(why, back string) error {
	return q.handler.render(q, page{Name: "failed", Status: http.StatusUnprocessableEntity, Content: failure{Why: why, Back: Path + back, Unsure: true}})
}

// failure is why an action was not carried out.
type failure struct {
	Why    string
	Back   string
	Unsure bool // some of it may have been done
	Gone   bool // nothing was to be done: what was asked for is not there
}

// missing says that something is not there, with a link to a page below [Path].
func (q *request) missing(why, to string) error {
	return q.handler.render(q, page{Name: "failed", Title: q.handler.say("failed.gone"), Status: http.StatusNotFound, Content: failure{Why: why, Back: Path + to, Gone: true}})
}

// refusals are the errors that mean that nothing was done, and the texts why.NAME that say so.
var refusals = []struct {
	err    error
	status int
	text   string
}{
	{admin.ErrAuditor, http.StatusForbidden, "auditor"},
	{admin.ErrOwnRequest, http.StatusForbidden, "own_request"},
	{admin.ErrOwnRow, http.StatusForbidden, "own_row"},
	{admin.ErrOwnHold, http.StatusForbidden, "own_hold"},
	{admin.ErrOwnSuspension, http.StatusForbidden, "own_suspension"},
	{admin.ErrOwnRemoval, http.StatusForbidden, "own_removal"},
	{admin.ErrGroupNamed, http.StatusConflict, "group_named"},
	{admin.ErrNotStale, http.StatusConflict, "not_stale"},
	{admin.ErrChosen, http.StatusUnprocessableEntity, "chosen"},
	{admin.ErrNotReviewer, http.StatusForbidden, "not_reviewer"},
	{admin.ErrNoRequest, http.StatusNotFound, "no_request"},
	{admin.ErrNoGrant, http.StatusNotFound, "no_grant"},
	{grant.ErrNoReview, http.StatusNotFound, "no_review"},
	{grant.ErrNoRow, http.StatusNotFound, "no_row"},
	{admin.ErrDecided, http.StatusConflict, "decided"},
	{admin.ErrApprovedAlready, http.StatusConflict, "approved_already"},
	{admin.ErrNotEligible, http.StatusConflict, "not_eligible"},
	{admin.ErrGrantEnded, http.StatusConflict, "grant_ended"},
	{admin.ErrTooManyGrants, http.StatusConflict, "too_many_grants"},
	{admin.ErrNoRoute, http.StatusNotFound, "no_route"},
	{admin.ErrLongRecord, http.StatusConflict, "long_record"},
	{grant.ErrReviewOpen, http.StatusConflict, "review_open"},
	{grant.ErrReviewClosed, http.StatusConflict, "review_closed"},
	{grant.ErrRowChanged, http.StatusConflict, "row_changed"},
	{grant.ErrRevoked, http.StatusConflict, "row_revoked"},
	{admin.ErrReason, http.StatusUnprocessableEntity, "reason"},
	{admin.ErrDuration, http.StatusUnprocessableEntity, "duration"},
	{admin.ErrRows, http.StatusUnprocessableEntity, "rows"},
	{admin.ErrDecision, http.StatusUnprocessableEntity, "decision"},
	{admin.ErrDue, http.StatusUnprocessableEntity, "due"},
}
