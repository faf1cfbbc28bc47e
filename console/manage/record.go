package manage

import (
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"sallyport/admin"
	"sallyport/audit"
	"sallyport/console"
)

// linesContent is the page of the record.
type linesContent struct {
	Tabs    []tab
	Filter  url.Values
	Kinds   []choice
	Wrong   []string
	Fault   string // why nothing was found
	CutOff  time.Time
	Missing []admin.Missing
	Chains  []chainBadge
	NDJSON  string // addresses of exports
	OCSF    string
	Leave   bool // the list is of offboardings
}

// chainBadge says what the last check of a replica's record found.
type chainBadge struct {
	admin.Chain

	Mark, Text string
}

// kinds are the kinds of events.
func kinds() (names []string) {
	for _, d := range audit.Catalogue() {
		names = append(names, string(d.Kind))
	}
	return names
}

// recordFilter reads the filter of lines from the query of a page.
func (q *request) recordFilter() (f *filter, wanted admin.RecordFilter) {
	f = q.filter()
	wanted = admin.RecordFilter{Person: f.text("person"), Actor: f.text("actor"), Route: f.text("route"), Reason: f.text("reason"), Text: f.text("text"),
		Since: f.time("since", false), Until: f.time("until", true), Before: f.text("before")}
	if kind := f.oneOf("kind", kinds()); kind != "" {
		wanted.Kinds = []audit.Kind{audit.Kind(kind)}
	}
	return f, wanted
}

// record serves lines of the record, the newest first.
func (h *Handler) record(q *request) error {
	f, wanted := q.recordFilter()
	content := linesContent{Tabs: q.tabs("record", "", nil, "", "receipts"), Filter: f.Values, Kinds: h.choices("", f.text("kind"), kinds()), Wrong: f.wrong}
	export := maps.Clone(f.Values)
	for _, key := range []string{"before", "done", "format"} {
		export.Del(key)
	}
	content.NDJSON, content.OCSF = Path+"/record/export"+withQuery(export, "as", "ndjson"), Path+"/record/export"+withQuery(export, "as", "ocsf")
	found, err := h.findLines(q, wanted, &content)
	if err != nil {
		return err
	}
	t := h.table("record", "time", "line", "kind", "what", "about", "by", "where")
	t.Empty = h.say("record.none")
	for _, l := range found.Lines {
		t.Rows = append(t.Rows, []Cell{at(l.Time), {Text: lineName(l), Link: Path + "/record/lines/" + strconv.FormatUint(l.Seq, 10) + replicaQuery(l.Of)},
			{Text: string(l.Kind), Link: Path + "/record?kind=" + string(l.Kind)}, whatHappened(l), h.about(l), by(l), {Text: whereOf(l), Mark: "long"}})
	}
	if found.Next != "" {
		t.Next = withQuery(f.Values, "before", found.Next)
	}
	return q.show(page{Name: "record", Content: content, Table: t})
}

// findLines looks for lines, and notes in the page what is to be said of the search.
func (h *Handler) findLines(q *request, wanted admin.RecordFilter, content *linesContent) (found admin.RecordLines, err error) {
	if wanted.Text != "" && len(wanted.Text) < 4 {
		content.Fault = h.say("record.short")
	}
	if len(content.Wrong) == 0 && content.Fault == "" {
		found, err = h.Admin.SearchRecord(q.Context(), q.actor(), wanted, perPage)
	}
	if errors.Is(err, audit.ErrBroken) {
		content.Fault, err = h.say("record.unsound", err.Error()), nil
	}
	chains, from := h.Admin.Chains(q.Context(), q.actor())
	for _, c := range chains {
		content.Chains = append(content.Chains, h.chainBadge(c))
	}
	content.CutOff, content.Missing = found.CutOff, found.Missing
	if len(content.Missing) == 0 {
		content.Missing = from.Missing
	}
	return found, err
}

func (h *Handler) chainBadge(c admin.Chain) chainBadge {
	switch {
	case c.At.IsZero():
		return chainBadge{c, "quiet", h.say("record.chain.unchecked")}
	case c.Unsound:
		return chainBadge{c, "no", h.say("record.chain.unsound")}
	case c.Problem != "":
		return chainBadge{c, "fault", h.say("record.chain.failed")}
	}
	return chainBadge{c, "yes", h.say("record.chain.sound", c.First, c.Last)}
}

func lineName(l admin.RecordLine) string {
	name := strconv.FormatUint(l.Seq, 10)
	if l.Of != "" {
		name += " · " + l.Of
	}
	return name
}

func replicaQuery(replica string) string {
	if replica == "" {
		return ""
	}
	return "?replica=" + url.QueryEscape(replica)
}

