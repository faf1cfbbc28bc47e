package manage

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"sallyport/admin"
	"sallyport/console"
	"sallyport/duration"
	"sallyport/grant"
)

// reviewsContent is the page of all reviews.
type reviewsContent struct {
	Routes    []choice
	Dues      []choice
	Reviewers []choice
}

// dues are the times in which a review can be due.
var dues = []string{"7d", "14d", "30d", "90d"}

// reviewers say who decides beside administrators.
var reviewers = []string{string(grant.ReviewerOperator), string(grant.ReviewerManager), string(grant.ReviewerOwner)}

// reviews serves the list of reviews.
func (h *Handler) reviews(q *request) error {
	list, err := h.Admin.Reviews(q.Context(), q.actor())
	if err != nil {
		return err
	}
	t := h.table("reviews", "route", "state", "progress", "keep", "revoke", "ask", "undecided", "due", "started", "by", "id")
	t.right("keep", "revoke", "ask", "undecided")
	t.Empty = h.say("reviews.none")
	for _, r := range paged(t, list, q.URL.Query()) {
		n := r.Counts
		t.Rows = append(t.Rows, []Cell{link(r.Route, "/reviews/"+r.ID), h.reviewState(r), text(progressOf(n)), number(n.Keep), number(n.Revoke), number(n.Ask), number(n.Open),
			at(r.Due), at(r.Started), text(r.By), {Text: r.ID, Code: true}})
	}
	routes, err := h.Admin.RouteNames(q.Context(), q.actor())
	if err != nil {
		return err
	}
	return q.show(page{Name: "reviews", Content: reviewsContent{h.choices("", "", routes), h.choices("reviews.due.", "14d", dues), h.choices("reviews.reviewer.", "", reviewers)}, Table: t})
}

// progressOf says how much of a review is decided.
func progressOf(c grant.Counts) string {
	if c.Total() == 0 {
		return "–"
	}
	return fmt.Sprintf("%d %%", (c.Keep+c.Revoke)*100/c.Total())
}

func (h *Handler) reviewState(r admin.ReviewView) Cell {
	switch {
	case r.Overdue:
		return Cell{Text: h.say("reviews.overdue"), Mark: "no"}
	case r.State == grant.ReviewOpen:
		return Cell{Text: h.say("reviews.open"), Mark: "fault"}
	}
	return Cell{Text: h.say("reviews.closed"), Mark: "quiet"}
}

// startReview starts a review.
func (h *Handler) startReview(q *request) error {
	form := q.PostForm
	due, err := duration.Parse(form.Get("due"))
	if err != nil || !slices.Contains(reviewers, form.Get("reviewer")) {
		return console.ErrForm
	}
	started, err := h.Admin.BeginReview(q.Context(), q.actor(), form.Get("route"), due, grant.ReviewerKind(form.Get("reviewer")))
	return q.finish(err, "/reviews/"+started.ID, "started_review", "/reviews")
}

// reviewContent is the page of one review.
type reviewContent struct {
	Review    admin.ReviewView
	State     Cell
	Open      bool
	Total     int
	Progress  string
	Bar       [4]bar // keep, revoke, ask, undecided
	Filter    url.Values
	Decisions []choice // to filter by
	Wrong     []string
	Back      string // the query of this page, for the forms
}

// bar is a part of the bar that shows the progress.
type bar struct {
	Class    string
	From, To float64 // of a hundred
}

// Width returns how long the part is.
func (b bar) Width() float64 { return b.To - b.From }

var decisions = []string{string(grant.DecisionOpen), string(grant.DecisionKeep), string(grant.DecisionRevoke), string(grant.DecisionAsk)}

// review serves the rows of a review.
func (h *Handler) review(q *request) error {
	f := q.filter()
	wanted := admin.ReviewFilter{Text: f.text("text"), Decision: grant.Decision(f.oneOf("decision", decisions)), Unused: f.time("unused", false), Gone: f.text("gone") != ""}
	if from := f.text("from"); from != "" {
		var err error
		if wanted.From, err = strconv.Atoi(from); err != nil {
			f.wrong = append(f.wrong, "from")
		}
	}
	n := perPage
	if len(f.wrong) > 0 {
		n = 0
	}
	found, err := h.Admin.ReviewPage(q.Context(), q.actor(), q.PathValue("id"), wanted, n)
	if errors.Is(err, grant.ErrNoReview) {
		return q.missing(h.say("why.no_review"), "/reviews")
	}
	if err != nil {
		return err
	}
	content := reviewContent{Review: found.ReviewView, State: h.reviewState(found.ReviewView), Open: found.State == grant.ReviewOpen, Total: found.Counts.Total(), Progress: progressOf(found.Counts),
		Bar: barOf(found.Counts), Filter: f.Values, Wrong: f.wrong, Decisions: h.choices("review.decision.", f.text("decision"), decisions), Back: q.URL.RawQuery}
	t := h.reviewTable(q, found)
	if found.Next > 0 && n > 0 {
		t.Next = withQuery(f.Values, "from", strconv.Itoa(found.Next))
	}
	return q.show(page{Name: "review", Title: h.say("review.title", found.Route), Content: content, Table: t})
}

func barOf(c grant.Counts) (parts [4]bar) {
	at, total := 0.0, float64(max(c.Total(), 1))
	for i, part := range []struct {
		class string
		n     int
	}{{"keep", c.Keep}, {"revoke", c.Revoke}, {"ask", c.Ask}, {"open", c.Open}} {
		to := at + 100*float64(part.n)/total
		parts[i] = bar{part.class, at, to}
		at = to
	}
	return parts
}

