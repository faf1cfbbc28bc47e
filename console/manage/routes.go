package manage

import (
	"errors"
	"net/url"
	"strings"
	"time"

	"sallyport/access"
	"sallyport/admin"
	"sallyport/audit/rollup"
	"sallyport/console"
	"sallyport/directory"
)

// routesContent is what the list of routes shows.
type routesContent struct {
	State   admin.Computed
	Query   string
	Missing []admin.Missing
}

// listRoutes serves the list of routes.
func (h *Handler) listRoutes(q *request) error {
	all, state := h.Admin.RouteCounts(q.Context(), q.actor())
	find := q.filter().text("q")
	var list []admin.RouteCount
	for _, r := range all {
		if find == "" || containsFold(find, r.Name, r.Host+r.Path, r.Owner, strings.Join(r.Policies, " ")) {
			list = append(list, r)
		}
	}
	t := &Table{Caption: h.say("routes.title"), Empty: h.say("routes.none"), Columns: []Column{{Key: "route", Title: h.say("routes.route")}, {Key: "place", Title: h.say("routes.place")},
		{Key: "people", Title: h.say("routes.people"), Right: true}, {Key: "also", Title: h.say("routes.also")}, {Key: "upstream", Title: h.say("routes.upstream")}, {Key: "policies", Title: h.say("routes.policies")},
		{Key: "accepts", Title: h.say("routes.accepts")}, {Key: "owner", Title: h.say("routes.owner")}}}
	health, missing := h.health(q)
	for _, r := range paged(t, list, q.URL.Query()) {
		people := number(r.Reach.Users)
		if state.At.IsZero() {
			people = Cell{Text: "…", Mark: "quiet"}
		}
		people.Link = Path + routePath(r.Name)
		t.Rows = append(t.Rows, []Cell{link(r.Name, routePath(r.Name)), text(r.Host + r.Path), people, h.also(r.Reach), h.healthCell(health[r.Name]), text(strings.Join(r.Policies, ", ")),
			text(strings.Join(r.Accept, ", ")), text(r.Owner)})
	}
	return q.show(page{Name: "routes", Content: routesContent{state, find, missing}, Table: t})
}

// health returns how the upstreams of routes are, on all replicas: by route, each replica's.
func (h *Handler) health(q *request) (map[string][]replicaHealth, []admin.Missing) {
	byRoute := map[string][]replicaHealth{}
	all, err := h.Admin.Replicas(q.Context(), q.actor())
	if err != nil {
		return byRoute, all.Missing
	}
	for _, r := range all.Replicas {
		for _, u := range r.Upstreams {
			byRoute[u.Route] = append(byRoute[u.Route], replicaHealth{r.Replica, u})
		}
	}
	return byRoute, all.Missing
}

// replicaHealth is how a replica finds the upstream of a route.
type replicaHealth struct {
	Replica string
	admin.Upstream
}

// healthCell says how many targets are down, by the replica that finds most of them so.
func (h *Handler) healthCell(list []replicaHealth) Cell {
	worst := replicaHealth{}
	for _, one := range list {
		if one.Down > worst.Down || worst.Targets == 0 {
			worst = one
		}
	}
	switch {
	case worst.Targets == 0:
		return text(" ")
	case worst.Down == worst.Targets:
		return Cell{Text: h.say("routes.down"), Mark: "no", Data: "down"}
	case worst.Down > 0:
		return Cell{Text: h.say("routes.some_down", worst.Down, worst.Targets), Mark: "fault"}
	case !worst.Checked:
		return Cell{Text: h.say("routes.unchecked"), Mark: "quiet", Data: "not checked"}
	}
	return Cell{Text: h.say("routes.healthy"), Mark: "yes", Data: "healthy"}
}

// also says who beside people reaches a route.
func (h *Handler) also(c access.Count) Cell {
	switch {
	case c.Anyone:
		return Cell{Text: h.say("routes.anyone"), Mark: "fault"}
	case len(c.Apps) > 0:
		return text(h.apps(c.Apps))
	}
	return text(" ")
}

// apps says how many applications there are.
func (h *Handler) apps(list []string) string {
	if len(list) == 1 {
		return h.say("routes.app")
	}
	return h.say("routes.apps", len(list))
}

// routePath returns the path of the page of a route, below [Path].
func routePath(name string) string { return "/routes/" + url.PathEscape(name) }

func containsFold(part string, texts ...string) bool {
	part = strings.ToLower(part)
	for _, t := range texts {
		if strings.Contains(strings.ToLower(t), part) {
			return true
		}
	}
	return false
}

// routeContent is what the page of a route shows.
type routeContent struct {
	Route   access.RouteFacts
	URL     string
	Rules   []string // names of its policies
	State   admin.Computed
	Count   access.Count
	Health  []healthView
	Also    Cell // who reaches it beside people
	Picture *picture
	Heat    *heatMap // nil: it was not used
	Missing []admin.Missing
	Of      string // whom the picture is of; "" for everybody
	Query   string
	People  string // how many
	Found   string // how many the filter leaves
}

