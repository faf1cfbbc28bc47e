package directory

import (
	"time"

	"sallyport/duration"
)

// Retention is the key history of the configuration: for how long changes are remembered,
// or 0.
type Retention time.Duration

// The least and the greatest retention, and the one of an absent key.
const (
	minRetention     = time.Hour
	maxRetention     = 3650 * duration.Day
	DefaultRetention = Retention(400 * duration.Day)
)

// UnmarshalText reads a number of days such as 400d, a duration such as 12h, or off.
func (r *Retention) UnmarshalText(text []byte) error {
	d, err := duration.ParseOrOff(string(text), minRetention, maxRetention)
	if err == nil {
		*r = Retention(d)
	}
	return err
}

// MarshalText is the inverse of UnmarshalText.
func (r Retention) MarshalText() ([]byte, error) {
	return []byte(duration.FormatOrOff(time.Duration(r))), nil
}
