package directory

import (
	"errors"
	"strconv"
	"strings"
	"time"
)

// Retention is the key history of the configuration: for how long changes are remembered,
// or 0.
type Retention time.Duration

// The least and the greatest retention, and the one of an absent key.
const (
	minRetention     = Retention(time.Hour)
	maxRetention     = Retention(3650 * day)
	DefaultRetention = Retention(400 * day)
)

const day = 24 * time.Hour

// UnmarshalText reads a number of days such as 400d, a duration such as 12h, or off.
func (r *Retention) UnmarshalText(text []byte) error {
	written := string(text)
	if written == "off" || written == "0" {
		*r = 0
		return nil
	}
	d, err := time.ParseDuration(written)
	if days, ok := strings.CutSuffix(written, "d"); ok {
		var n int
		n, err = strconv.Atoi(days)
		d = time.Duration(min(max(n, 0), 1<<16)) * day
	}
	if err != nil || Retention(d) < minRetention || Retention(d) > maxRetention {
		return errors.New("must be a time from 1h to 3650d, such as 400d, or off")
	}
	*r = Retention(d)
	return nil
}

// MarshalText is the inverse of UnmarshalText.
func (r Retention) MarshalText() ([]byte, error) {
	switch d := time.Duration(r); {
	case d == 0:
		return []byte("off"), nil
	case d%day == 0:
		return []byte(strconv.Itoa(int(d/day)) + "d"), nil
	default:
		return []byte(d.String()), nil
	}
}
