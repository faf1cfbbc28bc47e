package manage

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"time"

	"sallyport/console"
)

// request is one request for a page, by a viewer.
type request struct {
	http.ResponseWriter
	*http.Request
	Viewer

	handler *Handler
	err     error // why there was no response
}

// Unwrap lets http.ResponseController find what can flush.
func (q *request) Unwrap() http.ResponseWriter { return q.ResponseWriter }

// page is what a template renders. Content is the page's own; the rest is for the layout.
type page struct {
	Name    string // of the template, and of the page's text and module
	Title   string // "" for the text NAME.title
	Status  int    // 0 for 200
	Content any
	Table   *Table // what format=csv and format=json write; nil if there is none
}

// view is what the layout renders.
type view struct {
	page

	Viewer   Viewer
	Sections []section
	Path     string // below [Path]
	Query    url.Values
	Token    string // of forms
	Notice   string // what the last action did
	Now      time.Time
	Script   string // the path of the page's module; "" for none
	Look     console.Look
}

// With returns the address of the page with another value of a key of its query.
func (v view) With(key, value string) string {
	query := url.Values{}
	maps.Copy(query, v.Query)
	query.Set(key, value)
	query.Del("done")
	return "?" + query.Encode()
}

// Section returns the name of the entry of the navigation that the page belongs to.
func (v view) Section() string {
	best := section{}
	for _, s := range v.Sections {
		if (v.Path == s.Path || strings.HasPrefix(v.Path, s.Path+"/")) && len(s.Path) > len(best.Path) {
			best = s
		}
	}
	return best.Name
}

// show writes a page; with format=json or format=csv in the query, what it shows in that format.
func (q *request) show(p page) error {
	switch format := q.URL.Query().Get("format"); format {
	case "":
		return q.handler.render(q, p)
	case "json":
		return q.writeJSON(p)
	case "csv":
		if p.Table == nil {
			return console.ErrNoPage
		}
		return p.Table.writeCSV(q, p.Name)
	}
	return console.ErrNoPage
}

// writeJSON writes the table of a page, or else its content.
func (q *request) writeJSON(p page) error {
	q.Header().Set("Content-Type", "application/json")
	e := json.NewEncoder(q)
	if p.Table != nil {
		return e.Encode(p.Table.records())
	}
	return e.Encode(p.Content)
}

// Header makes clear which of the embedded headers is meant: that of the response.
func (q *request) Header() http.Header { return q.ResponseWriter.Header() }

// Write writes a part of the response.
func (q *request) Write(p []byte) (int, error) { return q.ResponseWriter.Write(p) }

const (
	tokenPurpose  = "console form"
	tokenLifetime = 24 * time.Hour
	tokenField    = "token"
)

// token returns the token of forms, which is valid for the viewer's session alone.
func (q *request) token() (string, error) {
	return q.handler.Sessions.Seal(tokenPurpose, q.Caller.Host, []byte(q.Session.ID+" "+q.User.ID), tokenLifetime)
}

// isTokenOf reports whether a token was made for the viewer's session, or for an earlier one if a form of theirs was kept
// while they signed in.
func (q *request) isTokenOf(text string) bool {
	plain, err := q.handler.Sessions.Unseal(tokenPurpose, q.Caller.Host, text)
	session, user, _ := strings.Cut(string(plain), " ")
	return err == nil && user == q.User.ID && (session == q.Session.ID || q.Resumed)
}

// readForm reads the form of an action. The proxy lets POST in only for administrators with a recent sign-in, and only from
// pages of this origin; the token is a second proof that the form is one of ours.
func (q *request) readForm() error {
	if !q.Admin {
		return console.ErrForm // the proxy has let in whoever may not act
	}
	if err := http.NewCrossOriginProtection().Check(q.Request); err != nil {
		return errors.Join(console.ErrCrossOrigin, err)
	}
	q.Body = http.MaxBytesReader(q.ResponseWriter, q.Body, MaxBody)
	if err := q.ParseForm(); err != nil {
		return errors.Join(console.ErrForm, err)
	}
	if !q.isTokenOf(q.PostForm.Get(tokenField)) {
		return fmt.Errorf("%w: it was made in another session, or more than a day ago; open the page again", console.ErrForm)
	}
	return nil
}

// done leads the browser back to a page below [Path] after an action. text names what the page then says was done.
func (q *request) done(to, text string) error {
	to, query, _ := strings.Cut(to, "?")
	values, _ := url.ParseQuery(query)
	values.Set("done", text)
	q.Header().Set("Location", Path+to+"?"+values.Encode())
	q.WriteHeader(http.StatusSeeOther)
	return nil
}

// failed shows why an action was not carried out, with a link back to a page below [Path]. Nothing was changed.
func (q *request) failed(status int, why, back string) error {
	return q.handler.render(q, page{Name: "failed", Status: status, Content: failure{Why: why, Back: Path + back}})
}
