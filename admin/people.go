package admin

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"sallyport/access"
	"sallyport/audit"
	"sallyport/directory"
	"sallyport/policy"
)

// people remembers who is in groups of approvers and who owns routes, until the directory changes.
type people struct {
	directory *directory.Directory

	mu      sync.Mutex      // guards the fields below
	changed <-chan struct{} // of the directory, taken before what is remembered was read
	read    time.Time       // when that was
	members map[string][]*directory.User
	owners  map[string]*directory.User // by address; nil for nobody
}

// renew forgets everything if the directory has changed, unless what is remembered is younger than tolerance. The mutex is
// locked.
func (p *people) renew(tolerance time.Duration) {
	select {
	case <-p.changed:
		if time.Since(p.read) < tolerance {
			return
		}
	default:
		if p.changed != nil {
			return
		}
	}
	p.changed, p.read = p.directory.Changed(), time.Now()
	p.members, p.owners = map[string][]*directory.User{}, map[string]*directory.User{}
}

// owner returns the one active user with an e-mail address, or nil.
func (p *people) owner(address string, tolerance time.Duration) *directory.User {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.renew(tolerance)
	owner, known := p.owners[address]
	if !known {
		owner = access.OwnerOf(address, p.directory.Snapshot())
		p.owners[address] = owner
	}
	return owner
}

// of returns the members of a group, as rules name it.
func (p *people) of(g policy.GroupRef, tolerance time.Duration) []*directory.User {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.renew(tolerance)
	key := cmp.Or(g.ID, "name "+g.Name)
	members, known := p.members[key]
	if !known {
		for _, u := range p.directory.Snapshot() {
			if g.ID != "" && slices.Contains(u.GroupIDs, g.ID) || g.ID == "" && slices.Contains(u.GroupNames, g.Name) {
				members = append(members, u)
			}
		}
		slices.SortFunc(members, func(a, b *directory.User) int { return cmp.Compare(a.UserName, b.UserName) })
		p.members[key] = members
	}
	return members
}

// candidates returns the people among whom all approvers of a request are.
func (p *people) candidates(r access.Request, tolerance time.Duration) (list []*directory.User) {
	for _, g := range r.Offer.Approvers.Groups {
		list = append(list, p.of(g, tolerance)...)
	}
	if manager, ok := p.directory.ByID(r.User.Manager()); ok && r.Offer.Approvers.Manager {
		list = append(list, manager)
	}
	if r.Owner != nil {
		list = append(list, r.Owner)
	}
	return list
}

// inForce is the rules in force, for questions about requests for access.
type inForce struct {
	admin     *Admin
	routes    map[string]*access.Route
	scope     access.Scope
	tolerance time.Duration // how old may be what is known of who owns a route
}

func (a *Admin) inForce(now time.Time) inForce {
	f := inForce{admin: a, routes: map[string]*access.Route{}, scope: access.Scope{Time: now, Organization: a.directory, Grants: a.grants.Of}}
	if a.rules != nil {
		for _, r := range a.rules().Routes {
			f.routes[r.Name] = r
		}
	}
	return f
}

// request returns what the rules say about a request of a user for a policy of a route. It returns false if nobody may ask
// for it there.
func (f inForce) request(route, name string, u *directory.User) (access.Request, bool) {
	r := access.Request{Route: f.routes[route], User: u, Scope: f.scope}
	if r.Route == nil {
		return r, false
	}
	offers := r.Route.Policy.Offers()
	i := slices.IndexFunc(offers, func(o policy.Offer) bool { return o.Policy == name })
	if i < 0 {
		return r, false
	}
	if r.Offer = offers[i]; r.Offer.Approvers.Owner {
		r.Owner = f.admin.people.owner(r.Route.Owner, f.tolerance)
	}
	return r, true
}

// isUser reports whether the rights of the actor depend on who they are: operators, those who use the console, and the server
// itself may see and decide everything.
func isUser(actor Actor) bool {
	return actor.Role == "" && actor.Kind != audit.ActorOperator && actor.Kind != audit.ActorSystem
}

// userOf returns the user who acts.
func (a *Admin) userOf(actor Actor) (*directory.User, bool) {
	u, ok := a.directory.ByID(actor.ID)
	return u, ok && u.Barred() == ""
}
