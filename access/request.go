package access

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"sallyport/directory"
	"sallyport/policy"
)

// Request is a user's request for access by one policy, as far as the rules say who may make it and who may approve it.
// It is pure.
type Request struct {
	Offer policy.Offer
	Route *Route
	User  *directory.User // who asks
	Owner *directory.User // of the route, as [OwnerOf] returns it
	Scope Scope           // its Organization, Grants and Time
}

// MayAsk reports whether the user may ask for the policy. Whoever lost a membership of it by a review may not.
func (r Request) MayAsk() bool {
	req := r.as(r.User)
	return r.User.Barred() == "" && r.Offer.MayAsk(req) && !r.Route.takenBack(*req, r.Offer.Policy)
}

// MayApprove reports whether u may approve the request: as a member of a group of approvers, as the manager of the person
// who asks, or as the owner of the route. Nobody may approve their own request, whichever record of the directory is theirs.
func (r Request) MayApprove(u *directory.User) bool {
	if u.Barred() != "" || SamePerson(u, r.User) {
		return false
	}
	may := r.Offer.Approvers
	return r.Offer.MayApprove(r.as(u)) || may.Manager && r.isManager(u) || may.Owner && r.Owner != nil && r.Owner.ID == u.ID
}

// Approvers returns those of users who may approve the request, each person once, and no more than limit.
func (r Request) Approvers(users []*directory.User, limit int) (approvers []*directory.User) {
	for _, u := range users {
		if len(approvers) == limit {
			break
		}
		known := slices.ContainsFunc(approvers, func(other *directory.User) bool { return SamePerson(other, u) })
		if !known && r.MayApprove(u) {
			approvers = append(approvers, u)
		}
	}
	return approvers
}

// Helps reports whether a grant of the policy would let the user in to the route, or to the requests for it that the scope
// is about, by at least one of these.
func (r Request) Helps() bool {
	req := r.as(r.User)
	req.Grants = granting{req.Grants, r.Offer.Policy, r.Scope.Time.Add(time.Hour)}
	for _, asked := range ask([]*Route{r.Route}, r.Scope) {
		allowed, _ := asked.reach(req, r.Scope.known())
		if slices.ContainsFunc(allowed, func(w policy.Way) bool { return w.Rule == r.Offer.Rule() }) {
			return true
		}
	}
	return false
}

// takenBack reports whether a review took back a membership by which a policy would let the user of req in to the route,
// with whatever request. Who decided that is to be asked, not whoever approves requests.
func (r *Route) takenBack(req policy.Request, name string) bool {
	if req.Grants == nil {
		return false
	}
	req.Method, req.Host, req.Path = "", r.Host, ""
	now, _ := r.Policy.Reach(&req, policy.Known{})
	req.Grants = unrevoked{req.Grants}
	before, _ := r.Policy.Reach(&req, policy.Known{})
	return slices.ContainsFunc(before, func(way policy.Way) bool {
		same := func(other policy.Way) bool { return other.Rule == way.Rule }
		return strings.HasPrefix(way.Rule, name+"[") && !slices.ContainsFunc(now, same)
	})
}

// unrevoked is the grants of a user as if no review had revoked anything.
type unrevoked struct{ policy.Grants }

// Revoked implements [policy.Grants].
func (unrevoked) Revoked(string) bool { return false }

// Others returns who else of users, in whatever order they are, reaches the route: at most limit of their userNames, the first
// by the alphabet, and how many they are.
func (r Request) Others(users []*directory.User, limit int) (names []string, count int) {
	places, asking := ask([]*Route{r.Route}, r.Scope), newPerson(r.User)
	for _, u := range users {
		if u.Barred() != "" {
			continue
		}
		req := r.as(u)
		reaches := func(a asked) bool { return a.reaches(req, r.Scope.known()) }
		if !slices.ContainsFunc(places, reaches) || asking.is(u) {
			continue
		}
		count++
		at, _ := slices.BinarySearch(names, u.UserName)
		if at < limit {
			names = slices.Insert(names, at, u.UserName)
			names = names[:min(len(names), limit)]
		}
	}
	return names, count
}

