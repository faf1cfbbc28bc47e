package access

import (
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"time"

	"sallyport/directory"
	"sallyport/policy"
)

// Scope is what is known of the requests that a question is about. An empty field can
// be anything.
type Scope struct {
	Method  string
	Path    string // as rules read it
	Address string
	Time    time.Time // at which rules may have ended; required
	AtTime  bool      // the question is about that time only, and not about any hour

	Organization policy.Organization // who manages whom; nil if that is not known
}

func (s Scope) known() policy.Known {
	return policy.Known{Method: s.Method != "", Path: s.Path != "", Address: s.Address != "", Time: s.AtTime}
}

func (s Scope) request(host string) policy.Request {
	req := policy.Request{Host: host, Method: s.Method, Path: s.Path, Time: s.Time, Organization: s.Organization}
	req.Address, _ = netip.ParseAddr(s.Address)
	return req
}

// Reach is how a caller reaches a route: by the rules that let the caller in, except
// where others keep the caller out.
type Reach struct {
	Route   string       `json:"route"`
	Kind    string       `json:"kind"` // user, application or anyone
	ID      string       `json:"id,omitempty"`
	Name    string       `json:"name,omitempty"` // userName, or the application's client ID
	Allowed []policy.Way `json:"allowed"`
	Except  []policy.Way `json:"except,omitempty"`
}

// Who returns everybody who reaches one of routes: for each route in their order,
// anyone, applications by name, then users in their order.
func Who(routes []*Route, users []*directory.User, s Scope) (list []Reach) {
	byRoute := make([][]Reach, len(routes))
	for i, r := range routes {
		byRoute[i] = nonUsers(r, s)
	}
	size := max(1, (len(users)+runtime.GOMAXPROCS(0)-1)/runtime.GOMAXPROCS(0))
	var parts []chan [][]Reach
	for part := range slices.Chunk(users, size) {
		found := make(chan [][]Reach, 1)
		parts = append(parts, found)
		go func() { found <- usersReaching(routes, part, s) }()
	}
	for _, found := range parts {
		for i, reached := range <-found {
			byRoute[i] = append(byRoute[i], reached...)
		}
	}
	return slices.Concat(byRoute...)
}

// usersReaching returns, for each route, the users who reach it. All that is read of a
// user is read at once, since it takes longer to fetch from memory than to decide.
func usersReaching(routes []*Route, users []*directory.User, s Scope) [][]Reach {
	byRoute := make([][]Reach, len(routes))
	for _, u := range users {
		req := s.request("")
		SetCaller(&req, u, "", nil)
		for i, r := range routes {
			if reach, ok := userReach(r, u, &req, s.known()); ok {
				byRoute[i] = append(byRoute[i], reach)
			}
		}
	}
	return byRoute
}

// nonUsers returns how callers who are not users reach a route.
func nonUsers(r *Route, s Scope) (list []Reach) {
	req := s.request(r.Host)
	req.Anonymous = true
	if allowed, except := r.Policy.Reach(&req, s.known()); len(allowed) > 0 {
		list = append(list, Reach{Route: r.Name, Kind: "anyone", Allowed: allowed, Except: except})
	}
	if !r.Bearer {
		return list
	}
	for _, app := range r.Policy.Apps() {
		req := s.request(r.Host)
		req.App = app
		if allowed, except := r.Policy.Reach(&req, s.known()); len(allowed) > 0 {
			list = append(list, Reach{Route: r.Name, Kind: "application", Name: app, Allowed: allowed, Except: except})
		}
	}
	return list
}

// userReach returns how a user, of whom req is, reaches a route; false if not at all.
func userReach(r *Route, u *directory.User, req *policy.Request, known policy.Known) (reach Reach, ok bool) {
	req.Host = r.Host
	if u.Barred() != "" || !r.Policy.Reaches(req, known) {
		return reach, false
	}
	reach = Reach{Route: r.Name, Kind: "user", ID: u.ID, Name: u.UserName}
	reach.Allowed, reach.Except = r.Policy.Reach(req, known)
	return reach, true
}

// What returns how a user reaches each of routes, in their order. Routes that the user
// does not reach are left out.
func What(routes []*Route, u *directory.User, s Scope) (list []Reach) {
	for _, reached := range usersReaching(routes, []*directory.User{u}, s) {
		list = append(list, reached...)
	}
	return list
}

// String writes the reach as "sre[0] if methods GET, HEAD; except sre[1] if paths /admin/**".
func (r Reach) String() string {
	text := waysText(r.Allowed, " or ")
	if len(r.Except) > 0 {
		text += "; except " + waysText(r.Except, " and ")
	}
	return text
}

func waysText(ways []policy.Way, between string) string {
	texts := make([]string, len(ways))
	for i, w := range ways {
		texts[i] = w.Rule
		for j, c := range w.If {
			word := " if "
			if j > 0 {
				word = " and "
			}
			texts[i] += word + c.Part + " " + c.Text
		}
	}
	return strings.Join(texts, between)
}

// Difference is what new rules change about one route.
type Difference struct {
	Route   string   `json:"route"`
	Gained  []string `json:"gained,omitempty"`  // who reaches the route by the new rules only
	Lost    []string `json:"lost,omitempty"`    // who reaches it by the old rules only
	Changed []string `json:"changed,omitempty"` // who reaches it by both, but under other conditions
}

// Empty reports whether nothing changes.
func (d Difference) Empty() bool { return len(d.Gained)+len(d.Lost)+len(d.Changed) == 0 }

// Diff returns what changes for each route, in the order of after and then of those
// that only before has. Routes are the same if they have the same name.
func Diff(before, after []*Route, users []*directory.User, s Scope) (list []Difference) {
	old, new := reachers(before, users, s), reachers(after, users, s)
	for _, r := range slices.Concat(after, before) {
		if slices.ContainsFunc(list, func(d Difference) bool { return d.Route == r.Name }) {
			continue
		}
		if d := difference(r.Name, old[r.Name], new[r.Name]); !d.Empty() {
			list = append(list, d)
		}
	}
	return list
}

// difference returns what changes for a route; old and new say who reaches it, and how.
func difference(route string, old, new map[string]string) Difference {
	d := Difference{Route: route}
	for name, reach := range new {
		former, ok := old[name]
		switch {
		case !ok:
			d.Gained = append(d.Gained, name)
		case former != reach:
			d.Changed = append(d.Changed, name)
		}
	}
	for name := range old {
		if _, ok := new[name]; !ok {
			d.Lost = append(d.Lost, name)
		}
	}
	slices.Sort(d.Gained)
	slices.Sort(d.Lost)
	slices.Sort(d.Changed)
	return d
}

// reachers returns, for each route, everybody who reaches it, and how.
func reachers(routes []*Route, users []*directory.User, s Scope) map[string]map[string]string {
	all := map[string]map[string]string{}
	for _, reach := range Who(routes, users, s) {
		if all[reach.Route] == nil {
			all[reach.Route] = map[string]string{}
		}
		all[reach.Route][reach.Caller()] = reach.String()
	}
	return all
}

// Caller names who reaches the route: a userName, app: and a client ID, or anyone.
func (r Reach) Caller() string {
	switch r.Kind {
	case "application":
		return "app:" + r.Name
	case "user":
		return r.Name
	}
	return "anyone"
}
