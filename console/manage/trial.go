package manage

import (
	"errors"
	"net/http"
	"strconv"

	"sallyport/access"
	"sallyport/admin"
	"sallyport/console"
)

// trialsContent is what the page shows on which a changed policy is tried.
type trialsContent struct {
	Text   string
	Faults admin.Faults
	Why    string // why the text was not tried, beside Faults
}

// listTrials serves the page on which a changed policy is tried.
func (h *Handler) listTrials(q *request) error { return h.showTrials(q, trialsContent{}, 0) }

func (h *Handler) showTrials(q *request, c trialsContent, status int) error {
	t := &Table{Caption: h.say("trials.last"), Empty: h.say("trials.none"), Columns: []Column{{Key: "begun", Title: h.say("trials.begun")}, {Key: "by", Title: h.say("trials.by")},
		{Key: "state", Title: h.say("trials.state")}, {Key: "id", Title: h.say("trials.result")}}}
	for _, trial := range h.Admin.Trials(q.Context(), q.actor()) {
		t.Rows = append(t.Rows, []Cell{at(trial.Begun), text(trial.By.Name), text(h.stateOf(trial)), {Text: h.say("trials.show"), Link: Path + trialPath(trial.ID), Data: trial.ID}})
	}
	return q.show(page{Name: "trials", Status: status, Content: c, Table: t})
}

func (h *Handler) stateOf(t admin.Trial) string {
	switch {
	case t.Runs():
		return h.say("trials.runs")
	case t.Err != "":
		return h.say("trials.failed")
	}
	return h.say("trials.done")
}

// tryPolicy begins to try a changed policy. A text with mistakes is shown again with them.
func (h *Handler) tryPolicy(q *request) error {
	text := q.PostForm.Get("text")
	id, err := h.Admin.TryRules(q.Context(), q.actor(), text)
	switch faults := (admin.Faults)(nil); {
	case err == nil:
		return q.done(trialPath(id), "trial")
	case errors.As(err, &faults):
		return h.showTrials(q, trialsContent{Text: text, Faults: faults}, http.StatusUnprocessableEntity)
	case errors.Is(err, admin.ErrTrialRuns):
		return h.showTrials(q, trialsContent{Text: text, Why: h.say("trials.busy")}, http.StatusConflict)
	default:
		return h.showTrials(q, trialsContent{Text: text, Why: err.Error()}, http.StatusUnprocessableEntity)
	}
}

// trialContent is what the page of a trial shows.
type trialContent struct {
	admin.Trial

	Gained, Lost, Changed int // how many pairs of a caller and a route
	Flips                 *Table
}

// showTrial serves what is known of a trial.
func (h *Handler) showTrial(q *request) error {
	trial, err := h.Admin.Trial(q.Context(), q.actor(), q.PathValue("id"))
	if err != nil {
		return console.ErrNoPage
	}
	if q.URL.Query().Get("format") == "json" {
		return q.show(page{Name: "trial", Content: trial})
	}
	c := trialContent{Trial: trial}
	for _, change := range trial.Changes {
		c.Gained, c.Lost, c.Changed = c.Gained+change.GainedCount, c.Lost+change.LostCount, c.Changed+change.ChangedCount
	}
	c.Changes = c.Changes[:min(len(c.Changes), perPage)]
	c.shortenNames()
	if trial.Replayed != nil {
		c.Flips = h.flipsTable(trial.Replayed.Flips)
	}
	return q.show(page{Name: "trial", Content: c, Table: nil})
}

const (
	maxShownNames = 1_000 // of people on the page of a trial
	maxShownFlips = 100
)

// shortenNames leaves as many names as the page has space for.
func (c *trialContent) shortenNames() {
	each := max(3, maxShownNames/max(1, 3*len(c.Changes)))
	cut := func(names []string) []string { return names[:min(len(names), each)] }
	shown := make([]access.Change, len(c.Changes))
	for i, change := range c.Changes {
		change.Gained, change.Lost, change.Changed = cut(change.Gained), cut(change.Lost), cut(change.Changed)
		shown[i] = change
	}
	c.Changes = shown
}

func (h *Handler) flipsTable(flips []access.Flip) *Table {
	t := &Table{Caption: h.say("trial.replay"), Empty: h.say("trial.no_flips"), Columns: []Column{{Key: "times", Title: h.say("trial.times"), Right: true}, {Key: "caller", Title: h.say("trial.caller")},
		{Key: "request", Title: h.say("trial.request")}, {Key: "recorded", Title: h.say("trial.recorded")}, {Key: "new", Title: h.say("trial.new")}, {Key: "already", Title: h.say("trial.already")},
		{Key: "last", Title: h.say("trial.last")}}}
	for _, f := range flips[:min(len(flips), maxShownFlips)] {
		already := h.say("trial.no")
		if f.InForce {
			already = h.say("trial.yes")
		}
		t.Rows = append(t.Rows, []Cell{number(f.Times), text(f.Caller), text(f.Method + " " + f.URL), decision(f.Recorded), decision(f.New), text(already), at(f.Last)})
	}
	return t
}

func decision(s string) Cell {
	if len(s) >= 5 && s[:5] == "allow" {
		return Cell{Text: s, Mark: "yes"}
	}
	return Cell{Text: s, Mark: "no"}
}

// unusedDays are how far back the page of unused rules looks.
var unusedDays = []int{7, 30, 90}

// unusedContent is what the page of unused rules shows.
type unusedContent struct {
	State admin.Computed
	Days  int
	All   []int
	Read  admin.RecordRead
}

// listUnused serves the rules, and groups in rules, that nobody used.
func (h *Handler) listUnused(q *request) error {
	c := unusedContent{All: unusedDays, Days: unusedDays[0]}
	for _, days := range unusedDays {
		if q.filter().text("days") == strconv.Itoa(days) {
			c.Days = days
		}
	}
	unused, state := h.Admin.RecentlyUnused(q.Context(), q.actor(), c.Days)
	c.State, c.Read = state, unused.RecordRead
	t := &Table{Caption: h.say("unused.title"), Empty: h.say("unused.none"), Columns: []Column{{Key: "route", Title: h.say("unused.route")}, {Key: "rule", Title: h.say("unused.rule")}, {Key: "group", Title: h.say("unused.group")}}}
	if state.At.IsZero() {
		t.Empty = " "
	}
	for _, u := range paged(t, unused.Unused, q.URL.Query()) {
		group := Cell{Text: u.Group}
		if u.Group == "" {
			group = Cell{Text: h.say("unused.whole"), Mark: "fault", Data: " "}
		}
		t.Rows = append(t.Rows, []Cell{link(u.Route, routePath(u.Route)), {Text: u.Rule, Code: true}, group})
	}
	return q.show(page{Name: "unused", Content: c, Table: t})
}
