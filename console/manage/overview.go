package manage

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"sallyport/admin"
	"sallyport/audit/rollup"
	"sallyport/duration"
)

// overviewRanges are the lengths of time to choose from.
var overviewRanges = []string{"1h", "6h", "24h", "7d", "30d", "400d"}

const (
	defaultRange    = "24h"
	overviewPoints  = 240
	cutsInTable     = 8
	upstreamsShown  = 30
	certificateSoon = 14 * 24 * time.Hour
	pushIsLate      = 24 * time.Hour
	refreshEvery    = 5 * time.Second
)

// overviewContent is what the first page shows.
type overviewContent struct {
	Ranges               []tab
	Earlier, Later, Wide string // queries; "" for none
	From, Until          time.Time
	Step                 string
	Wrong                []string

	Cards       []card
	Charts      []*chart
	Rhythm      *rhythm
	Cuts        *cuts
	Findings    []finding
	Diagnosis   admin.Diagnosis
	Fine        int // checks that found nothing wrong
	Health      health
	Missing     []admin.Missing
	Begins      time.Time // of the figures, if that is later than From
	Counting    bool
	Data, Watch string // where the module gets the charts, and news
}

// card is a figure with what it is about.
type card struct {
	Figure, Text, Note string
	Link               string // below [Path]; "" for none
	Mark               string
	Ago                time.Time // in place of Figure
}

// finding is what the doctor found to be wrong, or what could not be found out.
type finding struct {
	State, Check, Detail, Fix string
}

// overview serves the first page.
func (h *Handler) overview(q *request) error {
	ask, chosen, wrong := q.span()
	content, table, err := h.overviewOf(q.Context(), q.actor(), ask, chosen, wrong)
	if err != nil {
		return err
	}
	return q.show(page{Name: "overview", Content: content, Table: table})
}

// span returns the time that a page is about.
func (q *request) span() (ask admin.FiguresQuery, chosen string, wrong []string) {
	f := q.filter()
	ask.From, ask.Until = f.time("from", false), f.time("until", true)
	chosen = f.text("range")
	if ask.From.IsZero() || len(f.wrong) > 0 {
		chosen = cmp.Or(chosen, defaultRange)
		back, err := duration.Parse(chosen)
		if err != nil || back < time.Minute || back > 400*24*time.Hour {
			f.wrong, back, chosen = append(f.wrong, "range"), 24*time.Hour, defaultRange
		}
		ask = admin.FiguresQuery{Since: back}
	} else {
		chosen = ""
	}
	ask.Points, ask.Without = overviewPoints, RouteName // whoever looks would see mostly that
	return ask, chosen, f.wrong
}

// overviewOf returns what the first page shows, and its figures as a table.
func (h *Handler) overviewOf(ctx context.Context, actor admin.Actor, ask admin.FiguresQuery, chosen string, wrong []string) (content overviewContent, table *Table, err error) {
	figures, err := h.Admin.Figures(ctx, actor, ask)
	if err != nil && !errors.Is(err, admin.ErrNoServer) {
		return content, nil, err
	}
	until := figures.From.Add(time.Duration(figures.Points) * figures.Step)
	content = overviewContent{From: figures.From, Until: until, Wrong: wrong, Step: stepText(figures.Step), Missing: figures.Missing, Counting: figures.Counting}
	content.addRanges(h, ask, chosen, until)
	if figures.Begins.After(figures.From) {
		content.Begins = figures.Begins
	}
	content.Charts = h.figureCharts(figures)
	rhythm, err := h.Admin.Rhythm(ctx, actor, figures.From, until, figures.Step)
	if err != nil {
		return content, nil, err
	}
	content.Rhythm, content.Cuts = h.rhythmOf(rhythm, until), h.cutsOf(figures, until)
	if content.Cards, err = h.cards(ctx, actor, figures, rhythm); err != nil {
		return content, nil, err
	}
	if err := h.addState(ctx, actor, &content); err != nil {
		return content, nil, err
	}
	return content, h.figuresTable(figures), nil
}

// addRanges adds the links to other times.
func (c *overviewContent) addRanges(h *Handler, ask admin.FiguresQuery, chosen string, until time.Time) {
	for _, r := range overviewRanges {
		c.Ranges = append(c.Ranges, tab{Text: h.say("overview.range." + r), Path: "/?range=" + r, Here: r == chosen})
	}
	query := url.Values{}
	if chosen != "" {
		query.Set("range", chosen)
	} else {
		query.Set("from", ask.From.Format(time.RFC3339))
		if !ask.Until.IsZero() {
			query.Set("until", ask.Until.Format(time.RFC3339))
		}
	}
	c.Data, c.Watch = Path+"/overview/charts?"+query.Encode(), Path+"/overview/events?"+query.Encode()
	length := until.Sub(c.From)
	between := func(from, until time.Time) string {
		return "?" + url.Values{"from": {from.UTC().Format(time.RFC3339)}, "until": {until.UTC().Format(time.RFC3339)}}.Encode()
	}
	c.Earlier = between(c.From.Add(-length), c.From)
	if now := time.Now(); until.Before(now) {
		c.Later = between(until, until.Add(length))
	}
	if chosen == "" {
		c.Wide = between(c.From.Add(-length/2), until.Add(length/2))
	}
}