// healthView is what a replica says of the upstream.
type healthView struct {
	Replica string
	Cell    Cell
}

// showRoute serves the page of a route: who reaches it and how.
func (h *Handler) showRoute(q *request) error {
	name := q.PathValue("name")
	route, err := h.Admin.Route(q.Context(), q.actor(), name)
	if err != nil {
		return console.ErrNoPage
	}
	drawn, state, err := h.Admin.RoutePicture(q.Context(), q.actor(), name)
	if err != nil {
		return console.ErrNoPage
	}
	find := q.filter().text("q")
	people := drawn.People
	if find != "" {
		people = drawn.Named(find)
	}
	c := routeContent{Route: route.Facts(), URL: schemeOf(q.Public) + route.Host + route.Path, Rules: route.Policies, State: state, Count: drawn.Count, Also: h.also(drawn.Count), Query: find, People: count(drawn.Users), Found: count(len(people))}
	if strings.HasPrefix(route.Host, "*.") {
		c.URL = "" // there is no address that could be opened
	}
	if id := q.URL.Query().Get("person"); id != "" {
		if drawn, err = h.Admin.PictureOf(q.Context(), q.actor(), name, id); err != nil {
			c.Of, drawn = id, access.Picture{}
		} else {
			c.Of = drawn.People[0].UserName
		}
	}
	if len(drawn.Edges)+len(drawn.Others) > 0 {
		c.Picture = h.draw(drawn, c.Of)
	}
	heat, err := h.Admin.Heat(q.Context(), q.actor(), name, q.zone())
	if err != nil && !errors.Is(err, admin.ErrNoServer) {
		return err
	}
	c.Heat, c.Missing = h.heatOf(heat.Heat, q.zone()), heat.Missing
	health, missing := h.health(q)
	for _, one := range health[name] {
		c.Health = append(c.Health, healthView{one.Replica, h.healthCell([]replicaHealth{one})})
	}
	if len(c.Missing) == 0 {
		c.Missing = missing
	}
	t, err := h.peopleOf(q, name, people)
	if err != nil {
		return err
	}
	return q.show(page{Name: "route", Title: h.say("route.title", name), Content: c, Table: t})
}

// zone returns the time zone that the query names; "" for UTC.
func (q *request) zone() string {
	zone := q.URL.Query().Get("zone")
	if _, err := time.LoadLocation(zone); err != nil {
		return ""
	}
	return zone
}

func schemeOf(public string) string {
	scheme, _, _ := strings.Cut(public, "://")
	return scheme + "://"
}

// peopleOf returns the table of the people who reach a route, with the rules that let them in.
func (h *Handler) peopleOf(q *request, route string, people []*directory.User) (*Table, error) {
	t := &Table{Caption: h.say("route.people"), Empty: h.say("route.nobody"), Columns: []Column{{Key: "name", Title: h.say("route.name")}, {Key: "userName", Title: h.say("route.user")},
		{Key: "by", Title: h.say("route.by")}, {Key: "last_use", Title: h.say("route.used")}, {Key: "id", Title: h.say("route.how")}}}
	shown := paged(t, people, q.URL.Query())
	ways, err := h.Admin.Ways(q.Context(), q.actor(), route, shown)
	if err != nil {
		return nil, err
	}
	by := map[string]string{}
	for _, way := range ways {
		by[way.ID] = way.String()
	}
	used, err := h.lastUses(q, route, shown)
	if err != nil {
		return nil, err
	}
	for _, u := range shown {
		name := u.DisplayName
		if name == "" {
			name = u.UserName
		}
		how := Cell{Text: h.say("route.draw"), Link: "?" + url.Values{"person": {u.ID}}.Encode() + "#how", Data: u.ID, Mark: "short"}
		t.Rows = append(t.Rows, []Cell{link(name, "/people/"+url.PathEscape(u.ID)), text(u.UserName), text(by[u.ID]), at(used[u.ID]), how})
	}
	return t, nil
}

// lastUses returns when people last used a route.
func (h *Handler) lastUses(q *request, route string, people []*directory.User) (map[string]time.Time, error) {
	used := map[string]time.Time{}
	if len(people) == 0 {
		return used, nil
	}
	ask := rollup.UsesQuery{Route: route, Limit: len(people)}
	for _, u := range people {
		ask.Users = append(ask.Users, u.ID)
	}
	uses, err := h.Admin.LastUses(q.Context(), q.actor(), ask)
	if err != nil && !errors.Is(err, admin.ErrNoServer) {
		return nil, err
	}
	for _, u := range uses.Uses {
		used[u.User] = u.Time
	}
	return used, nil
}

// count returns a number as pages show it.
func count(n int) string { return number(n).Shown() }

// more says that there are more than fit.
func (h *Handler) more(n int) string { return h.say("picture.more", count(n)) }
