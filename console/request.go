package console

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"sallyport/admin"
	"sallyport/grant"
)

// act does what a form of the page of a request asks for, and leads back to the page. If that was not done, the page says
// why, with the request as it is now.
func (h *Handler) act(w http.ResponseWriter, r *http.Request, id string, form url.Values, c Caller) error {
	ctx, actor, why := r.Context(), c.Actor(), strings.TrimSpace(form.Get("why"))
	view, err := h.admin.Request(ctx, actor, id) // whoever may not see the request learns nothing by acting
	if err != nil {
		return hidden(err)
	}
	switch form.Get("do") {
	case "approve":
		var length time.Duration
		if length, err = time.ParseDuration(form.Get("for")); err != nil || length <= 0 {
			err = admin.ErrDuration
			break
		}
		_, err = h.admin.Approve(ctx, actor, id, length, why)
	case "deny":
		err = h.admin.Deny(ctx, actor, id, why)
	case "withdraw":
		err = h.admin.Withdraw(ctx, actor, id)
	case "end":
		if why == "" && view.Mine {
			why = "no longer needed"
		}
		err = h.admin.RevokeGrant(ctx, actor, view.Grant, why)
	default:
		return ErrForm
	}
	if err == nil {
		w.Header().Set("Location", c.Public+pageOf(id))
		w.WriteHeader(http.StatusSeeOther)
		return nil
	}
	for _, n := range notices {
		if errors.Is(err, n.err) {
			return h.showWith(w, ctx, id, c, n.status, n.text)
		}
	}
	return hidden(err)
}

// notices are what the page of a request says when an action was not done.
var notices = []struct {
	err    error
	status int
	text   string
}{
	{admin.ErrDecided, http.StatusConflict, "This request is not open any more, so nothing was changed."},
	{admin.ErrApprovedAlready, http.StatusConflict, "You have approved this request already. It waits for somebody else."},
	{admin.ErrNotEligible, http.StatusConflict, "The person who asked has left, was suspended, or may not ask for this any more. The request was not approved."},
	{admin.ErrGrantEnded, http.StatusConflict, "This access has ended already."},
	{admin.ErrNoGrant, http.StatusConflict, "There is no such access any more."},
	{admin.ErrOwnRequest, http.StatusForbidden, "Nobody decides about their own request."},
	{admin.ErrNotApprover, http.StatusForbidden, "You may not decide about this request."},
	{admin.ErrTooManyGrants, http.StatusServiceUnavailable, "Too many people have access for a while at the moment, so this request was not approved. Try again later."},
	{admin.ErrReason, http.StatusUnprocessableEntity, "Nothing was done: say why in one line of plain text, in at most 500 letters. Letters with accents, such as é, count twice, and pictures four times."},
	{admin.ErrDuration, http.StatusUnprocessableEntity, "Nothing was done: choose one of the times in the list."},
}

// hidden returns ErrNoPage for a request that is not there or not for this person: nobody can tell one from the other.
func hidden(err error) error {
	if errors.Is(err, admin.ErrNoRequest) {
		return ErrNoPage
	}
	return err
}

func (h *Handler) show(w http.ResponseWriter, r *http.Request, id string, c Caller) error {
	return h.showWith(w, r.Context(), id, c, http.StatusOK, "")
}

// showWith writes the page of a request, with a notice.
func (h *Handler) showWith(w http.ResponseWriter, ctx context.Context, id string, c Caller, status int, notice string) error {
	v, err := h.admin.Request(ctx, c.Actor(), id)
	if err != nil {
		return hidden(err)
	}
	grants, err := h.admin.Grants(ctx, c.Actor(), true)
	if err != nil {
		return err
	}
	page := pageOfRequest(v, c)
	page.Notice = notice
	if i := slices.IndexFunc(grants, func(g admin.Grant) bool { return v.Grant != "" && g.ID == v.Grant }); i >= 0 {
		page.tell(grants[i])
	}
	h.pagesFor(c).Asking(w, status, page)
	return nil
}

// pageOfRequest returns the page of v as c sees it.
func pageOfRequest(v admin.RequestView, c Caller) Asking {
	a := Asking{ID: v.ID, State: stateText(v), Mark: marks[v.State], Open: v.State == grant.StateOpen, Mine: v.Mine, Action: pageOf(v.ID), All: RequestsPath,
		Subject: Subject{URL: v.URL, Route: v.Route, Policy: v.Policy, Reason: v.Reason, Made: formatDay(v.Made), Expires: FormatTime(v.Expires), Others: othersText(v)},
		Outcome: Outcome{MayDecide: v.MayDecide && !v.Mine, Approved: v.Approved, Choices: choicesUpTo(v.Max, v.Usual),
			Deciders: v.Approvers, Needed: v.Needed, DecidedWhy: v.Why}}
	a.Asker = personNamed(v.DisplayName, v.Person.UserName)
	a.Title = a.Asker.Name + " asks for access"
	if v.Mine {
		a.Asker, a.Title = c.Person, "Your request for access"
	}
	if g := v.LastGrant; g != nil {
		a.LastGrant = "Until " + formatDay(g.End()) + ", approved by " + strings.Join(g.By, ", ")
	}
	for _, approval := range v.Approvals {
		a.Approvals = append(a.Approvals, approval.Name+", "+FormatTime(approval.At))
	}
	if !a.Open {
		if !v.Mine {
			a.Title = a.Asker.Name + " asked for access"
		}
		a.Decision = stateText(v) + " on " + formatDay(v.Decided)
		if v.By != "" {
			a.Decision += " by " + v.By
		}
	}
	return a
}

// tell adds what became of a request that was approved.
func (a *Asking) tell(g admin.Grant) {
	end := formatDay(g.End())
	switch g.State {
	case admin.GrantOpen:
		a.Access, a.Ends = "Until "+end+" ("+formatLength(time.Until(g.End()))+" left)", true
		if a.Mine {
			a.Link = a.URL
		}
	case admin.GrantRevoked:
		a.Access = "Ended early by " + g.EndedBy + " on " + end + ": " + g.Why
	case admin.GrantEnded:
		a.Access = "Ended on " + end
	default:
		a.Access = "Ended, since the account or the rules changed"
	}
}

// marks are the classes of states on pages.
var marks = map[grant.State]string{grant.StateOpen: "fault", grant.StateApproved: "yes", grant.StateDenied: "no", grant.StateWithdrawn: "quiet", grant.StateExpired: "quiet"}

var states = map[grant.State]string{grant.StateOpen: "Waiting", grant.StateApproved: "Approved", grant.StateDenied: "Denied", grant.StateWithdrawn: "Withdrawn", grant.StateExpired: "Expired"}

func stateText(v admin.RequestView) string { return states[v.State] }

// othersText returns who else has what v asks for.
func othersText(v admin.RequestView) string {
	if v.OthersPending {
		return "being counted; load this page again in a moment"
	}
	text := strings.Join(v.Others, ", ")
	if more := v.OthersCount - len(v.Others); more > 0 {
		text += " and " + strconv.Itoa(more) + " more"
	}
	return text
}
