package access

import (
	"math"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"sallyport/directory"
	"sallyport/policy"
)

// Scope is what is known of the requests that a question is about. An empty field can
// be anything.
type Scope struct {
	Method  string
	Path    string // as it stands in a URL
	Address string
	Time    time.Time // at which rules may have ended; required
	AtTime  bool      // the question is about that time only, and not about any hour

	Organization policy.Organization // who manages whom; nil if that is not known
	Grants       GrantsOf            // nil if there are none
}

func (s Scope) known() policy.Known {
	return policy.Known{Method: s.Method != "", Path: s.Path != "", Address: s.Address != "", Time: s.AtTime}
}

func (s Scope) request() policy.Request {
	req := policy.Request{Method: s.Method, Time: s.Time, Organization: s.Organization}
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

// asked is a route, and how servers could read the path that is asked about.
type asked struct {
	*Route
	readings []Reading // one without a path if the path is not known
}

// ask leaves out the routes that do not receive requests for the path.
func ask(routes []*Route, s Scope) (list []asked) {
	for _, r := range routes {
		readings := []Reading{{s.Path, r.Policy}}
		if s.Path != "" && r.Readings != nil {
			readings = r.Readings(s.Path)
		}
		if len(readings) > 0 {
			list = append(list, asked{r, readings})
		}
	}
	return list
}

// reach returns the rules that let the caller of req in by every reading of the path, and those that keep the caller out
// of a part.
func (r asked) reach(req *policy.Request, known policy.Known) (allowed, except []policy.Way) {
	for i, reading := range r.readings {
		req.Host, req.Path = r.Host, reading.Path
		if i == 0 {
			allowed, except = reading.Policy.Reach(req, known)
		} else if !reading.Policy.Reaches(req, known) {
			return nil, nil
		}
	}
	return allowed, except
}

// reaches reports whether reach returns a rule that lets the caller in.
func (r asked) reaches(req *policy.Request, known policy.Known) bool {
	for _, reading := range r.readings {
		req.Host, req.Path = r.Host, reading.Path
		if !reading.Policy.Reaches(req, known) {
			return false
		}
	}
	return true
}

// Who returns everybody who reaches one of routes: for each route in their order,
// anyone, applications by name, then users in their order.
func Who(routes []*Route, users []*directory.User, s Scope) []Reach {
	list, _ := WhoAtMost(math.MaxInt, routes, users, s)
	return list
}

// WhoAtMost is [Who], but stops and returns false if more than limit entries would be
// returned.
func WhoAtMost(limit int, routes []*Route, users []*directory.User, s Scope) (list []Reach, ok bool) {
	all, left := ask(routes, s), new(atomic.Int64)
	left.Store(int64(limit))
	byRoute := make([][]Reach, len(all))
	for i, r := range all {
		byRoute[i] = nonUsers(r, s)
		left.Add(-int64(len(byRoute[i])))
	}
	for _, part := range inParts(users, func(part []*directory.User) [][]Reach { return usersReaching(all, part, s, left) }) {
		for i, reached := range part {
			byRoute[i] = append(byRoute[i], reached...)
		}
	}
	if left.Load() < 0 {
		return nil, false
	}
	return slices.Concat(byRoute...), true
}

// inParts calls f with parts of users, on all cores, and returns what it returned in
// their order.
func inParts[T any](users []*directory.User, f func([]*directory.User) T) (results []T) {
	size := max(1, (len(users)+runtime.GOMAXPROCS(0)-1)/runtime.GOMAXPROCS(0))
	var parts []chan T
	for part := range slices.Chunk(users, size) {
		found := make(chan T, 1)
		parts = append(parts, found)
		go func() { found <- f(part) }()
	}
	for _, found := range parts {
		results = append(results, <-found)
	}
	return results
}

// usersReaching returns, for each route, the users who reach it. All that is read of a
// user is read at once, since it takes longer to fetch from memory than to decide. It
// stops when there are no more entries left.
func usersReaching(routes []asked, users []*directory.User, s Scope, left *atomic.Int64) [][]Reach {
	byRoute, known := make([][]Reach, len(routes)), s.known()
	for _, u := range users {
		if left.Load() < 0 {
			break
		}
		if u.Barred() != "" {
			continue
		}
		req := s.request()
		SetCaller(&req, u, "", nil)
		SetGrants(&req, u, s.Grants)
		for i, r := range routes {
			if !r.reaches(&req, known) {
				continue
			}
			left.Add(-1)
			reach := Reach{Route: r.Name, Kind: "user", ID: u.ID, Name: u.UserName}
			reach.Allowed, reach.Except = r.reach(&req, known)
			byRoute[i] = append(byRoute[i], reach)
		}
	}
	return byRoute
}

// nonUsers returns how callers who are not users reach a route.
func nonUsers(r asked, s Scope) (list []Reach) {
	req := s.request()
	req.Anonymous = true
	if allowed, except := r.reach(&req, s.known()); len(allowed) > 0 {
		list = append(list, Reach{Route: r.Name, Kind: "anyone", Allowed: allowed, Except: except})
	}
	if !r.Bearer {
		return list
	}
	for _, app := range r.Policy.Apps() {
		req := s.request()
		req.App = app
		if allowed, except := r.reach(&req, s.known()); len(allowed) > 0 {
			list = append(list, Reach{Route: r.Name, Kind: "application", Name: app, Allowed: allowed, Except: except})
		}
	}
	return list
}

// What returns how a user reaches each of routes, in their order. Routes that the user
// does not reach are left out.
func What(routes []*Route, u *directory.User, s Scope) (list []Reach) {
	unlimited := new(atomic.Int64)
	unlimited.Store(math.MaxInt64)
	return slices.Concat(usersReaching(ask(routes, s), []*directory.User{u}, s, unlimited)...)
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
		texts[i] = w.Rule + conditionsText(w)
	}
	return strings.Join(texts, between)
}

// conditionsText writes the conditions of a way as " if methods GET and paths /x until 2027-02-01T00:00:00Z".
func conditionsText(w policy.Way) (text string) {
	for i, c := range w.If {
		word := " if "
		if i > 0 {
			word = " and "
		}
		text += word + c.Part + " " + c.Text
	}
	if !w.Until.IsZero() {
		text += " until " + w.Until.Format(time.RFC3339)
	}
	return text
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
