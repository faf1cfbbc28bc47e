package console

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"sallyport/admin"
	"sallyport/directory"
	"sallyport/grant"
)

// The paths of requests for access.
const (
	AskPath      = "/.sallyport/request"  // on every host: makes one
	RequestsPath = "/.sallyport/requests" // on the host of public_url: the list; each has a page below
)

// Denial is a request that was denied by rules, and by which its user may ask for access.
type Denial struct {
	User         *directory.User
	Route        string
	Method, Path string // Path as it stands in a URL
	Query        string // with its leading "?"; "" if there is none
	Public       string // the origin of public_url
}

// Offer returns what the page of a denial says about asking for access; nil if the user may not ask.
func (h *Handler) Offer(d Denial) *Access {
	if h.admin == nil || d.User == nil {
		return nil
	}
	offers := h.admin.OffersFor(d.User, d.Route, d.Method, d.Path)
	if len(offers) == 0 {
		return nil
	}
	return accessOf(best(offers), d.Public, accessForm{AskPath, d.Path + d.Query})
}

// best returns the offer that a person is told of: the one that they have asked for, or else the first that somebody may
// approve, or else the first.
func best(offers []admin.Offer) admin.Offer {
	for _, is := range []func(admin.Offer) bool{func(o admin.Offer) bool { return o.Open != nil }, func(o admin.Offer) bool { return !o.NoApprovers }} {
		if i := slices.IndexFunc(offers, is); i >= 0 {
			return offers[i]
		}
	}
	return offers[0]
}

func accessOf(o admin.Offer, public string, form accessForm) *Access {
	switch {
	case o.Open != nil:
		return &Access{Page: public + pageOf(o.Open.ID)}
	case o.NoApprovers:
		return &Access{}
	}
	return &Access{Form: &AskForm{Action: form.action, Policy: o.Policy, URL: form.url, NeedsReason: o.NeedsReason, Longest: formatLength(o.Max)}}
}

func pageOf(id string) string { return RequestsPath + "/" + id }

// ask makes the request for access of a form that the page of a denial had. Nothing in the form is trusted: its address
// must lead to a route on this host, and the person must be offered the policy there.
func (h *Handler) ask(w http.ResponseWriter, r *http.Request, c Caller) error {
	form, err := h.formOf(w, r, c, http.MethodPost)
	if err != nil {
		return err
	}
	target, ok := c.Target(form.Get("url"))
	if !ok {
		h.pagesFor(c).Ask(w, Ask{Status: http.StatusBadRequest, Person: c.Person, Title: "This form is not valid", Back: "/", Request: c.Request,
			Why: "It does not say what you want to open on this host, or is too old. Open the application again, and ask from the page that denies it."})
		return nil
	}
	return h.makeRequest(w, r, c, form, target, accessForm{AskPath, target.Path + target.Query})
}

// accessForm says where a form to ask for access leads, and what it names.
type accessForm struct{ action, url string }

// makeRequest makes the request for access of a form, for target. Another try is by the form again.
func (h *Handler) makeRequest(w http.ResponseWriter, r *http.Request, c Caller, form url.Values, target Target, again accessForm) error {
	page := Ask{Person: c.Person, Back: target.URL + target.Query, URL: target.URL, Request: c.Request}
	asking := admin.Asking{User: c.User, Route: target.Route, Policy: form.Get("policy"), URL: target.URL, Reason: strings.TrimSpace(form.Get("reason"))}
	actor := c.Actor()
	request, err := h.admin.Ask(r.Context(), actor, asking)
	if err != nil {
		return h.notAsked(w, c, err, page, asking, again)
	}
	view, err := h.admin.Request(r.Context(), actor, request.ID)
	if err != nil {
		return err
	}
	h.pagesFor(c).Asked(w, Asked{Person: c.Person, URL: view.URL, Reason: view.Reason, Expires: FormatTime(view.Expires),
		Deciders: view.Approvers, Needed: view.Needed, Page: c.Public + pageOf(view.ID), Back: page.Back})
	return nil
}

// Offering is the page on which a person asks for access to an application of the portal.
type Offering struct {
	Person Person
	Route
	Access *Access
}

// Offering writes o.
func (p *Pages) Offering(w http.ResponseWriter, o Offering) { p.show(w, http.StatusOK, "offer", o) }

// offerOf returns the page on which people ask for access to a route.
func offerOf(route string) string { return OfferPath + "?" + url.Values{"route": {route}}.Encode() }

// offer shows the form to ask for access to a route, and makes the request of that form. There is no such page of routes for
// which the person may not ask.
func (h *Handler) offer(w http.ResponseWriter, r *http.Request, name string, c Caller) error {
	read := r.Method == http.MethodGet || r.Method == http.MethodHead
	var form url.Values
	if !read {
		var err error
		if form, err = h.formOf(w, r, c, http.MethodGet, http.MethodHead, http.MethodPost); err != nil {
			return err
		}
	}
	if c.User == nil {
		return ErrNotSignedIn
	}
	route, ok := c.Route(name)
	if !ok {
		return ErrNoPage
	}
	again := accessForm{offerOf(name), route.URL}
	if !read {
		return h.makeRequest(w, r, c, form, Target{Route: name, URL: route.URL}, again)
	}
	offers := h.admin.Offers(c.User, name)
	if len(offers) == 0 {
		return ErrNoPage
	}
	h.pagesFor(c).Offering(w, Offering{c.Person, h.shown(route), accessOf(best(offers), c.Public, again)})
	return nil
}

