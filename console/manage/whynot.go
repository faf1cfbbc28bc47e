package manage

import (
	"errors"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"sallyport/access"
	"sallyport/admin"
	"sallyport/directory"
	"sallyport/policy"
)

// questionForm is the form that asks whether a person may open a route, as it is filled in.
type questionForm struct {
	User, Route, URL, Method, Address string

	Fixed bool // the person is not to be written

	Routes  []choice
	Methods []choice
}

// methods are those that the form offers.
var methods = []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodHead, http.MethodOptions}

// How many routes can be chosen from, and how many rules, hints and groups an explanation shows, each with so many bytes.
const (
	maxChoices   = 500
	maxExplained = 100
	maxPartText  = 300
)

func (h *Handler) questionForm(q *request, question admin.Question) questionForm {
	form := questionForm{User: question.User, Method: question.Method, Address: question.Address}
	names, _ := h.Admin.RouteNames(q.Context(), q.actor())
	if slices.Contains(names, question.URL) {
		form.Route = question.URL
	} else {
		form.URL = question.URL
	}
	if len(names) > maxChoices { // the others can be written
		names = append(names[:maxChoices:maxChoices], form.Route)
	}
	form.Routes = h.choices("", form.Route, names)
	form.Methods = h.choices("", question.Method, methods)
	return form
}

// whyContent is what the page says about a person and a route.
type whyContent struct {
	Question    questionForm        `json:"-"`
	Asked       bool                `json:"-"`
	Explanation *access.Explanation `json:"explanation"`
	Shown       *shownExplanation   `json:"-"`
	Problem     string              `json:"problem,omitempty"` // why it cannot be said
	Named       []admin.User        `json:"named,omitempty"`   // whom the name may mean
}

// whyNot serves the page that says whether a person may open a route, and why.
func (h *Handler) whyNot(q *request) error {
	f := q.filter()
	question := admin.Question{User: f.text("user"), Method: http.MethodGet, URL: f.text("url"), Address: f.text("from")}
	if method := strings.ToUpper(f.text("method")); method != "" {
		question.Method = method
	}
	if route := f.text("route"); question.URL == "" {
		question.URL = route
	}
	c := whyContent{Question: h.questionForm(q, question), Asked: question.User != "" && question.URL != ""}
	status := 0
	if c.Asked {
		if err := h.explain(q, question, &c); err != nil {
			return err
		}
		if c.Problem != "" {
			status = http.StatusUnprocessableEntity
		}
	}
	return q.show(page{Name: "whynot", Status: status, Content: c})
}

// explain answers the question, or says why that is not possible.
func (h *Handler) explain(q *request, question admin.Question, c *whyContent) error {
	if _, err := netip.ParseAddr(question.Address); question.Address != "" && err != nil {
		c.Problem = h.say("whynot.no_address", question.Address)
		return nil
	}
	named, err := h.Admin.FindUsers(q.Context(), q.actor(), admin.UserQuery{Text: question.User, Limit: 8})
	if err != nil {
		return err
	}
	e, err := h.Admin.Explain(q.Context(), q.actor(), question)
	var problem *admin.QuestionError
	switch {
	case errors.As(err, &problem) && problem.Person:
		c.Problem = h.say("whynot.no_person", question.User)
		for _, u := range named.Users {
			c.Named = append(c.Named, u.User)
		}
		return nil
	case errors.As(err, &problem), errors.Is(err, directory.ErrStale):
		c.Problem = err.Error()
		return nil
	case err != nil:
		return err
	}
	c.Explanation, c.Shown = &e, shown(e)
	return nil
}

// shownExplanation is an explanation as pages show it.
type shownExplanation struct {
	access.Explanation

	More int // how many rules are left out
}

// shown returns an explanation that fits on a page: without rules that do not matter, if there are many, and with the
// beginnings of long texts.
func shown(e access.Explanation) *shownExplanation {
	s := &shownExplanation{Explanation: e}
	s.Rules, s.Hints, s.Wanted = nil, e.Hints[:min(len(e.Hints), maxExplained)], e.Wanted[:min(len(e.Wanted), maxExplained)]
	decisive := func(step policy.Step) bool { return step.Matched }
	others := maxExplained - len(slices.DeleteFunc(slices.Clone(e.Rules), func(step policy.Step) bool { return !decisive(step) }))
	for _, step := range e.Rules {
		if !decisive(step) {
			if others--; others < 0 {
				s.More++
				continue
			}
		}
		step.Parts = slices.Clone(step.Parts)
		for i := range step.Parts {
			if text := step.Parts[i].Text; len(text) > maxPartText {
				step.Parts[i].Text = strings.ToValidUTF8(text[:maxPartText], "") + "…"
			}
		}
		s.Rules = append(s.Rules, step)
	}
	return s
}
