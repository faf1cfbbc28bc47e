package manage

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"sallyport/admin"
	"sallyport/console"
	"sallyport/duration"
	"sallyport/grant"
)

// requestsContent is a page of requests for access, or of grants.
type requestsContent struct {
	Tabs   []tab
	Note   string
	Text   string // the filter
	Filter bool   // whether there is one
	All    bool   // of grants: those that have ended, too
}

// requestTabs returns the parts of the section, with how many requests wait and how many grants run.
func (q *request) requestTabs(here string, open, running int) []tab {
	return q.tabs("requests", here, map[string]int{"": open, "grants": running}, "", "decided", "grants")
}

// requestLists returns every request and every grant that is shown.
func (q *request) requestLists(ended bool) (requests []admin.RequestView, grants []admin.Grant, open, running int, err error) {
	if requests, err = q.handler.Admin.Requests(q.Context(), q.actor()); err != nil {
		return nil, nil, 0, 0, err
	}
	grants, err = q.handler.Admin.Grants(q.Context(), q.actor(), ended)
	for _, r := range requests {
		if r.State == grant.StateOpen {
			open++
		}
	}
	for _, g := range grants {
		if g.State == admin.GrantOpen {
			running++
		}
	}
	return requests, grants, open, running, err
}

// openRequests serves the requests for access that wait.
func (h *Handler) openRequests(q *request) error {
	requests, _, open, running, err := q.requestLists(false)
	if err != nil {
		return err
	}
	requests = slices.DeleteFunc(requests, func(r admin.RequestView) bool { return r.State != grant.StateOpen })
	slices.SortStableFunc(requests, func(a, b admin.RequestView) int { return a.Made.Compare(b.Made) }) // who waits longest is first
	t := h.table("requests", "person", "policy", "route", "reason", "approvals", "made", "expires", "id")
	t.Empty = h.say("requests.none_open")
	for _, r := range paged(t, requests, q.URL.Query()) {
		t.Rows = append(t.Rows, []Cell{h.personCell(r), text(r.Policy), link(r.Route, "/routes/"+r.Route), text(r.Reason), text(approvalsOf(r)), at(r.Made), at(r.Expires),
			{Text: h.openText(q, r), Data: r.ID, Link: Path + "/requests/" + r.ID}})
	}
	return q.show(page{Name: "requests", Content: requestsContent{Tabs: q.requestTabs("", open, running), Note: h.say("requests.note")}, Table: t})
}

// openText is what the link to an open request says.
func (h *Handler) openText(q *request, r admin.RequestView) string {
	switch {
	case r.Mine:
		return h.say("requests.yours")
	case r.MayDecide && q.Admin:
		return h.say("requests.decide")
	}
	return h.say("requests.look")
}

func (h *Handler) personCell(r admin.RequestView) Cell {
	name := r.DisplayName
	if name == "" {
		name = r.Person.UserName
	}
	return link(name, "/people/"+r.Person.ID)
}

// approvalsOf says how many approvals of those that are needed a request has.
func approvalsOf(r admin.RequestView) string {
	if r.Needed == 0 { // it cannot be requested any more
		return fmt.Sprint(len(r.Approvals))
	}
	return fmt.Sprintf("%d / %d", len(r.Approvals), r.Needed)
}

// stateMarks are the classes of the states of requests.
var stateMarks = map[grant.State]string{grant.StateOpen: "fault", grant.StateApproved: "yes", grant.StateDenied: "no", grant.StateWithdrawn: "quiet", grant.StateExpired: "quiet"}

// decidedRequests serves the requests for access that were decided lately.
func (h *Handler) decidedRequests(q *request) error {
	requests, _, open, running, err := q.requestLists(false)
	if err != nil {
		return err
	}
	f := q.filter()
	word := strings.ToLower(f.text("text"))
	requests = slices.DeleteFunc(requests, func(r admin.RequestView) bool {
		return r.State == grant.StateOpen || !hasText(word, r.Person.UserName, r.DisplayName, r.Policy, r.Route, r.Reason, r.By, r.Why, string(r.State))
	})
	t := h.table("requests", "person", "policy", "route", "reason", "state", "by", "why", "decided", "id")
	t.Empty = h.say("requests.none_decided")
	for _, r := range paged(t, requests, q.URL.Query()) {
		t.Rows = append(t.Rows, []Cell{h.personCell(r), text(r.Policy), link(r.Route, "/routes/"+r.Route), text(r.Reason), h.stateCell(r.State), text(r.By), text(r.Why), at(r.Decided),
			{Text: h.say("requests.look"), Data: r.ID, Link: Path + "/requests/" + r.ID}})
	}
	return q.show(page{Name: "requests", Title: h.say("requests.decided_title"),
		Content: requestsContent{Tabs: q.requestTabs("decided", open, running), Text: f.text("text"), Filter: true}, Table: t})
}

func (h *Handler) stateCell(s grant.State) Cell {
	return Cell{Text: h.say("requests.state." + string(s)), Mark: stateMarks[s]}
}

// hasText reports whether one of some texts has a word, which is in lower case.
func hasText(word string, texts ...string) bool {
	return word == "" || slices.ContainsFunc(texts, func(s string) bool { return strings.Contains(strings.ToLower(s), word) })
}

// grantMarks are the classes of the states of grants.
var grantMarks = map[admin.GrantState]string{admin.GrantOpen: "yes", admin.GrantEnded: "quiet", admin.GrantRevoked: "no", admin.GrantDead: "no", admin.GrantUnused: "fault"}

