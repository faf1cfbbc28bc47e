package console

import (
	"fmt"
	"html/template"
	"time"
)

// showTime returns a time in UTC. Pages with a script show it in the time zone of the browser.
func showTime(t time.Time) template.HTML { return timeElement(t, FormatTime(t)) }

// showAgo returns how long ago a time was, with the time itself on hover.
func showAgo(t time.Time) template.HTML { return timeElement(t, formatAgo(time.Since(t))) }

func timeElement(t time.Time, text string) template.HTML {
	if t.IsZero() {
		return ""
	}
	return template.HTML(fmt.Sprintf(`<time datetime="%s" title="%s">%s</time>`, t.UTC().Format(time.RFC3339), formatDay(t), text)) //nolint:gosec // digits and words of ours
}

// formatAgo returns how long ago something was, in its largest unit.
func formatAgo(d time.Duration) string {
	switch {
	case d < time.Minute:
		return "just now"
	case d < time.Hour:
		return count(int(d/time.Minute), "minute") + " ago"
	case d < 24*time.Hour:
		return count(int(d/time.Hour), "hour") + " ago"
	}
	return count(int(d/(24*time.Hour)), "day") + " ago"
}
