package admin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"sallyport/access"
	"sallyport/audit"
	"sallyport/directory"
	"sallyport/grant"
)

const (
	usualGrant    = time.Hour
	shortestGrant = time.Minute
)

// Approve approves a request, for a duration or (0) the usual one. The grant begins with the last approval that is needed,
// and lasts as long as every approver allows. An operator counts as all who are needed.
func (a *Admin) Approve(ctx context.Context, actor Actor, id string, d time.Duration, why string) (RequestView, error) {
	const attempts = 5 // others may approve at the same time
	err := checkActor(actor)
	if err != nil {
		return RequestView{}, err
	}
	if why, err = text(why, false); err != nil {
		return RequestView{}, err
	}
	for range attempts {
		if err = a.approve(ctx, actor, id, d, why); !errors.Is(err, grant.ErrChanged) {
			break
		}
	}
	if err != nil {
		return RequestView{}, err
	}
	return a.Request(ctx, actor, id)
}

func (a *Admin) approve(ctx context.Context, actor Actor, id string, d time.Duration, why string) error {
	plan, err := a.planApproval(ctx, actor, id, d, why, time.Now().UTC())
	if err != nil {
		return err
	}
	plan.Check = func() error {
		again, err := a.planApproval(ctx, actor, id, d, why, plan.At)
		if err == nil && (len(again.Count) != len(plan.Count) || again.completes != plan.completes || again.For != plan.For) {
			err = grant.ErrChanged
		}
		return err
	}
	if plan.completes {
		plan.Grant = grant.NewID()
	}
	var stored grant.Request
	act := func(ctx context.Context) (err error) {
		if stored, err = a.grants.Approve(ctx, id, plan.Approving); errors.Is(err, grant.ErrDecided) {
			return ErrDecided
		}
		if errors.Is(err, grant.ErrLimit) {
			return ErrTooManyGrants
		}
		return err
	}
	approved := plan.request
	approved.Approvals = plan.Count
	err = a.perform(ctx, actor, action{event: requestEvent(approved, "approved", why, plan.needed), local: plan.completes, adds: true}, func(ctx context.Context) error {
		if !plan.completes {
			return act(ctx)
		}
		return a.perform(ctx, actor, action{event: plan.began(), adds: true}, act)
	})
	if err == nil && plan.completes {
		a.notifyRequest(NoticeRequestDecided, stored)
	}
	return err
}

// plan is an approval as it would be stored.
type plan struct {
	grant.Approving
	request   grant.Request
	needed    int
	completes bool // the grant begins
}

// began returns the event that tells of the grant.
func (p plan) began() audit.Event {
	var by []string
	for _, approval := range p.Count {
		by = append(by, approval.Name)
	}
	return audit.Event{Kind: audit.KindGrant, User: p.request.Person.ID, UserName: p.request.Person.UserName, Route: p.request.Route, Reason: "began",
		Detail: map[string]string{"request": p.request.ID, "policy": p.request.Policy, "grant": p.Grant, "until": p.At.Add(p.For).Format(time.RFC3339),
			"approved_by": strings.Join(by, ", ")}}
}

// planApproval returns what an approval of the actor would do, or why they may not approve.
func (a *Admin) planApproval(ctx context.Context, actor Actor, id string, d time.Duration, why string, now time.Time) (p plan, err error) {
	if err := a.directory.Fresh(); err != nil {
		return p, err
	}
	f := a.inForce(now)
	if p.request, err = a.mayDecide(ctx, f, actor, id, now); err != nil {
		return p, err
	}
	r, ok := a.eligible(f, p.request)
	if !ok {
		return p, ErrNotEligible
	}
	if d == 0 {
		d = min(usualGrant, r.Offer.Max)
	}
	if d < shortestGrant || d > r.Offer.Max {
		return p, fmt.Errorf("%w: at most %s", ErrDuration, r.Offer.Max)
	}
	own := grant.Approval{By: actor.ID, Name: actor.Name, At: now, For: d, Why: why}
	if p.Count, err = a.counting(r, p.request.Approvals, &own); err != nil {
		return p, err
	}
	p.Count, p.Seen, p.At, p.For, p.needed = append(p.Count, own), p.request.Approvals, now, r.Offer.Max, r.Offer.Needed()
	for _, approval := range p.Count {
		p.For = min(p.For, approval.For)
	}
	p.completes = !isUser(actor) || len(p.Count) >= p.needed
	return p, nil
}

// eligible returns what the rules say about a stored request. It returns false if the person who made it may not make it
// any more.
func (a *Admin) eligible(f inForce, request grant.Request) (access.Request, bool) {
	u, ok := a.directory.ByID(request.Person.ID)
	if !ok || u.Epoch != request.Person.Epoch {
		return access.Request{}, false
	}
	r, ok := f.request(request.Route, request.Policy, u)
	return r, ok && r.MayAsk()
}

// counting returns the approvals that still count beside a new one: those of other people who may still approve. It sets
// who the new one is of.
func (a *Admin) counting(r access.Request, approvals []grant.Approval, own *grant.Approval) (counting []grant.Approval, err error) {
	var me *directory.User
	if own.By != "" {
		u, ok := a.directory.ByID(own.By)
		if !ok {
			return nil, ErrNotApprover
		}
		me, own.Epoch, own.Name = u, u.Epoch, u.UserName
	}
	for _, approval := range approvals {
		u, ok := a.directory.ByID(approval.By)
		if !ok || u.Epoch != approval.Epoch || !r.MayApprove(u) {
			continue
		}
		if me != nil && access.SamePerson(u, me) {
			return nil, ErrApprovedAlready
		}
		if !slices.ContainsFunc(counting, func(other grant.Approval) bool { return a.same(other.By, u) }) {
			counting = append(counting, approval)
		}
	}
	return counting, nil
}

func (a *Admin) same(id string, u *directory.User) bool {
	other, ok := a.directory.ByID(id)
	return ok && access.SamePerson(other, u)
}

// mayDecide returns an open request that the actor may decide about, or why there is none.
func (a *Admin) mayDecide(ctx context.Context, f inForce, actor Actor, id string, now time.Time) (grant.Request, error) {
	request, err := a.grants.FindRequest(ctx, id)
	if err != nil {
		return request, ErrNoRequest
	}
	if isUser(actor) {
		me, ok := a.userOf(actor)
		r, offered := f.request(request.Route, request.Policy, a.whoAsked(request))
		switch {
		case !ok:
			return request, ErrNoRequest
		case access.SamePerson(me, r.User):
			return request, ErrOwnRequest
		case !offered || !r.MayApprove(me):
			return request, ErrNoRequest
		}
	}
	if a.isSelf(actor, a.whoAsked(request)) { // in the console
		return request, ErrOwnRequest
	}
	if !request.OpenAt(now) {
		return request, ErrDecided
	}
	return request, nil
}

// whoAsked returns the user who made a request, as the directory has them, or else as they were.
func (a *Admin) whoAsked(r grant.Request) *directory.User {
	if u, ok := a.directory.ByID(r.Person.ID); ok {
		return u
	}
	return &directory.User{ID: r.Person.ID, UserName: r.Person.UserName}
}

// Deny denies a request.
func (a *Admin) Deny(ctx context.Context, actor Actor, id, why string) error {
	if err := checkActor(actor); err != nil {
		return err
	}
	why, err := text(why, true)
	if err != nil {
		return err
	}
	request, err := a.mayDecide(ctx, a.inForce(time.Now().UTC()), actor, id, time.Now())
	if err != nil {
		return err
	}
	return a.endRequest(ctx, actor, request, grant.StateDenied, why)
}
