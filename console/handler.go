package console

import (
	"errors"
	"net/http"
	"net/url"
	"strings"

	"sallyport/admin"
	"sallyport/audit"
	"sallyport/console/pins"
	"sallyport/directory"
	"sallyport/session"
	"sallyport/throttle"
)

// Errors with which [Handler.Serve] does not respond: the proxy does.
var (
	// ErrNoPage means that there is no page at the path.
	ErrNoPage = errors.New("no such internal path")
	// ErrNotSignedIn means that the page is for callers who are signed in.
	ErrNotSignedIn = errors.New("the page is for callers who are signed in")
	// ErrCrossOrigin means that a page of another origin sent the form.
	ErrCrossOrigin = errors.New("a page of another origin sent the form")
	// ErrTooMany means that too many attempts came from the address of the caller.
	ErrTooMany = errors.New("too many attempts came from this address")
	// ErrForm means that the form that was sent cannot be read.
	ErrForm = errors.New("the form cannot be read")
	// ErrNotRecorded means that nothing was done, since it could not be recorded.
	ErrNotRecorded = admin.ErrNotRecorded
)

// MethodError means that the page does not accept the method of the request.
type MethodError struct{ Allowed []string }

func (e *MethodError) Error() string { return "the page does not accept this method" }

// Caller is who asks for a page, as the proxy found out.
type Caller struct {
	User    *directory.User  // nil if nobody is signed in
	Session *session.Session // nil if nobody is signed in
	Person  Person           // the user, as pages address them
	Host    string           // of the request
	Address string           // of the client
	Request string           // the id of the request, shown to the caller
	Public  string           // the origin of public_url
	Login   string           // the host of public_url

	// Target returns what a path and query, or a URL, leads to on the host of the request; false if it leads to no route
	// there.
	Target func(text string) (Target, bool)
	// Route returns what the rules say of a route and the caller, by its name; false if there is none that browsers open, or
	// if the caller may open nothing.
	Route func(name string) (Reachable, bool)
}

// OnPublicHost reports whether the request is for the host of public_url.
func (c Caller) OnPublicHost() bool { return c.Host == c.Login }

// Target is what a person had asked for.
type Target struct {
	Route     string
	URL, Path string // without the query
	Query     string // with its leading "?"; "" if there is none
}

// Actor returns the caller as the one who acts. What is done in a break-glass session is recorded as such.
func (c Caller) Actor() admin.Actor {
	actor := admin.Person(c.User, c.Address)
	if c.Session.IsBreakGlass() {
		actor.Session = audit.BreakGlass
	}
	return actor
}

// How often one address may send a form. Many people may share an address, so the limit is far above what one person does.
const postsPerSecond, postBurst = 5, 100

// How often portals ask all replicas when their people last used applications; the others ask this one alone.
const asksPerSecond, askBurst = 2, 10

const maxForm = 64 << 10 // bytes

// Parts are what a [Handler] is built from.
type Parts struct {
	Pages *Pages
	Admin *admin.Admin // nil: people do nothing on the pages
	Pins  *pins.Pins   // nil: the portal pins nothing
}

// Handler serves the pages with which people act, below /.sallyport on the host of public_url. What they do is done by
// package admin.
type Handler struct {
	pages *Pages
	admin *admin.Admin       // may be nil
	pins  *pins.Pins         // may be nil
	wrong *throttle.Throttle // break-glass codes that are not valid
	posts *throttle.Throttle // forms of people who are signed in
	asks  *throttle.Throttle // questions of the portal to all replicas
}

// NewHandler returns a Handler.
func NewHandler(parts Parts) *Handler {
	return &Handler{pages: parts.Pages, admin: parts.Admin, pins: parts.Pins,
		wrong: throttle.New(wrongPerSecond, wrongBurst), posts: throttle.New(postsPerSecond, postBurst), asks: throttle.New(asksPerSecond, askBurst)}
}

// Serve responds to a request for path, which is canonical, or returns why it did not respond: one of the errors of this
// package, or another error if the page cannot be served now.
func (h *Handler) Serve(w http.ResponseWriter, r *http.Request, path string, query url.Values, c Caller) error {
	switch {
	case strings.HasPrefix(path, AssetsPath+"/"):
		return h.asset(w, r, path, c)
	case h.admin == nil:
		return ErrNoPage
	case path == SessionsPath:
		return h.ownSessions(w, r, query, c)
	case path == AskPath:
		return h.ask(w, r, c)
	case !c.OnPublicHost():
		return ErrNoPage
	case path == CodePath:
		return h.code(w, r, query, c)
	case path == OfferPath:
		return h.offer(w, r, query.Get("route"), c)
	case path == PinsPath:
		return h.pin(w, r, c)
	case path == RequestsPath || strings.HasPrefix(path, RequestsPath+"/"):
		return h.requests(w, r, path, c)
	}
	return ErrNoPage
}

// pagesFor returns the pages as c sees them.
func (h *Handler) pagesFor(c Caller) *Pages { return h.pages.For(c.Person, c.Session) }
