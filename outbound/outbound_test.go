package outbound_test

import (
	"testing"
	"time"

	"sallyport/outbound"
)

func FuzzRetryAfter(f *testing.F) {
	for _, header := range []string{"", "0", "120", "-1", "1e9", "99999999999999999999", "Wed, 21 Oct 2065 07:28:00 GMT", "Wed, 21 Oct 2015 07:28:00 GMT", " 1"} {
		f.Add(header)
	}
	now := time.Unix(1614265330, 0)
	f.Fuzz(func(t *testing.T, header string) {
		if wait := outbound.RetryAfter(header, now); wait < 0 || wait > outbound.MaxRetryAfter {
			t.Errorf("%q asks to wait for %s", header, wait)
		}
	})
}

func TestRetryAfter_IsSecondsOrDate(t *testing.T) {
	now := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	for header, want := range map[string]time.Duration{"120": 2 * time.Minute, "Sun, 01 Nov 2026 12:01:00 GMT": time.Minute,
		"Sun, 01 Nov 2026 11:59:00 GMT": 0, "86400": outbound.MaxRetryAfter, "-5": 0, "soon": 0, "": 0} {
		if got := outbound.RetryAfter(header, now); got != want {
			t.Errorf("%q asks to wait for %s, want %s", header, got, want)
		}
	}
}
