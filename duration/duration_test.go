package duration_test

import (
	"testing"
	"time"

	"sallyport/duration"
)

const day = duration.Day

func TestParse(t *testing.T) {
	for text, want := range map[string]time.Duration{"30d": 30 * day, "1d12h": 36 * time.Hour, "90m": 90 * time.Minute, "0": 0, "0d": 0,
		"-1h": -time.Hour, "-2d": -2 * day, "-1d1h": -25 * time.Hour, "365d": 365 * day} {
		if got, err := duration.Parse(text); err != nil || got != want {
			t.Errorf("%s is %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "d", "30", "30D", "1.5d", "30days", "1d-1h", "999999999999999999999d", "106752d", "106751d23h59m", "12h1d"} {
		if got, err := duration.Parse(text); err == nil {
			t.Errorf("%q is %v", text, got)
		}
	}
}

func TestFormat_WritesWhatParseReads(t *testing.T) {
	for want, d := range map[string]time.Duration{"365d": 365 * day, "36h0m0s": 36 * time.Hour, "0s": 0} {
		text := duration.Format(d)
		if text != want {
			t.Errorf("%v is written as %s, want %s", d, text, want)
		}
		if back, err := duration.Parse(text); err != nil || back != d {
			t.Errorf("%s is read as %v, %v", text, back, err)
		}
	}
}

func TestParseOrOff(t *testing.T) {
	for text, want := range map[string]time.Duration{"off": 0, "0": 0, "1h": time.Hour, "400d": 400 * day, "1d12h": 36 * time.Hour} {
		got, err := duration.ParseOrOff(text, time.Hour, 3650*day)
		if err != nil || got != want {
			t.Errorf("%s is %v, %v", text, got, err)
		}
		if back, err := duration.ParseOrOff(duration.FormatOrOff(got), time.Hour, 3650*day); err != nil || back != got {
			t.Errorf("%s is written as %s", text, duration.FormatOrOff(got))
		}
	}
	for _, text := range []string{"", "59m", "3651d", "-400h", "on"} {
		_, err := duration.ParseOrOff(text, time.Hour, 3650*day)
		if err == nil || err.Error() != "must be a time from 1h to 3650d, such as 400d, or off" {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, text := range []string{"30d", "1d12h", "-1d1h", "999999999999999999999d", "12h1d"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		d, err := duration.Parse(text)
		if err != nil {
			return
		}
		if back, err := duration.Parse(duration.Format(d)); err != nil || back != d {
			t.Errorf("%q is %v, which is written as %s", text, d, duration.Format(d))
		}
	})
}