// decisionMarks are the classes of decisions about rows.
var decisionMarks = map[grant.Decision]string{grant.DecisionOpen: "quiet", grant.DecisionKeep: "yes", grant.DecisionRevoke: "no", grant.DecisionAsk: "fault"}

func (h *Handler) reviewTable(q *request, found admin.ReviewPage) *Table {
	t := h.table("review", "person", "rule", "groups", "last_use", "reviewer", "decision", "by", "why")
	t.Empty = h.say("review.none")
	if q.Admin {
		t.Columns = append([]Column{{Key: "row", Title: h.say("held.column.choose")}}, t.Columns...)
	}
	for _, r := range found.Rows {
		name := r.User.DisplayName
		if name == "" {
			name = r.User.UserName
		}
		var row []Cell
		if q.Admin {
			off := r.Own || found.State == grant.ReviewClosed && r.Decision != grant.DecisionRevoke
			row = append(row, Cell{Raw: strconv.Itoa(r.Number), Check: &Check{Form: "decide", Name: "row", Value: rowValue(r, off), Label: h.say("layout.choose", name+", "+r.Rule), Off: off}})
		}
		person := link(name, "/people/"+r.User.ID)
		if !r.Active {
			person.Text += h.say("review.gone")
		}
		if r.Own {
			person.Text += h.say("review.own")
		}
		used := at(r.LastUse)
		if r.LastUse.IsZero() {
			used = Cell{Text: h.say("review.never"), Mark: "quiet"}
		}
		t.Rows = append(t.Rows, append(row, person, text(r.Rule), text(h.membershipsText(r)), used, text(r.Reviewer),
			Cell{Text: h.say("review.decision." + string(r.Decision)), Mark: decisionMarks[r.Decision]}, text(r.By), text(r.Why)))
	}
	return t
}

// membershipsText names the groups of a row, and says of which the membership was revoked or removed.
func (h *Handler) membershipsText(r admin.ReviewRow) string {
	var names []string
	for _, m := range r.Memberships {
		switch {
		case slices.Contains(r.Revoked, m.Name):
			names = append(names, h.say("review.revoked", m.Name))
		case !m.Removed.IsZero():
			names = append(names, h.say("review.removed", m.Name))
		default:
			names = append(names, m.Name)
		}
	}
	return strings.Join(names, ", ")
}

// rowValue returns what a form has of a row: its number, and when it was decided last, so that nobody undoes a decision that
// they have not seen.
func rowValue(r admin.ReviewRow, off bool) string {
	decided := ".0"
	switch {
	case off: // it cannot be chosen
		decided = ""
	case !r.At.IsZero():
		decided = "." + strconv.FormatInt(r.At.UnixNano(), 10)
	}
	return strconv.Itoa(r.Number) + decided
}

// readRows reads values as [rowValue] returns them, or numbers alone.
func readRows(values []string) (rows []int, seen map[int]time.Time, err error) {
	seen = map[int]time.Time{}
	for _, value := range values {
		number, decided, versioned := strings.Cut(value, ".")
		n, err := strconv.Atoi(number)
		if err != nil {
			return nil, nil, err
		}
		rows = append(rows, n)
		if !versioned {
			continue
		}
		at, err := strconv.ParseInt(decided, 10, 64)
		if err != nil {
			return nil, nil, err
		}
		if seen[n] = (time.Time{}); at != 0 {
			seen[n] = time.Unix(0, at)
		}
	}
	return rows, seen, nil
}

// decideRows decides about the rows that were chosen.
func (h *Handler) decideRows(q *request) error {
	back := "/reviews/" + q.PathValue("id")
	to := back
	if query, err := url.ParseQuery(q.PostForm.Get("back")); err == nil && len(query) > 0 {
		query.Del("done")
		to += "?" + query.Encode()
	}
	rows, seen, err := readRows(q.PostForm["row"])
	if err != nil {
		return errors.Join(console.ErrForm, err)
	}
	decision := grant.Decision(q.PostForm.Get("decision"))
	_, err = h.Admin.DecideSeenRows(q.Context(), q.actor(), admin.ReviewDecision{Review: q.PathValue("id"), Rows: rows, Decision: decision, Why: q.PostForm.Get("why")}, seen)
	return q.finish(err, to, "decided_rows", back)
}

// closeReview ends a review.
func (h *Handler) closeReview(q *request) error {
	back := "/reviews/" + q.PathValue("id")
	if q.PostForm.Get("sure") == "" {
		return q.failed(http.StatusUnprocessableEntity, h.say("review.unsure"), back)
	}
	_, err := h.Admin.CloseReview(q.Context(), q.actor(), q.PathValue("id"))
	return q.finish(err, back, "closed_review", back)
}

// exportReview writes a review with all its rows as a signed document.
func (h *Handler) exportReview(q *request) error {
	signed, err := h.Admin.ExportReview(q.Context(), q.actor(), q.PathValue("id"))
	if errors.Is(err, grant.ErrNoReview) {
		return q.missing(h.say("why.no_review"), "/reviews")
	}
	if err != nil {
		return err
	}
	return q.download("application/jose", "review-"+q.PathValue("id")+"-"+time.Now().UTC().Format(time.DateOnly)+".jws", signed)
}

// download writes a text that the browser keeps as a file.
func (q *request) download(kind, name, body string) error {
	header := q.Header()
	setHeaders(header)
	header.Set("Content-Type", kind)
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Content-Disposition", `attachment; filename="`+name+`"`)
	_, _ = q.Write([]byte(body))
	return nil
}
