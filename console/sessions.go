package console

import (
	"cmp"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"time"

	"sallyport/admin"
)

// SessionsPath is the path of the page with a person's own sessions.
const SessionsPath = "/.sallyport/sessions"

// maxSessionLines is how many sessions the page shows.
const maxSessionLines = 100

// Sessions is the page with the sessions of a person.
type Sessions struct {
	Person Person
	Lines  []SessionLine // the one in which the page is read first, then those used last
	More   int           // sessions that are not shown
	Action string        // where the forms post to
	Notice string        // what was done, or why something was not; "" for nothing
}

// SessionLine is one session in a list.
type SessionLine struct {
	ID                   string
	Browser              string // browser and system
	Agent                string // what the browser says of itself
	Address              string
	Began, Used, Expires time.Time
	This                 bool // the page is read in it
	BreakGlass           bool
}

// Others reports whether there are sessions besides the one in which the page is read.
func (s Sessions) Others() bool {
	return s.More > 0 || slices.ContainsFunc(s.Lines, func(l SessionLine) bool { return !l.This })
}

// Sessions writes s.
func (p *Pages) Sessions(w http.ResponseWriter, status int, s Sessions) {
	p.show(w, status, "sessions", s)
}

// ownSessions serves the page with the sessions of the person, who ends some there. On other hosts it leads to the page.
func (h *Handler) ownSessions(w http.ResponseWriter, r *http.Request, query url.Values, c Caller) error {
	read := r.Method == http.MethodGet || r.Method == http.MethodHead
	switch {
	case read && !c.OnPublicHost():
		w.Header().Set("Location", c.Public+SessionsPath)
		w.WriteHeader(http.StatusFound)
		return nil
	case !c.OnPublicHost():
		return &MethodError{[]string{http.MethodGet, http.MethodHead}}
	case read && c.User == nil:
		return ErrNotSignedIn
	case read:
		return h.showSessions(w, r, c, http.StatusOK, sessionNotices[query.Get("done")])
	}
	form, err := h.formOf(w, r, c, http.MethodGet, http.MethodHead, http.MethodPost)
	if err != nil {
		return err
	}
	return h.endSessions(w, r, form, c)
}

// sessionNotices are what the page says after something was done, by the word in its query.
var sessionNotices = map[string]string{
	"ended":  "The session has ended. Whoever used it has to sign in again.",
	"others": "All other sessions have ended.",
}

func (h *Handler) showSessions(w http.ResponseWriter, r *http.Request, c Caller, status int, notice string) error {
	sessions, err := h.admin.OwnSessions(r.Context(), c.Actor())
	if err != nil {
		return err
	}
	page := Sessions{Person: c.Person, Action: SessionsPath, Notice: notice}
	for _, s := range sessions {
		page.Lines = append(page.Lines, SessionLine{ID: s.ID, Browser: describeAgent(s.Agent), Agent: s.Agent, Address: s.Address, Began: s.Began, Used: s.Used,
			Expires: s.Expires, This: s.ID == c.Session.ID, BreakGlass: s.BreakGlass != ""})
	}
	slices.SortFunc(page.Lines, func(a, b SessionLine) int {
		if a.This != b.This {
			return map[bool]int{true: -1, false: 1}[a.This]
		}
		return cmp.Or(b.Used.Compare(a.Used), cmp.Compare(a.ID, b.ID))
	})
	if more := len(page.Lines) - maxSessionLines; more > 0 {
		page.Lines, page.More = page.Lines[:maxSessionLines], more
	}
	h.pagesFor(c).Sessions(w, status, page)
	return nil
}

// endSessions ends what the form names, and leads back to the page.
func (h *Handler) endSessions(w http.ResponseWriter, r *http.Request, form url.Values, c Caller) (err error) {
	ctx, actor, next := r.Context(), c.Actor(), c.Public+SessionsPath
	switch form.Get("do") {
	case "end":
		id := form.Get("session")
		if id == c.Session.ID {
			next = c.Public + signOutPath // which says what to do at the provider
		} else {
			next += "?done=ended"
		}
		err = h.admin.EndOwnSession(ctx, actor, id)
	case "others":
		next += "?done=others"
		err = h.admin.EndOwnSessions(ctx, actor, c.Session.ID)
	case "all":
		next = c.Public + signOutPath
		err = h.admin.EndOwnSessions(ctx, actor, "")
	default:
		return ErrForm
	}
	switch {
	case errors.Is(err, admin.ErrNoSession):
		return h.showSessions(w, r, c, http.StatusConflict, "This session had ended already. Nothing was changed.")
	case err != nil:
		return err
	}
	w.Header().Set("Location", next)
	w.WriteHeader(http.StatusSeeOther)
	return nil
}