// whatHappened says what a line tells of in a few words.
func whatHappened(l admin.RecordLine) Cell {
	words := []string{l.Decision, l.Reason, l.Detail["result"]}
	words = slices.DeleteFunc(words, func(s string) bool { return s == "" })
	mark := map[string]string{"allow": "yes", "deny": "no"}[l.Decision]
	if l.Kind == audit.KindCut {
		mark = "fault"
	}
	what := Cell{Text: strings.Join(words, " · "), Mark: mark}
	if len(what.Text) < 32 {
		what.Mark = strings.TrimSpace(mark + " whole")
	}
	return what
}

// about names whom a line is about.
func (h *Handler) about(l admin.RecordLine) Cell {
	switch {
	case l.User != "":
		name := l.UserName
		if name == "" {
			name = l.User
		}
		return who(name, "/people/"+l.User)
	case l.Group != "":
		name := l.Detail["display_name"]
		if name == "" {
			name = l.Group
		}
		return who(name, "/groups/"+l.Group)
	}
	return text(l.UserName)
}

// by names who acted.
func by(l admin.RecordLine) Cell {
	if l.Actor.Kind == audit.ActorUser && l.Actor.ID != "" {
		return who(l.Actor.Name, "/people/"+l.Actor.ID)
	}
	return text(l.Actor.Name)
}

// whereOf says where something happened.
func whereOf(l admin.RecordLine) string {
	if l.Route != "" {
		return strings.TrimSpace(l.Route + " " + l.Method + " " + l.Path)
	}
	return strings.TrimSpace(l.Method + " " + l.Host + l.Path)
}

// lineContent is the page of one line.
type lineContent struct {
	Line   admin.RecordLine
	Facts  [][2]string
	About  Cell
	By     Cell
	Before string // the query of the list with the lines before it
}

// line serves one line of the record.
func (h *Handler) line(q *request) error {
	n, err := strconv.ParseUint(q.PathValue("number"), 10, 64)
	if err != nil || n == 0 || n == 1<<64-1 {
		return console.ErrNoPage
	}
	l, err := h.Admin.RecordLine(q.Context(), q.actor(), q.URL.Query().Get("replica"), n)
	if errors.Is(err, audit.ErrNoLine) {
		return q.missing(h.say("line.gone"), "/record")
	}
	if errors.Is(err, audit.ErrBroken) {
		return q.missing(h.say("record.unsound", err.Error()), "/record")
	}
	if err != nil {
		return err
	}
	content := lineContent{Line: l, About: h.about(l), By: by(l)}
	for _, fact := range [][2]string{{"reason", l.Reason}, {"decision", l.Decision}, {"request", l.Request}, {"route", l.Route}, {"method", l.Method}, {"host", l.Host}, {"path", l.Path},
		{"rule", l.Rule}, {"address", l.Address}, {"session", l.Session}, {"replica", l.Event.Replica}} {
		if fact[1] != "" {
			content.Facts = append(content.Facts, fact)
		}
	}
	if l.Revision > 0 {
		content.Facts = append(content.Facts, [2]string{"rev", strconv.FormatUint(l.Revision, 10)})
	}
	for _, key := range slices.Sorted(maps.Keys(l.Detail)) {
		content.Facts = append(content.Facts, [2]string{key, l.Detail[key]})
	}
	return q.show(page{Name: "line", Title: h.say("line.title", lineName(l)), Content: content})
}

// export writes lines of the record of this replica as they are, or as OCSF.
func (h *Handler) exportRecord(q *request) error {
	f, wanted := q.recordFilter()
	form := f.oneOf("as", []string{"ndjson", "ocsf"})
	if len(f.wrong) > 0 || form == "" {
		return console.ErrNoPage
	}
	end, ok := h.exports.begin(q.User.ID, maxExports)
	if !ok {
		return h.showBusy(q)
	}
	defer end()
	wanted.Before = ""
	name := "record"
	if replica := h.Admin.Replica(); replica != "" {
		name += "-" + replica
	}
	header := q.Header()
	header.Set("Content-Type", "application/x-ndjson")
	header.Set("Content-Disposition", `attachment; filename="`+name+"-"+time.Now().UTC().Format(time.DateOnly)+"."+form+`.jsonl"`)
	out := &exportWriter{q: q}
	err := h.Admin.ExportRecord(q.Context(), q.actor(), wanted, form == "ocsf", out)
	switch {
	case q.Context().Err() != nil:
		return nil
	case err == nil:
		_, _ = q.Write(nil) // so that there is a response if no line was selected
		return nil
	case out.begun:
		h.Log.Error("an export of the record is not whole", "err", err)
		panic(http.ErrAbortHandler) // so that nobody takes it for a whole one
	}
	header.Del("Content-Disposition")
	if errors.Is(err, admin.ErrBusy) {
		return h.showBusy(q)
	}
	return err
}

