package admin

import (
	"time"

	"sallyport/access"
	"sallyport/directory"
)

// Requestable returns what the user may ask for of each route, by the route's name: the policy that they have asked for, or
// else the first that would let them in to some of it. It does not say whether somebody could approve: [Admin.OffersFor] does.
// It reads memory only.
func (a *Admin) Requestable(u *directory.User) map[string]Offer {
	now := time.Now().UTC()
	f := a.inForce(now)
	offers := map[string]Offer{}
	u, ok := a.directory.ByID(u.ID)
	if !ok {
		return offers
	}
	for name, route := range f.routes {
		for _, offered := range route.Policy.Offers() {
			r := access.Request{Route: route, User: u, Offer: offered, Scope: f.scope} // without its owner, whom only approvals need
			if !r.MayAsk() || !r.Helps() {
				continue
			}
			o := Offer{Policy: offered.Policy, Route: name, Max: offered.Max, NeedsReason: offered.NeedsReason()}
			o.Open, _ = a.grants.CheckAsk(requestOf(r, now))
			if known, ok := offers[name]; !ok || known.Open == nil && o.Open != nil {
				offers[name] = o
			}
		}
	}
	return offers
}

// RouteSet returns the names of the routes in force.
func (a *Admin) RouteSet() map[string]bool {
	names := map[string]bool{}
	for name := range a.inForce(time.Now()).routes {
		names[name] = true
	}
	return names
}
