package admin

import (
	"context"
	"slices"
	"time"

	"sallyport/access"
	"sallyport/audit"
	"sallyport/directory"
	"sallyport/grant"
)

const (
	maxNames  = 20    // of approvers and others in a view
	maxListed = 1_000 // decided requests in a list
)

// Request returns a request. It is [ErrNoRequest] unless the actor made it, may decide about it, or is an operator.
func (a *Admin) Request(ctx context.Context, actor Actor, id string) (RequestView, error) {
	request, err := a.grants.FindRequest(ctx, id)
	if err != nil {
		return RequestView{}, ErrNoRequest
	}
	now := time.Now().UTC()
	v, r, approver := a.view(a.inForce(now), actor, request, now)
	if !approver && !v.Mine {
		return v, ErrNoRequest
	}
	for _, granted := range a.grants.All(request.Person.ID, now, true) {
		if granted.Policy == request.Policy && granted.ID != request.Grant && v.LastGrant == nil {
			v.LastGrant = &granted
		}
	}
	if r.Offer.Requestable != nil {
		v.Approvers = namesOf(r.Approvers(a.people.candidates(r, 0), maxNames))
	}
	if r.Route != nil && approver {
		a.addOthers(ctx, actor, &v)
	}
	return v, nil
}

// othersWho are the others who reach the route of a request for access.
type othersWho struct {
	names []string
	count int
}

// addOthers adds who else reaches the route. Only operators wait until everybody was looked at.
func (a *Admin) addOthers(ctx context.Context, actor Actor, v *RequestView) {
	find := func(context.Context, facts) (o othersWho, err error) {
		if r, ok := a.inForce(time.Now().UTC()).request(v.Route, v.Policy, a.whoAsked(v.Request)); ok && r.Route != nil {
			o.names, o.count = r.Others(a.directory.Snapshot(), maxNames)
		}
		return o, nil
	}
	var others othersWho
	if actor.Kind == audit.ActorOperator {
		others, _ = find(ctx, facts{}) // which is never an error
	} else {
		var state Computed
		others, state = a.reaches.others.of(v.ID).get(ctx, a.facts(), find)
		v.OthersPending = state.At.IsZero()
	}
	v.Others, v.OthersCount = others.names, others.count
}

func namesOf(users []*directory.User) []string {
	names := make([]string, len(users))
	for i, u := range users {
		names[i] = u.UserName
	}
	return names
}

// view returns a request as the actor sees it, what the rules say about it, and whether the actor may decide about such
// requests. Beside them, only who made it may see it.
func (a *Admin) view(f inForce, actor Actor, request grant.Request, now time.Time) (v RequestView, r access.Request, approver bool) {
	if request.State == grant.StateOpen && !request.OpenAt(now) {
		request.State = grant.StateExpired // which is not stored yet
	}
	r, offered := f.request(request.Route, request.Policy, a.whoAsked(request))
	v = RequestView{Request: request, Mine: actor.Kind == audit.ActorUser && actor.ID == request.Person.ID, Approvers: []string{}}
	if u, ok := a.directory.ByID(request.Person.ID); ok {
		v.DisplayName = u.DisplayName
	}
	if offered {
		v.Max, v.Usual, v.Needed = r.Offer.Max, min(usualGrant, r.Offer.Max), r.Offer.Needed()
	}
	if approver = !isUser(actor); !approver {
		me, known := a.userOf(actor)
		approver = known && offered && r.MayApprove(me)
		v.Approved = known && approvedBy(request, me)
	}
	v.MayDecide = approver && request.OpenAt(now) && actor.Role != audit.RoleAuditor && !a.isSelf(actor, a.whoAsked(request))
	return v, r, approver
}

// Requests returns the open requests and those of late, the newest first: an operator sees all, a user those that they
// made or may decide about.
func (a *Admin) Requests(_ context.Context, actor Actor) ([]RequestView, error) {
	now := time.Now().UTC()
	var list []grant.Request
	if isUser(actor) {
		list = append(a.grants.MadeBy(actor.ID), a.grants.Undecided(now)...)
		slices.SortFunc(list, func(x, y grant.Request) int { return y.Made.Compare(x.Made) })
	} else {
		list = a.grants.Requests()
	}
	f, views, decided, seen := a.inForce(now), []RequestView{}, 0, map[string]bool{}
	for _, request := range list {
		if seen[request.ID] || !request.OpenAt(now) && decided >= maxListed {
			continue
		}
		seen[request.ID] = true
		if !request.OpenAt(now) {
			decided++
		}
		if v, _, approver := a.view(f, actor, request, now); approver || v.Mine {
			views = append(views, v)
		}
	}
	return views, nil
}

// Waiting returns how many requests wait for a decision of this user.
func (a *Admin) Waiting(u *directory.User) (n int) {
	now := time.Now().UTC()
	undecided := a.grants.Undecided(now)
	u, ok := a.directory.ByID(u.ID)
	if !ok || len(undecided) == 0 {
		return 0
	}
	f := a.inForce(now)
	for _, request := range undecided {
		r, ok := f.request(request.Route, request.Policy, a.whoAsked(request))
		if ok && r.MayApprove(u) && !approvedBy(request, u) {
			n++
		}
	}
	return n
}

// approvedBy reports whether a user has approved a request since they were last deactivated or suspended: what they approved
// before does not count.
func approvedBy(request grant.Request, u *directory.User) bool {
	return slices.ContainsFunc(request.Approvals, func(approval grant.Approval) bool { return approval.By == u.ID && approval.Epoch == u.Epoch })
}

// OpenRequests returns how many requests wait for a decision, whoever may make it.
func (a *Admin) OpenRequests() int { return len(a.grants.Undecided(time.Now().UTC())) }
