package access

import (
	"context"

	"sallyport/directory"
)

// Count is how many callers reach a route.
type Count struct {
	Route  string   `json:"route"`
	Users  int      `json:"users"`
	Apps   []string `json:"apps,omitempty"` // client IDs of the applications that rules let in
	Anyone bool     `json:"anyone"`         // nobody has to be signed in, at least for a part
}

// Empty reports whether no caller reaches the route.
func (c Count) Empty() bool { return c.Users+len(c.Apps) == 0 && !c.Anyone }

// usersBetween is how many users are asked about before a computation looks whether it shall end.
const usersBetween = 256

// CountReach counts who reaches each of routes, in their order. It needs no memory for each caller, works on one core, and
// returns the error of ctx soon after ctx ends.
func CountReach(ctx context.Context, routes []*Route, users []*directory.User, s Scope) ([]Count, error) {
	counts, known := make([]Count, len(routes)), s.known()
	places := make([][]asked, len(routes)) // of each route; empty if it does not receive requests for the path
	for i, r := range routes {
		counts[i].Route, places[i] = r.Name, ask([]*Route{r}, s)
		for _, a := range places[i] {
			counts[i].addNonUsers(nonUsers(a, s))
		}
	}
	for n, u := range users {
		if n%usersBetween == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if u.Barred() != "" {
			continue
		}
		req := s.request()
		SetCaller(&req, u, "", nil)
		SetGrants(&req, u, s.Grants)
		for i, place := range places {
			for _, a := range place {
				if a.reaches(&req, known) {
					counts[i].Users++
				}
			}
		}
	}
	return counts, ctx.Err()
}

func (c *Count) addNonUsers(list []Reach) {
	for _, reach := range list {
		if reach.Kind == "anyone" {
			c.Anyone = true
		} else {
			c.Apps = append(c.Apps, reach.Name)
		}
	}
}
