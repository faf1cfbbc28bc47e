package admin

import (
	"cmp"
	"context"
	"slices"
	"time"

	"sallyport/access"
	"sallyport/directory"
	"sallyport/scim"
)

// HeldPerson is a held deactivation, and what its user would lose.
type HeldPerson struct {
	Hold
	Name     string   `json:"displayName"`
	Barred   string   `json:"barred,omitempty"` // why the user may use nothing as it is; "" if there is something to lose
	Groups   []string `json:"groups"`           // names, at most 20
	Routes   []string `json:"routes"`           // names of those that the user reaches, at most 20
	Sessions int      `json:"sessions"`
	Grants   int      `json:"grants"` // that are open
	Own      bool     `json:"own,omitempty"`

	GroupCount int `json:"group_count"`
	RouteCount int `json:"route_count"`
}

// HeldPeople are some held deactivations.
type HeldPeople struct {
	People   []HeldPerson `json:"people"`
	Waiting  int          `json:"waiting"`  // of all, those that nobody has decided about
	Rejected int          `json:"rejected"` // and those that were rejected lately
}

// HeldPeople returns n of the held deactivations from a place on: those that wait, the oldest first, and then those that were
// rejected.
func (a *Admin) HeldPeople(ctx context.Context, actor Actor, from, n int) (found HeldPeople, err error) {
	holds, err := a.provisioning.Holds(ctx)
	if err != nil {
		return found, err
	}
	for _, h := range holds {
		if h.Pending() {
			found.Waiting++
		} else {
			found.Rejected++
		}
	}
	slices.SortFunc(holds, func(x, y scim.Hold) int {
		return cmp.Or(x.Rejected.Compare(y.Rejected), x.Since.Compare(y.Since), cmp.Compare(x.ID, y.ID))
	})
	from = min(max(from, 0), len(holds))
	holds = holds[from:min(from+max(n, 0), len(holds))]
	sessions := map[string]int{}
	for _, s := range a.sessions.List() {
		sessions[s.User]++
	}
	found.People = []HeldPerson{}
	for _, h := range holds {
		found.People = append(found.People, a.heldPerson(actor, h, sessions[h.ID]))
	}
	return found, nil
}

func (a *Admin) heldPerson(actor Actor, h scim.Hold, sessions int) HeldPerson {
	p := HeldPerson{Hold: Hold{h.ID, h.UserName, h.Since, timeOrNil(h.Rejected)}, Groups: []string{}, Routes: []string{}}
	u, ok := a.directory.ByID(h.ID)
	if !ok {
		p.Barred = "unknown_user"
		p.Own = a.isSelf(actor, &directory.User{ID: h.ID, UserName: h.UserName})
		return p
	}
	p.Name, p.Barred, p.Own = u.DisplayName, u.Barred(), a.isSelf(actor, u)
	p.Groups, p.GroupCount = firstNames(u.GroupNames), len(u.GroupNames)
	p.Sessions = sessions
	now := time.Now().UTC()
	p.Grants = len(a.grants.All(u.ID, now, false))
	if a.rules == nil || p.Barred != "" {
		return p
	}
	var routes []string
	for _, r := range access.What(a.rules().Routes, u, access.Scope{Time: now, Organization: a.directory, Grants: a.grants.Of}) {
		routes = append(routes, r.Route)
	}
	p.Routes, p.RouteCount = firstNames(routes), len(routes)
	return p
}

// firstNames returns some of the names, sorted, which the caller may change.
func firstNames(names []string) []string {
	names = append([]string{}, names...)
	slices.Sort(names)
	return names[:min(len(names), maxNames)]
}

// NewestHold returns when the newest of the deactivations that wait was first asked for; the zero time if none waits.
func (a *Admin) NewestHold(ctx context.Context, _ Actor) (newest time.Time, err error) {
	holds, err := a.provisioning.Holds(ctx)
	for _, h := range holds {
		if h.Pending() && h.Since.After(newest) {
			newest = h.Since
		}
	}
	return newest, err
}

// HeldUntil returns the ids of the users whose deactivation waits, and was first asked for at a time or before: what came
// since, whoever decides has not seen.
func (a *Admin) HeldUntil(ctx context.Context, _ Actor, until time.Time) (users []string, err error) {
	holds, err := a.provisioning.Holds(ctx)
	for _, h := range holds {
		if h.Pending() && !h.Since.After(until) {
			users = append(users, h.ID)
		}
	}
	return users, err
}