// figureCharts returns the charts that can be zoomed.
func (h *Handler) figureCharts(f admin.Figures) []*chart {
	allowed, denied := make([]uint32, f.Points), make([]uint32, f.Points)
	all := h.newChart("requests", unitCount, true, f.From, f.Step, f.Points)
	reasons := h.newChart("denied", unitCount, true, f.From, f.Step, f.Points)
	var deniedBy []rollup.Requests
	for _, one := range f.Requests {
		if !one.Allow {
			deniedBy = append(deniedBy, one)
		}
		for i, n := range one.Counts {
			if one.Allow {
				allowed[i] += n
			} else {
				denied[i] += n
			}
		}
	}
	summary := f.Summarize()
	all.add(h.say("overview.allowed"), "s1", thousands(summary.Allowed), counted(allowed))
	all.add(h.say("overview.denied"), "s2", thousands(summary.Denied), counted(denied))
	classes := []string{"s2", "s3", "s5", "s4", "s1"}
	rest := rollup.Requests{Counts: make([]uint32, f.Points)}
	for i, one := range deniedBy {
		if i < len(classes) {
			reasons.add(h.reason(one.Reason), classes[i], thousands(one.Total), counted(one.Counts))
			continue
		}
		rest.Total += one.Total
		for j, n := range one.Counts {
			rest.Counts[j] += n
		}
	}
	if rest.Total > 0 {
		reasons.add(h.say("overview.others"), "s6", thousands(rest.Total), counted(rest.Counts))
	}
	took := h.newChart("took", unitSeconds, false, f.From, f.Step, f.Points)
	took.add("p99", "s3", tookOr(summary.P99), quantiles(f.Seconds, .99))
	took.add("p50", "s1", tookOr(summary.P50), quantiles(f.Seconds, .5))
	people := h.newChart("people", unitCount, false, f.From, f.Step, f.Points)
	people.add(h.say("overview.sessions"), "s4", newest(f.Sessions), counted(f.Sessions))
	people.add(h.say("overview.live"), "s5", newest(f.Live), counted(f.Live))
	return []*chart{all.draw(), reasons.draw(), took.draw(), people.draw()}
}

// reason returns a reason for people; one that has no text as it is.
func (h *Handler) reason(name string) string {
	if text, ok := h.templates.texts["reason."+name]; ok {
		return text
	}
	return name
}

func quantiles(points []rollup.Durations, q float64) []*float64 {
	values := make([]*float64, len(points))
	for i, p := range points {
		if took, ok := p.Quantile(q); ok {
			seconds := took.Seconds()
			values[i] = &seconds
		}
	}
	return values
}

func thousands(n uint64) string { return number(n).Shown() }

func tookOr(d *time.Duration) string {
	if d == nil {
		return "–"
	}
	return tookText(*d)
}

// newest returns the last value that is known.
func newest(values []int32) string {
	for _, v := range slices.Backward(values) {
		if v >= 0 {
			return thousands(uint64(v)) //nolint:gosec // not negative
		}
	}
	return "–"
}

// figuresTable returns the figures as a table, for spreadsheets and programs.
func (h *Handler) figuresTable(f admin.Figures) *Table {
	t := &Table{Columns: []Column{{Key: "time"}, {Key: "allowed"}, {Key: "denied"}, {Key: "p50_ms"}, {Key: "p99_ms"}, {Key: "sessions"}, {Key: "live"}, {Key: "pushes"}, {Key: "cuts"}}}
	p50, p99 := quantiles(f.Seconds, .5), quantiles(f.Seconds, .99)
	for i := range f.Points {
		var allowed, denied uint64
		for _, one := range f.Requests {
			if one.Allow {
				allowed += uint64(one.Counts[i])
			} else {
				denied += uint64(one.Counts[i])
			}
		}
		t.Rows = append(t.Rows, []Cell{at(f.From.Add(time.Duration(i) * f.Step)), number(allowed), number(denied), milliseconds(p50[i]), milliseconds(p99[i]),
			known(f.Sessions[i]), known(f.Live[i]), number(uint64(f.Pushes[i])), number(uint64(f.Cuts[i]))})
	}
	return t
}

func milliseconds(seconds *float64) Cell {
	if seconds == nil {
		return Cell{}
	}
	return number(*seconds * 1000)
}

