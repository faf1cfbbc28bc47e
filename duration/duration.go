// Package duration reads and writes durations as people write them: in days too, such as
// 400d or 1d12h.
package duration

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Day is 24 hours.
const Day = 24 * time.Hour

const maxDays = math.MaxInt64/int64(Day) - 1

var daysPattern = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^(-?)([0-9]+)d(.*)$`) })

// Parse parses a duration such as 30d, 1d12h, 90m or 0.
func Parse(text string) (time.Duration, error) {
	rest, sign, days := text, time.Duration(1), time.Duration(0)
	fault := fmt.Errorf("%q is not a duration; write one such as 90d, 12h or 30m", text)
	if m := daysPattern().FindStringSubmatch(text); m != nil {
		n, err := strconv.ParseInt(m[2], 10, 64)
		if err != nil || n > maxDays {
			return 0, fmt.Errorf("%q is too long; write at most %dd", text, maxDays)
		}
		days, rest = time.Duration(n)*Day, m[3]
		if m[1] != "" {
			sign = -1
		}
		if rest == "" {
			return sign * days, nil
		}
		if rest[0] < '0' || rest[0] > '9' {
			return 0, fault
		}
	}
	d, err := time.ParseDuration(rest)
	switch {
	case err != nil:
		return 0, fault
	case days > 0 && d > math.MaxInt64-days:
		return 0, fmt.Errorf("%q is too long; write at most %dd", text, maxDays)
	}
	return sign * (days + d), nil
}

// Format writes a duration so that [Parse] reads it: whole days as 400d, and others as
// 36h0m0s.
func Format(d time.Duration) string {
	if d%Day != 0 || d == 0 {
		return d.String()
	}
	return strconv.FormatInt(int64(d/Day), 10) + "d"
}

const off = "off"

// ParseOrOff parses a duration from least to most, or off or 0, which are 0.
func ParseOrOff(text string, least, most time.Duration) (time.Duration, error) {
	if text == off || text == "0" {
		return 0, nil
	}
	d, err := Parse(text)
	if err != nil || d < least || d > most {
		return 0, fmt.Errorf("must be a time from %s to %s, such as 400d, or off", strings.TrimSuffix(Format(least), "0m0s"), Format(most))
	}
	return d, nil
}

// FormatOrOff is the inverse of [ParseOrOff].
func FormatOrOff(d time.Duration) string {
	if d == 0 {
		return off
	}
	return Format(d)
}
