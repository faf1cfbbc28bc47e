package admin

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"sallyport/access"
	"sallyport/audit"
	"sallyport/directory"
	"sallyport/grant"
)

// offersTolerance bounds how often the people are looked through who could approve, while the directory keeps changing and
// somebody opens the page of a denial again and again.
const offersTolerance = time.Second

// Offers returns the policies of a route that the user may ask for, and that would let the user in to some of it. It reads
// memory only.
func (a *Admin) Offers(u *directory.User, route string) []Offer { return a.OffersFor(u, route, "", "") }

// OffersFor is [Admin.Offers] for requests with a method and a path, which is as it stands in a URL; each "" if it can be
// any.
func (a *Admin) OffersFor(u *directory.User, route, method, path string) (offers []Offer) {
	now := time.Now().UTC()
	f := a.inForce(now)
	f.scope.Method, f.scope.Path = method, path
	f.tolerance = offersTolerance
	u, ok := a.directory.ByID(u.ID)
	if !ok || f.routes[route] == nil {
		return nil
	}
	for _, offer := range f.routes[route].Policy.Offers() {
		r, _ := f.request(route, offer.Policy, u)
		if !r.MayAsk() || !r.Helps() {
			continue
		}
		o := Offer{Policy: offer.Policy, Route: route, Max: offer.Max, NeedsReason: offer.NeedsReason(), NoApprovers: !f.enoughApprovers(r)}
		o.Open, _ = a.grants.CheckAsk(requestOf(r, now))
		offers = append(offers, o)
	}
	return offers
}

// enoughApprovers reports whether as many people as are needed could approve. What it tolerates makes no difference but
// that somebody may be asked who left just now.
func (f inForce) enoughApprovers(r access.Request) bool {
	needed := r.Offer.Needed()
	if len(r.Approvers(f.admin.people.candidates(r, f.tolerance), needed)) == needed {
		return true
	}
	if f.tolerance == 0 {
		return false
	}
	f.tolerance = 0
	r, ok := f.request(r.Route.Name, r.Offer.Policy, r.User)
	return ok && f.enoughApprovers(r)
}

// requestOf returns a new request, which is not stored.
func requestOf(r access.Request, now time.Time) grant.Request {
	request := grant.NewRequest(grant.Person{ID: r.User.ID, UserName: r.User.UserName, Epoch: r.User.Epoch}, now)
	request.Policy, request.Route = r.Offer.Policy, r.Route.Name
	return request
}

// Ask makes a request for access. If one of this person for this policy is open, Ask returns that one.
func (a *Admin) Ask(ctx context.Context, actor Actor, ask Asking) (grant.Request, error) {
	now := time.Now().UTC()
	r, err := a.mayAsk(actor, ask, now)
	if err != nil {
		return grant.Request{}, err
	}
	request := requestOf(r, now)
	request.URL = shownURL(ask.URL, r.Route)
	if request.Reason, err = text(ask.Reason, r.Offer.NeedsReason()); err != nil {
		return grant.Request{}, err
	}
	open, err := a.grants.CheckAsk(request)
	switch {
	case err != nil:
		return grant.Request{}, limited(err)
	case open != nil:
		return *open, nil
	case !a.inForce(now).enoughApprovers(r):
		return grant.Request{}, ErrNoApprovers
	}
	var stored grant.Request
	err = a.perform(ctx, actor, action{event: requestEvent(request, "made", request.Reason, r.Offer.Needed()), adds: true}, func(ctx context.Context) (err error) {
		stored, err = a.grants.Ask(ctx, request, func() error { _, err := a.mayAsk(actor, ask, now); return err })
		if err == nil && stored.ID != request.ID {
			err = errOpenAlready
		}
		return limited(err)
	})
	switch {
	case errors.Is(err, errOpenAlready): // as the record says; to the person it makes no difference
		return stored, nil
	case err == nil:
		a.notifyRequest(NoticeRequestMade, stored)
	}
	return stored, err
}

// errOpenAlready means that the same person asked for the same policy at the same time, and that this request was not made.
var errOpenAlready = errors.New("the person has an open request for this policy already")

