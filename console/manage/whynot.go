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

func (h *Handler) questionForm(q *request, question admin.Question) questionForm {
	form := questionForm{User: question.User, Method: question.Method, Address: question.Address}
	names, _ := h.Admin.RouteNames(q.Context(), q.actor())
	if slices.Contains(names, question.URL) {
		form.Route = question.URL
	} else {
		form.URL = question.URL
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
	Problem     string              `json:"problem,omitempty"` // why it cannot be said
	Named       []admin.User        `json:"named,omitempty"`   // whom the name may mean
	Person      string              `json:"-"`                 // what the person is called
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
	c.Explanation, c.Person = &e, e.Caller.UserName
	if e.Caller.Name != "" {
		c.Person = e.Caller.Name
	}
	return nil
}
