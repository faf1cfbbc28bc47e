// Package manage serves the console: the pages on which administrators and auditors look at what Sallyport does, and on
// which administrators act.
//
// The proxy decides who may look and who may act, by [Settings.Policy], as it decides about every route. What the pages
// show comes from packages admin, access and audit/rollup, which the command line stands on too; nothing is decided here.
//
// Each page is one html/template in one layout, with at most one module of JavaScript; every page can be read without it.
// Everything comes from this site, and nothing is inline, so that the Content-Security-Policy can forbid the rest.
package manage

import (
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync"

	"sallyport/admin"
	"sallyport/audit"
	"sallyport/console"
	"sallyport/session"
	"sallyport/throttle"
)

// ErrTooMany means that too many requests came from one address.
var ErrTooMany = errors.New("too many requests for pages of the console came from this address")

// How many requests one address may send.
const requestsPerSecond, requestBurst = 50, 500

// Parts are what a [Handler] is built from.
type Parts struct {
	Admin    *admin.Admin
	Sessions *session.Sessions // seal the tokens of forms
	Pages    *console.Pages    // for errors
	Log      *slog.Logger
}

// Handler serves the console.
type Handler struct {
	Parts
	parse     func() error // reads templates, once
	templates templates    // once parse has returned
	mux       *http.ServeMux
	requests  *throttle.Throttle
	once      once
	streams   open // of server-sent events
	together  together
	followed  following
	exports   open // of the record
}

// New returns a Handler.
func New(parts Parts) *Handler {
	h := &Handler{Parts: parts, requests: throttle.New(requestsPerSecond, requestBurst), mux: http.NewServeMux()}
	h.parse = sync.OnceValue(func() (err error) {
		h.templates, err = parsedPages()
		return err
	})
	h.routes()
	return h
}

// routes says which function serves which page. Every page has its place in the navigation: see [sections].
func (h *Handler) routes() {
	h.get("/", h.overview)
	h.get("/overview/charts", h.overviewCharts)
	h.get("/overview/events", h.overviewEvents)
	h.get("/live", h.live)
	h.get("/live/events", h.liveEvents)
	h.post("/live/end", h.endLive)
	h.post("/live/end-all", h.endUserLive)
	h.get("/decisions", h.decisions)
	h.get("/decisions/events", h.decisionEvents)
	h.get("/decisions/{request}", h.decision)
	h.get("/provisioning", h.pushes)
	h.get("/provisioning/pushes/{number}", h.push)
	h.get("/provisioning/tokens", h.tokens)
	h.post("/provisioning/tokens", h.createToken)
	h.get("/provisioning/tokens/{id}", h.tokenPage)
	h.post("/provisioning/tokens/{id}/rotate", h.rotateToken)
	h.post("/provisioning/tokens/{id}/revoke", h.revokeToken)
	h.get("/provisioning/held", h.held)
	h.post("/provisioning/held/{decision}", h.decideHeld)
	h.get("/record", h.record)
	h.get("/record/lines/{number}", h.line)
	h.get("/record/export", h.exportRecord)
	h.get("/record/receipts", h.receipts)
	h.get("/record/receipts/{user}", h.receiptState)
	h.get("/record/receipts/{user}/{form}", h.receipt)
	h.get("/reviews", h.reviews)
	h.post("/reviews", h.startReview)
	h.get("/reviews/{id}", h.review)
	h.post("/reviews/{id}/decide", h.decideRows)
	h.post("/reviews/{id}/close", h.closeReview)
	h.get("/reviews/{id}/export", h.exportReview)
	h.get("/provisioning/drift", h.drift)
	h.get("/requests", h.openRequests)
	h.get("/requests/decided", h.decidedRequests)
	h.get("/requests/grants", h.grants)
	h.get("/requests/grants/{id}", h.grantPage)
	h.post("/requests/grants/{id}/revoke", h.revokeGrant)
	h.get("/requests/{id}", h.accessRequest)
	h.post("/requests/{id}/approve", h.approve)
	h.post("/requests/{id}/deny", h.deny)
	h.peopleRoutes()
	h.ruleRoutes()
}

// Viewer is who looks at a page.
type Viewer struct {
	console.Caller

	Admin   bool // they may act, after a recent sign-in
	Resumed bool // the form was kept while they signed in; it was sent in an earlier session of theirs
}

// actor returns the viewer as one who may see everything, and act if they are an administrator.
func (v Viewer) actor() admin.Actor {
	actor := v.Actor()
	actor.Role = audit.RoleAuditor
	if v.Admin {
		actor.Role = audit.RoleAdmin
	}
	return actor
}

// Serve responds to a request for path, which is canonical and below [Path], or returns why it did not respond: ErrTooMany,
// or one of the errors of package console.
func (h *Handler) Serve(w http.ResponseWriter, r *http.Request, path string, v Viewer) error {
	if !h.requests.Allow(v.Address) {
		return ErrTooMany
	}
	below := strings.TrimPrefix(path, Path)
	if below == "" {
		http.Redirect(w, r, Path+"/", http.StatusFound)
		return nil
	}
	if err := h.parse(); err != nil {
		return err
	}
	inner := r.Clone(r.Context())
	inner.URL.Path, inner.URL.RawPath = below, ""
	if _, pattern := h.mux.Handler(inner); pattern == "" {
		return h.unknown(inner)
	}
	w.Header().Set("Cross-Origin-Resource-Policy", "same-origin")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	q := &request{ResponseWriter: w, Request: inner, Viewer: v, handler: h}
	h.mux.ServeHTTP(q, inner) // sets the values of the pattern
	return q.err
}

// unknown returns the error for a request that no page accepts.
func (h *Handler) unknown(r *http.Request) error {
	other := *r
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		other.Method = method
		if _, pattern := h.mux.Handler(&other); pattern != "" {
			return &console.MethodError{Allowed: allowed[method]}
		}
	}
	return console.ErrNoPage
}

var allowed = map[string][]string{http.MethodGet: {http.MethodGet, http.MethodHead}, http.MethodPost: {http.MethodPost}}

// get registers what serves a page. It may return an error of package console, or one that says what was wrong.
func (h *Handler) get(pattern string, serve func(*request) error) {
	h.handle("GET "+exact(pattern), serve)
}

// post registers what carries out an action. The form has been read, and its token is right.
func (h *Handler) post(pattern string, act func(*request) error) {
	h.handle("POST "+exact(pattern), func(q *request) error {
		if err := q.readForm(); err != nil {
			return err
		}
		return act(q)
	})
}

func (h *Handler) handle(pattern string, serve func(*request) error) {
	h.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		q := w.(*request) //nolint:errcheck,forcetypeassert // Serve passes one
		q.Request = r
		if q.err = serve(q); errors.Is(q.err, admin.ErrPlace) { // of the address
			q.err = errors.Join(console.ErrNoPage, q.err)
		}
	})
}

// exact returns a pattern that matches / alone, and nothing below it.
func exact(pattern string) string {
	if strings.HasSuffix(pattern, "/") {
		return pattern + "{$}"
	}
	return pattern
}