// as returns the request of a user that rules are asked about.
func (r Request) as(u *directory.User) *policy.Request {
	req := r.Scope.request()
	SetCaller(&req, u, "", nil)
	SetGrants(&req, u, r.Scope.Grants)
	return &req
}

func (r Request) isManager(u *directory.User) bool {
	if r.Scope.Organization == nil {
		return false
	}
	userName, externalID, ok := r.Scope.Organization.Manager(r.User.ID)
	return ok && u.UserName == userName && u.ExternalID == externalID
}

// SamePerson reports whether two records of the directory are those of one person: the same record, or two with the same
// externalId, userName or e-mail address, however it is written. A userName can be the address of the other record: people
// with a second account for administration often have the mail of the first in both.
func SamePerson(a, b *directory.User) bool { return newPerson(a).is(b) }

// person is who a record of the directory belongs to, to be compared with other records.
type person struct {
	record *directory.User
	names  []string // folded
}

func newPerson(u *directory.User) person {
	names := namesOfPerson(u)
	for i, name := range names {
		names[i] = directory.Fold(name)
	}
	return person{u, names}
}

// is reports whether another record belongs to the person.
func (p person) is(u *directory.User) bool {
	has := func(name string) bool { return name != "" && slices.Contains(p.names, directory.Fold(name)) }
	return p.record.ID == u.ID || u.ExternalID != "" && strings.EqualFold(p.record.ExternalID, u.ExternalID) ||
		has(u.UserName) || has(u.Email) || slices.ContainsFunc(u.Emails, has)
}

// namesOfPerson returns the userName and the e-mail addresses of a user.
func namesOfPerson(u *directory.User) []string {
	names := append([]string{u.UserName, u.Email}, u.Emails...)
	return slices.DeleteFunc(names, func(name string) bool { return name == "" })
}

// OwnerOf returns the one among users who is active and has the e-mail address; nil if there is none, or more than one.
func OwnerOf(address string, users []*directory.User) (owner *directory.User) {
	folded := directory.Fold(address)
	for _, u := range users {
		has := func(email string) bool { return directory.Fold(email) == folded }
		if address == "" || u.Barred() != "" || !slices.ContainsFunc(u.Emails, has) {
			continue
		}
		if owner != nil {
			return nil
		}
		owner = u
	}
	return owner
}

// standsForGrants reports whether a rule of the route is one that grants of a policy stand for.
func (r *Route) standsForGrants(rule string) bool {
	return slices.ContainsFunc(r.Policy.Offers(), func(o policy.Offer) bool { return o.Rule() == rule })
}

// allowsByGrant reports whether the rules would allow req if its user had a grant of the policy that rule stands for.
func (t Target) allowsByGrant(req *policy.Request, rule string) bool {
	for _, offer := range t.Route.Policy.Offers() {
		if offer.Rule() == rule && req.UserID != "" {
			req.Grants = granting{req.Grants, offer.Policy, req.Time.Add(time.Hour)}
			return t.Decide(req).Allow
		}
	}
	return false
}

// askable says for which policies of the route the user of req may ask, of those that would let the user in.
func (t Target) askable(req *policy.Request) (hints []string) {
	for _, offer := range t.Route.Policy.Offers() {
		if own := *req; offer.MayAsk(req) && !t.Route.takenBack(own, offer.Policy) && t.allowsByGrant(&own, offer.Rule()) {
			hints = append(hints, fmt.Sprintf("they may ask for access by policy %s, for at most %s: in a browser, on the page that denies them", offer.Policy, offer.Max))
		}
	}
	return hints
}

// granting is the grants of a user, and a grant of one policy more.
type granting struct {
	held   policy.Grants // may be nil
	policy string
	until  time.Time
}

// Until implements [policy.Grants].
func (g granting) Until(name string) time.Time {
	switch {
	case name == g.policy:
		return g.until
	case g.held == nil:
		return time.Time{}
	}
	return g.held.Until(name)
}

// Revoked implements [policy.Grants].
func (g granting) Revoked(group string) bool { return g.held != nil && g.held.Revoked(group) }
