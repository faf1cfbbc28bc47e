package policy

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestHours_ChangeWhenTheySay: between a time and the next change after it, hours neither begin nor end, on days on which
// clocks are put forward or back too.
func TestHours_ChangeWhenTheySay(t *testing.T) {
	days := []string{"2026-03-28", "2026-03-29", "2026-10-25", "2026-11-01", "2026-03-08", "2026-04-05", "2026-10-04", "2011-12-29"} // where clocks change
	rapid.Check(t, func(t *rapid.T) {
		h := Hours{From: rapid.SampledFrom([]string{"", "00:00", "01:30", "02:00", "02:30", "22:00"}).Draw(t, "from"), To: rapid.SampledFrom([]string{"", "02:00", "02:15", "02:30", "03:00", "06:00", "24:00"}).Draw(t, "to"),
			Zone: rapid.SampledFrom([]string{"", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia"}).Draw(t, "zone")}
		if rapid.Bool().Draw(t, "some days") {
			h.Days = []string{rapid.SampledFrom([]string{"sun", "sat-sun", "mon-fri", "fri"}).Draw(t, "days")}
		}
		valid := true
		s := h.compile(func(string, string) { valid = false })
		if !valid {
			return
		}
		day, err := time.Parse(time.DateOnly, rapid.SampledFrom(days).Draw(t, "day"))
		if err != nil {
			t.Fatal(err)
		}
		at := day.Add(time.Duration(rapid.IntRange(-12*60, 36*60).Draw(t, "minutes")) * time.Minute)
		next := s.change(at)
		if !next.After(at) {
			t.Fatalf("the next change after %s is %s", at, next)
		}
		for between := at; between.Before(next); between = between.Add(7 * time.Minute) {
			if s.contains(between) != s.contains(at) {
				t.Fatalf("%+v changes at %s, before %s", h, between.In(s.zone), next.In(s.zone))
			}
		}
		if last := next.Add(-time.Nanosecond); s.contains(last) != s.contains(at) {
			t.Fatalf("%+v changes before %s", h, next.In(s.zone))
		}
	})
}
