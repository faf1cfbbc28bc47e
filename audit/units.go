package audit

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Rotation says when a new file begins, and how long the former ones are kept.
type Rotation struct {
	Size Size `yaml:"size" doc:"when a file is larger, a new one begins; such as 100MiB, or off"`
	Keep Keep `yaml:"keep" doc:"files whose last line is older are deleted; such as 400d, or off"`
}

// Size is a number of bytes, or 0 for no limit.
type Size int64

// Keep is for how long files are kept, or 0 for ever.
type Keep time.Duration

const (
	day         = 24 * time.Hour
	minSize     = 64 << 10
	maxSize     = 1 << 40
	defaultSize = Size(100 << 20)
	minKeep     = Keep(day)
	maxKeep     = Keep(3650 * day)
	defaultKeep = Keep(400 * day)
)

// sizeUnits are the units of sizes, the largest first.
var sizeUnits = []struct {
	name  string
	bytes int64
}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}}

// UnmarshalText reads a size such as 100MiB, a number of bytes, or off.
func (s *Size) UnmarshalText(text []byte) error {
	written := string(text)
	if written == "off" || written == "0" {
		*s = 0
		return nil
	}
	number, factor := written, int64(1)
	for _, unit := range sizeUnits {
		if rest, ok := strings.CutSuffix(written, unit.name); ok {
			number, factor = rest, unit.bytes
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n > maxSize/factor || n*factor < minSize {
		return errors.New("must be a size from 64KiB to 1024GiB, such as 100MiB, or off")
	}
	*s = Size(n * factor)
	return nil
}

// MarshalText is the inverse of UnmarshalText.
func (s Size) MarshalText() ([]byte, error) {
	if s == 0 {
		return []byte("off"), nil
	}
	for _, unit := range sizeUnits {
		if int64(s)%unit.bytes == 0 {
			return fmt.Appendf(nil, "%d%s", int64(s)/unit.bytes, unit.name), nil
		}
	}
	return strconv.AppendInt(nil, int64(s), 10), nil
}

// UnmarshalText reads a number of days such as 400d, a duration such as 48h, or off.
func (k *Keep) UnmarshalText(text []byte) error {
	written := string(text)
	if written == "off" || written == "0" {
		*k = 0
		return nil
	}
	d, err := time.ParseDuration(written)
	if days, ok := strings.CutSuffix(written, "d"); ok {
		var n int
		n, err = strconv.Atoi(days)
		d = time.Duration(min(max(n, 0), 1<<16)) * day
	}
	if err != nil || Keep(d) < minKeep || Keep(d) > maxKeep {
		return errors.New("must be a time from 1d to 3650d, such as 400d, or off")
	}
	*k = Keep(d)
	return nil
}

// MarshalText is the inverse of UnmarshalText.
func (k Keep) MarshalText() ([]byte, error) {
	switch d := time.Duration(k); {
	case d == 0:
		return []byte("off"), nil
	case d%day == 0:
		return []byte(strconv.Itoa(int(d/day)) + "d"), nil
	default:
		return []byte(d.String()), nil
	}
}