// notAsked shows why a request was not made, with the form if another try can help; or returns err if the page cannot say
// it.
func (h *Handler) notAsked(w http.ResponseWriter, c Caller, err error, page Ask, asking admin.Asking, again accessForm) error {
	page.Title = "Your request was not sent"
	switch {
	case errors.Is(err, admin.ErrReason):
		page.Status, page.Why = http.StatusUnprocessableEntity, "Say why you need it in one line of plain text, in at most 500 letters. Letters with accents, such as é, count twice, and pictures four times."
		for _, o := range h.admin.Offers(asking.User, asking.Route) {
			if o.Policy == asking.Policy {
				page.Form = accessOf(o, "", again).Form
			}
		}
		if page.Form != nil {
			page.Form.Reason = asking.Reason
		}
	case errors.Is(err, grant.ErrLimit):
		page.Status, page.Why = http.StatusServiceUnavailable, "Too many requests of all people wait at the moment. Try again later, or turn to the owner of the application."
	case errors.Is(err, admin.ErrTooManyRequests):
		page.Status, page.Why = http.StatusTooManyRequests, "You have five requests that wait, or have made twenty today. Wait for decisions, or withdraw one that you no longer need."
	case errors.Is(err, admin.ErrNoApprovers):
		page.Status, page.Why = http.StatusConflict, "Nobody may approve it at the moment. Turn to the owner of the application."
	case errors.Is(err, admin.ErrNotOffered):
		page.Status, page.Why = http.StatusForbidden, "You may not ask for this access. Turn to the owner of the application."
	default:
		return err
	}
	h.pagesFor(c).Ask(w, page)
	return nil
}

// formOf returns the form of a request that acts, if its method, its origin and its caller are right.
func (h *Handler) formOf(w http.ResponseWriter, r *http.Request, c Caller, methods ...string) (url.Values, error) {
	if r.Method != http.MethodPost {
		return nil, &MethodError{methods}
	}
	if err := http.NewCrossOriginProtection().Check(r); err != nil {
		return nil, errors.Join(ErrCrossOrigin, err)
	}
	if c.User == nil {
		return nil, ErrNotSignedIn
	}
	if !h.posts.Allow(c.Address) {
		return nil, ErrTooMany
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		return nil, errors.Join(ErrForm, err)
	}
	return r.PostForm, nil
}

// requests serves the list of requests for access, the page of each, and what people do there.
func (h *Handler) requests(w http.ResponseWriter, r *http.Request, path string, c Caller) error {
	id := strings.TrimPrefix(strings.TrimPrefix(path, RequestsPath), "/")
	read := r.Method == http.MethodGet || r.Method == http.MethodHead
	switch {
	case read && c.User == nil:
		return ErrNotSignedIn
	case read && id == "":
		return h.list(w, r, c)
	case read:
		return h.show(w, r, id, c)
	case id == "":
		return &MethodError{[]string{http.MethodGet, http.MethodHead}}
	}
	form, err := h.formOf(w, r, c, http.MethodGet, http.MethodHead, http.MethodPost)
	if err != nil {
		return err
	}
	return h.act(w, r, id, form, c)
}

// list writes the page of all requests that the person made or may decide about.
func (h *Handler) list(w http.ResponseWriter, r *http.Request, c Caller) error {
	views, err := h.admin.Requests(r.Context(), c.Actor())
	if err != nil {
		return err
	}
	page := Requests{Person: c.Person}
	for _, v := range views {
		line := RequestLine{Page: pageOf(v.ID), Title: v.Route + " for " + personNamed(v.DisplayName, v.Person.UserName).Name, Text: v.URL, State: stateText(v)}
		switch {
		case v.Mine:
			line.Title = v.Route
			page.Mine = append(page.Mine, line)
		case v.State == grant.StateOpen && v.MayDecide && !v.Approved:
			page.Waiting = append(page.Waiting, line)
		default:
			page.Others = append(page.Others, line)
		}
	}
	if page.Grants, err = h.grantsOf(r.Context(), c); err != nil {
		return err
	}
	h.pagesFor(c).Requests(w, page)
	return nil
}

// grantsOf returns the open grants of the person.
func (h *Handler) grantsOf(ctx context.Context, c Caller) (lines []GrantLine, err error) {
	grants, err := h.admin.Grants(ctx, c.Actor(), false)
	for _, g := range grants {
		if g.Person.ID != c.User.ID || g.State != admin.GrantOpen {
			continue
		}
		line := GrantLine{Title: g.Policy, Until: FormatTime(g.Until), Left: formatLength(time.Until(g.End()))}
		if g.Route != "" {
			line.Title = g.Route
		}
		if g.Request != "" {
			line.Page = c.Public + pageOf(g.Request)
		}
		lines = append(lines, line)
	}
	return lines, err
}

// Portion returns what the portal shows a person of requests for access; nil if there is nothing.
func (h *Handler) Portion(ctx context.Context, c Caller) *Portion {
	if h.admin == nil || c.User == nil {
		return nil
	}
	p := &Portion{Page: c.Public + RequestsPath, Waiting: h.admin.Waiting(c.User)}
	views, err := h.admin.Requests(ctx, c.Actor())
	for _, v := range views {
		if v.Mine && v.State == grant.StateOpen {
			p.Mine = append(p.Mine, RequestLine{Page: c.Public + pageOf(v.ID), Title: v.Route, Text: v.URL, State: stateText(v)})
		}
	}
	if err == nil {
		p.Grants, err = h.grantsOf(ctx, c)
	}
	if err != nil || len(views) == 0 && len(p.Grants) == 0 {
		return nil
	}
	return p
}
