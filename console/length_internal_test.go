package console

import (
	"testing"
	"time"
)

func TestFormatLength(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Hour: "no time", 0: "no time", time.Second: "1 minute", time.Minute: "1 minute", 61 * time.Second: "2 minutes",
		time.Hour: "1 hour", 90 * time.Minute: "1 hour 30 minutes", 26*time.Hour + 5*time.Minute: "1 day 2 hours",
		24*time.Hour + 5*time.Minute: "1 day", 720 * time.Hour: "30 days",
	} {
		if got := formatLength(d); got != want {
			t.Errorf("%v is %q, want %q", d, got, want)
		}
	}
}

// TestChoices offers for every longest and usual time both of them, the usual one alone as chosen, in order, and none
// twice.
func TestChoices(t *testing.T) {
	for _, longest := range []time.Duration{time.Minute, 15 * time.Minute, 20 * time.Minute, time.Hour, 4 * time.Hour, 5 * time.Hour, 720 * time.Hour} {
		for _, usual := range []time.Duration{time.Minute, 15 * time.Minute, 40 * time.Minute, time.Hour, 20 * 24 * time.Hour, longest} {
			if usual > longest {
				continue
			}
			chosen, last := 0, time.Duration(0)
			for _, c := range choicesUpTo(longest, usual) {
				d, err := time.ParseDuration(c.Value)
				if err != nil || d <= last || d > longest || c.Usual != (d == usual) {
					t.Errorf("up to %v, usually %v: %+v after %v: %v", longest, usual, c, last, err)
				}
				if last = d; c.Usual {
					chosen++
				}
			}
			if chosen != 1 || last != longest {
				t.Errorf("up to %v, usually %v: %d are chosen, and the last is %v", longest, usual, chosen, last)
			}
		}
	}
}