func known(n int32) Cell {
	if n < 0 {
		return Cell{}
	}
	return number(int(n))
}

// hasPage returns path if there is such a page, or "".
func (h *Handler) hasPage(path string) string {
	if slices.ContainsFunc(sections, func(s section) bool { return s.Path == path || strings.HasPrefix(path, s.Path+"/") && s.Path != "/" }) {
		return path
	}
	return ""
}

// cards returns the figures at the top of the page.
func (h *Handler) cards(ctx context.Context, actor admin.Actor, f admin.Figures, r admin.Rhythm) ([]card, error) {
	pulse, err := h.Admin.Pulse(ctx, actor)
	if err != nil {
		return nil, err
	}
	s := f.Summarize()
	push := card{Text: h.say("overview.push"), Link: h.hasPage("/provisioning"), Ago: pulse.LastPush, Figure: h.say("overview.never")}
	if r.Every > 0 {
		push.Note = h.say("overview.every", tookText(r.Every))
	}
	if pulse.LastPush.IsZero() || time.Since(pulse.LastPush) > pushIsLate || len(r.Gaps) > 0 && r.Gaps[len(r.Gaps)-1].Open {
		push.Mark = "no"
	}
	held := card{Figure: thousands(uint64(pulse.Held)), Text: h.say("overview.held"), Link: h.hasPage("/provisioning/held")} //nolint:gosec // not negative
	if pulse.Held > 0 {
		held.Mark = "fault"
	}
	share := ""
	if all := s.Allowed + s.Denied; all > 0 {
		share = h.say("overview.share", float64(s.Denied)*100/float64(all))
	}
	return []card{
		{Figure: thousands(s.Allowed), Text: h.say("overview.allowed_requests"), Link: h.hasPage("/decisions")},
		{Figure: thousands(s.Denied), Text: h.say("overview.denied_requests"), Note: share, Link: h.hasPage("/decisions")},
		{Figure: tookOr(s.P50), Text: h.say("overview.p50"), Note: h.say("overview.p99", tookOr(s.P99))},
		{Figure: newest(f.Live), Text: h.say("overview.live"), Link: h.hasPage("/live")},
		{Figure: thousands(uint64(pulse.Sessions)), Text: h.say("overview.sessions"), Note: h.say("overview.people", thousands(uint64(pulse.Users))), Link: h.hasPage("/people")}, //nolint:gosec // not negative
		push, held,
		{Figure: tookOr(s.RevokeP99), Text: h.say("overview.revoke"), Note: h.say("overview.cuts", thousands(s.Cuts))},
	}, nil
}

// overviewCharts serves the numbers of the charts.
func (h *Handler) overviewCharts(q *request) error {
	ask, _, _ := q.span()
	figures, err := h.Admin.Figures(q.Context(), q.actor(), ask)
	if err != nil && !errors.Is(err, admin.ErrNoServer) {
		return err
	}
	q.Header().Set("Content-Type", "application/json")
	return json.NewEncoder(q).Encode(h.figureCharts(figures))
}

// overviewParts are the parts of the page that are sent again when they have changed.
var overviewParts = []string{"cards", "findings", "rhythm", "cuts", "health", "notes"}

// overviewEvents serves the parts of the page that have changed, and the charts, as long as somebody looks.
func (h *Handler) overviewEvents(q *request) error {
	ask, chosen, wrong := q.span()
	actor := q.actor()
	key, err := json.Marshal(struct {
		Ask    admin.FiguresQuery
		Chosen string
		Wrong  []string
	}{ask, chosen, wrong})
	if err != nil {
		return err
	}
	return q.refresh(q.shared("overview", string(key)), refreshEvery, func(ctx context.Context) ([]frame, error) {
		content, _, err := h.overviewOf(ctx, actor, ask, chosen, wrong)
		if err != nil {
			return nil, err
		}
		return h.overviewFrames(content)
	})
}

// overviewFrames returns the parts of the page, and the charts, as they are sent.
func (h *Handler) overviewFrames(content overviewContent) (frames []frame, err error) {
	for _, name := range overviewParts {
		text, err := h.part("overview", name, content)
		if err != nil {
			return nil, err
		}
		part, err := newFrame(name, "part", struct{ Name, HTML string }{name, text})
		if err != nil {
			return nil, err
		}
		frames = append(frames, part)
	}
	charts, err := newFrame("charts", "charts", content.Charts)
	return append(frames, charts), err
}

// part renders one template of a page by itself.
func (h *Handler) part(pageName, name string, content any) (string, error) {
	var out bytes.Buffer
	if err := h.templates.pages[pageName].ExecuteTemplate(&out, name, content); err != nil {
		return "", fmt.Errorf("a part of a page of the console cannot be shown: %w", err)
	}
	return out.String(), nil
}
