package main

import (
	"testing"
	"time"
)

func TestParseAt_DaysEndInUTC(t *testing.T) {
	now := time.Date(2026, 5, 4, 1, 30, 0, 0, time.FixedZone("", 2*3600)) // in UTC it is still the day before
	for text, want := range map[string]string{
		"2026-05-02":                "2026-05-02T23:59:59.999999999Z",
		"2026-05-03":                "2026-05-03T23:30:00Z",           // today: now
		"2026-05-04":                "2026-05-04T23:59:59.999999999Z", // in the future
		"2024-02-29":                "2024-02-29T23:59:59.999999999Z",
		"2026-05-03T18:00:00+02:00": "2026-05-03T16:00:00Z",
		"2026-05-03T16:00:00.5Z":    "2026-05-03T16:00:00.5Z",
	} {
		got, err := parseAt(text, now)
		if err != nil || got.Format(time.RFC3339Nano) != want {
			t.Errorf("%s is %s, %v, want %s", text, got.Format(time.RFC3339Nano), err, want)
		}
	}
	for _, text := range []string{"", "2026-02-30", "2026-5-3", "2026-05-03T18:00", "03.05.2026", "now"} {
		if got, err := parseAt(text, now); err == nil {
			t.Errorf("%q is %s", text, got)
		}
	}
}
