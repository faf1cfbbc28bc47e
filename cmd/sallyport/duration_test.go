package main

import (
	"testing"
	"time"
)

func TestParseDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{"30d": 30 * day, "1d12h": 36 * time.Hour, "90m": 90 * time.Minute, "0": 0, "0d": 0,
		"-1h": -time.Hour, "-2d": -2 * day, "-1d1h": -25 * time.Hour, "365d": 365 * day} {
		if got, err := parseDuration(text); err != nil || got != want {
			t.Errorf("%s is %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "d", "30", "30D", "1.5d", "30days", "1d-1h", "999999999999999999999d", "106752d", "106751d23h59m", "12h1d"} {
		if got, err := parseDuration(text); err == nil {
			t.Errorf("%q is %v", text, got)
		}
	}
}

func TestDurationValue_PrintsWhatCanBeRead(t *testing.T) {
	for want, d := range map[string]time.Duration{"365d": 365 * day, "36h0m0s": 36 * time.Hour, "0s": 0} {
		v := durationValue(d)
		if got := v.String(); got != want {
			t.Errorf("%v prints as %s", d, got)
		}
		if back, err := parseDuration(v.String()); err != nil || back != d {
			t.Errorf("%s is read as %v, %v", v.String(), back, err)
		}
	}
}