// showBusy says that as much is being exported as may be at once.
func (h *Handler) showBusy(q *request) error {
	return h.render(q, page{Name: "failed", Status: http.StatusServiceUnavailable, Title: h.say("record.busy_title"), Content: failure{Why: h.say("record.busy"), Back: Path + "/record", Gone: true}})
}

// exportWriter writes to a response, and notes that it has begun.
type exportWriter struct {
	q     *request
	begun bool
}

func (w *exportWriter) Write(p []byte) (int, error) {
	w.begun = true
	return w.q.Write(p)
}

// receipts serves the list of offboardings, of each of which there is a receipt.
func (h *Handler) receipts(q *request) error {
	f, wanted := q.recordFilter()
	wanted.Leave = true
	content := linesContent{Tabs: q.tabs("record", "receipts", nil, "", "receipts"), Filter: f.Values, Wrong: f.wrong, Leave: true}
	found, err := h.findLines(q, wanted, &content)
	if err != nil {
		return err
	}
	t := h.table("record", "time", "about", "what", "by", "receipt", "signed", "line")
	t.Empty = h.say("record.no_receipts")
	for _, l := range found.Lines {
		query := "?at=" + url.QueryEscape(l.Time.Add(time.Second).UTC().Format(time.RFC3339))
		path := "/record/receipts/" + l.User
		t.Rows = append(t.Rows, []Cell{at(l.Time), h.about(l), whatHappened(l), by(l), link(h.say("record.page"), path+"/page"+query), link(h.say("record.jws"), path+"/jws"+query),
			{Text: lineName(l), Link: Path + "/record/lines/" + strconv.FormatUint(l.Seq, 10) + replicaQuery(l.Of)}})
	}
	if found.Next != "" {
		t.Next = withQuery(f.Values, "before", found.Next)
	}
	return q.show(page{Name: "record", Title: h.say("record.receipts_title"), Content: content, Table: t})
}

// receipt writes a receipt of an offboarding, as a page to print or as a signed document.
func (h *Handler) receipt(q *request) error {
	f := q.filter()
	until := f.time("at", false)
	form := q.PathValue("form")
	if len(f.wrong) > 0 || form != "page" && form != "jws" {
		return console.ErrNoPage
	}
	made, err := h.Admin.Receipt(q.Context(), q.actor(), q.PathValue("user"), until)
	switch {
	case errors.Is(err, admin.ErrBeingMade):
		http.Redirect(q, q.Request, Path+"/record/receipts/"+url.PathEscape(q.PathValue("user"))+atQuery(until), http.StatusSeeOther)
		return nil
	case errors.Is(err, admin.ErrBusy):
		return h.showBusy(q)
	case err != nil:
		return q.missing(err.Error(), "/record/receipts")
	}
	name := "receipt-" + strings.Map(fileName, q.PathValue("user"))
	if form == "jws" {
		return q.download("application/jose", name+".jws", made.JWS)
	}
	return q.download("text/html; charset=utf-8", name+".html", made.Page)
}

// receiptContent is the page of a receipt that was not made at once.
type receiptContent struct {
	Name      string
	Making    bool
	Page, JWS string // addresses
}

// atQuery returns the query that names a time; "" for the zero time.
func atQuery(at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return "?" + url.Values{"at": {at.UTC().Format(time.RFC3339Nano)}}.Encode()
}

// receiptState says whether a receipt has been made, and then leads to it.
func (h *Handler) receiptState(q *request) error {
	f := q.filter()
	until := f.time("at", false)
	if len(f.wrong) > 0 {
		return console.ErrNoPage
	}
	user := q.PathValue("user")
	_, err := h.Admin.Receipt(q.Context(), q.actor(), user, until)
	switch {
	case errors.Is(err, admin.ErrBusy):
		return h.showBusy(q)
	case err != nil && !errors.Is(err, admin.ErrBeingMade):
		return q.missing(err.Error(), "/record/receipts")
	}
	path, query := Path+"/record/receipts/"+url.PathEscape(user), atQuery(until)
	c := receiptContent{Name: user, Making: err != nil, Page: path + "/page" + query, JWS: path + "/jws" + query}
	if found, err := h.Admin.UsersNamed(q.Context(), q.actor(), user); err == nil && len(found) == 1 {
		c.Name = found[0].UserName
	}
	return q.show(page{Name: "receipt", Title: h.say("receipt.title", c.Name), Content: c})
}

// fileName keeps characters that every system lets a file's name have.
func fileName(r rune) rune {
	if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' {
		return r
	}
	return '-'
}
