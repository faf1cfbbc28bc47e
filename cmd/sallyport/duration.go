package main

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"time"

	"github.com/spf13/cobra"
)

const (
	day     = 24 * time.Hour
	maxDays = math.MaxInt64/int64(day) - 1
)

// durationValue is the value of a flag: a duration as people write it, in days too.
type durationValue time.Duration

// durationFlag adds a flag to c whose value is a duration.
func durationFlag(c *cobra.Command, name string, preset time.Duration, usage string) *time.Duration {
	d := preset
	c.Flags().Var((*durationValue)(&d), name, usage)
	return &d
}

// Type implements the interface of a flag's value.
func (*durationValue) Type() string { return "duration" }

// String implements the interface of a flag's value.
func (d *durationValue) String() string {
	if v := time.Duration(*d); v%day != 0 || v == 0 {
		return v.String()
	}
	return strconv.FormatInt(int64(time.Duration(*d)/day), 10) + "d"
}

// Set implements the interface of a flag's value.
func (d *durationValue) Set(text string) error {
	v, err := parseDuration(text)
	if err == nil {
		*d = durationValue(v)
	}
	return err
}

var daysPattern = regexp.MustCompile(`^(-?)([0-9]+)d(.*)$`)

// parseDuration parses a duration such as 30d, 1d12h, 90m or 0.
func parseDuration(text string) (time.Duration, error) {
	rest, sign, days := text, time.Duration(1), time.Duration(0)
	fault := fmt.Errorf("%q is not a duration; write one such as 90d, 12h or 30m", text)
	if m := daysPattern.FindStringSubmatch(text); m != nil {
		n, err := strconv.ParseInt(m[2], 10, 64)
		if err != nil || n > maxDays {
			return 0, fmt.Errorf("%q is too long; write at most %dd", text, maxDays)
		}
		days, rest = time.Duration(n)*day, m[3]
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
