package rollup

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"
)

// Use is when somebody last used a route.
type Use struct {
	User  string    `json:"user"` // the directory's id, or `app:` and the client id of an application
	Route string    `json:"route"`
	Time  time.Time `json:"time"`
	Name  string    `json:"user_name,omitempty"` // which the Rollup does not know
}

// RuleUse is how often a rule decided.
type RuleUse struct {
	Rule     string    `json:"rule"`
	Hits     uint64    `json:"hits"`
	Reported uint64    `json:"reported,omitempty"` // how often it would have, in report mode
	Last     time.Time `json:"last"`
}

func (u *RuleUse) last(at int64) {
	if at > u.Last.Unix() {
		u.Last = time.Unix(at, 0).UTC()
	}
}

// uses are the times of last uses.
type uses struct {
	routes map[string]map[string]int64 // by route and user
	count  int
}

func newUses() uses { return uses{routes: map[string]map[string]int64{}} }

// note keeps the time of a use. Beyond the bound, one that is long ago is forgotten.
func (u *uses) note(route, user string, at int64) {
	users := u.routes[route]
	last, ok := users[user]
	switch {
	case last >= at:
		return
	case ok:
		users[user] = at
		return
	case u.count >= maxUses && !u.forget(at), users == nil && len(u.routes) >= maxRoutes:
		return
	}
	if users == nil {
		users = map[string]int64{}
		u.routes[strings.Clone(route)] = users
	}
	users[strings.Clone(user)] = at
	u.count++
}

// forget forgets the oldest of some uses, which Go picks at random. It reports false if all of them are newer than at.
func (u *uses) forget(at int64) bool {
	const looks = 8
	var oldestRoute, oldestUser string
	oldest, looked := at, 0
	for route, users := range u.routes {
		for user, last := range users {
			if last < oldest {
				oldest, oldestRoute, oldestUser = last, route, user
			}
			if looked++; looked%2 == 0 { // two of each route
				break
			}
		}
		if looked >= looks {
			break
		}
	}
	if oldest == at {
		return false
	}
	delete(u.routes[oldestRoute], oldestUser)
	if len(u.routes[oldestRoute]) == 0 {
		delete(u.routes, oldestRoute)
	}
	u.count--
	return true
}

// UsesQuery asks for last uses. What is empty does not matter.
type UsesQuery struct {
	Route string   `json:"route,omitempty"`
	Users []string `json:"users,omitempty"` // of at most a page
	Limit int      `json:"limit"`           // the newest so many; at most 1,000
}

const maxUsesAsked = 1000

// Uses returns last uses, the newest first.
func (r *Rollup) Uses(q UsesQuery) (list []Use) {
	r.mu.Lock()
	for route, users := range r.uses.routes {
		if q.Route != "" && route != q.Route {
			continue
		}
		if len(q.Users) > 0 {
			for _, user := range q.Users {
				if at, ok := users[user]; ok {
					list = append(list, Use{User: user, Route: route, Time: time.Unix(at, 0).UTC()})
				}
			}
			continue
		}
		for user, at := range users {
			list = append(list, Use{User: user, Route: route, Time: time.Unix(at, 0).UTC()})
		}
	}
	r.mu.Unlock()
	return newestUses(list, q.Limit)
}

func newestUses(list []Use, limit int) []Use {
	slices.SortFunc(list, func(a, b Use) int {
		return cmp.Or(b.Time.Compare(a.Time), strings.Compare(a.Route, b.Route), strings.Compare(a.User, b.User))
	})
	if limit <= 0 {
		limit = maxUsesAsked
	}
	return list[:min(len(list), limit, maxUsesAsked)]
}

// MergeUses returns the last uses of several replicas as one list.
func MergeUses(limit int, lists ...[]Use) []Use {
	newest := map[[2]string]Use{}
	for _, u := range slices.Concat(lists...) {
		key := [2]string{u.User, u.Route}
		if known, ok := newest[key]; !ok || u.Time.After(known.Time) {
			newest[key] = u
		}
	}
	return newestUses(slices.Collect(maps.Values(newest)), limit)
}

// Rules returns how often each rule decided, by the names of the rules.
func (r *Rollup) Rules() (list []RuleUse) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(r.rules)) {
		list = append(list, *r.rules[name])
	}
	return list
}

// MergeRules returns the figures of several replicas as one list.
func MergeRules(lists ...[]RuleUse) (merged []RuleUse) {
	all := slices.Concat(lists...)
	slices.SortStableFunc(all, func(a, b RuleUse) int { return strings.Compare(a.Rule, b.Rule) })
	for _, use := range all {
		if n := len(merged); n > 0 && merged[n-1].Rule == use.Rule {
			same := &merged[n-1]
			same.Hits, same.Reported = same.Hits+use.Hits, same.Reported+use.Reported
			if use.Last.After(same.Last) {
				same.Last = use.Last
			}
			continue
		}
		merged = append(merged, use)
	}
	return merged
}

// Heat is how many requests for a route were allowed, by the day of the week, from Sunday, and the hour, over 14 days.
type Heat [7][24]uint64

// Heat returns the heat map of a route, or of all for "", in the time of a zone.
func (r *Rollup) Heat(route string, zone *time.Location) (heat Heat) {
	r.mu.Lock()
	defer r.mu.Unlock()
	number, ok := r.routes.lookup[route]
	if !ok && route != "" {
		return heat
	}
	ring := r.rings[2]
	first := ring.number(r.now().Add(-14 * 24 * time.Hour).Unix())
	for i := range ring.slots {
		s := &ring.slots[i]
		if s.number <= first {
			continue
		}
		at := time.Unix(s.number*int64(ring.step/time.Second), 0).In(zone)
		for _, c := range s.cells {
			if c.key&1 == 1 && (route == "" || c.key>>8 == number) {
				heat[at.Weekday()][at.Hour()] += uint64(c.count)
			}
		}
	}
	return heat
}

// Add adds the heat map of another replica.
func (h *Heat) Add(other Heat) {
	for day := range h {
		for hour := range h[day] {
			h[day][hour] += other[day][hour]
		}
	}
}
