package console

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"sallyport/admin"
	"sallyport/console/pins"
)

// The paths of what the portal leads to, on the host of public_url.
const (
	PinsPath  = "/.sallyport/pins" // pins and unpins an application
	OfferPath = "/.sallyport/ask"  // asks for access to one

	signOutPath = "/.sallyport/logout"
)

// Portal is the page with the applications that a person may open.
type Portal struct {
	Person      Person
	Routes      []Route
	Requestable []Route // that the person may not open, and may ask for
	Expires     string  // when the session ends at the latest, as text
	SignOut     string  // where the button posts to
	Sessions    string  // the page of the person's own sessions; "" for no link
	Console     string  // the console; "" for no link
	Notice      string  // why something was not done; "" for nothing

	OtherAccount string // where to sign in with another account; "" for no link

	Access *Portion // nil if there is nothing to show of requests for access
}

// Route is one application of the portal.
type Route struct {
	Name string // of the route
	URL  string
	Tile
	Owner  string
	Pinned bool
	Used   time.Time // by this person; zero if that is not known
	Ask    string    // where to ask for access
	Asked  string    // the page of a request that waits; "" if there is none
}

// Shown returns how the portal calls the application.
func (r Route) Shown() string { return cmp.Or(strings.TrimSpace(r.Title), r.Name) }

// Address returns the URL as people read it.
func (r Route) Address() string {
	_, address, _ := strings.Cut(r.URL, "://")
	return strings.TrimSuffix(address, "/")
}

// Letter returns what stands in place of an icon.
func (r Route) Letter() string {
	for _, c := range r.Shown() {
		if unicode.IsLetter(c) || unicode.IsDigit(c) {
			return string(unicode.ToUpper(c))
		}
	}
	first, _ := utf8.DecodeRuneInString(r.Shown())
	return string(first)
}

// PinsPath returns where the application is pinned and unpinned; "" for nowhere.
func (r Route) PinsPath() string {
	if r.Ask != "" || r.Asked != "" {
		return ""
	}
	return PinsPath
}

// Section is the applications below one heading.
type Section struct {
	Title  string // "" for none
	Routes []Route
}

// Sections returns the applications below their headings: those that are pinned, then the groups in the order of the
// configuration, then those without one.
func (p Portal) Sections() (sections []Section) {
	add := func(title string, r Route) {
		i := slices.IndexFunc(sections, func(s Section) bool { return s.Title == title })
		if i < 0 {
			i, sections = len(sections), append(sections, Section{Title: title})
		}
		sections[i].Routes = append(sections[i].Routes, r)
	}
	for _, r := range p.Routes {
		if r.Pinned {
			add("Pinned", r)
		}
	}
	for _, r := range p.Routes {
		if !r.Pinned && r.Group != "" {
			add(r.Group, r)
		}
	}
	rest := ""
	if len(sections) > 0 {
		rest = "Other applications"
	}
	for _, r := range p.Routes {
		if !r.Pinned && r.Group == "" {
			add(rest, r)
		}
	}
	return sections
}

// Find reports whether there are so many applications that the page offers to search them.
func (p Portal) Find() bool { return len(p.Routes)+len(p.Requestable) > 6 }

// Portal writes portal.
func (p *Pages) Portal(w http.ResponseWriter, portal Portal) {
	p.show(w, http.StatusOK, "portal", portal)
}

// Reachable is a route as far as the rules say whether a person may open it.
type Reachable struct {
	Name, URL, Owner string
	Open             bool // the person may open it in a browser
}

// Reach is what the rules say of a person, for the portal.
type Reach struct {
	Routes       []Reachable // that accept sessions, in the order of the configuration
	Console      string      // where the console is; "" if the person may not look at it
	OtherAccount string      // where to sign in with another account
}

// Portal shows the portal to c, who is signed in. c has no session if a bearer token proves who they are.
func (h *Handler) Portal(w http.ResponseWriter, r *http.Request, c Caller, reach Reach) {
	h.pagesFor(c).Portal(w, h.portal(r.Context(), c, reach))
}

func (h *Handler) portal(ctx context.Context, c Caller, reach Reach) Portal {
	page := Portal{Person: c.Person, SignOut: signOutPath, Console: reach.Console, OtherAccount: reach.OtherAccount}
	if c.Session != nil {
		page.Expires, page.Sessions = FormatTime(c.Session.Expires), SessionsPath
		page.Access = h.Portion(ctx, c)
	}
	pinned, used := h.pinned(ctx, c), h.used(ctx, c)
	offers := h.offers(c)
	for _, route := range reach.Routes {
		shown := h.shown(route)
		if shown.Hidden {
			continue
		}
		shown.Pinned, shown.Used = slices.Contains(pinned, route.Name), used[route.Name]
		if route.Open {
			page.Routes = append(page.Routes, shown)
			continue
		}
		offer, ok := offers[route.Name]
		if !ok {
			continue
		}
		if offer.Open != nil {
			shown.Asked = pageOf(offer.Open.ID)
		}
		shown.Ask = offerOf(route.Name)
		page.Requestable = append(page.Requestable, shown)
	}
	return page
}

// shown returns a route as the portal shows it.
func (h *Handler) shown(route Reachable) Route {
	l := h.pages.look.Load()
	shown := Route{Name: route.Name, URL: route.URL, Owner: route.Owner, Tile: l.Tiles[route.Name]}
	shown.Icon = l.icons[route.Name]
	return shown
}

// readTimeout is how long the portal waits for what it can do without.
const readTimeout = time.Second

// pinned returns the routes that c has pinned; none if that cannot be read.
func (h *Handler) pinned(ctx context.Context, c Caller) []string {
	if h.pins == nil || c.User == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	routes, _ := h.pins.Of(ctx, c.User.ID)
	return routes
}

// used returns when c last used each route, as far as that is known.
func (h *Handler) used(ctx context.Context, c Caller) map[string]time.Time {
	if h.admin == nil || c.User == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	uses, _ := h.admin.OwnUses(ctx, admin.Person(c.User, c.Address), h.asks.Allow(""))
	return uses
}

// offers returns what c may ask for, by route.
func (h *Handler) offers(c Caller) map[string]admin.Offer {
	if h.admin == nil || c.User == nil || c.Session == nil {
		return nil
	}
	return h.admin.Requestable(c.User)
}

// pin pins or unpins an application, and leads back to the portal.
func (h *Handler) pin(w http.ResponseWriter, r *http.Request, c Caller) error {
	form, err := h.formOf(w, r, c, http.MethodPost)
	if err != nil {
		return err
	}
	names, route, next := h.admin.RouteSet(), form.Get("route"), c.Public+"/"
	switch do := form.Get("do"); {
	case h.pins == nil || do != "pin" && do != "unpin":
		return ErrForm
	case !names[route]: // nobody learns from it which routes there are
	case do == "pin":
		next += "#app-" + route
		err = h.pins.Pin(r.Context(), c.User.ID, route, func(name string) bool { return names[name] })
	default:
		next += "#app-" + route
		err = h.pins.Unpin(r.Context(), c.User.ID, route)
	}
	if errors.Is(err, pins.ErrTooMany) {
		h.pagesFor(c).Error(w, Error{Status: http.StatusConflict, Title: "That was not pinned", Request: c.Request, Portal: "/",
			Detail: "You have pinned as many applications as you can. Unpin one first."})
		return nil
	}
	if err != nil {
		return err
	}
	w.Header().Set("Location", next)
	w.WriteHeader(http.StatusSeeOther)
	return nil
}
