package admin

import (
	"fmt"
	"testing"
	"time"
)

// TestRhythm_FindsGaps in rounds of requests that begin every 40 minutes.
func TestRhythm_FindsGaps(t *testing.T) {
	now := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	rounds := func(from, until time.Duration, every time.Duration) (list []pushTime) {
		for at := -from; at <= -until; at += every {
			for i := range 3 {
				list = append(list, pushTime{at: now.Add(at).Unix() + int64(i), refused: i == 2})
			}
		}
		return list
	}
	day := 24 * time.Hour
	for name, c := range map[string]struct {
		list  []pushTime
		every time.Duration
		gaps  string
	}{
		"none":       {nil, 0, ""},
		"steady":     {rounds(day, 20*time.Minute, 40*time.Minute), 40 * time.Minute, ""},
		"stopped":    {rounds(day, 3*time.Hour, 40*time.Minute), 40 * time.Minute, "[8h40m2s-12h0m0s open]"},
		"paused":     {append(rounds(day, 10*time.Hour, 40*time.Minute), rounds(5*time.Hour, 0, 40*time.Minute)...), 40 * time.Minute, "[2h0m2s-7h0m0s]"},
		"few_rounds": {rounds(day/2, 6*time.Hour, 6*time.Hour), 0, ""},
		"long_ago":   {rounds(60*time.Hour, 59*time.Hour, time.Hour), 0, "[-46h59m58s-12h0m0s open]"},
		"busy":       {rounds(time.Hour, 0, time.Second), 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := rhythmOf(c.list, now.Add(-day), now, 10*time.Minute, now)
			gaps := ""
			for _, g := range r.Gaps {
				midnight := now.Truncate(day)
				gaps += fmt.Sprintf("[%s-%s", g.From.Sub(midnight), g.Until.Sub(midnight))
				if g.Open {
					gaps += " open"
				}
				gaps += "]"
			}
			if gaps != c.gaps || (r.Every-c.every).Abs() > 5*time.Second {
				t.Errorf("every %s with the gaps %s, want %s and %s", r.Every, gaps, c.every, c.gaps)
			}
			if len(r.Accepted) != 144 || len(r.Refused) != 144 {
				t.Errorf("%d points", len(r.Accepted))
			}
		})
	}
}
