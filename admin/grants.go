package admin

import (
	"context"
	"errors"
	"time"

	"sallyport/access"
	"sallyport/audit"
	"sallyport/enforce"
	"sallyport/grant"
)

// GrantState is whether a grant lets its person in.
type GrantState string

// The states of grants.
const (
	GrantOpen    GrantState = "open"
	GrantEnded   GrantState = "ended"   // by itself
	GrantRevoked GrantState = "revoked" // early
	GrantDead    GrantState = "dead"    // its person left or was suspended since, for ever
	GrantUnused  GrantState = "unused"  // the policy cannot be requested by the rules in force, so that its grants allow nothing
)

// Grant is a grant as operators and its person see it.
type Grant struct {
	grant.Grant
	State GrantState `json:"state"`
	Route string     `json:"route,omitempty"` // that the person had asked for
}

// Grants returns the open grants, and with all also those that have ended and are stored, the newest first: an operator
// sees all, a user their own and those that they may revoke.
func (a *Admin) Grants(_ context.Context, actor Actor, all bool) ([]Grant, error) {
	now := time.Now().UTC()
	f, requestable, list := a.inForce(now), map[string]bool{}, []Grant{}
	for _, route := range f.routes {
		for _, offer := range route.Policy.Offers() {
			requestable[offer.Policy] = true
		}
	}
	for _, stored := range a.grants.All("", now, all) {
		if !a.maySee(f, actor, stored) {
			continue
		}
		g := Grant{Grant: stored, State: a.stateOf(stored, requestable, now)}
		if request, err := a.grants.Request(stored.Request); err == nil {
			g.Route = request.Route
		}
		list = append(list, g)
	}
	return list, nil
}

func (a *Admin) stateOf(g grant.Grant, requestable map[string]bool, now time.Time) GrantState {
	switch {
	case !g.Ended.IsZero() && g.EndedBy == grant.EndedByLeaving:
		return GrantDead
	case !g.Ended.IsZero() && g.Ended.Before(g.Until):
		return GrantRevoked
	case !g.OpenAt(now):
		return GrantEnded
	case !a.isAlive(g.Person):
		return GrantDead
	case !requestable[g.Policy]:
		return GrantUnused
	}
	return GrantOpen
}

// maySee reports whether the actor may see a grant, and revoke it: an operator, its person, and those who could approve it.
func (a *Admin) maySee(f inForce, actor Actor, g grant.Grant) bool {
	if !isUser(actor) || g.Person.ID == actor.ID {
		return true
	}
	me, ok := a.userOf(actor)
	request, err := a.grants.Request(g.Request)
	if !ok || err != nil {
		return false
	}
	r, offered := f.request(request.Route, request.Policy, a.whoAsked(request))
	return offered && !access.SamePerson(me, r.User) && r.MayApprove(me)
}

// RevokeGrant ends a grant at once. An operator may, its person, and those who could approve it.
func (a *Admin) RevokeGrant(ctx context.Context, actor Actor, id, why string) error {
	if err := checkActor(actor); err != nil {
		return err
	}
	why, err := text(why, true)
	if err != nil {
		return err
	}
	now := time.Now().UTC()
	g, err := a.grants.FindGrant(ctx, id)
	if err != nil || !a.maySee(a.inForce(now), actor, g) {
		return ErrNoGrant
	}
	if !g.OpenAt(now) {
		return ErrGrantEnded
	}
	event := grantEvent(g, "revoked")
	event.Detail["why"] = why
	var revoked grant.Grant
	err = a.perform(ctx, actor, action{event: event}, func(ctx context.Context) (err error) {
		if revoked, err = a.grants.Revoke(ctx, g.Person.ID, g.ID, actor.Name, why, now); errors.Is(err, grant.ErrEnded) {
			return ErrGrantEnded
		}
		return err
	})
	if err == nil || errors.Is(err, enforce.ErrUnknown) { // it is stored all the same
		a.notifyRevoked(revoked)
	}
	return err
}

// grantEvent returns the event that tells what became of a grant.
func grantEvent(g grant.Grant, reason string) audit.Event {
	return audit.Event{Kind: audit.KindGrant, User: g.Person.ID, UserName: g.Person.UserName, Reason: reason,
		Detail: map[string]string{"grant": g.ID, "request": g.Request, "policy": g.Policy, "until": g.Until.Format(time.RFC3339)}}
}