// mayAsk returns what the rules say about a request, or why it cannot be made.
func (a *Admin) mayAsk(actor Actor, ask Asking, now time.Time) (access.Request, error) {
	if err := a.directory.Fresh(); err != nil {
		return access.Request{}, err
	}
	if ask.User == nil || !isUser(actor) || actor.ID != ask.User.ID {
		return access.Request{}, ErrNotOffered
	}
	u, ok := a.directory.ByID(ask.User.ID)
	if !ok || u.Epoch != ask.User.Epoch {
		return access.Request{}, ErrNotOffered
	}
	if r, ok := a.inForce(now).request(ask.Route, ask.Policy, u); ok && r.MayAsk() && r.Helps() {
		return r, nil
	}
	return access.Request{}, ErrNotOffered
}

func limited(err error) error {
	if errors.Is(err, grant.ErrPerson) || errors.Is(err, grant.ErrLimit) {
		return fmt.Errorf("%w (%w)", ErrTooManyRequests, err)
	}
	return err
}

// Withdraw ends a request of the actor's own.
func (a *Admin) Withdraw(ctx context.Context, actor Actor, id string) error {
	r, err := a.grants.FindRequest(ctx, id)
	if err != nil || !isUser(actor) || r.Person.ID != actor.ID {
		return ErrNoRequest
	}
	return a.endRequest(ctx, actor, r, grant.StateWithdrawn, "")
}

// endRequest ends an open request that nobody approved.
func (a *Admin) endRequest(ctx context.Context, actor Actor, r grant.Request, state grant.State, why string) error {
	now := time.Now().UTC()
	if !r.OpenAt(now) {
		return ErrDecided
	}
	var ended grant.Request
	err := a.perform(ctx, actor, action{event: requestEvent(r, string(state), why, 0), adds: true}, func(ctx context.Context) (err error) {
		if ended, err = a.grants.End(ctx, r.ID, state, actor.Name, why, now); errors.Is(err, grant.ErrDecided) {
			return ErrDecided
		}
		return err
	})
	if err == nil {
		a.notifyRequest(NoticeRequestDecided, ended)
	}
	return err
}

// requestEvent returns the event that tells what became of a request. needed is 0 if approvals do not matter.
func requestEvent(r grant.Request, reason, why string, needed int) audit.Event {
	detail := map[string]string{"request": r.ID, "policy": r.Policy}
	if why != "" {
		detail["why"] = why
	}
	if needed > 0 {
		detail["approvals"] = fmt.Sprintf("%d of %d", len(r.Approvals), needed)
	}
	return audit.Event{Kind: audit.KindRequest, User: r.Person.ID, UserName: r.Person.UserName, Route: r.Route, Reason: reason, Detail: detail}
}

const maxReason = 500 // bytes

// text returns the reason that a person wrote, without space around it, or [ErrReason]. Every reason is checked by it.
func text(written string, required bool) (string, error) {
	written = strings.TrimSpace(written)
	odd := func(r rune) bool {
		return unicode.IsControl(r) || unicode.In(r, unicode.Zl, unicode.Zp) || r >= '\u202a' && r <= '\u202e' || r >= '\u2066' && r <= '\u2069'
	}
	seen := func(r rune) bool { return unicode.In(r, unicode.L, unicode.N, unicode.P, unicode.S) }
	if required && !strings.ContainsFunc(written, seen) || len(written) > maxReason || !utf8.ValidString(written) || strings.ContainsFunc(written, odd) {
		return "", ErrReason
	}
	return written, nil
}

const maxURL = 1000 // bytes

// shownURL returns the address that somebody had asked for, without query and fragment; "" unless it is one of the route,
// since those who decide may follow it.
func shownURL(address string, route *access.Route) string {
	u, err := url.Parse(address)
	if err != nil || len(address) > maxURL || !serves(route, strings.ToLower(u.Hostname())) || u.Scheme != "https" && u.Scheme != "http" {
		return ""
	}
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path, RawPath: u.RawPath}).String()
}

func serves(route *access.Route, host string) bool {
	if route.Serves == nil {
		return strings.EqualFold(route.Host, host)
	}
	return route.Serves(host)
}