// grants serves the grants that run, or with all those that have ended, too.
func (h *Handler) grants(q *request) error {
	f := q.filter()
	all := f.text("all") != ""
	_, grants, _, running, err := q.requestLists(all)
	if err != nil {
		return err
	}
	open := h.Admin.OpenRequests()
	word := strings.ToLower(f.text("text"))
	grants = slices.DeleteFunc(grants, func(g admin.Grant) bool {
		return !hasText(word, append([]string{g.Person.UserName, g.Policy, g.Route, g.EndedBy, g.Why, string(g.State)}, g.By...)...)
	})
	t := h.table("requests", "person", "policy", "route", "state", "left", "began", "until", "approved_by", "id")
	t.Empty = h.say("requests.none_granted")
	for _, g := range paged(t, grants, q.URL.Query()) {
		left := text("")
		if g.State == admin.GrantOpen {
			left = text(short(time.Until(g.Until)))
		}
		t.Rows = append(t.Rows, []Cell{link(g.Person.UserName, "/people/"+g.Person.ID), text(g.Policy), link(g.Route, "/routes/"+g.Route), h.grantCell(g.State), left,
			at(g.Began), at(g.End()), text(strings.Join(g.By, ", ")), {Text: h.say("requests.look"), Data: g.ID, Link: Path + "/requests/grants/" + g.ID}})
	}
	return q.show(page{Name: "requests", Title: h.say("requests.grants_title"),
		Content: requestsContent{Tabs: q.requestTabs("grants", open, running), Text: f.text("text"), Filter: true, All: all}, Table: t})
}

func (h *Handler) grantCell(s admin.GrantState) Cell {
	return Cell{Text: h.say("requests.grant." + string(s)), Mark: grantMarks[s]}
}

// accessContent is the page of one request for access.
type accessContent struct {
	Request  admin.RequestView
	State    Cell
	Person   Cell
	Reason   string
	Others   string
	Deciders string
	Choices  []choice
	Grant    string // the path of the grant that came of it; "" if none did
}

// accessRequest serves one request for access.
func (h *Handler) accessRequest(q *request) error {
	r, err := h.Admin.Request(q.Context(), q.actor(), q.PathValue("id"))
	if errors.Is(err, admin.ErrNoRequest) {
		return q.missing(h.say("why.no_request"), "/requests")
	}
	if err != nil {
		return err
	}
	content := accessContent{Request: r, State: h.stateCell(r.State), Person: h.personCell(r), Others: namesAnd(h, r.Others, r.OthersCount),
		Deciders: namesAnd(h, r.Approvers, len(r.Approvers)), Choices: durationChoices(r.Max, r.Usual)}
	if r.Grant != "" {
		content.Grant = "/requests/grants/" + r.Grant
	}
	return q.show(page{Name: "access", Title: h.say("access.title", content.Person.Text), Content: content})
}

// lengths are the times for which access can be approved.
var lengths = []time.Duration{15 * time.Minute, 30 * time.Minute, time.Hour, 2 * time.Hour, 4 * time.Hour, 8 * time.Hour, 24 * time.Hour, 3 * 24 * time.Hour, 7 * 24 * time.Hour, 30 * 24 * time.Hour}

// durationChoices returns the times up to most, the usual one chosen.
func durationChoices(most, usual time.Duration) (list []choice) {
	for _, d := range lengths {
		if d < most {
			list = append(list, choice{lengthText(d), lengthText(d), d == usual})
		}
	}
	if most > 0 {
		list = append(list, choice{lengthText(most), lengthText(most), most == usual})
	}
	return list
}

// lengthText writes a duration without units of which there are none, such as 4h or 7d.
func lengthText(d time.Duration) string {
	text := duration.Format(d)
	for _, none := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(text, none) {
			text = text[:len(text)-2]
		}
	}
	return text
}

// approve approves a request for access.
func (h *Handler) approve(q *request) error {
	back := "/requests/" + q.PathValue("id")
	d, err := duration.Parse(q.PostForm.Get("for"))
	if err != nil || d <= 0 {
		return q.finish(admin.ErrDuration, back, "", back)
	}
	_, err = h.Admin.Approve(q.Context(), q.actor(), q.PathValue("id"), d, q.PostForm.Get("why"))
	return q.finish(err, back, "approved", back)
}

// deny denies a request for access.
func (h *Handler) deny(q *request) error {
	back := "/requests/" + q.PathValue("id")
	return q.finish(h.Admin.Deny(q.Context(), q.actor(), q.PathValue("id"), q.PostForm.Get("why")), back, "denied", back)
}

// grantContent is the page of one grant.
type grantContent struct {
	Grant    admin.Grant
	State    Cell
	Left     string // "" if it does not run
	Request  string // the path of the request that it came of
	Approved string
	Ends     time.Time
}

// grantPage serves one grant.
func (h *Handler) grantPage(q *request) error {
	grants, err := h.Admin.Grants(q.Context(), q.actor(), true)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(grants, func(g admin.Grant) bool { return g.ID == q.PathValue("id") })
	if i < 0 {
		return q.missing(h.say("why.no_grant"), "/requests/grants")
	}
	g := grants[i]
	content := grantContent{Grant: g, State: h.grantCell(g.State), Request: "/requests/" + g.Request, Approved: strings.Join(g.By, ", "), Ends: g.End()}
	if g.State == admin.GrantOpen {
		content.Left = short(time.Until(g.Until))
	}
	return q.show(page{Name: "grant", Title: h.say("grant.title", g.Person.UserName), Content: content})
}

// revokeGrant ends a grant.
func (h *Handler) revokeGrant(q *request) error {
	back := "/requests/grants/" + q.PathValue("id")
	if q.PathValue("id") == "" {
		return console.ErrNoPage
	}
	return q.finish(h.Admin.RevokeGrant(q.Context(), q.actor(), q.PathValue("id"), q.PostForm.Get("why")), back, "revoked_grant", back)
}
