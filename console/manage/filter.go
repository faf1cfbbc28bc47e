package manage

import (
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"sallyport/duration"
)

// filter reads the filters of a page from its query, and remembers which of them cannot be read.
type filter struct {
	url.Values
	now   time.Time
	wrong []string // names of parameters
}

func (q *request) filter() *filter { return &filter{Values: q.URL.Query(), now: time.Now()} }

// text returns a parameter without space around it.
func (f *filter) text(name string) string { return strings.TrimSpace(f.Get(name)) }

// timeForms are how times are written in filters. A time without a zone is one in UTC.
var timeForms = []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02 15:04:05", "2006-01-02 15:04", time.DateOnly}

// time returns a parameter as a time: one such as 2026-11-29T09:30Z, a day, or how far back, such as 24h or 7d. It is the zero
// time if there is none. With end, a day stands for its end.
func (f *filter) time(name string, end bool) time.Time {
	text := f.text(name)
	if text == "" {
		return time.Time{}
	}
	if back, err := duration.Parse(text); err == nil && back >= 0 {
		return f.now.Add(-back).UTC()
	}
	for _, form := range timeForms {
		at, err := time.Parse(form, text)
		if err != nil {
			continue
		}
		if form == time.DateOnly && end {
			at = at.AddDate(0, 0, 1).Add(-time.Nanosecond)
		}
		return at.UTC()
	}
	f.wrong = append(f.wrong, name)
	return time.Time{}
}

// keep forgets all parameters but some.
func (f *filter) keep(names ...string) {
	maps.DeleteFunc(f.Values, func(name string, _ []string) bool { return !slices.Contains(names, name) })
}

// oneOf returns a parameter that must be one of some values, or "".
func (f *filter) oneOf(name string, values []string) string {
	text := f.text(name)
	if slices.Contains(values, text) {
		return text
	}
	if text != "" {
		f.wrong = append(f.wrong, name)
	}
	return ""
}

// choice is an entry of a list to choose from.
type choice struct {
	Value, Text string
	Chosen      bool
}

// choices returns entries for values, whose texts are those of a prefix with the value.
func (h *Handler) choices(prefix, chosen string, values []string) (list []choice) {
	for _, v := range values {
		text := v
		if known, ok := h.templates.texts[prefix+v]; ok {
			text = known
		}
		list = append(list, choice{v, text, v == chosen})
	}
	return list
}
