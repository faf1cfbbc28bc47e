package access

import (
	"fmt"
	"slices"

	"sallyport/directory"
	"sallyport/policy"
)

// checkRequestable reports what the directory shows about who may ask for policy i, and who may approve.
func (s Subject) checkRequestable(i int, k known, find findFunc) {
	p, path := s.Policies[i], fmt.Sprintf("policies[%d].requestable", i)
	q := p.Requestable
	if q == nil {
		return
	}
	for j, g := range q.By.Groups {
		k.checkGroup(g, fmt.Sprintf("%s.by.groups[%d]", path, j), find)
	}
	for j, g := range q.Approvers.Groups {
		k.checkGroup(g, fmt.Sprintf("%s.approvers.groups[%d]", path, j), find)
	}
	if q.Allow != nil {
		k.check(q.Allow, path+".allow", find)
		s.checkAttributes(q.Allow, path+".allow", find)
	}
	for j, route := range s.Routes {
		if !slices.Contains(s.Uses[j], p.Name) {
			continue
		}
		owner := OwnerOf(route.Owner, s.Users)
		if q.Approvers.Owner && owner == nil {
			find(path+".approvers.owner", "the owner %q of route %s is not the e-mail address of exactly one active user, so that the owner approves nothing there", route.Owner, route.Name)
		}
		if n := s.approvers(policy.Offer{Policy: p.Name, Requestable: q}, route, owner); n < q.Needed() {
			find(path+".approvals", "requests need %d approvals, but only %d people may approve those for route %s, so that nobody can ask", q.Needed(), n, route.Name)
		}
	}
}

// approvers returns how many people may approve requests for a route, of somebody who is none of them and has a manager.
func (s Subject) approvers(offer policy.Offer, route *Route, owner *directory.User) int {
	r := Request{Offer: offer, Route: route, User: &directory.User{}, Owner: owner, Scope: s.Scope}
	n := len(r.Approvers(s.Users, offer.Needed()))
	if offer.Approvers.Manager {
		n++
	}
	return n
}
